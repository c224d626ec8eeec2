//! RFC 9000 section 13: what is acknowledged when, and where.

use std::time::Duration;

use quic_core::wire::frame::Frame;
use quic_core::wire::{PacketType, SpaceId, TransportErrorCode};

use crate::subject::Subject;

const PING: [u8; 1] = [0x01];
/// The default of what we promise.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// Units of the ACK Delay field: 2^3 microseconds.
const ACK_DELAY_UNIT: u64 = 8;

fn both() -> [Subject; 2] {
    [Subject::connected_server(), Subject::connected_client()]
}

// req-test 9000-13.1-303, 9000-5.2-062
#[test]
fn a_packet_with_a_frame_that_breaks_a_rule_is_not_acknowledged_and_ends_the_connection() {
    for mut subject in both() {
        // PING, MAX_DATA, and a frame type that does not exist.
        let number = subject.peer.next_number(SpaceId::Data);
        subject.send_frames(&[0x01, 0x10, 0x3f, 0x21]);
        subject.advance(MAX_ACK_DELAY);
        assert!(!subject.peer.is_acknowledged(SpaceId::Data, number));
        let closed = subject.peer.closed().expect("closed");
        assert_eq!(closed.transport_code(), Some(TransportErrorCode::FRAME_ENCODING_ERROR));
    }
}

// req-test 9000-13.1-303
#[test]
fn a_packet_that_cannot_be_opened_is_not_acknowledged() {
    for mut subject in both() {
        let mut forged = subject.peer.one_rtt(&PING);
        *forged.last_mut().expect("a tag") ^= 1;
        let number = subject.peer.next_number(SpaceId::Data) - 1;
        assert!(!subject.is_answered(SpaceId::Data, number, &forged));
    }
}

// req-test 9000-13.2.1-306, 9000-13.2.5-323
#[test]
fn one_packet_is_acknowledged_within_the_promised_delay_which_is_told_as_it_was() {
    for mut subject in both() {
        subject.advance(Duration::from_secs(1));
        let ping = subject.peer.one_rtt(&PING);
        let number = subject.peer.next_number(SpaceId::Data) - 1;
        let arrived = subject.now;
        subject.hand_over(&ping);
        let from = subject.peer.received.len();
        subject.advance(MAX_ACK_DELAY);
        assert!(subject.peer.is_acknowledged(SpaceId::Data, number));
        let packet = &subject.peer.received[from];
        let held_back = packet.at.duration_since(arrived);
        assert!(held_back <= MAX_ACK_DELAY);
        let told = packet.frames().find_map(|frame| match frame {
            Frame::Ack(ack) => Some(ack.ack_delay * ACK_DELAY_UNIT),
            _ => None,
        });
        assert_eq!(told.map(Duration::from_micros), Some(held_back));
    }
}

// req-test 9000-13.2.6-326, 9000-13.2.6-327, 9000-17.2.3-396
#[test]
fn each_space_acknowledges_its_own_packets_only() {
    for mut subject in both() {
        // A number that no other space has come to.
        let ping = subject.peer.packet(PacketType::OneRtt).number(77).payload(&PING).datagram();
        assert!(subject.is_answered(SpaceId::Data, 77, &ping));
        for packet in &subject.peer.received {
            let space = packet.ty.space().expect("a space");
            let next = subject.peer.next_number(space);
            for frame in packet.frames() {
                if let Frame::Ack(ack) = frame {
                    assert!(ack.largest_acknowledged < next, "{space:?}");
                }
            }
        }
        assert!(!subject.peer.is_acknowledged(SpaceId::Handshake, 77));
    }
}
