//! RFC 9001 section 4: which keys protect what, and for how long.

use std::time::Duration;

use quic_core::config::TransportConfig;
use quic_core::wire::frame::Frame;
use quic_core::wire::{PacketType, SpaceId};
use quic_testkit::tls::Certificate;

use crate::subject::{Subject, generous};

const PING: [u8; 1] = [0x01];

/// The CRYPTO data at offset 0 in packets of type `ty` that `subject` has sent.
fn first_messages(subject: &Subject, ty: PacketType) -> Vec<Vec<u8>> {
    subject.peer.frames(ty, |frame| match frame {
        Frame::Crypto(crypto) if crypto.offset == 0 => Some(crypto.data.to_vec()),
        _ => None,
    })
}

// req-test 9001-4-001, 9001-4.9-028
#[test]
fn handshake_messages_are_sent_again_with_the_keys_that_they_were_first_sent_with() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Small);
    server.peer.acknowledges = false;
    let hello = server.peer.poll_datagram().expect("ClientHello");
    server.hand_over(&hello);
    server.transmit();
    // The answer is lost.
    while server.peer.poll_datagram().is_some() {}
    let more = server.peer.packet(PacketType::Initial).payload(&PING).datagram();
    server.send(&more);
    server.advance(Duration::from_secs(2));
    for ty in [PacketType::Initial, PacketType::Handshake] {
        let messages = first_messages(&server, ty);
        assert!(messages.len() > 1, "{ty} is repeated");
        assert!(messages.iter().all(|message| message[0] == messages[0][0]));
    }
    assert_eq!(first_messages(&server, PacketType::OneRtt), Vec::<Vec<u8>>::new());
}

// req-test 9001-4.9-029
#[test]
fn new_messages_are_sent_with_the_newest_keys() {
    const SERVER_HELLO: u8 = 2;
    const ENCRYPTED_EXTENSIONS: u8 = 8;
    let server = Subject::connected_server();
    let hello = first_messages(&server, PacketType::Initial);
    assert_eq!(hello[0][0], SERVER_HELLO);
    let len = u32::from_be_bytes([0, hello[0][1], hello[0][2], hello[0][3]]) as usize;
    assert_eq!(hello[0].len(), 4 + len, "nothing follows the ServerHello");
    assert_eq!(first_messages(&server, PacketType::Handshake)[0][0], ENCRYPTED_EXTENSIONS);
}

// req-test 9001-4.4-016, 9001-6-062
#[test]
fn a_server_says_nothing_but_session_tickets_after_the_handshake() {
    const NEW_SESSION_TICKET: u8 = 4;
    let mut server = Subject::connected_server();
    server.connection.ping();
    server.advance(Duration::from_secs(20));
    let mut messages = Vec::new();
    for (offset, data) in server.peer.frames(PacketType::OneRtt, |frame| match frame {
        Frame::Crypto(crypto) => Some((crypto.offset as usize, crypto.data.to_vec())),
        _ => None,
    }) {
        messages.resize(messages.len().max(offset + data.len()), 0);
        messages[offset..offset + data.len()].copy_from_slice(&data);
    }
    assert!(!messages.is_empty());
    let mut rest = &messages[..];
    while let [ty, a, b, c, ..] = *rest {
        assert_eq!(ty, NEW_SESSION_TICKET);
        rest = &rest[4 + u32::from_be_bytes([0, a, b, c]) as usize..];
    }
    assert_eq!(rest, b"");
}

// req-test 9001-4.9.1-031, 9001-4.9.1-032
#[test]
fn a_client_is_done_with_initial_packets_when_it_has_sent_a_handshake_packet() {
    let mut client = Subject::client(TransportConfig::builder(), generous());
    client.peer.acknowledges = false;
    client.pump();
    assert!(client.received_since(0, PacketType::Handshake).count() > 0);
    let from = client.peer.received.len();
    let late = client.peer.packet(PacketType::Initial).payload(&PING).datagram();
    let number = client.peer.next_number(SpaceId::Initial) - 1;
    assert!(!client.is_answered(SpaceId::Initial, number, &late));
    client.advance(Duration::from_secs(2));
    assert_eq!(client.received_since(from, PacketType::Initial).count(), 0);
}

// req-test 9001-4.9.1-031, 9001-4.9.1-032
#[test]
fn a_server_is_done_with_initial_packets_when_it_has_received_a_handshake_packet() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Small);
    server.peer.acknowledges = false;
    let hello = server.peer.poll_datagram().expect("ClientHello");
    server.hand_over(&hello);
    server.transmit();
    // Finished stays behind.
    while server.peer.poll_datagram().is_some() {}
    let ping = server.peer.packet(PacketType::Handshake).payload(&PING).datagram();
    let number = server.peer.next_number(SpaceId::Handshake) - 1;
    assert!(server.is_answered(SpaceId::Handshake, number, &ping));
    let from = server.peer.received.len();
    let late = server.peer.packet(PacketType::Initial).payload(&PING).datagram();
    let number = server.peer.next_number(SpaceId::Initial) - 1;
    assert!(!server.is_answered(SpaceId::Initial, number, &late));
    server.advance(Duration::from_secs(2));
    assert_eq!(server.received_since(from, PacketType::Initial).count(), 0);
    assert!(server.received_since(from, PacketType::Handshake).count() > 0);
}

// req-test 9001-4.9.2-033
#[test]
fn handshake_keys_are_gone_when_the_handshake_is_confirmed() {
    for mut subject in [Subject::connected_server(), Subject::connected_client()] {
        let late = subject.peer.packet(PacketType::Handshake).payload(&PING).datagram();
        let number = subject.peer.next_number(SpaceId::Handshake) - 1;
        assert!(!subject.is_answered(SpaceId::Handshake, number, &late));
        let from = subject.peer.received.len();
        subject.connection.ping();
        subject.pump();
        assert_eq!(subject.received_since(from, PacketType::Handshake).count(), 0);
        assert!(subject.received_since(from, PacketType::OneRtt).count() > 0);
    }
}
