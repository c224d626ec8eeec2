use super::*;

const EVENTS: [Event; 5] =
    [Event::SendFrame, Event::SendFin, Event::AllAcked, Event::Reset, Event::ResetAcked];

/// Rows and columns in the order of the figure in RFC 9000, section 3.1.
#[test]
fn the_transitions_are_those_of_the_rfc() {
    use State as S;
    let table: [(S, [Option<S>; 5]); 6] = [
        (S::Ready, [Some(S::Send), Some(S::DataSent), None, Some(S::ResetSent), None]),
        (S::Send, [Some(S::Send), Some(S::DataSent), None, Some(S::ResetSent), None]),
        (S::DataSent, [None, Some(S::DataSent), Some(S::DataRecvd), Some(S::ResetSent), None]),
        (S::ResetSent, [None, None, None, None, Some(S::ResetRecvd)]),
        (S::DataRecvd, [None; 5]),
        (S::ResetRecvd, [None; 5]),
    ];
    for (state, row) in table {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            assert_eq!(state.next(event), expected, "{event:?} in {state:?}");
        }
    }
}

fn id() -> StreamId {
    StreamId::from_u64(0).unwrap()
}

fn code(code: u32) -> ApplicationErrorCode {
    code.into()
}

fn stream() -> SendStream {
    SendStream::new(1000, 1000)
}

fn send(stream: &mut SendStream, room: usize) -> Option<SentData> {
    let mut packet = vec![0; room];
    stream.write_frame(id(), u64::MAX / 2, &mut Writer::new(&mut packet))
}

fn stream_in_data_sent() -> (SendStream, SentData) {
    let mut stream = stream();
    stream.write(Bytes::from_static(&[1; 100]));
    stream.finish().unwrap();
    let data = send(&mut stream, 200).unwrap();
    assert_eq!((stream.state, data.fin), (State::DataSent, true));
    (stream, data)
}

#[test]
fn data_and_fin_lead_through_send_and_data_sent_to_data_recvd() {
    let mut stream = stream();
    assert_eq!((stream.state, stream.demand()), (State::Ready, None));
    stream.write(Bytes::from_static(&[1; 100]));
    assert_eq!(stream.demand(), Some(Demand::Credit));
    let first = send(&mut stream, 60).unwrap();
    assert_eq!((stream.state, first.fin), (State::Send, false));
    stream.finish().unwrap();
    let second = send(&mut stream, 200).unwrap();
    assert_eq!((stream.state, second.fin), (State::DataSent, true));
    assert_eq!(u64::from(first.len + second.len), stream.highest_sent());
    let progress = stream.on_data_acked(second);
    assert_eq!((progress.freed, progress.outcome, stream.is_closed()), (0, None, false));
    let progress = stream.on_data_acked(first);
    assert_eq!((progress.freed, progress.outcome), (100, Some(SendOutcome::Delivered)));
    assert_eq!((stream.state, stream.outcome()), (State::DataRecvd, Some(SendOutcome::Delivered)));
    assert_eq!(stream.on_data_acked(first), SendProgress::NONE);
}

#[test]
fn an_empty_stream_ends_with_an_empty_frame() {
    let mut stream = stream();
    stream.finish().unwrap();
    assert_eq!(stream.demand(), Some(Demand::Room), "an end costs no credit");
    let data = send(&mut stream, 20).unwrap();
    assert_eq!(data, SentData { offset: 0, len: 0, fin: true });
    assert_eq!(stream.demand(), None);
    stream.on_data_lost(data);
    let again = send(&mut stream, 20).unwrap();
    assert_eq!(stream.on_data_acked(again).outcome, Some(SendOutcome::Delivered));
}

// req-test 9000-3.1-007
#[test]
fn reset_may_be_the_first_frame() {
    let mut stream = stream();
    stream.write(Bytes::from_static(b"never sent"));
    assert_eq!(stream.reset(code(7)), Some(10));
    let frame = stream.pending_reset(id()).unwrap();
    // lesson 17: unsent bytes are no part of the final size
    assert_eq!((frame.final_size, frame.error_code), (0, code(7)));
    assert_eq!(stream.state, State::ResetSent);
}

// lesson 1, lesson 20
// req-test 9000-3.3-010, 9000-3.3-011
#[test]
fn after_a_reset_no_data_is_sent_whatever_is_lost() {
    let mut stream = stream();
    stream.write(Bytes::from_static(&[1; 100]));
    let data = send(&mut stream, 60).unwrap();
    stream.reset(code(7)).unwrap();
    assert_eq!(stream.demand(), None);
    assert_eq!(stream.on_data_lost(data), SendProgress::NONE);
    stream.update_blocked();
    assert_eq!((stream.demand(), send(&mut stream, 200)), (None, None));
    assert_eq!(stream.pending_blocked(), None);
    stream.on_reset_sent();
    stream.on_reset_acked();
    stream.on_reset_lost();
    assert_eq!(stream.on_data_acked(data), SendProgress::NONE);
    assert_eq!((stream.demand(), stream.pending_reset(id())), (None, None));
    assert!(stream.is_closed());
}

// lesson 8
#[test]
fn a_lost_reset_is_sent_again_with_the_same_final_size() {
    let (mut stream, data) = stream_in_data_sent();
    stream.on_data_lost(data);
    stream.reset(code(7)).unwrap();
    let first = stream.pending_reset(id()).unwrap();
    stream.on_reset_sent();
    assert_eq!(stream.pending_reset(id()), None);
    stream.on_reset_lost();
    assert_eq!(stream.pending_reset(id()), Some(first));
    assert_eq!(first.final_size, 100, "the size that the FIN has told");
    stream.on_reset_sent();
    stream.on_reset_acked();
    stream.on_reset_acked();
    assert_eq!(stream.state, State::ResetRecvd);
}

#[test]
fn a_stream_ends_once() {
    let (mut stream, data) = stream_in_data_sent();
    assert_eq!(stream.finish(), Err(WriteError::Closed));
    assert_eq!(stream.room(), Err(WriteError::Closed));
    stream.on_data_acked(data);
    assert_eq!((stream.reset(code(1)), stream.on_stop_sending(code(2))), (None, StopEffect::None));
    assert_eq!(stream.outcome(), Some(SendOutcome::Delivered));
    let mut stream = self::stream();
    stream.reset(code(1)).unwrap();
    assert_eq!((stream.reset(code(2)), stream.on_stop_sending(code(3))), (None, StopEffect::None));
    assert_eq!(stream.outcome(), Some(SendOutcome::Reset { code: code(1), by_peer: false }));
}

// lesson 5
// req-test 9000-3.5-014, 9000-3.5-017
#[test]
fn stop_sending_resets_a_stream_with_the_code_of_the_peer() {
    for sent in [false, true] {
        let mut stream = stream();
        stream.write(Bytes::from_static(&[1; 100]));
        if sent {
            send(&mut stream, 60).unwrap();
        }
        assert_eq!(stream.on_stop_sending(code(9)), StopEffect::Reset(100));
        assert_eq!(stream.pending_reset(id()).unwrap().error_code, code(9));
        assert_eq!(stream.room(), Err(WriteError::Stopped(code(9))));
        assert_eq!(stream.finish(), Err(WriteError::Stopped(code(9))));
        assert_eq!(stream.buffered(), 0);
    }
}

// lesson 11
// req-test 9000-3.5-015
#[test]
fn stop_sending_after_all_was_sent_lets_the_delivery_finish() {
    let (mut stream, data) = stream_in_data_sent();
    assert_eq!(stream.on_stop_sending(code(9)), StopEffect::Remembered);
    assert_eq!(stream.on_stop_sending(code(9)), StopEffect::None);
    assert_eq!(stream.pending_reset(id()), None);
    assert_eq!(stream.on_data_acked(data).outcome, Some(SendOutcome::Delivered));
    assert!(stream.is_closed());
}

// lesson 10
// req-test 9000-3.5-016
#[test]
fn stop_sending_after_all_was_sent_turns_a_loss_into_a_reset() {
    let (mut stream, data) = stream_in_data_sent();
    stream.on_stop_sending(code(9));
    let progress = stream.on_data_lost(data);
    let outcome = Some(SendOutcome::Reset { code: code(9), by_peer: true });
    assert_eq!((progress.freed, progress.outcome), (100, outcome));
    assert_eq!((stream.demand(), send(&mut stream, 200)), (None, None));
    assert_eq!(stream.pending_reset(id()).unwrap().final_size, 100);
}

// req-test 9000-4.1-021, 9000-19.10-452, 9000-2.2-005
#[test]
fn the_limit_of_the_stream_and_that_of_the_connection_both_hold() {
    let mut stream = SendStream::new(50, 1000);
    stream.write(Bytes::from_static(&[1; 100]));
    let mut packet = [0; 500];
    let data = stream.write_frame(id(), 20, &mut Writer::new(&mut packet)).unwrap();
    assert_eq!((data.offset, data.len), (0, 20));
    assert_eq!(stream.write_frame(id(), 0, &mut Writer::new(&mut packet)), None);
    let data = stream.write_frame(id(), 500, &mut Writer::new(&mut packet)).unwrap();
    assert_eq!((data.offset, data.len), (20, 30));
    stream.update_blocked();
    assert_eq!((stream.demand(), stream.pending_blocked()), (None, Some(50)));
    stream.on_data_lost(data);
    let again = stream.write_frame(id(), 0, &mut Writer::new(&mut packet));
    assert_eq!(again, Some(data), "what is sent again was paid for");
}

// req-test 9000-4.1-024, 9000-19.13-459
#[test]
fn being_blocked_is_told_until_there_is_credit() {
    let mut stream = SendStream::new(0, 1000);
    stream.update_blocked();
    assert_eq!(stream.pending_blocked(), None, "there is nothing to send");
    stream.write(Bytes::from_static(b"x"));
    stream.update_blocked();
    assert_eq!(stream.pending_blocked(), Some(0));
    stream.on_blocked_sent();
    assert_eq!((stream.state, stream.pending_blocked()), (State::Send, None));
    stream.on_max_stream_data(1);
    stream.update_blocked();
    assert_eq!((stream.demand(), stream.pending_blocked()), (Some(Demand::Credit), None));
}

// req-test 9000-4.5-030
#[test]
fn every_frame_that_ends_at_the_final_size_says_so() {
    let (mut stream, data) = stream_in_data_sent();
    stream.on_data_lost(data);
    let first = send(&mut stream, 50).unwrap();
    let second = send(&mut stream, 200).unwrap();
    assert!(!first.fin && second.fin);
    assert_eq!(second.offset + u64::from(second.len), 100);
}

#[test]
fn a_frame_that_fills_the_packet_has_no_length_field() {
    let frame_of = |room: usize| {
        let mut stream = stream();
        stream.write(Bytes::from_static(&[1; 100]));
        let mut packet = vec![0; room];
        let mut writer = Writer::new(&mut packet);
        let data = stream.write_frame(id(), 1000, &mut writer)?;
        Some((data.len, writer.remaining(), packet[0] & 2 != 0))
    };
    assert_eq!(frame_of(50), Some((48, 0, false)));
    assert_eq!(frame_of(102), Some((100, 0, false)));
    assert_eq!(frame_of(103), Some((99, 0, true)), "the length would not fit with all of it");
    assert_eq!(frame_of(200), Some((100, 96, true)));
    assert_eq!(frame_of(10), None, "too little room for a part of the data");
}

#[test]
fn room_is_the_window_without_what_is_unacknowledged() {
    let mut stream = SendStream::new(1000, 100);
    stream.write(Bytes::from_static(&[1; 80]));
    assert_eq!((stream.room(), stream.has_ample_room()), (Ok(20), false));
    let data = send(&mut stream, 200).unwrap();
    assert_eq!(stream.room(), Ok(20));
    stream.on_data_acked(data);
    assert_eq!((stream.room(), stream.has_ample_room()), (Ok(100), true));
}
