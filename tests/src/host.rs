//! One endpoint on the simulated network: the loop that a driver would run, without sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use quic_core::buffer::{Occupancy, Slab, SlabRing};
use quic_core::config::ClientConfig;
use quic_core::connection::{Connection, ConnectionEvent, PathEvent};
use quic_core::endpoint::{ConnectionHandle, Endpoint, EndpointEvent, IncomingId};
use quic_core::error::ConnectionError;
use quic_core::path::AddressProof;
use quic_core::stream::StreamAudit;
use quic_core::{DatagramMeta, SocketId, Train};

use crate::net::Datagram;
use crate::tls;

/// Datagrams that are written in one call.
const TRAIN: usize = 16;
/// Receive memory: a slab holds one datagram, so that little of it is shared by streams.
const SLAB: usize = 2048;
const SLABS: usize = 64;

/// What is known of a connection of a host.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// TLS is complete.
    pub connected: bool,
    /// Both sides know.
    pub confirmed: bool,
    /// It ended, and why.
    pub closed: Option<ConnectionError>,
    /// What became of its paths.
    pub paths: Vec<PathEvent>,
    /// The endpoint has forgotten it.
    pub gone: bool,
    /// Sums over its streams, as they were before it ended.
    pub audit: StreamAudit,
}

/// An endpoint with its address and its connections.
pub struct Host {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its address, that of its first socket.
    pub address: SocketAddr,
    /// The addresses of its other sockets.
    pub also: Vec<SocketAddr>,
    /// False if incoming connections are left waiting.
    pub accepts: bool,
    /// Those that were, and how they have proved their address.
    pub waiting: Vec<(IncomingId, AddressProof)>,
    /// True if nothing may keep a slice of a received datagram.
    pub copies: bool,
    connections: Vec<(ConnectionHandle, Known)>,
    ring: SlabRing,
    slab: Slab,
    buf: Vec<u8>,
}

impl Host {
    /// A host at `address`.
    pub fn new(endpoint: Endpoint, address: SocketAddr) -> Self {
        let mut ring = SlabRing::new(SLAB, SLABS, Occupancy::default());
        Self {
            endpoint,
            address,
            also: Vec::new(),
            accepts: true,
            waiting: Vec::new(),
            copies: false,
            connections: Vec::new(),
            slab: ring.checkout(),
            ring,
            buf: Vec::new(),
        }
    }

    /// Begins a connection to the test server at `remote`.
    pub fn connect(
        &mut self,
        now: Instant,
        config: &Arc<ClientConfig>,
        remote: SocketAddr,
    ) -> ConnectionHandle {
        let handle = self
            .endpoint
            .connect(now, config, remote, tls::SERVER_NAME)
            .expect("a connection can be begun");
        self.connections.push((handle, Known::default()));
        handle
    }

    /// Accepts a client that waits.
    pub fn accept(&mut self, now: Instant, id: IncomingId) {
        let handle = self.endpoint.accept(now, id).expect("room for a connection");
        self.connections.push((handle, Known::default()));
    }

    /// Connections in the order of their beginning, those that are over included.
    pub fn handles(&self) -> Vec<ConnectionHandle> {
        self.connections.iter().map(|(handle, _)| *handle).collect()
    }

    /// What is known of a connection.
    pub fn known(&self, handle: ConnectionHandle) -> &Known {
        &self.connections.iter().find(|(known, _)| *known == handle).expect("a connection").1
    }

    /// The connection, if it is not forgotten yet.
    pub fn connection(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        self.endpoint.connection_mut(handle)
    }

    /// The socket with this address.
    pub fn socket_at(&self, address: SocketAddr) -> Option<SocketId> {
        let mut all = std::iter::once(&self.address).chain(&self.also);
        let index = all.position(|known| *known == address)?;
        Some(SocketId(u16::try_from(index).expect("few sockets")))
    }

    /// Hands over a datagram.
    pub fn receive(&mut self, now: Instant, datagram: &Datagram) {
        let socket = self.socket_at(datagram.to).unwrap_or_default();
        let meta = DatagramMeta { socket, ecn: datagram.ecn, ..DatagramMeta::new(datagram.from) };
        let len = datagram.payload.len();
        if self.copies || len > SLAB {
            let mut payload = datagram.payload.clone();
            return self.endpoint.recv(now, meta, Train::single(&mut payload));
        }
        self.ring.renew(&mut self.slab);
        self.slab.begin().expect("renewed")[..len].copy_from_slice(&datagram.payload);
        self.endpoint.recv(now, meta, Train::new(&mut self.slab, len, len));
    }

    /// Gives everything that is to be sent now to `send`.
    pub fn transmit(&mut self, now: Instant, mut send: impl FnMut(Datagram)) {
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut self.buf, TRAIN) {
            let size = transmit.segment_size.unwrap_or(transmit.len);
            let from = match transmit.socket {
                SocketId::FIRST => self.address,
                SocketId(other) => self.also[usize::from(other) - 1],
            };
            for payload in self.buf[..transmit.len].chunks(size) {
                send(Datagram {
                    from,
                    to: transmit.remote,
                    ecn: transmit.ecn,
                    payload: payload.to_vec(),
                });
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.endpoint.next_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
        }
    }

    /// Takes all events; those about streams go to `on_event`, others change [`Host::known`].
    pub fn take_events(
        &mut self,
        now: Instant,
        mut on_event: impl FnMut(&mut Connection, ConnectionHandle, ConnectionEvent),
    ) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                EndpointEvent::Incoming { id, proof, .. } => {
                    if !self.accepts {
                        self.waiting.push((id, proof));
                    } else {
                        self.accept(now, id);
                    }
                }
                EndpointEvent::Connection(handle) => self.take_connection(handle, &mut on_event),
                EndpointEvent::ConnectionGone(handle) => self.known_mut(handle).gone = true,
            }
        }
    }

    fn take_connection(
        &mut self,
        handle: ConnectionHandle,
        on_event: &mut impl FnMut(&mut Connection, ConnectionHandle, ConnectionEvent),
    ) {
        let Some(connection) = self.endpoint.connection_mut(handle) else { return };
        let known = self.connections.iter_mut().find(|(known, _)| *known == handle);
        let known = &mut known.expect("a connection").1;
        while let Some(event) = connection.poll_event() {
            match &event {
                ConnectionEvent::Connected => known.connected = true,
                ConnectionEvent::HandshakeConfirmed => known.confirmed = true,
                ConnectionEvent::Closed(reason) => known.closed = Some(reason.clone()),
                ConnectionEvent::Path(event) => known.paths.push(*event),
                ConnectionEvent::EarlyDataAccepted
                | ConnectionEvent::EarlyDataRejected
                | ConnectionEvent::Stream(_) => {}
            }
            on_event(connection, handle, event);
        }
        if known.closed.is_none() {
            known.audit = connection.streams().audit();
        }
    }

    fn known_mut(&mut self, handle: ConnectionHandle) -> &mut Known {
        let known = self.connections.iter_mut().find(|(known, _)| *known == handle);
        &mut known.expect("a connection").1
    }
}
