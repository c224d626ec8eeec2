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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamConfig;
    use crate::util::Rng;
    use crate::wire::{Dir, Side};

    #[test]
    fn each_state_is_noted_once_and_only_if_somebody_listens() {
        for listens in [true, false] {
            let mut rng = Rng::from_seed([1; 32]);
            let mut streams = Streams::new(Side::Client, &StreamConfig::default(), &mut rng);
            if listens {
                streams.trace_states();
            }
            let params = crate::wire::TransportParameters {
                initial_max_streams_uni: 1,
                ..Default::default()
            };
            streams.set_peer_params(&params);
            let id = streams.open(Dir::Uni).expect("one is allowed");
            streams.reset(id, 7u32.into());
            streams.reset(id, 8u32.into());
            let noted: Vec<_> = std::iter::from_fn(|| streams.take_state_change()).collect();
            let half = StreamHalf::Sending;
            let states = [StreamState::Ready, StreamState::ResetSent];
            let expected = states.map(|new| StateChange { id, half, new });
            assert_eq!(noted, if listens { &expected[..] } else { &[] });
        }
    }
}
