//! What is known of one connection: its connection IDs, its handshake and its keys.

use std::collections::HashMap;
use std::net::SocketAddr;

use quic_core::wire::header::KeyPhase;
use quic_core::wire::{
    ConnectionId, Frame, PacketNumber, PacketType, Side, SpaceId, TransportParameters, Version,
};

use super::header::{LongHeader, V2};
use super::key_log::KeyLog;
use super::keys::{HeaderKey, PacketKey, Secret, Suite};
use super::packet::Opened;
use super::tls::{self, Assembler, ClientHello, message_type};

const KEY_PHASE: u8 = 0x04;
const SHORT_HEADER_FIRST: usize = 1;

/// One connection, as far as its packets have told.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The first ClientHello; after Retry, the first one after it, which may differ.
    pub(crate) client_hello: Option<ClientHello>,
    /// The types of the handshake messages in the server's Handshake packets.
    pub(crate) server_messages: Vec<u8>,
    /// What the server says in its EncryptedExtensions.
    pub(crate) server_parameters: Option<TransportParameters>,
    client_cids: Vec<ConnectionId>,
    server_cids: Vec<ConnectionId>,
    /// Addresses of client and server that packets of the connection went between.
    paths: Vec<(SocketAddr, SocketAddr)>,
    /// The connection IDs that Initial keys are made from: the original one, then those of Retry.
    initial_dcids: Vec<ConnectionId>,
    /// The version of the server's last long header.
    version: Version,
    suite: Option<Suite>,
    /// How many Retry packets came before `client_hello`.
    hello_attempt: usize,
    /// By sender, space and, of Initial packets, the number of Retry packets before.
    handshake_data: HashMap<(Side, SpaceId, usize), Assembler>,
    one_rtt: HashMap<Side, OneRtt>,
    /// By capture, sender and space; each capture has an order of its own.
    largest: HashMap<(usize, Side, SpaceId), PacketNumber>,
}

/// The 1-RTT keys of one sender, by generation.
struct OneRtt {
    version: Version,
    header: HeaderKey,
    generations: Vec<(Secret, PacketKey)>,
}

impl std::fmt::Debug for OneRtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneRtt").field("generations", &self.generations.len()).finish()
    }
}

impl Connection {
    /// A connection whose client sent its first packet to `dcid`.
    pub(super) fn new(version: Version, dcid: ConnectionId) -> Self {
        Self {
            client_hello: None,
            server_messages: Vec::new(),
            server_parameters: None,
            client_cids: Vec::new(),
            server_cids: vec![dcid],
            paths: Vec::new(),
            initial_dcids: vec![dcid],
            version,
            suite: None,
            hello_attempt: 0,
            handshake_data: HashMap::new(),
            one_rtt: HashMap::new(),
            largest: HashMap::new(),
        }
    }

    /// True if the server's handshake can be read to its end.
    pub(crate) fn is_handshake_readable(&self) -> bool {
        self.server_messages.contains(&message_type::FINISHED)
    }

    /// True if the server sent a Certificate message.
    pub(crate) fn has_certificate(&self) -> bool {
        self.server_messages.contains(&message_type::CERTIFICATE)
    }

    /// The connection IDs that one side has issued; the server's begin with the client's guess.
    pub(super) fn issued_by(&self, side: Side) -> &[ConnectionId] {
        match side {
            Side::Client => &self.client_cids,
            Side::Server => &self.server_cids,
        }
    }

    /// True if a long header can belong to this connection, as far as names and addresses tell.
    pub(super) fn could_own(
        &self,
        [dcid, scid]: [&ConnectionId; 2],
        (source, destination): (SocketAddr, SocketAddr),
    ) -> bool {
        let is_known = |cid: &ConnectionId| {
            !cid.is_empty() && (self.client_cids.contains(cid) || self.server_cids.contains(cid))
        };
        is_known(dcid) || is_known(scid) || self.uses_path(source, destination)
    }

    /// True if packets went between these addresses, in either direction.
    pub(super) fn uses_path(&self, source: SocketAddr, destination: SocketAddr) -> bool {
        self.paths.contains(&(source, destination)) || self.paths.contains(&(destination, source))
    }

    /// An opened packet of `sender` went between these addresses.
    pub(super) fn on_path(&mut self, sender: Side, source: SocketAddr, destination: SocketAddr) {
        let path = match sender {
            Side::Client => (source, destination),
            Side::Server => (destination, source),
        };
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// The server asks the client to go on with `scid`.
    pub(super) fn on_retry(&mut self, scid: ConnectionId) {
        for cids in [&mut self.server_cids, &mut self.initial_dcids] {
            if !cids.contains(&scid) {
                cids.push(scid);
            }
        }
    }

    /// Opens an Initial, 0-RTT or Handshake packet of `sender`.
    pub(super) fn open_long(
        &mut self,
        keys: &KeyLog,
        capture: usize,
        sender: Side,
        header: &LongHeader<'_>,
        packet: &[u8],
    ) -> Option<Opened> {
        let largest = self.largest(capture, sender, header.kind);
        let secrets = self.secrets(keys, sender, header);
        let mut attempts = secrets.into_iter().enumerate();
        let (attempt, opened) = attempts.find_map(|(attempt, secret)| {
            let header_key = secret.header_key(header.version);
            let packet = header_key.unprotect(packet, header.number_at, largest)?;
            let payload = secret.packet_key(header.version).open(&packet)?;
            let (number, sealed_len) = (packet.number.into_inner(), packet.sealed_len());
            let phase = KeyPhase::Zero;
            let opened = Opened::new(sender, number, phase, sealed_len, payload);
            Some((attempt, opened))
        })?;
        // Only Initial packets have keys by attempt; others have one for each possible suite.
        let attempt = if header.kind == PacketType::Initial { attempt } else { 0 };
        self.learn_header(sender, header);
        self.learn(capture, header.kind, attempt, &opened);
        Some(opened)
    }

    /// The secrets that a long-header packet may be protected with.
    fn secrets(&self, keys: &KeyLog, sender: Side, header: &LongHeader<'_>) -> Vec<Secret> {
        let label = match (header.kind, sender) {
            (PacketType::Initial, _) => {
                let secret = |dcid| Secret::initial(header.version, dcid, sender);
                return self.initial_dcids.iter().map(secret).collect();
            }
            (PacketType::ZeroRtt, Side::Client) => "CLIENT_EARLY_TRAFFIC_SECRET",
            (PacketType::Handshake, Side::Client) => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            (PacketType::Handshake, Side::Server) => "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            _ => return Vec::new(),
        };
        // Early data is protected with the suite of an earlier session.
        let suite = self.suite.filter(|_| header.kind != PacketType::ZeroRtt);
        self.logged_secrets(keys, label, suite)
    }

    /// A secret of the key log, for each suite that it may be for.
    fn logged_secrets(&self, keys: &KeyLog, label: &str, suite: Option<Suite>) -> Vec<Secret> {
        let random = self.client_hello.as_ref().map(|hello| hello.random);
        let Some(bytes) = random.and_then(|random| keys.secret(&random, label)) else {
            return Vec::new();
        };
        let suites = Suite::with_secrets_of(bytes.len()).iter().copied();
        let suites = suites.filter(|possible| suite.is_none_or(|suite| suite == *possible));
        suites.map(|suite| Secret { suite, bytes: bytes.to_vec() }).collect()
    }

    /// Opens a 1-RTT packet of `sender` whose connection ID has `cid_len` bytes.
    pub(super) fn open_short(
        &mut self,
        keys: &KeyLog,
        capture: usize,
        sender: Side,
        cid_len: usize,
        packet: &[u8],
    ) -> Option<Opened> {
        let number_at = SHORT_HEADER_FIRST + cid_len;
        let largest = self.largest(capture, sender, PacketType::OneRtt);
        let opened = match self.one_rtt.get_mut(&sender) {
            Some(one_rtt) => one_rtt.open(sender, packet, number_at, largest)?,
            None => {
                let candidates = self.one_rtt_candidates(keys, sender);
                let (one_rtt, opened) = candidates.into_iter().find_map(|mut one_rtt| {
                    let opened = one_rtt.open(sender, packet, number_at, largest)?;
                    Some((one_rtt, opened))
                })?;
                self.one_rtt.insert(sender, one_rtt);
                opened
            }
        };
        self.learn(capture, PacketType::OneRtt, 0, &opened);
        Some(opened)
    }

    /// What the 1-RTT keys of a sender may be before one of its packets was opened.
    fn one_rtt_candidates(&self, keys: &KeyLog, sender: Side) -> Vec<OneRtt> {
        let label = match sender {
            Side::Client => "CLIENT_TRAFFIC_SECRET_0",
            Side::Server => "SERVER_TRAFFIC_SECRET_0",
        };
        let secrets = self.logged_secrets(keys, label, self.suite);
        let other = if self.version == V2 { Version::V1 } else { V2 };
        let versions = [self.version, other];
        let pairs = versions.iter().flat_map(|v| secrets.iter().map(|secret| (*v, secret)));
        pairs.map(|(version, secret)| OneRtt::new(version, secret.clone())).collect()
    }

    fn largest(&self, capture: usize, sender: Side, kind: PacketType) -> Option<PacketNumber> {
        self.largest.get(&(capture, sender, kind.space()?)).copied()
    }

    fn learn_header(&mut self, sender: Side, header: &LongHeader<'_>) {
        self.add_cid(sender, header.scid);
        match sender {
            Side::Client => self.add_cid(Side::Server, header.dcid),
            Side::Server => self.version = header.version,
        }
    }

    fn add_cid(&mut self, issuer: Side, cid: ConnectionId) {
        let cids = match issuer {
            Side::Client => &mut self.client_cids,
            Side::Server => &mut self.server_cids,
        };
        if !cids.contains(&cid) {
            cids.push(cid);
        }
    }

    /// Takes note of what an opened packet tells about the connection.
    fn learn(&mut self, capture: usize, kind: PacketType, attempt: usize, opened: &Opened) {
        let (sender, Some(space)) = (opened.sender, kind.space()) else { return };
        let number = PacketNumber::new(opened.number);
        let largest = self.largest.entry((capture, sender, space)).or_insert(number);
        *largest = number.max(*largest);
        for frame in opened.frames() {
            match frame {
                Frame::NewConnectionId(frame) => self.add_cid(sender, frame.connection_id),
                Frame::Crypto(frame) => {
                    let data = self.handshake_data.entry((sender, space, attempt)).or_default();
                    data.add(frame.offset, frame.data);
                }
                _ => {}
            }
        }
        let data = (sender, space, attempt);
        while let Some((message, body)) = self.next_message(data) {
            self.on_message(data, message, &body);
        }
    }

    fn next_message(&mut self, data: (Side, SpaceId, usize)) -> Option<(u8, Vec<u8>)> {
        self.handshake_data.get_mut(&data)?.next_message()
    }

    fn on_message(
        &mut self,
        (sender, space, attempt): (Side, SpaceId, usize),
        message: u8,
        body: &[u8],
    ) {
        match (sender, space, message) {
            (Side::Client, SpaceId::Initial, message_type::CLIENT_HELLO)
                if self.client_hello.is_none() || attempt > self.hello_attempt =>
            {
                self.client_hello = ClientHello::decode(body).ok();
                self.hello_attempt = attempt;
            }
            (Side::Server, SpaceId::Initial, message_type::SERVER_HELLO) => {
                self.suite = tls::selected_suite(body).ok().and_then(Suite::from_number);
            }
            (Side::Server, SpaceId::Handshake, message) => {
                self.server_messages.push(message);
                if message == message_type::ENCRYPTED_EXTENSIONS {
                    self.on_encrypted_extensions(body);
                }
            }
            _ => {}
        }
    }

    fn on_encrypted_extensions(&mut self, body: &[u8]) {
        let Ok(Some(encoded)) = tls::transport_parameters(body) else { return };
        let Ok(parameters) = TransportParameters::decode(encoded, Side::Server) else { return };
        if let Some(preferred) = &parameters.preferred_address {
            self.add_cid(Side::Server, preferred.connection_id);
        }
        self.server_parameters = Some(parameters);
    }
}

impl OneRtt {
    fn new(version: Version, secret: Secret) -> Self {
        let header = secret.header_key(version);
        let key = secret.packet_key(version);
        Self { version, header, generations: vec![(secret, key)] }
    }

    /// Opens a packet with the keys of a generation that has the packet's key phase, the newest
    /// one first. Generations are made up to one beyond the newest that was used.
    fn open(
        &mut self,
        sender: Side,
        packet: &[u8],
        number_at: usize,
        largest: Option<PacketNumber>,
    ) -> Option<Opened> {
        let packet = self.header.unprotect(packet, number_at, largest)?;
        let odd = packet.first & KEY_PHASE != 0;
        let next = self.generations.last().map(|(secret, _)| secret.updated(self.version))?;
        let next = (next.packet_key(self.version), next);
        let is_next = odd == (self.generations.len() % 2 == 1);
        let new = is_next.then(|| next.0.open(&packet)).flatten();
        let payload = match new {
            Some(payload) => {
                self.generations.push((next.1, next.0));
                payload
            }
            None => self
                .generations
                .iter()
                .enumerate()
                .rev()
                .filter(|(generation, _)| odd == (generation % 2 == 1))
                .find_map(|(_, (_, key))| key.open(&packet))?,
        };
        let phase = if odd { KeyPhase::One } else { KeyPhase::Zero };
        let (number, sealed_len) = (packet.number.into_inner(), packet.sealed_len());
        Some(Opened::new(sender, number, phase, sealed_len, payload))
    }
}
