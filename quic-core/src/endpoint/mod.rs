//! Many connections on one socket: which datagram is for whom, and what to do with strangers.
//!
//! | file | what it does |
//! |---|---|
//! | `route` | the routing table: connection IDs and stateless reset tokens |
//! | `strangers` | datagrams for no connection: first packets, unknown versions, lost state |
//! | `incoming` | clients that wait to be accepted, bounded in number and bytes |
//! | `early` | 0-RTT packets that came before their Initial packet, for a moment |
//! | `token` | address-validation tokens: made, examined, used once |
//! | `exchange` | tokens for later connections, to and from the connections |
//! | `stateless` | packets on behalf of no connection, bounded in rate |
//! | `connections`, `ready`, `timers` | the connections, whose turn it is, whose time has come |
//!
//! # Driving an endpoint
//!
//! In a loop: hand in what the socket has received with [`Endpoint::recv`], call
//! [`Endpoint::handle_timeout`] if [`Endpoint::next_timeout`] is over, take what happened with
//! [`Endpoint::poll_event`] until there is nothing more, send what [`Endpoint::poll_transmit`]
//! writes until it returns `None`, and wait for the socket or for [`Endpoint::next_timeout`].
//! Nothing here blocks, and nothing needs another thread.

mod api;
mod connections;
mod early;
mod exchange;
mod incoming;
mod ready;
mod route;
mod stateless;
mod strangers;
mod timers;
mod token;

pub use api::{AcceptError, ConnectError, RetryError};
pub use connections::ConnectionHandle;
pub use incoming::IncomingId;
pub use token::TokenStats;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::buffer::Train;
use crate::config::{EndpointConfig, ServerConfig};
use crate::connection::{Connection, RouteChange};
use crate::crypto::{ResetKey, TokenKey};
use crate::error::Discard;
use crate::path::{AddressProof, DatagramMeta, Transmit};
use crate::util::Rng;
use connections::{Connections, Presence};
use early::EarlyDatagrams;
use incoming::IncomingQueue;
use ready::ReadyQueue;
use route::{Routes, Target};
use stateless::StatelessQueue;
use timers::TimerQueue;
use token::Tokens;

/// Something the owner of an endpoint should look after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointEvent {
    /// A client wants a connection: accept, refuse or ignore it, or it is forgotten after a while.
    Incoming {
        /// What to call it when deciding.
        id: IncomingId,
        /// The address it sends from.
        remote: SocketAddr,
        /// How it has proved that it receives there, if it has.
        proof: AddressProof,
    },
    /// Something happened to the connection: take its events.
    Connection(ConnectionHandle),
    /// The connection is over and forgotten; the handle means nothing from now on.
    ConnectionGone(ConnectionHandle),
}

/// What an endpoint has done since its beginning, in numbers of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Received.
    pub received: u64,
    /// Received, but for no connection, and dropped.
    pub dropped: u64,
    /// First packets that were not kept because too many others wait.
    pub busy: u64,
    /// Version Negotiation packets sent.
    pub version_negotiations: u64,
    /// Stateless resets sent.
    pub stateless_resets: u64,
    /// Clients refused with a packet that says so.
    pub refusals: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Tokens for later connections given to clients.
    pub tokens_issued: u64,
    /// Tokens that clients came with.
    pub tokens: TokenStats,
}

/// All connections on one socket, of either direction.
///
/// See the [module documentation](self) for how to drive it.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    server: Option<Arc<ServerConfig>>,
    reset_key: Arc<ResetKey>,
    rng: Rng,
    routes: Routes,
    connections: Connections,
    incoming: IncomingQueue,
    early: EarlyDatagrams,
    stateless: StatelessQueue,
    tokens: Tokens,
    /// Connections that may have something to send, or a new deadline.
    dirty: ReadyQueue,
    /// Connections whose owner should look at them.
    attention: ReadyQueue,
    /// Drained connections of which the owner was not told yet.
    gone: VecDeque<ConnectionHandle>,
    timers: TimerQueue,
    /// The latest time that the owner told.
    latest: Option<Instant>,
    stats: EndpointStats,
}

impl Endpoint {
    /// An endpoint that accepts connections if `server` says how. All randomness follows from
    /// `rng`, which must be unpredictable to others.
    pub fn new(config: EndpointConfig, server: Option<Arc<ServerConfig>>, mut rng: Rng) -> Self {
        let reset_key = config.reset_key().cloned().unwrap_or_else(|| ResetKey::new(&rng.array()));
        let token_key = TokenKey::new(&rng.array());
        Self {
            tokens: Tokens::new(token_key),
            routes: Routes::new(config.connection_ids().len(), &mut rng),
            incoming: IncomingQueue::new(config.max_incoming(), config.max_incoming_bytes()),
            early: EarlyDatagrams::default(),
            stateless: StatelessQueue::new(config.stateless_rate()),
            server,
            reset_key: Arc::new(reset_key),
            rng,
            connections: Connections::default(),
            dirty: ReadyQueue::default(),
            attention: ReadyQueue::default(),
            gone: VecDeque::new(),
            timers: TimerQueue::default(),
            latest: None,
            stats: EndpointStats::default(),
            config,
        }
    }

    /// Takes datagrams from the socket, all of which have this `meta`. If their memory can be lent,
    /// connections keep parts of it until the application has read them.
    ///
    /// Whatever they hold, this does not fail: what cannot be used is dropped.
    pub fn recv(&mut self, now: Instant, meta: DatagramMeta, mut train: Train<'_>) {
        self.latest = Some(now);
        while let Some(first) = train.datagrams().next() {
            match self.routes.find(first) {
                Some(Target::Connection(handle)) => {
                    let target = Some(Target::Connection(handle));
                    let others = train.datagrams().skip(1);
                    let same = others.take_while(|next| self.routes.find(next) == target).count();
                    self.stats.received += 1 + same as u64;
                    self.deliver(now, handle, &meta, train.split_front(1 + same));
                }
                Some(Target::Incoming(id)) => {
                    self.stats.received += 1;
                    if !self.incoming.push(id, meta, first) {
                        self.drop_datagram(Discard::BufferFull);
                    }
                    train.split_front(1);
                }
                None => {
                    self.stats.received += 1;
                    self.recv_from_stranger(now, &meta, first);
                    train.split_front(1);
                }
            }
        }
    }

    fn deliver(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        meta: &DatagramMeta,
        train: Train<'_>,
    ) {
        if let Some(entry) = self.connections.get_mut(handle) {
            entry.connection.recv(now, meta, train);
            self.exchange_tokens(now, handle);
            self.touch(handle);
        }
    }

    /// The next thing that happened, until there is nothing more.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        if let Some((id, remote, proof)) = self.incoming.next_arrival() {
            return Some(EndpointEvent::Incoming { id, remote, proof });
        }
        while let Some(handle) = self.attention.pop() {
            if self.connections.get(handle).is_some() {
                return Some(EndpointEvent::Connection(handle));
            }
        }
        let handle = self.gone.pop_front()?;
        self.connections.remove(handle);
        Some(EndpointEvent::ConnectionGone(handle))
    }

    /// Writes the next datagrams to `buf` and says where they go, or returns `None` if there is
    /// nothing to send now.
    ///
    /// Up to `max_datagrams` datagrams of equal size (the last may be shorter) stand one after the
    /// other in the first [`Transmit::len`] bytes. `buf` grows as needed and is meant to be reused
    /// without clearing it. Connections take turns.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        max_datagrams: usize,
    ) -> Option<Transmit> {
        self.latest = Some(now);
        if let Some((transmit, packet)) = self.stateless.pop() {
            if buf.len() < packet.len() {
                buf.resize(packet.len(), 0);
            }
            buf[..packet.len()].copy_from_slice(&packet);
            return Some(transmit);
        }
        while let Some(handle) = self.dirty.pop() {
            let Some(entry) = self.connections.get_mut(handle) else { continue };
            let transmit = entry.connection.poll_transmit(now, buf, max_datagrams);
            self.settle(handle);
            if transmit.is_some() {
                self.dirty.push(handle);
                return transmit;
            }
        }
        None
    }

    /// When [`Endpoint::handle_timeout`] is to be called at the latest: in the past as long as
    /// [`Endpoint::poll_event`] or [`Endpoint::poll_transmit`] has not been called to the end.
    pub fn next_timeout(&self) -> Option<Instant> {
        let unpolled = !self.dirty.is_empty()
            || !self.attention.is_empty()
            || !self.gone.is_empty()
            || !self.stateless.is_empty()
            || self.incoming.has_arrivals();
        let at_once = self.latest.filter(|_| unpolled);
        [at_once, self.next_deadline()].into_iter().flatten().min()
    }

    /// As [`Endpoint::next_timeout`], but what only waits to be polled is left aside: this is never
    /// over once [`Endpoint::handle_timeout`] was called. For an owner who cannot poll for a while,
    /// since its socket takes nothing, and has nothing to do until then but this.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.incoming.next_expiry(), self.early.next_expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due at `now`; does no harm before.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.latest = Some(now);
        while let Some(handle) = self.timers.pop_due(now) {
            let Some(entry) = self.connections.get_mut(handle) else { continue };
            match entry.connection.timeout() {
                Some(deadline) if deadline <= now => {
                    entry.connection.handle_timeout(now);
                    self.touch(handle);
                }
                // It moved to later since it was armed.
                Some(deadline) => self.timers.arm(handle, deadline),
                None => {}
            }
        }
        self.early.expire(now);
        while let Some(incoming) = self.incoming.pop_expired(now) {
            self.routes.remove(&incoming.dcid);
        }
    }

    /// Something happened inside the connection.
    fn touch(&mut self, handle: ConnectionHandle) {
        self.dirty.push(handle);
        self.attention.push(handle);
    }

    /// Brings routes and deadline in line with what the connection wants now.
    fn settle(&mut self, handle: ConnectionHandle) {
        self.apply_route_changes(handle);
        self.connections.update_half_open(handle);
        let Some(entry) = self.connections.get_mut(handle) else { return };
        if entry.presence == Presence::Open && entry.connection.is_closed() {
            // Perhaps by its owner, who has not asked for events since.
            entry.presence = Presence::Closed;
            self.attention.push(handle);
        }
        if entry.presence == Presence::Drained {
            return;
        }
        if entry.connection.is_drained() {
            self.retire(handle);
        } else if let Some(deadline) = entry.connection.timeout() {
            self.timers.arm(handle, deadline);
        }
    }

    fn apply_route_changes(&mut self, handle: ConnectionHandle) {
        let Some(entry) = self.connections.get_mut(handle) else { return };
        while let Some(change) = entry.connection.poll_route() {
            match change {
                RouteChange::Issued(id) => {
                    // One in 2^64: the peer would be better off without it, and can be.
                    if !self.routes.contains(&id) {
                        self.routes.insert(id, Target::Connection(handle));
                        entry.ids.push(id);
                    }
                }
                RouteChange::Retired(id) => {
                    if let Some(at) = entry.ids.iter().position(|known| *known == id) {
                        entry.ids.swap_remove(at);
                        self.routes.remove(&id);
                    }
                }
                RouteChange::PeerResetToken { token, remote } => {
                    let mark = self.routes.insert_token(token, remote, handle);
                    entry.reset_marks.push(mark);
                }
                RouteChange::PeerResetTokenRetired { token, remote } => {
                    let mark = self.routes.mark(&token, remote);
                    entry.reset_marks.retain(|known| *known != mark);
                    self.routes.remove_token(mark, handle);
                }
            }
        }
    }

    /// Makes a drained connection unreachable; it is forgotten once its owner has been told.
    fn retire(&mut self, handle: ConnectionHandle) {
        let Some(entry) = self.connections.get_mut(handle) else { return };
        entry.presence = Presence::Drained;
        entry.ids.drain(..).for_each(|id| self.routes.remove(&id));
        entry.reset_marks.drain(..).for_each(|mark| self.routes.remove_token(mark, handle));
        self.timers.disarm(handle);
        self.attention.push(handle);
        self.gone.push_back(handle);
    }

    fn drop_datagram(&mut self, reason: Discard) {
        self.stats.dropped += 1;
        if reason == Discard::ServerBusy {
            self.stats.busy += 1;
        }
        tracing::trace!(%reason, "datagram dropped");
    }
}

#[cfg(test)]
mod tests;
