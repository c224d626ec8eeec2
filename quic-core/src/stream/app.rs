//! What the application does with streams.

use bytes::Bytes;

use super::event::StreamEvent;
use super::recv::{Read, ReadError};
use super::scheduler::Priority;
use super::send::{SendOutcome, SendStream, WriteError};
use super::table::{Known, Owner, Writer};
use super::{Phase, Streams};
use crate::wire::{ApplicationErrorCode, Dir, StreamId};

impl Streams {
    /// Opens a stream, `None` if the peer allows no more now: then [`StreamEvent::StreamsAvailable`]
    /// tells when it does.
    // req 9000-2.1-001, 9000-4.6-034, 9000-19.11-456, 9000-4.6-037, 9000-19.14-461
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        if self.phase == Phase::Closed {
            return None;
        }
        let credit = &mut self.open_credit[dir as usize];
        if credit.available() == 0 {
            credit.on_blocked();
            return None;
        }
        credit.consume(1);
        let id = StreamId::new(self.side, dir, self.table.opened(self.side, dir));
        self.table.open_up_to(id);
        self.make(id);
        Some(id)
    }

    /// How many streams of this direction the peer allows us to open in all, those that were opened
    /// before among them.
    pub fn open_limit(&self, dir: Dir) -> u64 {
        self.open_credit[dir as usize].limit()
    }

    /// The application wants to open a stream. If the peer allows none, it is told so.
    // req 9000-4.6-037
    pub fn want_open(&mut self, dir: Dir) {
        let credit = &mut self.open_credit[dir as usize];
        if credit.available() == 0 && self.phase != Phase::Closed {
            credit.on_blocked();
        }
    }

    /// Takes the next stream that the peer has opened, in the order of their numbers.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        if self.phase == Phase::Closed {
            return None;
        }
        let id = self.table.next_to_accept(!self.side, dir)?;
        self.table.on_accepted(dir);
        let key = match self.table.known(id) {
            Known::Here(key) => key,
            Known::Implied => self.make(id),
            Known::Over | Known::Unopened => {
                debug_assert!(false, "a stream stays until the application has seen it");
                return None;
            }
        };
        let stream = &mut self.table[key];
        stream.owner = Owner::App;
        // The only way in which it can have ended before it was accepted.
        if let Some(SendOutcome::Reset { code, .. }) =
            stream.send.as_ref().and_then(SendStream::outcome)
        {
            self.events.push_stopped(id, code);
        }
        self.notify_readable(key);
        Some(id)
    }

    /// Writes as much of `data` as there is room for, and returns how much that was: never zero,
    /// unless `data` is empty.
    ///
    /// Room is what the stream's send window and the send budget of the connection leave; the peer's
    /// flow control plays no part. After [`WriteError::Blocked`] or a partial write
    /// [`StreamEvent::Writable`] tells when there is room again.
    pub fn write(&mut self, id: StreamId, mut data: Bytes) -> Result<usize, WriteError> {
        let key = self.table.find(id).ok_or(WriteError::UnknownStream)?;
        let send = self.table[key].send.as_mut().ok_or(WriteError::UnknownStream)?;
        let window_room = send.room()?;
        let budget_room = self.config.send_budget.saturating_sub(self.send_buffered);
        let room = usize::try_from(window_room.min(budget_room)).unwrap_or(usize::MAX);
        let len = data.len().min(room);
        let cut_short = len < data.len();
        if len > 0 {
            data.truncate(len);
            send.write(data);
            self.send_buffered += len as u64;
        }
        if cut_short {
            if window_room <= budget_room {
                self.table[key].writer = Writer::Window;
            } else {
                self.table[key].writer = Writer::Budget;
                self.waiting_writers.push_back(0, key);
            }
        }
        self.settle(key);
        if cut_short && len == 0 { Err(WriteError::Blocked) } else { Ok(len) }
    }

    /// Ends the stream after what was written to it.
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        let key = self.table.find(id).ok_or(WriteError::UnknownStream)?;
        let send = self.table[key].send.as_mut().ok_or(WriteError::UnknownStream)?;
        send.finish()?;
        self.forget_writer(key);
        self.settle(key);
        Ok(())
    }

    /// Gives up the sending part of the stream, for the reason `code`: data that was not delivered
    /// is dropped at once. Does nothing if the outcome of the stream is decided already.
    // req 9000-11.2-275
    pub fn reset(&mut self, id: StreamId, code: ApplicationErrorCode) {
        let Some(key) = self.table.find(id) else { return };
        self.reset_at(key, code);
        self.settle(key);
    }

    /// Gives up the receiving part of the stream, for the reason `code`: data that was not read is
    /// dropped at once. Does nothing if the part is over already.
    pub fn stop(&mut self, id: StreamId, code: ApplicationErrorCode) {
        let Some(key) = self.table.find(id) else { return };
        self.stop_at(key, code);
        self.settle(key);
    }

    /// Sets how the stream shares the connection with others, from the next packet on.
    // req 9000-2.3-006
    pub fn set_priority(&mut self, id: StreamId, priority: Priority) {
        let Some(key) = self.table.find(id) else { return };
        self.table[key].priority = priority;
        self.settle(key);
    }

    /// Takes the next data of the stream.
    ///
    /// The credit for it goes back to the peer by [`release_credit`](Self::release_credit), when the
    /// reader is done with the data.
    // req 9000-2.2-002
    pub fn read(&mut self, id: StreamId) -> Result<Read, ReadError> {
        let key = self.table.find(id).ok_or(ReadError::UnknownStream)?;
        let result = self.with_recv(key, |recv| recv.read()).ok_or(ReadError::UnknownStream)?;
        match result {
            Ok(Read::Chunk(_) | Read::Blocked) => {}
            Ok(Read::Finished) | Err(_) => self.settle(key),
        }
        result
    }

    /// The reader is done with `n` bytes that [`read`](Self::read) gave it, so the peer may send as
    /// much again.
    ///
    /// Counts beyond what was read, and for streams whose credit went back at a reset or a stop, are
    /// ignored.
    pub fn release_credit(&mut self, id: StreamId, n: u64) {
        let Some(key) = self.table.find(id) else { return };
        if let Some(credit) = self.with_recv(key, |recv| recv.release(n)) {
            self.receive_credit.give_back(credit);
        }
        self.settle(key);
    }

    /// The application is done with the stream and will not name it again.
    ///
    /// Only after this call the stream can vanish, and the peer can open another in its place. What
    /// is still open is given up with code 0: a sending part that was not finished is reset, a
    /// receiving part that was not read to its end is stopped.
    pub fn release(&mut self, id: StreamId) {
        let Some(key) = self.table.find(id) else { return };
        let stream = &mut self.table[key];
        if stream.owner != Owner::App {
            return;
        }
        stream.owner = Owner::Released;
        if stream.send.as_ref().is_some_and(SendStream::is_open) {
            self.reset_at(key, ApplicationErrorCode::default());
        }
        self.stop_at(key, ApplicationErrorCode::default());
        self.settle(key);
    }

    /// True if data of the stream, or its opening, came as early data before the handshake was
    /// complete, so that it may be a replay of what somebody else has sent (RFC 9001, section 9.2).
    /// What arrives later does not change the answer to false.
    pub fn is_early(&self, id: StreamId) -> bool {
        self.table.find(id).is_some_and(|key| self.table[key].early)
    }

    /// True if there is, or was, a stream for which [`is_early`](Self::is_early) is true.
    pub fn has_early(&self) -> bool {
        self.has_early
    }

    /// The next news about streams.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        let event = self.events.pop()?;
        if let StreamEvent::Readable(id) = event
            && let Some(key) = self.table.find(id)
        {
            self.table[key].readable_queued = false;
        }
        Some(event)
    }

    fn reset_at(&mut self, key: usize, code: ApplicationErrorCode) {
        let stream = &mut self.table[key];
        let Some(freed) = stream.send.as_mut().and_then(|send| send.reset(code)) else { return };
        let outcome = SendOutcome::Reset { code, by_peer: false };
        self.events.push(StreamEvent::SendClosed { id: stream.id, outcome });
        self.forget_writer(key);
        self.on_send_freed(key, freed);
    }

    fn stop_at(&mut self, key: usize, code: ApplicationErrorCode) {
        if let Some(credit) = self.with_recv(key, |recv| recv.stop(code)) {
            self.receive_credit.give_back(credit);
        }
    }
}
