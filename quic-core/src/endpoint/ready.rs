//! A queue of connections in which each stands at most once.

use std::collections::VecDeque;

use super::connections::ConnectionHandle;

/// Connections that something is to be done for, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    queue: VecDeque<ConnectionHandle>,
    /// By index of the connection: who of those that had the index stands in the queue.
    queued: Vec<Option<ConnectionHandle>>,
}

impl ReadyQueue {
    /// Adds `handle` at the end, unless it is there already.
    pub(super) fn push(&mut self, handle: ConnectionHandle) {
        let index = handle.index();
        if self.queued.len() <= index {
            self.queued.resize(index + 1, None);
        }
        if self.queued[index] != Some(handle) {
            self.queued[index] = Some(handle);
            self.queue.push_back(handle);
        }
    }

    /// Takes the first one.
    pub(super) fn pop(&mut self) -> Option<ConnectionHandle> {
        let handle = self.queue.pop_front()?;
        let queued = self.queued.get_mut(handle.index()).filter(|queued| **queued == Some(handle));
        if let Some(queued) = queued {
            *queued = None;
        }
        Some(handle)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_waits_once_and_a_successor_at_its_index_is_not_lost() {
        let mut queue = ReadyQueue::default();
        let old = ConnectionHandle::for_test(3, 1);
        let new = ConnectionHandle::for_test(3, 2);
        queue.push(old);
        queue.push(old);
        queue.push(new);
        assert_eq!(queue.pop(), Some(old));
        queue.push(new);
        assert_eq!(queue.pop(), Some(new));
        assert_eq!(queue.pop(), None);
        queue.push(old);
        assert_eq!(queue.pop(), Some(old));
    }
}
