//! What the owner of a connection calls and hears, beside moving datagrams and time.

use std::time::Instant;

use bytes::Bytes;

use super::state::State;
use super::{Connection, RouteChange};
use crate::error::ConnectionError;
use crate::observe::Stats;
use crate::stream::{StreamEvent, Streams};
use crate::wire::SpaceId;
use crate::wire::{ApplicationErrorCode, Side, Version};

/// Something the owner of a connection should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The TLS handshake is complete: the peer is who it says, data can be exchanged.
    Connected,
    /// Both sides know that the handshake is complete (RFC 9001 section 4.1.2).
    HandshakeConfirmed,
    /// The server takes the early data of this client; streams go on as they are.
    EarlyDataAccepted,
    /// The server did not take the early data of this client: all streams are gone, with everything
    /// that was sent and is to be heard of them, and their numbers are used anew. The connection goes
    /// on, and the application can do again what it did.
    EarlyDataRejected,
    /// The connection goes another way.
    Path(PathEvent),
    /// Something happened to a stream.
    Stream(StreamEvent),
    /// The connection ended; nothing follows.
    Closed(ConnectionError),
}

/// What became of the way to the peer (RFC 9000 section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEvent {
    /// Packets are sent to this address of the peer from now on, perhaps from another one of ours.
    Moved {
        /// Where the peer is.
        remote: std::net::SocketAddr,
    },
    /// The connection was to move to another path, on which nobody has answered; it goes on where
    /// it is.
    MoveFailed {
        /// The address of the peer on that path.
        remote: std::net::SocketAddr,
    },
}

/// What the handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeData {
    /// The application protocol chosen by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// The server name that the client asked for.
    pub server_name: Option<String>,
    /// What protects packets.
    pub cipher_suite: Option<rustls::CipherSuite>,
    /// The session of an earlier connection was resumed.
    pub resumed: bool,
}

impl Connection {
    /// The next event, in the order in which things happened.
    pub fn poll_event(&mut self) -> Option<ConnectionEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.streams.poll_event().map(ConnectionEvent::Stream)
    }

    /// The next change to what must be routed here.
    pub fn poll_route(&mut self) -> Option<RouteChange> {
        self.routes.pop_front()
    }

    /// The streams of the connection: open, accept, write, read, reset, stop.
    pub fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Closes the connection at once with the application's error `code` and `reason`, which is
    /// cut to what fits a packet (RFC 9000 section 10.2). Data not yet delivered is lost.
    pub fn close(&mut self, now: Instant, code: ApplicationErrorCode, reason: Bytes) {
        if self.state.is_open() {
            self.close_phrase = reason;
        }
        self.end(now, ConnectionError::LocallyClosed(code));
    }

    /// Sends a PING: the peer acknowledges it if it is there. Nothing before the handshake is done.
    pub fn ping(&mut self) {
        if let Some(space) = self.space_mut(SpaceId::Data) {
            space.ping = true;
        }
    }

    /// Gives the peer new connection IDs and asks for all old ones back, which still work until the
    /// peer has answered; observers cannot tell that the new ones belong to the same connection.
    ///
    /// False, and nothing happens, before the handshake and while the peer has not answered the
    /// last such request.
    pub fn replace_connection_ids(&mut self) -> bool {
        let replaced = self.local_ids.replace_all();
        self.issue_connection_ids();
        replaced
    }

    /// Whether this end is the client or the server.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The version of the connection: the negotiated one as far as it is known, that of the client's
    /// first flight before. Tokens and tickets of the connection belong to it.
    pub fn version(&self) -> Version {
        self.versions.current()
    }

    /// The address of the peer on the path in use.
    pub fn remote_address(&self) -> std::net::SocketAddr {
        self.path.remote()
    }

    /// True until TLS has completed.
    pub fn is_handshaking(&self) -> bool {
        self.state.is_handshaking()
    }

    /// True once both sides know that the handshake is complete.
    pub fn is_confirmed(&self) -> bool {
        self.state.is_confirmed()
    }

    /// True from the first close on, by whichever side.
    pub fn is_closed(&self) -> bool {
        !self.state.is_open()
    }

    /// True when nothing is left to do and the connection can be dropped.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Drained)
    }

    /// Why the connection ended, once it has.
    pub fn close_reason(&self) -> Option<&ConnectionError> {
        self.close_reason.as_ref()
    }

    /// What the handshake agreed on, as far as it is known.
    pub fn handshake_data(&self) -> HandshakeData {
        HandshakeData {
            alpn: self.session.alpn().map(<[u8]>::to_vec),
            server_name: self.session.server_name(),
            cipher_suite: self.session.cipher_suite(),
            resumed: self.session.was_resumed(),
        }
    }

    /// Counters and present values.
    pub fn stats(&self) -> Stats {
        let mut stats = self.observers.stats.clone();
        stats.path = self.path.recovery.metrics();
        (stats.streams_opened, stats.streams_accepted) = self.streams.counts();
        [stats.peer_streams_open, _] = self.streams.audit().peer_streams_uncredited;
        stats
    }
}
