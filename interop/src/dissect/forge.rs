//! Forged captures: connections that never were, with whatever frames a test wants.
//!
//! Packets are protected with made-up secrets, which stand in the key log; nothing of our endpoints
//! takes part, so a forged endpoint can break every rule.

use std::net::SocketAddr;
use std::time::Duration;

use quic_core::Ecn;
use quic_core::wire::{
    ConnectionId, Frame, PacketNumber, PacketType, Side, SpaceId, Version, Writer, frame,
};

use super::hex;
use super::keys::{Secret, Suite, hidden_bits};

/// One way through the link.
pub(crate) const DELAY: Duration = Duration::from_millis(15);
/// Never shorter on the wire, so that the packet number is always four bytes.
const NUMBER_LEN: usize = 4;

/// What became of a datagram on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Lost,
    /// One byte at this place is another when it arrives.
    Damaged(usize),
}

/// Two captures and a key log.
#[derive(Default)]
pub(crate) struct Forgery {
    /// Next to the client, next to the server.
    captures: [Vec<(Duration, Vec<u8>)>; 2],
    pub(crate) key_log: String,
    pub(crate) now: Duration,
}

impl Forgery {
    /// The captures as files, left and right.
    pub(crate) fn pcaps(&self) -> [Vec<u8>; 2] {
        self.captures.clone().map(|mut packets| {
            packets.sort_by_key(|(time, _)| *time);
            let header = [0xa1b2_3c4d, 0x0002_0004, 0, 0, 65535, 101];
            let mut file = header.map(u32::to_be_bytes).concat();
            for (time, packet) in packets {
                let (seconds, len) = (time.as_secs() as u32, packet.len() as u32);
                let record = [seconds, time.subsec_nanos(), len, len].map(u32::to_be_bytes);
                file.extend(record.concat());
                file.extend(packet);
            }
            file
        })
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    /// A datagram goes over the link.
    pub(crate) fn send(
        &mut self,
        from: Side,
        (source, destination): (SocketAddr, SocketAddr),
        ecn: Option<Ecn>,
        payload: &[u8],
        fate: Fate,
    ) {
        let [near, far] = match from {
            Side::Client => [0, 1],
            Side::Server => [1, 0],
        };
        self.captures[near].push((self.now, ip_packet(source, destination, ecn, payload)));
        let mut arrived = payload.to_vec();
        match fate {
            Fate::Lost => return,
            Fate::Delivered => {}
            Fate::Damaged(at) => arrived[at] ^= 0x55,
        }
        let packet = ip_packet(source, destination, ecn, &arrived);
        self.captures[far].push((self.now + DELAY, packet));
    }
}

fn ip_packet(
    source: SocketAddr,
    destination: SocketAddr,
    ecn: Option<Ecn>,
    payload: &[u8],
) -> Vec<u8> {
    let bits = ecn.map_or(0, Ecn::bits);
    let udp_len = 8 + payload.len() as u16;
    let mut packet = match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let [high, low] = (20 + udp_len).to_be_bytes();
            let start = [0x45, bits, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0];
            [&start[..], &source.ip().octets(), &destination.ip().octets()].concat()
        }
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
            let [high, low] = udp_len.to_be_bytes();
            let start = [0x60, bits << 4, 0, 0, high, low, 17, 64];
            [&start[..], &source.ip().octets(), &destination.ip().octets()].concat()
        }
        _ => panic!("one family at a time"),
    };
    for number in [source.port(), destination.port(), udp_len, 0] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// One connection; tests change its fields as they like.
pub(crate) struct Connection {
    pub(crate) version: Version,
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) original_dcid: ConnectionId,
    pub(crate) client_cid: ConnectionId,
    pub(crate) server_cid: ConnectionId,
    /// What Initial keys are made from.
    pub(crate) initial_dcid: ConnectionId,
    pub(crate) token: Vec<u8>,
    pub(crate) suite: u16,
    pub(crate) random: [u8; 32],
    /// Of the 1-RTT packets of client and server.
    pub(crate) key_updates: [usize; 2],
    /// By side and space.
    pub(crate) next_number: [[u64; 3]; 2],
    pub(crate) ecn: Option<Ecn>,
    /// 0x40, unless the peers have agreed that it may be anything.
    pub(crate) fixed_bit: u8,
}

impl Connection {
    /// The `n`-th connection between the addresses of the runner.
    pub(crate) fn new(n: u8) -> Self {
        let cid = |kind: u8| ConnectionId::new(&[kind, n, 1, 2, 3, 4, 5, 6]).unwrap();
        Self {
            version: Version::V1,
            client: format!("193.167.0.100:{}", 40_000 + u16::from(n)).parse().unwrap(),
            server: "193.167.100.100:443".parse().unwrap(),
            original_dcid: cid(0xd0),
            client_cid: cid(0xc0),
            server_cid: cid(0xe0),
            initial_dcid: cid(0xd0),
            token: Vec::new(),
            suite: 0x1301,
            random: [n; 32],
            key_updates: [0; 2],
            next_number: [[0; 3]; 2],
            ecn: Some(Ecn::Ect0),
            fixed_bit: 0x40,
        }
    }

    fn secret_label(kind: PacketType, sender: Side) -> &'static str {
        match (kind, sender) {
            (PacketType::ZeroRtt, _) => "CLIENT_EARLY_TRAFFIC_SECRET",
            (PacketType::Handshake, Side::Client) => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            (PacketType::Handshake, Side::Server) => "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            (_, Side::Client) => "CLIENT_TRAFFIC_SECRET_0",
            (_, Side::Server) => "SERVER_TRAFFIC_SECRET_0",
        }
    }

    /// Secrets differ in their first byte.
    fn secret(&self, kind: PacketType, sender: Side) -> Secret {
        let suite = Suite::from_number(self.suite).unwrap();
        let mut bytes = vec![self.random[0]; if suite == Suite::Aes256Gcm { 48 } else { 32 }];
        bytes[0] = Self::secret_label(kind, sender).len() as u8 + u8::from(sender.is_client());
        let secret = Secret { suite, bytes };
        let updates = match kind {
            PacketType::OneRtt => self.key_updates[sender as usize],
            _ => 0,
        };
        (0..updates).fold(secret, |secret, _| secret.updated(self.version))
    }

    /// The lines of the key log.
    pub(crate) fn key_log(&self) -> String {
        let kinds = [
            (PacketType::ZeroRtt, Side::Client),
            (PacketType::Handshake, Side::Client),
            (PacketType::Handshake, Side::Server),
            (PacketType::OneRtt, Side::Client),
            (PacketType::OneRtt, Side::Server),
        ];
        let before_updates = Self { key_updates: [0; 2], ..Self::new(self.random[0]) };
        let before_updates = Self { suite: self.suite, ..before_updates };
        let line = |(kind, sender)| {
            let (label, random) = (Self::secret_label(kind, sender), hex(&self.random));
            format!("{label} {random} {}\n", hex(&before_updates.secret(kind, sender).bytes))
        };
        kinds.map(line).concat()
    }

    /// The address of the sender, then that of the receiver.
    pub(crate) fn path(&self, from: Side) -> (SocketAddr, SocketAddr) {
        match from {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        }
    }

    /// A packet with the next number.
    pub(crate) fn packet(&mut self, from: Side, kind: PacketType, frames: &[Frame<'_>]) -> Vec<u8> {
        let space = match kind.space().unwrap() {
            SpaceId::Initial => 0,
            SpaceId::Handshake => 1,
            SpaceId::Data => 2,
        };
        let number = PacketNumber::new(self.next_number[from as usize][space]);
        self.next_number[from as usize][space] += 1;
        let mut payload = vec![0; frames.iter().map(Frame::size).sum()];
        let mut writer = Writer::new(&mut payload);
        frames.iter().for_each(|frame| frame.encode(&mut writer));
        // Enough for the sample.
        payload.resize(payload.len().max(4), 0);
        let mut header = self.header(from, kind, payload.len());
        let number_at = header.len();
        header.extend((number.into_inner() as u32).to_be_bytes());
        let secret = match kind {
            PacketType::Initial => Secret::initial(self.version, &self.initial_dcid, from),
            _ => self.secret(kind, from),
        };
        let sealed = secret.packet_key(self.version).seal(number, &header, payload);
        let mut packet = [header, sealed].concat();
        // The key of headers stays the same through key updates.
        let before = Self { key_updates: [0; 2], ..Self::new(self.random[0]) };
        let first = match kind {
            PacketType::OneRtt => Self { suite: self.suite, ..before }.secret(kind, from),
            _ => secret,
        };
        let mask = first.header_key(self.version).mask(&packet, number_at).unwrap();
        packet[0] ^= mask[0] & hidden_bits(packet[0]);
        let hidden = packet[number_at..number_at + NUMBER_LEN].iter_mut();
        hidden.zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
        packet
    }

    fn header(&self, from: Side, kind: PacketType, payload_len: usize) -> Vec<u8> {
        let len_bits = NUMBER_LEN as u8 - 1;
        let (dcid, scid) = match from {
            Side::Client => (self.server_cid, self.client_cid),
            Side::Server => (self.client_cid, self.server_cid),
        };
        if kind == PacketType::OneRtt {
            let phase = if self.key_updates[from as usize] % 2 == 1 { 0x04 } else { 0 };
            return [&[self.fixed_bit | phase | len_bits], dcid.as_slice()].concat();
        }
        let first = 0x80 | self.fixed_bit | (type_bits(self.version, kind) << 4) | len_bits;
        let len = (NUMBER_LEN + payload_len + 16) as u16 | 0x4000;
        let mut header = self.long_header(first, dcid, scid);
        if kind == PacketType::Initial {
            header.push(self.token.len() as u8);
            header.extend(&self.token);
        }
        header.extend(len.to_be_bytes());
        header
    }

    fn long_header(&self, first: u8, dcid: ConnectionId, scid: ConnectionId) -> Vec<u8> {
        let mut header = vec![first];
        header.extend(self.version.0.to_be_bytes());
        for cid in [dcid, scid] {
            header.push(cid.len() as u8);
            header.extend(cid.as_slice());
        }
        header
    }

    /// A Retry packet whose tag nobody checks.
    pub(crate) fn retry(&self, scid: ConnectionId, token: &[u8]) -> Vec<u8> {
        let first = 0xc0 | (type_bits(self.version, PacketType::Retry) << 4);
        [&self.long_header(first, self.client_cid, scid)[..], token, &[0; 16]].concat()
    }

    /// One packet in a datagram of its own.
    pub(crate) fn send(
        &mut self,
        forgery: &mut Forgery,
        from: Side,
        kind: PacketType,
        frames: &[Frame<'_>],
    ) {
        let packet = self.packet(from, kind, frames);
        forgery.send(from, self.path(from), self.ecn, &packet, Fate::Delivered);
    }
}

fn type_bits(version: Version, kind: PacketType) -> u8 {
    (0..4).find(|bits| super::header::long_type(version, *bits) == Some(kind)).unwrap()
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Crypto(frame::Crypto { offset, data })
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u32;
    [&[kind], &len.to_be_bytes()[1..], body].concat()
}

/// A ClientHello that offers these suites.
pub(crate) fn client_hello(random: &[u8; 32], suites: &[u16]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let len = (suites.len() as u16).to_be_bytes();
    message(1, &[&[3, 3], &random[..], &[0], &len, &suites, &[1, 0, 0, 0]].concat())
}

/// A ServerHello that selects this suite.
pub(crate) fn server_hello(suite: u16) -> Vec<u8> {
    message(2, &[&[3, 3], &[9; 32][..], &[0], &suite.to_be_bytes(), &[0, 0, 0]].concat())
}

/// EncryptedExtensions that allow so many bidirectional streams.
pub(crate) fn encrypted_extensions(max_streams: u16) -> Vec<u8> {
    let parameters = [&[0x08, 0x02][..], &(max_streams | 0x4000).to_be_bytes()].concat();
    let alpn = [0, 0x10, 0, 5, 0, 3, 2, b'h', b'3'];
    let extensions = [&alpn[..], &[0, 0x39, 0, parameters.len() as u8], &parameters].concat();
    message(8, &[&(extensions.len() as u16).to_be_bytes()[..], &extensions].concat())
}

/// A Certificate message of so many bytes.
pub(crate) fn certificate(len: usize) -> Vec<u8> {
    message(11, &vec![7; len])
}

/// A Finished message.
pub(crate) fn finished() -> Vec<u8> {
    message(20, &[5; 32])
}
