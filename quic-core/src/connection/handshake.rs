//! The cryptographic handshake: CRYPTO data to TLS and back, keys as they appear, the peer's
//! transport parameters, completion and confirmation (RFC 9000 section 7, RFC 9001 section 4).

use std::time::{Duration, Instant};

use super::{Connection, ConnectionEvent};
use crate::crypto::KeyChange;
use crate::error::{TransportError, Violation};
use crate::observe::{Event, Initiator};
use crate::wire::frame;
use crate::wire::transport_params::{HandshakeConnectionIds, PreferredAddress};
use crate::wire::{ConnectionId, Side, SpaceId, TransportParameters};

/// Where HANDSHAKE_DONE stands; only a server ever leaves `NotDue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HandshakeDone {
    NotDue,
    Pending,
    InFlight,
    Acknowledged,
}

/// What only the handshake needs to know.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The Destination Connection ID of the client's first Initial packet.
    original_dcid: ConnectionId,
    /// The Source Connection ID of the peer's first Initial packet.
    peer_initial_scid: Option<ConnectionId>,
    peer_params: Option<TransportParameters>,
    done: HandshakeDone,
    /// This server has told of another address of its own.
    pub(super) offers_preferred_address: bool,
    /// How many times a repetition of the peer may still bring one of ours forward.
    early_repeats: u8,
}

/// How many times handshake data is sent again before the probe timeout.
const MAX_EARLY_REPEATS: u8 = 3;

impl Handshake {
    pub(super) fn new(
        original_dcid: ConnectionId,
        peer_initial_scid: Option<ConnectionId>,
    ) -> Self {
        Self {
            original_dcid,
            peer_initial_scid,
            peer_params: None,
            done: HandshakeDone::NotDue,
            offers_preferred_address: false,
            early_repeats: MAX_EARLY_REPEATS,
        }
    }

    pub(super) fn peer_idle_timeout(&self) -> Option<Duration> {
        let ms = self.peer_params.as_ref()?.max_idle_timeout_ms;
        (ms != 0).then(|| Duration::from_millis(ms))
    }

    /// How long the peer may hold back an acknowledgement.
    pub(super) fn peer_max_ack_delay(&self) -> Duration {
        self.peer_params
            .as_ref()
            .map_or(DEFAULT_MAX_ACK_DELAY, |params| Duration::from_millis(params.max_ack_delay_ms))
    }

    /// True once the peer has said that the fixed bit of what it receives may be anything. Never
    /// before its parameters of this very connection have come.
    // RFC 9287, section 3.1
    pub(super) fn peer_greases_quic_bit(&self) -> bool {
        self.peer_params.as_ref().is_some_and(|params| params.grease_quic_bit)
    }

    pub(super) fn peer_ack_delay_shift(&self) -> u32 {
        self.peer_params
            .as_ref()
            .map_or(DEFAULT_ACK_DELAY_EXPONENT, TransportParameters::ack_delay_shift)
    }

    /// Where the server would rather be.
    pub(super) fn preferred_address(&self) -> Option<&PreferredAddress> {
        self.peer_params.as_ref()?.preferred_address.as_ref()
    }

    /// The peer has asked not to be talked to from another address.
    pub(super) fn forbids_migration(&self) -> bool {
        self.peer_params.as_ref().is_some_and(|params| params.disable_active_migration)
    }

    /// The largest datagram that the peer takes, once it has told.
    pub(super) fn peer_max_udp_payload_size(&self) -> Option<u64> {
        Some(self.peer_params.as_ref()?.max_udp_payload_size)
    }

    /// The peer's first Initial fixes its connection ID; a later one that differs is not its.
    // req 9000-7.2-087, 9000-7.2-090
    pub(super) fn accepts_scid(&self, scid: ConnectionId) -> bool {
        self.peer_initial_scid.is_none_or(|known| known == scid)
    }

    /// True at a client that has opened no packet of the server.
    pub(super) fn is_unanswered(&self) -> bool {
        self.peer_initial_scid.is_none()
    }

    /// True if the client's first Initial packet was sent to `id`.
    pub(super) fn has_original_dcid(&self, id: &[u8]) -> bool {
        self.original_dcid.as_slice() == id
    }

    pub(super) fn wants_handshake_done(&self) -> bool {
        self.done == HandshakeDone::Pending
    }

    pub(super) fn on_handshake_done_sent(&mut self) {
        self.done = HandshakeDone::InFlight;
    }

    pub(super) fn on_handshake_done_acked(&mut self) {
        self.done = HandshakeDone::Acknowledged;
    }

    // req 9000-13.3-332
    pub(super) fn on_handshake_done_lost(&mut self) {
        match self.done {
            HandshakeDone::InFlight => self.done = HandshakeDone::Pending,
            HandshakeDone::NotDue | HandshakeDone::Pending | HandshakeDone::Acknowledged => {}
        }
    }
}

/// Values that hold until the peer's transport parameters arrive (RFC 9000 section 18.2).
const DEFAULT_MAX_ACK_DELAY: Duration = Duration::from_millis(25);
const DEFAULT_ACK_DELAY_EXPONENT: u32 = 3;

impl Connection {
    /// Takes CRYPTO data into order and gives TLS what is in order and of the level it reads.
    pub(super) fn on_crypto(
        &mut self,
        now: Instant,
        id: SpaceId,
        frame: &frame::Crypto<'_>,
    ) -> Result<(), TransportError> {
        let is_old = id < self.session.read_level();
        let Some(space) = self.space_mut(id) else { return Ok(()) };
        if is_old {
            // req 9001-4.1.3-005, 9001-4.1.3-006
            let end = frame.offset.saturating_add(frame.data.len() as u64);
            if end > space.crypto.consumed() {
                return Err(TransportError::new(Violation::CryptoDataAtWrongLevel));
            }
            self.on_repeated_crypto(now, id);
            return Ok(());
        }
        space.crypto.insert(frame.offset, frame.data)?;
        self.advance_handshake(now)
    }

    /// The peer repeats what was answered already: it cannot have received the answer, which may
    /// go out again without waiting for the probe timeout, a few times (RFC 9002 section 6.2.3).
    // req 9002-6.2.3-037
    fn on_repeated_crypto(&mut self, now: Instant, id: SpaceId) {
        // Repetitions come in pairs, and the network makes some of its own.
        let pause = self.path.recovery.rtt.smoothed() / 4;
        let just_sent =
            self.recovery.last_ack_eliciting_sent(id).is_some_and(|sent| now < sent + pause);
        if self.state.is_confirmed() || just_sent {
            return;
        }
        if let Some(left) = self.handshake.early_repeats.checked_sub(1) {
            self.handshake.early_repeats = left;
            self.repeat_outstanding(1);
        }
    }

    /// Goes back and forth between the CRYPTO streams and TLS until neither has anything new.
    pub(super) fn advance_handshake(&mut self, now: Instant) -> Result<(), TransportError> {
        loop {
            let level = self.session.read_level();
            let data = self.space_mut(level).and_then(|space| space.crypto.read());
            let has_data = data.is_some();
            if let Some(data) = data {
                for data in self.hold_back(now, data)? {
                    self.session.read(level, &data)?;
                    self.settle_early_data(now);
                }
            }
            self.read_peer_params(now)?;
            self.flush_handshake(now)?;
            if self.state.is_handshaking() && !self.session.is_handshaking() {
                self.on_handshake_complete(now)?;
            }
            if !has_data {
                return Ok(());
            }
        }
    }

    /// Moves what TLS has to say into the CRYPTO streams and installs the keys it gives.
    // req 9001-4.9-029, 9001-4-001
    fn flush_handshake(&mut self, now: Instant) -> Result<(), TransportError> {
        loop {
            let level = self.session.write_level();
            let mut out = Vec::new();
            let keys = self.session.write(&mut out);
            if out.is_empty() && keys.is_none() {
                return Ok(());
            }
            if let Some(space) = self.space_mut(level) {
                space.crypto.write(out.into());
            }
            if let Some(change) = keys {
                self.install_keys(now, change)?;
            }
        }
    }

    // req 9001-4.1.3-007
    fn install_keys(&mut self, now: Instant, change: KeyChange) -> Result<(), TransportError> {
        let space = change.space();
        if space == SpaceId::Handshake
            && self.space(SpaceId::Initial).is_some_and(|space| space.crypto.has_unread())
        {
            return Err(TransportError::new(Violation::CryptoDataLeftOver));
        }
        self.keys.install(change);
        self.observers.emit(now, || Event::KeyInstalled { space });
        if space == SpaceId::Data {
            self.on_one_rtt_keys(now);
        }
        Ok(())
    }

    /// Reads the peer's transport parameters once TLS has them, checks them against what was seen
    /// on the wire, and lets everyone who lives by them know.
    // req 9000-7.3-092, 9000-7.4-095
    fn read_peer_params(&mut self, now: Instant) -> Result<(), TransportError> {
        if self.handshake.peer_params.is_some() {
            return Ok(());
        }
        let Some(bytes) = self.session.peer_params() else { return Ok(()) };
        let params = TransportParameters::decode(bytes, !self.side)?;
        params.authenticate(self.handshake_ids())?;
        self.versions.check(&params)?;
        self.check_promises(&params)?;
        self.observers
            .emit(now, || Event::ParametersSet { initiator: Initiator::Remote, params: &params });
        self.streams.set_peer_params(&params);
        self.local_ids.set_peer_limit(params.active_connection_id_limit);
        self.path.recovery.on_peer_max_udp_payload_size(params.max_udp_payload_size);
        self.issue_connection_ids();
        if let Some(token) = params.stateless_reset_token {
            self.remote_ids.set_initial_reset_token(token);
            self.sync_reset_tokens();
        }
        self.on_preferred_address(&params)?;
        self.handshake.peer_params = Some(params);
        Ok(())
    }

    /// The connection IDs of the handshake as this side saw them.
    fn handshake_ids(&self) -> HandshakeConnectionIds {
        let initial_source = self.remote_ids.active();
        match self.side {
            Side::Server => HandshakeConnectionIds::Server { initial_source },
            Side::Client => HandshakeConnectionIds::Client {
                original_destination: self.handshake.original_dcid,
                initial_source,
                retry_source: self.admission.retry_source(),
            },
        }
    }

    fn on_handshake_complete(&mut self, now: Instant) -> Result<(), TransportError> {
        if self.handshake.peer_params.is_none() {
            return Err(TransportError::new(Violation::ParametersMissing));
        }
        self.state.on_handshake_complete();
        self.keys.on_handshake_complete();
        let alpn = self.session.alpn();
        self.observers.emit(now, || Event::AlpnInformation {
            client: &[],
            server: &[],
            chosen: alpn,
        });
        self.observers.emit(now, || Event::HandshakeComplete { alpn });
        self.events.push_back(ConnectionEvent::Connected);
        if self.side == Side::Server {
            // req 9001-4.1.2-003, 9000-19.20-479
            self.handshake.done = HandshakeDone::Pending;
            self.tokens.request();
            self.on_handshake_confirmed(now);
        }
        Ok(())
    }

    // req 9001-4.9.2-033
    pub(super) fn on_handshake_confirmed(&mut self, now: Instant) {
        if !self.state.on_handshake_confirmed() {
            return;
        }
        self.discard_space(now, SpaceId::Initial);
        self.discard_space(now, SpaceId::Handshake);
        self.keys.on_handshake_confirmed();
        self.observers.emit(now, || Event::HandshakeConfirmed);
        self.events.push_back(ConnectionEvent::HandshakeConfirmed);
        self.seek_preferred_address(now);
    }

    // req 9000-19.20-480
    pub(super) fn on_handshake_done(&mut self, now: Instant) -> Result<(), TransportError> {
        if self.side == Side::Server {
            return Err(TransportError::new(Violation::HandshakeDoneAtServer));
        }
        self.on_handshake_confirmed(now);
        Ok(())
    }

    /// The first Initial packet of the peer that could be opened.
    // req 9000-7.2-088, 9000-7.2-089
    pub(super) fn on_first_initial(&mut self, now: Instant, scid: ConnectionId) {
        if self.handshake.peer_initial_scid.is_none() {
            self.handshake.peer_initial_scid = Some(scid);
            let old = self.remote_ids.active();
            self.remote_ids.set_initial(scid);
            self.tell_remote_id(now, old);
        }
    }

    /// Packets go to another connection ID than `old` from now on.
    pub(super) fn tell_remote_id(&mut self, now: Instant, old: ConnectionId) {
        let new = self.remote_ids.active();
        let initiator = Initiator::Remote;
        self.observers.emit(now, || Event::ConnectionIdUpdated { initiator, old: Some(old), new });
    }
}
