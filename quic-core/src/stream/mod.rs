//! All streams of a connection (RFC 9000, sections 2 to 4).
//!
//! [`Streams`] is the island: frames of the peer, calls of the application, and acknowledgements and
//! losses go in; events for the application and frames for packets come out. It knows nothing of
//! packets, keys or paths.
//!
//! ```text
//!   app ──▶ app ─────┐                         ┌── frames_out ──▶ packets
//!                    ├─▶ table of streams ─────┤
//!  peer ──▶ frames_in┘    send · recv · flow   └── event ──▶ app
//!                              ▲
//!             ledger (acknowledged, lost) · scheduler (whose turn it is)
//! ```
//!
//! # Rules that hold at all times
//!
//! * Credit is charged when bytes are put into a packet for the first time. A reset burns none for
//!   bytes that were never sent, and the final size is the highest offset that was sent.
//! * Credit that the peer used comes back once: as the reader consumes data, or all at once on
//!   reset and stop.
//! * What must reach the peer is sent again when it was lost, with the value it has then.
//! * A stream stays until both of its parts are over and the application has called
//!   [`Streams::release`]; the peer may open another stream in its place only then.
//! * What is over leaves nothing behind, and frames that come late for it are ignored.
//! * Memory grows with use, never with a limit.

mod app;
mod delivery;
mod event;
mod flow;
mod frames_in;
mod frames_out;
mod ledger;
mod queue;
mod recv;
mod scheduler;
mod send;
mod table;
mod trace;

pub use event::StreamEvent;
pub use ledger::SentStreamFrame;
pub use recv::{Read, ReadError, RecvStream};
pub use scheduler::{Demand, Priority};
pub use send::{SendOutcome, SendProgress, SendStream, SentData, StopEffect, WriteError};
pub use trace::StateChange;

use std::collections::VecDeque;

use self::event::Events;
use self::flow::{ReceiveCredit, SendCredit};
use self::queue::Queues;
use self::scheduler::Scheduler;
use self::table::{Owner, Stream, Table, Writer};
use crate::error::Violation;
use crate::util::Rng;
use crate::wire::{Dir, Side, StreamId, TransportParameters, varint};

/// Limits on streams and their memory. All data sizes are in bytes.
///
/// The `initial` values must be those of our transport parameters.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// What the peer may send on the whole connection before anything was read.
    pub initial_max_data: u64,
    /// The same for each bidirectional stream that we open.
    pub initial_max_stream_data_bidi_local: u64,
    /// The same for each bidirectional stream that the peer opens.
    pub initial_max_stream_data_bidi_remote: u64,
    /// The same for each unidirectional stream that the peer opens.
    pub initial_max_stream_data_uni: u64,
    /// How many bidirectional streams of the peer may be open at a time.
    pub initial_max_streams_bidi: u64,
    /// How many unidirectional streams of the peer may be open at a time.
    pub initial_max_streams_uni: u64,
    /// Up to where the receive window of a stream may grow.
    pub max_stream_window: u64,
    /// Up to where the receive window of the connection may grow; at least 1.5 stream windows.
    pub max_connection_window: u64,
    /// Memory for data that was received and not read, with what fragments cost beside their bytes.
    /// More closes the connection, so it must be well above `max_connection_window`.
    pub receive_memory: usize,
    /// What may be written to one stream beyond what the peer has acknowledged.
    pub stream_send_window: u64,
    /// What may be written to all streams together beyond what the peer has acknowledged.
    pub send_budget: u64,
}

impl Default for StreamConfig {
    /// Enough for HTTP/3, too (RFC 9114 sections 6.1 and 6.2).
    // req 9114-6.1-119, 9114-6.1-120, 9114-6.2-123, 9114-6.2.1-137
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            initial_max_data: 3 * MIB / 2,
            initial_max_stream_data_bidi_local: MIB,
            initial_max_stream_data_bidi_remote: MIB,
            initial_max_stream_data_uni: MIB,
            initial_max_streams_bidi: 100,
            initial_max_streams_uni: 100,
            max_stream_window: 16 * MIB,
            max_connection_window: 24 * MIB,
            receive_memory: 72 << 20,
            stream_send_window: 4 * MIB,
            send_budget: 16 * MIB,
        }
    }
}

/// How far the peer lets us send on new streams, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct PeerWindows {
    bidi_ours: u64,
    bidi_theirs: u64,
    uni: u64,
}

/// The streams of one connection.
#[derive(Debug)]
pub struct Streams {
    side: Side,
    config: StreamConfig,
    table: Table,
    events: Events,
    phase: Phase,

    /// Data of all streams, as the peer limits it and as we limit it.
    send_credit: SendCredit,
    receive_credit: ReceiveCredit,
    /// Numbers of streams by direction, as the peer limits ours and as we limit the peer's.
    open_credit: [SendCredit; 2],
    accept_credit: [ReceiveCredit; 2],
    peer_windows: PeerWindows,

    scheduler: Scheduler,
    /// Streams with a frame to send that carries no data.
    control: Queues<1>,
    /// Streams whose writers wait for room in the send budget.
    waiting_writers: Queues<1>,

    /// Bytes written on all streams whose acknowledgement is outstanding.
    send_buffered: u64,
    /// Memory that received data takes on all streams.
    receive_memory: usize,
    /// Some stream has data that may be a replay.
    has_early: bool,
    /// Changes of state that nobody took yet; `None` if nobody listens.
    state_changes: Option<VecDeque<StateChange>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer's transport parameters are not known.
    Starting,
    Running,
    Closed,
}

impl Streams {
    /// The streams of a connection on which none is open. `rng` gives the key of the stream table.
    pub fn new(side: Side, config: &StreamConfig, rng: &mut Rng) -> Self {
        let accept = |count| ReceiveCredit::new(count, count, StreamId::MAX_COUNT);
        Self {
            side,
            table: Table::new(rng),
            events: Events::default(),
            phase: Phase::Starting,
            send_credit: SendCredit::new(0),
            receive_credit: ReceiveCredit::new(
                config.initial_max_data,
                config.max_connection_window,
                varint::MAX,
            ),
            open_credit: [SendCredit::new(0), SendCredit::new(0)],
            accept_credit: [
                accept(config.initial_max_streams_bidi),
                accept(config.initial_max_streams_uni),
            ],
            peer_windows: PeerWindows::default(),
            scheduler: Scheduler::default(),
            control: Queues::default(),
            waiting_writers: Queues::default(),
            send_buffered: 0,
            receive_memory: 0,
            has_early: false,
            state_changes: None,
            config: config.clone(),
        }
    }

    /// Takes the limits that the peer has set in its transport parameters.
    pub fn set_peer_params(&mut self, params: &TransportParameters) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
        }
        self.peer_windows = PeerWindows {
            bidi_ours: params.initial_max_stream_data_bidi_remote,
            bidi_theirs: params.initial_max_stream_data_bidi_local,
            uni: params.initial_max_stream_data_uni,
        };
        self.raise_send_limit(params.initial_max_data);
        self.raise_stream_count(Dir::Bi, params.initial_max_streams_bidi);
        self.raise_stream_count(Dir::Uni, params.initial_max_streams_uni);
        // Streams that exist before the parameters are known were made without credit.
        let limits: Vec<_> = self
            .table
            .iter()
            .filter(|stream| stream.send.is_some())
            .map(|stream| (stream.id, self.peer_window(stream.id)))
            .collect();
        for (id, limit) in limits {
            let Some(key) = self.table.find(id) else { continue };
            if let Some(send) = &mut self.table[key].send {
                send.on_max_stream_data(limit);
            }
            self.settle(key);
        }
    }

    /// The server did not take the early data of this client: everything that streams were is
    /// forgotten, and what its transport parameters will say holds from the beginning. The
    /// application learns from the connection that its streams are gone.
    // req 9001-4.6.2-023
    pub fn on_early_data_rejected(&mut self, rng: &mut Rng) {
        if self.phase == Phase::Closed {
            return;
        }
        let traced = self.state_changes.take();
        let config = self.config.clone();
        *self = Self { state_changes: traced, ..Self::new(self.side, &config, rng) };
    }

    /// Drops all streams and everything they hold; from now on every call finds nothing.
    ///
    /// The application learns from the connection that its streams are lost.
    pub fn on_connection_closed(&mut self) {
        self.table.clear();
        self.events.clear();
        self.scheduler = Scheduler::default();
        self.control = Queues::default();
        self.waiting_writers = Queues::default();
        self.send_buffered = 0;
        self.receive_memory = 0;
        self.phase = Phase::Closed;
    }

    /// How many streams this side and the peer have opened so far.
    pub fn counts(&self) -> (u64, u64) {
        let opened = self.open_credit.iter().map(SendCredit::used).sum();
        let accepted = self.accept_credit.iter().map(ReceiveCredit::used).sum();
        (opened, accepted)
    }

    /// True if there is any stream.
    pub fn any_open(&self) -> bool {
        self.table.len() > 0
    }

    /// Sums over all streams, for assertions that everything was given back.
    pub fn audit(&self) -> StreamAudit {
        let accepted = |dir: Dir| {
            let credit = &self.accept_credit[dir as usize];
            credit.used() - credit.returned()
        };
        StreamAudit {
            streams: self.table.len(),
            peer_streams_uncredited: [accepted(Dir::Bi), accepted(Dir::Uni)],
            send_buffered: self.send_buffered,
            receive_memory: self.receive_memory,
            data_sent: self.send_credit.used(),
            data_received: self.receive_credit.used(),
            data_returned: self.receive_credit.returned(),
            scheduled: self.scheduler.len(),
            control_queued: self.control.len(),
            waiting_writers: self.waiting_writers.len(),
        }
    }

    // ---- shared by the files of this module

    fn peer_window(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            (Dir::Bi, true) => self.peer_windows.bidi_ours,
            (Dir::Bi, false) => self.peer_windows.bidi_theirs,
            (Dir::Uni, _) => self.peer_windows.uni,
        }
    }

    /// Makes a stream whose number is open.
    fn make(&mut self, id: StreamId) -> usize {
        let send = id
            .is_sendable_by(self.side)
            .then(|| SendStream::new(self.peer_window(id), self.config.stream_send_window));
        let window = match (id.dir(), id.initiator() == self.side) {
            (Dir::Bi, true) => self.config.initial_max_stream_data_bidi_local,
            (Dir::Bi, false) => self.config.initial_max_stream_data_bidi_remote,
            (Dir::Uni, _) => self.config.initial_max_stream_data_uni,
        };
        let recv = id
            .is_receivable_by(self.side)
            .then(|| RecvStream::new(window, self.config.max_stream_window));
        let key = self.table.insert(Stream::new(id, send, recv));
        self.note_states(key);
        key
    }

    /// Brings the queues in line with a stream after something happened to it, and removes it if it
    /// is over.
    fn settle(&mut self, key: usize) {
        self.note_states(key);
        let stream = &mut self.table[key];
        if stream.owner == Owner::Released && stream.is_closed() {
            return self.remove(key);
        }
        let mut has_control = stream
            .recv
            .as_ref()
            .is_some_and(|recv| recv.pending_stop().is_some() || recv.wants_window_update());
        let mut demand = None;
        if let Some(send) = &mut stream.send {
            send.update_blocked();
            has_control |=
                send.pending_blocked().is_some() || send.pending_reset(stream.id).is_some();
            demand = send.demand();
        }
        self.scheduler.set(key, stream.priority, demand);
        if has_control {
            self.control.push_back(0, key);
        } else {
            self.control.remove(key);
        }
        self.update_blocked();
    }

    fn remove(&mut self, key: usize) {
        let stream = self.table.remove(key);
        self.scheduler.set(key, stream.priority, None);
        self.control.remove(key);
        debug_assert!(self.waiting_writers.queue_of(key).is_none(), "its end made it forgotten");
        if let Some(recv) = &stream.recv {
            self.receive_memory -= recv.memory();
            debug_assert_eq!(recv.uncredited(), 0, "its release gave all credit back");
        }
        if stream.id.initiator() != self.side {
            self.accept_credit[stream.id.dir() as usize].give_back(1);
        }
        self.update_blocked();
    }

    /// Finds out whether nothing but the connection's flow control holds data back.
    fn update_blocked(&mut self) {
        if self.send_credit.available() == 0 && self.scheduler.has_demand_for_credit() {
            self.send_credit.on_blocked();
        } else {
            self.send_credit.on_unblocked();
        }
    }

    fn raise_send_limit(&mut self, limit: u64) {
        self.send_credit.raise(limit);
    }

    fn raise_stream_count(&mut self, dir: Dir, limit: u64) {
        let credit = &mut self.open_credit[dir as usize];
        let waited = credit.is_blocked();
        if credit.raise(limit) && waited {
            self.events.push(StreamEvent::StreamsAvailable(dir));
        }
    }

    /// Books that `freed` bytes left the send buffer of the stream, and wakes who waits for that.
    fn on_send_freed(&mut self, key: usize, freed: u64) {
        if freed == 0 {
            return;
        }
        self.send_buffered -= freed;
        let stream = &mut self.table[key];
        if stream.writer == Writer::Window
            && stream.send.as_ref().is_some_and(SendStream::has_ample_room)
        {
            stream.writer = Writer::Content;
            self.events.push(StreamEvent::Writable(stream.id));
        }
        let budget = self.config.send_budget;
        if self.send_buffered <= budget - budget / 4 {
            while let Some(key) = self.waiting_writers.pop_front(0) {
                let stream = &mut self.table[key];
                stream.writer = Writer::Content;
                self.events.push(StreamEvent::Writable(stream.id));
            }
        }
    }

    /// Nobody will write to the stream any more.
    fn forget_writer(&mut self, key: usize) {
        self.table[key].writer = Writer::Content;
        self.waiting_writers.remove(key);
    }

    fn notify_readable(&mut self, key: usize) {
        let stream = &mut self.table[key];
        let known = stream.owner == Owner::App;
        let readable = stream.recv.as_ref().is_some_and(RecvStream::is_readable);
        if known && readable && !stream.readable_queued {
            stream.readable_queued = true;
            self.events.push(StreamEvent::Readable(stream.id));
        }
    }

    /// Runs `act` on the receiving part of a stream and books what it changes in memory.
    fn with_recv<T>(&mut self, key: usize, act: impl FnOnce(&mut RecvStream) -> T) -> Option<T> {
        let recv = self.table[key].recv.as_mut()?;
        let before = recv.memory();
        let result = act(recv);
        self.receive_memory = self.receive_memory - before + recv.memory();
        Some(result)
    }

    fn check_memory(&self) -> Result<(), Violation> {
        if self.receive_memory > self.config.receive_memory {
            return Err(Violation::MemoryLimit);
        }
        Ok(())
    }
}

/// Sums over all streams of a connection. When all streams are over and all acknowledgements have
/// arrived, everything but the three totals of data is zero, and `data_returned` is
/// `data_received`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamAudit {
    /// Streams in the table.
    pub streams: usize,
    /// Streams of the peer, bidirectional and unidirectional, in whose place it cannot open others.
    pub peer_streams_uncredited: [u64; 2],
    /// Bytes that were written and whose acknowledgement is outstanding.
    pub send_buffered: u64,
    /// Bytes of memory that unread data takes.
    pub receive_memory: usize,
    /// Bytes that were sent, each counted once.
    pub data_sent: u64,
    /// Bytes that the peer has sent, with those that got lost below a final size.
    pub data_received: u64,
    /// Bytes whose credit went back to the peer's account.
    pub data_returned: u64,
    /// Streams that can send data, or could with more credit of the connection.
    pub scheduled: usize,
    /// Streams that have something else to send.
    pub control_queued: usize,
    /// Streams whose writers wait for room in the send budget.
    pub waiting_writers: usize,
}

#[cfg(test)]
mod tests;
