use proptest::prelude::*;

use super::*;
use crate::proto::error::Code;

const MAX_HEADERS: u64 = 100;

/// All events of `wire` when it arrives in chunks of `step` bytes, neighbouring DATA joined.
fn events_in_chunks(wire: &[u8], step: usize) -> Result<Vec<FrameEvent>, ConnectionFault> {
    let mut decoder = FrameDecoder::new(MAX_HEADERS);
    let mut events = Vec::new();
    for chunk in wire.chunks(step.max(1)) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(event) = decoder.next(&mut chunk)? {
            match (events.last_mut(), event) {
                (Some(FrameEvent::Data(before)), FrameEvent::Data(more)) => {
                    *before = Bytes::from([&before[..], &more[..]].concat());
                }
                (_, event) => events.push(event),
            }
        }
        assert!(chunk.is_empty());
    }
    decoder.finish()?;
    Ok(events)
}

fn events(wire: &[u8]) -> Result<Vec<FrameEvent>, ConnectionFault> {
    events_in_chunks(wire, wire.len())
}

fn start(kind: FrameKind, length: u64) -> FrameEvent {
    FrameEvent::Start(FrameHeader { kind, length })
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = header(kind, payload.len() as u64, 0);
    out.put_slice(payload);
    out.to_vec()
}

/// One of each frame that can be received whole.
fn sample() -> Vec<u8> {
    let mut wire = Vec::new();
    let mut out = BytesMut::new();
    Settings::default().encode(5, &mut out);
    wire.extend_from_slice(&out);
    wire.extend_from_slice(&headers(b"section"));
    wire.extend_from_slice(&data_header(5));
    wire.extend_from_slice(b"hello");
    wire.extend_from_slice(&data_header(0));
    wire.extend_from_slice(&reserved(3, b"padding"));
    wire.extend_from_slice(&goaway(4));
    wire.extend_from_slice(&frame(CANCEL_PUSH, &[0x40, 0x01]));
    wire.extend_from_slice(&frame(MAX_PUSH_ID, &[7]));
    wire.extend_from_slice(&frame(PUSH_PROMISE, b"\0x"));
    wire.extend_from_slice(&headers(b""));
    wire
}

// req-test 9114-7.2.8-202, 9114-7.2.8-203, 9114-9-208
#[test]
fn a_stream_of_frames_decodes_in_order_and_unknown_ones_leave_only_their_start() {
    let found = events(&sample()).unwrap();
    let settings = match &found[1] {
        FrameEvent::Settings(settings) => settings.clone(),
        other => panic!("{other:?} where SETTINGS were sent"),
    };
    assert_eq!(settings, Settings::default());
    assert_eq!(
        found[2..],
        [
            start(FrameKind::Headers, 7),
            FrameEvent::Headers(Bytes::from_static(b"section")),
            start(FrameKind::Data, 5),
            FrameEvent::Data(Bytes::from_static(b"hello")),
            start(FrameKind::Data, 0),
            start(FrameKind::Unknown, 7),
            start(FrameKind::Goaway, 1),
            FrameEvent::Goaway(4),
            start(FrameKind::CancelPush, 2),
            FrameEvent::CancelPush(1),
            start(FrameKind::MaxPushId, 1),
            FrameEvent::MaxPushId(7),
            start(FrameKind::PushPromise, 2),
            start(FrameKind::Headers, 0),
            FrameEvent::Headers(Bytes::new()),
        ]
    );
}

#[test]
fn any_chunking_gives_the_same_events() {
    let wire = sample();
    let whole = events(&wire).unwrap();
    for step in 1..wire.len() {
        assert_eq!(events_in_chunks(&wire, step).unwrap(), whole, "chunks of {step}");
    }
}

// req-test 9114-7.1-149
#[test]
fn a_stream_cut_inside_a_frame_is_refused_and_between_frames_is_not() {
    let wire = sample();
    let mut boundaries = 0;
    for end in 0..wire.len() {
        match events(&wire[..end]) {
            Ok(_) => boundaries += 1,
            Err(fault) => assert_eq!(fault, Violation::FrameTruncated.into(), "cut at {end}"),
        }
    }
    assert_eq!(boundaries, 10, "one before each frame");
    assert_eq!(ConnectionFault::from(Violation::FrameTruncated).code, Code::FRAME_ERROR);
}

// req-test 9114-7.2.8-204
#[test]
fn frame_types_of_http2_are_refused_by_their_type_alone() {
    for kind in [2, 6, 8, 9] {
        let fault = events(&[kind]).unwrap_err();
        assert_eq!(fault, Violation::Http2FrameType.into());
        assert_eq!(fault.code, Code::FRAME_UNEXPECTED);
    }
}

// req-test 9114-7.1-146, 9114-7.1-147, 9114-7.1-148, 9114-10.8-222
#[test]
fn an_identifier_must_fill_its_frame_exactly() {
    for kind in [GOAWAY, CANCEL_PUSH, MAX_PUSH_ID] {
        for payload in [&[][..], &[0x40][..], &[0x01, 0x00][..], &[0; 9][..]] {
            let fault = events(&frame(kind, payload)).unwrap_err();
            assert_eq!(fault, Violation::FramePayloadLength.into(), "{kind} {payload:?}");
            assert_eq!(fault.code, Code::FRAME_ERROR);
        }
    }
}

#[test]
fn a_field_section_over_the_limit_is_skipped_without_being_kept() {
    let mut wire = frame(HEADERS, &[0; 101]);
    wire.extend_from_slice(&goaway(0));
    for step in [1, 7, 200] {
        assert_eq!(
            events_in_chunks(&wire, step).unwrap(),
            [
                start(FrameKind::Headers, 101),
                FrameEvent::HeadersTooLarge,
                start(FrameKind::Goaway, 1),
                FrameEvent::Goaway(0),
            ]
        );
    }
}

#[test]
fn settings_over_the_limit_are_refused_before_their_payload() {
    let mut wire = BytesMut::new();
    put_header(SETTINGS, MAX_SETTINGS_PAYLOAD + 1, &mut wire);
    let fault = events(&wire).unwrap_err();
    assert_eq!(fault, Violation::ControlFrameTooLarge.into());
    assert_eq!(fault.code, Code::EXCESSIVE_LOAD);
}

#[test]
fn content_is_not_copied() {
    let wire = Bytes::from([&data_header(5)[..], b"hello"].concat());
    let mut chunk = wire.clone();
    let mut decoder = FrameDecoder::new(MAX_HEADERS);
    decoder.next(&mut chunk).unwrap();
    let Some(FrameEvent::Data(piece)) = decoder.next(&mut chunk).unwrap() else {
        panic!("no DATA")
    };
    assert_eq!(piece.as_ptr(), wire[2..].as_ptr());
}

#[test]
fn a_length_alone_reserves_no_memory() {
    let mut wire = BytesMut::new();
    put_header(DATA, varint::MAX, &mut wire);
    put_header(HEADERS, MAX_HEADERS, &mut wire);
    let mut decoder = FrameDecoder::new(MAX_HEADERS);
    let mut chunk = wire.freeze();
    assert_eq!(decoder.next(&mut chunk), Ok(Some(start(FrameKind::Data, varint::MAX))));
    assert!(matches!(decoder.next(&mut chunk), Ok(Some(FrameEvent::Data(_)))));
    assert_eq!(decoder.next(&mut chunk), Ok(None));
}

proptest! {
    #[test]
    fn any_bytes_give_the_same_in_any_chunks(
        wire in proptest::collection::vec(any::<u8>(), 0..100),
        step in 1_usize..20,
    ) {
        prop_assert_eq!(events(&wire), events_in_chunks(&wire, step));
    }
}
