//! Everything a peer can do wrong with streams, and the answer.

use proptest::prelude::*;

use super::*;

fn server() -> End {
    End::new(Side::Server, &config(), &config())
}

fn reset(id: StreamId, final_size: u64) -> frame::ResetStream {
    frame::ResetStream { stream_id: id, error_code: code(1), final_size }
}

fn stop(id: StreamId) -> frame::StopSending {
    frame::StopSending { stream_id: id, error_code: code(1) }
}

fn max_stream_data(id: StreamId) -> frame::MaxStreamData {
    frame::MaxStreamData { stream_id: id, maximum_stream_data: 1 << 40 }
}

fn stream_data_blocked(id: StreamId) -> frame::StreamDataBlocked {
    frame::StreamDataBlocked { stream_id: id, maximum_stream_data: 0 }
}

/// What each frame about the stream `id` leads to at a new server.
fn answers(id: StreamId) -> [Option<Violation>; 5] {
    let reason = |result: Result<(), TransportError>| result.err().map(|error| error.reason);
    [
        reason(receive(&mut server(), stream_frame(id, 0, b"x", false))),
        reason(server().streams.on_reset_stream(&reset(id, 0))),
        reason(server().streams.on_stream_data_blocked(&stream_data_blocked(id))),
        reason(server().streams.on_stop_sending(&stop(id))),
        reason(server().streams.on_max_stream_data(&max_stream_data(id))),
    ]
}

// req-test 9000-19.8-446, 9000-19.4-438, 9000-19.13-460
#[test]
fn frames_of_a_sender_are_wrong_on_a_stream_that_only_we_send_on() {
    let wrong = Some(Violation::FrameForSendOnlyStream);
    let unopened = Some(Violation::FrameForUnopenedStream);
    let answers = answers(id(Side::Server, Dir::Uni, 0));
    assert_eq!(answers, [wrong, wrong, wrong, unopened, unopened]);
}

// req-test 9000-19.5-440, 9000-19.10-451
#[test]
fn frames_of_a_receiver_are_wrong_on_a_stream_that_only_the_peer_sends_on() {
    let wrong = Some(Violation::FrameForReceiveOnlyStream);
    assert_eq!(answers(id(Side::Client, Dir::Uni, 0)), [None, None, None, wrong, wrong]);
}

// req-test 9000-19.8-446, 9000-19.5-439, 9000-19.10-450
#[test]
fn frames_for_a_stream_that_we_did_not_open_are_wrong() {
    let wrong = Some(Violation::FrameForUnopenedStream);
    assert_eq!(answers(id(Side::Server, Dir::Bi, 0)), [wrong; 5]);
    assert_eq!(answers(id(Side::Client, Dir::Bi, 0)), [None; 5]);
}

// lesson 18
// req-test 9000-4.6-035, 9000-19.11-457
#[test]
fn every_frame_that_opens_a_stream_obeys_the_stream_limit() {
    let wrong = Some(Violation::StreamLimit);
    assert_eq!(answers(id(Side::Client, Dir::Bi, 3)), [None; 5]);
    assert_eq!(answers(id(Side::Client, Dir::Bi, 4)), [wrong; 5]);
    assert_eq!(answers(id(Side::Client, Dir::Uni, 4))[..3], [wrong; 3]);
    let last = StreamId::from_u64(varint::MAX - 3).unwrap();
    assert_eq!(answers(last), [wrong; 5]);
}

// req-test 9000-4.1-022, 9000-19.9-449, 9000-19.10-453
#[test]
fn data_beyond_a_limit_closes_the_connection() {
    let fill = |len: usize| {
        let mut server = server();
        let data = vec![0; len];
        let result = [0, 1].map(|index| {
            let id = id(Side::Client, Dir::Uni, index);
            receive(&mut server, stream_frame(id, 0, &data, false)).map_err(|error| error.reason)
        });
        (result, server)
    };
    assert_eq!(fill(7_500).0, [Ok(()), Ok(())]);
    assert_eq!(fill(7_501).0, [Ok(()), Err(Violation::ConnectionDataLimit)]);
    assert_eq!(fill(10_001).0[0], Err(Violation::StreamDataLimit));
    // lesson 18: a final size is data too
    let mut server = fill(7_500).1;
    let third = id(Side::Client, Dir::Uni, 2);
    let error = server.streams.on_reset_stream(&reset(third, 1)).unwrap_err();
    assert_eq!(error.reason, Violation::ConnectionDataLimit);
    assert_eq!(error.frame_type.unwrap().name(), Some("RESET_STREAM"));
}

// req-test 9000-4.5-031, 9000-4.5-032
#[test]
fn a_final_size_that_changes_closes_the_connection() {
    let id = id(Side::Client, Dir::Uni, 0);
    let mut server = server();
    receive(&mut server, stream_frame(id, 0, b"abc", true)).unwrap();
    let error = receive(&mut server, stream_frame(id, 3, b"d", false)).unwrap_err();
    assert_eq!(error.reason, Violation::DataBeyondFinalSize);
    let error = server.streams.on_reset_stream(&reset(id, 2)).unwrap_err();
    assert_eq!(error.reason, Violation::FinalSizeChanged);
}

#[test]
fn fragments_cannot_take_more_memory_than_the_limit() {
    let config = StreamConfig {
        initial_max_data: 1 << 20,
        initial_max_stream_data_uni: 1 << 20,
        max_stream_window: 1 << 20,
        max_connection_window: 1 << 20,
        ..config()
    };
    let mut server = End::new(Side::Server, &config, &config);
    let id = id(Side::Client, Dir::Uni, 0);
    let error = (0..500_000)
        .find_map(|n| receive(&mut server, stream_frame(id, 1 + 2 * n, b"x", false)).err())
        .expect("a million bytes of credit do not pay for this");
    assert_eq!(error.reason, Violation::MemoryLimit);
    assert!(server.streams.audit().receive_memory < config.receive_memory + 1000);
}

#[test]
fn an_honest_peer_is_never_refused_however_its_packets_are_reordered() {
    let config = StreamConfig { receive_memory: 20_000, ..config() };
    let mut server = End::new(Side::Server, &config, &config);
    let id = id(Side::Client, Dir::Uni, 0);
    for packet in (1..100).step_by(2).chain((0..100).step_by(2)) {
        let data = content(id, packet * 100, 100);
        receive(&mut server, stream_frame(id, packet * 100, &data, false)).unwrap();
    }
    assert_eq!(server.streams.accept(Dir::Uni), Some(id));
    assert_eq!(server.read_all(id).0, content(id, 0, 10_000));
}

/// Frames with numbers so small that many of them meet.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (0u64..9, 0u64..16, 0u64..30, 0usize..20, any::<bool>()).prop_map(
        |(ty, n, offset, len, fin)| {
            let stream_id = StreamId::from_u64(n).unwrap();
            let dir = Dir::ALL[usize::from(fin)];
            let frame = match ty {
                0 => Frame::ResetStream(reset(stream_id, offset)),
                1 | 5 => Frame::StopSending(stop(stream_id)),
                2 => Frame::MaxStreamData(max_stream_data(stream_id)),
                3 => Frame::StreamDataBlocked(stream_data_blocked(stream_id)),
                4 => Frame::MaxStreams(frame::MaxStreams { dir, maximum_streams: offset }),
                _ => Frame::Stream(stream_frame(stream_id, offset, &[7; 20][..len], fin)),
            };
            let mut bytes = vec![0; frame.size()];
            frame.encode(&mut PacketWriter::new(&mut bytes));
            bytes
        },
    )
}

proptest! {
    #[test]
    fn no_sequence_of_frames_breaks_the_accounts(
        frames in prop::collection::vec(any_frame(), 1..40),
    ) {
        crate::fuzz::streams(&frames.concat());
    }

    #[test]
    fn no_sequence_of_pieces_breaks_the_assembler(
        input in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        crate::fuzz::assembler(&input);
    }
}
