//! Datagrams that arrive together are processed as if they had come one by one, although those with
//! 1-RTT packets are all opened before the first of them is processed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quic_core::buffer::{Occupancy, SlabRing};
use quic_core::config::TransportConfig;
use quic_core::observe::{Observer, Recorder};
use quic_core::stream::Read;
use quic_core::wire::frame::{self, Frame};
use quic_core::wire::{Dir, PacketType, ResetToken, Side, SpaceId, StreamId, TransportParameters};
use quic_core::{DatagramMeta, Train};
use quic_testkit::raw_peer::encode;
use quic_testkit::tls::Certificate;

use super::subject::{PEER, Subject, generous};

/// Bytes of the frames of each packet, padding included.
const PAYLOAD: usize = 1000;

/// What a connection made of the datagrams of a story.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<String>,
    /// What its first stream brought.
    data: Vec<u8>,
    received: u64,
    dropped: u64,
    /// What it answers, by type and frames.
    answers: Vec<String>,
}

/// How datagrams reach the connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrival {
    OneByOne,
    Train,
    /// In memory that can be lent.
    LendableTrain,
}

fn recorded(record: &Recorder) -> quic_core::config::TransportConfigBuilder {
    let record = record.clone();
    TransportConfig::builder().observer(std::sync::Arc::new(move |_: &_| {
        Some(Box::new(record.clone()) as Box<dyn Observer>)
    }))
}

fn server(record: &Recorder) -> Subject {
    let mut subject = Subject::server(recorded(record), Certificate::Small);
    subject.pump();
    assert!(subject.connection.is_confirmed());
    subject
}

fn client(record: &Recorder, params: TransportParameters) -> Subject {
    let mut subject = Subject::client(recorded(record), params);
    subject.pump();
    subject.send_frames(&[0x1e]);
    assert!(subject.connection.is_confirmed());
    subject
}

fn play(
    arrival: Arrival,
    subject: impl Fn(&Recorder) -> Subject,
    story: impl Fn(&mut Subject) -> Vec<Vec<u8>>,
) -> Outcome {
    let record = Recorder::new("", Instant::now(), 100_000);
    let mut subject = subject(&record);
    let datagrams = story(&mut subject);
    let stride = datagrams[0].len();
    let (_, rest) = datagrams.split_last().expect("a story");
    assert!(rest.iter().all(|datagram| datagram.len() == stride), "no train");
    let known = record.lines().len();
    let before = subject.connection.stats();
    let occupancy = Occupancy::default();
    match arrival {
        Arrival::OneByOne => datagrams.iter().for_each(|datagram| subject.hand_over(datagram)),
        Arrival::Train => {
            let meta = DatagramMeta::new(PEER.into());
            let train = &mut datagrams.concat();
            subject.connection.recv(subject.now, &meta, Train::unlent(train, stride));
        }
        Arrival::LendableTrain => {
            let meta = DatagramMeta::new(PEER.into());
            let train = datagrams.concat();
            let mut slab = SlabRing::new(train.len(), 1, occupancy.clone()).checkout();
            slab.begin().expect("it is new").copy_from_slice(&train);
            let train = Train::new(&mut slab, train.len(), stride);
            subject.connection.recv(subject.now, &meta, train);
        }
    }
    let time_and_label = 19;
    let events = record.lines().split_off(known);
    let events = events.iter().map(|line| line[time_and_label..].to_owned()).collect();
    let data = read(&mut subject);
    assert_eq!(occupancy.free(), occupancy.total(), "memory that nobody reads");
    let stats = subject.connection.stats();
    let from = subject.peer.received.len();
    subject.transmit();
    let answers = subject.peer.received[from..].iter();
    let answers =
        answers.map(|packet| format!("{} {:?}", packet.ty, packet.frames().collect::<Vec<_>>()));
    Outcome {
        events,
        data,
        received: stats.packets_received - before.packets_received,
        dropped: stats.packets_dropped.total() - before.packets_dropped.total(),
        answers: answers.collect(),
    }
}

/// Everything that the first stream of the peer brings.
fn read(subject: &mut Subject) -> Vec<u8> {
    let streams = subject.connection.streams();
    let Some(id) = streams.accept(Dir::Uni) else { return Vec::new() };
    let mut data = Vec::new();
    while let Ok(Read::Chunk(chunk)) = streams.read(id) {
        data.extend_from_slice(&chunk);
    }
    data
}

/// Plays the story in each way and compares what came of it; `check` says whether it was the story
/// that was meant.
fn same(
    subject: impl Fn(&Recorder) -> Subject,
    story: impl Fn(&mut Subject) -> Vec<Vec<u8>>,
    check: impl Fn(&Outcome) -> bool,
) {
    let expected = play(Arrival::OneByOne, &subject, &story);
    assert!(check(&expected), "another story: {expected:#?}");
    for arrival in [Arrival::Train, Arrival::LendableTrain] {
        let outcome = play(arrival, &subject, &story);
        for (one, other) in outcome.events.iter().zip(&expected.events) {
            assert_eq!(one, other, "{arrival:?}");
        }
        assert_eq!(outcome, expected, "{arrival:?}");
    }
}

/// As many bytes of the peer's first stream as a packet takes, the `n`th of them.
fn stream(subject: &Subject, n: u64) -> Vec<u8> {
    let peer = match subject.connection.side() {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    let len = PAYLOAD as u64 - 20;
    let data: Vec<u8> = (n * len..(n + 1) * len).map(|at| (at % 251) as u8).collect();
    let stream_id = StreamId::new(peer, Dir::Uni, 0);
    let frame = frame::Stream { stream_id, offset: n * len, fin: false, data: &data };
    encode(&[Frame::Stream(frame)])
}

/// Frames, filled up.
fn filled(mut frames: Vec<u8>) -> Vec<u8> {
    frames.resize(PAYLOAD, 0);
    frames
}

fn packet(subject: &mut Subject, frames: Vec<u8>) -> Vec<u8> {
    subject.peer.one_rtt(&filled(frames))
}

fn data_packets(subject: &mut Subject, numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers
        .map(|n| {
            let frames = stream(subject, n);
            packet(subject, frames)
        })
        .collect()
}

#[test]
fn data_and_duplicates() {
    same(
        server,
        |subject| {
            let mut all = data_packets(subject, 0..6);
            all.insert(3, all[1].clone());
            all.push(all[4].clone());
            all.swap(4, 5);
            all
        },
        |outcome| outcome.data.len() == 6 * (PAYLOAD - 20) && outcome.dropped == 2,
    );
}

#[test]
fn more_datagrams_than_are_opened_together() {
    same(server, |subject| data_packets(subject, 0..150), |outcome| outcome.received >= 150);
}

#[test]
fn packet_numbers_that_are_only_known_from_those_before_in_the_train() {
    same(
        server,
        |subject| {
            let first = subject.peer.next_number(SpaceId::Data);
            (0..5)
                .map(|n| {
                    let frames = filled(stream(subject, n));
                    let packet = subject.peer.packet(PacketType::OneRtt).payload(&frames);
                    packet.number(first + 100 * n).number_len(1).datagram()
                })
                .collect()
        },
        |outcome| outcome.data.len() == 5 * (PAYLOAD - 20) && outcome.dropped == 0,
    );
}

#[test]
fn a_key_update_with_packets_that_it_overtakes() {
    same(
        server,
        |subject| {
            // So that the keys may be updated.
            subject.send_frames(&[1]);
            subject.advance(Duration::from_millis(30));
            let mut all = data_packets(subject, 0..3);
            subject.peer.update_keys(subject.now);
            all.extend(data_packets(subject, 3..6));
            all.swap(2, 3);
            all
        },
        |outcome| {
            outcome.data.len() == 6 * (PAYLOAD - 20)
                && outcome.events.iter().any(|event| event.starts_with("key_updated"))
        },
    );
}

#[test]
fn forged_and_broken_packets_in_between() {
    same(
        server,
        |subject| {
            let mut all = data_packets(subject, 0..6);
            *all[1].last_mut().expect("not empty") ^= 1;
            all[2].fill(0x40);
            all[4][0] &= !0x40;
            all[5].truncate(12);
            all
        },
        |outcome| outcome.dropped == 4 && outcome.data.len() == PAYLOAD - 20,
    );
}

#[test]
fn the_peer_closes_in_the_middle() {
    same(
        server,
        |subject| {
            let mut all = data_packets(subject, 0..2);
            all.push(packet(subject, vec![0x1c, 0, 0, 0]));
            all.extend(data_packets(subject, 2..4));
            all
        },
        |outcome| outcome.events.iter().any(|event| event.starts_with("connection_closed")),
    );
}

#[test]
fn a_violation_in_the_middle() {
    same(
        server,
        |subject| {
            let mut all = data_packets(subject, 0..2);
            // HANDSHAKE_DONE from a client.
            all.push(packet(subject, vec![0x1e]));
            all.extend(data_packets(subject, 2..4));
            all
        },
        |outcome| outcome.answers.iter().any(|answer| answer.contains("ConnectionClose")),
    );
}

// req-test 9000-10.3.1-256
#[test]
fn a_stateless_reset_in_the_middle() {
    let token = [5; 16];
    same(
        |record| {
            let token = Some(ResetToken::new(token));
            client(record, TransportParameters { stateless_reset_token: token, ..generous() })
        },
        |subject| {
            let mut all = data_packets(subject, 0..4);
            let reset = &mut all[2];
            let at = reset.len() - token.len();
            reset[12..at].fill(9);
            reset[at..].copy_from_slice(&token);
            all
        },
        |outcome| {
            let is_reset = |event: &String| event.contains("connection reset");
            outcome.received == 2 && outcome.events.iter().any(is_reset)
        },
    );
}

#[test]
fn a_long_header_between_data_that_readers_have() {
    same(
        server,
        |subject| {
            let mut all = data_packets(subject, 0..4);
            // Of a handshake that is over.
            all[1][0] = 0xe0;
            all[1][1..5].copy_from_slice(&[0, 0, 0, 1]);
            all
        },
        |outcome| outcome.received > 0 && outcome.dropped == 1,
    );
}

#[test]
fn slices_of_a_train_stay_as_they_are_whatever_comes_into_its_memory_next() {
    let mut subject = Subject::connected_server();
    let datagrams = data_packets(&mut subject, 0..4);
    let (stride, train) = (datagrams[0].len(), datagrams.concat());
    let mut ring = SlabRing::new(train.len(), 2, Occupancy::default());
    let mut slab = ring.checkout();
    slab.begin().expect("it is new").copy_from_slice(&train);
    let meta = DatagramMeta::new(PEER.into());
    subject.connection.recv(subject.now, &meta, Train::new(&mut slab, train.len(), stride));
    assert_eq!((ring.occupancy().total(), ring.occupancy().free()), (1, 0), "one lease for all");
    assert!(slab.begin().is_none());
    ring.renew(&mut slab);
    slab.begin().expect("another one").fill(0xff);
    let read: Vec<Bytes> = {
        let streams = subject.connection.streams();
        let id = streams.accept(Dir::Uni).expect("a stream");
        std::iter::from_fn(|| match streams.read(id) {
            Ok(Read::Chunk(chunk)) => Some(chunk),
            _ => None,
        })
        .collect()
    };
    assert!(read.concat().iter().zip(0_u64..).all(|(byte, at)| *byte == (at % 251) as u8));
    drop(subject);
    assert_eq!(ring.occupancy().free(), 1, "held by the chunks that were read");
    drop(read);
    assert_eq!(ring.occupancy().free(), 2);
}

#[test]
fn a_train_of_acknowledgements_is_not_lent() {
    let mut subject = Subject::connected_server();
    let ack = subject.peer.ack_frame(SpaceId::Data).expect("something was received");
    let datagrams: Vec<_> = (0..4).map(|_| subject.peer.one_rtt(&ack)).collect();
    let (stride, train) = (datagrams[0].len(), datagrams.concat());
    let mut ring = SlabRing::new(train.len(), 1, Occupancy::default());
    let mut slab = ring.checkout();
    slab.begin().expect("it is new").copy_from_slice(&train);
    let meta = DatagramMeta::new(PEER.into());
    subject.connection.recv(subject.now, &meta, Train::new(&mut slab, train.len(), stride));
    assert_eq!(ring.occupancy().free(), 1);
    assert!(slab.begin().is_some());
}

#[test]
fn a_small_train_is_copied_and_pins_nothing() {
    let mut subject = Subject::connected_server();
    let datagrams = data_packets(&mut subject, 0..2);
    let (stride, train) = (datagrams[0].len(), datagrams.concat());
    let mut ring = SlabRing::new(4 * train.len() + 1, 1, Occupancy::default());
    let mut slab = ring.checkout();
    slab.begin().expect("it is new")[..train.len()].copy_from_slice(&train);
    let meta = DatagramMeta::new(PEER.into());
    subject.connection.recv(subject.now, &meta, Train::new(&mut slab, train.len(), stride));
    assert_eq!(ring.occupancy().free(), 1);
    assert_eq!(read(&mut subject).len(), 2 * (PAYLOAD - 20));
}
