//! The list of cells that application tasks have put work into.

use std::task::Waker;

use super::wakes::{WakerSlot, poll_locked};
use crate::util::sync::Mutex;
use crate::wire::StreamId;

/// Something an application task has left work in for the driver.
///
/// Connections are named by the number that the driver gave their cells. A name may be stale: the
/// driver ignores what it does not know, and finds nothing to do in what has a new owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ready {
    /// The endpoint itself: connects, decisions about incoming connections, close.
    Endpoint,
    /// The cell of a connection.
    Connection(usize),
    /// The sending half of a stream.
    Send(usize, StreamId),
    /// The receiving half of a stream.
    Recv(usize, StreamId),
}

/// Where application tasks tell a driver that there is work, and wake it if it sleeps.
///
/// A cell marks itself as queued, under its own lock, before it is pushed here, and the driver
/// clears that mark in the same step in which it takes the work out of the cell. So each cell is on
/// the list at most once, and work that is put into it after it was emptied queues it again.
#[derive(Debug, Default)]
pub struct ReadyList {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Ready>,
    /// Filled while the driver sleeps.
    sleeper: WakerSlot,
}

impl ReadyList {
    /// An empty list of a driver that is awake.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an item and wakes the driver if it sleeps.
    pub fn push(&self, item: Ready) {
        let sleeper = {
            let mut state = self.state.lock();
            state.items.push(item);
            state.sleeper.take()
        };
        if let Some(waker) = sleeper {
            waker.wake();
        }
    }

    /// Moves everything into `out`, which must be empty; its memory is used for what comes next.
    ///
    /// The driver is awake then, and is not woken again before it sleeps.
    pub fn drain(&self, out: &mut Vec<Ready>) {
        debug_assert!(out.is_empty());
        let _sleeper = {
            let mut state = self.state.lock();
            std::mem::swap(&mut state.items, out);
            state.sleeper.take()
        };
    }

    /// Called by the driver as the last thing before it sleeps. False if there is work after all:
    /// then it must not sleep.
    #[must_use]
    pub fn sleep(&self, waker: &Waker) -> bool {
        let has_work = |state: &mut State| (!state.items.is_empty()).then_some(());
        poll_locked(&self.state, waker, has_work, |state, spare| state.sleeper.wait(spare))
            .is_pending()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::test_support::CountingWaker;
    use super::*;

    #[test]
    fn a_sleeping_driver_is_woken_once_for_a_burst() {
        let list = ReadyList::new();
        let (count, waker) = CountingWaker::new();
        assert!(list.sleep(&waker));
        list.push(Ready::Endpoint);
        list.push(Ready::Connection(1));
        assert_eq!(count.get(), 1);
        let mut items = Vec::new();
        list.drain(&mut items);
        assert_eq!(items, [Ready::Endpoint, Ready::Connection(1)]);
        assert!(list.sleep(&waker));
    }

    #[test]
    fn a_driver_that_something_else_has_woken_is_left_alone() {
        let list = ReadyList::new();
        let (count, waker) = CountingWaker::new();
        assert!(list.sleep(&waker));
        list.drain(&mut Vec::new());
        list.push(Ready::Endpoint);
        assert_eq!(count.get(), 0);
        assert!(!list.sleep(&waker), "it finds the work before it sleeps");
    }

    #[test]
    fn work_that_came_first_keeps_the_driver_awake() {
        let list = ReadyList::new();
        let (count, waker) = CountingWaker::new();
        list.push(Ready::Endpoint);
        assert!(!list.sleep(&waker));
        assert_eq!(count.get(), 0);
    }
}
