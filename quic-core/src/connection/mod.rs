//! One QUIC connection, both roles: the verbs that move packets through the state below.
//!
//! | file | what it does | its mirror |
//! |---|---|---|
//! | `train` | datagrams in: opened together while they are ours alone, then processed | |
//! | `recv` | a datagram in: split, open, check, hand over | `send` |
//! | `frames_in` | frames of an opened packet to the state that owns them | `frames_out` |
//! | `acked` | what we sent was acknowledged or lost | |
//! | `handshake` | CRYPTO data to TLS and back, keys, transport parameters | |
//! | `early` | data before the handshake is complete | |
//! | `key_update` | new 1-RTT keys, by call and by use | |
//! | `retry` | the server wants a client to prove its address | |
//! | `tokens` | tokens for later connections, given and received | |
//! | `versions` | which version is spoken, and how both sides come to it | |
//! | `paths` | which path is used: following the peer, validation, falling back | |
//! | `migrate` | a client moves, by call or to the server's preferred address | |
//! | `probe` | datagrams that try out a path | |
//! | `timers` | every deadline, and what happens when it passes | |
//! | `close` | closing, draining, and why | |
//! | `patience` | how many packets that bring nothing are put up with | |
//! | `api` | what the application calls | |
//!
//! The state itself lives in the rooms below (`space`, `stream`, `recovery`, `crypto`, `cid`, `path`),
//! each of which returns outcomes; none of them sees a [`Connection`]. There is no clock and no
//! socket here: time and datagrams are handed in, datagrams and deadlines are asked for.
//!
//! # Driving a connection
//!
//! After each [`Connection::recv`], [`Connection::handle_timeout`] or application call: take events
//! with [`Connection::poll_event`], send what [`Connection::poll_transmit`] writes until it returns
//! `None`, and wait until [`Connection::timeout`] at most. The endpoint module does this
//! for many connections at once.

mod acked;
mod api;
mod close;
mod early;
mod frames_in;
mod frames_out;
mod handshake;
mod inject;
mod key_update;
mod migrate;
mod paths;
mod patience;
mod probe;
mod recv;
mod retry;
mod send;
mod sent_frame;
mod setup;
mod state;
mod timers;
mod tokens;
mod train;
mod versions;

pub use api::{ConnectionEvent, HandshakeData, PathEvent};
pub use early::EarlyData;
pub use migrate::MigrateError;
pub use setup::{ConnectionSetup, Role};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::cid::{LocalIds, RemoteIds};
use crate::config::TransportConfig;
use crate::crypto::{Keyring, Session};
use crate::error::ConnectionError;
use crate::observe::{Event, Observers};
use crate::path::{OtherPaths, Path, PathEnds};
use crate::recovery::{AckOutcome, Recovery};
use crate::space::PacketSpace;
use crate::stream::{StateChange, Streams};
use crate::util::rng::Rng;
use crate::wire::{ConnectionId, PacketNumber, ResetToken, Side, SpaceId};

use early::Early;
use handshake::Handshake;
use patience::Patience;
use recv::Undecryptable;
use retry::Admission;
use sent_frame::SentFrames;
use state::State;
use timers::Deadlines;
use tokens::NewTokens;
use train::Run;
use versions::Versions;

/// A change to what the endpoint must route to this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteChange {
    /// Packets with this Destination Connection ID belong to the connection from now on.
    Issued(ConnectionId),
    /// The peer retired this connection ID.
    Retired(ConnectionId),
    /// A datagram from `remote` that ends in this token is a stateless reset of the connection.
    PeerResetToken {
        /// The token of a connection ID in use.
        token: ResetToken,
        /// The address that packets with this connection ID are sent to.
        remote: SocketAddr,
    },
    /// The token belongs to a connection ID that is no longer used for this address.
    PeerResetTokenRetired {
        /// The token.
        token: ResetToken,
        /// The address.
        remote: SocketAddr,
    },
}

/// A QUIC connection (RFC 9000 section 5), driven by its owner; see the module documentation.
pub struct Connection {
    side: Side,
    versions: Versions,
    config: Arc<TransportConfig>,
    rng: Rng,
    observers: Observers,
    state: State,
    handshake: Handshake,
    early: Early,
    admission: Admission,
    tokens: NewTokens,
    session: Session,
    keys: Keyring,
    /// `None` once the space was discarded.
    spaces: [Option<PacketSpace>; 3],
    recovery: Recovery<SentFrames>,
    /// The path in use.
    path: Path,
    others: OtherPaths,
    /// The address that this server has left for its preferred one, and the largest packet number
    /// that was received until then.
    left_address: Option<(PathEnds, PacketNumber)>,
    /// The tokens that reset the connection, and where from, as the endpoint knows them.
    reset_tokens: Vec<(ResetToken, SocketAddr)>,
    local_ids: LocalIds,
    remote_ids: RemoteIds,
    streams: Streams,
    deadlines: Deadlines,
    undecryptable: Undecryptable,
    /// Reused for each run of packets.
    run: Run,
    patience: Patience,
    events: VecDeque<ConnectionEvent>,
    routes: VecDeque<RouteChange>,
    /// Why the connection ended or is ending, once it is.
    close_reason: Option<ConnectionError>,
    /// The application's reason phrase, when it closed.
    close_phrase: Bytes,
    /// Reused for each acknowledgement and each loss: no allocation in steady state.
    ack_outcome: AckOutcome<SentFrames>,
}

impl Connection {
    /// Tells who listens what streams went through since the last time.
    fn tell_stream_states(&mut self, now: Instant) {
        while let Some(StateChange { id, half, new }) = self.streams.take_state_change() {
            let event = Event::StreamStateUpdated { stream_id: id, half, new };
            self.observers.emit(now, || event);
        }
    }

    fn space(&self, id: SpaceId) -> Option<&PacketSpace> {
        self.spaces[id.index()].as_ref()
    }

    fn space_mut(&mut self, id: SpaceId) -> Option<&mut PacketSpace> {
        self.spaces[id.index()].as_mut()
    }

    /// Puts away a packet-number space with its keys: nothing of it is sent or accepted again.
    fn discard_space(&mut self, now: Instant, id: SpaceId) {
        if self.spaces[id.index()].take().is_none() {
            return;
        }
        self.keys.discard(id);
        self.recovery.discard_space(now, id, &mut self.path.recovery);
        self.observers.emit(now, || Event::KeyDiscarded { space: id });
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("state", &self.state)
            .field("remote", &self.path.remote())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
