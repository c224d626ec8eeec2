//! A driver without a socket: what models use in place of a runtime's.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use loom::sync::Arc;
use quic_core::buffer::{Arrival, SlabRing, Train};
use quic_core::error::ConnectionError;
use quic_core::link::{FIRST_GRANT, Links, Scratch};
use quic_core::shared::{
    ConnectionCell, ReadRefused, Ready, ReadyList, RecvCell, SendCell, SendPhase, StreamCells,
    WriteRefused, assert_no_lock_is_held,
};
use quic_core::stream::{SentStreamFrame, StreamConfig, Streams};
use quic_core::util::Rng;
use quic_core::wire::frame::{Frame, ResetStream, StopSending, Stream};
use quic_core::wire::{
    ApplicationErrorCode, Dir, Reader, Side, StreamId, TransportParameters, VarInt, Writer,
};

pub(crate) fn code(value: u32) -> VarInt {
    VarInt::from_u32(value)
}

pub(crate) fn app_code(value: u32) -> ApplicationErrorCode {
    ApplicationErrorCode(code(value))
}

/// One connection and its driver, a client that may open streams.
pub(crate) struct Rig {
    pub(crate) ready: Arc<ReadyList>,
    pub(crate) cell: Arc<ConnectionCell>,
    pub(crate) streams: Streams,
    pub(crate) links: Links,
    scratch: Scratch,
    /// What was packed, and neither acknowledged nor lost.
    pub(crate) in_flight: Vec<SentStreamFrame>,
    pub(crate) wires: BTreeMap<StreamId, Wire>,
    pub(crate) close: Option<VarInt>,
    closed: bool,
}

/// What the peer has seen of a stream, which must never contradict itself.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    highest: u64,
    final_size: Option<u64>,
    pub(crate) fins: usize,
    pub(crate) resets: Vec<VarInt>,
    pub(crate) stops: Vec<VarInt>,
    pub(crate) data_frames: usize,
}

impl Wire {
    fn on_data(&mut self, frame: &Stream<'_>) {
        assert!(self.resets.is_empty(), "data after RESET_STREAM");
        for (index, byte) in frame.data.iter().enumerate() {
            let offset = frame.offset + index as u64;
            assert_eq!(*byte, content(offset), "other bytes than were written at {offset}");
        }
        self.highest = self.highest.max(frame.end());
        self.data_frames += 1;
        if frame.fin {
            self.fins += 1;
            self.set_final_size(frame.end());
        }
        assert!(self.final_size.is_none_or(|size| size >= self.highest), "data after the end");
    }

    fn on_reset(&mut self, frame: &ResetStream) {
        assert_eq!(frame.final_size, self.highest, "the final size is what was sent");
        self.set_final_size(frame.final_size);
        let code = frame.error_code.0;
        assert!(self.resets.iter().all(|known| *known == code), "the code of a reset changes");
        self.resets.push(code);
    }

    fn set_final_size(&mut self, size: u64) {
        assert!(size >= self.highest, "a final size below what was sent");
        assert_eq!(*self.final_size.get_or_insert(size), size, "the final size changes");
    }
}

/// The byte that belongs at an offset.
pub(crate) fn content(offset: u64) -> u8 {
    (offset % 251) as u8 + 1
}

/// Bytes that belong at `offset`.
pub(crate) fn bytes_at(offset: u64, len: u64) -> Vec<u8> {
    (offset..offset + len).map(content).collect()
}

/// How many pieces of memory the application has given away, and how many came back.
#[derive(Clone, Default)]
pub(crate) struct Leases(std::sync::Arc<LeaseCounts>);

#[derive(Default)]
struct LeaseCounts {
    given: AtomicUsize,
    returned: AtomicUsize,
}

struct Lease {
    data: Vec<u8>,
    counts: std::sync::Arc<LeaseCounts>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        assert_no_lock_is_held();
        self.data.fill(0);
        self.counts.returned.fetch_add(1, Ordering::SeqCst);
    }
}

impl Leases {
    /// A chunk for `offset` whose memory is overwritten when it comes back.
    pub(crate) fn chunk(&self, offset: u64, len: u64) -> Bytes {
        self.0.given.fetch_add(1, Ordering::SeqCst);
        let counts = std::sync::Arc::clone(&self.0);
        Bytes::from_owner(Lease { data: bytes_at(offset, len), counts })
    }

    pub(crate) fn outstanding(&self) -> usize {
        let returned = self.0.returned.load(Ordering::SeqCst);
        self.0.given.load(Ordering::SeqCst).checked_sub(returned).expect("returned once")
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(StreamConfig::default(), 2)
    }

    /// Of a peer that allows `peer_streams` of each kind.
    pub(crate) fn with(config: StreamConfig, peer_streams: u64) -> Self {
        let ready = Arc::new(ReadyList::new());
        let cell = ConnectionCell::new(Arc::clone(&ready), 0, Side::Client, FIRST_GRANT);
        let mut rig = Self {
            ready,
            cell: Arc::new(cell),
            streams: Streams::new(Side::Client, &config, &mut Rng::from_seed([1; 32])),
            links: Links::new(&config),
            scratch: Scratch::default(),
            in_flight: Vec::new(),
            wires: BTreeMap::new(),
            close: None,
            closed: false,
        };
        rig.streams.set_peer_params(&TransportParameters {
            initial_max_data: 1 << 20,
            initial_max_stream_data_bidi_local: 1 << 20,
            initial_max_stream_data_bidi_remote: 1 << 20,
            initial_max_stream_data_uni: 1 << 20,
            initial_max_streams_bidi: peer_streams,
            initial_max_streams_uni: peer_streams,
            ..TransportParameters::default()
        });
        rig
    }

    /// Lets the application open streams, and opens one that the driver knows.
    pub(crate) fn open(&mut self, dir: Dir) -> StreamCells {
        self.links.update_limits(&self.cell, &self.streams, &mut self.scratch.wakes);
        let opened = self.cell.poll_open(dir, &mut None, std::task::Waker::noop());
        let Poll::Ready(Ok(cells)) = opened else { panic!("the peer allows streams") };
        self.work();
        cells
    }

    /// One that sends only.
    pub(crate) fn open_sender(&mut self) -> (StreamId, Arc<SendCell>) {
        let cells = self.open(Dir::Uni);
        (cells.id, cells.send.expect("it sends"))
    }

    /// One that the peer has opened, by its first `len` bytes.
    pub(crate) fn accept_receiver(&mut self, len: u64, fin: bool) -> (StreamId, Arc<RecvCell>) {
        let id = StreamId::new(Side::Server, Dir::Uni, 0);
        self.receive(id, 0, len, fin);
        let accepted = self.cell.poll_accept(Dir::Uni, &mut None, std::task::Waker::noop());
        let Poll::Ready(Ok(cells)) = accepted else { panic!("a stream has arrived") };
        (id, cells.recv.expect("it receives"))
    }

    // ---- what a driver does

    /// Does what tasks have left to do, and takes the news to the cells. False if there was nothing.
    pub(crate) fn work(&mut self) -> bool {
        let mut items = Vec::new();
        self.ready.drain(&mut items);
        for (index, item) in items.iter().enumerate() {
            assert!(!items[..index].contains(item), "on the list twice: {item:?}");
        }
        for item in &items {
            match *item {
                Ready::Endpoint => {}
                Ready::Connection(_) => self.work_on_connection(),
                Ready::Send(_, id) => {
                    if !self.links.knows(id) {
                        self.work_on_connection();
                    }
                    self.links.on_send_ready(id, &mut self.streams, &mut self.scratch);
                }
                Ready::Recv(_, id) => {
                    if !self.links.knows(id) {
                        self.work_on_connection();
                    }
                    self.links.on_recv_ready(id, &mut self.streams);
                }
            }
        }
        self.tell();
        !items.is_empty()
    }

    fn work_on_connection(&mut self) {
        let work = self.cell.take();
        self.links.on_connection_ready(&work, &mut self.streams, &mut self.scratch.wakes);
        let released = work.released.then(|| code(0));
        self.close = self.close.or(work.close.map(|(code, _)| code).or(released));
    }

    fn tell(&mut self) {
        while let Some(event) = self.streams.poll_event() {
            self.links.on_event(event, &self.cell, &mut self.streams, &mut self.scratch);
        }
        if !self.closed {
            self.links.update_limits(&self.cell, &self.streams, &mut self.scratch.wakes);
        }
        self.scratch.wakes.wake_all();
    }

    /// Writes packets until nothing is left to be sent.
    pub(crate) fn pack(&mut self) {
        while self.pack_one() {}
    }

    fn pack_one(&mut self) -> bool {
        let mut buffer = [0; 1200];
        let mut writer = Writer::new(&mut buffer);
        let mut sent = Vec::new();
        let now = Instant::now();
        let rtt = Duration::from_millis(50);
        self.streams.write_control(now, rtt, &mut writer, &mut |frame| sent.push(frame));
        self.streams.write_data(&mut writer, &mut |frame| sent.push(frame));
        let len = writer.position();
        let mut reader = Reader::new(&buffer[..len]);
        while !reader.is_empty() {
            let frame = Frame::decode(&mut reader).expect("we write what can be read");
            self.on_wire(&frame);
        }
        let any = !sent.is_empty();
        self.in_flight.append(&mut sent);
        any
    }

    fn on_wire(&mut self, frame: &Frame<'_>) {
        match frame {
            Frame::Stream(frame) => self.wire(frame.stream_id).on_data(frame),
            Frame::ResetStream(frame) => self.wire(frame.stream_id).on_reset(frame),
            Frame::StopSending(frame) => {
                self.wire(frame.stream_id).stops.push(frame.error_code.0);
            }
            _ => {}
        }
    }

    pub(crate) fn wire(&mut self, id: StreamId) -> &mut Wire {
        self.wires.entry(id).or_default()
    }

    /// Works and packs until there is nothing to do.
    pub(crate) fn settle(&mut self) {
        loop {
            self.pack();
            if !self.work() {
                return;
            }
        }
    }

    /// A driver that sleeps when there is nothing to do, and works until `is_over`.
    pub(crate) fn run(&mut self, mut is_over: impl FnMut(&mut Self) -> bool) {
        loom::future::block_on(poll_fn(|cx| {
            loop {
                self.work();
                self.pack();
                if is_over(self) {
                    return Poll::Ready(());
                }
                if self.ready.sleep(cx.waker()) {
                    return Poll::Pending;
                }
            }
        }));
    }

    // ---- what the network does

    /// All packets in flight are acknowledged.
    pub(crate) fn ack(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        in_flight.into_iter().for_each(|frame| self.streams.on_acked(frame));
        self.tell();
    }

    /// All packets in flight are lost.
    pub(crate) fn lose(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        in_flight.into_iter().for_each(|frame| self.streams.on_lost(frame));
        self.tell();
    }

    pub(crate) fn stop_sending(&mut self, stream_id: StreamId, error_code: u32) {
        let frame = StopSending { stream_id, error_code: app_code(error_code) };
        self.streams.on_stop_sending(&frame).expect("an honest peer");
        self.tell();
    }

    pub(crate) fn receive(&mut self, stream_id: StreamId, offset: u64, len: u64, fin: bool) {
        let data = Bytes::from(bytes_at(offset, len));
        let frame = Stream { stream_id, offset, fin, data: &data };
        self.streams.on_stream(&frame, Arrival::Share(data.clone())).expect("an honest peer");
        self.tell();
    }

    /// The same in memory of `ring`, which readers are lent if it is no scratch.
    pub(crate) fn receive_into(
        &mut self,
        ring: &mut SlabRing,
        stream_id: StreamId,
        offset: u64,
        len: u64,
    ) {
        let mut slab = ring.checkout();
        let data = bytes_at(offset, len);
        slab.begin().expect("nobody reads it")[..data.len()].copy_from_slice(&data);
        let train = Train::new(&mut slab, data.len(), data.len());
        let frame = Stream { stream_id, offset, fin: false, data: train.bytes() };
        let arrival = train.lender().lend(frame.data, data.len());
        self.streams.on_stream(&frame, arrival).expect("an honest peer");
        ring.put_back(slab);
        self.tell();
    }

    pub(crate) fn receive_reset(&mut self, stream_id: StreamId, error_code: u32, final_size: u64) {
        let error_code = app_code(error_code);
        let frame = ResetStream { stream_id, error_code, final_size };
        self.streams.on_reset_stream(&frame).expect("an honest peer");
        self.tell();
    }

    /// The connection is over.
    pub(crate) fn lose_connection(&mut self) {
        self.closed = true;
        self.streams.on_connection_closed();
        self.in_flight.clear();
        let unseen = self.cell.on_closed(ConnectionError::TimedOut, &mut self.scratch.wakes);
        self.links.on_closed(&unseen, &mut self.scratch.wakes);
        self.tell();
    }

    // ---- what holds at the end

    /// Everything is sent and acknowledged: no stream, no promise and no byte is left.
    pub(crate) fn assert_at_rest(&mut self) {
        for _ in 0..4 {
            self.settle();
            self.ack();
        }
        assert!(self.in_flight.is_empty(), "never at rest: {:?}", self.in_flight);
        let audit = self.streams.audit();
        assert_eq!(self.links.promised(), 0, "budget that did not come back");
        assert_eq!(audit.streams, 0, "a stream that never ends: {audit:?}");
        assert_eq!(audit.send_buffered, 0, "{audit:?}");
        assert_eq!(audit.receive_memory, 0, "{audit:?}");
        assert_eq!(audit.peer_streams_uncredited, [0, 0], "{audit:?}");
        assert_eq!(audit.data_returned, audit.data_received, "{audit:?}");
        assert_eq!((audit.scheduled, audit.control_queued, audit.waiting_writers), (0, 0, 0));
    }
}

// ---- what tasks do

pub(crate) fn write(cell: &SendCell, chunk: Bytes) -> Result<usize, WriteRefused> {
    let mut chunk = chunk;
    loom::future::block_on(poll_fn(|cx| cell.poll_write_chunk(&mut chunk, cx.waker())))
}

/// A write that does not wait; `None` if it would have to.
pub(crate) fn try_write(cell: &SendCell, chunk: Bytes) -> Option<Result<usize, WriteRefused>> {
    let mut chunk = chunk;
    match cell.poll_write_chunk(&mut chunk, std::task::Waker::noop()) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => {
            assert!(!chunk.is_empty(), "a write that waits moves nothing");
            None
        }
    }
}

pub(crate) fn outcome(cell: &SendCell) -> SendPhase {
    let mut key = None;
    loom::future::block_on(poll_fn(|cx| cell.poll_outcome(&mut key, cx.waker())))
}

pub(crate) fn stopped(cell: &SendCell) -> Result<VarInt, SendPhase> {
    let mut key = None;
    loom::future::block_on(poll_fn(|cx| cell.poll_stopped(&mut key, cx.waker())))
}

pub(crate) fn read(cell: &RecvCell) -> Result<Option<Bytes>, ReadRefused> {
    loom::future::block_on(poll_fn(|cx| cell.poll_read(usize::MAX, cx.waker())))
}
