//! The states that streams go through, noted for who listens to the connection.

use super::Streams;
use super::table::Told;
use crate::observe::{StreamHalf, StreamState};
use crate::wire::StreamId;

/// One half of a stream came into another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The stream.
    pub id: StreamId,
    /// Which half of it.
    pub half: StreamHalf,
    /// The state from now on.
    pub new: StreamState,
}

impl Streams {
    /// Notes changes of state from now on, for [`take_state_change`](Self::take_state_change).
    pub fn trace_states(&mut self) {
        self.state_changes.get_or_insert_default();
    }

    /// The next change of state that was noted.
    pub fn take_state_change(&mut self) -> Option<StateChange> {
        self.state_changes.as_mut()?.pop_front()
    }

    /// Notes what changed about a stream since this was called the last time.
    pub(super) fn note_states(&mut self, key: usize) {
        let Some(changes) = &mut self.state_changes else { return };
        let stream = &mut self.table[key];
        let id = stream.id;
        let now = Told {
            send: stream.send.as_ref().map(|send| send.state()),
            recv: stream.recv.as_ref().map(|recv| recv.state()),
        };
        let before = std::mem::replace(&mut stream.told, now);
        let halves = [
            (StreamHalf::Sending, before.send, now.send),
            (StreamHalf::Receiving, before.recv, now.recv),
        ];
        for (half, before, now) in halves {
            if let Some(new) = now.filter(|_| now != before) {
                changes.push_back(StateChange { id, half, new });
            }
        }
    }
}
