//! RFC 9000 sections 11.2 and 13.3: frames of streams that must not be sent by themselves, or not
//! change.

use std::time::Duration;

use bytes::Bytes;
use quic_core::wire::frame::{Frame, ResetStream};
use quic_core::wire::{Dir, PacketType, SpaceId};

use crate::subject::Subject;

fn resets(subject: &Subject) -> Vec<ResetStream> {
    subject.peer.frames(PacketType::OneRtt, |frame| match frame {
        Frame::ResetStream(reset) => Some(reset),
        _ => None,
    })
}

// req-test 9000-11.2-275
#[test]
fn a_stream_that_the_peer_resets_is_not_reset_in_return() {
    let mut server = Subject::connected_server();
    // STREAM 0 with two bytes, RESET_STREAM 0 with code 7 and final size 2.
    server.send_frames(&[0x0a, 0, 2, b'h', b'i', 0x04, 0, 7, 2]);
    let id = server.connection.streams().accept(Dir::Bi).expect("a stream");
    assert!(server.connection.streams().write(id, Bytes::from_static(b"still here")).is_ok());
    server.pump();
    server.advance(Duration::from_secs(1));
    assert_eq!(resets(&server), []);
    server.connection.streams().reset(id, 9u32.into());
    server.pump();
    assert_eq!(resets(&server).len(), 1, "the application's own reset is sent");
}

// req-test 9000-13.3-330
#[test]
fn a_reset_that_was_lost_says_the_same_again() {
    let mut client = Subject::connected_client();
    let id = client.connection.streams().open(Dir::Bi).expect("a stream");
    client.connection.streams().write(id, Bytes::from_static(b"hello")).expect("room");
    client.pump();
    client.peer.acknowledges = false;
    client.connection.streams().reset(id, 7u32.into());
    client.pump();
    client.connection.streams().reset(id, 8u32.into());
    client.advance(Duration::from_secs(1));
    let resets = resets(&client);
    assert!(resets.len() > 1);
    assert!(resets.iter().all(|reset| *reset == resets[0]));
}

// req-test 9000-13.3-334
#[test]
fn limits_older_than_those_known_are_taken_without_complaint() {
    let mut client = Subject::connected_client();
    // MAX_DATA 1, MAX_STREAMS (bidirectional) 1.
    let datagram = client.peer.one_rtt(&[0x10, 1, 0x12, 1]);
    let number = client.peer.next_number(SpaceId::Data) - 1;
    assert!(client.is_answered(SpaceId::Data, number, &datagram));
    assert_eq!(client.connection.close_reason(), None);
    let streams = client.connection.streams();
    streams.open(Dir::Bi).expect("a first stream");
    let id = streams.open(Dir::Bi).expect("the larger limit holds");
    streams.write(id, Bytes::from_static(b"more than a byte")).expect("room");
    client.pump();
    let sent = client.peer.frames(PacketType::OneRtt, |frame| match frame {
        Frame::Stream(stream) => Some(stream.data.len()),
        _ => None,
    });
    assert_eq!(sent.iter().sum::<usize>(), 16);
}
