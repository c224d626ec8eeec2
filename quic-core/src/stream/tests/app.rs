//! What the application sees.

use super::*;

#[test]
fn all_four_kinds_of_streams_carry_data() {
    let mut pair = Pair::new();
    for _ in 0..2 {
        for dir in Dir::ALL {
            carry_data(&mut pair, dir);
        }
        std::mem::swap(&mut pair.client, &mut pair.server);
    }
    pair.assert_all_returned();
}

/// The end called client in the pair opens a stream, and both sides use it as far as they can.
fn carry_data(pair: &mut Pair, dir: Dir) {
    let id = pair.client.streams.open(dir).unwrap();
    pair.client.write(id, 0, 5_000);
    pair.client.streams.finish(id).unwrap();
    pair.settle();
    assert_eq!(pair.server.events(), [StreamEvent::Opened(dir)]);
    assert_eq!(pair.server.streams.accept(dir), Some(id));
    assert_eq!(pair.server.streams.accept(dir), None);
    assert_eq!(pair.server.events(), [StreamEvent::Readable(id)]);
    assert_eq!(pair.server.read_all(id), (content(id, 0, 5_000).to_vec(), Ok(Read::Finished)));
    let delivered = StreamEvent::SendClosed { id, outcome: SendOutcome::Delivered };
    assert_eq!(pair.client.events(), [delivered]);
    if dir == Dir::Bi {
        pair.server.write(id, 0, 10);
        pair.server.streams.finish(id).unwrap();
        pair.settle();
        assert_eq!(pair.client.events(), [StreamEvent::Readable(id)]);
        assert_eq!(pair.client.read_all(id), (content(id, 0, 10).to_vec(), Ok(Read::Finished)));
        assert_eq!(pair.server.events(), [delivered]);
    }
    pair.client.streams.release(id);
    pair.server.streams.release(id);
    pair.settle();
}

#[test]
fn calls_for_the_missing_half_of_a_stream_find_nothing() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Uni).unwrap();
    assert_eq!(pair.client.streams.read(id), Err(ReadError::UnknownStream));
    pair.client.write(id, 0, 1);
    pair.settle();
    pair.server.streams.accept(Dir::Uni).unwrap();
    let nothing = Bytes::from_static(b"x");
    assert_eq!(pair.server.streams.write(id, nothing), Err(WriteError::UnknownStream));
    assert_eq!(pair.server.streams.finish(id), Err(WriteError::UnknownStream));
    pair.server.streams.reset(id, code(1));
    pair.client.streams.stop(id, code(1));
    pair.settle();
    assert_eq!(pair.server.read_all(id).1, Ok(Read::Blocked));
}

// req-test 9000-2.1-001, 9000-3.2-008
#[test]
fn streams_are_accepted_in_order_and_each_once() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..4).map(|_| pair.client.streams.open(Dir::Bi).unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    pair.client.write(ids[2], 0, 10);
    pair.settle();
    assert_eq!(pair.server.events(), [StreamEvent::Opened(Dir::Bi)]);
    let accepted: Vec<_> = std::iter::from_fn(|| pair.server.streams.accept(Dir::Bi)).collect();
    assert_eq!(accepted, ids[..3]);
    assert_eq!(pair.server.events(), [StreamEvent::Readable(ids[2])]);
    pair.client.write(ids[0], 0, 10);
    pair.settle();
    assert_eq!(pair.server.events(), [StreamEvent::Readable(ids[0])]);
}

// req-test 9000-4.6-034, 9000-19.11-456, 9000-4.6-037, 9000-19.14-461
#[test]
fn opening_waits_for_the_limit_of_the_peer() {
    let mut pair = Pair::new();
    let ids: Vec<_> = std::iter::from_fn(|| pair.client.streams.open(Dir::Uni)).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(pair.client.streams.open(Dir::Uni), None);
    let packet = pair.client.packet().unwrap();
    assert_eq!(packet.frames, [SentStreamFrame::StreamsBlocked(Dir::Uni, 4)]);
    pair.client.lost(&packet);
    assert_eq!(pair.client.packet().unwrap().frames, packet.frames);
    ids.iter().for_each(|id| pair.client.streams.finish(*id).unwrap());
    pair.settle();
    assert_eq!(pair.client.streams.open(Dir::Uni), None, "the server still has the streams");
    for id in &ids {
        assert_eq!(pair.server.streams.accept(Dir::Uni), Some(*id));
        assert_eq!(pair.server.read_all(*id).1, Ok(Read::Finished));
    }
    pair.settle();
    assert_eq!(pair.client.streams.open(Dir::Uni), None, "the handlers are not done");
    ids.iter().for_each(|id| pair.server.streams.release(*id));
    pair.settle();
    assert!(pair.client.events().contains(&StreamEvent::StreamsAvailable(Dir::Uni)));
    assert_eq!(pair.client.streams.open(Dir::Uni), Some(id(Side::Client, Dir::Uni, 4)));
}

// req-test 9000-4.6-038
#[test]
fn stream_credit_comes_back_unasked() {
    let mut pair = Pair::new();
    for index in 0..50 {
        let id = pair.client.streams.open(Dir::Bi).expect("credit came back in time");
        assert_eq!(id.index(), index);
        pair.client.streams.finish(id).unwrap();
        pair.settle();
        pair.server.streams.accept(Dir::Bi).unwrap();
        assert_eq!(pair.server.read_all(id).1, Ok(Read::Finished));
        pair.server.streams.finish(id).unwrap();
        pair.server.streams.release(id);
        pair.settle();
        assert_eq!(pair.client.read_all(id).1, Ok(Read::Finished));
        pair.client.streams.release(id);
    }
    pair.assert_all_returned();
}

/// Streams that the peer has opened and said nothing of take its credit, and nobody here sees that.
#[test]
fn a_peer_that_waits_for_streams_hears_of_every_single_place() {
    let many = StreamConfig { initial_max_streams_uni: 40, ..config() };
    for waits_first in [false, true] {
        let mut pair = Pair::with(&many, &many);
        let ids: Vec<_> = std::iter::from_fn(|| pair.client.streams.open(Dir::Uni)).collect();
        assert_eq!(ids.len(), 40);
        if !waits_first {
            // STREAMS_BLOCKED is lost, and repeated when places are free.
            let packet = pair.client.packet().unwrap();
            assert_eq!(packet.frames, [SentStreamFrame::StreamsBlocked(Dir::Uni, 40)]);
            pair.client.lost(&packet);
        }
        for (at, id) in ids[..3].iter().enumerate() {
            if waits_first {
                pair.settle();
                assert_eq!(pair.client.streams.open_limit(Dir::Uni), 40 + at as u64);
                while pair.client.streams.open(Dir::Uni).is_some() {}
            }
            pair.client.streams.finish(*id).unwrap();
            let packet = pair.client.packet().unwrap();
            pair.server.receive(&packet).unwrap();
            pair.client.acked(&packet);
            assert_eq!(pair.server.streams.accept(Dir::Uni), Some(*id));
            assert_eq!(pair.server.read_all(*id).1, Ok(Read::Finished));
            pair.server.streams.release(*id);
            pair.client.streams.release(*id);
        }
        pair.settle();
        assert_eq!(pair.client.streams.open_limit(Dir::Uni), 43);
    }
}

// req-test 9000-4.1-021, 9000-4.1-024, 9000-19.12-458, 9000-19.9-448
#[test]
fn data_beyond_the_credit_of_the_connection_waits_without_spinning() {
    let mut pair = Pair::new();
    let ids = [(); 2].map(|()| pair.client.streams.open(Dir::Uni).unwrap());
    ids.iter().for_each(|id| pair.client.write(*id, 0, 9_000));
    pair.settle();
    assert_eq!(pair.client.streams.audit().data_sent, 15_000);
    assert!(!pair.client.has_pending());
    assert_eq!(pair.client.streams.audit().scheduled, 1);
    pair.client.streams.repeat_blocked();
    // req-test 9000-4.1-025
    assert_eq!(pair.client.packet().unwrap().frames, [SentStreamFrame::DataBlocked(15_000)]);
    assert_eq!(pair.client.packet().map(|packet| packet.frames), None, "told once");
    pair.server.streams.accept(Dir::Uni).unwrap();
    assert_eq!(pair.server.read_all(ids[0]).0.len(), 9_000);
    pair.settle();
    assert_eq!(pair.client.streams.audit().data_sent, 18_000);
}

#[test]
fn an_end_needs_no_credit() {
    let mut pair = Pair::new();
    let ids = [(); 2].map(|()| pair.client.streams.open(Dir::Uni).unwrap());
    ids.iter().for_each(|id| pair.client.write(*id, 0, 7_500));
    let empty = pair.client.streams.open(Dir::Uni).unwrap();
    pair.settle();
    pair.client.streams.finish(empty).unwrap();
    pair.client.streams.finish(ids[0]).unwrap();
    assert!(pair.client.streams.has_data_pending());
    assert_eq!(pair.client.packet().unwrap().frames.len(), 2);
}

#[test]
fn writers_wait_for_the_window_of_their_stream() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Uni).unwrap();
    assert_eq!(pair.client.streams.write(id, content(id, 0, 30_000)), Ok(20_000));
    let more = content(id, 20_000, 1);
    assert_eq!(pair.client.streams.write(id, more.clone()), Err(WriteError::Blocked));
    pair.settle();
    assert_eq!(pair.client.events(), [StreamEvent::Writable(id)]);
    assert_eq!(pair.client.streams.write(id, more), Ok(1));
    assert_eq!(pair.client.events(), []);
}

#[test]
fn writers_wait_for_the_budget_of_the_connection() {
    let small = StreamConfig { send_budget: 8_000, ..config() };
    let mut pair = Pair::with(&small, &config());
    let ids = [(); 3].map(|()| pair.client.streams.open(Dir::Uni).unwrap());
    assert_eq!(pair.client.streams.write(ids[0], content(ids[0], 0, 8_000)), Ok(8_000));
    for id in &ids[1..] {
        assert_eq!(pair.client.streams.write(*id, content(*id, 0, 1)), Err(WriteError::Blocked));
    }
    assert_eq!(pair.client.streams.audit().waiting_writers, 2);
    pair.client.streams.reset(ids[2], code(1));
    pair.settle();
    let events = pair.client.events();
    assert!(events.contains(&StreamEvent::Writable(ids[1])));
    assert!(!events.contains(&StreamEvent::Writable(ids[2])), "nobody writes to it any more");
    assert_eq!(pair.client.streams.audit().waiting_writers, 0);
}

#[test]
fn urgent_data_overtakes_and_equal_streams_share() {
    let mut pair = Pair::new();
    let ids = [(); 3].map(|()| pair.client.streams.open(Dir::Uni).unwrap());
    ids.iter().for_each(|id| pair.client.write(*id, 0, 5_000));
    pair.client.streams.set_priority(ids[2], Priority { urgency: 0, incremental: false });
    let mut order = Vec::new();
    while let Some(packet) = pair.client.packet() {
        order.extend(packet.frames.iter().filter_map(|frame| frame.stream_id()));
    }
    order.dedup();
    assert_eq!(order[..2], [ids[2], ids[0]]);
}

#[test]
fn many_small_streams_share_one_packet() {
    let many = StreamConfig { initial_max_streams_uni: 40, ..config() };
    let mut pair = Pair::with(&many, &many);
    for _ in 0..40 {
        let id = pair.client.streams.open(Dir::Uni).unwrap();
        pair.client.write(id, 0, 20);
        pair.client.streams.finish(id).unwrap();
    }
    assert_eq!(pair.client.packet().unwrap().frames.len(), 40);
    assert!(!pair.client.has_pending());
}

#[test]
fn a_stream_window_that_grows_takes_the_connection_window_along() {
    let wide = StreamConfig {
        initial_max_data: 12_000,
        max_stream_window: 20_000,
        max_connection_window: 60_000,
        stream_send_window: 1 << 20,
        send_budget: 1 << 20,
        ..config()
    };
    let mut pair = Pair::with(&wide, &wide);
    let id = pair.client.streams.open(Dir::Uni).unwrap();
    pair.client.write(id, 0, 500_000);
    pair.settle();
    pair.server.streams.accept(Dir::Uni).unwrap();
    // A window of 10,000 takes less than two round trips, one of 12,000 takes more.
    for _ in 0..3 {
        pair.server.now += RTT * 2 * 10 / 11;
        assert!(pair.server.read_all(id).0.len() >= 10_000);
        pair.settle();
    }
    let recv = pair.server.streams.table[pair.server.streams.table.find(id).unwrap()].recv.as_ref();
    assert_eq!(recv.unwrap().window(), 20_000);
    assert_eq!(pair.server.streams.receive_credit.window(), 30_000);
}

#[test]
fn data_that_the_reader_did_not_release_holds_the_window() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Uni).unwrap();
    pair.client.write(id, 0, 20_000);
    pair.settle();
    pair.server.streams.accept(Dir::Uni).unwrap();
    let mut taken = 0;
    while let Ok(Read::Chunk(data)) = pair.server.streams.read(id) {
        taken += data.len() as u64;
    }
    pair.settle();
    assert_eq!((taken, pair.client.streams.audit().data_sent), (10_000, 10_000));
    pair.server.streams.release_credit(id, taken);
    pair.settle();
    assert_eq!(pair.client.streams.audit().data_sent, 20_000);
}

// req-test 9000-4.4-028
#[test]
fn a_reset_leaves_the_other_direction_alone() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Bi).unwrap();
    pair.client.streams.reset(id, code(4));
    pair.settle();
    pair.server.streams.accept(Dir::Bi).unwrap();
    assert_eq!(pair.server.read_all(id).1, Err(ReadError::Reset(code(4))));
    pair.server.write(id, 0, 20_000);
    let mut received = Vec::new();
    while received.len() < 20_000 {
        pair.settle();
        let (data, end) = pair.client.read_all(id);
        assert_eq!(end, Ok(Read::Blocked));
        received.extend(data);
    }
    assert_eq!(received, content(id, 0, 20_000));
}

#[test]
fn releasing_a_stream_that_is_open_gives_up_both_parts() {
    let mut pair = Pair::new();
    let id = pair.client.streams.open(Dir::Bi).unwrap();
    pair.client.write(id, 0, 100);
    pair.settle();
    pair.server.streams.accept(Dir::Bi).unwrap();
    pair.server.streams.release(id);
    pair.settle();
    let events = pair.client.events();
    assert!(events.contains(&StreamEvent::Stopped { id, code: code(0) }), "{events:?}");
    assert_eq!(pair.client.read_all(id).1, Err(ReadError::Reset(code(0))));
    pair.client.streams.release(id);
    pair.settle();
    pair.assert_all_returned();
}
