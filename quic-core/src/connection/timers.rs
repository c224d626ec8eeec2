//! Every deadline of a connection, and what happens when it passes.

use std::time::{Duration, Instant};

use super::Connection;
use super::state::State;
use crate::error::ConnectionError;
use crate::observe::{Event, Timer};
use crate::recovery::TimeoutAction;
use crate::wire::SpaceId;

/// The idle period is never shorter than this many probe timeouts (RFC 9000 section 10.1).
const IDLE_PTOS: u32 = 3;

/// So many packets close behind each other are a flow, whose end somebody should look after.
const FLOW: u32 = 8;
/// A flow has broken off when nothing more came for this many probe timeouts.
const SILENCE_PTOS: u32 = 2;

/// Points in time from which deadlines follow.
#[derive(Debug)]
pub(super) struct Deadlines {
    created: Instant,
    /// Last packet processed, or first ack-eliciting packet sent since.
    last_activity: Instant,
    /// An ack-eliciting packet was sent since the last packet was received.
    sent_since_received: bool,
    /// Packets in a row that wanted an acknowledgement and were close behind each other.
    flow: u32,
    /// During this silence, the peer was asked whether it is still there.
    asked: bool,
    /// During this silence, limits that hold data back were looked for.
    repeated_blocked: bool,
    /// The pacer holds data back until then.
    pub(super) pacing: Option<Instant>,
}

impl Deadlines {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            created: now,
            last_activity: now,
            sent_since_received: false,
            flow: 0,
            asked: false,
            repeated_blocked: false,
            pacing: None,
        }
    }

    /// For how long the connection has existed.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created)
    }

    /// A packet was received; `close` is how soon it has to follow the one before to belong to the
    /// same flow.
    pub(super) fn on_packet_processed(
        &mut self,
        now: Instant,
        ack_eliciting: bool,
        close: Duration,
    ) {
        if ack_eliciting {
            let follows = now.saturating_duration_since(self.last_activity) <= close;
            self.flow = if follows { self.flow.saturating_add(1) } else { 0 };
        }
        self.asked = false;
        self.last_activity = now;
        self.sent_since_received = false;
        self.repeated_blocked = false;
    }

    pub(super) fn on_ack_eliciting_sent(&mut self, now: Instant) {
        if !self.sent_since_received {
            self.sent_since_received = true;
            self.last_activity = now;
        }
    }
}

impl Connection {
    /// When [`Connection::handle_timeout`] must be called at the latest, if nothing else happens.
    pub fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Drained => return None,
            State::Draining { until } => return Some(until),
            State::Closing(closing) => return Some(closing.until),
            State::Handshaking | State::Established | State::Confirmed => {}
        }
        let recovery = self.recovery.timeout(&self.recovery_context(), &self.path.recovery);
        [
            self.idle_deadline(),
            self.handshake_deadline(),
            self.keep_alive_deadline(),
            self.blocked_deadline(),
            self.silence_deadline(),
            recovery.map(|(at, _)| at),
            self.space(SpaceId::Data).and_then(|space| space.acks.deadline()),
            self.deadlines.pacing,
            self.keys.early_deadline(),
            self.path_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due at `now`. Calling it early or twice does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Drained => return,
            // req 9000-10.2-225
            State::Draining { until } | State::Closing(super::state::Closing { until, .. }) => {
                if until <= now {
                    self.state.on_abandon();
                }
                return;
            }
            State::Handshaking | State::Established | State::Confirmed => {}
        }
        if is_due(self.handshake_deadline(), now) {
            self.tell_expired(now, Timer::Handshake, None);
            return self.abandon(now, ConnectionError::HandshakeTimedOut);
        }
        if is_due(self.idle_deadline(), now) {
            self.tell_expired(now, Timer::Idle, None);
            return self.abandon(now, ConnectionError::TimedOut);
        }
        if is_due(self.keys.early_deadline(), now) {
            self.drop_early_keys(now);
        }
        if is_due(self.deadlines.pacing, now) {
            self.deadlines.pacing = None;
        }
        if is_due(self.keep_alive_deadline(), now) {
            self.tell_expired(now, Timer::KeepAlive, None);
            self.ping();
        }
        if is_due(self.silence_deadline(), now) {
            self.deadlines.asked = true;
            self.ping();
        }
        if is_due(self.blocked_deadline(), now) {
            self.deadlines.repeated_blocked = true;
            self.streams.repeat_blocked();
        }
        if let Some(space) = self.space_mut(SpaceId::Data) {
            space.acks.on_deadline(now);
        }
        if is_due(self.path_deadline(), now) {
            self.on_path_timeout(now);
        }
        self.on_recovery_timeout(now);
    }

    fn on_recovery_timeout(&mut self, now: Instant) {
        let context = self.recovery_context();
        let mut outcome = std::mem::take(&mut self.ack_outcome);
        match self.recovery.on_timeout(now, &context, &mut self.path.recovery, &mut outcome) {
            TimeoutAction::None => {}
            TimeoutAction::LossDetected(space) => {
                self.tell_expired(now, Timer::LossDetection, Some(space));
                self.forget_elsewhere(&outcome);
                self.on_packets_lost(now, space, &mut outcome);
                self.report(now, &outcome);
            }
            TimeoutAction::SendProbes { space, count } => {
                self.tell_expired(now, Timer::ProbeTimeout, Some(space));
                self.observers.stats.probe_timeouts += 1;
                self.arm_probes(space, count);
                self.report(now, &outcome);
            }
        }
        self.ack_outcome = outcome;
    }

    fn tell_expired(&mut self, now: Instant, timer: Timer, space: Option<SpaceId>) {
        self.observers.emit(now, || Event::TimerExpired { timer, space });
    }

    /// The idle timeout: both sides' values, the smaller, but not below three probe timeouts.
    // req 9000-10.1-220
    fn idle_deadline(&self) -> Option<Instant> {
        let period = self.idle_timeout()?;
        let floor = self.probe_timeout(SpaceId::Data) * IDLE_PTOS;
        self.deadlines.last_activity.checked_add(period.max(floor))
    }

    fn idle_timeout(&self) -> Option<Duration> {
        let ours = self.config.max_idle_timeout();
        let theirs =
            self.handshake.peer_idle_timeout().or_else(|| self.early.remembered_idle_timeout());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        }
    }

    fn handshake_deadline(&self) -> Option<Instant> {
        if !self.state.is_handshaking() {
            return None;
        }
        self.deadlines.created.checked_add(self.config.handshake_timeout())
    }

    fn keep_alive_deadline(&self) -> Option<Instant> {
        let interval = self.config.keep_alive_interval()?;
        let pending = self.space(SpaceId::Data).is_none_or(|space| space.ping);
        if !self.state.is_confirmed() || pending || self.deadlines.sent_since_received {
            return None;
        }
        self.deadlines.last_activity.checked_add(interval)
    }
}

impl Connection {
    /// Half-way to the idle timeout the peer is told again what holds data back, if anything does:
    /// that this side is silent is not for lack of data.
    // req 9000-4.1-025
    fn blocked_deadline(&self) -> Option<Instant> {
        let period = self.idle_timeout()?;
        if !self.state.is_confirmed()
            || self.deadlines.sent_since_received
            || self.deadlines.repeated_blocked
        {
            return None;
        }
        self.deadlines.last_activity.checked_add(period / 2)
    }
}

impl Connection {
    /// A flow of packets from the peer has broken off, and we have nothing under way that would
    /// find out why. If a NAT has forgotten us, only a packet of ours can repair that; and after an
    /// outage it tells the peer that it is over.
    fn silence_deadline(&self) -> Option<Instant> {
        let waits = self.deadlines.flow >= FLOW && self.streams.any_open();
        if !waits
            || self.deadlines.asked
            || !self.state.is_confirmed()
            || self.recovery.has_ack_eliciting_in_flight(SpaceId::Data)
        {
            return None;
        }
        let silence = self.probe_timeout(SpaceId::Data) * SILENCE_PTOS;
        self.deadlines.last_activity.checked_add(silence)
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}
