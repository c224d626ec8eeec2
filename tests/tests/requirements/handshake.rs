//! RFC 9000 sections 5 to 8, RFC 9001 section 4: how connections begin.

use std::time::{Duration, Instant};

use quic_core::config::TransportConfig;
use quic_core::crypto::retry::integrity_tag;
use quic_core::error::{ConnectionError, Discard};
use quic_core::wire::cursor::Writer;
use quic_core::wire::frame::Frame;
use quic_core::wire::header::{RetryPacket, VersionNegotiationPacket};
use quic_core::wire::{PacketType, SpaceId, TransportErrorCode, Version};
use quic_testkit::raw_peer::{ReceivedPacket, random_cid};
use quic_testkit::seed::Seed;
use quic_testkit::tls::Certificate;

use crate::subject::{Subject, datagrams, generous, headers, lonely_client};

const PING: [u8; 1] = [0x01];
const FUTURE: Version = Version(0x5a5a_5a5a);

fn version_negotiation(subject: &Subject, versions: &[Version]) -> Vec<u8> {
    let (to, from) = (subject.peer.remote_cid, subject.peer.original_dcid);
    let packet = VersionNegotiationPacket {
        dcid: to.as_slice(),
        scid: from.as_slice(),
        versions,
        unused: 0,
    };
    let mut bytes = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut bytes));
    bytes
}

// req-test 9000-8.1-119, 9000-14.1-348, 9001-9.3-115, 9000-14-344, 9000-7.2-086
#[test]
fn a_client_that_hears_nothing_repeats_large_datagrams_to_one_connection_id_and_gives_up() {
    let mut now = Instant::now();
    let mut client = lonely_client(now, TransportConfig::builder());
    let mut sent = Vec::new();
    while let Some(at) = client.timeout() {
        sent.extend(datagrams(&mut client, now));
        now = at;
        client.handle_timeout(now);
    }
    assert!(sent.len() > 3, "{} datagrams", sent.len());
    // A path that carries less than 1200 bytes carries none of this.
    assert!(sent.iter().all(|(_, datagram)| datagram.len() >= 1200));
    let first = headers(&sent[0].1)[0].dcid;
    let mut packets = sent.iter().flat_map(|(_, datagram)| headers(datagram));
    assert!(packets.all(|header| header.dcid == first));
    assert_eq!(client.close_reason(), Some(&ConnectionError::HandshakeTimedOut));
}

// req-test 9000-7.2-087, 9000-7.2-088, 9000-7.2-090
#[test]
fn a_client_takes_the_connection_id_of_the_first_initial_packet_and_no_other() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    client.hand_over(&hello);
    let other = random_cid(&mut Seed(9).rng());
    let stranger = client.peer.packet(PacketType::Initial).scid(other).payload(&PING).datagram();
    let number = client.peer.next_number(SpaceId::Initial) - 1;
    client.hand_over(&stranger);
    let from = client.peer.received.len();
    client.transmit();
    assert!(!client.peer.is_acknowledged(SpaceId::Initial, number));
    assert!(client.peer.is_acknowledged(SpaceId::Initial, 0));
    assert!(client.peer.received.len() > from);
    let id = client.peer.local_cid;
    assert!(client.peer.received[from..].iter().all(|packet| packet.dcid == id));
    client.pump();
    assert!(client.peer.is_connected());
}

// req-test 9000-7.2-089, 9000-7.2-090
#[test]
fn a_server_sends_to_the_connection_id_of_the_first_initial_packet() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Small);
    let hello = server.peer.poll_datagram().expect("ClientHello");
    server.hand_over(&hello);
    let other = random_cid(&mut Seed(9).rng());
    let stranger = server.peer.packet(PacketType::Initial).scid(other).payload(&PING).datagram();
    server.hand_over(&stranger);
    server.transmit();
    assert!(server.peer.is_acknowledged(SpaceId::Initial, 0));
    assert!(!server.peer.is_acknowledged(SpaceId::Initial, 1));
    server.pump();
    assert!(server.connection.is_confirmed());
    let id = server.peer.local_cid;
    assert!(server.peer.received.iter().all(|packet| packet.dcid == id));
}

// req-test 9000-6.2-078
#[test]
fn a_client_gives_up_when_the_server_speaks_other_versions_only() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let packet = version_negotiation(&client, &[FUTURE]);
    client.hand_over(&packet);
    let reason = client.connection.close_reason();
    assert!(
        matches!(reason, Some(ConnectionError::VersionMismatch { offered }) if offered == &[FUTURE])
    );
    assert_eq!(client.transmit(), 0);
}

// req-test 9000-6.2-079
#[test]
fn version_negotiation_after_another_packet_is_ignored() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    client.hand_over(&hello);
    let packet = version_negotiation(&client, &[FUTURE]);
    client.send(&packet);
    assert!(client.peer.is_connected());
    assert_eq!(client.connection.close_reason(), None);
}

// req-test 9000-6.2-080
#[test]
fn version_negotiation_that_lists_our_version_is_ignored() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let packet = version_negotiation(&client, &[FUTURE, Version::V1]);
    client.send(&packet);
    assert!(client.peer.is_connected());
    assert_eq!(client.connection.close_reason(), None);
}

// req-test 9000-17.2.5.2-407
#[test]
fn a_client_ignores_a_retry_after_an_initial_packet() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    client.hand_over(&hello);
    let scid = random_cid(&mut Seed(9).rng());
    let packet = RetryPacket {
        version: Version::V1,
        dcid: client.peer.remote_cid,
        scid,
        token: b"token",
        unused: 0,
    };
    let mut bytes = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut bytes));
    let tag = integrity_tag(Version::V1, &client.peer.original_dcid, &bytes);
    bytes.extend_from_slice(&tag);
    client.send(&bytes);
    assert!(client.peer.is_connected());
    let headers = client.sent.iter().flat_map(|datagram| headers(datagram));
    assert!(headers.into_iter().all(|header| header.dcid != scid && header.token.is_empty()));
}

// req-test 9000-5.2.1-064
#[test]
fn a_client_drops_packets_of_another_version() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    client.hand_over(&hello);
    let other = client.peer.packet(PacketType::Initial).version(FUTURE).payload(&PING).datagram();
    let number = client.peer.next_number(SpaceId::Initial) - 1;
    client.send(&other);
    assert!(!client.peer.is_acknowledged(SpaceId::Initial, number));
    assert!(client.peer.is_connected());
}

// req-test 9000-14.1-351, 9000-14-347
#[test]
fn a_server_drops_an_initial_packet_in_a_small_datagram_and_goes_on() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Small);
    let small = server.peer.packet(PacketType::Initial).payload(&PING).unpadded().datagram();
    let number = server.peer.next_number(SpaceId::Initial) - 1;
    server.hand_over(&small);
    assert_eq!(server.transmit(), 0);
    assert_eq!(server.connection.stats().packets_dropped.get(Discard::InitialTooSmall), 1);
    assert_eq!(server.connection.close_reason(), None);
    server.pump();
    assert!(server.connection.is_confirmed());
    assert!(!server.peer.is_acknowledged(SpaceId::Initial, number));
}

// req-test 9000-17.2.2-391
#[test]
fn tokens_do_not_come_from_servers() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    client.hand_over(&hello);
    let other = client.peer.packet(PacketType::Initial).token(b"t").payload(&PING).datagram();
    let number = client.peer.next_number(SpaceId::Initial) - 1;
    client.send(&other);
    assert!(!client.peer.is_acknowledged(SpaceId::Initial, number));

    let server = Subject::connected_server();
    let headers: Vec<_> = server.sent.iter().flat_map(|datagram| headers(datagram)).collect();
    let mut initial = headers.iter().filter(|header| header.kind == PacketType::Initial).peekable();
    assert!(initial.peek().is_some());
    assert!(initial.all(|header| header.token.is_empty()));
}

// req-test 9000-8.1-118
#[test]
fn a_server_counts_every_byte_of_a_datagram_for_its_answer() {
    let answer = |garbage: usize| {
        let mut server = Subject::server(TransportConfig::builder(), Certificate::Large);
        let mut hello = server.peer.poll_datagram().expect("ClientHello");
        hello.resize(hello.len() + garbage, 0);
        server.hand_over(&hello);
        server.transmit();
        let sent: usize = server.sent.iter().map(Vec::len).sum();
        assert!(sent <= 3 * hello.len());
        sent
    };
    assert!(answer(600) > 3 * 1200, "bytes that are no packet count too");
    assert!(answer(0) <= 3 * 1200);
}

// req-test 9000-14.1-349
#[test]
fn a_server_fills_datagrams_with_initial_packets_that_want_an_answer() {
    let server = Subject::connected_server();
    let mut count = 0;
    for packet in server.received_since(0, PacketType::Initial) {
        if packet.frames().any(|frame| matches!(frame, Frame::Crypto(_))) {
            assert!(packet.datagram_len >= 1200);
            count += 1;
        }
    }
    assert!(count > 0);
}

/// A client, and what the server has to say to it; all that the client has sent is acknowledged,
/// nothing that it sends from now on.
fn client_with_nothing_in_flight() -> (Subject, Vec<u8>) {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    let hello = client.peer.poll_datagram().expect("ServerHello");
    while client.peer.poll_datagram().is_some() {}
    client.peer.acknowledges = false;
    let ack = client.peer.ack_frame(SpaceId::Initial).expect("an acknowledgement");
    let ack = client.peer.packet(PacketType::Initial).payload(&ack).datagram();
    client.send(&ack);
    (client, hello)
}

fn probes(client: &mut Subject) -> Vec<ReceivedPacket> {
    let from = client.peer.received.len();
    client.advance(Duration::from_secs(3));
    let probes = client.peer.received[from..].to_vec();
    assert!(!probes.is_empty());
    let elicits = |probe: &ReceivedPacket| probe.frames().any(|f| f.ty().is_ack_eliciting());
    assert!(probes.iter().all(elicits));
    probes
}

// req-test 9000-8.1-120, 9000-8.1-121, 9002-6.2.4-040, 9002-6.2.2.1-036
#[test]
fn a_client_without_handshake_keys_probes_with_initial_packets_as_the_server_could_be_blocked() {
    let (mut client, _) = client_with_nothing_in_flight();
    for probe in probes(&mut client) {
        assert_eq!(probe.ty, PacketType::Initial);
        assert!(probe.datagram_len >= 1200);
    }
}

// req-test 9000-8.1-120, 9000-8.1-121, 9002-6.2.4-040, 9002-6.2.2.1-036
#[test]
fn a_client_with_handshake_keys_probes_with_handshake_packets_as_the_server_could_be_blocked() {
    let (mut client, hello) = client_with_nothing_in_flight();
    client.hand_over(&hello);
    client.transmit();
    assert!(probes(&mut client).iter().all(|probe| probe.ty == PacketType::Handshake));
}

// req-test 9001-4.1.2-003, 9000-19.20-479, 9000-13.3-332
#[test]
fn handshake_done_follows_the_handshake_at_once_and_until_it_is_acknowledged() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Small);
    let hello = server.peer.poll_datagram().expect("ClientHello");
    server.hand_over(&hello);
    server.transmit();
    let count = |server: &Subject| {
        server
            .peer
            .frames(PacketType::OneRtt, |f| matches!(f, Frame::HandshakeDone).then_some(()))
            .len()
    };
    assert_eq!(count(&server), 0, "the handshake is not complete");
    server.peer.acknowledges = false;
    server.pump();
    assert_eq!(count(&server), 1, "no time has passed");
    server.advance(Duration::from_secs(2));
    let sent = count(&server);
    assert!(sent > 1, "it could have been lost");
    let ack = server.peer.ack_frame(SpaceId::Data).expect("an acknowledgement");
    server.send_frames(&ack);
    server.advance(Duration::from_secs(5));
    assert_eq!(count(&server), sent);
}

// req-test 9000-19.20-480, 9000-19.7-445
#[test]
fn only_servers_confirm_handshakes_and_give_tokens() {
    for frame in [&[0x1e][..], &[0x07, 1, 0xaa]] {
        let mut server = Subject::connected_server();
        server.send_frames(frame);
        let closed = server.peer.closed().expect("closed");
        assert_eq!(closed.transport_code(), Some(TransportErrorCode::PROTOCOL_VIOLATION));
    }
}
