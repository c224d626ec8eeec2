use super::*;

const EVENTS: [Event; 6] = [
    Event::Fin,
    Event::AllReceived,
    Event::ReadAll,
    Event::Discard,
    Event::Reset,
    Event::ReadReset,
];

/// Rows and columns in the order of the figure in RFC 9000, section 3.2.
#[test]
fn the_transitions_are_those_of_the_rfc() {
    use State as S;
    let table: [(S, [Option<S>; 6]); 6] = [
        (S::Recv, [Some(S::SizeKnown), None, None, None, Some(S::ResetRecvd), None]),
        (
            S::SizeKnown,
            [None, Some(S::DataRecvd), None, Some(S::DataRead), Some(S::ResetRecvd), None],
        ),
        (S::DataRecvd, [None, None, Some(S::DataRead), Some(S::DataRead), None, None]),
        (S::ResetRecvd, [None, None, None, None, None, Some(S::ResetRead)]),
        (S::DataRead, [None; 6]),
        (S::ResetRead, [None; 6]),
    ];
    for (state, row) in table {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            assert_eq!(state.next(event), expected, "{event:?} in {state:?}");
        }
    }
}

fn code(code: u32) -> ApplicationErrorCode {
    code.into()
}

fn stream() -> RecvStream {
    RecvStream::new(1000, 1000)
}

/// What a STREAM frame does: the credit it used, and the credit that went back.
fn frame(
    stream: &mut RecvStream,
    offset: u64,
    len: usize,
    fin: bool,
) -> Result<(u64, u64), Violation> {
    let used = stream.on_extent(offset + len as u64, fin)?;
    let data = Bytes::from(vec![1; len]);
    Ok((used, stream.on_data(offset, Arrival::Share(data))))
}

fn reset(stream: &mut RecvStream, final_size: u64) -> Result<(u64, u64), Violation> {
    let used = stream.on_reset(code(5), final_size)?;
    Ok((used, stream.return_after_reset()))
}

#[test]
fn data_and_its_end_are_read_once() {
    let mut stream = stream();
    assert_eq!(stream.read(), Ok(Read::Blocked));
    assert_eq!(frame(&mut stream, 10, 10, true), Ok((20, 0)));
    assert_eq!((stream.state, stream.is_readable()), (State::SizeKnown, false));
    assert_eq!(frame(&mut stream, 0, 10, false), Ok((0, 0)));
    assert_eq!((stream.state, stream.is_readable()), (State::DataRecvd, true));
    let mut total = 0;
    while let Ok(Read::Chunk(data)) = stream.read() {
        total += data.len();
    }
    assert_eq!((total, stream.state, stream.is_closed()), (20, State::DataRead, true));
    assert_eq!(stream.read(), Ok(Read::Finished));
    assert_eq!((stream.release(15), stream.release(15), stream.uncredited()), (15, 5, 0));
}

#[test]
fn an_empty_stream_is_finished() {
    let mut stream = stream();
    frame(&mut stream, 0, 0, true).unwrap();
    assert!(stream.is_readable());
    assert_eq!(stream.read(), Ok(Read::Finished));
}

// req-test 9000-19.10-453, 9000-4.1-022
#[test]
fn data_beyond_the_limit_is_refused() {
    assert_eq!(frame(&mut stream(), 1000, 1, false), Err(Violation::StreamDataLimit));
    assert_eq!(frame(&mut stream(), 999, 1, false), Ok((1000, 0)));
    // lesson 18
    assert_eq!(reset(&mut stream(), 1001), Err(Violation::StreamDataLimit));
}

// req-test 9000-4.5-031, 9000-4.5-032
#[test]
fn the_final_size_never_changes() {
    let known = || {
        let mut stream = stream();
        frame(&mut stream, 0, 100, true).unwrap();
        stream
    };
    assert_eq!(frame(&mut known(), 100, 1, false), Err(Violation::DataBeyondFinalSize));
    assert_eq!(frame(&mut known(), 0, 101, true), Err(Violation::FinalSizeChanged));
    assert_eq!(frame(&mut known(), 0, 99, true), Err(Violation::FinalSizeChanged));
    assert_eq!(frame(&mut known(), 0, 100, true), Ok((0, 0)));
    assert_eq!(reset(&mut known(), 99), Err(Violation::FinalSizeChanged));
    assert_eq!(reset(&mut known(), 101), Err(Violation::FinalSizeChanged));
    let mut read = known();
    while !read.is_closed() {
        read.read().unwrap();
    }
    assert_eq!(frame(&mut read, 100, 1, false), Err(Violation::DataBeyondFinalSize));
    let mut after_reset = stream();
    reset(&mut after_reset, 50).unwrap();
    assert_eq!(reset(&mut after_reset, 51), Err(Violation::FinalSizeChanged));
    assert_eq!(frame(&mut after_reset, 50, 1, false), Err(Violation::DataBeyondFinalSize));
}

// req-test 9000-4.5-031
#[test]
fn the_final_size_is_at_least_what_was_received() {
    let received = || {
        let mut stream = stream();
        frame(&mut stream, 90, 10, false).unwrap();
        stream
    };
    assert_eq!(frame(&mut received(), 0, 99, true), Err(Violation::FinalSizeBelowReceived));
    assert_eq!(reset(&mut received(), 99), Err(Violation::FinalSizeBelowReceived));
    assert_eq!(reset(&mut received(), 100), Ok((0, 100)));
}

// lesson 16, lesson 7
// req-test 9000-3.2-009, 9000-4.5-029
#[test]
fn a_reset_drops_the_data_and_gives_back_the_rest_of_the_credit_once() {
    let mut stream = stream();
    frame(&mut stream, 0, 100, false).unwrap();
    assert!(matches!(stream.read(), Ok(Read::Chunk(_))));
    assert_eq!(stream.release(30), 30);
    frame(&mut stream, 100, 100, false).unwrap();
    assert_eq!(reset(&mut stream, 500), Ok((300, 470)));
    assert_eq!((stream.release(70), stream.memory()), (0, 0));
    assert_eq!(reset(&mut stream, 500), Ok((0, 0)));
    assert!(stream.is_readable());
    assert_eq!(stream.read(), Err(ReadError::Reset(code(5))));
    assert_eq!((stream.state, stream.is_readable()), (State::ResetRead, false));
    assert_eq!((stream.stop(code(1)), stream.pending_stop()), (0, None));
    assert_eq!(stream.read(), Err(ReadError::Reset(code(5))));
    assert_eq!(stream.uncredited(), 0);
}

#[test]
fn a_reset_after_all_data_has_arrived_changes_nothing() {
    let mut stream = stream();
    frame(&mut stream, 0, 100, true).unwrap();
    assert_eq!(reset(&mut stream, 100), Ok((0, 0)));
    assert!(matches!(stream.read(), Ok(Read::Chunk(_))));
    assert_eq!((stream.read(), stream.release(100)), (Ok(Read::Finished), 100));
}

// lesson 13, lesson 16
// req-test 9000-3.5-013
#[test]
fn a_stopped_stream_gives_credit_back_as_data_comes_in() {
    let mut stream = stream();
    frame(&mut stream, 50, 50, false).unwrap();
    assert_eq!(stream.stop(code(3)), 100);
    assert_eq!((stream.stop(code(4)), stream.pending_stop()), (0, Some(code(3))));
    assert_eq!(stream.read(), Err(ReadError::Stopped));
    assert_eq!(frame(&mut stream, 100, 100, false), Ok((100, 100)));
    assert_eq!((stream.memory(), stream.is_readable()), (0, false));
    assert_eq!(frame(&mut stream, 200, 10, true), Ok((10, 10)));
    assert_eq!(stream.state, State::SizeKnown);
    assert_eq!((stream.release(5), stream.uncredited()), (0, 0));
}

// lesson 12
#[test]
fn stop_sending_is_sent_again_until_acknowledged() {
    let mut stream = stream();
    stream.stop(code(3));
    stream.on_stop_sent();
    assert_eq!(stream.pending_stop(), None);
    stream.on_stop_lost();
    assert_eq!(stream.pending_stop(), Some(code(3)));
    stream.on_stop_sent();
    frame(&mut stream, 0, 10, true).unwrap();
    assert!(!stream.is_closed(), "the peer may not know yet");
    stream.on_stop_lost();
    assert_eq!(stream.pending_stop(), Some(code(3)));
    stream.on_stop_sent();
    stream.on_stop_acked();
    stream.on_stop_lost();
    assert_eq!((stream.state, stream.pending_stop()), (State::DataRead, None));
}

#[test]
fn a_stopped_stream_is_over_when_the_peer_knows_and_its_size_is_known() {
    let mut stream = stream();
    stream.stop(code(3));
    stream.on_stop_sent();
    stream.on_stop_acked();
    assert!(!stream.is_closed(), "how much credit it takes is not known");
    frame(&mut stream, 0, 10, true).unwrap();
    assert_eq!(stream.state, State::DataRead);

    let mut other = self::stream();
    other.stop(code(3));
    assert_eq!(reset(&mut other, 40), Ok((40, 40)));
    assert_eq!((other.state, other.pending_stop()), (State::ResetRead, None));
}

// req-test 9000-3.5-019, 9000-3.3-012
#[test]
fn stop_sending_is_not_sent_when_everything_or_a_reset_has_arrived() {
    let mut stream = stream();
    frame(&mut stream, 0, 10, true).unwrap();
    assert_eq!((stream.stop(code(3)), stream.pending_stop()), (10, None));
    assert_eq!(stream.state, State::DataRead);

    let mut other = self::stream();
    reset(&mut other, 10).unwrap();
    assert_eq!((other.stop(code(3)), other.pending_stop()), (0, None));
    assert_eq!(other.state, State::ResetRead);
}

// lesson 19
#[test]
fn the_window_is_not_updated_when_that_is_of_no_use() {
    let drained = || {
        let mut stream = stream();
        frame(&mut stream, 0, 900, false).unwrap();
        stream.read().unwrap();
        stream.release(900);
        assert!(stream.wants_window_update());
        stream
    };
    let mut stopped = drained();
    stopped.stop(code(1));
    assert!(!stopped.wants_window_update());
    let mut sized = drained();
    frame(&mut sized, 900, 10, true).unwrap();
    assert!(!sized.wants_window_update());
    let mut ended = drained();
    reset(&mut ended, 950).unwrap();
    assert!(!ended.wants_window_update());
}
