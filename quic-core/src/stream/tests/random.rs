//! Random programs on two ends, with a network that loses, reorders and duplicates. Whatever
//! happens, each byte that is read is the right one, each stream ends once, and in the end all
//! credit is back.

use std::collections::HashMap;

use super::*;

const STEPS: usize = 600;

/// What one end's application knows of one stream.
#[derive(Debug, Default)]
struct Use {
    written: u64,
    read: u64,
    unreleased: u64,
    finished: bool,
    /// The sending part was finished or reset, or never existed.
    send_done: bool,
    recv_done: bool,
    stopped: bool,
    released: bool,
    outcome: Option<SendOutcome>,
    end_seen: Option<u64>,
}

struct Actor {
    end: End,
    side: Side,
    uses: HashMap<StreamId, Use>,
    /// Packets of this end, from their sending until nothing more is heard of them.
    in_flight: Vec<Packet>,
    to_acknowledge: Vec<Packet>,
}

impl Actor {
    fn new(side: Side, config: &StreamConfig) -> Self {
        Self {
            end: End::new(side, config, config),
            side,
            uses: HashMap::new(),
            in_flight: Vec::new(),
            to_acknowledge: Vec::new(),
        }
    }

    fn new_use(&mut self, id: StreamId) {
        let fresh = Use {
            send_done: !id.is_sendable_by(self.side),
            recv_done: !id.is_receivable_by(self.side),
            ..Use::default()
        };
        assert!(self.uses.insert(id, fresh).is_none(), "{id} is new");
    }

    fn take_events(&mut self) {
        while let Some(event) = self.end.streams.poll_event() {
            match event {
                StreamEvent::Opened(dir) => {
                    while let Some(id) = self.end.streams.accept(dir) {
                        self.new_use(id);
                    }
                }
                StreamEvent::SendClosed { id, outcome } => {
                    let of = self.uses.get_mut(&id).expect("it was accepted before");
                    assert_eq!(of.outcome.replace(outcome), None, "{id} ends once");
                    of.send_done = true;
                }
                StreamEvent::Readable(_)
                | StreamEvent::Writable(_)
                | StreamEvent::Stopped { .. }
                | StreamEvent::StreamsAvailable(_) => {}
            }
        }
    }

    fn read(&mut self, id: StreamId) {
        let of = self.uses.get_mut(&id).unwrap();
        match self.end.streams.read(id) {
            Ok(Read::Chunk(data)) => {
                assert_eq!(data, content(id, of.read, data.len()), "{id} at {}", of.read);
                of.read += data.len() as u64;
                of.unreleased += data.len() as u64;
            }
            Ok(Read::Blocked) => {}
            Ok(Read::Finished) => {
                of.end_seen = Some(of.read);
                of.recv_done = true;
            }
            Err(ReadError::Reset(_)) => of.recv_done = true,
            Err(error) => panic!("{id}: {error:?}"),
        }
    }

    fn act(&mut self, rng: &mut Rng) {
        self.take_events();
        if rng.one_in(6) {
            let dir = Dir::ALL[rng.range(0..2) as usize];
            if let Some(id) = self.end.streams.open(dir) {
                self.new_use(id);
            }
        }
        let mut open: Vec<_> =
            self.uses.iter().filter(|(_, of)| !of.released).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        open.sort();
        let id = open[rng.range(0..open.len() as u64) as usize];
        let of = self.uses.get_mut(&id).unwrap();
        let streams = &mut self.end.streams;
        match rng.range(0..100) {
            0..40 if !of.send_done => {
                let len = rng.range(1..4000) as usize;
                match streams.write(id, content(id, of.written, len)) {
                    Ok(n) => of.written += n as u64,
                    Err(WriteError::Blocked) => {}
                    Err(error) => panic!("{id}: {error:?}"),
                }
            }
            40..46 if !of.send_done => {
                streams.finish(id).unwrap();
                (of.send_done, of.finished) = (true, true);
            }
            46..48 => {
                streams.reset(id, code(1));
                of.send_done = true;
            }
            48..50 => {
                streams.stop(id, code(2));
                (of.recv_done, of.stopped) = (true, true);
            }
            50..80 if !of.recv_done => self.read(id),
            80..92 => {
                let n = rng.range(0..of.unreleased + 1);
                streams.release_credit(id, n);
                of.unreleased -= n;
            }
            92..95 => {
                let urgency = rng.range(0..8) as u8;
                streams.set_priority(id, Priority { urgency, incremental: rng.one_in(2) });
            }
            95..98 if of.send_done && of.recv_done => {
                streams.release(id);
                of.released = true;
            }
            _ => {}
        }
    }

    /// Ends everything in an orderly way, as far as that is possible now.
    fn wind_up(&mut self) {
        self.take_events();
        let mut ids: Vec<_> = self.uses.keys().copied().collect();
        ids.sort();
        for id in ids {
            let of = self.uses.get_mut(&id).unwrap();
            if of.released {
                continue;
            }
            if !of.send_done {
                self.end.streams.finish(id).unwrap();
                (of.send_done, of.finished) = (true, true);
            }
            while !self.uses[&id].recv_done {
                let before = self.uses[&id].read;
                self.read(id);
                if self.uses[&id].read == before {
                    break;
                }
            }
            let of = self.uses.get_mut(&id).unwrap();
            self.end.streams.release_credit(id, std::mem::take(&mut of.unreleased));
            if of.recv_done && of.outcome.is_some() | !id.is_sendable_by(self.side) {
                self.end.streams.release(id);
                of.released = true;
            }
        }
    }

    fn send(&mut self, rng: &mut Rng) {
        let size = if rng.one_in(3) { rng.range(20..200) } else { 1200 };
        self.end.now += Duration::from_millis(rng.range(0..30));
        self.in_flight.extend(self.end.packet_of(size as usize));
    }

    /// Lets something happen to one packet of this end.
    fn network(&mut self, peer: &mut End, rng: &mut Rng) {
        if self.in_flight.is_empty() {
            return;
        }
        let packet = rng.range(0..self.in_flight.len() as u64) as usize;
        match rng.range(0..10) {
            0..2 => {
                let packet = self.in_flight.swap_remove(packet);
                self.end.lost(&packet);
            }
            2 => {
                // Thought to be lost, and arrives after all.
                let packet = self.in_flight.swap_remove(packet);
                self.end.lost(&packet);
                peer.receive(&packet).unwrap();
                self.to_acknowledge.push(packet);
            }
            3 => peer.receive(&self.in_flight[packet]).unwrap(),
            _ => {
                let packet = self.in_flight.swap_remove(packet);
                peer.receive(&packet).unwrap();
                self.to_acknowledge.push(packet);
            }
        }
        if rng.one_in(3) && !self.to_acknowledge.is_empty() {
            let packet = rng.range(0..self.to_acknowledge.len() as u64) as usize;
            let packet = self.to_acknowledge.swap_remove(packet);
            self.end.acked(&packet);
        }
    }

    fn flush(&mut self, peer: &mut End) {
        for packet in self.in_flight.drain(..) {
            peer.receive(&packet).unwrap();
            self.end.acked(&packet);
        }
        self.to_acknowledge.drain(..).for_each(|packet| self.end.acked(&packet));
    }

    fn is_done(&self) -> bool {
        let open = self.end.streams.audit().streams;
        open == 0 && self.uses.values().all(|of| of.released) && !self.end.has_pending()
    }
}

fn run(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = Rng::from_seed(bytes);
    let config = StreamConfig {
        initial_max_data: rng.range(500..20_000),
        initial_max_stream_data_bidi_local: rng.range(0..10_000),
        initial_max_stream_data_bidi_remote: rng.range(1..10_000),
        initial_max_stream_data_uni: rng.range(1..10_000),
        initial_max_streams_bidi: rng.range(0..6),
        initial_max_streams_uni: rng.range(0..6),
        max_stream_window: rng.range(10_000..40_000),
        max_connection_window: 60_000,
        receive_memory: 10_000_000,
        stream_send_window: rng.range(100..20_000),
        send_budget: rng.range(100..40_000),
    };
    // A window of nothing never moves: nothing can be consumed.
    let config = StreamConfig {
        initial_max_stream_data_bidi_local: config.initial_max_stream_data_bidi_local.max(1),
        ..config
    };
    let mut ends = [Side::Client, Side::Server].map(|side| Actor::new(side, &config));
    for _ in 0..STEPS {
        for _ in 0..2 {
            let [one, other] = &mut ends;
            one.act(&mut rng);
            if rng.one_in(2) {
                one.send(&mut rng);
            }
            one.network(&mut other.end, &mut rng);
            ends.swap(0, 1);
        }
    }
    let mut rounds = 0;
    while !ends.iter().all(Actor::is_done) {
        rounds += 1;
        assert!(rounds < 5_000, "stalled: {:?}", ends.map(|actor| actor.end.streams.audit()));
        for _ in 0..2 {
            let [one, other] = &mut ends;
            one.wind_up();
            one.end.now += Duration::from_millis(10);
            one.in_flight.extend(one.end.packet());
            one.flush(&mut other.end);
            ends.swap(0, 1);
        }
    }
    let [client, server] = ends;
    for (sender, receiver) in [(&client, &server), (&server, &client)] {
        for (id, of) in &sender.uses {
            let Some(theirs) = receiver.uses.get(id) else { continue };
            if let Some(end) = theirs.end_seen {
                assert!(of.finished && end == of.written, "{id} was cut short: {of:?} {theirs:?}");
            }
            assert!(theirs.read <= of.written);
            if of.outcome == Some(SendOutcome::Delivered) && !theirs.stopped {
                assert_eq!(theirs.end_seen, Some(of.written), "{id}");
            }
        }
    }
    Pair { client: client.end, server: server.end }.assert_all_returned();
}

struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with run({})", self.0);
        }
    }
}

#[test]
fn random_programs_deliver_every_byte_and_return_all_credit() {
    for seed in 0..300 {
        let _guard = PrintSeed(seed);
        run(seed);
    }
}
