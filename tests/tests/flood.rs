//! Peers that attack: whatever they send, memory and answers stay within bounds, and others are
//! served.

use std::time::Duration;

use quic_core::config::{EndpointConfig, TransportConfig};
use quic_core::stream::StreamAudit;
use quic_core::wire::cursor::Writer;
use quic_core::wire::frame::Frame;
use quic_core::wire::frame::{NewConnectionId, PathChallenge, RetireConnectionId};
use quic_core::wire::{Dir, PacketType, ResetToken, SpaceId, TransportErrorCode};
use quic_testkit::arena::{Arena, PeerId, cid, generous_parameters};
use quic_testkit::raw_peer::{RawPeer, encode};

const KIB: u64 = 1 << 10;
const MS: Duration = Duration::from_millis(1);
/// What a connection of these tests may hold of received data, with all that goes with it.
const MEMORY: usize = 512 << 10;
const WINDOW: u64 = 128 * KIB;

/// An endpoint whose connections have little memory, and a witness that must be served throughout.
fn arena() -> (Arena, PeerId) {
    let transport = TransportConfig::builder()
        .initial_stream_window(WINDOW)
        .max_stream_window(WINDOW)
        .initial_connection_window(WINDOW)
        .max_connection_window(WINDOW)
        .receive_memory(MEMORY)
        .max_bidi_streams(20)
        .max_uni_streams(20);
    let mut arena = Arena::new(transport);
    let witness = arena.connected_client();
    (arena, witness)
}

/// A raw client of which only the test hears what it is answered.
fn silent(arena: &mut Arena) -> PeerId {
    let id = arena.connected_client();
    arena.advance(100 * MS);
    arena.peer(id).acknowledges = false;
    id
}

fn audit(arena: &mut Arena, id: PeerId) -> StreamAudit {
    arena.connection(id).streams().audit()
}

fn ints(values: &[u64]) -> Vec<u8> {
    let mut buf = vec![0; 8 * values.len()];
    let mut writer = Writer::new(&mut buf);
    values.iter().for_each(|value| writer.varint(*value));
    let len = writer.position();
    buf.truncate(len);
    buf
}

fn stream_byte(id: u64, offset: u64) -> Vec<u8> {
    [ints(&[0x0e, id, offset, 1]), vec![b'x']].concat()
}

/// Datagrams and bytes that the endpoint sends in answer to what `act` does.
fn answers(arena: &mut Arena, id: PeerId, act: impl FnOnce(&mut Arena)) -> (usize, usize) {
    let before = arena.peer(id).received.len();
    act(arena);
    let after = &arena.peer(id).received[before..];
    let mut datagrams: Vec<_> = after.iter().map(|p| (p.datagram, p.datagram_len)).collect();
    datagrams.dedup();
    (datagrams.len(), datagrams.iter().map(|(_, len)| len).sum())
}

// ---- memory for received data

#[test]
fn tiny_fragments_with_gaps_do_not_take_more_memory_than_allowed() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    let fragments: Vec<_> = (0..WINDOW / 2).rev().map(|n| 2 * n + 1).collect();
    for packet in fragments.chunks(100) {
        let payload: Vec<u8> = packet.iter().flat_map(|offset| stream_byte(0, *offset)).collect();
        arena.send_frames(liar, &payload);
        if arena.closed(liar).is_some() {
            break;
        }
        let held = audit(&mut arena, liar).receive_memory;
        assert!(held <= MEMORY, "{held} bytes");
    }
    assert!(arena.is_alive(witness));
}

#[test]
fn fragments_on_many_streams_share_one_limit() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    for n in (0..WINDOW / 20 / 2).rev() {
        let payload: Vec<u8> = (0..20).flat_map(|id| stream_byte(4 * id, 2 * n + 1)).collect();
        arena.send_frames(liar, &payload);
        if arena.closed(liar).is_some() {
            break;
        }
        let held = audit(&mut arena, liar).receive_memory;
        assert!(held <= MEMORY, "{held} bytes");
    }
    assert!(arena.is_alive(witness));
}

// req-test 9000-7.5-112
#[test]
fn handshake_data_without_end_is_cut_off() {
    let (mut arena, witness) = arena();
    // After the handshake, and in the middle of it.
    let liar = silent(&mut arena);
    let in_handshake = arena.client_in_handshake();
    // It keeps its answer to itself.
    while arena.peer(in_handshake).poll_datagram().is_some() {}
    arena.peer(in_handshake).acknowledges = false;
    for (liar, ty) in [(liar, PacketType::OneRtt), (in_handshake, PacketType::Handshake)] {
        let mut sent = 0u64;
        // Never the first byte, so that TLS gets nothing to read.
        while arena.closed(liar).is_none() {
            let frame = [ints(&[0x06, 5_000 + sent, 1000]), vec![1; 1000]].concat();
            let datagram = arena.peer(liar).packet(ty).payload(&frame).datagram();
            arena.send(liar, &datagram);
            sent += 1000;
            assert!(sent < 1 << 20, "nobody stops it");
        }
        let closed = arena.closed(liar).expect("closed");
        assert_eq!(closed.transport_code(), Some(TransportErrorCode::CRYPTO_BUFFER_EXCEEDED));
    }
    assert!(arena.is_alive(witness));
}

#[test]
fn streams_opened_and_reset_at_once_are_bounded_by_the_stream_limit() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    for id in 0..1_000 {
        arena.send_frames(liar, &[stream_byte(4 * id, 0), ints(&[0x04, 4 * id, 0, 1])].concat());
        if arena.closed(liar).is_some() {
            break;
        }
        // Nobody has accepted them, so nothing comes back for a new one.
        assert!(audit(&mut arena, liar).streams <= 20);
    }
    let closed = arena.closed(liar).expect("closed at the limit");
    assert_eq!(closed.transport_code(), Some(TransportErrorCode::STREAM_LIMIT_ERROR));
    assert!(arena.is_alive(witness));
}

#[test]
fn streams_that_are_over_leave_nothing_behind() {
    let (mut arena, _) = arena();
    let id = arena.connected_client();
    for n in 0..2_000u64 {
        arena.send_frames(id, &[ints(&[0x0b, 4 * n, 1]), vec![b'x']].concat());
        let streams = arena.connection(id).streams();
        let stream = streams.accept(Dir::Bi).expect("a stream");
        streams.finish(stream).expect("open");
        while let Ok(quic_core::stream::Read::Chunk(chunk)) = streams.read(stream) {
            streams.release_credit(stream, chunk.len() as u64);
        }
        streams.release(stream);
        arena.pump();
        arena.advance(MS);
    }
    arena.advance(1_000 * MS);
    let left = audit(&mut arena, id);
    assert_eq!((left.streams, left.peer_streams_uncredited, left.send_buffered), (0, [0, 0], 0));
}

// ---- answers

#[test]
fn pings_and_empty_frames_at_line_rate_get_few_answers() {
    let (mut arena, witness) = arena();
    let empty_stream = ints(&[0x0a, 0, 0]);
    let blocked = ints(&[0x14, 5]);
    for payload in [vec![0x01], empty_stream, blocked, vec![0; 20]] {
        let liar = silent(&mut arena);
        let (datagrams, bytes) = answers(&mut arena, liar, |arena| {
            for n in 0..5_000 {
                arena.send_frames(liar, &payload);
                if n % 100 == 0 {
                    arena.advance(MS);
                }
            }
        });
        assert!(datagrams <= 2_600, "{datagrams} datagrams");
        assert!(bytes <= 5_000 * 40, "{bytes} bytes");
    }
    assert!(arena.is_alive(witness));
}

// req-test 9000-21.9-497
#[test]
fn a_peer_that_does_nothing_but_ping_is_closed_in_the_end() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    for _ in 0..10_000 {
        arena.send_frames(liar, &[0x01]);
    }
    let closed = arena.closed(liar).expect("closed");
    assert_eq!(closed.transport_code(), Some(TransportErrorCode::PROTOCOL_VIOLATION));
    assert!(arena.is_alive(witness));
    // One every ten milliseconds is a keep-alive, however odd.
    let eager = silent(&mut arena);
    for _ in 0..6_000 {
        arena.send_frames(eager, &[0x01]);
        arena.advance(10 * MS);
    }
    assert_eq!(arena.closed(eager), None);
}

#[test]
fn gaps_in_packet_numbers_do_not_make_acknowledgements_grow() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    for n in 0..10_000 {
        let packet = arena.peer(liar).packet(PacketType::OneRtt).number(1_000 + 2 * n);
        let datagram = packet.payload(&[0x01]).datagram();
        arena.send(liar, &datagram);
    }
    for packet in &arena.peer(liar).received {
        for frame in packet.frames() {
            let Frame::Ack(ack) = frame else { continue };
            assert!(ack.size() <= 256, "{} bytes", ack.size());
        }
    }
    // Who sends nothing but PINGs, and so many of them, may also have been shown the door.
    let last = 1_000 + 2 * 9_999;
    assert!(arena.peer(liar).is_acknowledged(SpaceId::Data, last) || arena.closed(liar).is_some());
    assert!(arena.is_alive(witness));
}

#[test]
fn a_flood_of_path_challenges_gets_few_answers() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    let (datagrams, _) = answers(&mut arena, liar, |arena| {
        for n in 0..500u64 {
            let challenges: Vec<_> = (0..100)
                .map(|k| Frame::PathChallenge(PathChallenge { data: (100 * n + k).to_be_bytes() }))
                .collect();
            arena.send_frames(liar, &encode(&challenges));
        }
    });
    assert!(datagrams <= 500, "{datagrams}");
    let responses = arena.peer(liar).frames(PacketType::OneRtt, |frame| match frame {
        Frame::PathResponse(_) => Some(()),
        _ => None,
    });
    assert!(responses.len() <= 500 * 10, "{}", responses.len());
    assert!(arena.is_alive(witness));
}

#[test]
fn a_peer_that_never_confirms_retirements_is_cut_off() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    let mut sequence_number = 1;
    while arena.closed(liar).is_none() {
        let frame = NewConnectionId {
            sequence_number,
            retire_prior_to: sequence_number,
            connection_id: cid(&sequence_number.to_be_bytes()),
            stateless_reset_token: ResetToken::new([sequence_number as u8; 16]),
        };
        // Receives under all of its IDs: it only does not acknowledge.
        arena.peer(liar).local_cid = frame.connection_id;
        arena.send_frames(liar, &encode(&[Frame::NewConnectionId(frame)]));
        sequence_number += 1;
        assert!(sequence_number < 1_000, "nobody stops it");
    }
    let closed = arena.closed(liar).expect("closed");
    assert_eq!(closed.transport_code(), Some(TransportErrorCode::CONNECTION_ID_LIMIT_ERROR));
    assert!(arena.is_alive(witness));
}

#[test]
fn retiring_connection_ids_all_the_time_gets_one_new_one_each() {
    let (mut arena, witness) = arena();
    let liar = arena.connected_client();
    let (_, bytes) = answers(&mut arena, liar, |arena| {
        for sequence_number in 1..2_000 {
            let retire = RetireConnectionId { sequence_number };
            arena.send_frames(liar, &encode(&[Frame::RetireConnectionId(retire)]));
        }
    });
    assert!(bytes < 2_000 * 120, "{bytes}");
    assert!(arena.is_alive(witness));
}

#[test]
fn junk_behind_valid_headers_gets_no_answer() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    let dcid = arena.peer(liar).remote_cid;
    let (datagrams, _) = answers(&mut arena, liar, |arena| {
        for n in 0..20_000u32 {
            let junk = [vec![0x40 | (n as u8 & 0x3f)], dcid.as_slice().to_vec(), vec![n as u8; 40]];
            arena.send(liar, &junk.concat());
        }
    });
    assert_eq!(datagrams, 0);
    assert_eq!(arena.closed(liar), None);
    let dropped = arena.connection(liar).stats().packets_dropped.total();
    assert!(dropped >= 20_000, "{dropped}");
    assert!(arena.is_alive(witness) && arena.is_alive(liar));
}

// req-test 9000-10.2.1-231
#[test]
fn a_closed_connection_answers_a_flood_ever_more_rarely() {
    let (mut arena, witness) = arena();
    let liar = silent(&mut arena);
    let now = arena.now;
    arena.connection(liar).close(now, 1u32.into(), "".into());
    let (datagrams, _) = answers(&mut arena, liar, |arena| {
        for _ in 0..10_000 {
            let ping = arena.peer(liar).one_rtt(&[0x01]);
            arena.send(liar, &ping);
        }
    });
    assert!((2..=20).contains(&datagrams), "{datagrams}");
    assert!(arena.is_alive(witness));
}

// ---- strangers

#[test]
fn a_flood_of_first_packets_is_bounded_before_anyone_is_accepted() {
    const WAITING: usize = 50;
    const BYTES: usize = 100_000;
    let endpoint = EndpointConfig::builder()
        .max_incoming(WAITING)
        .max_incoming_bytes(BYTES)
        .stateless_rate(20);
    let mut arena = Arena::with_endpoint(TransportConfig::builder(), endpoint);
    let witness = arena.connected_client();
    arena.host.accepts = false;
    let mut answered = 0;
    for _ in 0..1_000 {
        let mut stranger = RawPeer::client(&mut arena.rng, generous_parameters());
        let hello = stranger.poll_datagram().expect("a first flight");
        let id = arena.add_client(stranger);
        arena.hand_over(id, &hello);
        answered += arena.transmit().len();
        assert!(arena.host.endpoint.incoming_count() <= WAITING);
        assert!(arena.host.endpoint.incoming_bytes() <= BYTES);
    }
    assert!(answered <= 40, "{answered} answers at one moment");
    assert!(arena.is_alive(witness));
    // Those who wait are forgotten after a while.
    arena.advance(Duration::from_secs(60));
    assert_eq!(arena.host.endpoint.incoming_count(), 0);
}

#[test]
fn packets_of_unknown_connections_get_few_answers() {
    let endpoint = EndpointConfig::builder().stateless_rate(20);
    let mut arena = Arena::with_endpoint(TransportConfig::builder(), endpoint);
    let witness = arena.connected_client();
    let stranger = RawPeer::client(&mut arena.rng, generous_parameters());
    let id = arena.add_client(stranger);
    let mut answered = 0;
    for n in 0..10_000u32 {
        let packet = [&[0x41], &n.to_be_bytes()[..], &[7; 300]].concat();
        arena.hand_over(id, &packet);
        answered += arena.transmit().len();
        if n % 10 == 0 {
            arena.now += MS;
        }
    }
    // One second has passed.
    assert!((10..=50).contains(&answered), "{answered}");
    assert!(arena.is_alive(witness));
}
