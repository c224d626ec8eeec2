//! When the loss detection timer fires and why (RFC 9002 section 6.2).

use std::time::{Duration, Instant};

use super::Recovery;
use super::mtu::BASE_DATAGRAM_SIZE;
use super::outcome::{AckOutcome, Amplification, HandshakeStage, RecoveryContext, TimeoutAction};
use super::path::PathRecovery;
use super::rtt::RttEstimator;
use super::sent::PacketKind;
use crate::wire::SpaceId;

/// Doublings of the probe timeout beyond this are longer than any idle timeout.
const MAX_BACKOFF: u32 = 16;

/// Packets to send when a probe timeout ends.
// req 9002-6.2.4-039
const PROBES: u8 = 2;

/// Why the loss detection timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReason {
    /// A packet of this space has been overdue for long enough to count as lost.
    Loss(SpaceId),
    /// Nothing was acknowledged for a whole probe timeout; probes go out in this space.
    Probe(SpaceId),
}

/// The backoff of the probe timeout, shared by all packet number spaces.
#[derive(Clone, Debug)]
pub(super) struct PtoBackoff {
    count: u32,
    /// When something last happened that restarts the timer of a client that has nothing in
    /// flight.
    progress_at: Instant,
}

impl PtoBackoff {
    pub(super) fn new(now: Instant) -> Self {
        Self { count: 0, progress_at: now }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn reset(&mut self) {
        self.count = 0;
    }

    pub(super) fn on_progress(&mut self, now: Instant) {
        self.progress_at = now;
    }

    pub(super) fn on_expired(&mut self, now: Instant) {
        // req 9002-6.2.1-028
        self.count = self.count.saturating_add(1);
        self.progress_at = now;
    }

    /// When the probe timeout of a space ends whose last ack-eliciting packet left at `sent`;
    /// `max_ack_delay` is zero outside of the application data space.
    pub(super) fn deadline(
        &self,
        sent: Instant,
        rtt: &RttEstimator,
        max_ack_delay: Duration,
    ) -> Instant {
        let period = rtt.pto_base().saturating_add(max_ack_delay);
        let backed_off = period.saturating_mul(1 << self.count.min(MAX_BACKOFF));
        sent.checked_add(backed_off).unwrap_or(sent + Duration::from_secs(86_400))
    }

    /// When a client that has nothing in flight probes, so that a server at its
    /// anti-amplification limit can go on.
    pub(super) fn anti_deadlock_deadline(&self, rtt: &RttEstimator) -> Instant {
        self.deadline(self.progress_at, rtt, Duration::ZERO)
    }
}

impl<C> Recovery<C> {
    /// When [`on_timeout`](Self::on_timeout) has to be called, and why. To be asked again after
    /// each batch of packets sent or received.
    pub fn timeout(
        &self,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, TimeoutReason)> {
        // req 9002-6.2.1-029
        if let Some((at, id)) = self.earliest_loss_time() {
            return Some((at, TimeoutReason::Loss(id)));
        }
        // req 9002-6.2.2.1-034
        if context.amplification == Amplification::Blocked {
            return None;
        }
        let (at, id) = self.earliest_probe(context, path)?;
        Some((at, TimeoutReason::Probe(id)))
    }

    /// The time that [`timeout`](Self::timeout) gave has come. `out` is cleared and filled.
    pub fn on_timeout(
        &mut self,
        now: Instant,
        context: &RecoveryContext,
        path: &mut PathRecovery,
        out: &mut AckOutcome<C>,
    ) -> TimeoutAction {
        out.clear();
        match self.timeout(context, path) {
            Some((at, TimeoutReason::Loss(id))) if at <= now => {
                self.detect_lost(now, id, context, path, out);
                TimeoutAction::LossDetected(id)
            }
            Some((at, TimeoutReason::Probe(id))) if at <= now => {
                // req 9002-6.2-023: nothing is marked as lost here.
                self.pto.on_expired(now);
                self.suspect_path(now, path, out);
                // req 9002-6.2.4-038, 9002-6.2.4-039
                let waiting = self.spaces.iter().any(|space| space.ledger.has_ack_eliciting());
                TimeoutAction::SendProbes { space: id, count: if waiting { PROBES } else { 1 } }
            }
            _ => TimeoutAction::None,
        }
    }

    /// True once the peer is known to have validated our address: always for a server.
    pub(super) fn peer_validated_address(&self, context: &RecoveryContext) -> bool {
        !self.side.is_client()
            || context.stage == HandshakeStage::Confirmed
            || self.spaces[SpaceId::Handshake.index()].largest_acknowledged.is_some()
    }

    fn earliest_loss_time(&self) -> Option<(Instant, SpaceId)> {
        SpaceId::ALL
            .into_iter()
            .filter_map(|id| Some((self.spaces[id.index()].loss_time?, id)))
            .min()
    }

    fn earliest_probe(
        &self,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, SpaceId)> {
        // req 9002-6.2.1-025
        SpaceId::ALL
            .into_iter()
            .filter_map(|id| self.probe_of(id, context, path))
            .min()
            .or_else(|| self.anti_deadlock_probe(context, path))
    }

    /// A client that waits for no acknowledgement probes until it knows that the server can send freely.
    // req 9000-8.1-120, 9000-8.1-121
    fn anti_deadlock_probe(
        &self,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, SpaceId)> {
        // req 9002-6.2.2.1-035, 9002-6.2.2.1-036
        let space = match context.stage {
            _ if self.peer_validated_address(context) => return None,
            HandshakeStage::Initial => SpaceId::Initial,
            HandshakeStage::Handshake | HandshakeStage::Confirmed => SpaceId::Handshake,
        };
        Some((self.pto.anti_deadlock_deadline(&path.rtt), space))
    }

    fn probe_of(
        &self,
        id: SpaceId,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, SpaceId)> {
        let space = &self.spaces[id.index()];
        if !space.ledger.has_ack_eliciting() {
            return None;
        }
        let max_ack_delay = match (id, context.stage) {
            (SpaceId::Data, HandshakeStage::Confirmed) => context.max_ack_delay,
            // req 9002-6.2.1-026
            (SpaceId::Data, _) => return None,
            (SpaceId::Initial | SpaceId::Handshake, _) => Duration::ZERO,
        };
        // req 9002-6.2.1-027: counted from the last packet, with the RTT as it is known by now.
        let sent = space.last_ack_eliciting?;
        Some((self.pto.deadline(sent, &path.rtt, max_ack_delay), id))
    }

    /// Probe timeouts in a row may be the fault of marks or of large datagrams.
    fn suspect_path(&self, now: Instant, path: &mut PathRecovery, out: &mut AckOutcome<C>) {
        path.ecn.on_pto(self.pto.count());
        // Small packets may be lost beside them: the large ones are the suspects.
        let waits_for_large =
            self.spaces[SpaceId::Data.index()].ledger.outstanding().any(|packet| {
                packet.size > BASE_DATAGRAM_SIZE && packet.kind == PacketKind::AckEliciting
            });
        if waits_for_large {
            out.max_datagram_size = path.mtu.on_suspicion(now);
        }
        if let Some(size) = out.max_datagram_size {
            path.on_mtu_changed(size);
        }
    }
}
