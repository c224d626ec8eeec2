//! Two endpoints joined by a list of datagrams, in virtual time.

mod lessons;
mod limits;
mod routing;
mod strangers;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::config::{ClientConfig, TransportConfig};
use crate::connection::ConnectionEvent;
use crate::error::ConnectionError;

const CLIENT: SocketAddr = address(1);
const SERVER: SocketAddr = address(2);

const fn address(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, host)), 443)
}

/// Certificates are expensive; all tests trust the same one.
static CONFIGS: LazyLock<(Arc<ClientConfig>, Arc<ServerConfig>)> = LazyLock::new(|| {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let client = ClientConfig::with_roots(roots, &[b"test"]).unwrap();
    let server = ServerConfig::with_certificate(vec![cert], key, &[b"test"]).unwrap();
    (Arc::new(client), Arc::new(server))
});

fn client_config() -> &'static Arc<ClientConfig> {
    &CONFIGS.0
}

fn server_config() -> Arc<ServerConfig> {
    Arc::clone(&CONFIGS.1)
}

/// An endpoint with its address and what it has told so far.
struct Host {
    endpoint: Endpoint,
    events: VecDeque<EndpointEvent>,
    connection_events: Vec<(ConnectionHandle, ConnectionEvent)>,
}

impl Host {
    fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, events: VecDeque::new(), connection_events: Vec::new() }
    }

    fn client() -> Self {
        let rng = Rng::from_seed([1; 32]);
        Self::new(Endpoint::new(EndpointConfig::default(), None, rng))
    }

    fn server(config: EndpointConfig) -> Self {
        let rng = Rng::from_seed([2; 32]);
        Self::new(Endpoint::new(config, Some(server_config()), rng))
    }

    fn recv(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let meta = DatagramMeta::new(from);
        self.endpoint.recv(now, meta, Train::single(&mut datagram.to_vec()));
    }

    /// Everything that the endpoint has to send, datagram by datagram.
    fn transmits(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut buf = Vec::new();
        let mut all = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut buf, 10) {
            let size = transmit.segment_size.unwrap_or(transmit.len);
            let datagrams = buf[..transmit.len].chunks(size);
            all.extend(datagrams.map(|datagram| (transmit.remote, datagram.to_vec())));
        }
        all
    }

    fn take_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            if let EndpointEvent::Connection(handle) = event {
                let connection = self.endpoint.connection_mut(handle).unwrap();
                while let Some(event) = connection.poll_event() {
                    self.connection_events.push((handle, event));
                }
            } else {
                self.events.push_back(event);
            }
        }
    }

    fn incoming(&mut self) -> IncomingId {
        self.take_events();
        match self.events.pop_front() {
            Some(EndpointEvent::Incoming { id, remote: CLIENT, .. }) => id,
            other => panic!("expected a client, got {other:?}"),
        }
    }

    fn close_reason(&self, handle: ConnectionHandle) -> Option<ConnectionError> {
        self.connection_events.iter().find_map(|(of, event)| match event {
            ConnectionEvent::Closed(reason) if *of == handle => Some(reason.clone()),
            _ => None,
        })
    }

    fn is_gone(&self, handle: ConnectionHandle) -> bool {
        self.events.contains(&EndpointEvent::ConnectionGone(handle))
    }
}

/// A client, a server, and a wire that takes no time.
struct Net {
    now: Instant,
    client: Host,
    server: Host,
}

impl Net {
    fn new() -> Self {
        Self::with_server(EndpointConfig::default())
    }

    fn with_server(config: EndpointConfig) -> Self {
        Self { now: Instant::now(), client: Host::client(), server: Host::server(config) }
    }

    fn connect(&mut self) -> ConnectionHandle {
        self.client.endpoint.connect(self.now, client_config(), SERVER, "localhost").unwrap()
    }

    /// A client's first datagram.
    fn first_initial(&mut self) -> Vec<u8> {
        self.connect();
        self.client.transmits(self.now).remove(0).1
    }

    /// Moves all datagrams across until nobody has more to say.
    fn settle(&mut self) {
        for _ in 0..100 {
            let up = self.client.transmits(self.now);
            for (_, datagram) in &up {
                self.server.recv(self.now, CLIENT, datagram);
            }
            let down = self.server.transmits(self.now);
            for (_, datagram) in &down {
                self.client.recv(self.now, SERVER, datagram);
            }
            self.client.take_events();
            self.server.take_events();
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
        panic!("they talk for ever");
    }

    /// A connection that both sides agree on.
    fn established(&mut self) -> [ConnectionHandle; 2] {
        let client = self.connect();
        self.settle();
        let incoming = self.server.incoming();
        let server = self.server.endpoint.accept(self.now, incoming).unwrap();
        self.settle();
        self.advance(Duration::from_millis(100));
        assert!(self.client.endpoint.connection(client).unwrap().is_confirmed());
        [client, server]
    }

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        loop {
            let next = [&self.client, &self.server]
                .into_iter()
                .filter_map(|host| host.endpoint.next_timeout())
                .min()
                .filter(|next| *next <= end);
            self.now = next.unwrap_or(end).max(self.now);
            self.client.endpoint.handle_timeout(self.now);
            self.server.endpoint.handle_timeout(self.now);
            self.settle();
            if next.is_none() {
                return;
            }
        }
    }
}
