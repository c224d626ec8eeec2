//! RFC 9000 sections 8.2, 12, 14 and 17: what packets and datagrams look like.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use quic_core::config::TransportConfig;
use quic_core::error::Discard;
use quic_core::wire::frame::{Frame, NewConnectionId, PathChallenge};
use quic_core::wire::{PacketType, ResetToken, SpaceId};
use quic_testkit::raw_peer::{encode, random_cid};
use quic_testkit::seed::Seed;

use crate::subject::{PEER, Subject, generous};

const PING: [u8; 1] = [0x01];
/// The spin bit of the first byte, which header protection leaves alone.
const SPIN: u8 = 0x20;

/// The two roles with a handshake behind them.
fn both() -> [Subject; 2] {
    [Subject::connected_server(), Subject::connected_client()]
}

// req-test 9000-8.2.1-158, 9000-8.2.2-160, 9000-8.2.2-161, 9000-8.2.2-163
#[test]
fn a_challenge_in_a_small_datagram_is_answered_at_once_in_a_large_one_where_it_came_from() {
    for mut subject in both() {
        let data = *b"question";
        let challenge = encode(&[Frame::PathChallenge(PathChallenge { data })]);
        let datagram = subject.peer.one_rtt(&challenge);
        assert!(datagram.len() < 100);
        subject.hand_over(&datagram);
        let from = subject.peer.received.len();
        assert_eq!(subject.transmit(), 1, "no time has passed");
        let answer = &subject.peer.received[from];
        let is_answer = |f: Frame<'_>| matches!(f, Frame::PathResponse(r) if r.data == data);
        assert!(answer.frames().any(is_answer));
        assert!(answer.datagram_len >= 1200);
        let transmit = subject.last_transmit.expect("a datagram");
        assert_eq!(transmit.remote, SocketAddr::from(PEER));
    }
}

// req-test 9000-12.2-280
#[test]
fn all_packets_of_a_datagram_go_to_one_connection_id() {
    let mut coalesced = 0;
    for subject in both() {
        let mut datagrams: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for packet in &subject.peer.received {
            datagrams.entry(packet.datagram).or_default().push(packet.dcid);
        }
        for ids in datagrams.values() {
            assert!(ids.iter().all(|id| *id == ids[0]));
            coalesced += usize::from(ids.len() > 1);
        }
    }
    assert!(coalesced > 0);
}

/// A client that has the keys of both the Initial and the Handshake space.
fn client_in_the_middle() -> Subject {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    while client.peer.poll_datagram().is_some() {}
    client.hand_over(&hello);
    client
}

// req-test 9000-12.2-282
#[test]
fn coalesced_packets_are_acknowledged_each_in_its_own_space() {
    let mut client = client_in_the_middle();
    let first = client.peer.packet(PacketType::Initial).payload(&PING).seal();
    let second = client.peer.packet(PacketType::Handshake).payload(&PING).seal();
    let [initial, handshake] =
        [SpaceId::Initial, SpaceId::Handshake].map(|space| client.peer.next_number(space) - 1);
    client.hand_over(&[first, second].concat());
    client.transmit();
    assert!(client.peer.is_acknowledged(SpaceId::Initial, initial));
    assert!(client.peer.is_acknowledged(SpaceId::Handshake, handshake));
}

// req-test 9000-12.2-283
#[test]
fn a_packet_that_cannot_be_opened_does_not_spoil_those_behind_it() {
    let mut client = client_in_the_middle();
    let mut first = client.peer.packet(PacketType::Initial).payload(&PING).seal();
    *first.last_mut().expect("a tag") ^= 1;
    let second = client.peer.packet(PacketType::Handshake).payload(&PING).seal();
    let [initial, handshake] =
        [SpaceId::Initial, SpaceId::Handshake].map(|space| client.peer.next_number(space) - 1);
    client.hand_over(&[first, second].concat());
    client.transmit();
    assert!(!client.peer.is_acknowledged(SpaceId::Initial, initial));
    assert!(client.peer.is_acknowledged(SpaceId::Handshake, handshake));
}

// req-test 9000-12.3-284, 9000-12.3-285, 9000-12.4-289
#[test]
fn packet_numbers_only_grow_and_no_packet_is_empty() {
    for mut subject in both() {
        for _ in 0..100 {
            subject.connection.ping();
            subject.pump();
        }
        let mut last: BTreeMap<SpaceId, u64> = BTreeMap::new();
        for packet in &subject.peer.received {
            assert!(packet.frames().next().is_some());
            let space = packet.ty.space().expect("a space");
            let before = last.insert(space, packet.number);
            assert!(before.is_none_or(|before| before < packet.number), "{before:?}");
        }
        assert!(subject.peer.received.len() > 100);
    }
}

// req-test 9000-12.3-288
#[test]
fn a_forged_duplicate_is_found_out_by_its_protection_first() {
    let mut server = Subject::connected_server();
    let genuine = server.peer.one_rtt(&PING);
    let mut forged = genuine.clone();
    *forged.last_mut().expect("a tag") ^= 1;
    server.send(&genuine);
    let dropped = |server: &Subject| {
        let dropped = server.connection.stats().packets_dropped;
        [Discard::Duplicate, Discard::DecryptionFailed].map(|reason| dropped.get(reason))
    };
    let [duplicates, failures] = dropped(&server);
    server.send(&forged);
    assert_eq!(dropped(&server), [duplicates, failures + 1]);
    server.send(&genuine);
    assert_eq!(dropped(&server), [duplicates + 1, failures + 1]);
}

// req-test 9000-17.4-420, 9000-17.4-423
#[test]
fn the_spin_bit_stays_off_whatever_the_peer_does_with_it() {
    for mut subject in both() {
        for flip in [SPIN, 0, SPIN, SPIN] {
            let ping =
                subject.peer.packet(PacketType::OneRtt).payload(&PING).flip_bits(flip).datagram();
            let number = subject.peer.next_number(SpaceId::Data) - 1;
            assert!(subject.is_answered(SpaceId::Data, number, &ping));
        }
        let mut short = subject.sent.iter().filter(|d| d[0] & 0x80 == 0).peekable();
        assert!(short.peek().is_some());
        assert!(short.all(|datagram| datagram[0] & SPIN == 0));
    }
}

// req-test 9000-19.16-473
#[test]
fn a_connection_id_is_not_given_back_in_a_packet_that_is_sent_to_it() {
    for mut subject in both() {
        let old = subject.peer.local_cid;
        let new = NewConnectionId {
            sequence_number: 1,
            retire_prior_to: 1,
            connection_id: random_cid(&mut Seed(9).rng()),
            stateless_reset_token: ResetToken::new([7; 16]),
        };
        let from = subject.peer.received.len();
        subject.send_frames(&encode(&[Frame::NewConnectionId(new)]));
        let is_retirement = |f: Frame<'_>| matches!(f, Frame::RetireConnectionId(retire) if retire.sequence_number == 0);
        let mut packets = subject.peer.received[from..].iter();
        let packet = packets.find(|p| p.frames().any(is_retirement)).expect("a retirement");
        assert_ne!(packet.dcid, old);
        assert_eq!(packet.dcid, new.connection_id);
    }
}

// req-test 9000-13.3-336
#[test]
fn loss_reduces_the_congestion_window() {
    let mut client = Subject::connected_client();
    client.advance(Duration::from_secs(1));
    let before = client.connection.stats();
    client.peer.acknowledges = false;
    let from = client.peer.received.len();
    for _ in 0..5 {
        client.connection.ping();
        client.transmit();
    }
    assert_eq!(client.peer.received.len() - from, 5);
    // All but the last are lost.
    let last = client.peer.received.last().expect("a packet").number;
    let ack = {
        use quic_core::wire::cursor::Writer;
        let mut buf = [0; 32];
        let mut writer = Writer::new(&mut buf);
        quic_core::wire::frame::encode_ack(
            &mut writer,
            0,
            std::iter::once(last..last + 1),
            None,
            32,
        )
        .expect("it fits");
        writer.written().to_vec()
    };
    client.send_frames(&ack);
    client.advance(Duration::from_millis(10));
    let after = client.connection.stats();
    assert!(after.packets_lost > before.packets_lost);
    assert_eq!(after.congestion_events, before.congestion_events + 1);
    assert!(after.path.congestion_window < before.path.congestion_window);
}
