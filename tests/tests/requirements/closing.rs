//! RFC 9000 sections 10 and 11: how connections end.

use std::time::Duration;

use bytes::Bytes;
use quic_core::config::TransportConfig;
use quic_core::error::ConnectionError;
use quic_core::wire::frame::Frame;
use quic_core::wire::{PacketType, ResetToken, TransportErrorCode, TransportParameters};
use quic_testkit::tls::Certificate;

use crate::subject::{Subject, generous};

const PING: [u8; 1] = [0x01];
const APPLICATION_ERROR: TransportErrorCode = TransportErrorCode::APPLICATION_ERROR;

fn close(subject: &mut Subject) {
    subject.connection.close(subject.now, 7u32.into(), Bytes::from_static(b"enough"));
}

/// The types of the packets in which `subject` has said that the connection is over.
fn close_packets(subject: &Subject) -> Vec<PacketType> {
    let is_close = |frame: Frame<'_>| matches!(frame, Frame::ConnectionClose(_));
    let packets = subject.peer.received.iter();
    packets.filter(|packet| packet.frames().any(is_close)).map(|packet| packet.ty).collect()
}

// req-test 9000-10.1-220
#[test]
fn an_idle_timeout_shorter_than_three_probe_timeouts_is_stretched() {
    let params = TransportParameters { max_idle_timeout_ms: 30, ..generous() };
    let mut client = Subject::connected_client_with(TransportConfig::builder(), params);
    // No round-trip time to speak of: a probe timeout is little more than the peer's
    // max_ack_delay of 25 ms.
    client.advance(Duration::from_millis(60));
    assert_eq!(client.connection.close_reason(), None);
    client.advance(Duration::from_millis(200));
    assert_eq!(client.connection.close_reason(), Some(&ConnectionError::TimedOut));
}

// req-test 9000-10.2.1-231, 9000-10.2.1-233
#[test]
fn a_server_that_closes_does_not_amplify_what_an_unvalidated_address_sends() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Large);
    let hello = server.peer.poll_datagram().expect("ClientHello");
    server.hand_over(&hello);
    server.transmit();
    close(&mut server);
    server.transmit();
    let mut received = hello.len();
    for _ in 0..200 {
        let garbage = [0x40; 30];
        server.hand_over(&garbage);
        received += garbage.len();
        server.transmit();
        let sent: usize = server.sent.iter().map(Vec::len).sum();
        assert!(sent <= 3 * received, "{sent} for {received}");
    }
    assert!(!close_packets(&server).is_empty(), "it gets through in the end");
}

// req-test 9000-10.2.2-234, 9000-10.2.2-236
#[test]
fn nothing_is_sent_after_the_peer_has_closed() {
    for mut subject in [Subject::connected_server(), Subject::connected_client()] {
        subject.advance(Duration::from_secs(1));
        let sent = subject.sent.len();
        // CONNECTION_CLOSE of the transport, no error.
        subject.send_frames(&[0x1c, 0, 0, 0]);
        for _ in 0..10 {
            subject.send_frames(&PING);
        }
        subject.connection.ping();
        subject.advance(Duration::from_secs(5));
        assert_eq!(subject.sent.len(), sent);
        assert!(subject.connection.is_drained());
    }
}

// req-test 9000-10.2.3-238
#[test]
fn a_confirmed_connection_is_closed_in_a_one_rtt_packet() {
    for mut subject in [Subject::connected_server(), Subject::connected_client()] {
        close(&mut subject);
        subject.pump();
        assert_eq!(close_packets(&subject), [PacketType::OneRtt]);
        assert_eq!(subject.peer.closed().map(|closed| closed.code), Some(7));
    }
}

// req-test 9000-10.2.3-243
#[test]
fn the_application_closes_an_unfinished_handshake_without_giving_its_reasons() {
    let mut server = Subject::server(TransportConfig::builder(), Certificate::Small);
    let hello = server.peer.poll_datagram().expect("ClientHello");
    server.hand_over(&hello);
    close(&mut server);
    server.transmit();
    let mut seen = 0;
    for packet in &server.peer.received {
        for frame in packet.frames() {
            let Frame::ConnectionClose(close) = frame else { continue };
            if packet.ty != PacketType::OneRtt {
                assert_eq!(close.ty().0, 0x1c);
                assert_eq!(close.reason(), b"");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
    let early = server.peer.received.iter().filter(|packet| packet.ty != PacketType::OneRtt);
    let codes: Vec<_> = early
        .flat_map(|packet| packet.frames())
        .filter_map(|frame| match frame {
            Frame::ConnectionClose(quic_core::wire::frame::ConnectionClose::Transport {
                error_code,
                ..
            }) => Some(error_code),
            _ => None,
        })
        .collect();
    assert!(codes.iter().all(|code| *code == APPLICATION_ERROR), "{codes:?}");
}

// req-test 9000-10.3-247, 9000-11-271, 9000-11.1-272
#[test]
fn an_error_is_told_in_a_frame_and_not_by_a_reset() {
    for mut subject in [Subject::connected_server(), Subject::connected_client()] {
        // RETIRE_CONNECTION_ID of one that was never issued.
        subject.send_frames(&[0x19, 0x3f]);
        let closed = subject.peer.closed().expect("a CONNECTION_CLOSE frame");
        assert_eq!(closed.transport_code(), Some(TransportErrorCode::PROTOCOL_VIOLATION));
        assert_eq!(subject.peer.unopened, Vec::<Vec<u8>>::new(), "nothing but real packets");
    }
}

// req-test 9000-10.3.1-257, 9000-10.3.1-260
#[test]
fn a_stateless_reset_ends_the_connection_without_a_word() {
    let token = [7; 16];
    let params =
        TransportParameters { stateless_reset_token: Some(ResetToken::new(token)), ..generous() };
    let mut client = Subject::connected_client_with(TransportConfig::builder(), params);
    client.advance(Duration::from_secs(1));
    let sent = client.sent.len();
    let packet = |token: [u8; 16]| {
        let mut packet = vec![0x55; 40];
        packet.extend_from_slice(&token);
        packet
    };
    client.send(&packet([8; 16]));
    assert_eq!(client.connection.close_reason(), None);
    client.send(&packet(token));
    assert_eq!(client.connection.close_reason(), Some(&ConnectionError::Reset));
    client.connection.ping();
    client.send_frames(&PING);
    client.advance(Duration::from_secs(5));
    assert_eq!(client.sent.len(), sent);
}
