//! Data before the handshake is complete: 0-RTT (RFC 9000 section 7.4.1, RFC 9001 section 4.6).
//!
//! A client that resumes a session has keys, and the limits that the server had set before, at once;
//! what it sends then is early data. The server takes all of it or nothing. What a rejection means
//! here: everything that was done on streams is undone, as if there had been none.
//!
//! ```text
//!  client   None ── keys at once ──▶ Offered ──▶ Accepted
//!                                       └──────▶ Rejected
//!  server   None ── ClientHello ──▶ Accepted
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::recv::Opened;
use super::{Connection, ConnectionEvent};
use crate::crypto::{EarlyVerdict, SessionSlot};
use crate::error::{Discard, TransportError, Violation};
use crate::observe::{Event, Initiator};
use crate::wire::frame;
use crate::wire::{PacketType, Side, SpaceId, TransportParameters, Version};

/// Keys of early data outlive the first 1-RTT packet by this many probe timeouts, for packets that
/// it has overtaken.
const EARLY_KEY_PTOS: u32 = 3;

/// What became of early data on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyData {
    /// There is none: no session is resumed, or a side does not want any.
    #[default]
    None,
    /// The client may send it, and the server has not said whether it takes it. Only on clients.
    Offered,
    /// The server takes it.
    Accepted,
    /// The server did not take it. Only on clients.
    Rejected,
}

/// What a connection knows of its early data.
#[derive(Debug, Default)]
pub(super) struct Early {
    state: EarlyData,
    /// What a client lives by until the handshake is complete.
    remembered: Option<Box<TransportParameters>>,
    /// Packets with lower numbers were rejected; nobody can have received them.
    rejected_below: u64,
    /// Where the client keeps sessions.
    sessions: Option<SessionSlot>,
}

impl Early {
    /// The idle timeout that the server had when the session began.
    pub(super) fn remembered_idle_timeout(&self) -> Option<Duration> {
        let ms = self.remembered.as_ref()?.max_idle_timeout_ms;
        (ms != 0).then(|| Duration::from_millis(ms))
    }
}

/// What the application sees.
impl Connection {
    /// What became of early data, as far as it is known.
    pub fn early_data(&self) -> EarlyData {
        self.early.state
    }

    /// True as soon as streams can be used: after the handshake, or with early data before.
    pub fn is_usable(&self) -> bool {
        match self.early.state {
            EarlyData::None | EarlyData::Rejected => !self.state.is_handshaking(),
            EarlyData::Offered | EarlyData::Accepted => true,
        }
    }

    /// True if the connection resumes the session of an earlier one: certificates were not shown
    /// again. False until that is decided, which it is when the handshake is complete.
    pub fn was_resumed(&self) -> bool {
        self.session.was_resumed()
    }

    /// Keeps `state` with the session tickets of this connection, those that have come among them:
    /// a connection that resumes with one finds it, see
    /// [`session_state`](Self::session_state). Does nothing on servers, and on clients that keep no
    /// sessions of their own.
    pub fn set_session_state(&self, state: Bytes) {
        if let Some(sessions) = &self.early.sessions {
            sessions.set_application_state(state);
        }
    }

    /// What the application had kept with the ticket that this client began with.
    pub fn session_state(&self) -> Option<Bytes> {
        self.early.sessions.as_ref()?.resumed_application_state()
    }

    /// Where the client keeps the sessions of this connection.
    pub(crate) fn keep_sessions(&mut self, sessions: Option<SessionSlot>) {
        self.early.sessions = sessions;
    }
}

/// Keys and verdict.
impl Connection {
    /// A client that resumes a session may send data from now on, within the limits that the
    /// server had set when the session began.
    // req 9000-7.4.1-101, 9000-7.4.1-107
    pub(super) fn offer_early_data(&mut self, now: Instant) {
        let Some(bytes) = self.session.remembered_params() else { return };
        // They were valid when they were kept.
        let Ok(params) = TransportParameters::decode(bytes, Side::Server) else { return };
        let Some(keys) = self.session.take_early_keys() else { return };
        let params = remembered(params);
        self.observers
            .emit(now, || Event::ParametersSet { initiator: Initiator::Remote, params: &params });
        self.keys.install_early(self.side, keys);
        self.observers.emit(now, || Event::EarlyKeysInstalled);
        self.streams.set_peer_params(&params);
        if params.max_udp_payload_size < u64::from(self.path.recovery.max_datagram_size()) {
            self.path.recovery.on_peer_max_udp_payload_size(params.max_udp_payload_size);
        }
        self.early.remembered = Some(Box::new(params));
        self.early.state = EarlyData::Offered;
    }

    /// TLS has made a step: it may have decided about early data.
    pub(super) fn settle_early_data(&mut self, now: Instant) {
        match self.side {
            Side::Server => {
                if let Some(keys) = self.session.take_early_keys() {
                    self.keys.install_early(self.side, keys);
                    self.early.state = EarlyData::Accepted;
                    self.observers.emit(now, || Event::EarlyKeysInstalled);
                }
            }
            Side::Client if self.early.state == EarlyData::Offered => {
                match self.session.early_verdict() {
                    EarlyVerdict::Open => {}
                    EarlyVerdict::Accepted => {
                        self.early.state = EarlyData::Accepted;
                        self.events.push_back(ConnectionEvent::EarlyDataAccepted);
                    }
                    EarlyVerdict::Rejected => self.on_early_data_rejected(now),
                }
            }
            Side::Client => {}
        }
    }

    /// The server has thrown away, or will, whatever was sent so far: streams begin anew, and
    /// nothing is sent again by itself.
    // req 9001-4.6.2-023, 9001-5.6-052, 9000-17.2.3-394
    fn on_early_data_rejected(&mut self, now: Instant) {
        self.early.state = EarlyData::Rejected;
        self.keys.discard_early();
        self.observers.emit(now, || Event::EarlyKeysDiscarded { rejected: true });
        let mut outcome = std::mem::take(&mut self.ack_outcome);
        let path = &mut self.path.recovery;
        self.recovery.abandon_sent(now, SpaceId::Data, path, &mut outcome);
        outcome.clear();
        self.ack_outcome = outcome;
        self.early.rejected_below = self.recovery.unsent(SpaceId::Data);
        if let Some(space) = self.space_mut(SpaceId::Data) {
            (space.probes, space.ping) = (0, false);
        }
        self.streams.on_early_data_rejected(&mut self.rng);
        self.early.remembered = None;
        self.events.push_back(ConnectionEvent::EarlyDataRejected);
    }

    /// The client begins anew as if it had never sent anything.
    pub(super) fn abandon_early_data(&mut self, now: Instant) {
        if self.early.state == EarlyData::Offered {
            self.on_early_data_rejected(now);
        }
        self.early.rejected_below = 0;
    }

    /// Tickets from now on, given and taken, are those of `version`.
    // RFC 9369, section 5
    pub(super) fn early_sessions_continue_in(&mut self, version: Version) {
        if let Some(sessions) = &self.early.sessions {
            sessions.set_version(version);
        }
    }

    /// A client has 1-RTT keys, and no more use for those of early data.
    // req 9001-4.9.3-034, 9001-5.6-055, 9000-17.2.3-395
    pub(super) fn on_one_rtt_keys(&mut self, now: Instant) {
        if self.side == Side::Client {
            self.drop_early_keys(now);
        }
    }

    /// A server knows that its client has 1-RTT keys.
    // req 9001-4.9.3-036, 9001-4.9.3-037
    pub(super) fn on_one_rtt_packet(&mut self, now: Instant) {
        if self.keys.can_open_early() {
            let at = now + self.probe_timeout(SpaceId::Data) * EARLY_KEY_PTOS;
            self.keys.discard_early_at(at);
        }
    }

    /// Drops the keys of early data.
    pub(super) fn drop_early_keys(&mut self, now: Instant) {
        if self.keys.discard_early() {
            self.observers.emit(now, || Event::EarlyKeysDiscarded { rejected: false });
        }
    }
}

/// Rules.
impl Connection {
    /// A server that accepts early data keeps what it had promised.
    ///
    /// # Errors
    ///
    /// PROTOCOL_VIOLATION if one of the limits that early data relied on became smaller.
    // req 9000-7.4.1-100, 9000-7.4.1-103
    pub(super) fn check_promises(&self, new: &TransportParameters) -> Result<(), TransportError> {
        let Some(old) = &self.early.remembered else { return Ok(()) };
        let limits = |params: &TransportParameters| {
            [
                params.active_connection_id_limit,
                params.initial_max_data,
                params.initial_max_stream_data_bidi_local,
                params.initial_max_stream_data_bidi_remote,
                params.initial_max_stream_data_uni,
                params.initial_max_streams_bidi,
                params.initial_max_streams_uni,
            ]
        };
        match limits(old).iter().zip(limits(new)).any(|(old, new)| new < *old) {
            true => Err(TransportError::new(Violation::ZeroRttLimitsReduced)),
            false => Ok(()),
        }
    }

    /// Nobody can acknowledge early data that was rejected.
    ///
    /// # Errors
    ///
    /// PROTOCOL_VIOLATION if somebody does.
    // req 9001-4.6.2-022
    pub(super) fn check_not_rejected(
        &self,
        packet: &Opened,
        ack: &frame::Ack<'_>,
    ) -> Result<(), TransportError> {
        let below = self.early.rejected_below;
        if below > 0
            && packet.space == SpaceId::Data
            && ack.iter().any(|range| *range.start() < below)
        {
            return Err(TransportError::new(Violation::AckOfRejectedEarlyData));
        }
        Ok(())
    }

    /// Whether packets of this kind can be opened now.
    pub(super) fn can_open(&self, kind: PacketType, space: SpaceId) -> bool {
        match kind {
            PacketType::ZeroRtt => self.keys.can_open_early(),
            _ => self.keys.can_open(space),
        }
    }

    /// Whether a 0-RTT packet that cannot be opened now may be worth keeping.
    // req 9001-4.6.2-021, 9001-5.6-054
    pub(super) fn may_accept_early_data(&self) -> Result<(), Discard> {
        match (self.side, self.early.state) {
            (Side::Server, EarlyData::Accepted) => Err(Discard::KeysDiscarded),
            // The ClientHello has not arrived, or not all of it.
            (Side::Server, _) if self.session.read_level() == SpaceId::Initial => Ok(()),
            _ => Err(Discard::ZeroRttRejected),
        }
    }

    /// True if packets with application data are 0-RTT packets for now.
    pub(super) fn sends_early(&self) -> bool {
        self.keys.can_seal_early() && !self.keys.has(SpaceId::Data)
    }
}

/// Without what must not be used again: the default holds until the server says otherwise.
// req 9000-7.4.1-099
fn remembered(params: TransportParameters) -> TransportParameters {
    let default = TransportParameters::default();
    TransportParameters {
        ack_delay_exponent: default.ack_delay_exponent,
        max_ack_delay_ms: default.max_ack_delay_ms,
        initial_source_connection_id: None,
        original_destination_connection_id: None,
        retry_source_connection_id: None,
        stateless_reset_token: None,
        preferred_address: None,
        ..params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ConnectionId, ResetToken};

    // req-test 9000-7.4.1-099
    #[test]
    fn what_belongs_to_one_connection_is_not_remembered() {
        let params = TransportParameters {
            ack_delay_exponent: 7,
            max_ack_delay_ms: 99,
            initial_source_connection_id: Some(ConnectionId::EMPTY),
            original_destination_connection_id: Some(ConnectionId::EMPTY),
            retry_source_connection_id: Some(ConnectionId::EMPTY),
            stateless_reset_token: Some(ResetToken::new([1; 16])),
            initial_max_data: 5,
            max_idle_timeout_ms: 6,
            ..TransportParameters::default()
        };
        let expected = TransportParameters {
            initial_max_data: 5,
            max_idle_timeout_ms: 6,
            ..TransportParameters::default()
        };
        assert_eq!(remembered(params), expected);
    }
}
