//! What an endpoint answers to single packets: acknowledgements, responses, connection IDs, and
//! what it must not answer at all.

use std::time::Duration;

use quic_core::config::TransportConfig;
use quic_core::error::ConnectionError;
use quic_core::stream::Read;
use quic_core::wire::frame::{
    Frame, NewConnectionId, PathChallenge, PathResponse, ResetStream, RetireConnectionId,
    StopSending,
};
use quic_core::wire::{
    ConnectionId, Dir, PacketType, ResetToken, SpaceId, StreamId, TransportParameters, Version,
};
use quic_testkit::arena::{Arena, PeerId, cid, generous_parameters};
use quic_testkit::net::Datagram;
use quic_testkit::raw_peer::{RawPeer, encode};

const PING: &[u8] = &[0x01];
const MS: Duration = Duration::from_millis(1);
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

fn arena() -> Arena {
    Arena::new(TransportConfig::builder().max_ack_delay(MAX_ACK_DELAY))
}

/// A connected raw client with which all conversation of the handshake is over.
fn quiet_client(arena: &mut Arena) -> PeerId {
    let id = arena.connected_client();
    arena.advance(100 * MS);
    id
}

fn received(arena: &mut Arena, id: PeerId) -> usize {
    arena.peer(id).received.len()
}

// ---- acknowledgements

// req-test 9000-13.2.1-306, 9000-13.2.1-307, 9000-13.2.6-326, 9000-13.2.6-327
#[test]
fn one_packet_is_acknowledged_within_the_delay_and_two_at_once() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let before = received(&mut arena, id);
    let number = arena.peer(id).next_number(SpaceId::Data);
    arena.send_frames(id, PING);
    assert_eq!(received(&mut arena, id), before, "it may wait for a second one");
    arena.advance(MAX_ACK_DELAY);
    assert!(arena.peer(id).is_acknowledged(SpaceId::Data, number));
    arena.send_frames(id, PING);
    arena.send_frames(id, PING);
    assert!(arena.peer(id).is_acknowledged(SpaceId::Data, number + 2));
}

// req-test 9000-13.2.1-307
#[test]
fn packets_of_the_handshake_are_acknowledged_at_once() {
    let mut arena = arena();
    let id = arena.client_in_handshake();
    assert!(arena.peer(id).is_acknowledged(SpaceId::Initial, 0));
    while arena.peer(id).poll_datagram().is_some() {}
    let number = arena.peer(id).next_number(SpaceId::Handshake);
    let datagram = arena.peer(id).packet(PacketType::Handshake).payload(PING).datagram();
    arena.send(id, &datagram);
    assert!(arena.peer(id).is_acknowledged(SpaceId::Handshake, number));
}

// req-test 9000-13.2.1-309, 9000-13.2.1-312
#[test]
fn acknowledgements_are_not_acknowledged() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let before = received(&mut arena, id);
    for _ in 0..100 {
        let ack = arena.peer(id).ack_frame(SpaceId::Data).expect("packets to acknowledge");
        // A gap in front of each: even that elicits nothing.
        let number = arena.peer(id).next_number(SpaceId::Data) + 1;
        let packet = arena.peer(id).packet(PacketType::OneRtt).number(number).payload(&ack);
        let datagram = packet.datagram();
        arena.send(id, &datagram);
        arena.advance(MS);
    }
    arena.advance(1000 * MS);
    assert_eq!(received(&mut arena, id), before);
}

// req-test 9000-13.2.1-308
#[test]
fn a_packet_elicits_at_most_one_acknowledgement() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    for gap in 1..20 {
        let before = received(&mut arena, id);
        let number = arena.peer(id).next_number(SpaceId::Data) + gap;
        let datagram =
            arena.peer(id).packet(PacketType::OneRtt).number(number).payload(PING).datagram();
        arena.send(id, &datagram);
        arena.advance(100 * MS);
        // Now and then a PING keeps the acknowledgements themselves bounded.
        assert!(received(&mut arena, id) - before <= 1);
    }
}

// req-test 9000-12.3-287, 9000-12.3-288
#[test]
fn a_packet_number_counts_once() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let with_number = |arena: &mut Arena, payload: &[u8]| {
        let packet = arena.peer(id).packet(PacketType::OneRtt).number(500).number_len(4);
        packet.payload(payload).datagram()
    };
    let first = with_number(&mut arena, PING);
    // Were it processed, this one would end the connection.
    let second = with_number(&mut arena, &[0x21, 0, 0, 0]);
    arena.send(id, &first);
    arena.send(id, &second);
    arena.send(id, &first);
    assert_eq!(arena.closed(id), None);
    // The same for a number from before the window of what is remembered.
    let far = arena.peer(id).packet(PacketType::OneRtt).number(100_000).number_len(4);
    let far = far.payload(PING).datagram();
    arena.send(id, &far);
    arena.send(id, &second);
    assert_eq!(arena.closed(id), None);
    assert!(arena.is_alive(id));
}

// req-test 9000-13.3-332
#[test]
fn handshake_done_is_repeated_until_it_is_acknowledged() {
    let mut arena = arena();
    let id = arena.client_in_handshake();
    arena.peer(id).acknowledges = false;
    arena.pump();
    let count = |arena: &mut Arena| {
        let is_done = |frame: Frame<'_>| matches!(frame, Frame::HandshakeDone).then_some(());
        arena.peer(id).frames(PacketType::OneRtt, is_done).len()
    };
    assert_eq!(count(&mut arena), 1);
    arena.advance(5_000 * MS);
    let repeated = count(&mut arena);
    assert!(repeated >= 2, "{repeated}");
    arena.peer(id).acknowledge(SpaceId::Data);
    arena.pump();
    arena.advance(5_000 * MS);
    assert_eq!(count(&mut arena), repeated);
}

// ---- coalesced packets

// req-test 9000-12.2-277, 9000-12.2-282, 9000-12.2-283
#[test]
fn a_packet_that_cannot_be_opened_does_not_harm_those_behind_it() {
    let mut arena = arena();
    let id = arena.client_in_handshake();
    while arena.peer(id).poll_datagram().is_some() {}
    let peer = arena.peer(id);
    let mut damaged = peer.packet(PacketType::Handshake).payload(&[1; 30]).seal();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let good = peer.packet(PacketType::Handshake).payload(&[1; 30]).seal();
    let number = peer.next_number(SpaceId::Handshake) - 1;
    arena.send(id, &[damaged, good, vec![0x40; 50]].concat());
    assert!(arena.peer(id).is_acknowledged(SpaceId::Handshake, number));
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Handshake, number - 1));
}

// req-test 9000-12.2-281
#[test]
fn coalesced_packets_for_another_connection_are_ignored() {
    let mut arena = arena();
    let id = arena.client_in_handshake();
    while arena.peer(id).poll_datagram().is_some() {}
    let peer = arena.peer(id);
    let original = peer.original_dcid;
    let first = peer.packet(PacketType::Handshake).payload(&[1; 30]).seal();
    let second = peer.packet(PacketType::Handshake).dcid(original).payload(&[1; 30]).seal();
    let number = peer.next_number(SpaceId::Handshake) - 1;
    arena.send(id, &[first, second].concat());
    assert!(arena.peer(id).is_acknowledged(SpaceId::Handshake, number - 1));
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Handshake, number));
}

// req-test 9001-5.7-056, 9001-5.7-057
#[test]
fn one_rtt_packets_wait_for_the_end_of_the_handshake() {
    let mut arena = arena();
    let id = arena.client_in_handshake();
    let finished = arena.peer(id).poll_datagram().expect("Finished");
    let early = arena.peer(id).one_rtt(&[0x21, 0, 0, 0]);
    arena.send(id, &early);
    assert_eq!(arena.closed(id), None, "nothing in it is looked at");
    arena.send(id, &finished);
    // Only now it is found out that its frame makes no sense.
    assert!(arena.closed(id).is_some());
}

// ---- streams

// req-test 9000-3.5-014
#[test]
fn stop_sending_is_answered_with_a_reset() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let stream = arena.connection(id).streams().open(Dir::Uni).expect("a stream");
    arena.connection(id).streams().write(stream, vec![7; 100].into()).expect("room");
    arena.pump();
    let stop = StopSending { stream_id: stream, error_code: 42u32.into() };
    arena.send_frames(id, &encode(&[Frame::StopSending(stop)]));
    let resets = arena.peer(id).frames(PacketType::OneRtt, |frame| match frame {
        Frame::ResetStream(reset) => Some(reset),
        _ => None,
    });
    let expected = ResetStream { stream_id: stream, error_code: 42u32.into(), final_size: 100 };
    assert_eq!(resets, [expected]);
}

// req-test 9000-3.3-011, 9000-13.3-330
#[test]
fn after_a_reset_nothing_more_is_said_but_the_same_reset() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let stream = arena.connection(id).streams().open(Dir::Uni).expect("a stream");
    for _ in 0..5 {
        arena.connection(id).streams().write(stream, vec![7; 1_000].into()).expect("room");
        let _lost = arena.transmit();
    }
    arena.connection(id).streams().reset(stream, 1u32.into());
    assert!(!arena.transmit().is_empty(), "the reset, which gets lost too");
    let before = received(&mut arena, id);
    arena.advance(3_000 * MS);
    let mut resets = 0;
    for frame in arena.peer(id).received[before..].iter().flat_map(|packet| packet.frames()) {
        match frame {
            Frame::ResetStream(reset) => {
                assert_eq!((reset.stream_id, reset.final_size), (stream, 5_000));
                resets += 1;
            }
            Frame::Stream(_) | Frame::StreamDataBlocked(_) => panic!("{frame:?} after the reset"),
            _ => {}
        }
    }
    assert_eq!(resets, 1);
}

// req-test 9000-3.2-008
#[test]
fn a_stream_opens_all_streams_of_its_kind_before_it() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    arena.send_frames(id, &[0x0a, 12, 1, b'x']);
    let streams = arena.connection(id).streams();
    let accepted: Vec<_> = std::iter::from_fn(|| streams.accept(Dir::Bi)).collect();
    let expected: Vec<_> = [0, 4, 8, 12].into_iter().filter_map(StreamId::from_u64).collect();
    assert_eq!(accepted, expected);
}

// ---- paths

// req-test 9000-8.2.2-159, 9000-8.2.2-160, 9000-8.2.2-161, 9000-8.2.2-163, 9000-8.2.2-165
// req-test 9000-19.17-476
#[test]
fn a_path_challenge_is_echoed_once_in_a_full_datagram() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    arena.peer(id).acknowledges = false;
    let before = received(&mut arena, id);
    let challenge = PathChallenge { data: *b"whoisit?" };
    arena.send_frames(id, &encode(&[Frame::PathChallenge(challenge)]));
    assert_eq!(received(&mut arena, id), before + 1, "at once");
    let packet = &arena.peer(id).received[before];
    assert!(packet.datagram_len >= 1200, "{}", packet.datagram_len);
    arena.advance(5_000 * MS);
    let responses = arena.peer(id).frames(PacketType::OneRtt, |frame| match frame {
        Frame::PathResponse(response) => Some(response.data),
        _ => None,
    });
    assert_eq!(responses, [*b"whoisit?"], "its loss is not repaired");
}

// ---- connection IDs

fn issued(arena: &mut Arena, id: PeerId) -> Vec<NewConnectionId> {
    arena.peer(id).frames(PacketType::OneRtt, |frame| match frame {
        Frame::NewConnectionId(new) => Some(new),
        _ => None,
    })
}

fn retired(arena: &mut Arena, id: PeerId) -> Vec<u64> {
    arena.peer(id).frames(PacketType::OneRtt, |frame| match frame {
        Frame::RetireConnectionId(retire) => Some(retire.sequence_number),
        _ => None,
    })
}

// req-test 9000-5.1-040, 9000-5.1.1-042, 9000-5.1.1-045, 9000-5.1.1-048, 9000-10.3.2-265
#[test]
fn connection_ids_are_issued_up_to_the_peers_limit_and_replaced_when_retired() {
    let mut arena = arena();
    let params = TransportParameters { active_connection_id_limit: 3, ..generous_parameters() };
    let peer = RawPeer::client(&mut arena.rng, params);
    let id = arena.connected(peer);
    assert_eq!(issued(&mut arena, id).len(), 2, "and the one of the handshake");
    for sequence_number in 1..20 {
        let retire = RetireConnectionId { sequence_number };
        arena.send_frames(id, &encode(&[Frame::RetireConnectionId(retire)]));
    }
    let all = issued(&mut arena, id);
    let numbers: Vec<_> = all.iter().map(|new| new.sequence_number).collect();
    assert_eq!(numbers, (1..22).collect::<Vec<_>>());
    for (n, one) in all.iter().enumerate() {
        for other in &all[..n] {
            assert_ne!(one.connection_id, other.connection_id);
            assert_ne!(one.stateless_reset_token, other.stateless_reset_token);
        }
    }
    assert!(arena.is_alive(id));
}

// req-test 9000-5.1.1-043, 9000-19.16-473
#[test]
fn packets_are_accepted_with_each_connection_id_until_it_is_retired() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let ids = issued(&mut arena, id);
    for new in &ids {
        let number = arena.peer(id).next_number(SpaceId::Data);
        let packet = arena.peer(id).packet(PacketType::OneRtt).dcid(new.connection_id);
        let datagram = packet.payload(PING).datagram();
        arena.send(id, &datagram);
        arena.advance(MAX_ACK_DELAY);
        assert!(arena.peer(id).is_acknowledged(SpaceId::Data, number));
    }
    let first = ids[0];
    let retire = RetireConnectionId { sequence_number: first.sequence_number };
    arena.send_frames(id, &encode(&[Frame::RetireConnectionId(retire)]));
    let number = arena.peer(id).next_number(SpaceId::Data);
    let packet = arena.peer(id).packet(PacketType::OneRtt).dcid(first.connection_id);
    let datagram = packet.payload(&[1; 100]).datagram();
    arena.send(id, &datagram);
    arena.advance(MAX_ACK_DELAY);
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Data, number));
    assert!(arena.is_alive(id));
}

fn new_id(sequence_number: u64, retire_prior_to: u64) -> NewConnectionId {
    NewConnectionId {
        sequence_number,
        retire_prior_to,
        connection_id: cid(&[sequence_number as u8 + 1; 8]),
        stateless_reset_token: ResetToken::new([sequence_number as u8; 16]),
    }
}

// req-test 9000-5.1.2-056, 9000-19.15-470, 9000-19.15-471
#[test]
fn connection_ids_are_given_up_when_the_peer_says_so() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    arena.send_frames(id, &encode(&[Frame::NewConnectionId(new_id(2, 1))]));
    assert_eq!(retired(&mut arena, id), [0]);
    // Below what is to be retired: given back at once, never used.
    arena.send_frames(id, &encode(&[Frame::NewConnectionId(new_id(3, 3))]));
    arena.send_frames(id, &encode(&[Frame::NewConnectionId(new_id(1, 0))]));
    let mut all = retired(&mut arena, id);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    let last = arena.peer(id).received.last().expect("packets").clone();
    assert_eq!(last.dcid, new_id(3, 3).connection_id);
}

// lesson 25
#[test]
fn a_packet_that_retires_the_connection_id_of_its_own_path_is_answered_with_the_next_one() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    // The path has to answer with an ID that the same packet has taken from it.
    let challenge = |data| Frame::PathChallenge(PathChallenge { data });
    let frames = [
        challenge(*b"before:1"),
        Frame::NewConnectionId(new_id(1, 1)),
        Frame::NewConnectionId(new_id(2, 2)),
        challenge(*b"after: 2"),
    ];
    let before = received(&mut arena, id);
    arena.send_frames(id, &encode(&frames));
    assert_eq!(retired(&mut arena, id), [0, 1]);
    let answers = &arena.peer(id).received[before..];
    assert!(!answers.is_empty());
    assert!(answers.iter().all(|packet| packet.dcid == new_id(2, 2).connection_id));
    // From another address the frame counts, and the way there is challenged.
    let datagram = arena.peer(id).one_rtt(&encode(&[Frame::NewConnectionId(new_id(3, 3))]));
    let to = arena.host.address;
    let from = ([192, 0, 2, 99], 99).into();
    let now = arena.now;
    arena.host.receive(now, &Datagram { from, to, ecn: None, payload: datagram });
    arena.pump();
    assert_eq!(retired(&mut arena, id), [0, 1, 2]);
    assert!(arena.strays.iter().any(|stray| stray.to == from));
    assert!(arena.is_alive(id));
}

// req-test 9000-8.2.1-155, 9000-8.2.1-158, 9000-8.2.2-161, 9000-8.2.2-164
#[test]
fn a_small_challenge_from_elsewhere_is_answered_there_and_not_amplified() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let mut challenges = std::collections::BTreeSet::new();
    for port in 1..5 {
        let challenge = Frame::PathChallenge(PathChallenge { data: [port; 8] });
        let datagram = arena.peer(id).one_rtt(&encode(&[challenge]));
        let (from, to) = (([192, 0, 2, 99], u16::from(port)).into(), arena.host.address);
        let sent = datagram.len();
        arena.strays.clear();
        let now = arena.now;
        arena.host.receive(now, &Datagram { from, to, ecn: None, payload: datagram });
        arena.pump();
        let strays: Vec<_> = arena.strays.iter().filter(|stray| stray.to == from).collect();
        let total: usize = strays.iter().map(|stray| stray.payload.len()).sum();
        assert!(total > 0 && total <= 3 * sent, "{total} bytes for {sent}");
        let payload = strays[0].payload.clone();
        arena.peer(id).receive(now, &payload);
        let answer = arena.peer(id).received.last().expect("a packet").clone();
        let frames: Vec<_> = answer.frames().collect();
        let echo = Frame::PathResponse(PathResponse { data: [port; 8] });
        assert!(frames.contains(&echo), "{frames:?}");
        challenges.extend(frames.iter().filter_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(challenge.data),
            _ => None,
        }));
    }
    assert_eq!(challenges.len(), 4, "each is another one");
}

// req-test 9000-10.3.1-257, 9000-10.3.1-260, 9000-10.3.1-258
#[test]
fn a_reset_is_known_by_the_token_of_the_connection_id_in_use() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let peer_with_token = |token: [u8; 16]| [vec![0x41; 40], token.to_vec()].concat();
    // Token 2 belongs to an ID that was issued and is not used yet.
    let ids = [new_id(1, 1), new_id(2, 0)].map(Frame::NewConnectionId);
    arena.send_frames(id, &encode(&ids));
    arena.send(id, &peer_with_token([9; 16]));
    arena.send(id, &peer_with_token([2; 16]));
    assert!(arena.is_alive(id));
    let before = received(&mut arena, id);
    arena.send(id, &peer_with_token([1; 16]));
    let handle = arena.handle(id).expect("a connection");
    assert_eq!(arena.host.known(handle).closed, Some(ConnectionError::Reset));
    arena.advance(60_000 * MS);
    assert_eq!(received(&mut arena, id), before, "not a word");
    assert!(arena.host.known(handle).gone);
}

// req-test 9000-7.2-087, 9000-7.2-090
#[test]
fn the_source_connection_id_of_a_handshake_does_not_change() {
    let mut arena = arena();
    let id = arena.client_in_handshake();
    while arena.peer(id).poll_datagram().is_some() {}
    let peer = arena.peer(id);
    let other = cid(&[0xee; 8]);
    let changed = peer.packet(PacketType::Handshake).scid(other).payload(PING).datagram();
    let number = peer.next_number(SpaceId::Handshake) - 1;
    arena.send(id, &changed);
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Handshake, number));
    let local = arena.peer(id).local_cid;
    assert!(arena.peer(id).received.iter().all(|packet| packet.dcid == local));
}

// ---- keys

// req-test 9001-6.2-068, 9001-6.2-069, 9001-6.3-076
#[test]
fn a_key_update_is_followed() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    for generation in 1..=5 {
        assert!(arena.is_alive(id));
        let now = arena.now;
        arena.peer(id).update_keys(now);
        assert!(arena.is_alive(id), "the answer came with the new keys");
        assert_eq!(arena.peer(id).key_generation(), generation);
        arena.advance(2_000 * MS);
    }
}

// req-test 9001-6.1-066, 9001-6.3-076
#[test]
fn packets_with_old_keys_that_were_overtaken_are_still_opened_for_a_while() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    assert!(arena.is_alive(id));
    let overtaken: Vec<_> = (0..10)
        .map(|_| (arena.peer(id).next_number(SpaceId::Data), arena.peer(id).one_rtt(PING)))
        .collect();
    let now = arena.now;
    arena.peer(id).update_keys(now);
    assert!(arena.is_alive(id));
    for (_, datagram) in &overtaken[..9] {
        arena.send(id, datagram);
    }
    arena.advance(MAX_ACK_DELAY);
    assert!(overtaken[..9].iter().all(|(n, _)| arena.peer(id).is_acknowledged(SpaceId::Data, *n)));
    // Three probe timeouts later the old keys are gone.
    arena.advance(5_000 * MS);
    let (number, datagram) = &overtaken[9];
    arena.send(id, datagram);
    arena.advance(MAX_ACK_DELAY);
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Data, *number));
    assert!(arena.is_alive(id));
}

// req-test 9001-6.2-068
#[test]
fn a_transfer_goes_on_through_key_updates_and_loss() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let data: Vec<u8> = (0..100_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let mut chunks: Vec<_> = data.chunks(1_000).enumerate().collect();
    let mut round = 0u64;
    while !chunks.is_empty() {
        // A third gets lost, and what is sent again goes out in another generation of keys.
        let mut lost = Vec::new();
        for (n, chunk) in chunks {
            let header = [0x0e, 0x00, 0x80, 0, 0, 0, 0x40, 0];
            let mut frame = header.to_vec();
            frame[2..6].copy_from_slice(&(0x8000_0000 | (n * 1_000) as u32).to_be_bytes());
            frame[6..8].copy_from_slice(&(0x4000 | chunk.len() as u16).to_be_bytes());
            frame.extend_from_slice(chunk);
            let datagram = arena.peer(id).one_rtt(&frame);
            if arena.rng.one_in(3) {
                lost.push((n, chunk));
            } else {
                arena.send(id, &datagram);
            }
        }
        chunks = lost;
        assert!(arena.is_alive(id));
        let now = arena.now;
        arena.peer(id).update_keys(now);
        assert!(arena.is_alive(id));
        arena.advance(2_000 * MS);
        round += 1;
        assert_eq!(arena.peer(id).key_generation(), round);
    }
    let streams = arena.connection(id).streams();
    let stream = streams.accept(Dir::Bi).expect("a stream");
    let mut received = Vec::new();
    while let Ok(Read::Chunk(chunk)) = streams.read(stream) {
        received.extend_from_slice(&chunk);
    }
    assert!(received == data);
    assert!(round >= 3, "{round}");
}

// ---- strangers

fn long_header(version: Version, len: usize) -> Vec<u8> {
    let ids = [vec![8], b"destinat".to_vec(), vec![6], b"source".to_vec()].concat();
    let mut datagram = [vec![0xc0], version.0.to_be_bytes().to_vec(), ids].concat();
    datagram.resize(len, 0);
    datagram
}

// req-test 9000-5.2.2-065, 9000-5.2.2-067, 9000-5.2.2-068, 9000-17.2.1-386, 9000-17.2.1-387
// req-test 9000-17.2.1-388, 9000-17.2.1-390, 9000-6.1-076
#[test]
fn an_unknown_version_is_answered_with_the_known_ones() {
    let mut arena = arena();
    let stranger = RawPeer::client(&mut arena.rng, generous_parameters());
    let id = arena.add_client(stranger);
    arena.hand_over(id, &long_header(Version(0x1a2a_3a4a), 1199));
    assert!(arena.transmit().is_empty(), "too small to begin a connection");
    arena.hand_over(id, &long_header(Version::NEGOTIATION, 1200));
    assert!(arena.transmit().is_empty(), "no answer to Version Negotiation");
    arena.hand_over(id, &long_header(Version(0x1a2a_3a4a), 1200));
    let answers = arena.transmit();
    assert_eq!(answers.len(), 1);
    let expected =
        [vec![0, 0, 0, 0, 6], b"source".to_vec(), vec![8], b"destinat".to_vec()].concat();
    let (head, versions) = answers[0].payload[1..].split_at(expected.len());
    assert_eq!(head, expected);
    assert!(versions.chunks(4).any(|version| version == Version::V1.0.to_be_bytes()));
}

fn version_negotiation(first: &[u8], peer: &RawPeer, versions: &[u32]) -> Vec<u8> {
    assert_eq!(RawPeer::original_dcid_of(first), peer.original_dcid);
    let ids = [peer.remote_cid, peer.original_dcid];
    let ids = ids.iter().flat_map(|id| [vec![id.len() as u8], id.as_slice().to_vec()].concat());
    let versions = versions.iter().flat_map(|version| version.to_be_bytes());
    [0xc0, 0, 0, 0, 0].into_iter().chain(ids).chain(versions).collect()
}

// req-test 9000-6.2-078, 9000-6.2-079, 9000-6.2-080, 9000-17.2.1-384
#[test]
fn a_client_gives_up_when_its_version_is_not_spoken_and_only_then() {
    let mut arena = arena();
    for (versions, processed_before, gives_up) in [
        (&[0x6b33_43cf][..], false, true),
        (&[0x6b33_43cf, 1][..], false, false),
        (&[0x6b33_43cf][..], true, false),
    ] {
        let mut first_flight = Vec::new();
        let id = arena.connect_to(|rng, first| {
            first_flight = first.to_vec();
            RawPeer::server(rng, generous_parameters(), first)
        });
        if processed_before {
            arena.pump();
        }
        let datagram = version_negotiation(&first_flight, arena.peer(id), versions);
        arena.hand_over(id, &datagram);
        let handle = arena.handle(id).expect("a connection");
        let closed = arena.host.known(handle).closed.clone();
        let mismatch = matches!(closed, Some(ConnectionError::VersionMismatch { .. }));
        assert_eq!(mismatch, gives_up, "{versions:x?}: {closed:?}");
        if !gives_up {
            arena.pump();
            assert!(arena.peer(id).is_connected());
        }
    }
}

// req-test 9000-14.1-351, 9000-5.2.2-072, 9000-7.2-085
#[test]
fn a_server_does_not_begin_for_less_than_a_whole_initial_datagram() {
    let mut arena = arena();
    let mut peer = RawPeer::client(&mut arena.rng, generous_parameters());
    let _hello = peer.poll_datagram();
    let small = peer.packet(PacketType::Initial).payload(&[1; 1100]).unpadded().datagram();
    assert!(small.len() < 1200);
    let id = arena.add_client(peer);
    arena.hand_over(id, &small);
    assert!(arena.transmit().is_empty());
    let short_id = RawPeer::client_with_encoded_params(cid(&[1; 8]), cid(&[2; 7]), Vec::new());
    let id = arena.add_client(short_id);
    arena.pump();
    assert_eq!(arena.peer(id).received.len(), 0);
    assert_eq!(arena.host.endpoint.connection_count(), 0);
}

// req-test 9000-17.2.2-391
#[test]
fn a_client_takes_no_token_from_a_server() {
    let mut arena = arena();
    let id = arena.connect_to(|rng, first| RawPeer::server(rng, generous_parameters(), first));
    let peer = arena.peer(id);
    let with_token = peer.packet(PacketType::Initial).token(b"token").payload(PING).datagram();
    let number = peer.next_number(SpaceId::Initial) - 1;
    arena.send(id, &with_token);
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Initial, number));
    assert!(arena.peer(id).is_connected());
}

// req-test 9000-5.2.1-064
#[test]
fn a_client_drops_packets_of_another_version() {
    let mut arena = arena();
    let id = arena.connect_to(|rng, first| RawPeer::server(rng, generous_parameters(), first));
    let other = Version(0x6b33_43cf);
    let peer = arena.peer(id);
    let datagram = peer.packet(PacketType::Initial).version(other).payload(PING).datagram();
    let number = peer.next_number(SpaceId::Initial) - 1;
    arena.send(id, &datagram);
    assert!(!arena.peer(id).is_acknowledged(SpaceId::Initial, number));
    assert!(arena.peer(id).is_connected());
}

// req-test 9000-10.3-251, 9000-10.3-252, 9000-10.3.3-267
#[test]
fn a_stateless_reset_is_smaller_than_what_it_answers() {
    let mut arena = arena();
    let stranger = RawPeer::client(&mut arena.rng, generous_parameters());
    let id = arena.add_client(stranger);
    let mut smallest = usize::MAX;
    for len in (0..1200).rev() {
        let mut packet = vec![0x33; len];
        if let Some(first) = packet.first_mut() {
            *first = 0x41;
        }
        // There is a limit on how many are sent in a second.
        arena.now += 10 * MS;
        arena.hand_over(id, &packet);
        for answer in arena.transmit() {
            assert!(answer.payload.len() < len, "{} bytes for {len}", answer.payload.len());
            assert!(answer.payload[0] & 0xc0 == 0x40, "a short header");
            smallest = smallest.min(len);
        }
    }
    assert!((22..=50).contains(&smallest), "{smallest}");
}

// req-test 9000-21.11-500
#[test]
fn a_living_connection_is_never_reset() {
    let mut arena = arena();
    let id = quiet_client(&mut arena);
    let dcid = arena.peer(id).remote_cid;
    for n in 0..200u8 {
        let garbage = [vec![0x41], dcid.as_slice().to_vec(), vec![n; 100]].concat();
        arena.hand_over(id, &garbage);
        assert!(arena.transmit().is_empty());
    }
    assert!(arena.is_alive(id));
}

#[test]
fn a_peer_without_connection_ids_is_served() {
    let mut arena = arena();
    let params = TransportParameters {
        initial_source_connection_id: Some(ConnectionId::EMPTY),
        ..generous_parameters()
    };
    let mut encoded = Vec::new();
    params.encode(quic_core::wire::Side::Client, None, &mut encoded);
    let peer = RawPeer::client_with_encoded_params(ConnectionId::EMPTY, cid(&[5; 8]), encoded);
    let id = arena.connected(peer);
    assert!(arena.is_alive(id));
}
