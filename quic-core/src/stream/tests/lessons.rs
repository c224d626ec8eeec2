//! What went wrong in other stacks, and what must not here.

use super::*;

/// A pair with one stream of the client that the server has accepted, `sent` bytes of it received.
fn with_stream(dir: Dir, sent: usize) -> (Pair, StreamId) {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(dir).unwrap();
    pair.client.write(id, 0, sent);
    pair.settle();
    assert_eq!(pair.server.streams.accept(dir), Some(id));
    (pair, id)
}

// lesson 1
// req-test 9000-3.3-011
#[test]
fn data_lost_before_a_reset_is_not_sent_after_it() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    pair.client.write(id, 100, 100);
    let lost = pair.client.packet().unwrap();
    pair.client.streams.reset(id, code(7));
    pair.client.lost(&lost);
    let packet = pair.client.packet().unwrap();
    assert_eq!(packet.frames, [SentStreamFrame::ResetStream(id)]);
    assert!(pair.client.packet().is_none());
}

// lesson 5
#[test]
fn writing_after_the_end_of_a_stream_fails_and_holds_nothing() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    let chunk = Bytes::from(vec![1; 10]);
    pair.client.streams.finish(id).unwrap();
    assert_eq!(pair.client.streams.write(id, chunk.clone()), Err(WriteError::Closed));
    pair.client.streams.on_connection_closed();
    assert_eq!(pair.client.streams.write(id, chunk.clone()), Err(WriteError::UnknownStream));
    assert!(chunk.is_unique());
}

// lesson 6
#[test]
fn no_stream_opens_after_the_end_of_the_connection() {
    let (mut pair, id) = with_stream(Dir::Bi, 100);
    pair.client.write(id, 100, 100);
    let packet = pair.client.packet().unwrap();
    let streams = &mut pair.server.streams;
    streams.on_connection_closed();
    assert_eq!((streams.open(Dir::Bi), streams.accept(Dir::Bi)), (None, None));
    assert_eq!((streams.read(id), streams.poll_event()), (Err(ReadError::UnknownStream), None));
    pair.server.receive(&packet).unwrap();
    assert_eq!(pair.server.streams.audit().streams, 0);
    assert!(!pair.server.has_pending());
}

// lesson 7
#[test]
fn reading_to_the_end_and_stopping_complete_a_stream_once() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    pair.client.streams.finish(id).unwrap();
    pair.settle();
    assert_eq!(pair.server.read_all(id).1, Ok(Read::Finished));
    pair.server.streams.stop(id, code(1));
    assert_eq!(pair.server.streams.read(id), Err(ReadError::Stopped));
    for _ in 0..2 {
        pair.server.streams.release(id);
    }
    pair.client.streams.release(id);
    pair.settle();
    pair.assert_all_returned();
}

// lesson 8, lesson 9
#[test]
fn a_lost_reset_is_repeated_until_the_stream_credit_returns() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    pair.client.streams.reset(id, code(7));
    pair.client.streams.release(id);
    for _ in 0..3 {
        let packet = pair.client.packet().unwrap();
        assert_eq!(packet.frames, [SentStreamFrame::ResetStream(id)]);
        pair.client.lost(&packet);
    }
    assert_eq!(pair.client.streams.audit().streams, 1, "not before the peer knows");
    pair.settle();
    assert_eq!(pair.server.read_all(id).1, Err(ReadError::Reset(code(7))));
    pair.server.streams.release(id);
    pair.settle();
    pair.assert_all_returned();
}

// lesson 10
#[test]
fn late_losses_of_a_cancelled_stream_leave_nothing_queued() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    pair.client.write(id, 100, 5_000);
    let packets: Vec<_> = std::iter::from_fn(|| pair.client.packet()).collect();
    pair.client.streams.reset(id, code(7));
    pair.client.streams.release(id);
    pair.settle();
    assert_eq!(pair.client.streams.audit().streams, 0);
    packets.iter().for_each(|packet| pair.client.lost(packet));
    packets.iter().for_each(|packet| pair.client.acked(packet));
    assert!(!pair.client.has_pending());
    // And the receiver ignores what comes late.
    pair.server.streams.release(id);
    pair.settle();
    packets.iter().for_each(|packet| pair.server.receive(packet).unwrap());
    pair.assert_all_returned();
}

// lesson 11
#[test]
fn stop_sending_after_a_local_finish_leaks_no_stream() {
    for lost in [false, true] {
        let (mut pair, id) = with_stream(Dir::Bi, 100);
        pair.client.streams.finish(id).unwrap();
        let end = pair.client.packet().unwrap();
        pair.server.streams.stop(id, code(3));
        let stop = pair.server.packet().unwrap();
        pair.client.receive(&stop).unwrap();
        pair.server.acked(&stop);
        pair.client.events();
        if lost {
            pair.client.lost(&end);
        } else {
            pair.server.receive(&end).unwrap();
            pair.client.acked(&end);
        }
        pair.settle();
        let outcome = match lost {
            true => SendOutcome::Reset { code: code(3), by_peer: true },
            false => SendOutcome::Delivered,
        };
        assert_eq!(pair.client.events(), [StreamEvent::SendClosed { id, outcome }]);
        pair.server.streams.finish(id).unwrap();
        pair.settle();
        assert_eq!(pair.client.read_all(id).1, Ok(Read::Finished));
        pair.client.streams.release(id);
        pair.server.streams.release(id);
        pair.settle();
        pair.assert_all_returned();
    }
}

// lesson 12
#[test]
fn a_lost_stop_sending_is_repeated() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    pair.server.streams.stop(id, code(3));
    pair.server.streams.release(id);
    for _ in 0..3 {
        let packet = pair.server.packet().unwrap();
        assert!(packet.frames.contains(&SentStreamFrame::StopSending(id)));
        pair.server.lost(&packet);
    }
    pair.settle();
    pair.client.streams.release(id);
    assert!(pair.client.events().contains(&StreamEvent::Stopped { id, code: code(3) }));
    pair.assert_all_returned();
}

// lesson 13
#[test]
fn stop_sending_can_come_twice_after_the_end_and_with_data() {
    let (mut pair, id) = with_stream(Dir::Bi, 100);
    let stop = frame::StopSending { stream_id: id, error_code: code(3) };
    pair.client.streams.on_stop_sending(&stop).unwrap();
    pair.client.streams.on_stop_sending(&stop).unwrap();
    receive(&mut pair.client, stream_frame(id, 0, b"", true)).unwrap();
    pair.client.streams.on_stop_sending(&stop).unwrap();
    let stopped = |event: &&StreamEvent| matches!(event, StreamEvent::Stopped { .. });
    assert_eq!(pair.client.events().iter().filter(stopped).count(), 1);
    assert_eq!(pair.client.read_all(id).1, Ok(Read::Finished));
    pair.client.streams.release(id);
    let reset = pair.client.packet().unwrap();
    pair.client.acked(&reset);
    assert_eq!(pair.client.streams.audit().streams, 0);
    pair.client.streams.on_stop_sending(&stop).unwrap();
}

#[test]
fn stop_sending_can_be_the_first_frame_of_a_stream() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Bi).unwrap();
    pair.client.streams.stop(id, code(3));
    pair.settle();
    let stopped = StreamEvent::Stopped { id, code: code(3) };
    assert_eq!(pair.server.events(), [StreamEvent::Opened(Dir::Bi)]);
    assert_eq!(pair.server.streams.accept(Dir::Bi), Some(id));
    assert_eq!(pair.server.events()[0], stopped);
    let refused = pair.server.streams.write(id, content(id, 0, 1));
    assert_eq!(refused, Err(WriteError::Stopped(code(3))));
}

// lesson 15
#[test]
fn the_stop_code_of_the_peer_survives_the_acknowledgement_of_our_reset() {
    let (mut pair, id) = with_stream(Dir::Uni, 100);
    pair.server.streams.stop(id, code(3));
    pair.settle();
    pair.settle();
    let outcome = SendOutcome::Reset { code: code(3), by_peer: true };
    let expected =
        [StreamEvent::Stopped { id, code: code(3) }, StreamEvent::SendClosed { id, outcome }];
    assert_eq!(pair.client.events(), expected);
    let late = pair.client.streams.write(id, content(id, 0, 1));
    assert_eq!(late, Err(WriteError::Stopped(code(3))));
}

// lesson 16
#[test]
fn data_dropped_on_reset_or_stop_gives_its_credit_back() {
    for stop in [false, true] {
        let mut pair = Pair::new();
        for round in 0..40 {
            let id = pair.client.streams.open(Dir::Uni).expect("the stream credit came back");
            pair.client.write(id, 0, 10_000);
            pair.settle();
            assert_eq!(pair.server.streams.accept(Dir::Uni), Some(id));
            if stop {
                pair.server.streams.stop(id, code(1));
            } else {
                pair.client.streams.reset(id, code(1));
            }
            pair.settle();
            pair.server.streams.release(id);
            pair.client.streams.release(id);
            pair.settle();
            assert_eq!(pair.client.streams.audit().data_sent, (round + 1) * 10_000);
        }
        pair.assert_all_returned();
    }
}

// lesson 17
#[test]
fn the_final_size_of_a_reset_is_what_was_sent() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Uni).unwrap();
    pair.client.write(id, 0, 20_000);
    while pair.client.packet().is_some() {}
    pair.client.streams.reset(id, code(1));
    let packet = pair.client.packet().unwrap();
    let Frame::ResetStream(reset) =
        Frames::new(&packet.payload, PacketType::OneRtt).next().unwrap().unwrap()
    else {
        panic!("not a reset");
    };
    assert_eq!((reset.final_size, reset.error_code), (10_000, code(1)));
    assert_eq!(pair.client.streams.audit().data_sent, 10_000);
}

// lesson 18
#[test]
fn data_that_a_reset_skips_counts_against_the_limit_of_the_connection() {
    let mut pair = Pair::new();
    let ids = [0, 1].map(|index| id(Side::Client, Dir::Uni, index));
    let reset =
        |id, final_size| frame::ResetStream { stream_id: id, error_code: code(1), final_size };
    pair.server.streams.on_reset_stream(&reset(ids[0], 10_000)).unwrap();
    let audit = pair.server.streams.audit();
    assert_eq!((audit.data_received, audit.data_returned), (10_000, 10_000));
    let error = pair.server.streams.on_reset_stream(&reset(ids[1], 10_000)).unwrap_err();
    assert_eq!(error.reason, Violation::ConnectionDataLimit, "MAX_DATA was not sent yet");
}

// lesson 19
#[test]
fn no_limit_goes_backwards_on_a_stopped_stream_with_reordering() {
    let (mut pair, id) = with_stream(Dir::Uni, 3_000);
    assert_eq!(pair.server.read_all(id).0.len(), 3_000);
    let update = pair.server.packet().unwrap();
    assert!(update.frames.contains(&SentStreamFrame::MaxStreamData(id, 13_000)));
    pair.client.write(id, 3_000, 4_000);
    let packets: Vec<_> = std::iter::from_fn(|| pair.client.packet()).collect();
    pair.server.receive(&packets[3]).unwrap();
    pair.server.streams.stop(id, code(1));
    pair.server.lost(&update);
    packets.iter().for_each(|packet| pair.server.receive(packet).unwrap());
    while let Some(packet) = pair.server.packet() {
        for frame in packet.frames {
            assert!(!matches!(frame, SentStreamFrame::MaxStreamData(..)), "{frame:?}");
        }
    }
    let audit = pair.server.streams.audit();
    assert_eq!((audit.data_received, audit.data_returned), (7_000, 7_000));
}

// lesson 20
#[test]
fn a_reset_stream_has_nothing_to_send() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Uni).unwrap();
    pair.client.write(id, 0, 20_000);
    let packet = pair.client.packet().unwrap();
    pair.client.lost(&packet);
    assert!(pair.client.streams.has_data_pending());
    pair.client.streams.reset(id, code(1));
    assert!(!pair.client.streams.has_data_pending());
    assert_eq!(pair.client.streams.audit().scheduled, 0);
    pair.client.streams.on_max_data(&frame::MaxData { maximum_data: 1 << 30 }).unwrap();
    assert!(!pair.client.streams.has_data_pending());
    assert!(pair.client.packet().is_some_and(|packet| packet.frames.len() == 1));
    assert!(!pair.client.has_pending());
}

// lesson 21
#[test]
fn unread_data_of_a_reset_stream_does_not_hold_its_place() {
    let mut pair = Pair::new();
    let ids: Vec<_> = std::iter::from_fn(|| pair.client.streams.open(Dir::Uni)).collect();
    for id in &ids {
        pair.client.write(*id, 0, 1_000);
    }
    pair.settle();
    ids.iter().for_each(|id| pair.client.streams.reset(*id, code(1)));
    pair.settle();
    while let Some(id) = pair.server.streams.accept(Dir::Uni) {
        pair.server.streams.release(id);
    }
    assert_eq!(pair.server.streams.audit().receive_memory, 0);
    let update = pair.server.packet().unwrap();
    assert!(update.frames.contains(&SentStreamFrame::MaxStreams(Dir::Uni, 8)));
    pair.server.lost(&update);
    let again = pair.server.packet().unwrap();
    assert!(again.frames.contains(&SentStreamFrame::MaxStreams(Dir::Uni, 8)));
    pair.client.receive(&again).unwrap();
    assert!(pair.client.streams.open(Dir::Uni).is_some());
}

// lesson 27
#[test]
fn ten_thousand_finished_streams_take_no_memory() {
    let mut pair = Pair::new();
    let old = pair.client.streams.open(Dir::Uni).unwrap();
    pair.client.write(old, 0, 1);
    pair.settle();
    pair.server.streams.accept(Dir::Uni).unwrap();
    for _ in 0..10_000 {
        let id = pair.client.streams.open(Dir::Uni).unwrap();
        pair.client.write(id, 0, 10);
        pair.client.streams.finish(id).unwrap();
        pair.settle();
        pair.server.streams.accept(Dir::Uni).unwrap();
        assert_eq!(pair.server.read_all(id).1, Ok(Read::Finished));
        pair.server.streams.release(id);
        pair.client.streams.release(id);
        pair.server.events();
        pair.client.events();
        pair.settle();
    }
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.streams.audit().streams, 1);
        assert!(end.streams.table.capacity() < 32);
    }
}

// lesson 27
#[test]
fn one_frame_makes_one_stream_whatever_its_number() {
    let many = StreamConfig { initial_max_streams_uni: 1 << 60, ..config() };
    let mut server = End::new(Side::Server, &many, &many);
    let far = id(Side::Client, Dir::Uni, (1 << 60) - 1);
    receive(&mut server, stream_frame(far, 0, b"x", false)).unwrap();
    assert_eq!(server.streams.audit().streams, 1);
    assert!(server.streams.table.capacity() < 8);
    assert!(!server.has_pending());
}
