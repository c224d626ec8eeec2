//! Networks that lose, reorder, repeat and damage datagrams, and what must hold all the same.

use std::collections::BTreeMap;

use super::super::recv::Opened;
use super::super::sent_frame::SentFrame;
use super::*;
use crate::buffer::{Occupancy, SlabRing};
use crate::path::Ecn;
use crate::wire::Side;

/// What becomes of a datagram.
#[derive(Clone, Debug)]
enum Fate {
    Arrives(Duration),
    Lost,
    Repeated(Duration, Duration),
    Damaged(Duration, usize),
}

const DELAY: Duration = Duration::from_millis(10);

/// A datagram on its way.
struct Flying {
    to: Side,
    bytes: Vec<u8>,
    ecn: Option<Ecn>,
}

/// Two connections with a network between them whose every datagram has its own fate.
struct Storm<F> {
    two: Two,
    fate: F,
    flying: BTreeMap<(Instant, u64), Flying>,
    sent: u64,
}

impl<F: FnMut(Side, u64, &[u8]) -> Fate> Storm<F> {
    fn new(fate: F) -> Self {
        Self { two: Two::new(), fate, flying: BTreeMap::new(), sent: 0 }
    }

    fn send_all(&mut self) {
        let now = self.two.now;
        let mut buf = Vec::new();
        for (side, connection) in
            [(Side::Client, Some(&mut self.two.client)), (Side::Server, self.two.server.as_mut())]
        {
            let Some(connection) = connection else { continue };
            while let Some(transmit) = connection.poll_transmit(now, &mut buf, 64) {
                assert!(transmit.len > 0, "nothing is no datagram");
                let size = transmit.segment_size.unwrap_or(transmit.len);
                for bytes in buf[..transmit.len].chunks(size) {
                    self.sent += 1;
                    let mut fly = |delay, bytes: Vec<u8>, salt: u64| {
                        let flying = Flying { to: !side, bytes, ecn: transmit.ecn };
                        self.flying.insert((now + delay, self.sent * 2 + salt), flying);
                    };
                    match (self.fate)(side, self.sent, bytes) {
                        Fate::Lost => {}
                        Fate::Arrives(delay) => fly(delay, bytes.to_vec(), 0),
                        Fate::Repeated(one, other) => {
                            fly(one, bytes.to_vec(), 0);
                            fly(other, bytes.to_vec(), 1);
                        }
                        Fate::Damaged(delay, at) => {
                            let mut bytes = bytes.to_vec();
                            let at = at.clamp(60, bytes.len().max(61) - 1) % bytes.len();
                            bytes[at] ^= 0x55;
                            fly(delay, bytes, 0);
                        }
                    }
                }
            }
        }
    }

    /// To the next arrival or deadline; false if there is neither.
    fn step(&mut self) -> bool {
        self.send_all();
        let server = self.two.server.as_ref().and_then(Connection::timeout);
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let next = [arrival, self.two.client.timeout(), server].into_iter().flatten().min();
        let Some(next) = next else { return false };
        self.two.now = self.two.now.max(next);
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.two.now
        {
            let Flying { to, bytes, ecn } = entry.remove();
            self.deliver(to, &bytes, ecn);
        }
        let now = self.two.now;
        self.two.client.handle_timeout(now);
        if let Some(server) = &mut self.two.server {
            server.handle_timeout(now);
        }
        true
    }

    fn deliver(&mut self, to: Side, bytes: &[u8], ecn: Option<Ecn>) {
        let from: SocketAddr = if to == Side::Server { CLIENT.into() } else { SERVER.into() };
        let meta = DatagramMeta { ecn, ..DatagramMeta::new(from) };
        let now = self.two.now;
        let connection = match to {
            Side::Client => &mut self.two.client,
            Side::Server => match self.two.accept(bytes) {
                Some(server) => server,
                None => return,
            },
        };
        connection.recv(now, &meta, Train::single(&mut bytes.to_vec()));
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Two) -> bool) {
        for _ in 0..200_000 {
            if done(&mut self.two) {
                return;
            }
            if !self.step() {
                let client = self.two.client.close_reason();
                let server = self.two.server.as_ref().and_then(Connection::close_reason);
                panic!("{what}: both are gone, {client:?} and {server:?}");
            }
        }
        panic!("{what}: spins");
    }
}

fn is_confirmed(two: &mut Two) -> bool {
    two.client.is_confirmed() && two.server.as_ref().is_some_and(Connection::is_confirmed)
}

fn reliable(_: Side, _: u64, _: &[u8]) -> Fate {
    Fate::Arrives(DELAY)
}

/// Sends `len` bytes from one end to the other and reads them there.
#[derive(Default)]
struct Transfer {
    id: Option<crate::wire::StreamId>,
    written: usize,
    read: usize,
    finished: bool,
}

impl Transfer {
    fn drive(&mut self, from: &mut Connection, to: &mut Connection, len: usize) -> bool {
        let byte = |at: usize| (at % 251) as u8;
        if self.id.is_none() {
            self.id = from.streams().open(Dir::Bi);
        }
        let Some(id) = self.id else { return false };
        while self.written < len {
            let end = len.min(self.written + 10_000);
            let chunk: Vec<u8> = (self.written..end).map(byte).collect();
            match from.streams().write(id, chunk.into()) {
                Ok(n) => self.written += n,
                Err(_) => break,
            }
            if self.written == len {
                from.streams().finish(id).unwrap();
            }
        }
        while to.streams().accept(Dir::Bi).is_some() {}
        while let Ok(read) = to.streams().read(id) {
            match read {
                Read::Chunk(chunk) => {
                    for (at, got) in chunk.iter().enumerate() {
                        assert_eq!(*got, byte(self.read + at));
                    }
                    self.read += chunk.len();
                    to.streams().release_credit(id, chunk.len() as u64);
                }
                Read::Blocked => break,
                Read::Finished => {
                    self.finished = true;
                    break;
                }
            }
        }
        self.finished && self.read == len
    }
}

#[test]
fn marks_for_ecn_pass_validation_on_a_path_that_keeps_them() {
    let mut storm = Storm::new(reliable);
    storm.run_until("handshake", is_confirmed);
    let mut transfer = Transfer::default();
    storm.run_until("transfer", |two| {
        let server = two.server.as_mut().unwrap();
        transfer.drive(&mut two.client, server, 500_000)
    });
    assert!(storm.two.client.path.recovery.ecn.is_capable());
}

#[test]
fn a_handshake_survives_the_loss_of_any_one_datagram() {
    for lost in 1..12 {
        let mut storm = Storm::new(|_, n, _: &[u8]| match n == lost {
            true => Fate::Lost,
            false => Fate::Arrives(DELAY),
        });
        let start = storm.two.now;
        storm.run_until("handshake", is_confirmed);
        let took = storm.two.now - start;
        assert!(took < Duration::from_secs(3), "{took:?} without datagram {lost}");
    }
}

#[test]
fn a_flight_of_a_server_that_is_lost_as_a_whole_is_repeated_as_a_whole() {
    let mut first_flight = true;
    let start_of_flight = std::cell::Cell::new(None);
    let mut storm = Storm::new(|from, n, _: &[u8]| {
        if from == Side::Server {
            let begun = *start_of_flight.get().get_or_insert(n);
            start_of_flight.set(Some(begun));
            if first_flight && n <= begun + 2 {
                return Fate::Lost;
            }
            first_flight = false;
        }
        Fate::Arrives(DELAY)
    });
    let start = storm.two.now;
    storm.run_until("handshake", is_confirmed);
    let took = storm.two.now - start;
    assert!(took < Duration::from_millis(1500), "one probe timeout and a round trip: {took:?}");
}

#[test]
fn either_probe_of_a_handshake_is_enough() {
    let took = [2, 3].map(|lost_probe| {
        // The first flight of the client is lost, then one of a pair of probes.
        let sent = std::cell::Cell::new(0);
        let mut storm = Storm::new(|from, _, _: &[u8]| {
            if from == Side::Server {
                return Fate::Arrives(DELAY);
            }
            sent.set(sent.get() + 1);
            match sent.get() {
                1 => Fate::Lost,
                number if number == lost_probe => Fate::Lost,
                _ => Fate::Arrives(DELAY),
            }
        });
        let start = storm.two.now;
        storm.run_until("handshake", is_confirmed);
        storm.two.now - start
    });
    // Without the CRYPTO data in the second one, it takes another round trip to find out.
    assert_eq!(took[0], took[1]);
}

// req-test 9002-6.2.3-037
#[test]
fn a_peer_that_repeats_itself_gets_the_answer_without_waiting_for_a_timeout() {
    // The first answer of the server is lost, then the first repetition by its timer.
    let answers = std::cell::Cell::new(0);
    let mut storm = Storm::new(|from, _, _: &[u8]| {
        if from == Side::Server {
            answers.set(answers.get() + 1);
            if answers.get() <= 1 {
                return Fate::Lost;
            }
        }
        Fate::Arrives(DELAY)
    });
    let start = storm.two.now;
    storm.run_until("handshake", is_confirmed);
    let took = storm.two.now - start;
    // The client's timer, then one and a half round trips.
    let expected = Duration::from_millis(999) + DELAY * 4;
    assert!(took <= expected + DELAY, "{took:?}");
}

#[test]
fn everything_arrives_over_networks_of_every_kind() {
    for seed in 0..60u8 {
        let mut rng = Rng::from_seed([seed; 32]);
        let loss = rng.range(0..25);
        let mut storm = Storm::new(|_, _, _: &[u8]| {
            let delay = DELAY + Duration::from_micros(rng.range(0..20_000));
            match rng.range(0..100) {
                n if n < loss => Fate::Lost,
                n if n < loss + 3 => Fate::Damaged(delay, rng.range(0..1500) as usize),
                n if n < loss + 8 => Fate::Repeated(delay, delay * 2),
                _ => Fate::Arrives(delay),
            }
        });
        let (mut up, mut down) = (Transfer::default(), Transfer::default());
        storm.run_until(&format!("seed {seed}"), |two| {
            let Some(server) = &mut two.server else { return false };
            if let Some(reason) = two.client.close_reason().or(server.close_reason()) {
                panic!("seed {seed}, loss {loss}: {reason}");
            }
            up.drive(&mut two.client, server, 300_000)
                & down.drive(server, &mut two.client, 300_000)
        });
    }
}

#[test]
fn a_train_in_which_marking_ends_is_marked_or_not_as_a_whole() {
    let mut storm = Storm::new(reliable);
    storm.run_until("handshake", is_confirmed);
    let transfer = |storm: &mut Storm<_>| {
        let mut transfer = Transfer::default();
        storm.run_until("transfer", |two| {
            let server = two.server.as_mut().unwrap();
            transfer.drive(&mut two.client, server, 100_000)
        });
    };
    // The window is larger than what is marked for a test of the path.
    transfer(&mut storm);
    storm.two.client.path.recovery.ecn = crate::recovery::EcnValidator::new();
    transfer(&mut storm);
    assert!(storm.two.client.path.recovery.ecn.is_capable());
}

#[test]
fn an_acknowledged_ack_frame_settles_packets_of_its_own_space_only() {
    let mut two = Two::new();
    two.run(5);
    let now = two.now;
    let data = two.client.space_mut(SpaceId::Data).unwrap();
    data.received.insert(now, PacketNumber::new(100), true);
    let largest = PacketNumber::new(60);
    two.client.on_frame_acked(SentFrame::Ack { space: SpaceId::Handshake, largest });
    let data = two.client.space(SpaceId::Data).unwrap();
    assert!(!data.received.is_duplicate(PacketNumber::new(50)), "it is only late");
}

#[test]
fn a_peer_that_acknowledges_nothing_gets_a_bounded_number_of_acknowledgements() {
    let mut two = Two::new();
    two.run(5);
    let server = two.server.as_mut().unwrap();
    server.ping();
    let mut buf = Vec::new();
    let mut sent = 0;
    for _ in 0..100_000 {
        let data = server.space_mut(SpaceId::Data).unwrap();
        let next = data.received.largest().unwrap().next().unwrap();
        data.on_packet_processed(two.now, next, true, None);
        while server.poll_transmit(two.now, &mut buf, 1).is_some() {
            sent += 1;
        }
    }
    assert!(sent < 40_000, "{sent} packets are remembered");
}

#[test]
fn a_crumb_of_a_large_datagram_does_not_keep_it_in_memory() {
    for (padding, kept) in [(0, true), (30_000, false)] {
        let mut two = Two::new();
        two.run(5);
        let mut bytes = vec![0x0a, 0x00, 0x42, 0x58];
        bytes.resize(4 + 600 + padding, 0);
        let mut ring = SlabRing::new(bytes.len(), 1, Occupancy::default());
        let mut slab = ring.checkout();
        slab.begin().unwrap().copy_from_slice(&bytes);
        let len = bytes.len();
        let train = Train::new(&mut slab, len, len);
        let payload = train.bytes();
        let packet = Opened {
            space: SpaceId::Data,
            packet_type: PacketType::OneRtt,
            version: crate::wire::Version::V1,
            packet_number: PacketNumber::new(1000),
            dcid: ConnectionId::EMPTY,
            datagram_size: payload.len(),
            from: DatagramMeta::new(CLIENT.into()),
            key_generation: 0,
            payload,
        };
        let server = two.server.as_mut().unwrap();
        server.process_payload(two.now, &packet, &mut train.lender()).unwrap();
        assert_eq!(ring.occupancy().free() == 0, kept, "{padding} bytes of padding");
    }
}

#[test]
fn packets_that_wait_for_keys_take_little_memory_however_large_they_are() {
    let mut two = Two::new();
    datagrams(&mut two.client, two.now);
    let mut junk = vec![0x40; 60_000];
    junk[1..9].copy_from_slice(two.client.local_ids.initial().as_slice());
    for _ in 0..100 {
        let meta = DatagramMeta::new(SERVER.into());
        two.client.recv(two.now, &meta, Train::single(&mut junk.clone()));
    }
    let kept: usize = two.client.undecryptable.iter().map(|(.., packet)| packet.len()).sum();
    assert!(kept <= 16 * 1024, "{kept} bytes");
}

#[test]
fn timeouts_beyond_the_end_of_time_never_expire() {
    let mut two = Two::new();
    let config = TransportConfig::builder()
        .max_idle_timeout(Some(Duration::MAX))
        .handshake_timeout(Duration::MAX)
        .build()
        .unwrap();
    two.client.config = Arc::new(config);
    two.run(5);
    assert!(two.client.is_confirmed());
    two.client.timeout();
}

#[test]
fn the_first_close_names_the_reason() {
    let mut two = Two::new();
    two.run(5);
    two.client.close(two.now, 7u32.into(), Bytes::from_static(b"the first"));
    two.client.close(two.now, 8u32.into(), Bytes::from_static(b"the second"));
    two.step();
    let reason = two.server.as_ref().unwrap().close_reason().unwrap().to_string();
    assert!(reason.contains("the first"), "{reason}");
}

// req-test 9000-4.1-025
#[test]
fn a_connection_on_which_only_flow_control_holds_data_back_is_not_idle() {
    let mut storm = Storm::new(reliable);
    storm.run_until("handshake", is_confirmed);
    let id = storm.two.client.streams().open(Dir::Uni).unwrap();
    storm.two.client.streams().write(id, vec![0; 4 << 20].into()).unwrap();
    let end = storm.two.now + Duration::from_secs(120);
    storm.run_until("two minutes without a reader", |two| two.now > end);
    assert!(!storm.two.client.is_closed() && !storm.two.server.unwrap().is_closed());
}

#[test]
fn a_connection_with_nothing_to_send_is_idle() {
    let mut storm = Storm::new(reliable);
    storm.run_until("handshake", is_confirmed);
    let end = storm.two.now + Duration::from_secs(40);
    storm.run_until("idle timeout", |two| two.client.is_closed());
    assert!(storm.two.now < end);
}

#[test]
fn a_close_at_any_moment_ends_both_sides() {
    for side in [Side::Client, Side::Server] {
        for steps in 0..30 {
            let mut storm = Storm::new(reliable);
            let mut transfer = Transfer::default();
            for _ in 0..steps {
                if let Some(server) = &mut storm.two.server {
                    transfer.drive(&mut storm.two.client, server, 1 << 20);
                }
                storm.step();
            }
            let now = storm.two.now;
            let closing = match side {
                Side::Client => Some(&mut storm.two.client),
                Side::Server => storm.two.server.as_mut(),
            };
            let Some(closing) = closing else { continue };
            closing.close(now, 7u32.into(), Bytes::from(vec![b'x'; 3000]));
            storm.run_until(&format!("{side:?} closes after {steps} steps"), |two| {
                let server = two.server.as_ref();
                two.client.is_drained() && server.is_none_or(Connection::is_drained)
            });
            let other = match side {
                Side::Client => storm.two.server.as_ref(),
                Side::Server => Some(&storm.two.client),
            };
            if let Some(other) = other {
                let reason = other.close_reason().unwrap().to_string();
                assert!(!reason.contains("timed out"), "{side:?} after {steps} steps: {reason}");
            }
        }
    }
}

/// Opens, writes, reads, finishes, resets, stops and releases streams at random.
fn fumble(rng: &mut Rng, ids: &mut Vec<crate::wire::StreamId>, connection: &mut Connection) {
    let streams = connection.streams();
    while streams.poll_event().is_some() {}
    for dir in Dir::ALL {
        if rng.range(0..8) == 0 {
            ids.extend(streams.open(dir));
        }
        ids.extend(std::iter::from_fn(|| streams.accept(dir)));
    }
    for at in (0..ids.len()).rev() {
        let id = ids[at];
        match rng.range(0..40) {
            0 => streams.reset(id, 1u32.into()),
            1 => streams.stop(id, 2u32.into()),
            2 => drop(streams.finish(id)),
            3 => {
                streams.release(id);
                ids.swap_remove(at);
            }
            4..12 => drop(streams.write(id, vec![7; rng.range(0..40_000) as usize].into())),
            12..30 => {
                while let Ok(Read::Chunk(chunk)) = streams.read(id) {
                    streams.release_credit(id, chunk.len() as u64);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn streams_used_at_random_over_bad_networks_give_everything_back() {
    for seed in 0..40u8 {
        let mut network = Rng::from_seed([seed; 32]);
        let mut rng = Rng::from_seed([seed + 100; 32]);
        let loss = network.range(0..15);
        let mut storm = Storm::new(|_, _, _: &[u8]| {
            let delay = DELAY + Duration::from_micros(network.range(0..20_000));
            match network.range(0..100) {
                n if n < loss => Fate::Lost,
                n if n < loss + 5 => Fate::Repeated(delay, delay * 2),
                _ => Fate::Arrives(delay),
            }
        });
        storm.run_until("handshake", is_confirmed);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut rounds = 0;
        storm.run_until(&format!("seed {seed}"), |two| {
            fumble(&mut rng, &mut ours, &mut two.client);
            fumble(&mut rng, &mut theirs, two.server.as_mut().unwrap());
            // Also when all streams happen to be over.
            two.client.ping();
            rounds += 1;
            rounds > 400
        });
        storm.run_until(&format!("seed {seed}, tidying up"), |two| {
            let server = two.server.as_mut().unwrap();
            let mut tidy = true;
            for (connection, ids) in [(&mut two.client, &mut ours), (server, &mut theirs)] {
                assert!(!connection.is_closed(), "{seed}: {:?}", connection.close_reason());
                let streams = connection.streams();
                for dir in Dir::ALL {
                    ids.extend(std::iter::from_fn(|| streams.accept(dir)));
                }
                ids.drain(..).for_each(|id| streams.release(id));
                let audit = streams.audit();
                tidy &= audit.streams == 0
                    && audit.peer_streams_uncredited == [0, 0]
                    && audit.send_buffered == 0
                    && audit.receive_memory == 0
                    && audit.data_received == audit.data_returned;
            }
            tidy
        });
        let sent = storm.two.client.streams().audit().data_sent;
        let received = storm.two.server.as_mut().unwrap().streams().audit().data_received;
        assert_eq!(sent, received, "seed {seed}");
    }
}
