//! A connection as application tasks and the driver both see it.

use std::collections::VecDeque;
use std::mem;
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::ready::{Ready, ReadyList};
use super::recv_cell::RecvCell;
use super::send_cell::SendCell;
use super::wakes::{WaitKey, Waiters, Wakes, poll_locked};
use crate::error::ConnectionError;
use crate::util::sync::{Arc, Mutex};
use crate::wire::{Dir, Side, StreamId, VarInt};

/// The halves of a stream that this side has.
#[derive(Clone, Debug)]
pub struct StreamCells {
    /// The stream.
    pub id: StreamId,
    /// Present if this side sends on the stream.
    pub send: Option<Arc<SendCell>>,
    /// Present if this side receives on the stream.
    pub recv: Option<Arc<RecvCell>>,
}

/// Why no stream was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenRefused {
    /// The connection is over.
    Closed(ConnectionError),
    /// All 2^60 streams of this kind have been used.
    Exhausted,
}

/// What the driver found in the cell.
#[derive(Debug, Default)]
pub struct ConnectionWork {
    /// Streams the application has opened, in the order of their numbers.
    pub opened: Vec<StreamCells>,
    /// Directions in which the application wants more streams than the peer allows.
    pub blocked: [bool; 2],
    /// The application closes the connection with this code and reason.
    pub close: Option<(VarInt, Bytes)>,
    /// The application holds no handle any more, neither to the connection nor to its streams.
    pub released: bool,
}

/// What tasks and the driver exchange about a connection: its state, streams opened by either side,
/// and the wish to close.
///
/// Streams are opened without asking the driver: it tells the limit once, the cell counts, and the
/// driver opens the same streams in the same order when it comes by.
#[derive(Debug)]
pub struct ConnectionCell {
    number: usize,
    side: Side,
    /// How many bytes may be written to a new stream before the driver grants more.
    first_grant: u64,
    ready: Arc<ReadyList>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    own: [OwnStreams; 2],
    accept: [Accept; 2],
    work: ConnectionWork,
    queued: bool,
    /// Streams can be used, though the handshake may not be complete.
    usable: bool,
    /// Both sides know that the handshake is complete.
    confirmed: bool,
    /// Who waits for the handshake or for the end.
    watchers: Waiters,
}

#[derive(Debug)]
enum Phase {
    Connecting,
    Open,
    Closed(ConnectionError),
}

/// Streams this side opens, of one kind.
#[derive(Debug, Default)]
struct OwnStreams {
    opened: u64,
    limit: u64,
    /// The limit at which the driver was told that it holds the application back.
    told_limit: Option<u64>,
    waiters: Waiters,
}

/// Streams the peer has opened, of one kind.
#[derive(Debug, Default)]
struct Accept {
    queue: VecDeque<StreamCells>,
    waiters: Waiters,
}

impl ConnectionCell {
    /// A cell for the connection with the driver's number `number`, in which new streams may be
    /// written `first_grant` bytes.
    pub fn new(ready: Arc<ReadyList>, number: usize, side: Side, first_grant: u64) -> Self {
        let state = State {
            phase: Phase::Connecting,
            own: Default::default(),
            accept: Default::default(),
            work: ConnectionWork::default(),
            queued: false,
            usable: false,
            confirmed: false,
            watchers: Waiters::default(),
        };
        Self { number, side, first_grant, ready, state: Mutex::new(state) }
    }

    /// Which side of the connection this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Why the connection is over, if it is.
    pub fn error(&self) -> Option<ConnectionError> {
        self.state.lock().error()
    }
}

/// For application tasks.
impl ConnectionCell {
    /// Opens the next stream, or waits until the peer allows one more.
    pub fn poll_open(
        &self,
        dir: Dir,
        key: &mut Option<WaitKey>,
        waker: &Waker,
    ) -> Poll<Result<StreamCells, OpenRefused>> {
        let open = |state: &mut State| match &state.phase {
            Phase::Closed(error) => Some((Err(OpenRefused::Closed(error.clone())), false)),
            Phase::Connecting | Phase::Open => {
                let id = match state.own[dir as usize].next(self.side, dir)? {
                    Ok(id) => id,
                    Err(refused) => return Some((Err(refused), false)),
                };
                let cells = self.new_stream(id);
                state.work.opened.push(cells.clone());
                Some((Ok(cells), state.queue()))
            }
        };
        let polled = poll_locked(&self.state, waker, open, |state, spare| {
            state.own[dir as usize].waiters.wait(key, spare)
        });
        match polled {
            Poll::Ready((result, queue)) => {
                self.push_if(queue);
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.tell_blocked(dir);
                Poll::Pending
            }
        }
    }

    /// Takes the next stream the peer has opened. Those that arrived before the connection ended
    /// are still handed out.
    pub fn poll_accept(
        &self,
        dir: Dir,
        key: &mut Option<WaitKey>,
        waker: &Waker,
    ) -> Poll<Result<StreamCells, ConnectionError>> {
        poll_locked(
            &self.state,
            waker,
            |state| match state.accept[dir as usize].queue.pop_front() {
                Some(cells) => Some(Ok(cells)),
                None => state.error().map(Err),
            },
            |state, spare| state.accept[dir as usize].waiters.wait(key, spare),
        )
    }

    /// Waits for the end of the handshake.
    pub fn poll_connected(
        &self,
        key: &mut Option<WaitKey>,
        waker: &Waker,
    ) -> Poll<Result<(), ConnectionError>> {
        let connected = |state: &mut State| match &state.phase {
            Phase::Connecting => None,
            Phase::Open => Some(Ok(())),
            Phase::Closed(error) => Some(Err(error.clone())),
        };
        poll_locked(&self.state, waker, connected, |state, spare| state.watchers.wait(key, spare))
    }

    /// Waits until streams can be used: with early data that is before the end of the handshake.
    pub fn poll_usable(
        &self,
        key: &mut Option<WaitKey>,
        waker: &Waker,
    ) -> Poll<Result<(), ConnectionError>> {
        self.poll_milestone(key, waker, |state| state.usable)
    }

    /// Waits until both sides know that the handshake is complete.
    pub fn poll_confirmed(
        &self,
        key: &mut Option<WaitKey>,
        waker: &Waker,
    ) -> Poll<Result<(), ConnectionError>> {
        self.poll_milestone(key, waker, |state| state.confirmed)
    }

    fn poll_milestone(
        &self,
        key: &mut Option<WaitKey>,
        waker: &Waker,
        passed: impl Fn(&State) -> bool,
    ) -> Poll<Result<(), ConnectionError>> {
        let passed = |state: &mut State| match state.error() {
            Some(error) => Some(Err(error)),
            None => passed(state).then_some(Ok(())),
        };
        poll_locked(&self.state, waker, passed, |state, spare| state.watchers.wait(key, spare))
    }

    /// Waits for the end of the connection.
    pub fn poll_closed(&self, key: &mut Option<WaitKey>, waker: &Waker) -> Poll<ConnectionError> {
        poll_locked(
            &self.state,
            waker,
            |state| state.error(),
            |state, spare| state.watchers.wait(key, spare),
        )
    }

    /// A future that waited to open a stream is dropped; one it could have opened is left to the
    /// next in line.
    pub fn leave_open(&self, dir: Dir, key: WaitKey) {
        let (_own, next) = {
            let mut state = self.state.lock();
            let own = &mut state.own[dir as usize];
            match own.waiters.leave(key) {
                None if own.opened < own.limit => (None, own.waiters.take(1).pop()),
                left => (left, None),
            }
        };
        next.into_iter().for_each(Waker::wake);
    }

    /// A future that waited to accept a stream is dropped.
    pub fn leave_accept(&self, dir: Dir, key: WaitKey) {
        let (_own, next) = {
            let mut state = self.state.lock();
            let accept = &mut state.accept[dir as usize];
            match accept.waiters.leave(key) {
                None if !accept.queue.is_empty() => (None, accept.waiters.take(1).pop()),
                left => (left, None),
            }
        };
        next.into_iter().for_each(Waker::wake);
    }

    /// A future that waited for the handshake or the end is dropped.
    pub fn leave(&self, key: WaitKey) {
        let waker = self.state.lock().watchers.leave(key);
        drop(waker);
    }

    /// Asks the driver to close the connection; the first code and reason count.
    pub fn close(&self, code: VarInt, reason: Bytes) {
        let (queue, _late) = {
            let mut state = self.state.lock();
            match (&state.phase, &state.work.close) {
                (Phase::Closed(_), _) | (_, Some(_)) => (false, Some(reason)),
                (Phase::Connecting | Phase::Open, None) => {
                    state.work.close = Some((code, reason));
                    (state.queue(), None)
                }
            }
        };
        self.push_if(queue);
    }

    /// The last handle is dropped: the connection closes with code 0 unless it was closed before.
    pub fn release(&self) {
        let queue = {
            let mut state = self.state.lock();
            state.work.released = true;
            state.queue()
        };
        self.push_if(queue);
    }

    /// Queues the cell, so that the driver looks after the connection.
    pub fn nudge(&self) {
        let queue = self.state.lock().queue();
        self.push_if(queue);
    }

    /// Lets the driver know, once per limit, that the peer might allow more streams.
    fn tell_blocked(&self, dir: Dir) {
        let queue = {
            let mut state = self.state.lock();
            let own = &mut state.own[dir as usize];
            let held_back = own.opened >= own.limit && own.told_limit != Some(own.limit);
            if held_back {
                own.told_limit = Some(own.limit);
                state.work.blocked[dir as usize] = true;
            }
            held_back && state.queue()
        };
        self.push_if(queue);
    }

    fn push_if(&self, queue: bool) {
        if queue {
            self.ready.push(Ready::Connection(self.number));
        }
    }
}

/// For the driver.
impl ConnectionCell {
    /// Cells for a stream of this connection, with the halves that this side has.
    pub fn new_stream(&self, id: StreamId) -> StreamCells {
        let ready = || Arc::clone(&self.ready);
        let send = || Arc::new(SendCell::new(ready(), self.number, id, self.first_grant));
        let recv = || Arc::new(RecvCell::new(ready(), self.number, id));
        StreamCells {
            id,
            send: id.is_sendable_by(self.side).then(send),
            recv: id.is_receivable_by(self.side).then(recv),
        }
    }

    /// Takes all there is. From here on the application may queue the cell again.
    pub fn take(&self) -> ConnectionWork {
        let mut state = self.state.lock();
        state.queued = false;
        mem::take(&mut state.work)
    }

    /// The handshake is complete.
    pub fn on_connected(&self, wakes: &mut Wakes) {
        let watchers = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Connecting => state.phase = Phase::Open,
                Phase::Open | Phase::Closed(_) => return,
            }
            state.watchers.take_all()
        };
        wakes.extend(watchers);
    }

    /// Streams can be used from now on.
    pub fn on_usable(&self, wakes: &mut Wakes) {
        self.pass(wakes, |state| &mut state.usable);
    }

    /// Both sides know that the handshake is complete.
    pub fn on_confirmed(&self, wakes: &mut Wakes) {
        self.pass(wakes, |state| &mut state.confirmed);
    }

    fn pass(&self, wakes: &mut Wakes, milestone: impl Fn(&mut State) -> &mut bool) {
        let watchers = {
            let mut state = self.state.lock();
            if mem::replace(milestone(&mut state), true) {
                return;
            }
            state.watchers.take_all()
        };
        wakes.extend(watchers);
    }

    /// The server did not take early data: streams are counted from the beginning, and those who
    /// wait to open one go on waiting. Returns the streams that the application has opened and the
    /// driver has not taken yet: it must tell their cells.
    pub fn on_early_data_rejected(&self) -> Vec<StreamCells> {
        let mut state = self.state.lock();
        for own in &mut state.own {
            (own.opened, own.limit, own.told_limit) = (0, 0, None);
        }
        state.work.blocked = [false; 2];
        mem::take(&mut state.work.opened)
    }

    /// This side may have opened `limit` streams of a kind in all.
    pub fn set_stream_limit(&self, dir: Dir, limit: u64, wakes: &mut Wakes) {
        let waiters = {
            let mut state = self.state.lock();
            let own = &mut state.own[dir as usize];
            if limit <= own.limit {
                return;
            }
            own.limit = limit;
            own.waiters.take(own.limit - own.opened)
        };
        wakes.extend(waiters);
    }

    /// The peer has opened a stream.
    pub fn push_accepted(&self, cells: StreamCells, wakes: &mut Wakes) {
        let waiter = {
            let mut state = self.state.lock();
            let accept = &mut state.accept[cells.id.dir() as usize];
            accept.queue.push_back(cells);
            accept.waiters.take(1)
        };
        wakes.extend(waiter);
    }

    /// The connection is over; the first reason counts. Returns the streams that the application
    /// has opened and the driver has not taken yet: it must tell their cells.
    pub fn on_closed(&self, error: ConnectionError, wakes: &mut Wakes) -> Vec<StreamCells> {
        let (waiters, opened) = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Connecting | Phase::Open => state.phase = Phase::Closed(error),
                Phase::Closed(_) => return Vec::new(),
            }
            let mut waiters = state.watchers.take_all();
            for dir in Dir::ALL {
                waiters.extend(state.own[dir as usize].waiters.take_all());
                waiters.extend(state.accept[dir as usize].waiters.take_all());
            }
            (waiters, mem::take(&mut state.work.opened))
        };
        wakes.extend(waiters);
        opened
    }
}

impl State {
    fn error(&self) -> Option<ConnectionError> {
        match &self.phase {
            Phase::Closed(error) => Some(error.clone()),
            Phase::Connecting | Phase::Open => None,
        }
    }

    /// True if the cell was not queued yet.
    fn queue(&mut self) -> bool {
        !mem::replace(&mut self.queued, true)
    }
}

impl OwnStreams {
    /// The number of the next stream; `None` if the peer allows none.
    fn next(&mut self, side: Side, dir: Dir) -> Option<Result<StreamId, OpenRefused>> {
        if self.opened >= StreamId::MAX_COUNT {
            return Some(Err(OpenRefused::Exhausted));
        }
        if self.opened >= self.limit {
            return None;
        }
        let id = StreamId::new(side, dir, self.opened);
        self.opened += 1;
        Some(Ok(id))
    }
}
