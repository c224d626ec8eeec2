//! A client and a server joined by the simulated network, in virtual time.
//!
//! Everything follows from one seed. When a test panics, the pair prints the last events of both
//! sides and the command that runs the test again with the same seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quic_core::config::{
    AddressValidation, ClientConfig, EndpointConfig, EndpointConfigBuilder, MemoryTokenStore,
    PreferredAddresses, ServerConfig, TokenStore, TransportConfig, TransportConfigBuilder,
};
use quic_core::connection::{Connection, ConnectionEvent};
use quic_core::crypto::ResetKey;
use quic_core::endpoint::{ConnectionHandle, Endpoint};
use quic_core::observe::{Observer, Recorder};
use quic_core::stream::StreamAudit;
use quic_core::util::Rng;
use quic_core::wire::{Side, Version};

use crate::app::{App, Plan};
use crate::host::{Host, Known};
use crate::net::{Datagram, Link, Network};
use crate::seed::Seed;
use crate::tap::FrameTap;
use crate::tls::{self, Certificate};
use crate::wiretap::{Amplification, Crossing};

/// Where the client is.
pub const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 1], 50_000);
/// Where the server is.
pub const SERVER: ([u8; 4], u16) = ([192, 0, 2, 2], 443);

/// Events that are kept for a failing test.
const TRACE: usize = 2_000;
/// Datagrams that are kept for tests that look at them.
const MAX_CROSSINGS: usize = 100_000;
/// Steps without time going on, after which something spins.
const MAX_STEPS_AT_ONCE: u32 = 10_000;

/// How a pair is to be.
#[derive(Clone)]
pub struct Setup {
    /// Where all luck comes from.
    pub seed: Seed,
    /// Settings of the client's connections.
    pub client: TransportConfigBuilder,
    /// Settings of the server's connections.
    pub server: TransportConfigBuilder,
    /// Settings of both endpoints.
    pub endpoint: EndpointConfigBuilder,
    /// How the server validates the addresses of clients.
    pub validation: AddressValidation,
    /// Where the client keeps tokens.
    pub tokens: Arc<dyn TokenStore>,
    /// What the client's connections begin with, and what they offer.
    pub versions: (Version, Vec<Version>),
    /// The only cipher suite of the client, if it is to have one only.
    pub suite: Option<rustls::CipherSuite>,
    /// What the server shows.
    pub certificate: Certificate,
    /// What the client speaks.
    pub client_alpn: Vec<&'static [u8]>,
    /// What the server speaks.
    pub server_alpn: Vec<&'static [u8]>,
    /// The way to the server.
    pub up: Link,
    /// The way to the client.
    pub down: Link,
    /// Whether events are recorded, and printed when the test panics.
    pub traced: bool,
    /// Whether both sides want early data on connections that resume a session.
    pub early_data: bool,
    /// Whether [`Crossing::frames`] is filled in.
    pub tapped: bool,
    /// Where the server asks the client to move to.
    pub preferred: PreferredAddresses,
}

impl Setup {
    /// Default settings, a network without faults and 10 ms of round trip.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            client: TransportConfig::builder(),
            server: TransportConfig::builder(),
            endpoint: EndpointConfig::builder(),
            validation: AddressValidation::new(),
            tokens: Arc::new(MemoryTokenStore::new()),
            versions: (Version::V1, vec![Version::V1]),
            suite: None,
            certificate: Certificate::Small,
            client_alpn: vec![tls::ALPN],
            server_alpn: vec![tls::ALPN],
            up: Link::default(),
            down: Link::default(),
            traced: true,
            early_data: false,
            tapped: false,
            preferred: PreferredAddresses::default(),
        }
    }

    /// Early data is wanted by both sides.
    #[must_use]
    pub fn with_early_data(self) -> Self {
        Self { early_data: true, ..self }
    }

    /// The same link in both directions.
    #[must_use]
    pub fn links(self, link: Link) -> Self {
        Self { up: link.clone(), down: link, ..self }
    }

    /// Changes the settings of both sides' connections.
    #[must_use]
    pub fn transport(
        self,
        change: impl Fn(TransportConfigBuilder) -> TransportConfigBuilder,
    ) -> Self {
        Self { client: change(self.client), server: change(self.server), ..self }
    }

    /// The pair; no connection exists yet.
    ///
    /// # Panics
    ///
    /// If settings contradict each other.
    pub fn build(self) -> Pair {
        let mut rng = self.seed.rng();
        let start = Instant::now();
        let trace = Recorder::new("", start, if self.traced { TRACE } else { 0 });
        let taps = self.tapped.then(|| [FrameTap::default(), FrameTap::default()]);
        let transport = |builder: TransportConfigBuilder, name: &str| {
            let recorder = trace.labelled(name);
            let builder = match self.traced {
                true => builder.observer(Arc::new(move |_| {
                    Some(Box::new(recorder.clone()) as Box<dyn Observer>)
                })),
                false => builder,
            };
            let builder = match &taps {
                Some([client, server]) => {
                    let tap = if name == "client" { client.clone() } else { server.clone() };
                    builder.observer(Arc::new(move |_| Some(Box::new(tap.clone()) as _)))
                }
                None => builder,
            };
            Arc::new(builder.build().expect("valid settings"))
        };
        let client_tls = tls::client(&self.client_alpn);
        let client_tls = match self.suite {
            Some(suite) => tls::client_with_suite(&client_tls, suite),
            None => client_tls,
        };
        let (first, offered) = &self.versions;
        let client_config = ClientConfig::new(client_tls, transport(self.client, "client"))
            .and_then(|config| config.with_versions(*first, offered))
            .expect("valid settings")
            .with_sessions(Arc::default())
            .with_token_store(Some(self.tokens));
        let client_config = match self.early_data {
            true => client_config.with_early_data(),
            false => client_config,
        };
        let server_tls = tls::server(self.certificate, &self.server_alpn);
        let server_config = ServerConfig::new(server_tls, transport(self.server, "server"));
        let server_config =
            server_config.expect("valid settings").with_address_validation(self.validation);
        let server_config = server_config.with_preferred_addresses(self.preferred);
        let server_config = Arc::new(match self.early_data {
            true => server_config.with_early_data(&[]).expect("sessions are stored"),
            false => server_config,
        });
        let mut endpoint_config = || {
            let reset_key = ResetKey::new(&rng.array());
            self.endpoint.clone().reset_key(reset_key).build().expect("valid settings")
        };
        let (client, server) = (endpoint_config(), endpoint_config());
        let client = Host::new(Endpoint::new(client, None, rng.fork()), CLIENT.into());
        let server_endpoint =
            Endpoint::new(server.clone(), Some(server_config.clone()), rng.fork());
        Pair {
            seed: self.seed,
            start,
            now: start,
            network: Network::new(self.up, self.down, rng.fork()),
            client,
            server: Host::new(server_endpoint, SERVER.into()),
            server_endpoint: server,
            client_config: Arc::new(client_config),
            server_config,
            external: CLIENT.into(),
            copied_from: None,
            apps: [None, None],
            meddler: None,
            crossings: Vec::new(),
            amplification: Amplification::default(),
            steps_at_once: 0,
            trace,
            taps,
            rng,
        }
    }
}

/// Somebody on the path between client and server: sees each datagram and whether it goes to the
/// server, and says which datagrams go on in its place.
pub type Meddler = Box<dyn FnMut(bool, Datagram) -> Vec<Datagram>>;

/// A client and a server with a network between them; see the module documentation.
pub struct Pair {
    seed: Seed,
    start: Instant,
    /// The present.
    pub now: Instant,
    /// What is between the two; its links can be changed at any time.
    pub network: Network,
    /// The client's endpoint.
    pub client: Host,
    /// The server's endpoint.
    pub server: Host,
    /// What the client connects with.
    pub client_config: Arc<ClientConfig>,
    /// What the server accepts with; see [`Pair::reconfigure_server`].
    pub server_config: Arc<ServerConfig>,
    server_endpoint: EndpointConfig,
    /// The address that the server sees the client at.
    pub external: SocketAddr,
    /// Somebody who sees the client's datagrams sends copies of them from this address, which
    /// arrive before the real ones.
    pub copied_from: Option<SocketAddr>,
    /// What the application of each side does on its first connection: the client's and the
    /// server's.
    pub apps: [Option<App>; 2],
    /// Somebody on the path.
    pub meddler: Option<Meddler>,
    /// All datagrams that were sent, the first ones of a very long run.
    pub crossings: Vec<Crossing>,
    /// What the server may send before it knows that the client is there.
    pub amplification: Amplification,
    steps_at_once: u32,
    trace: Recorder,
    taps: Option<[FrameTap; 2]>,
    /// Luck for the test itself.
    pub rng: Rng,
}

impl Pair {
    /// Default settings.
    pub fn new(seed: Seed) -> Self {
        Setup::new(seed).build()
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets the client begin a connection.
    pub fn connect(&mut self) -> ConnectionHandle {
        let config = self.client_config.clone();
        self.client.connect(self.now, &config, self.server.address)
    }

    /// Begins a connection and drives it until both sides know that the handshake is complete.
    pub fn establish(&mut self) -> ConnectionHandle {
        let handle = self.connect();
        self.drive_until(Duration::from_secs(30), |pair| {
            pair.client.known(handle).confirmed && pair.server_known().is_some_and(|k| k.confirmed)
        });
        handle
    }

    /// Gives both sides the plan to carry out on the first connection.
    pub fn run_plan(&mut self, plan: &Plan) {
        self.apps = [Some(App::new(Side::Client, plan)), Some(App::new(Side::Server, plan))];
    }

    /// True once both applications have carried out their plan.
    pub fn plan_is_done(&mut self) -> bool {
        self.apps.iter().all(|app| app.as_ref().is_some_and(App::is_done))
    }

    /// The server's process dies and starts again: it keeps its keys and loses everything else.
    pub fn restart_server(&mut self) {
        let server = Some(self.server_config.clone());
        let endpoint = Endpoint::new(self.server_endpoint.clone(), server, self.rng.fork());
        self.server = Host::new(endpoint, self.server.address);
    }

    /// The server accepts connections as `config` says from now on.
    pub fn reconfigure_server(&mut self, config: ServerConfig) {
        self.server_config = Arc::new(config);
        self.server.endpoint.set_server_config(Some(Arc::clone(&self.server_config)));
    }

    /// Begins a connection on which the client's application starts at once, with early data, if
    /// that is possible.
    pub fn connect_early(&mut self) -> ConnectionHandle {
        let handle = self.connect();
        let app = &mut self.apps[Side::Client as usize];
        if let (Some(app), Some(connection)) = (app, self.client.connection(handle)) {
            app.start(connection.streams());
        }
        handle
    }

    /// The server's side of the first connection, once there is one.
    pub fn server_handle(&self) -> Option<ConnectionHandle> {
        self.server.handles().first().copied()
    }

    /// What is known of the server's side of the first connection.
    pub fn server_known(&self) -> Option<&Known> {
        Some(self.server.known(self.server_handle()?))
    }

    /// The client's side of the first connection.
    ///
    /// # Panics
    ///
    /// If there is none, or none any more.
    pub fn client_connection(&mut self) -> &mut Connection {
        let handle = self.client.handles()[0];
        self.client.connection(handle).expect("the client's connection")
    }

    /// The server's side of the first connection.
    ///
    /// # Panics
    ///
    /// If there is none, or none any more.
    pub fn server_connection(&mut self) -> &mut Connection {
        let handle = self.server_handle().expect("the server's connection");
        self.server.connection(handle).expect("the server's connection")
    }

    /// The sums over all streams of the first connection: the client's and the server's.
    pub fn audits(&mut self) -> [StreamAudit; 2] {
        [self.client_connection().streams().audit(), self.server_connection().streams().audit()]
    }

    /// True if on both sides all streams are over and everything was given back.
    pub fn all_credit_is_returned(&mut self) -> bool {
        self.audits().into_iter().all(|audit| {
            let leftover =
                StreamAudit { data_sent: 0, data_received: 0, data_returned: 0, ..audit };
            leftover == StreamAudit::default() && audit.data_returned == audit.data_received
        })
    }

    /// Goes on until `condition` is true.
    ///
    /// # Panics
    ///
    /// If nothing more will ever happen, or after `limit` of virtual time.
    pub fn drive_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        while !condition(self) {
            assert!(self.step(), "nothing more will happen, and the condition is not met");
            assert!(self.now <= end, "the condition is not met after {limit:?}");
        }
    }

    /// Goes on for `duration` of virtual time.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.flush();
            match self.next_event() {
                Some(at) if at <= end => self.step(),
                _ => break,
            };
        }
        self.now = end;
    }

    /// Goes on until nothing more will happen: all connections are over and forgotten.
    ///
    /// # Panics
    ///
    /// If that takes more than an hour of virtual time, so there is a timer that never ends.
    pub fn drive_idle(&mut self) {
        let end = self.now + Duration::from_secs(3600);
        while self.step() {
            assert!(self.now <= end, "timers go on for ever");
        }
    }

    /// Goes on to the next arrival or deadline. False if there is none.
    pub fn step(&mut self) -> bool {
        self.flush();
        let Some(next) = self.next_event() else { return false };
        if next > self.now {
            self.now = next;
            self.steps_at_once = 0;
        } else {
            self.steps_at_once += 1;
            assert!(self.steps_at_once < MAX_STEPS_AT_ONCE, "something spins");
        }
        while let Some(datagram) = self.network.receive(self.now) {
            self.deliver(&datagram);
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.flush();
        true
    }

    fn next_event(&self) -> Option<Instant> {
        let timeouts = [&self.client, &self.server].map(|host| host.endpoint.next_timeout());
        timeouts.into_iter().chain([self.network.next_arrival()]).flatten().min()
    }

    fn deliver(&mut self, datagram: &Datagram) {
        if self.server.socket_at(datagram.to).is_some() {
            self.amplification.on_client_datagram(&datagram.payload);
            self.server.receive(self.now, datagram);
        } else if datagram.to == self.external {
            let to = self.client.address;
            self.client.receive(self.now, &Datagram { to, ..datagram.clone() });
        } else if self.client.also.contains(&datagram.to) {
            self.client.receive(self.now, datagram);
        }
    }

    /// Lets both sides react to what happened, and sends what they have to say.
    pub fn flush(&mut self) {
        let Self { client, server, network, crossings, now, .. } = self;
        let Self { external, copied_from, taps, meddler, .. } = self;
        let [client_app, server_app] = &mut self.apps;
        client.take_events(*now, |connection, _, event| drive(client_app, connection, event));
        server.take_events(*now, |connection, _, event| drive(server_app, connection, event));
        let mut send = |to_server: bool, datagram: Datagram| {
            if crossings.len() < MAX_CROSSINGS {
                let tap = taps.as_ref().map(|[client, server]| match to_server {
                    true => client,
                    false => server,
                });
                crossings.push(Crossing::new(*now, to_server, &datagram, tap));
            }
            match meddler {
                None => network.send(*now, to_server, datagram),
                Some(meddler) => meddler(to_server, datagram)
                    .into_iter()
                    .for_each(|datagram| network.send(*now, to_server, datagram)),
            }
        };
        let inside = client.address;
        let mut copies = Vec::new();
        client.transmit(*now, |datagram| {
            if let Some(from) = *copied_from {
                copies.push(Datagram { from, ..datagram.clone() });
            }
            let from = if datagram.from == inside { *external } else { datagram.from };
            send(true, Datagram { from, ..datagram });
        });
        for copy in copies {
            server.receive(*now, &copy);
        }
        let amplification = &mut self.amplification;
        server.transmit(*now, |datagram| {
            amplification.on_server_datagram(datagram.payload.len());
            send(false, datagram);
        });
    }
}

fn drive(app: &mut Option<App>, connection: &mut Connection, event: ConnectionEvent) {
    let Some(app) = app else { return };
    match event {
        ConnectionEvent::Connected => app.start(connection.streams()),
        ConnectionEvent::Stream(event) => app.on_event(connection.streams(), event),
        ConnectionEvent::EarlyDataRejected => app.begin_anew(),
        ConnectionEvent::EarlyDataAccepted
        | ConnectionEvent::HandshakeConfirmed
        | ConnectionEvent::Path(_)
        | ConnectionEvent::Closed(_) => {}
    }
}

/// Shows what happened when a test fails.
impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.trace);
            eprintln!("at {:?}, {:?}", self.elapsed(), self.network.counts);
            for (name, host) in [("client", &self.client), ("server", &self.server)] {
                for handle in host.handles() {
                    eprintln!("{name}: {:?}", host.known(handle));
                }
            }
            eprintln!("to replay: {}", self.seed.replay());
        }
    }
}
