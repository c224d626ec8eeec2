//! The sending half of a stream as application tasks and the driver both see it.

use std::mem;
use std::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::ready::{Ready, ReadyList};
use super::wakes::{WaitKey, Waiters, WakerSlot, Wakes, poll_locked};
use crate::util::sync::{Arc, Mutex};
use crate::wire::{StreamId, VarInt};

/// Slices up to this length are gathered into a shared chunk instead of one allocation each.
const SMALL_WRITE: usize = 2048;
/// Size of a chunk of gathered small writes.
const GATHER: usize = 8192;
/// No single copying write moves more than this, so that large ones are spread over chunks.
const MAX_COPY: usize = 64 * 1024;

/// How far the sending half of a stream has come.
///
/// `Acked`, `Reset`, `Lost` and `Rejected` are final: the first of them to happen is the outcome
/// for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendPhase {
    /// The application may write.
    Open,
    /// The application has finished the stream; not everything is acknowledged.
    Fin,
    /// The peer has acknowledged all bytes and the end of the stream.
    Acked,
    /// The stream ended early.
    Reset {
        /// The application's code: our own, or the one the peer asked us to stop with.
        code: VarInt,
        /// True if the peer asked for it with STOP_SENDING.
        by_peer: bool,
    },
    /// The connection ended before the outcome was known.
    Lost,
    /// The stream began as early data, which the server did not take.
    Rejected,
}

impl SendPhase {
    /// True if the outcome is known, and thus will never change.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Open | Self::Fin => false,
            Self::Acked | Self::Reset { .. } | Self::Lost | Self::Rejected => true,
        }
    }

    /// Enters `outcome` unless another one came first.
    fn end(&mut self, outcome: Self) -> bool {
        debug_assert!(outcome.is_final());
        let first = !self.is_final();
        if first {
            *self = outcome;
        }
        first
    }
}

/// Why no byte was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefused {
    /// The application has finished the stream.
    Finished,
    /// The application has reset the stream with this code.
    Reset(VarInt),
    /// The peer has asked for no more, with this code.
    Stopped(VarInt),
    /// The connection is over.
    Lost,
    /// The server did not take the early data that the stream began with.
    Rejected,
}

/// What the driver found in the cell.
#[derive(Debug, Default)]
pub struct SendWork {
    /// Data in the order in which it was written. The driver empties it; its memory is used again.
    pub chunks: Vec<Bytes>,
    /// No data will follow.
    pub fin: bool,
    /// The application has reset the stream with this code.
    pub reset: Option<VarInt>,
    /// The application has set a priority: urgency, and whether the stream is incremental.
    pub priority: Option<(u8, bool)>,
    /// The application holds no handle any more.
    pub released: bool,
}

/// One small lock around what an application task and the driver exchange about data to be sent.
///
/// The application appends chunks to an inbox as far as the driver has granted; the driver swaps
/// the whole inbox out and from then on owns the data alone.
#[derive(Debug)]
pub struct SendCell {
    id: StreamId,
    connection: usize,
    ready: Arc<ReadyList>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: SendPhase,
    inbox: Vec<Bytes>,
    /// Small writes that follow the inbox.
    gathered: BytesMut,
    /// Bytes the application has written, ever.
    written: u64,
    /// How many it may have written in all.
    limit: u64,
    /// The peer has sent STOP_SENDING.
    stopped: Option<VarInt>,
    /// News for the driver, taken once.
    news: News,
    queued: bool,
    writer: WakerSlot,
    watchers: Waiters,
}

#[derive(Debug, Default)]
struct News {
    fin: bool,
    reset: Option<VarInt>,
    priority: Option<(u8, bool)>,
    released: bool,
}

impl SendCell {
    /// A cell for stream `id` of the connection with the driver's number `connection`, into which
    /// `limit` bytes may be written before the driver grants more.
    pub fn new(ready: Arc<ReadyList>, connection: usize, id: StreamId, limit: u64) -> Self {
        let state = State {
            phase: SendPhase::Open,
            inbox: Vec::new(),
            gathered: BytesMut::new(),
            written: 0,
            limit,
            stopped: None,
            news: News::default(),
            queued: false,
            writer: WakerSlot::default(),
            watchers: Waiters::default(),
        };
        Self { id, connection, ready, state: Mutex::new(state) }
    }

    /// The stream this is a half of.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// How far the stream has come.
    pub fn phase(&self) -> SendPhase {
        self.state.lock().phase
    }
}

/// For application tasks.
impl SendCell {
    /// Moves the whole of `chunk` into the cell, which leaves it empty, as soon as a single byte is
    /// granted: a write of a chunk is done or not done, and a grant is exceeded by one chunk at
    /// most. Returns its length.
    pub fn poll_write_chunk(
        &self,
        chunk: &mut Bytes,
        waker: &Waker,
    ) -> Poll<Result<usize, WriteRefused>> {
        let write = |state: &mut State| {
            if let Err(refused) = state.room(chunk.len())? {
                return Some((Err(refused), false));
            }
            let len = chunk.len();
            if len == 0 {
                return Some((Ok(0), false));
            }
            state.end_gathering();
            state.inbox.push(mem::take(chunk));
            Some((Ok(len), state.wrote(len)))
        };
        self.poll_write(waker, write)
    }

    /// Copies as much of the front of `data` into the cell as is granted and returns its length,
    /// which is 0 only for an empty slice. Nothing is copied unless this returns `Ready(Ok(_))`.
    pub fn poll_write_slice(
        &self,
        data: &[u8],
        waker: &Waker,
    ) -> Poll<Result<usize, WriteRefused>> {
        if data.len() > SMALL_WRITE {
            // Copied before the lock is taken; more than is granted only if it is nearly used up.
            let mut chunk = Bytes::copy_from_slice(&data[..data.len().min(self.copy_hint())]);
            return self.poll_write_chunk(&mut chunk, waker);
        }
        let write = |state: &mut State| {
            let len = match state.room(data.len())? {
                Ok(len) => len,
                Err(refused) => return Some((Err(refused), false)),
            };
            state.gather(&data[..len]);
            Some((Ok(len), len > 0 && state.wrote(len)))
        };
        self.poll_write(waker, write)
    }

    /// No data follows. Fails if the stream has ended early; again is fine.
    pub fn finish(&self) -> Result<(), WriteRefused> {
        let queue = {
            let mut state = self.state.lock();
            match state.refusal() {
                Some(WriteRefused::Finished) => return Ok(()),
                Some(refused) => return Err(refused),
                None => {}
            }
            state.phase = SendPhase::Fin;
            state.news.fin = true;
            state.queue()
        };
        self.push_if(queue);
        Ok(())
    }

    /// Ends the stream at once; what the driver has not taken yet is dropped. False if the outcome
    /// was decided before.
    pub fn reset(&self, code: VarInt) -> bool {
        self.end_by_application(code, |state| !state.phase.is_final())
    }

    /// The application drops its handle, which resets a stream that was not finished.
    pub fn release(&self, code: VarInt) {
        self.end_by_application(code, |state| {
            state.news.released = true;
            state.phase == SendPhase::Open
        });
    }

    /// Tells the driver a priority: urgency 0 to 7, and whether the stream shares with its equals.
    pub fn set_priority(&self, urgency: u8, incremental: bool) {
        let queue = {
            let mut state = self.state.lock();
            state.news.priority = Some((urgency, incremental));
            state.queue()
        };
        self.push_if(queue);
    }

    /// Waits for the outcome. `key` is the future's place among those who wait.
    pub fn poll_outcome(&self, key: &mut Option<WaitKey>, waker: &Waker) -> Poll<SendPhase> {
        poll_locked(
            &self.state,
            waker,
            |state| state.phase.is_final().then_some(state.phase),
            |state, spare| state.watchers.wait(key, spare),
        )
    }

    /// Waits until the peer asks for no more (`Ok` with its code) or the outcome is known.
    pub fn poll_stopped(
        &self,
        key: &mut Option<WaitKey>,
        waker: &Waker,
    ) -> Poll<Result<VarInt, SendPhase>> {
        poll_locked(
            &self.state,
            waker,
            |state| match (state.stopped, state.phase) {
                (Some(code), _) => Some(Ok(code)),
                (None, phase) if phase.is_final() => Some(Err(phase)),
                (None, _) => None,
            },
            |state, spare| state.watchers.wait(key, spare),
        )
    }

    /// The future with this place is dropped.
    pub fn leave(&self, key: WaitKey) {
        let waker = self.state.lock().watchers.leave(key);
        drop(waker);
    }

    fn poll_write(
        &self,
        waker: &Waker,
        write: impl FnMut(&mut State) -> Option<(Result<usize, WriteRefused>, bool)>,
    ) -> Poll<Result<usize, WriteRefused>> {
        poll_locked(&self.state, waker, write, |state, spare| state.writer.wait(spare)).map(
            |(result, queue)| {
                self.push_if(queue);
                result
            },
        )
    }

    /// How much of a large slice is worth copying.
    fn copy_hint(&self) -> usize {
        self.state.lock().grant_left().clamp(1, MAX_COPY)
    }

    fn end_by_application(&self, code: VarInt, end: impl FnOnce(&mut State) -> bool) -> bool {
        let mut garbage = Garbage::default();
        let mut wakes = Wakes::new();
        let (ended, queue) = {
            let mut state = self.state.lock();
            let end = end(&mut state);
            if end {
                state.phase.end(SendPhase::Reset { code, by_peer: false });
                state.news.fin = false;
                state.news.reset = Some(code);
                garbage = state.take_everyone();
            }
            (end, state.queue())
        };
        garbage.wake(&mut wakes);
        self.push_if(queue);
        ended
    }

    fn push_if(&self, queue: bool) {
        if queue {
            self.ready.push(Ready::Send(self.connection, self.id));
        }
    }
}

/// For the driver.
impl SendCell {
    /// Takes all there is. From here on the application may queue the cell again.
    pub fn take(&self, work: &mut SendWork) {
        debug_assert!(work.chunks.is_empty());
        let mut state = self.state.lock();
        state.queued = false;
        state.end_gathering();
        mem::swap(&mut state.inbox, &mut work.chunks);
        let news = mem::take(&mut state.news);
        work.fin = news.fin;
        work.reset = news.reset;
        work.priority = news.priority;
        work.released = news.released;
    }

    /// Lets the application write until `limit` bytes have been written in all.
    pub fn grant(&self, limit: u64, wakes: &mut Wakes) {
        let writer = {
            let mut state = self.state.lock();
            if limit <= state.limit {
                return;
            }
            state.limit = limit;
            state.writer.take()
        };
        wakes.extend(writer);
    }

    /// The peer has sent STOP_SENDING. A stream that was not finished ends here; one that was may
    /// still be delivered.
    pub fn on_stopped(&self, code: VarInt, wakes: &mut Wakes) {
        let garbage = {
            let mut state = self.state.lock();
            state.stopped.get_or_insert(code);
            if state.phase == SendPhase::Open {
                state.phase.end(SendPhase::Reset { code, by_peer: true });
            }
            if state.phase.is_final() { state.take_everyone() } else { state.take_watchers() }
        };
        garbage.wake(wakes);
    }

    /// The transport knows how the stream ended; ignored if the outcome was decided before.
    pub fn on_ended(&self, outcome: SendPhase, wakes: &mut Wakes) {
        let garbage = {
            let mut state = self.state.lock();
            if !state.phase.end(outcome) {
                return;
            }
            state.take_everyone()
        };
        garbage.wake(wakes);
    }
}

impl State {
    fn refusal(&self) -> Option<WriteRefused> {
        match self.phase {
            SendPhase::Open => None,
            SendPhase::Fin | SendPhase::Acked => Some(WriteRefused::Finished),
            SendPhase::Reset { code, by_peer: false } => Some(WriteRefused::Reset(code)),
            SendPhase::Reset { code, by_peer: true } => Some(WriteRefused::Stopped(code)),
            SendPhase::Lost => Some(WriteRefused::Lost),
            SendPhase::Rejected => Some(WriteRefused::Rejected),
        }
    }

    /// How many of `wanted` bytes may be written now; `None` if the writer must wait.
    fn room(&self, wanted: usize) -> Option<Result<usize, WriteRefused>> {
        if let Some(refused) = self.refusal() {
            return Some(Err(refused));
        }
        let len = wanted.min(self.grant_left());
        (len > 0 || wanted == 0).then_some(Ok(len))
    }

    fn grant_left(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.written)).unwrap_or(usize::MAX)
    }

    /// Counts bytes that were put into the inbox; true if the cell is to be pushed.
    fn wrote(&mut self, len: usize) -> bool {
        self.written += len as u64;
        self.queue()
    }

    fn gather(&mut self, data: &[u8]) {
        if self.gathered.capacity() - self.gathered.len() < data.len() {
            self.end_gathering();
            self.gathered.reserve(GATHER);
        }
        self.gathered.extend_from_slice(data);
    }

    fn end_gathering(&mut self) {
        if !self.gathered.is_empty() {
            let chunk = self.gathered.split().freeze();
            self.inbox.push(chunk);
        }
    }

    /// True if the cell was not queued yet.
    fn queue(&mut self) -> bool {
        !mem::replace(&mut self.queued, true)
    }

    fn take_watchers(&mut self) -> Garbage {
        Garbage { watchers: self.watchers.take_all(), ..Garbage::default() }
    }

    /// The stream is over: nobody waits any more, and data that was not taken is of no use.
    fn take_everyone(&mut self) -> Garbage {
        Garbage {
            watchers: self.watchers.take_all(),
            writer: self.writer.take(),
            _chunks: mem::take(&mut self.inbox),
            _gathered: mem::take(&mut self.gathered),
        }
    }
}

/// What must be woken and dropped once the lock is released.
#[derive(Default)]
struct Garbage {
    watchers: Vec<Waker>,
    writer: Option<Waker>,
    _chunks: Vec<Bytes>,
    _gathered: BytesMut,
}

impl Garbage {
    fn wake(self, wakes: &mut Wakes) {
        wakes.extend(self.watchers);
        wakes.extend(self.writer);
    }
}
