//! A storm of cancellations over sockets, with tasks on several threads: on many connections and many
//! streams of each, tasks write, read, finish, reset, stop and drop at random, give up waiting in the
//! middle, and are aborted. When it is over nothing is left of it: no stream, no credit, no memory,
//! no task.
//!
//! `QUIC_STORM_SECS=60` makes it a long storm of full size.

mod support;

use std::alloc::System;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quic_core::stream::Priority;
use quic_core::util::Rng;
use quic_core::wire::Side;
use quic_tokio::{
    Connection, Delivery, Endpoint, OpenError, ReadError, RecvStream, SendStream, TransportConfig,
    WriteError,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{Net, code};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// The last byte of every stream that was finished; no other byte has this value.
const MARK: u8 = 255;
/// What may take no longer, once the storm is over.
const LIMIT: Duration = Duration::from_secs(300);
/// Receive memory of each endpoint: so little that slabs which do not come back are missed at once.
const RECEIVE_MEMORY: usize = 4 << 20;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How large a storm is.
#[derive(Clone, Copy)]
struct Size {
    duration: Duration,
    connections: u64,
    /// Streams at a time that each side holds on each connection; it may open half as many of each
    /// kind.
    streams: u64,
    /// Bytes that go through each connection afterwards, half of them in each direction.
    proof: u64,
}

impl Size {
    fn from_env() -> Self {
        match std::env::var("QUIC_STORM_SECS") {
            Ok(secs) => Self {
                duration: Duration::from_secs(secs.parse().expect("a number of seconds")),
                connections: 16,
                streams: 200,
                proof: 64 << 20,
            },
            Err(_) => Self {
                duration: Duration::from_secs(3),
                connections: 4,
                streams: 60,
                proof: 2 << 20,
            },
        }
    }
}

/// What happened, so that a storm can show that it was one.
#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    accepted: AtomicU64,
    whole: AtomicU64,
    reset: AtomicU64,
    stopped: AtomicU64,
    delivered: AtomicU64,
    cancelled: AtomicU64,
    aborted: AtomicU64,
}

impl Counts {
    fn on_delivery(&self, delivery: Delivery) {
        match delivery {
            Delivery::Acknowledged => count(&self.delivered),
            Delivery::StoppedByPeer(_) => count(&self.stopped),
            Delivery::ConnectionLost(error) => panic!("{error}"),
            Delivery::EarlyDataRejected => panic!("there is no early data"),
            Delivery::ResetByUs(_) => {}
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn rng(seed: u64) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Rng::from_seed(bytes)
}

/// The content of a stream: it differs from stream to stream, and by direction.
fn content(side: Side, id: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| ((id * 7 + side as u64 + at) % 251) as u8).collect()
}

/// Waits for `future`, and gives up soon or sooner.
async fn briefly<T>(rng: &mut Rng, counts: &Counts, future: impl Future<Output = T>) -> Option<T> {
    let result = match rng.range(0..4) {
        0 => tokio::select! {
            biased;
            result = future => Some(result),
            () = std::future::ready(()) => None,
        },
        1 => tokio::select! {
            biased;
            result = future => Some(result),
            () = tokio::task::yield_now() => None,
        },
        _ => timeout(Duration::from_micros(rng.range(0..5_000)), future).await.ok(),
    };
    if result.is_none() {
        count(&counts.cancelled);
    }
    result
}

/// A task that holds the handles of one stream.
struct Holder {
    side: Side,
    send: Option<SendStream>,
    recv: Option<RecvStream>,
    written: u64,
    read: u64,
    last: u8,
    rng: Rng,
    counts: Arc<Counts>,
}

impl Holder {
    /// Does this and that, until it has had enough of the stream.
    async fn run(mut self) {
        loop {
            match self.rng.range(0..100) {
                0..36 => self.write().await,
                36..72 => self.read().await,
                72..80 => self.finish().await,
                80..83 => {
                    let code = self.code();
                    self.send.iter_mut().for_each(|send| send.reset(code));
                }
                83..86 => {
                    let code = self.code();
                    self.recv.iter_mut().for_each(|recv| recv.stop(code));
                }
                86..90 => self.wait().await,
                90..92 => {
                    let urgency = self.rng.range(0..8) as u8;
                    let priority = Priority { urgency, incremental: self.rng.one_in(2) };
                    self.send.iter_mut().for_each(|send| send.set_priority(priority));
                }
                92..94 => self.send = None,
                94..96 => self.recv = None,
                _ => return,
            }
        }
    }

    fn code(&mut self) -> quic_tokio::VarInt {
        code(self.rng.range(0..1 << 20) as u32)
    }

    async fn write(&mut self) {
        let Self { send: Some(send), rng, counts, .. } = self else { return };
        let id = send.id().into_inner();
        let len = if rng.one_in(4) { rng.range(1..60_000) } else { rng.range(1..1_500) };
        let data = content(self.side, id, self.written, len as usize);
        let whole = rng.one_in(2);
        let writing = async {
            match whole {
                true => send.write_chunk(Bytes::from(data)).await.map(|()| len as usize),
                false => send.write(&data).await,
            }
        };
        match briefly(rng, counts, writing).await {
            Some(Ok(taken)) => self.written += taken as u64,
            Some(Err(WriteError::ConnectionLost(error))) => panic!("{error}"),
            Some(Err(_)) | None => {}
        }
    }

    async fn finish(&mut self) {
        let Self { send: Some(send), rng, counts, .. } = self else { return };
        // The mark is written if and only if the write was not cancelled.
        if let Some(Ok(1)) = briefly(rng, counts, send.write(&[MARK])).await {
            self.written += 1;
            // Fails if the peer has stopped the stream in between.
            if send.finish().is_ok() && rng.one_in(2) {
                let patience = Duration::from_millis(rng.range(0..500));
                if let Ok(delivery) = timeout(patience, send.delivered()).await {
                    counts.on_delivery(delivery);
                }
            }
        }
    }

    async fn read(&mut self) {
        let Self { recv: Some(recv), rng, counts, .. } = self else { return };
        let mut buf = vec![0; rng.range(1..5_000) as usize];
        let by_chunk = rng.one_in(2);
        let id = recv.id().into_inner();
        let reading = async {
            match by_chunk {
                true => recv.read_chunk().await,
                false => {
                    let filled = recv.read(&mut buf).await;
                    filled.map(|n| n.map(|n| Bytes::copy_from_slice(&buf[..n])))
                }
            }
        };
        match briefly(rng, counts, reading).await {
            Some(Ok(Some(data))) => {
                let mut expected = content(!self.side, id, self.read, data.len());
                self.last = *data.last().expect("a chunk is not empty");
                if self.last == MARK {
                    *expected.last_mut().expect("as long as the chunk") = MARK;
                }
                assert!(data == expected, "stream {id} at {}", self.read);
                self.read += data.len() as u64;
            }
            Some(Ok(None)) => {
                assert_eq!(self.last, MARK, "stream {id} was cut short at {}", self.read);
                count(&counts.whole);
            }
            Some(Err(ReadError::Reset(_))) => count(&counts.reset),
            Some(Err(ReadError::Stopped)) => {}
            Some(Err(ReadError::ConnectionLost(error))) => panic!("{error}"),
            Some(Err(ReadError::EarlyDataRejected)) => panic!("there is no early data"),
            None => {}
        }
    }

    async fn wait(&mut self) {
        let Self { send: Some(send), rng, counts, .. } = self else { return };
        if rng.one_in(2) {
            briefly(rng, counts, send.stopped()).await;
            return;
        }
        if let Some(delivery) = briefly(rng, counts, send.delivered()).await {
            counts.on_delivery(delivery);
        }
    }
}

/// One side of a connection.
struct Party {
    connection: Connection,
    size: Size,
    rng: Rng,
    tasks: JoinSet<()>,
    handles: Vec<AbortHandle>,
    counts: Arc<Counts>,
}

impl Party {
    fn new(connection: Connection, size: Size, seed: u64, counts: &Arc<Counts>) -> Self {
        Self {
            connection,
            size,
            rng: rng(seed),
            tasks: JoinSet::new(),
            handles: Vec::new(),
            counts: Arc::clone(counts),
        }
    }

    async fn storm(mut self, end: Instant) {
        let connection = self.connection.clone();
        let is = |result: Result<_, OpenError>| result.expect("the connection lives");
        while Instant::now() < end {
            let opens = (self.tasks.len() as u64) < self.size.streams;
            let bi = self.rng.one_in(2);
            tokio::select! {
                () = sleep_until(end) => break,
                accepted = connection.accept_bi() => {
                    let (send, recv) = accepted.expect("the connection lives");
                    count(&self.counts.accepted);
                    self.hold(Some(send), Some(recv));
                }
                accepted = connection.accept_uni() => {
                    count(&self.counts.accepted);
                    self.hold(None, Some(accepted.expect("the connection lives")));
                }
                opened = connection.open_bi(), if opens && bi => {
                    let (send, recv) = is(opened.map(|(send, recv)| (Some(send), Some(recv))));
                    count(&self.counts.opened);
                    self.hold(send, recv);
                }
                opened = connection.open_uni(), if opens && !bi => {
                    let (send, recv) = is(opened.map(|send| (Some(send), None)));
                    count(&self.counts.opened);
                    self.hold(send, recv);
                }
                Some(ended) = self.tasks.join_next() => self.check(ended),
            }
            if self.rng.one_in(8) {
                self.abort_one();
            }
        }
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            self.check(ended);
        }
    }

    fn hold(&mut self, send: Option<SendStream>, recv: Option<RecvStream>) {
        let holder = Holder {
            side: self.connection.side(),
            send,
            recv,
            written: 0,
            read: 0,
            last: 0,
            rng: rng(self.rng.u64()),
            counts: Arc::clone(&self.counts),
        };
        self.handles.push(self.tasks.spawn(holder.run()));
    }

    fn abort_one(&mut self) {
        self.handles.retain(|handle| !handle.is_finished());
        if !self.handles.is_empty() {
            let at = self.rng.range(0..self.handles.len() as u64) as usize;
            self.handles.swap_remove(at).abort();
        }
    }

    fn check(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            assert!(error.is_cancelled(), "{error}");
            count(&self.counts.aborted);
        }
    }
}

/// Runs a party on each side of each connection.
async fn storm(ends: &[(Connection, Connection)], size: Size, seed: u64, counts: &Arc<Counts>) {
    let end = Instant::now() + size.duration;
    let mut parties = JoinSet::new();
    for (index, (client, server)) in ends.iter().enumerate() {
        for (side, connection) in [client, server].into_iter().enumerate() {
            let seed = (seed << 32) + 2 * index as u64 + side as u64;
            parties.spawn(Party::new(connection.clone(), size, seed, counts).storm(end));
        }
    }
    while let Some(party) = parties.join_next().await {
        party.unwrap();
    }
}

/// Takes and drops what the peer had still opened, for ever.
async fn decline(connection: &Connection) {
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => drop(accepted.unwrap()),
            accepted = connection.accept_uni() => drop(accepted.unwrap()),
        }
    }
}

/// Opens as many streams as there may ever be at once, which only works if all places are free.
async fn open_all(connection: &Connection, size: Size) {
    let mut open = Vec::new();
    for _ in 0..size.streams / 2 {
        let (send, recv) = connection.open_bi().await.unwrap();
        open.push((send, Some(recv)));
        open.push((connection.open_uni().await.unwrap(), None));
    }
    assert_eq!(connection.close_reason(), None);
}

/// All streams are over, and all places for streams are free, on both sides.
async fn all_streams_are_gone(client: &Connection, server: &Connection, size: Size) {
    let gone = async {
        open_all(client, size).await;
        open_all(server, size).await;
        for connection in [client, server] {
            while connection.stats().await.peer_streams_open > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::select! {
        () = gone => {}
        () = decline(client) => {}
        () = decline(server) => {}
    }
}

/// The next stream that carries data; some come before it that were opened and dropped.
async fn next_with_data(connection: &Connection) -> (RecvStream, Bytes) {
    loop {
        let mut recv = connection.accept_uni().await.unwrap();
        match recv.read_chunk().await {
            Ok(Some(chunk)) => return (recv, chunk),
            Err(ReadError::Reset(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Moves data one way; all of it must arrive.
async fn transfer(from: &Connection, to: &Connection, len: u64) {
    let sender = async {
        let mut send = from.open_uni().await.unwrap();
        let mut written = 0;
        while written < len {
            let piece = content(from.side(), 0, written, (len - written).min(100_000) as usize);
            written += piece.len() as u64;
            send.write_chunk(piece.into()).await.unwrap();
        }
        send.finish().unwrap();
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
    };
    let receiver = async {
        let (mut recv, first) = next_with_data(to).await;
        let mut next = Some(first);
        let mut read = 0;
        while let Some(chunk) = next {
            assert!(chunk == content(from.side(), 0, read, chunk.len()));
            read += chunk.len() as u64;
            next = recv.read_chunk().await.unwrap();
        }
        assert_eq!(read, len);
    };
    tokio::join!(sender, receiver);
}

/// Reads and holds on to everything until receive memory runs out, so that all of it exists.
async fn fill_receive_memory(from: &Connection, to: &Connection, receiver: &Endpoint) {
    let before = receiver.stats().scratch_receives;
    let mut send = from.open_uni().await.unwrap();
    let writer = async {
        loop {
            if send.write_chunk(Bytes::from_static(&[1; 50_000])).await.is_err() {
                break;
            }
        }
    };
    let reader = async {
        let (mut recv, first) = next_with_data(to).await;
        let (mut bytes, mut held) = (first.len() as u64, vec![first]);
        while receiver.stats().scratch_receives == before {
            let chunk = recv.read_chunk().await.unwrap().expect("it does not end");
            bytes += chunk.len() as u64;
            held.push(chunk);
            assert!(bytes < 1 << 30, "receive memory has no end");
        }
    };
    tokio::join!(writer, reader);
}

/// Nothing is left, as far as connections can show it.
async fn aftermath(ends: &[(Connection, Connection)], size: Size) {
    for (client, server) in ends {
        all_streams_are_gone(client, server, size).await;
        transfer(client, server, size.proof / 2).await;
        transfer(server, client, size.proof / 2).await;
        all_streams_are_gone(client, server, size).await;
    }
}

/// Bytes that are allocated and were not given back.
fn allocated() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated - stats.bytes_deallocated) as u64
}

async fn whole_storm(size: Size) {
    let transport = TransportConfig::builder()
        .max_bidi_streams(size.streams / 2)
        .max_uni_streams(size.streams / 2)
        // Some connections wait for their turn in the aftermath.
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .build()
        .unwrap();
    let net = Net::with(transport, |builder| builder.receive_memory(RECEIVE_MEMORY));
    let mut ends = Vec::new();
    for _ in 0..size.connections {
        ends.push(net.connect().await);
    }
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (client, server) = &ends[0];
    fill_receive_memory(client, server, &net.server).await;
    fill_receive_memory(server, client, &net.client).await;

    // Tables and buffers have then the size that they will keep.
    let counts = Arc::new(Counts::default());
    let warm_up = Size { duration: size.duration / 3, ..size };
    storm(&ends, warm_up, 1, &counts).await;
    timeout(LIMIT, aftermath(&ends, size)).await.expect("something is left of the first storm");
    let memory_before = allocated();

    storm(&ends, Size { duration: size.duration - warm_up.duration, ..size }, 2, &counts).await;
    timeout(LIMIT, aftermath(&ends, size)).await.expect("something is left of the storm");
    let memory_after = allocated();

    eprintln!("{counts:?}, memory {memory_before} to {memory_after} bytes");
    let Counts { opened, accepted, whole, reset, stopped, delivered, cancelled, aborted } =
        &*counts;
    for counter in [opened, accepted, whole, reset, stopped, delivered, cancelled, aborted] {
        assert!(counter.load(Ordering::Relaxed) > 0, "this was no storm: {counts:?}");
    }
    assert!(
        memory_after <= memory_before + memory_before / 20,
        "memory grew: {memory_before} to {memory_after} bytes"
    );
    assert_eq!(
        tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        tasks,
        "the drivers and nothing else"
    );

    let (client, server): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    client.iter().for_each(|connection| connection.close(code(1), b"over"));
    drop((client, server));
    net.client.wait_idle().await;
    net.server.wait_idle().await;
    for endpoint in [&net.client, &net.server] {
        let stats = endpoint.stats();
        assert_eq!(stats.connections, 0);
        assert!(stats.slabs > 1, "{stats:?}");
        assert_eq!(stats.slabs_free, stats.slabs, "receive memory is held by nobody");
    }
}

#[test]
fn nothing_is_left_of_a_storm_of_cancellations() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let size = Size::from_env();
    runtime.block_on(async {
        let limit = Instant::now() + size.duration + 3 * LIMIT;
        timeout_at(limit, whole_storm(size)).await.expect("the storm hangs");
        // The drivers of the endpoints end with their last handles.
        let metrics = tokio::runtime::Handle::current().metrics();
        let ended = async {
            while metrics.num_alive_tasks() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, ended).await.expect("a task is left");
    });
}
