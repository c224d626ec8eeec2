//! What happens on streams that the application should know.

use std::collections::VecDeque;

use super::send::SendOutcome;
use crate::wire::{ApplicationErrorCode, Dir, StreamId};

/// News about streams (RFC 9000, section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer has opened at least one stream: accept until there is none left.
    Opened(Dir),
    /// There is data, an end or a reset to read: read until the stream is blocked or over.
    Readable(StreamId),
    /// A stream on which a write was blocked or cut short takes data again.
    Writable(StreamId),
    /// The peer does not want what is sent on the stream.
    ///
    /// If the stream was not finished it is reset now and a `SendClosed` follows. If all of it was
    /// sent already, it goes on until it is delivered or has to be resent.
    Stopped {
        /// The stream.
        id: StreamId,
        /// The peer's reason.
        code: ApplicationErrorCode,
    },
    /// How the sending part of a stream ends is decided. There is one such event for each stream.
    SendClosed {
        /// The stream.
        id: StreamId,
        /// How it ends.
        outcome: SendOutcome,
    },
    /// The peer lets us open more streams, after an attempt had failed.
    StreamsAvailable(Dir),
}

/// Events in the order in which they happened, none twice as long as it was not taken.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<StreamEvent>,
    opened_queued: [bool; 2],
}

impl Events {
    pub(super) fn push(&mut self, event: StreamEvent) {
        self.queue.push_back(event);
    }

    /// The peer has stopped a stream that is not finished.
    pub(super) fn push_stopped(&mut self, id: StreamId, code: ApplicationErrorCode) {
        let outcome = SendOutcome::Reset { code, by_peer: true };
        self.push(StreamEvent::Stopped { id, code });
        self.push(StreamEvent::SendClosed { id, outcome });
    }

    pub(super) fn push_opened(&mut self, dir: Dir) {
        if !std::mem::replace(&mut self.opened_queued[dir as usize], true) {
            self.push(StreamEvent::Opened(dir));
        }
    }

    pub(super) fn pop(&mut self) -> Option<StreamEvent> {
        let event = self.queue.pop_front()?;
        if let StreamEvent::Opened(dir) = event {
            self.opened_queued[dir as usize] = false;
        }
        Some(event)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
