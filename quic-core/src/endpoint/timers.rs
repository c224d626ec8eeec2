//! One queue for the deadlines of all connections.

use std::collections::BTreeSet;
use std::time::Instant;

use super::connections::ConnectionHandle;

/// At most one deadline per connection.
///
/// Deadlines move with almost every packet, mostly to later. An armed deadline is therefore only
/// replaced by an earlier one; whoever is woken too early looks at the connection and arms again.
#[derive(Debug, Default)]
pub(super) struct TimerQueue {
    deadlines: BTreeSet<(Instant, ConnectionHandle)>,
    /// By index of the connection: the deadline in the queue.
    armed: Vec<Option<Instant>>,
}

impl TimerQueue {
    /// Makes sure that `handle` is woken at `deadline` or before.
    pub(super) fn arm(&mut self, handle: ConnectionHandle, deadline: Instant) {
        let index = handle.index();
        if self.armed.len() <= index {
            self.armed.resize(index + 1, None);
        }
        match self.armed[index] {
            Some(armed) if armed <= deadline => return,
            Some(armed) => {
                self.deadlines.remove(&(armed, handle));
            }
            None => {}
        }
        self.armed[index] = Some(deadline);
        self.deadlines.insert((deadline, handle));
    }

    /// Forgets the deadline of `handle`.
    pub(super) fn disarm(&mut self, handle: ConnectionHandle) {
        if let Some(armed) = self.armed.get_mut(handle.index()).and_then(Option::take) {
            self.deadlines.remove(&(armed, handle));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a connection whose deadline is not after `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ConnectionHandle> {
        let (deadline, handle) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.disarm(handle);
        Some(handle)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_earlier_deadlines_replace_armed_ones() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let [a, b] = [ConnectionHandle::for_test(0, 0), ConnectionHandle::for_test(1, 1)];
        let mut timers = TimerQueue::default();
        timers.arm(a, at(50));
        timers.arm(a, at(90));
        timers.arm(b, at(70));
        assert_eq!(timers.next(), Some(at(50)));
        timers.arm(a, at(20));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.pop_due(at(19)), None);
        assert_eq!(timers.pop_due(at(100)), Some(a));
        assert_eq!(timers.pop_due(at(100)), Some(b));
        assert_eq!(timers.pop_due(at(100)), None);
    }

    #[test]
    fn a_disarmed_connection_is_not_woken() {
        let now = Instant::now();
        let handle = ConnectionHandle::for_test(0, 0);
        let mut timers = TimerQueue::default();
        timers.arm(handle, now);
        timers.disarm(handle);
        assert_eq!(timers.next(), None);
        timers.disarm(ConnectionHandle::for_test(9, 0));
    }
}
