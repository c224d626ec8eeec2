use proptest::prelude::*;

use super::*;
use crate::util::RangeSet;
use crate::wire::{
    ApplicationErrorCode, ConnectionId, ResetToken, StreamId, TransportErrorCode, VarInt,
};

/// Random material that any frame can be made of.
#[derive(Clone, Debug)]
struct Recipe {
    kind: u8,
    numbers: [u64; 3],
    flag: bool,
    bytes: Vec<u8>,
    token: [u8; 16],
    /// An encoded ACK frame, for `Ack` borrows its ranges.
    ack: Vec<u8>,
}

const KINDS: u8 = 20;

/// Numbers of all encoded lengths.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..64, 64u64..1 << 14, 1u64 << 14..1 << 30, 1u64 << 30..=varint::MAX]
}

fn ack() -> impl Strategy<Value = Vec<u8>> {
    let numbers = prop::collection::vec(0u64..400, 1..60);
    (numbers, number(), prop::option::of(prop::array::uniform3(number()))).prop_map(
        |(numbers, ack_delay, ecn)| {
            let mut set = RangeSet::new();
            numbers.into_iter().for_each(|number| _ = set.insert_one(number));
            let ecn = ecn.map(|[ect0, ect1, ce]| EcnCounts { ect0, ect1, ce });
            let mut buf = [0; 500];
            let mut writer = Writer::new(&mut buf);
            encode_ack(&mut writer, ack_delay, set.iter().rev(), ecn, 500).unwrap();
            writer.written().to_vec()
        },
    )
}

prop_compose! {
    fn recipe()(
        kind in 0..KINDS,
        numbers in prop::array::uniform3(number()),
        flag in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 1..80),
        token in any::<[u8; 16]>(),
        ack in ack(),
    ) -> Recipe {
        Recipe { kind, numbers, flag, bytes, token, ack }
    }
}

impl Recipe {
    fn frame(&self) -> Frame<'_> {
        let [a, b, c] = self.numbers;
        let bytes = &self.bytes[..];
        let stream_id = StreamId::from_u64(a).unwrap();
        let error_code = ApplicationErrorCode(VarInt::new(b).unwrap());
        let dir = if self.flag { Dir::Bi } else { Dir::Uni };
        let offset = c.min(varint::MAX - 80);
        let eight: [u8; 8] = self.token[..8].try_into().unwrap();
        let maximum_streams = a.min(StreamId::MAX_COUNT);
        match self.kind {
            0 => Frame::Padding(bytes.len()),
            1 => Frame::Ping,
            2 => Frame::decode(&mut Reader::new(&self.ack)).unwrap(),
            3 => Frame::ResetStream(ResetStream { stream_id, error_code, final_size: c }),
            4 => Frame::StopSending(StopSending { stream_id, error_code }),
            5 => Frame::Crypto(Crypto { offset, data: bytes }),
            6 => Frame::NewToken(NewToken { token: bytes }),
            7 => Frame::Stream(Stream { stream_id, offset, fin: self.flag, data: bytes }),
            8 => Frame::Stream(Stream { stream_id, offset: 0, fin: self.flag, data: &[] }),
            9 => Frame::MaxData(MaxData { maximum_data: a }),
            10 => Frame::MaxStreamData(MaxStreamData { stream_id, maximum_stream_data: b }),
            11 => Frame::MaxStreams(MaxStreams { dir, maximum_streams }),
            12 => Frame::DataBlocked(DataBlocked { maximum_data: a }),
            13 => Frame::StreamDataBlocked(StreamDataBlocked { stream_id, maximum_stream_data: b }),
            14 => Frame::StreamsBlocked(StreamsBlocked { dir, maximum_streams }),
            15 => Frame::NewConnectionId(NewConnectionId {
                sequence_number: a.max(b),
                retire_prior_to: a.min(b),
                connection_id: ConnectionId::new(&bytes[..bytes.len().min(20)]).unwrap(),
                stateless_reset_token: ResetToken::new(self.token),
            }),
            16 => Frame::RetireConnectionId(RetireConnectionId { sequence_number: a }),
            17 if self.flag => Frame::PathChallenge(PathChallenge { data: eight }),
            17 => Frame::PathResponse(PathResponse { data: eight }),
            18 if self.flag => Frame::ConnectionClose(ConnectionClose::Transport {
                error_code: TransportErrorCode(a),
                frame_type: Some(FrameType(b)).filter(|ty| *ty != FrameType::PADDING),
                reason: bytes,
            }),
            18 => {
                Frame::ConnectionClose(ConnectionClose::Application { error_code, reason: bytes })
            }
            19 => Frame::HandshakeDone,
            other => panic!("kind {other}"),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let frame = self.frame();
        let mut bytes = vec![0xee; frame.size()];
        let mut writer = Writer::new(&mut bytes);
        frame.encode(&mut writer);
        assert_eq!(writer.remaining(), 0, "size of {frame:?}");
        bytes
    }
}

fn decode(bytes: &[u8]) -> Result<Frame<'_>, TransportError> {
    Frame::decode(&mut Reader::new(bytes))
}

fn reason(bytes: &[u8]) -> Violation {
    decode(bytes).unwrap_err().reason
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_frame_survives_the_wire(recipe in recipe()) {
        let bytes = recipe.encoded();
        let mut reader = Reader::new(&bytes);
        let decoded = Frame::decode(&mut reader).unwrap();
        prop_assert!(reader.is_empty());
        prop_assert_eq!(&decoded, &recipe.frame());
        let first = u64::from(bytes[0]);
        match decoded {
            Frame::Stream(_) => prop_assert_eq!(first & !7, decoded.ty().0),
            _ => prop_assert_eq!(first, decoded.ty().0),
        }
    }

    #[test]
    fn every_cut_off_frame_is_refused(recipe in recipe()) {
        let bytes = recipe.encoded();
        let shortest = if recipe.kind == 0 { bytes.len() } else { 0 };
        for end in shortest..bytes.len() {
            let error = decode(&bytes[..end]).unwrap_err();
            prop_assert_eq!(error.reason, Violation::FrameTruncated);
            prop_assert_eq!(error.code, TransportErrorCode::FRAME_ENCODING_ERROR);
            prop_assert_eq!(error.frame_type.is_some(), end > 0);
        }
    }

    #[test]
    fn a_packet_gives_its_frames_in_order(recipes in prop::collection::vec(recipe(), 1..12)) {
        let bytes: Vec<u8> = recipes.iter().flat_map(Recipe::encoded).collect();
        let mut expected: Vec<Frame<'_>> = Vec::new();
        for recipe in &recipes {
            match (expected.last_mut(), recipe.frame()) {
                (Some(Frame::Padding(len)), Frame::Padding(more)) => *len += more,
                (_, frame) => expected.push(frame),
            }
        }
        let frames: Vec<_> =
            Frames::new(&bytes, PacketType::OneRtt).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&frames, &expected);
        for end in 0..bytes.len() {
            let cut: Vec<_> = Frames::new(&bytes[..end], PacketType::OneRtt).collect();
            let good = cut.iter().take_while(|frame| frame.is_ok()).count();
            prop_assert!(cut.len() - good <= 1, "nothing follows an error");
            prop_assert!(good <= expected.len());
        }
    }

    #[test]
    fn any_bytes_give_frames_or_an_error(
        bytes in prop::collection::vec(prop_oneof![0u8..0x20, any::<u8>()], 0..200),
    ) {
        crate::fuzz::frames(&bytes);
    }
}

// req-test 9000-12.4-292
#[test]
fn unknown_frames_are_refused() {
    for bytes in [&[0x1f][..], &[0x30, 0], &[0x40, 0x40], &[0xff; 8]] {
        let error = decode(bytes).unwrap_err();
        assert_eq!(error.reason, Violation::FrameUnknown);
        assert_eq!(error.code, TransportErrorCode::FRAME_ENCODING_ERROR);
        let in_packet: Vec<_> = Frames::new(bytes, PacketType::Initial).collect();
        assert_eq!(in_packet, [Err(error)]);
    }
}

// req-test 9000-12.4-293, 9000-12.4-294
#[test]
fn a_frame_type_longer_than_necessary_is_refused() {
    for bytes in [&[0x40, 0x01][..], &[0x80, 0, 0, 0x01], &[0xc0, 0, 0, 0, 0, 0, 0, 0x01]] {
        let error = decode(bytes).unwrap_err();
        assert_eq!(error.reason, Violation::FrameTypeNotShortest);
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(error.frame_type, Some(FrameType::PING));
    }
    assert_eq!(decode(&[0x01]), Ok(Frame::Ping));
}

#[test]
fn longer_encodings_than_necessary_are_fine_inside_frames() {
    let frame = Frame::MaxData(MaxData { maximum_data: 5 });
    assert_eq!(decode(&[0x10, 0xc0, 0, 0, 0, 0, 0, 0, 5]), Ok(frame));
}

// req-test 9000-12.4-291, 9000-12.5-297, 9000-12.5-299, 9000-12.5-300, 9000-17.2.4-399
#[test]
fn frames_are_refused_in_packets_that_must_not_carry_them() {
    let cases: [(&[u8], PacketType); 8] = [
        (&[0x08, 0], PacketType::Initial),
        (&[0x1d, 0, 0], PacketType::Initial),
        (&[0x1d, 0, 0], PacketType::Handshake),
        (&[0x1e], PacketType::Handshake),
        (&[0x10, 1], PacketType::Handshake),
        (&[0x02, 0, 0, 0, 0], PacketType::ZeroRtt),
        (&[0x06, 0, 0], PacketType::ZeroRtt),
        (&[0x1b, 0], PacketType::ZeroRtt), // refused before it is found to be cut off
    ];
    for (bytes, packet) in cases {
        let bytes = [&[0x01], bytes].concat();
        let frames: Vec<_> = Frames::new(&bytes, packet).collect();
        let error = TransportError::new(Violation::FrameNotAllowedInPacket)
            .in_frame(FrameType(u64::from(bytes[1])));
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(frames, [Ok(Frame::Ping), Err(error)]);
    }
}

#[test]
fn padding_in_a_row_is_one_item() {
    let mut bytes = vec![0; 1000];
    bytes[0] = 1;
    bytes[500] = 1;
    let frames: Vec<_> = Frames::new(&bytes, PacketType::Initial).map(Result::unwrap).collect();
    assert_eq!(frames, [Frame::Ping, Frame::Padding(499), Frame::Ping, Frame::Padding(499)]);
}

// req-test 9000-19.8-447
#[test]
fn stream_data_ends_before_2_to_the_62() {
    let mut frame = vec![0x0e, 0];
    frame.extend([0xff; 8]);
    assert!(decode(&[&frame[..], &[0]].concat()).is_ok());
    assert_eq!(reason(&[&frame[..], &[1, 7]].concat()), Violation::StreamDataBeyondMaximum);
}

// req-test 9000-19.6-441
#[test]
fn handshake_data_ends_before_2_to_the_62() {
    let mut frame = vec![0x06];
    frame.extend([0xff; 8]);
    assert!(decode(&[&frame[..], &[0]].concat()).is_ok());
    assert_eq!(reason(&[&frame[..], &[1, 7]].concat()), Violation::CryptoDataBeyondMaximum);
}

// req-test 9000-4.6-033, 9000-19.11-454, 9000-19.14-462
#[test]
fn stream_counts_end_at_2_to_the_60() {
    for ty in [0x12, 0x13, 0x16, 0x17] {
        let exactly = [ty, 0xd0, 0, 0, 0, 0, 0, 0, 0];
        assert!(decode(&exactly).is_ok());
        let error = decode(&[ty, 0xd0, 0, 0, 0, 0, 0, 0, 1]).unwrap_err();
        assert_eq!(error.reason, Violation::StreamCountTooLarge);
        assert_eq!(error.code, TransportErrorCode::FRAME_ENCODING_ERROR);
    }
}

// req-test 9000-19.7-442, 9000-19.7-443
#[test]
fn an_empty_token_is_refused() {
    assert_eq!(reason(&[0x07, 0]), Violation::NewTokenEmpty);
}

// req-test 9000-19.15-463, 9000-19.15-468, 9000-19.15-469
#[test]
fn a_new_connection_id_must_make_sense() {
    let frame = |sequence, retire, len: u8| {
        let cid = vec![7; usize::from(len)];
        [&[0x18, sequence, retire, len][..], &cid, &[9; 16]].concat()
    };
    assert!(decode(&frame(5, 5, 1)).is_ok());
    assert!(decode(&frame(5, 0, 20)).is_ok());
    assert_eq!(reason(&frame(5, 0, 0)), Violation::NewConnectionIdLength);
    assert_eq!(reason(&frame(5, 0, 21)), Violation::NewConnectionIdLength);
    assert_eq!(reason(&frame(5, 6, 8)), Violation::RetirePriorToAboveSequence);
}

// req-test 9000-4.6-033
#[test]
fn each_refusal_above_is_a_frame_encoding_error() {
    let violations = [
        Violation::StreamDataBeyondMaximum,
        Violation::CryptoDataBeyondMaximum,
        Violation::NewTokenEmpty,
        Violation::NewConnectionIdLength,
        Violation::RetirePriorToAboveSequence,
        Violation::AckRangeNegative,
    ];
    for violation in violations {
        assert_eq!(violation.code(), TransportErrorCode::FRAME_ENCODING_ERROR);
    }
}
