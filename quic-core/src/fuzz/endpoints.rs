//! Programs over two endpoints and the wire between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::buffer::{Occupancy, Slab, SlabRing, Train};
use crate::config::{ClientConfig, EndpointConfig, ServerConfig};
use crate::crypto;
use crate::endpoint::{ConnectionHandle, Endpoint, EndpointEvent};
use crate::path::DatagramMeta;
use crate::stream::Read;
use crate::util::Rng;
use crate::wire::{ApplicationErrorCode, Dir, Side, StreamId};

/// A program ends here, so that no input takes long.
const MAX_STEPS: usize = 400;
/// Datagrams on the wire in each direction; more are lost.
const MAX_ON_WIRE: usize = 64;
/// Datagrams that an endpoint may send in a row: more would mean that it never stops.
const MAX_BURST: usize = 10_000;
const MAX_CONNECTIONS: usize = 8;
/// Receive memory for one train; a single datagram is too small a part of it to be lent.
const SLAB: usize = 8192;
const MAX_INCOMING: usize = 4;
const MAX_INCOMING_BYTES: usize = 10_000;

const ADDRESSES: [SocketAddr; 2] = [address(1), address(2)];

const fn address(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, host)), 443)
}

/// A key that protects nothing, with its certificate. Signatures of its kind have one length, so
/// that runs do not differ in size.
static TLS: LazyLock<(Arc<ClientConfig>, Arc<ServerConfig>)> = LazyLock::new(|| {
    let cert = CertificateDer::from(&include_bytes!("certificate.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("certificate.key")[..]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.clone()).expect("a certificate");
    let mut client = crypto::client_config(roots, &[b"fuzz"]).expect("TLS 1.3");
    client.resumption = Resumption::disabled();
    let server = crypto::server_config(vec![cert], key.into(), &[b"fuzz"]).expect("a key");
    let client = ClientConfig::new(Arc::new(client), Arc::default()).expect("QUIC");
    let server = ServerConfig::new(Arc::new(server), Arc::default()).expect("QUIC");
    (Arc::new(client), Arc::new(server))
});

/// Runs `program` over a client and a server, in a time of its own that begins at `start`.
///
/// Each byte is a step, and some are followed by arguments. Steps move, drop, repeat, swap and
/// change datagrams, forge new ones, let time pass, call the applications' side, and say whatever
/// frames one likes in the name of the peer.
///
/// Keys differ from run to run, as they come from the TLS library; everything else follows from
/// the program. Afterwards there is silence, in which every connection must come to its end.
pub fn connection(start: Instant, program: &[u8]) {
    let mut world = World::new(start, program);
    for _ in 0..MAX_STEPS {
        let Some(step) = world.byte() else { break };
        world.step(step);
    }
    world.fall_silent();
}

struct Host {
    endpoint: Endpoint,
    connections: Vec<ConnectionHandle>,
    /// What the wire carries to this host.
    inbox: VecDeque<Vec<u8>>,
    ring: SlabRing,
    slab: Slab,
}

impl Host {
    fn new(endpoint: Endpoint) -> Self {
        let mut ring = SlabRing::new(SLAB, 4, Occupancy::default());
        let slab = ring.checkout();
        Self { endpoint, connections: Vec::new(), inbox: VecDeque::new(), ring, slab }
    }

    /// Takes what the wire carries next, with what fits into one train with it.
    fn receive(&mut self, now: Instant, meta: DatagramMeta) {
        let Some(mut first) = self.inbox.pop_front() else { return };
        let stride = first.len();
        if stride > SLAB {
            return self.endpoint.recv(now, meta, Train::single(&mut first));
        }
        self.ring.renew(&mut self.slab);
        let memory = self.slab.begin().expect("renewed");
        memory[..stride].copy_from_slice(&first);
        let mut len = stride;
        while len % stride.max(1) == 0
            && let Some(next) =
                self.inbox.pop_front_if(|n| n.len() <= stride && len + n.len() <= SLAB)
        {
            memory[len..len + next.len()].copy_from_slice(&next);
            len += next.len();
        }
        self.endpoint.recv(now, meta, Train::new(&mut self.slab, len, stride));
    }
}

struct World<'a> {
    program: &'a [u8],
    now: Instant,
    /// The client and the server.
    hosts: [Host; 2],
}

impl<'a> World<'a> {
    fn new(now: Instant, program: &'a [u8]) -> Self {
        let config = EndpointConfig::builder()
            .max_connections(MAX_CONNECTIONS)
            .max_incoming(MAX_INCOMING)
            .max_incoming_bytes(MAX_INCOMING_BYTES)
            .build()
            .expect("consistent limits");
        let hosts = [(1, None), (2, Some(Arc::clone(&TLS.1)))].map(|(seed, server)| {
            Host::new(Endpoint::new(config.clone(), server, Rng::from_seed([seed; 32])))
        });
        let mut world = Self { program, now, hosts };
        world.connect();
        world
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.program.split_first()?;
        self.program = rest;
        Some(*byte)
    }

    /// An argument; those that the program lacks are zero.
    fn argument(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    /// So many bytes of the program as the argument says and as there are.
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.argument().min(self.program.len());
        let (bytes, rest) = self.program.split_at(len);
        self.program = rest;
        bytes
    }

    fn step(&mut self, step: u8) {
        let host = usize::from(step & 1);
        match step >> 1 {
            0..=15 => self.deliver(host),
            16 => drop(self.hosts[host].inbox.pop_front()),
            17 => {
                let first = self.hosts[host].inbox.front().cloned();
                self.hosts[host].inbox.extend(first);
            }
            18 => {
                let inbox = &mut self.hosts[host].inbox;
                inbox.rotate_left(1.min(inbox.len()));
            }
            19 => self.damage(host),
            20 => self.forge(host),
            21 => {
                let datagram = self.bytes().to_vec();
                self.hosts[host].inbox.push_back(datagram);
            }
            22 => {
                let millis = self.argument() as u64;
                self.pass(Duration::from_millis(millis));
            }
            23 => self.pass_to_next_deadline(),
            24..=31 => self.write(host),
            32..=39 => self.read(host),
            40 => self.reset(host),
            41 => self.stop(host),
            42 => self.close(host),
            43 => self.connect(),
            44..=63 => self.inject(host),
            64..=95 => self.exchange(),
            _ => self.inject_valid_prefix(host),
        }
        self.look_after();
    }

    fn connect(&mut self) {
        let client = &mut self.hosts[0];
        if let Ok(handle) = client.endpoint.connect(self.now, &TLS.0, ADDRESSES[1], "fuzz") {
            client.connections.push(handle);
        }
        self.look_after();
    }

    fn deliver(&mut self, host: usize) {
        self.hosts[host].receive(self.now, DatagramMeta::new(ADDRESSES[1 - host]));
    }

    /// Everything that is on the wire arrives, and what it leads to.
    fn exchange(&mut self) {
        for _ in 0..10 {
            for host in [1, 0] {
                for _ in 0..self.hosts[host].inbox.len() {
                    self.deliver(host);
                }
                self.look_after();
            }
        }
    }

    /// Changes a byte of the next datagram, or cuts it.
    fn damage(&mut self, host: usize) {
        let [place, value] = [self.argument(), self.argument()];
        if let Some(datagram) = self.hosts[host].inbox.front_mut() {
            match datagram.get_mut(place) {
                Some(byte) => *byte ^= value as u8,
                None => datagram.truncate(value),
            }
        }
    }

    /// Puts other bytes behind the start of the next datagram, and with them its connection ID.
    fn forge(&mut self, host: usize) {
        let keep = self.argument() % 40;
        let bytes = self.bytes();
        if let Some(datagram) = self.hosts[host].inbox.front_mut() {
            datagram.truncate(keep);
            datagram.extend(bytes);
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        for host in &mut self.hosts {
            host.endpoint.handle_timeout(self.now);
        }
    }

    fn pass_to_next_deadline(&mut self) {
        let deadlines = self.hosts.iter().filter_map(|host| host.endpoint.next_timeout());
        let next = deadlines.min().unwrap_or(self.now);
        self.pass(next.saturating_duration_since(self.now));
    }

    fn pick(&mut self, host: usize) -> Option<ConnectionHandle> {
        let which = self.argument();
        let connections = &self.hosts[host].connections;
        connections.get(which % connections.len().max(1)).copied()
    }

    fn stream(&mut self) -> StreamId {
        let [which, index] = [self.argument(), self.argument()];
        let initiator = if which & 1 == 0 { Side::Client } else { Side::Server };
        let dir = if which & 2 == 0 { Dir::Bi } else { Dir::Uni };
        StreamId::new(initiator, dir, index as u64 % 4)
    }

    fn write(&mut self, host: usize) {
        let Some(handle) = self.pick(host) else { return };
        let [flags, len] = [self.argument(), self.argument() * 64];
        let Some(connection) = self.hosts[host].endpoint.connection_mut(handle) else { return };
        let dir = if flags & 1 == 0 { Dir::Bi } else { Dir::Uni };
        let Some(id) = connection.streams().open(dir) else { return };
        // Whether there is room, or the stream is still open, is a matter of the program.
        let _ = connection.streams().write(id, Bytes::from(vec![7; len]));
        if flags & 2 != 0 {
            let _ = connection.streams().finish(id);
        }
        if flags & 4 != 0 {
            connection.streams().release(id);
        }
    }

    fn read(&mut self, host: usize) {
        let Some(handle) = self.pick(host) else { return };
        let Some(connection) = self.hosts[host].endpoint.connection_mut(handle) else { return };
        for dir in Dir::ALL {
            while let Some(id) = connection.streams().accept(dir) {
                while let Ok(Read::Chunk(data)) = connection.streams().read(id) {
                    connection.streams().release_credit(id, data.len() as u64);
                }
                connection.streams().release(id);
            }
        }
    }

    fn reset(&mut self, host: usize) {
        let (Some(handle), id) = (self.pick(host), self.stream()) else { return };
        if let Some(connection) = self.hosts[host].endpoint.connection_mut(handle) {
            connection.streams().reset(id, ApplicationErrorCode::from(1));
        }
    }

    fn stop(&mut self, host: usize) {
        let (Some(handle), id) = (self.pick(host), self.stream()) else { return };
        if let Some(connection) = self.hosts[host].endpoint.connection_mut(handle) {
            connection.streams().stop(id, ApplicationErrorCode::from(2));
        }
    }

    fn close(&mut self, host: usize) {
        let Some(handle) = self.pick(host) else { return };
        if let Some(connection) = self.hosts[host].endpoint.connection_mut(handle) {
            connection.close(self.now, ApplicationErrorCode::from(3), Bytes::new());
        }
    }

    /// Any bytes as the frames of an authentic packet.
    fn inject(&mut self, host: usize) {
        let Some(handle) = self.pick(host) else { return };
        let payload = self.bytes().to_vec();
        if let Some(connection) = self.hosts[host].endpoint.connection_mut(handle) {
            connection.inject_frames(self.now, &payload);
        }
    }

    /// The same for a connection whose handshake is complete for sure.
    fn inject_valid_prefix(&mut self, host: usize) {
        self.exchange();
        self.inject(host);
    }

    /// What a driver does between datagrams: send, accept, take events.
    fn look_after(&mut self) {
        for host in 0..2 {
            self.send(host);
            while let Some(event) = self.hosts[host].endpoint.poll_event() {
                self.on_event(host, event);
            }
            self.send(host);
        }
        let server = &self.hosts[1].endpoint;
        assert!(server.incoming_count() <= MAX_INCOMING);
        assert!(server.incoming_bytes() <= MAX_INCOMING_BYTES);
        assert!(server.connection_count() <= MAX_CONNECTIONS);
    }

    fn on_event(&mut self, host: usize, event: EndpointEvent) {
        let host = &mut self.hosts[host];
        match event {
            EndpointEvent::Incoming { id, .. } => {
                if let Ok(handle) = host.endpoint.accept(self.now, id) {
                    host.connections.push(handle);
                }
            }
            EndpointEvent::Connection(handle) => {
                let connection = host.endpoint.connection_mut(handle).expect("it needs attention");
                while connection.poll_event().is_some() {}
            }
            EndpointEvent::ConnectionGone(handle) => {
                assert!(host.endpoint.connection(handle).is_none());
                host.connections.retain(|known| *known != handle);
            }
        }
    }

    fn send(&mut self, host: usize) {
        let mut buf = Vec::new();
        for _ in 0..MAX_BURST {
            let sent = self.hosts[host].endpoint.poll_transmit(self.now, &mut buf, 4);
            let Some(transmit) = sent else { return };
            assert!(transmit.len <= buf.len());
            let inbox = &mut self.hosts[1 - host].inbox;
            for datagram in buf[..transmit.len].chunks(transmit.segment_size.unwrap_or(usize::MAX))
            {
                if inbox.len() < MAX_ON_WIRE {
                    inbox.push_back(datagram.to_vec());
                }
            }
        }
        panic!("an endpoint sends for ever");
    }

    /// Nothing arrives any more: every connection ends by its timers.
    fn fall_silent(&mut self) {
        for _ in 0..MAX_STEPS {
            self.look_after();
            self.hosts.iter_mut().for_each(|host| host.inbox.clear());
            if self.hosts.iter().all(|host| host.endpoint.next_timeout().is_none()) {
                break;
            }
            self.pass_to_next_deadline();
        }
        for host in &self.hosts {
            assert_eq!(host.endpoint.connection_count(), 0);
            assert_eq!(host.endpoint.incoming_count(), 0);
            assert!(host.connections.is_empty());
        }
    }
}
