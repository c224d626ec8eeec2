//! How a connection ends: by us, by the peer, by silence (RFC 9000 section 10).

use std::time::Instant;

use bytes::Bytes;

use super::{Connection, ConnectionEvent};
use crate::error::{ApplicationClosed, ConnectionClosed, ConnectionError, TransportError};
use crate::observe::{ConnectionState, Event};
use crate::wire::SpaceId;
use crate::wire::frame::ConnectionClose;

/// Closing and draining last this many probe timeouts.
const CLOSE_PTOS: u32 = 3;

impl Connection {
    /// A peer broke the protocol, or TLS failed: tell it, and end the connection.
    // req 9000-10.3-247, 9000-11-268, 9000-11.1-272, 9000-11-271
    pub(super) fn close_with_error(&mut self, now: Instant, error: TransportError) {
        let reason = self.session.connection_error(error);
        self.end(now, reason);
    }

    /// Enters the closing state for `reason`, which says what the close frame carries.
    pub(super) fn end(&mut self, now: Instant, reason: ConnectionError) {
        let until = now + self.close_period();
        if !self.state.on_close(until) {
            return;
        }
        self.observers.emit(now, || Event::StateUpdated { new: ConnectionState::Closing });
        self.finish(now, reason);
    }

    /// The peer sent CONNECTION_CLOSE or a stateless reset: say nothing more.
    // req 9000-10.2.2-234, 9000-10.2.2-236, 9000-10.3.1-260
    pub(super) fn drain(&mut self, now: Instant, reason: ConnectionError) {
        let until = now + self.close_period();
        if !self.state.on_drain(until) {
            return;
        }
        self.observers.emit(now, || Event::StateUpdated { new: ConnectionState::Draining });
        self.finish(now, reason);
    }

    /// A datagram that ends in the reset token of the connection ID in use arrived.
    pub(crate) fn on_stateless_reset(&mut self, now: Instant) {
        self.drain(now, ConnectionError::Reset);
    }

    /// Ends without a word: nobody answers, or nobody would understand.
    pub(super) fn abandon(&mut self, now: Instant, reason: ConnectionError) {
        if self.state.is_drained() {
            return;
        }
        self.state.on_abandon();
        self.finish(now, reason);
    }

    /// CONNECTION_CLOSE arrived.
    pub(super) fn on_connection_close(&mut self, now: Instant, close: &ConnectionClose<'_>) {
        let reason = match close {
            ConnectionClose::Transport { error_code, frame_type, reason } => {
                ConnectionError::ConnectionClosed(ConnectionClosed {
                    error_code: *error_code,
                    frame_type: *frame_type,
                    reason: Bytes::copy_from_slice(reason),
                })
            }
            ConnectionClose::Application { error_code, reason } => {
                ConnectionError::ApplicationClosed(ApplicationClosed {
                    error_code: *error_code,
                    reason: Bytes::copy_from_slice(reason),
                })
            }
        };
        self.drain(now, reason);
    }

    fn finish(&mut self, now: Instant, reason: ConnectionError) {
        if self.close_reason.is_some() {
            return;
        }
        self.observers.emit(now, || Event::ConnectionClosed { reason: &reason });
        self.streams.on_connection_closed();
        self.close_reason = Some(reason.clone());
        self.events.push_back(ConnectionEvent::Closed(reason));
    }

    // req 9000-10.2-222
    fn close_period(&self) -> std::time::Duration {
        self.probe_timeout(SpaceId::Data) * CLOSE_PTOS
    }
}
