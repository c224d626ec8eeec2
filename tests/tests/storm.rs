//! A storm of cancellations, in virtual time: many connections between two endpoints, on each many
//! streams at once that are written, read, finished, reset, stopped and given up at random, over a
//! network that loses, reorders and repeats. When it is over, nothing is left of it: no stream, no
//! byte in a buffer, all credit back, which each connection proves by moving data.
//!
//! A failing storm prints its seed; `QUIC_SEED=<seed>` runs it alone. `QUIC_SEEDS=<n>` runs `n`
//! times as many.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use quic_core::endpoint::ConnectionHandle;
use quic_core::stream::{Priority, Read, ReadError, StreamAudit, Streams};
use quic_core::util::Rng;
use quic_core::wire::{ApplicationErrorCode, Dir, Side, StreamId};
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;

const SEEDS: u64 = if cfg!(debug_assertions) { 3 } else { 100 };
const CONNECTIONS: usize = if cfg!(debug_assertions) { 4 } else { 16 };
/// Streams of each connection and each side at a time.
const STREAMS: usize = if cfg!(debug_assertions) { 50 } else { 200 };
const ROUNDS: u32 = if cfg!(debug_assertions) { 300 } else { 600 };
/// What goes through each connection afterwards, in each direction.
const PROOF: u64 = if cfg!(debug_assertions) { 512 << 10 } else { 2 << 20 };
/// How long tidying up may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(600);

fn byte(id: StreamId, side: Side, offset: u64) -> u8 {
    ((id.into_inner() * 7 + side as u64 + offset) % 251) as u8
}

fn content(id: StreamId, side: Side, from: u64, len: u64) -> Bytes {
    (from..from + len).map(|offset| byte(id, side, offset)).collect()
}

/// One half of a stream, as its sender knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    written: u64,
    finished: bool,
}

/// A stream that an application holds.
#[derive(Debug)]
struct Held {
    id: StreamId,
    read: u64,
    /// Bytes that were read and whose credit is still kept.
    kept: u64,
}

/// The applications of one connection: what each side holds, and what was sent on either half.
#[derive(Debug, Default)]
struct Party {
    held: [Vec<Held>; 2],
    sent: HashMap<(StreamId, bool), Sent>,
    /// What happened, so that a storm can show that it was one.
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    opened: u64,
    accepted: u64,
    whole: u64,
    cut_short: u64,
    stopped: u64,
    refused: u64,
    given_up: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.accepted += other.accepted;
        self.whole += other.whole;
        self.cut_short += other.cut_short;
        self.stopped += other.stopped;
        self.refused += other.refused;
        self.given_up += other.given_up;
    }
}

impl Party {
    /// Lets the application of `side` do something on a few of its streams.
    fn act(&mut self, side: Side, streams: &mut Streams, rng: &mut Rng) {
        self.open_and_accept(side, streams, rng);
        for _ in 0..rng.range(1..8) {
            let count = self.held[side as usize].len() as u64;
            if count > 0 {
                self.act_on(rng.range(0..count) as usize, side, streams, rng);
            }
        }
    }

    fn open_and_accept(&mut self, side: Side, streams: &mut Streams, rng: &mut Rng) {
        for dir in Dir::ALL {
            while let Some(id) = streams.accept(dir) {
                self.held[side as usize].push(Held { id, read: 0, kept: 0 });
                self.counts.accepted += 1;
            }
            if self.held[side as usize].len() < STREAMS
                && rng.one_in(2)
                && let Some(id) = streams.open(dir)
            {
                self.held[side as usize].push(Held { id, read: 0, kept: 0 });
                self.counts.opened += 1;
            }
        }
    }

    fn act_on(&mut self, at: usize, side: Side, streams: &mut Streams, rng: &mut Rng) {
        let id = self.held[side as usize][at].id;
        let code = ApplicationErrorCode::from(rng.range(0..1000) as u32);
        match rng.range(0..100) {
            0..40 => self.write(id, side, streams, rng),
            40..75 => self.read(at, side, streams, rng),
            75..82 => self.finish(id, side, streams),
            82..85 => streams.reset(id, code),
            85..88 => streams.stop(id, code),
            88..92 => {
                let urgency = rng.range(0..8) as u8;
                streams.set_priority(id, Priority { urgency, incremental: rng.one_in(2) });
            }
            // In whatever state it is.
            _ => {
                streams.release(id);
                self.held[side as usize].swap_remove(at);
                self.counts.given_up += 1;
            }
        }
    }

    fn write(&mut self, id: StreamId, side: Side, streams: &mut Streams, rng: &mut Rng) {
        let sent = self.sent.entry((id, side == Side::Client)).or_default();
        let len = if rng.one_in(4) { rng.range(1..30_000) } else { rng.range(1..2_000) };
        match streams.write(id, content(id, side, sent.written, len)) {
            Ok(taken) => sent.written += taken as u64,
            Err(_) => self.counts.refused += 1,
        }
    }

    fn finish(&mut self, id: StreamId, side: Side, streams: &mut Streams) {
        if streams.finish(id).is_ok() {
            self.sent.entry((id, side == Side::Client)).or_default().finished = true;
        }
    }

    fn read(&mut self, at: usize, side: Side, streams: &mut Streams, rng: &mut Rng) {
        let held = &mut self.held[side as usize][at];
        match streams.read(held.id) {
            Ok(Read::Chunk(chunk)) => {
                let len = chunk.len() as u64;
                assert!(chunk == content(held.id, !side, held.read, len), "{}", held.id);
                held.read += len;
                held.kept += len;
            }
            Ok(Read::Finished) => {
                let sent = self.sent.get(&(held.id, side == Side::Server));
                let sent = sent.copied().unwrap_or_default();
                assert!(sent.finished && sent.written == held.read, "{held:?} of {sent:?}");
                self.counts.whole += 1;
            }
            Err(ReadError::Reset(_)) => self.counts.cut_short += 1,
            Err(ReadError::Stopped) => self.counts.stopped += 1,
            Ok(Read::Blocked) | Err(ReadError::UnknownStream) => {}
        }
        if rng.one_in(2) {
            streams.release_credit(held.id, std::mem::take(&mut held.kept));
        }
    }

    /// Gives up all that is left, and what still arrives. True if there was nothing.
    fn tidy_up(&mut self, side: Side, streams: &mut Streams) -> bool {
        for dir in Dir::ALL {
            while let Some(id) = streams.accept(dir) {
                streams.release(id);
            }
        }
        self.held[side as usize].drain(..).for_each(|held| streams.release(held.id));
        let audit = streams.audit();
        let rest = StreamAudit { data_sent: 0, data_received: 0, data_returned: 0, ..audit };
        rest == StreamAudit::default() && audit.data_received == audit.data_returned
    }
}

/// The two ends of a connection.
type Ends = [ConnectionHandle; 2];

struct Storm {
    pair: Pair,
    ends: Vec<Ends>,
    parties: Vec<Party>,
    rng: Rng,
}

fn setup(seed: Seed, rng: &mut Rng) -> Setup {
    let link = Link {
        delay: Duration::from_micros(rng.range(50..5_000)),
        jitter: Duration::from_micros(rng.range(0..2_000)),
        loss_ppm: rng.range(0..50_000),
        reorder_ppm: rng.range(0..50_000),
        duplicate_ppm: rng.range(0..20_000),
        corrupt_ppm: rng.range(0..5_000),
        ..Link::default()
    };
    let stream_window = rng.range(2_000..200_000);
    let window = stream_window + rng.range(0..500_000);
    let budget = rng.range(5_000..1_000_000);
    Setup { traced: false, ..Setup::new(seed).links(link) }.transport(|transport| {
        transport
            .initial_stream_window(stream_window)
            .max_stream_window(2 * stream_window)
            .initial_connection_window(window)
            .max_connection_window(2 * window)
            .stream_send_window(budget)
            .send_budget(budget)
            .max_bidi_streams(STREAMS as u64 / 4)
            .max_uni_streams(STREAMS as u64 / 4)
            .keep_alive_interval(Some(Duration::from_secs(2)))
    })
}

impl Storm {
    fn new(seed: Seed) -> Self {
        let mut rng = seed.rng();
        let mut pair = setup(seed, &mut rng).build();
        let ends: Vec<Ends> = (0..CONNECTIONS).map(|_| establish(&mut pair)).collect();
        let parties = ends.iter().map(|_| Party::default()).collect();
        Self { pair, ends, parties, rng }
    }

    /// Calls `act` for each side of each connection, and lets them talk for a moment.
    fn round(&mut self, mut act: impl FnMut(&mut Party, Side, &mut Streams, &mut Rng)) {
        for (ends, party) in self.ends.iter().zip(&mut self.parties) {
            for side in [Side::Client, Side::Server] {
                let streams = streams(&mut self.pair, ends, side);
                act(party, side, streams, &mut self.rng);
            }
        }
        self.pair.drive_for(Duration::from_micros(self.rng.range(0..2_000)));
    }

    fn tidy_up(&mut self) {
        let start = self.pair.now;
        let mut tidy = false;
        while !tidy {
            tidy = true;
            self.round(|party, side, streams, _| tidy &= party.tidy_up(side, streams));
            self.pair.drive_for(Duration::from_millis(50));
            if self.pair.now > start + LIMIT {
                let mut audits = Vec::new();
                self.round(|_, _, streams, _| audits.push(streams.audit()));
                panic!("something is left after {LIMIT:?}: {audits:#?}");
            }
        }
        for [client, server] in self.ends.clone() {
            let client = self.pair.client.connection(client).expect("alive").streams().audit();
            let server = self.pair.server.connection(server).expect("alive").streams().audit();
            assert_eq!(client.data_sent, server.data_received);
            assert_eq!(server.data_sent, client.data_received);
        }
    }

    /// Moves data through each connection in both directions.
    fn prove(&mut self) {
        for at in 0..self.ends.len() {
            for from in [Side::Client, Side::Server] {
                self.transfer(self.ends[at], from);
            }
        }
    }

    fn transfer(&mut self, ends: Ends, from: Side) {
        let id = streams(&mut self.pair, &ends, from).open(Dir::Uni).expect("stream credit");
        let (mut written, mut read, mut finished) = (0, 0, false);
        let mut accepted = false;
        self.pair.drive_until(LIMIT, |pair| {
            let sender = streams(pair, &ends, from);
            while written < PROOF {
                let len = (PROOF - written).min(50_000);
                let Ok(taken) = sender.write(id, content(id, from, written, len)) else { break };
                written += taken as u64;
            }
            if written == PROOF && !finished {
                sender.finish(id).expect("it is open");
                sender.release(id);
                finished = true;
            }
            let receiver = streams(pair, &ends, !from);
            accepted = accepted || receiver.accept(Dir::Uni) == Some(id);
            loop {
                match receiver.read(id) {
                    Ok(Read::Chunk(chunk)) => {
                        let len = chunk.len() as u64;
                        assert!(chunk == content(id, from, read, len), "{id} at {read}");
                        read += len;
                        receiver.release_credit(id, len);
                    }
                    Ok(Read::Finished) => {
                        assert_eq!(read, PROOF);
                        receiver.release(id);
                        return true;
                    }
                    Ok(Read::Blocked) | Err(ReadError::UnknownStream) if read < PROOF => break,
                    Ok(Read::Blocked) => break,
                    Err(error) => panic!("{id}: {error:?}"),
                }
            }
            pair.flush();
            false
        });
    }

    /// Closes everything; in the end nobody remembers anything.
    fn end(mut self) {
        let now = self.pair.now;
        for [client, _] in &self.ends {
            let connection = self.pair.client.connection(*client).expect("alive");
            connection.close(now, ApplicationErrorCode::from(0), Bytes::new());
        }
        self.pair.drive_idle();
        assert_eq!(self.pair.client.endpoint.connection_count(), 0);
        assert_eq!(self.pair.server.endpoint.connection_count(), 0);
    }
}

fn establish(pair: &mut Pair) -> Ends {
    let client = pair.connect();
    let number = pair.client.handles().len();
    let mut server = None;
    pair.drive_until(Duration::from_secs(60), |pair| {
        server = pair.server.handles().get(number - 1).copied();
        let confirmed = |known: &quic_testkit::host::Known| known.confirmed;
        confirmed(pair.client.known(client))
            && server.is_some_and(|server| confirmed(pair.server.known(server)))
    });
    [client, server.expect("confirmed")]
}

fn streams<'a>(pair: &'a mut Pair, ends: &Ends, side: Side) -> &'a mut Streams {
    let host = match side {
        Side::Client => &mut pair.client,
        Side::Server => &mut pair.server,
    };
    let reason = format!("{side:?}: {:?}", host.known(ends[side as usize]).closed);
    host.connection(ends[side as usize]).expect(&reason).streams()
}

fn run(seed: Seed) -> Counts {
    let mut storm = Storm::new(seed);
    for _ in 0..ROUNDS {
        storm.round(Party::act);
    }
    let mut counts = Counts::default();
    storm.parties.iter().for_each(|party| counts.add(party.counts));
    storm.tidy_up();
    storm.prove();
    storm.tidy_up();
    storm.end();
    counts
}

/// All storms, as many at a time as there are processors.
fn run_all() -> Counts {
    let seeds = Mutex::new(Seed::range(0..SEEDS));
    let counts = Mutex::new(Counts::default());
    let work = || {
        loop {
            let next = seeds.lock().expect("no panic").next();
            let Some(seed) = next else { break };
            let counted = run(seed);
            counts.lock().expect("no panic").add(counted);
        }
    };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let thread = std::thread::Builder::new().name(test.clone());
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    counts.into_inner().expect("no panic")
}

#[test]
fn nothing_is_left_of_a_storm_of_cancellations() {
    let counts = run_all();
    // It was a storm: each way in which a stream can end did occur, many times.
    let Counts { opened, accepted, whole, cut_short, stopped, refused, given_up } = counts;
    for count in [opened, accepted, whole, cut_short, stopped, refused, given_up] {
        assert!(count > 100, "{counts:?}");
    }
}
