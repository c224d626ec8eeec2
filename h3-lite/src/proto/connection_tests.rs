use bytes::BufMut;
use quic_core::wire::Dir;

use super::*;
use crate::proto::error::Code;

const CONTROL_ID: StreamId = StreamId::new(Side::Server, Dir::Uni, 0);
const OTHER_ID: StreamId = StreamId::new(Side::Server, Dir::Uni, 1);

fn stream(id: u64) -> StreamId {
    StreamId::from_u64(id).unwrap()
}

fn connection(side: Side) -> Connection {
    Connection::new(side, SectionLimits::default())
}

/// Opens `id` and delivers `bytes` on it.
fn deliver(
    connection: &mut Connection,
    id: StreamId,
    bytes: &[u8],
) -> Result<Vec<Outcome>, ConnectionFault> {
    connection.uni_stream_opened(id)?;
    connection.uni_stream_data(id, Bytes::copy_from_slice(bytes))
}

/// The beginning of a peer's control stream.
fn preface() -> Vec<u8> {
    connection(Side::Client).control_stream_preface(9).to_vec()
}

/// A connection whose peer has opened its control stream and sent SETTINGS.
fn running(side: Side) -> Connection {
    let mut connection = connection(side);
    let outcomes = deliver(&mut connection, CONTROL_ID, &preface()).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Settings(_)]));
    connection
}

/// What a running connection makes of more bytes on the control stream.
fn control(side: Side, bytes: &[u8]) -> Result<Vec<Outcome>, ConnectionFault> {
    running(side).uni_stream_data(CONTROL_ID, Bytes::copy_from_slice(bytes))
}

fn frame_of(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, u8::try_from(payload.len()).unwrap()], payload].concat()
}

#[track_caller]
fn faults<T: std::fmt::Debug>(result: Result<T, ConnectionFault>, reason: Violation, code: Code) {
    assert_eq!(result.expect_err("the peer broke a rule"), ConnectionFault { code, reason });
}

// req-test 9114-7.2.4-162, 9114-3.2-012, 9114-6.2.1-132, 9114-7.2.4.2-174, 9114-7.2.4.2-178
#[test]
fn the_control_stream_begins_with_settings_that_announce_the_limits() {
    let mut server = connection(Side::Server);
    assert_eq!(*server.peer_settings(), Settings::default());
    deliver(&mut server, CONTROL_ID, &preface()).unwrap();
    let announced = SectionLimits::default().max_size;
    assert_eq!(server.peer_settings().max_field_section_size, Some(announced));
    assert_eq!(server.peer_settings().qpack_max_table_capacity, 0);
    assert_eq!(server.peer_settings().qpack_blocked_streams, 0);
}

// req-test 9114-6.2-128
#[test]
fn a_control_stream_in_single_bytes_gives_the_same_outcomes() {
    let mut wire = preface();
    wire.extend_from_slice(&frame::reserved(0, b"padding"));
    wire.extend_from_slice(&frame::goaway(400));
    wire.extend_from_slice(&frame::goaway(8));
    let whole = deliver(&mut connection(Side::Client), CONTROL_ID, &wire).unwrap();
    assert_eq!(whole.len(), 3);
    let mut client = connection(Side::Client);
    client.uni_stream_opened(CONTROL_ID).unwrap();
    let mut outcomes = Vec::new();
    for byte in wire {
        outcomes.extend(client.uni_stream_data(CONTROL_ID, Bytes::from(vec![byte])).unwrap());
    }
    assert_eq!(outcomes, whole);
}

// req-test 9114-6.2.1-133, 9114-9-210
#[test]
fn a_control_stream_that_begins_with_another_frame_is_refused() {
    let others = [
        frame_of(0x07, &[0]),
        frame_of(0x00, &[]),
        frame_of(0x01, &[]),
        frame_of(0x0d, &[0]),
        frame::reserved(0, b"").to_vec(),
    ];
    for other in others {
        let result =
            deliver(&mut connection(Side::Server), CONTROL_ID, &[&[0], &other[..]].concat());
        faults(result, Violation::MissingSettings, Code::MISSING_SETTINGS);
    }
}

// req-test 9114-7.2.4-163
#[test]
fn settings_come_once() {
    let again = control(Side::Server, &preface()[1..]);
    faults(again, Violation::SecondSettings, Code::FRAME_UNEXPECTED);
}

// req-test 9114-7.2.1-151, 9114-7.2.2-152, 9114-7.2.5-193
#[test]
fn frames_of_request_streams_are_refused_on_the_control_stream() {
    for kind in [0x00, 0x01, 0x05] {
        let result = control(Side::Client, &frame_of(kind, &[0]));
        faults(result, Violation::FrameOnControlStream, Code::FRAME_UNEXPECTED);
    }
}

// req-test 9114-6.2.1-134, 9204-4.2-024
#[test]
fn streams_that_exist_once_are_refused_a_second_time() {
    for kind in [0_u8, 2, 3] {
        let mut server = connection(Side::Server);
        assert_eq!(deliver(&mut server, CONTROL_ID, &[kind]), Ok(Vec::new()));
        let result = deliver(&mut server, OTHER_ID, &[kind]);
        faults(result, Violation::DuplicateCriticalStream, Code::STREAM_CREATION_ERROR);
    }
}

// req-test 9114-6.2.1-136, 9204-4.2-026
#[test]
fn critical_streams_stay_open() {
    for kind in [0_u8, 2, 3] {
        let mut server = connection(Side::Server);
        deliver(&mut server, CONTROL_ID, &[kind]).unwrap();
        let result = server.uni_stream_closed(CONTROL_ID);
        faults(result, Violation::CriticalStreamClosed, Code::CLOSED_CRITICAL_STREAM);
    }
    let fault = connection(Side::Server).own_control_stream_stopped();
    assert_eq!(fault.code, Code::CLOSED_CRITICAL_STREAM);
}

// req-test 9114-6.2-131
#[test]
fn a_stream_may_end_before_it_says_what_it_is() {
    let mut server = connection(Side::Server);
    assert_eq!(deliver(&mut server, OTHER_ID, &[0x40]), Ok(Vec::new()));
    assert_eq!(server.uni_stream_closed(OTHER_ID), Ok(()));
    assert_eq!(server.uni_stream_closed(OTHER_ID), Ok(()));
}

// req-test 9114-6.2-125, 9114-6.2-126, 9114-6.2-127, 9114-6.2.3-143, 9114-9-209
#[test]
fn streams_of_unknown_types_are_stopped_and_forgotten() {
    for wire in [&[0x21, 1, 2, 3][..], &[0x04][..], &[0x40, 0x54][..]] {
        let mut server = connection(Side::Server);
        let stop = Outcome::StopStream { id: OTHER_ID, code: Code::STREAM_CREATION_ERROR };
        assert_eq!(deliver(&mut server, OTHER_ID, wire), Ok(vec![stop]));
        assert_eq!(server.uni_stream_data(OTHER_ID, Bytes::from_static(b"\0")), Ok(Vec::new()));
        assert_eq!(server.uni_stream_closed(OTHER_ID), Ok(()));
    }
}

// req-test 9204-4.2-029, 9204-4.2-025
#[test]
fn qpack_streams_are_accepted_although_there_is_no_dynamic_table() {
    let mut server = connection(Side::Server);
    assert_eq!(deliver(&mut server, CONTROL_ID, &[0x02, 0x20]), Ok(Vec::new()));
    assert_eq!(deliver(&mut server, OTHER_ID, &[0x03, 0x44]), Ok(Vec::new()));
    let result = server.uni_stream_data(CONTROL_ID, Bytes::from_static(&[0xc0]));
    faults(result, Violation::InsertWithoutRoom, Code::QPACK_ENCODER_STREAM_ERROR);
}

// req-test 9114-6.2.2-138
#[test]
fn a_push_stream_from_a_client_is_refused() {
    let result = deliver(&mut connection(Side::Server), OTHER_ID, &[0x01]);
    faults(result, Violation::PushStreamFromClient, Code::STREAM_CREATION_ERROR);
}

// req-test 9114-4.6-089
#[test]
fn a_push_stream_that_was_never_allowed_is_refused() {
    let result = deliver(&mut connection(Side::Client), OTHER_ID, &[0x01, 0x00]);
    faults(result, Violation::PushNotAllowed, Code::ID_ERROR);
}

// req-test 9114-7.2.7-200
#[test]
fn max_push_id_from_a_server_is_refused() {
    let result = control(Side::Client, &frame_of(0x0d, &[1]));
    faults(result, Violation::MaxPushIdFromServer, Code::FRAME_UNEXPECTED);
}

// req-test 9114-7.2.7-201
#[test]
fn max_push_id_does_not_go_down() {
    let steps = |ids: &[u8]| ids.iter().flat_map(|id| frame_of(0x0d, &[*id])).collect::<Vec<_>>();
    assert_eq!(control(Side::Server, &steps(&[3, 3, 4])), Ok(Vec::new()));
    let result = control(Side::Server, &steps(&[3, 2]));
    faults(result, Violation::MaxPushIdReduced, Code::ID_ERROR);
}

// req-test 9114-7.2.3-160, 9114-7.2.3-161
#[test]
fn a_push_that_never_was_cannot_be_cancelled() {
    let wire = [frame_of(0x0d, &[9]), frame_of(0x03, &[0])].concat();
    faults(control(Side::Server, &wire), Violation::UnknownPushId, Code::ID_ERROR);
    let result = control(Side::Client, &frame_of(0x03, &[0]));
    faults(result, Violation::PushNotAllowed, Code::ID_ERROR);
}

// req-test 9114-6.1-121
#[test]
fn a_server_may_not_open_bidirectional_streams() {
    let result = connection(Side::Client).bidi_stream_opened(stream(1));
    faults(result, Violation::ServerOpenedBidirectional, Code::STREAM_CREATION_ERROR);
}

// req-test 9114-5.2-108, 9114-5.4-118
#[test]
fn after_goaway_a_client_knows_what_to_retry_and_opens_nothing_new() {
    let mut client = running(Side::Client);
    assert!(client.may_send_request());
    assert!(!client.may_retry(stream(0)));
    let outcomes = client.uni_stream_data(CONTROL_ID, frame::goaway(8)).unwrap();
    let first_unprocessed = stream(8);
    assert_eq!(outcomes, [Outcome::ServerGoesAway { first_unprocessed }]);
    assert!(!client.may_send_request());
    assert!(!client.may_retry(stream(4)));
    assert!(client.may_retry(stream(8)));
    assert!(client.may_retry(stream(12)));
}

// req-test 9114-5.2-113
#[test]
fn goaway_does_not_go_up() {
    for side in [Side::Client, Side::Server] {
        let down = [frame::goaway(8), frame::goaway(8), frame::goaway(4)].concat();
        assert_eq!(control(side, &down).unwrap().len(), 3);
        let up = [frame::goaway(4), frame::goaway(8)].concat();
        faults(control(side, &up), Violation::GoawayIncreased, Code::ID_ERROR);
    }
}

// req-test 9114-7.2.6-196
#[test]
fn goaway_from_a_server_names_a_request_stream() {
    for id in [1, 2, 3, 5] {
        let result = control(Side::Client, &frame::goaway(id));
        faults(result, Violation::GoawayNotARequest, Code::ID_ERROR);
        assert_eq!(control(Side::Server, &frame::goaway(id)), Ok(vec![Outcome::ClientGoesAway]));
    }
}

// req-test 9114-5.2-106, 9114-5.2-107, 9114-5.2-112, 9114-4.1.1-040
#[test]
fn a_server_shuts_down_in_two_steps_and_refuses_what_comes_later() {
    let mut server = running(Side::Server);
    assert_eq!(server.bidi_stream_opened(stream(0)), Ok(Ok(())));
    assert_eq!(server.shutdown_notice(), frame::goaway((1 << 62) - 4));
    assert_eq!(server.bidi_stream_opened(stream(8)), Ok(Ok(())));
    assert_eq!(server.goaway(), frame::goaway(12));
    assert_eq!(server.bidi_stream_opened(stream(4)), Ok(Ok(())));
    for late in [12, 16] {
        let refused = server.bidi_stream_opened(stream(late)).unwrap().unwrap_err();
        assert_eq!(refused.code, Code::REQUEST_REJECTED);
    }
    // Neither a refused request nor a late notice raises what was announced.
    assert_eq!(server.goaway(), frame::goaway(12));
    assert_eq!(server.shutdown_notice(), frame::goaway(12));
    assert_eq!(running(Side::Client).shutdown_notice(), frame::goaway((1 << 62) - 1));
}

// req-test 9114-7.2.4.2-177, 9114-7.2.4.2-183, 9114-7.2.4.2-173
#[test]
fn a_resumed_client_keeps_to_remembered_settings_and_refuses_lower_ones() {
    let announced = SectionLimits::default().max_size;
    for (remembered, is_kept) in [(announced, true), (announced + 1, false)] {
        let settings = Settings { max_field_section_size: Some(remembered), ..Settings::default() };
        let mut client = Connection::resume(settings.clone(), SectionLimits::default());
        assert_eq!(*client.peer_settings(), settings);
        let mut rejected = Connection::resume(settings, SectionLimits::default());
        rejected.early_data_rejected();
        assert_eq!(*rejected.peer_settings(), Settings::default());
        assert!(deliver(&mut rejected, CONTROL_ID, &preface()).is_ok());
        let result = deliver(&mut client, CONTROL_ID, &preface());
        match is_kept {
            true => assert!(result.is_ok()),
            false => faults(result, Violation::SettingsReduced, Code::SETTINGS_ERROR),
        }
    }
}

// req-test 9114-10.5-217, 9114-10.5-218
#[test]
fn floods_on_the_control_stream_are_refused() {
    let floods =
        [frame::reserved(0, b"x").to_vec(), frame::goaway(0).to_vec(), frame_of(0x0d, &[0])];
    for flood in floods {
        let count = IDLE_ITEMS as usize;
        assert!(control(Side::Server, &flood.repeat(count)).is_ok());
        let result = control(Side::Server, &flood.repeat(count + 1));
        faults(result, Violation::TooManyIdleFrames, Code::EXCESSIVE_LOAD);
    }
}

// req-test 9114-10.5-217
#[test]
fn floods_of_strange_streams_and_instructions_are_refused_unless_requests_pay() {
    let mut server = running(Side::Server);
    for _ in 0..IDLE_ITEMS {
        deliver(&mut server, OTHER_ID, &[0x21]).unwrap();
    }
    let result = deliver(&mut server, OTHER_ID, &[0x21]);
    faults(result, Violation::TooManyIdleFrames, Code::EXCESSIVE_LOAD);

    let mut server = running(Side::Server);
    deliver(&mut server, OTHER_ID, &[0x03]).unwrap();
    for request in 0..u64::from(IDLE_ITEMS) + 10 {
        server.bidi_stream_opened(stream(4 * request)).unwrap().unwrap();
        server.uni_stream_data(OTHER_ID, Bytes::from_static(&[0x41])).unwrap();
    }
    let cancellations = vec![0x41; IDLE_ITEMS as usize + 1];
    let result = server.uni_stream_data(OTHER_ID, Bytes::from(cancellations));
    faults(result, Violation::TooManyIdleFrames, Code::EXCESSIVE_LOAD);
}

#[test]
fn streams_that_never_say_what_they_are_are_limited() {
    let mut server = running(Side::Server);
    for index in 0..MAX_UNTYPED_STREAMS as u64 {
        server.uni_stream_opened(stream(7 + 4 * index)).unwrap();
    }
    let result = server.uni_stream_opened(stream(100_003));
    faults(result, Violation::TooManyUntypedStreams, Code::EXCESSIVE_LOAD);
}

#[test]
fn a_large_settings_frame_is_refused() {
    let mut wire = BytesMut::new();
    wire.put_slice(&[0, 4]);
    varint::put(5000, &mut wire);
    let result = deliver(&mut connection(Side::Server), CONTROL_ID, &wire);
    faults(result, Violation::ControlFrameTooLarge, Code::EXCESSIVE_LOAD);
}
