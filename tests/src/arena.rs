//! One endpoint under test among any number of raw peers, without a network between them:
//! datagrams arrive at once, and time passes only when the test says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quic_core::config::{
    ClientConfig, EndpointConfig, EndpointConfigBuilder, ServerConfig, TransportConfig,
    TransportConfigBuilder,
};
use quic_core::connection::Connection;
use quic_core::crypto::ResetKey;
use quic_core::endpoint::{ConnectionHandle, Endpoint};
use quic_core::observe::{Observer, Recorder};
use quic_core::util::Rng;
use quic_core::wire::{ConnectionId, TransportParameters};

use crate::host::Host;
use crate::net::Datagram;
use crate::raw_peer::{Closed, RawPeer};
use crate::seed::Seed;
use crate::tls::{self, Certificate};

/// Where the endpoint under test is.
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 2], 443);
const TRACE: usize = 500;
/// Rounds of datagrams to and fro, after which the conversation does not end.
const MAX_ROUNDS: usize = 1_000;

/// A raw peer of an [`Arena`], by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId(SocketAddr);

/// An endpoint under test and its raw peers.
pub struct Arena {
    /// The present.
    pub now: Instant,
    /// The endpoint under test.
    pub host: Host,
    /// Datagrams that the endpoint sent to nobody who is there.
    pub strays: Vec<Datagram>,
    /// Luck for the test.
    pub rng: Rng,
    /// What the endpoint connects with.
    pub client_config: Arc<ClientConfig>,
    /// What the endpoint accepts with; see [`Arena::take_early_data`].
    server_config: ServerConfig,
    peers: BTreeMap<PeerId, RawPeer>,
    handles: BTreeMap<PeerId, ConnectionHandle>,
    next_port: u16,
    trace: Recorder,
}

impl Arena {
    /// An endpoint that accepts connections and begins them, all with these settings.
    ///
    /// # Panics
    ///
    /// If the settings contradict each other.
    pub fn new(transport: TransportConfigBuilder) -> Self {
        Self::with_endpoint(transport, EndpointConfig::builder())
    }

    /// Default settings.
    pub fn with_defaults() -> Self {
        Self::new(TransportConfig::builder())
    }

    /// The same with settings of the endpoint.
    ///
    /// # Panics
    ///
    /// If the settings contradict each other.
    pub fn with_endpoint(
        transport: TransportConfigBuilder,
        endpoint: EndpointConfigBuilder,
    ) -> Self {
        let mut rng = Seed::or_env(1).rng();
        let now = Instant::now();
        let trace = Recorder::new("", now, TRACE);
        let recorder = trace.clone();
        let observer = Arc::new(move |_: &_| Some(Box::new(recorder.clone()) as Box<dyn Observer>));
        let transport = Arc::new(transport.observer(observer).build().expect("valid settings"));
        let client = ClientConfig::new(tls::client(&[tls::ALPN]), transport.clone());
        let server_tls = tls::server(Certificate::Small, &[tls::ALPN]);
        let server = ServerConfig::new(server_tls, transport).expect("valid settings");
        let endpoint = endpoint.reset_key(ResetKey::new(&rng.array())).build();
        let endpoint = Endpoint::new(
            endpoint.expect("valid settings"),
            Some(Arc::new(server.clone())),
            rng.fork(),
        );
        Self {
            now,
            host: Host::new(endpoint, ADDRESS.into()),
            strays: Vec::new(),
            rng,
            client_config: Arc::new(client.expect("valid settings")),
            server_config: server,
            peers: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_port: 1024,
            trace,
        }
    }

    /// The endpoint sends early data, and accepts it, from now on.
    ///
    /// # Panics
    ///
    /// If the settings do not allow it.
    pub fn take_early_data(&mut self) {
        self.client_config = Arc::new((*self.client_config).clone().with_early_data());
        let server = self.server_config.clone().with_early_data(&[]).expect("sessions are stored");
        self.host.endpoint.set_server_config(Some(Arc::new(server)));
    }

    /// Adds a raw client whose first datagrams are still in its outbox.
    pub fn add_client(&mut self, peer: RawPeer) -> PeerId {
        let id = self.next_id();
        self.peers.insert(id, peer);
        id
    }

    /// A raw client that has completed its handshake with the endpoint under test as server.
    pub fn connected_client(&mut self) -> PeerId {
        let peer = RawPeer::client(&mut self.rng, generous_parameters());
        self.connected(peer)
    }

    /// Completes the handshake of `client`.
    ///
    /// # Panics
    ///
    /// If it does not complete.
    pub fn connected(&mut self, client: RawPeer) -> PeerId {
        let id = self.add_client(client);
        self.pump();
        assert!(self.peer(id).is_connected(), "the handshake completes");
        id
    }

    /// The address that the endpoint under test knows a peer by.
    pub fn address(&self, id: PeerId) -> SocketAddr {
        id.0
    }

    /// Lets the endpoint under test begin a connection; gives its first datagrams to `serve`, which
    /// makes the raw server that answers.
    pub fn connect_to(&mut self, serve: impl FnOnce(&mut Rng, &[u8]) -> RawPeer) -> PeerId {
        let id = self.next_id();
        let handle = self.host.connect(self.now, &self.client_config, id.0);
        self.handles.insert(id, handle);
        let mut first = Vec::new();
        self.host.transmit(self.now, |datagram| first.push(datagram.payload));
        let mut peer = serve(&mut self.rng, first.first().expect("a first flight"));
        for datagram in &first {
            peer.receive(self.now, datagram);
        }
        self.peers.insert(id, peer);
        id
    }

    /// A raw server that has completed its handshake with the endpoint under test as client.
    ///
    /// # Panics
    ///
    /// If it does not complete.
    pub fn connected_server(&mut self) -> PeerId {
        let id = self.connect_to(|rng, first| RawPeer::server(rng, generous_parameters(), first));
        self.pump();
        assert!(self.peer(id).is_connected(), "the handshake completes");
        let done = self.peer(id).one_rtt(&[0x1e]);
        self.send(id, &done);
        id
    }

    /// A raw client that has the server's first flight, and thus all keys, and has not answered.
    ///
    /// # Panics
    ///
    /// If the endpoint does not answer.
    pub fn client_in_handshake(&mut self) -> PeerId {
        let mut peer = RawPeer::client(&mut self.rng, generous_parameters());
        let hello = peer.poll_datagram().expect("a first flight");
        let id = self.add_client(peer);
        self.hand_over(id, &hello);
        for datagram in self.transmit() {
            let now = self.now;
            self.peer(id).receive(now, &datagram.payload);
        }
        assert!(self.peer(id).is_connected());
        id
    }

    /// The raw peer.
    pub fn peer(&mut self, id: PeerId) -> &mut RawPeer {
        self.peers.get_mut(&id).expect("a peer of this arena")
    }

    /// The endpoint's side of the connection to a raw peer, once there is one.
    pub fn handle(&self, id: PeerId) -> Option<ConnectionHandle> {
        self.handles.get(&id).copied()
    }

    /// The endpoint's side of the connection to a raw peer.
    ///
    /// # Panics
    ///
    /// If there is none, or none any more.
    pub fn connection(&mut self, id: PeerId) -> &mut Connection {
        let handle = self.handle(id).expect("a connection");
        self.host.connection(handle).expect("a connection that is still there")
    }

    /// Hands a datagram of the raw peer to the endpoint, and lets everybody react.
    pub fn send(&mut self, id: PeerId, datagram: &[u8]) {
        self.hand_over(id, datagram);
        self.pump();
    }

    /// Hands a 1-RTT packet with these frames to the endpoint, and lets everybody react.
    pub fn send_frames(&mut self, id: PeerId, payload: &[u8]) {
        let datagram = self.peer(id).one_rtt(payload);
        self.send(id, &datagram);
    }

    /// Hands a datagram over; nobody reacts yet.
    pub fn hand_over(&mut self, id: PeerId, datagram: &[u8]) {
        let payload = datagram.to_vec();
        let to = self.host.address;
        self.host.receive(self.now, &Datagram { from: id.0, to, ecn: None, payload });
        self.take_events();
    }

    /// Carries datagrams to and fro until nobody has anything to say at this time.
    ///
    /// # Panics
    ///
    /// If that never ends.
    pub fn pump(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut quiet = true;
            for id in self.peers.keys().copied().collect::<Vec<_>>() {
                while let Some(datagram) = self.peer(id).poll_datagram() {
                    self.hand_over(id, &datagram);
                    quiet = false;
                }
            }
            for datagram in self.transmit() {
                quiet = false;
                match self.peers.get_mut(&PeerId(datagram.to)) {
                    Some(peer) => peer.receive(self.now, &datagram.payload),
                    None => self.strays.push(datagram),
                }
            }
            if quiet {
                return self.take_events();
            }
        }
        panic!("the conversation does not end");
    }

    /// What the endpoint sends now, taken away from the raw peers.
    pub fn transmit(&mut self) -> Vec<Datagram> {
        self.take_events();
        let mut sent = Vec::new();
        self.host.transmit(self.now, |datagram| sent.push(datagram));
        sent
    }

    /// Lets time pass, with every deadline of the endpoint in its time.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.host.endpoint.next_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.host.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    /// How the endpoint has closed the connection to a peer.
    pub fn closed(&mut self, id: PeerId) -> Option<Closed> {
        self.peer(id).closed()
    }

    /// True if the endpoint acknowledges a PING of the peer.
    pub fn is_alive(&mut self, id: PeerId) -> bool {
        use quic_core::wire::SpaceId;
        let number = self.peer(id).next_number(SpaceId::Data);
        self.send_frames(id, &[0x01]);
        self.advance(Duration::from_millis(30));
        self.peer(id).is_acknowledged(SpaceId::Data, number)
    }

    fn take_events(&mut self) {
        let handles = &mut self.handles;
        self.host.take_events(self.now, |connection, handle, _| {
            handles.entry(PeerId(connection.remote_address())).or_insert(handle);
        });
    }

    fn next_id(&mut self) -> PeerId {
        self.next_port += 1;
        PeerId(([192, 0, 2, 1], self.next_port).into())
    }
}

/// What raw peers allow, so that nothing holds the endpoint under test back.
pub fn generous_parameters() -> TransportParameters {
    TransportParameters {
        initial_max_data: 1 << 30,
        initial_max_stream_data_bidi_local: 1 << 30,
        initial_max_stream_data_bidi_remote: 1 << 30,
        initial_max_stream_data_uni: 1 << 30,
        initial_max_streams_bidi: 100,
        initial_max_streams_uni: 100,
        active_connection_id_limit: 8,
        ..TransportParameters::default()
    }
}

/// A connection ID of these bytes.
pub fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).expect("short enough")
}

/// Shows what happened when a test fails.
impl Drop for Arena {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.trace);
            eprintln!("to replay: {}", Seed::or_env(1).replay());
        }
    }
}
