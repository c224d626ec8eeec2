//! The receiving half of a stream as application tasks and the driver both see it.

use std::collections::VecDeque;
use std::mem;
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::ready::{Ready, ReadyList};
use super::wakes::{WakerSlot, Wakes, poll_locked};
use crate::util::sync::{Arc, Mutex};
use crate::wire::{StreamId, VarInt};

/// Why there is nothing to read, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRefused {
    /// The peer has reset the stream with this code.
    Reset(VarInt),
    /// The application has stopped reading.
    Stopped,
    /// The connection ended before the stream did.
    Lost,
    /// The server did not take the early data that the stream began with.
    Rejected,
}

/// What the driver found in the cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecvWork {
    /// Bytes that were consumed since the last time: credit for the peer.
    pub consumed: u64,
    /// The application wants no more; the code is for the peer.
    pub stop: Option<VarInt>,
    /// The application holds no handle any more.
    pub released: bool,
}

/// One small lock around what an application task and the driver exchange about received data.
///
/// The driver pushes ordered chunks, the application takes them, and what it took goes back to the
/// driver as credit, each byte once.
#[derive(Debug)]
pub struct RecvCell {
    id: StreamId,
    connection: usize,
    ready: Arc<ReadyList>,
    state: Mutex<State>,
}

/// How far the receiving half of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// More data may come.
    Open,
    /// All data is in the inbox.
    Fin,
    /// The peer has reset the stream.
    Reset(VarInt),
    /// The application has stopped reading.
    Stopped,
    /// The connection is over; what is in the inbox may still be read.
    Lost,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    inbox: VecDeque<Bytes>,
    /// Bytes that were consumed and not yet taken back as credit.
    consumed: u64,
    /// How many of them are worth waking the driver.
    credit_step: u64,
    stop: Option<VarInt>,
    released: bool,
    queued: bool,
    /// If lost, then because the server did not take early data.
    rejected: bool,
    /// Some of the data may be a replay.
    early: bool,
    reader: WakerSlot,
}

impl RecvCell {
    /// A cell for stream `id` of the connection with the driver's number `connection`.
    pub fn new(ready: Arc<ReadyList>, connection: usize, id: StreamId) -> Self {
        let state = State {
            phase: Phase::Open,
            inbox: VecDeque::new(),
            consumed: 0,
            credit_step: 1,
            stop: None,
            released: false,
            queued: false,
            rejected: false,
            early: false,
            reader: WakerSlot::default(),
        };
        Self { id, connection, ready, state: Mutex::new(state) }
    }

    /// The stream this is a half of.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// True if some of the data came before the handshake was complete, and may be a replay.
    pub fn is_early(&self) -> bool {
        self.state.lock().early
    }
}

/// For application tasks.
impl RecvCell {
    /// Takes the next chunk, of at most `max` bytes; `None` at the end of the stream.
    ///
    /// Nothing is taken unless this returns `Ready(Ok(Some(_)))`.
    pub fn poll_read(&self, max: usize, waker: &Waker) -> Poll<Result<Option<Bytes>, ReadRefused>> {
        poll_locked(
            &self.state,
            waker,
            |state| state.read(max),
            |state, spare| state.reader.wait(spare),
        )
        .map(|(result, queue)| {
            self.push_if(queue);
            result
        })
    }

    /// The application wants no more data; what is in the cell is dropped. False if the stream was
    /// over before: stopped, reset or lost. Whoever waits for data learns that there is none.
    pub fn stop(&self, code: VarInt) -> bool {
        let (stopped, _garbage, queue, reader) = {
            let mut state = self.state.lock();
            let (stopped, garbage) = state.stop(code);
            let queue = stopped && state.queue();
            (stopped, garbage, queue, state.reader.take())
        };
        self.push_if(queue);
        reader.into_iter().for_each(Waker::wake);
        stopped
    }

    /// The application drops its handle, which stops a stream whose end has not arrived.
    pub fn release(&self, code: VarInt) {
        let (_garbage, queue) = {
            let mut state = self.state.lock();
            let (_, garbage) = state.stop(code);
            state.released = true;
            (garbage, state.queue())
        };
        self.push_if(queue);
    }

    fn push_if(&self, queue: bool) {
        if queue {
            self.ready.push(Ready::Recv(self.connection, self.id));
        }
    }
}

/// For the driver.
impl RecvCell {
    /// Takes all there is. From here on the application may queue the cell again.
    pub fn take(&self) -> RecvWork {
        let mut state = self.state.lock();
        state.queued = false;
        RecvWork {
            consumed: mem::take(&mut state.consumed),
            stop: state.stop.take(),
            released: mem::take(&mut state.released),
        }
    }

    /// Hands over `chunks`, which follow all earlier ones, and the end of the stream with them if
    /// `fin`. The driver is woken once `credit_step` bytes of the stream were consumed.
    ///
    /// Returns credit for the peer: bytes that were consumed meanwhile, and those nobody will read.
    pub fn push(
        &self,
        chunks: &mut Vec<Bytes>,
        fin: bool,
        credit_step: u64,
        wakes: &mut Wakes,
    ) -> u64 {
        let (reader, credit) = {
            let mut state = self.state.lock();
            state.credit_step = credit_step;
            let consumed = mem::take(&mut state.consumed);
            match state.phase {
                Phase::Open => {
                    state.inbox.extend(chunks.drain(..));
                    if fin {
                        state.phase = Phase::Fin;
                    }
                    (state.reader.take(), consumed)
                }
                Phase::Fin | Phase::Reset(_) | Phase::Stopped | Phase::Lost => {
                    (None, consumed + total(chunks.iter()))
                }
            }
        };
        chunks.clear();
        wakes.extend(reader);
        credit
    }

    /// The peer has reset the stream, and what was not read is dropped. Returns credit for the
    /// peer: that, and bytes that were consumed meanwhile.
    pub fn on_reset(&self, code: VarInt, wakes: &mut Wakes) -> u64 {
        let (reader, garbage, consumed) = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Open => state.phase = Phase::Reset(code),
                // The end and a reset can both come from an honest peer; the first one counts.
                Phase::Fin | Phase::Reset(_) | Phase::Stopped | Phase::Lost => return 0,
            }
            let consumed = mem::take(&mut state.consumed);
            (state.reader.take(), mem::take(&mut state.inbox), consumed)
        };
        wakes.extend(reader);
        consumed + total(garbage.iter())
    }

    /// The connection is over.
    pub fn on_lost(&self, wakes: &mut Wakes) {
        let reader = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Open => state.phase = Phase::Lost,
                Phase::Fin | Phase::Reset(_) | Phase::Stopped | Phase::Lost => return,
            }
            state.reader.take()
        };
        wakes.extend(reader);
    }
}

/// For the driver, about early data.
impl RecvCell {
    /// Some of the data that follows came before the handshake was complete.
    pub fn set_early(&self) {
        self.state.lock().early = true;
    }

    /// The server did not take the early data that the stream began with.
    pub fn on_rejected(&self, wakes: &mut Wakes) {
        self.state.lock().rejected = true;
        self.on_lost(wakes);
    }
}

type ReadResult = Result<Option<Bytes>, ReadRefused>;

impl State {
    /// The next piece, and whether the cell is to be pushed; `None` if the reader must wait.
    fn read(&mut self, max: usize) -> Option<(ReadResult, bool)> {
        let Some(front) = self.inbox.front_mut() else { return self.at_end().map(|r| (r, false)) };
        let chunk = match front.len() <= max {
            true => self.inbox.pop_front()?,
            false => front.split_to(max),
        };
        self.consumed += chunk.len() as u64;
        let all = self.phase == Phase::Fin && self.inbox.is_empty();
        let queue = (all || self.consumed >= self.credit_step) && self.queue();
        Some((Ok(Some(chunk)), queue))
    }

    fn at_end(&self) -> Option<ReadResult> {
        match self.phase {
            Phase::Open => None,
            Phase::Fin => Some(Ok(None)),
            Phase::Reset(code) => Some(Err(ReadRefused::Reset(code))),
            Phase::Stopped => Some(Err(ReadRefused::Stopped)),
            Phase::Lost if self.rejected => Some(Err(ReadRefused::Rejected)),
            Phase::Lost => Some(Err(ReadRefused::Lost)),
        }
    }

    /// Stops reading, unless there is nothing to stop. What was not read is consumed by that.
    fn stop(&mut self, code: VarInt) -> (bool, VecDeque<Bytes>) {
        match self.phase {
            Phase::Open => self.stop = Some(code),
            // Everything has arrived: there is nothing to ask of the peer.
            Phase::Fin => {}
            Phase::Reset(_) | Phase::Stopped | Phase::Lost => return (false, VecDeque::new()),
        }
        self.phase = Phase::Stopped;
        self.consumed += total(self.inbox.iter());
        (true, mem::take(&mut self.inbox))
    }

    /// True if the cell was not queued yet.
    fn queue(&mut self) -> bool {
        !mem::replace(&mut self.queued, true)
    }
}

fn total<'a>(chunks: impl Iterator<Item = &'a Bytes>) -> u64 {
    chunks.map(|chunk| chunk.len() as u64).sum()
}
