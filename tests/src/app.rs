//! An application on each side that carries out a plan: which streams are opened, how much goes over
//! them in each direction, and which of them are reset or stopped on the way.
//!
//! Both sides know the whole plan, so that each can check that it gets exactly the bytes that the
//! other was to send.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use quic_core::stream::{Read, ReadError, SendOutcome, StreamEvent, Streams, WriteError};
use quic_core::wire::{ApplicationErrorCode, Dir, Side, StreamId};

/// The content of all streams repeats after this many bytes, a prime.
const PERIOD: u64 = 65_521;
/// Code of resets and stops.
const GIVE_UP: u32 = 99;

/// Two periods of bytes that look like nothing in particular.
static CONTENT: LazyLock<Bytes> = LazyLock::new(|| {
    let byte = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8;
    (0..2 * PERIOD).map(|n| byte(n % PERIOD)).collect()
});

/// Up to `max` bytes, at most `PERIOD`, of what `sender` sends on `id` from `offset` on.
pub fn content(id: StreamId, sender: Side, offset: u64, max: u64) -> Bytes {
    let shift = u64::from(id).wrapping_mul(7919) + sender as u64 * 31;
    let start = ((offset + shift) % PERIOD) as usize;
    CONTENT.slice(start..start + max.min(PERIOD) as usize)
}

/// What shall happen in one direction of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HalfPlan {
    /// Bytes to be sent.
    pub len: u64,
    /// The sender resets the stream once it has written this much.
    pub reset_at: Option<u64>,
    /// The receiver stops the stream once it has read this much.
    pub stop_at: Option<u64>,
}

impl HalfPlan {
    /// Sends `len` bytes to the end.
    pub fn whole(len: u64) -> Self {
        Self { len, ..Self::default() }
    }
}

/// What shall happen on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPlan {
    /// Who opens it.
    pub opener: Side,
    /// From the side that opens it.
    pub forward: HalfPlan,
    /// To the side that opens it; a stream without is unidirectional.
    pub back: Option<HalfPlan>,
}

impl StreamPlan {
    fn dir(&self) -> Dir {
        if self.back.is_some() { Dir::Bi } else { Dir::Uni }
    }

    fn half(&self, sender: Side) -> Option<HalfPlan> {
        if sender == self.opener { Some(self.forward) } else { self.back }
    }
}

/// All streams of a connection, by their IDs: each side opens its own in the order of the list.
pub type Plan = BTreeMap<StreamId, StreamPlan>;

/// Gives each stream of the list its ID.
pub fn plan(streams: &[StreamPlan]) -> Plan {
    let mut counts = BTreeMap::<(Side, Dir), u64>::new();
    let mut plan = Plan::new();
    for stream in streams {
        let count = counts.entry((stream.opener, stream.dir())).or_default();
        plan.insert(StreamId::new(stream.opener, stream.dir(), *count), *stream);
        *count += 1;
    }
    plan
}

/// How a direction of a stream ended, as the receiver saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// To the end, with all bytes as planned.
    Whole,
    /// The sender reset it.
    Reset,
    /// We stopped it.
    Stopped,
}

#[derive(Debug)]
struct Outgoing {
    plan: HalfPlan,
    written: u64,
    given_up: bool,
    outcome: Option<SendOutcome>,
}

#[derive(Debug)]
struct Incoming {
    plan: HalfPlan,
    read: u64,
    end: Option<Received>,
}

/// The application of one side.
#[derive(Debug)]
pub struct App {
    side: Side,
    plan: Plan,
    /// Streams of ours that are not open yet, by direction, the first one last.
    to_open: [Vec<StreamId>; 2],
    outgoing: BTreeMap<StreamId, Outgoing>,
    incoming: BTreeMap<StreamId, Incoming>,
}

impl App {
    /// The application of `side`.
    pub fn new(side: Side, plan: &Plan) -> Self {
        let ours = |dir: Dir| {
            let ids = plan.keys().filter(|id| id.initiator() == side && id.dir() == dir);
            ids.rev().copied().collect()
        };
        Self {
            side,
            to_open: [ours(Dir::Bi), ours(Dir::Uni)],
            plan: plan.clone(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }

    /// Begins: opens what can be opened.
    pub fn start(&mut self, streams: &mut Streams) {
        self.open(streams, Dir::Bi);
        self.open(streams, Dir::Uni);
    }

    /// Forgets all that was done: the server did not take the early data.
    pub fn begin_anew(&mut self) {
        *self = Self::new(self.side, &self.plan);
    }

    /// Reacts to news.
    pub fn on_event(&mut self, streams: &mut Streams, event: StreamEvent) {
        match event {
            StreamEvent::Opened(dir) => {
                while let Some(id) = streams.accept(dir) {
                    assert!(self.plan.contains_key(&id), "stream {id} is not in the plan");
                    self.begin(streams, id);
                }
            }
            StreamEvent::Readable(id) => self.read(streams, id),
            StreamEvent::Writable(id) => self.write(streams, id),
            StreamEvent::Stopped { id, .. } => {
                let plan = self.outgoing[&id].plan;
                assert!(plan.stop_at.is_some(), "stream {id} was stopped against the plan");
            }
            StreamEvent::SendClosed { id, outcome } => {
                let outgoing = self.outgoing.get_mut(&id).expect("a stream that we send on");
                assert_eq!(outgoing.outcome, None, "stream {id} ended twice");
                outgoing.outcome = Some(outcome);
                self.release_if_done(streams, id);
            }
            StreamEvent::StreamsAvailable(dir) => self.open(streams, dir),
        }
    }

    /// True once every stream of the plan has ended in both directions.
    pub fn is_done(&self) -> bool {
        let sends = self.plan.values().filter(|plan| plan.half(self.side).is_some()).count();
        let receives = self.plan.values().filter(|plan| plan.half(!self.side).is_some()).count();
        let ended_out = self.outgoing.values().filter(|out| out.outcome.is_some()).count();
        let ended_in = self.incoming.values().filter(|incoming| incoming.end.is_some()).count();
        ended_out == sends && ended_in == receives
    }

    /// How each direction toward this side has ended.
    pub fn received(&self) -> impl Iterator<Item = (StreamId, Received)> {
        self.incoming.iter().filter_map(|(id, incoming)| Some((*id, incoming.end?)))
    }

    /// Asserts that what happened is what was planned.
    pub fn check(&self) {
        for (id, outgoing) in &self.outgoing {
            let plan = outgoing.plan;
            match outgoing.outcome.expect("the plan is done") {
                SendOutcome::Delivered => {
                    assert!(!outgoing.given_up, "{id} was delivered after its reset");
                }
                SendOutcome::Reset { by_peer: false, .. } => {
                    assert!(plan.reset_at.is_some(), "{id} was reset against the plan");
                }
                SendOutcome::Reset { by_peer: true, .. } => {
                    assert!(plan.stop_at.is_some(), "{id} was stopped against the plan");
                }
            }
        }
        for (id, incoming) in &self.incoming {
            let plan = incoming.plan;
            match incoming.end.expect("the plan is done") {
                Received::Whole => assert_eq!(incoming.read, plan.len, "{id} was cut short"),
                Received::Reset => assert!(plan.reset_at.is_some(), "{id} reset against the plan"),
                Received::Stopped => assert!(plan.stop_at.is_some()),
            }
        }
    }

    fn open(&mut self, streams: &mut Streams, dir: Dir) {
        while let Some(planned) = self.to_open[dir as usize].last().copied() {
            let Some(id) = streams.open(dir) else { return };
            assert_eq!(id, planned);
            self.to_open[dir as usize].pop();
            self.begin(streams, id);
        }
    }

    fn begin(&mut self, streams: &mut Streams, id: StreamId) {
        let stream = self.plan[&id];
        if let Some(plan) = stream.half(!self.side) {
            self.incoming.insert(id, Incoming { plan, read: 0, end: None });
            self.read(streams, id);
        }
        if let Some(plan) = stream.half(self.side) {
            let outgoing = Outgoing { plan, written: 0, given_up: false, outcome: None };
            self.outgoing.insert(id, outgoing);
            self.write(streams, id);
        }
    }

    fn write(&mut self, streams: &mut Streams, id: StreamId) {
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return };
        if outgoing.given_up || outgoing.outcome.is_some() {
            return;
        }
        let end = outgoing.plan.reset_at.unwrap_or(outgoing.plan.len);
        while outgoing.written < end {
            let rest = end - outgoing.written;
            match streams.write(id, content(id, self.side, outgoing.written, rest)) {
                Ok(len) => outgoing.written += len as u64,
                Err(WriteError::Blocked) => return,
                Err(_) => return, // stopped: the outcome comes as an event
            }
        }
        outgoing.given_up = outgoing.plan.reset_at.is_some();
        if outgoing.given_up {
            streams.reset(id, ApplicationErrorCode::from(GIVE_UP));
        } else {
            // Fails if the peer has stopped the stream in between.
            let _ = streams.finish(id);
        }
    }

    fn read(&mut self, streams: &mut Streams, id: StreamId) {
        let Some(incoming) = self.incoming.get_mut(&id) else { return };
        while incoming.end.is_none() {
            let stops = incoming.plan.stop_at.is_some_and(|stop_at| incoming.read >= stop_at);
            if stops {
                streams.stop(id, ApplicationErrorCode::from(GIVE_UP));
                incoming.end = Some(Received::Stopped);
                break;
            }
            match streams.read(id) {
                Ok(Read::Chunk(chunk)) => {
                    check_content(id, !self.side, incoming.read, &chunk);
                    incoming.read += chunk.len() as u64;
                    streams.release_credit(id, chunk.len() as u64);
                }
                Ok(Read::Blocked) => return,
                Ok(Read::Finished) => incoming.end = Some(Received::Whole),
                Err(ReadError::Reset(_)) => incoming.end = Some(Received::Reset),
                Err(error) => panic!("reading {id}: {error:?}"),
            }
        }
        self.release_if_done(streams, id);
    }

    fn release_if_done(&mut self, streams: &mut Streams, id: StreamId) {
        let stream = self.plan[&id];
        let sent = stream.half(self.side).is_none()
            || self.outgoing.get(&id).is_some_and(|outgoing| outgoing.outcome.is_some());
        let received = stream.half(!self.side).is_none()
            || self.incoming.get(&id).is_some_and(|incoming| incoming.end.is_some());
        if sent && received {
            streams.release(id);
        }
    }
}

fn check_content(id: StreamId, sender: Side, mut offset: u64, mut data: &[u8]) {
    while !data.is_empty() {
        let expected = content(id, sender, offset, data.len() as u64);
        let (now, rest) = data.split_at(expected.len());
        assert!(now == expected, "stream {id} carries other bytes near {offset}");
        offset += now.len() as u64;
        data = rest;
    }
}
