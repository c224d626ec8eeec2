//! One connection under test, and the raw peer that it talks to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quic_core::cid::Generator;
use quic_core::config::{TransportConfig, TransportConfigBuilder};
use quic_core::connection::{Connection, ConnectionSetup, Role};
use quic_core::crypto::ResetKey;
use quic_core::path::AddressProof;
use quic_core::util::Rng;
use quic_core::wire::header::{Header, PartialHeader};
use quic_core::wire::{ConnectionId, PacketType, SpaceId, TransportParameters, Version};
use quic_core::{DatagramMeta, Train, Transmit};
use quic_testkit::raw_peer::{CID_LEN, RawPeer, ReceivedPacket, random_cid};
use quic_testkit::seed::Seed;
use quic_testkit::tls::{self, Certificate};

/// Where the raw peer is.
pub(crate) const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 1000);
/// Rounds of datagrams to and fro, after which the conversation does not end.
const MAX_ROUNDS: usize = 1_000;

pub(crate) struct Subject {
    pub(crate) now: Instant,
    pub(crate) connection: Connection,
    pub(crate) peer: RawPeer,
    /// Every datagram that the connection has sent.
    pub(crate) sent: Vec<Vec<u8>>,
    /// What the connection said about the last of them.
    pub(crate) last_transmit: Option<Transmit>,
}

/// Limits that never stand in the way of a test.
pub(crate) fn generous() -> TransportParameters {
    TransportParameters {
        initial_max_data: 1 << 30,
        initial_max_stream_data_bidi_local: 1 << 30,
        initial_max_stream_data_bidi_remote: 1 << 30,
        initial_max_stream_data_uni: 1 << 30,
        initial_max_streams_bidi: 100,
        initial_max_streams_uni: 100,
        active_connection_id_limit: 4,
        ..TransportParameters::default()
    }
}

fn setup(
    rng: &mut Rng,
    role: Role,
    original_dcid: ConnectionId,
    config: TransportConfigBuilder,
) -> ConnectionSetup {
    let generator = Generator::default();
    ConnectionSetup {
        role,
        version: Version::V1,
        versions: Arc::new([Version::V1]),
        original_dcid,
        local_cid: generator.generate(rng),
        remote: SocketAddr::from(PEER),
        socket: quic_core::SocketId::FIRST,
        local_ip: None,
        config: Arc::new(config.build().expect("valid settings")),
        cid_generator: generator,
        reset_key: Arc::new(ResetKey::new(&rng.array())),
        rng: rng.fork(),
    }
}

/// A client that has nobody to talk to yet.
pub(crate) fn lonely_client(now: Instant, config: TransportConfigBuilder) -> Connection {
    let mut rng = Seed::or_env(1).rng();
    let server_name = tls::SERVER_NAME.try_into().expect("a valid name");
    let role = Role::Client { tls: tls::client(&[tls::ALPN]), server_name, token: Bytes::new() };
    let dcid = random_cid(&mut rng);
    Connection::new(now, setup(&mut rng, role, dcid, config)).expect("valid TLS settings")
}

/// All datagrams that `connection` wants to send now.
pub(crate) fn datagrams(connection: &mut Connection, now: Instant) -> Vec<(Transmit, Vec<u8>)> {
    let mut buf = Vec::new();
    let mut all = Vec::new();
    while let Some(transmit) = connection.poll_transmit(now, &mut buf, 10) {
        let size = transmit.segment_size.unwrap_or(transmit.len);
        all.extend(buf[..transmit.len].chunks(size).map(|chunk| (transmit, chunk.to_vec())));
    }
    all
}

/// The headers of the packets in a datagram, as far as they can be read without keys.
pub(crate) fn headers(mut datagram: &[u8]) -> Vec<PartialHeader> {
    let mut all = Vec::new();
    while let Ok(Header::Protected(header)) = Header::decode(datagram, CID_LEN) {
        datagram = &datagram[header.packet_len..];
        all.push(header);
    }
    all
}

impl Subject {
    /// A server under test; `peer` is a raw client whose first flight is in its outbox.
    pub(crate) fn server(config: TransportConfigBuilder, certificate: Certificate) -> Self {
        let mut rng = Seed::or_env(2).rng();
        let now = Instant::now();
        let peer = RawPeer::client(&mut rng, generous());
        let role = Role::Server {
            tls: tls::server(certificate, &[tls::ALPN]),
            peer_initial_scid: peer.local_cid,
            proof: AddressProof::None,
            retry_source: None,
            preferred: quic_core::config::PreferredAddresses::default(),
        };
        let setup = setup(&mut rng, role, peer.original_dcid, config);
        let connection = Connection::new(now, setup).expect("valid TLS settings");
        Self { now, connection, peer, sent: Vec::new(), last_transmit: None }
    }

    /// A client under test, whose first flight has been received by the raw server `peer`; what
    /// that answers is in its outbox.
    pub(crate) fn client(config: TransportConfigBuilder, params: TransportParameters) -> Self {
        let now = Instant::now();
        let mut connection = lonely_client(now, config);
        let first = datagrams(&mut connection, now);
        let mut rng = Seed::or_env(3).rng();
        let mut peer = RawPeer::server(&mut rng, params, &first[0].1);
        first.iter().for_each(|(_, datagram)| peer.receive(now, datagram));
        let sent = first.into_iter().map(|(_, datagram)| datagram).collect();
        Self { now, connection, peer, sent, last_transmit: None }
    }

    /// A server whose handshake is confirmed.
    pub(crate) fn connected_server() -> Self {
        let mut subject = Self::server(TransportConfig::builder(), Certificate::Small);
        subject.pump();
        assert!(subject.connection.is_confirmed());
        subject
    }

    /// A client whose handshake is confirmed.
    pub(crate) fn connected_client() -> Self {
        Self::connected_client_with(TransportConfig::builder(), generous())
    }

    /// A client whose handshake is confirmed, with these settings and a server with `params`.
    pub(crate) fn connected_client_with(
        config: TransportConfigBuilder,
        params: TransportParameters,
    ) -> Self {
        let mut subject = Self::client(config, params);
        subject.pump();
        subject.send_frames(&[0x1e]);
        assert!(subject.connection.is_confirmed());
        subject
    }

    /// Hands a datagram to the connection, which does not answer yet.
    pub(crate) fn hand_over(&mut self, datagram: &[u8]) {
        let meta = DatagramMeta::new(PEER.into());
        self.connection.recv(self.now, &meta, Train::single(&mut datagram.to_vec()));
    }

    /// Hands a datagram to the connection and lets both sides talk it over.
    pub(crate) fn send(&mut self, datagram: &[u8]) {
        self.hand_over(datagram);
        self.pump();
    }

    /// The same with a 1-RTT packet of these frames.
    pub(crate) fn send_frames(&mut self, payload: &[u8]) {
        let datagram = self.peer.one_rtt(payload);
        self.send(&datagram);
    }

    /// What the connection sends now goes to the raw peer; returns how many datagrams that were.
    pub(crate) fn transmit(&mut self) -> usize {
        let sent = datagrams(&mut self.connection, self.now);
        let count = sent.len();
        for (transmit, datagram) in sent {
            self.peer.receive(self.now, &datagram);
            self.last_transmit = Some(transmit);
            self.sent.push(datagram);
        }
        count
    }

    /// Carries datagrams to and fro until nobody has anything to say at this time.
    pub(crate) fn pump(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut quiet = self.transmit() == 0;
            while let Some(datagram) = self.peer.poll_datagram() {
                self.hand_over(&datagram);
                quiet = false;
            }
            if quiet {
                return;
            }
        }
        panic!("the conversation does not end");
    }

    /// Lets time pass with every deadline of the connection in its time.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.connection.timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.connection.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    /// The packets of type `ty` that the raw peer has received from index `from` on.
    pub(crate) fn received_since(
        &self,
        from: usize,
        ty: PacketType,
    ) -> impl Iterator<Item = &ReceivedPacket> {
        self.peer.received[from..].iter().filter(move |packet| packet.ty == ty)
    }

    /// True if the connection acknowledges a PING of type `ty` made by `build`.
    pub(crate) fn is_answered(&mut self, space: SpaceId, number: u64, datagram: &[u8]) -> bool {
        self.send(datagram);
        self.advance(Duration::from_millis(30));
        self.peer.is_acknowledged(space, number)
    }
}
