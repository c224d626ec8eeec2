//! Flow control (RFC 9000, section 4): one pair of types for the bytes of a connection, the bytes of
//! a stream, and the number of streams.
//!
//! All three work alike: a cumulative count may not pass a limit that the receiver tells, and the
//! receiver moves the limit on as things are consumed. [`SendCredit`] is the end that obeys the
//! limit, [`ReceiveCredit`] the end that sets it.

use std::time::{Duration, Instant};

use super::delivery::Delivery;

/// What we may use up before the peer raises its limit.
#[derive(Debug)]
pub(super) struct SendCredit {
    limit: u64,
    used: u64,
    /// Delivery of the frame that says we are held back by `limit`.
    blocked: Delivery,
}

impl SendCredit {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, blocked: Delivery::Idle }
    }

    /// The highest count that the peer allows.
    #[inline]
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    #[inline]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    #[inline]
    pub(super) fn available(&self) -> u64 {
        self.limit - self.used
    }

    /// Uses up `n` of what is available.
    // req 9000-4.1-021, 9000-2.2-005, 9000-19.10-452, 9000-19.9-448
    #[inline]
    pub(super) fn consume(&mut self, n: u64) {
        debug_assert!(n <= self.available(), "the caller asked for what is available");
        self.used += n;
    }

    /// The peer allows `limit`; true if that is more than before.
    // req 9000-4.1-023, 9000-4.6-036, 9000-19.11-455, 9000-13.3-334
    pub(super) fn raise(&mut self, limit: u64) -> bool {
        if limit <= self.limit {
            return false;
        }
        self.limit = limit;
        self.blocked = Delivery::Idle;
        true
    }

    /// We would use more if we could; the peer is told once for each limit.
    // req 9000-4.1-024
    pub(super) fn on_blocked(&mut self) {
        debug_assert_eq!(self.available(), 0);
        if self.blocked == Delivery::Idle {
            self.blocked = Delivery::Pending;
        }
    }

    /// Nothing is held back any more.
    pub(super) fn on_unblocked(&mut self) {
        self.blocked = Delivery::Idle;
    }

    /// Tells the peer again that we are held back, if we still are.
    pub(super) fn repeat_blocked(&mut self) {
        if self.blocked != Delivery::Idle {
            self.blocked = Delivery::Pending;
        }
    }

    /// True since something was held back by the current limit.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked != Delivery::Idle
    }

    #[inline]
    pub(super) fn has_blocked_pending(&self) -> bool {
        self.blocked == Delivery::Pending
    }

    /// The frame that names the current limit was written.
    pub(super) fn on_blocked_sent(&mut self) {
        self.blocked = Delivery::InFlight;
    }

    /// The frame that named `limit` was lost; worth repeating only if that still is the limit.
    pub(super) fn on_blocked_lost(&mut self, limit: u64) {
        if limit == self.limit {
            self.blocked.on_lost();
        }
    }
}

/// The peer went past the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitExceeded;

/// What the peer may use up, and how much of that came back because it was consumed.
///
/// The limit is what came back plus a window. The window doubles while a whole one is consumed in
/// less than two round trips, up to a cap: then it, and not the network, is what limits the peer.
#[derive(Debug)]
pub(super) struct ReceiveCredit {
    /// The limit that the peer was told last.
    limit: u64,
    used: u64,
    returned: u64,
    window: u64,
    max_window: u64,
    /// No limit may be larger, because it could not be encoded.
    ceiling: u64,
    /// Delivery of the frame that tells `limit`.
    update: Delivery,
    /// The peer has said that it waits for more than `limit`.
    peer_waits: bool,
    /// When the limit was told last, and what had come back by then.
    measured_from: Option<(Instant, u64)>,
}

impl ReceiveCredit {
    /// The peer knows of `window` from the handshake; it may grow up to `max_window`.
    pub(super) fn new(window: u64, max_window: u64, ceiling: u64) -> Self {
        let window = window.min(ceiling);
        Self {
            limit: window,
            used: 0,
            returned: 0,
            window,
            max_window: max_window.max(window),
            ceiling,
            update: Delivery::Idle,
            peer_waits: false,
            measured_from: None,
        }
    }

    #[inline]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    #[inline]
    pub(super) fn returned(&self) -> u64 {
        self.returned
    }

    #[inline]
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// The peer has used up `n` more.
    #[inline]
    pub(super) fn consume(&mut self, n: u64) -> Result<(), LimitExceeded> {
        match self.used.checked_add(n) {
            Some(used) if used <= self.limit => {
                self.used = used;
                Ok(())
            }
            _ => Err(LimitExceeded),
        }
    }

    /// The peer has used up `total` in all; how much of that is new.
    #[inline]
    pub(super) fn consume_up_to(&mut self, total: u64) -> Result<u64, LimitExceeded> {
        let new = total.saturating_sub(self.used);
        self.consume(new)?;
        Ok(new)
    }

    /// `n` of what the peer used was consumed here, so that as much can follow.
    #[inline]
    pub(super) fn give_back(&mut self, n: u64) {
        self.returned += n;
        debug_assert!(self.returned <= self.used, "credit comes back once");
    }

    /// The peer says that it has used up all it knew of, which was `limit`.
    pub(super) fn on_peer_blocked(&mut self, limit: u64) {
        self.peer_waits |= limit == self.limit;
    }

    /// Lets the window be at least `window`, as far as its cap allows.
    pub(super) fn grow_window(&mut self, window: u64) {
        self.window = self.window.max(window.min(self.max_window));
    }

    /// True if the peer should be told a new limit, or an old one again.
    ///
    /// A quarter of the window is worth a frame; so is any progress that at least doubles what a
    /// peer that is nearly out of credit has left, lest things that are held open for long leave it
    /// too little to ever consume a quarter; and any progress at all if the peer says that it waits,
    /// for it may have used up what nobody sees here yet.
    // req 9000-4.2-027, 9000-4.6-038
    #[inline]
    pub(super) fn wants_update(&self) -> bool {
        if self.update == Delivery::Pending {
            return true;
        }
        let gain = self.next_limit() - self.limit;
        gain > 0 && (self.peer_waits || gain >= self.window / 4 || gain >= self.limit - self.used)
    }

    /// Moves the limit on for a frame that is about to be written, and returns it.
    pub(super) fn advance(&mut self, now: Instant, rtt: Duration) -> u64 {
        if self.wants_update() {
            self.tune(now, rtt);
        }
        let limit = self.next_limit();
        self.peer_waits &= limit == self.limit;
        self.limit = limit;
        self.update = Delivery::InFlight;
        self.limit
    }

    /// The frame that told `limit` was lost. The current limit is sent instead, unless a frame with
    /// a newer one is under way.
    pub(super) fn on_update_lost(&mut self, limit: u64) {
        if limit == self.limit {
            self.update.on_lost();
        }
    }

    pub(super) fn on_update_acked(&mut self, limit: u64) {
        if limit == self.limit {
            self.update.on_acked();
        }
    }

    fn next_limit(&self) -> u64 {
        self.returned.saturating_add(self.window).min(self.ceiling).max(self.limit)
    }

    fn tune(&mut self, now: Instant, rtt: Duration) {
        if let Some((since, returned)) = self.measured_from {
            let consumed = u128::from(self.returned - returned);
            let elapsed = now.saturating_duration_since(since).as_nanos();
            // A whole window would have taken elapsed × window / consumed.
            if elapsed * u128::from(self.window) < 2 * rtt.as_nanos() * consumed {
                self.grow_window(self.window.saturating_mul(2));
            }
        }
        self.measured_from = Some((now, self.returned));
    }
}

#[cfg(test)]
mod tests;
