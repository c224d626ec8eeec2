//! When the loss detection timer fires and why (RFC 9002 section 6.2).

use std::time::{Duration, Instant};

use super::SpaceId;
use super::rtt::RttEstimator;

/// Doublings of the probe timeout beyond this are longer than any idle timeout.
const MAX_BACKOFF: u32 = 16;

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
