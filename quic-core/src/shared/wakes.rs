//! Who waits, and who is to be woken once no lock is held.
//!
//! Cloning and dropping a waker runs code of its executor, so neither happens under a lock: a
//! waiting task brings a clone along ([`Spare`]), and takes the waker that it replaces away.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use crate::util::sync::Mutex;

/// Wakers to call after a batch of work, so that each task is woken once for all of it.
#[derive(Debug, Default)]
pub struct Wakes(Vec<Waker>);

impl Wakes {
    /// How many of the latest wakers are compared with a new one.
    const LOOK_BACK: usize = 8;

    /// Nobody to wake.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a waker, unless it is one of the latest already.
    pub(super) fn push(&mut self, waker: Waker) {
        if !self.0.iter().rev().take(Self::LOOK_BACK).any(|known| known.will_wake(&waker)) {
            self.0.push(waker);
        }
    }

    pub(super) fn extend(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }

    /// True if nobody is to be woken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes them all. No lock of this module may be held.
    pub fn wake_all(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Wakes {
    /// Nobody is forgotten, not even if the driver panics.
    fn drop(&mut self) {
        self.wake_all();
    }
}

/// The waker of the task that polls, and a clone of it once one is needed; afterwards perhaps a
/// waker that was replaced. Lives longer than the lock.
pub(super) struct Spare<'a> {
    waker: &'a Waker,
    clone: Option<Waker>,
}

/// The place where one task waits.
#[derive(Debug, Default)]
pub(super) struct WakerSlot(Option<Waker>);

impl WakerSlot {
    /// Makes sure that the polling task is in the slot. False if a clone must be made first.
    #[must_use]
    pub(super) fn wait(&mut self, spare: &mut Spare<'_>) -> bool {
        match &self.0 {
            Some(known) if known.will_wake(spare.waker) => true,
            _ if spare.clone.is_none() => false,
            _ => {
                std::mem::swap(&mut self.0, &mut spare.clone);
                true
            }
        }
    }

    pub(super) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// The place of a waiting future in a list of waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitKey(u64);

/// Tasks that wait for the same thing, first come first served.
///
/// A future keeps its [`WaitKey`] and takes itself off the list when it is dropped, so the list is
/// never longer than the number of futures that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<(WaitKey, Waker)>,
    next: u64,
}

impl Waiters {
    /// Makes sure that the polling task is on the list. False if a clone must be made first.
    #[must_use]
    pub(super) fn wait(&mut self, key: &mut Option<WaitKey>, spare: &mut Spare<'_>) -> bool {
        let known = self.queue.iter_mut().find(|(other, _)| Some(*other) == *key);
        if let Some((_, known)) = known {
            if known.will_wake(spare.waker) {
                return true;
            }
            let Some(clone) = &mut spare.clone else { return false };
            std::mem::swap(known, clone);
            return true;
        }
        let Some(waker) = spare.clone.take() else { return false };
        let new = WaitKey(self.next);
        self.next += 1;
        self.queue.push_back((new, waker));
        *key = Some(new);
        true
    }

    /// Removes a task that waits no longer, and returns its waker. `None` if it had been notified
    /// already: what it was notified of is then free for the next one.
    pub(super) fn leave(&mut self, key: WaitKey) -> Option<Waker> {
        let index = self.queue.iter().position(|(other, _)| *other == key)?;
        self.queue.remove(index).map(|(_, waker)| waker)
    }

    /// Takes up to `n` of the tasks that have waited longest.
    pub(super) fn take(&mut self, n: u64) -> Vec<Waker> {
        let n = usize::try_from(n).map_or(self.queue.len(), |n| n.min(self.queue.len()));
        self.queue.drain(..n).map(|(_, waker)| waker).collect()
    }

    /// Takes all tasks.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        self.take(u64::MAX)
    }
}

/// Polls a condition under a lock: `ready` tells whether it holds, `wait` puts the task where it
/// will be woken from when that changes.
pub(super) fn poll_locked<S, T>(
    mutex: &Mutex<S>,
    waker: &Waker,
    mut ready: impl FnMut(&mut S) -> Option<T>,
    mut wait: impl FnMut(&mut S, &mut Spare<'_>) -> bool,
) -> Poll<T> {
    let mut spare = Spare { waker, clone: None };
    loop {
        let mut state = mutex.lock();
        if let Some(value) = ready(&mut state) {
            return Poll::Ready(value);
        }
        if wait(&mut state, &mut spare) {
            return Poll::Pending;
        }
        drop(state);
        spare.clone = Some(waker.clone());
    }
}
