//! Every way to break a rule of frames, packets and streams: the endpoint closes with the right
//! error, blames the right frame, and goes on serving everybody else.
//!
//! The tables name what is sent, as bytes, and what the liar is told. Stream limits are small, so
//! that they are easy to exceed: see [`limits`].

use quic_core::config::{TransportConfig, TransportConfigBuilder};
use quic_core::wire::cursor::Writer;
use quic_core::wire::{ConnectionId, PacketType, SpaceId, TransportErrorCode, TransportParameters};
use quic_testkit::arena::{Arena, PeerId, cid, generous_parameters};
use quic_testkit::raw_peer::RawPeer;

const STREAM_WINDOW: u64 = 4_000;
const CONNECTION_WINDOW: u64 = 10_000;
const BIDI_STREAMS: u64 = 4;
const UNI_STREAMS: u64 = 3;
const MAX_VARINT: u64 = (1 << 62) - 1;

fn limits() -> TransportConfigBuilder {
    TransportConfig::builder()
        .initial_stream_window(STREAM_WINDOW)
        .initial_connection_window(CONNECTION_WINDOW)
        .max_bidi_streams(BIDI_STREAMS)
        .max_uni_streams(UNI_STREAMS)
}

// ---- writing frames

/// Variable-length integers one after the other.
fn ints(values: &[u64]) -> Vec<u8> {
    let mut buf = vec![0; 8 * values.len()];
    let mut writer = Writer::new(&mut buf);
    values.iter().for_each(|value| writer.varint(*value));
    let len = writer.position();
    buf.truncate(len);
    buf
}

const FIN: bool = true;
const NO_FIN: bool = false;

fn stream(id: u64, offset: u64, len: usize, fin: bool) -> Vec<u8> {
    let ty = 0x0e | u64::from(fin);
    [ints(&[ty, id, offset, len as u64]), vec![b'x'; len]].concat()
}

fn reset_stream(id: u64, final_size: u64) -> Vec<u8> {
    ints(&[0x04, id, 0, final_size])
}

fn stop_sending(id: u64) -> Vec<u8> {
    ints(&[0x05, id, 0])
}

fn new_connection_id(sequence: u64, retire_prior_to: u64, id: &[u8], token: u8) -> Vec<u8> {
    [ints(&[0x18, sequence, retire_prior_to]), vec![id.len() as u8], id.to_vec(), vec![token; 16]]
        .concat()
}

fn crypto(offset: u64, data: &[u8]) -> Vec<u8> {
    [ints(&[0x06, offset, data.len() as u64]), data.to_vec()].concat()
}

/// What the endpoint under test is told, and what it has to answer.
struct Row {
    name: &'static str,
    payload: Vec<u8>,
    code: TransportErrorCode,
    /// The frame to be blamed; `None` if it is a whole packet.
    frame: Option<u64>,
}

fn row(
    name: &'static str,
    payload: Vec<u8>,
    code: TransportErrorCode,
    frame: impl Into<Option<u64>>,
) -> Row {
    Row { name, payload, code, frame: frame.into() }
}

const ENCODING: TransportErrorCode = TransportErrorCode::FRAME_ENCODING_ERROR;
const PROTOCOL: TransportErrorCode = TransportErrorCode::PROTOCOL_VIOLATION;
const STATE: TransportErrorCode = TransportErrorCode::STREAM_STATE_ERROR;
const LIMIT: TransportErrorCode = TransportErrorCode::STREAM_LIMIT_ERROR;
const FLOW: TransportErrorCode = TransportErrorCode::FLOW_CONTROL_ERROR;
const SIZE: TransportErrorCode = TransportErrorCode::FINAL_SIZE_ERROR;
const PARAMETER: TransportErrorCode = TransportErrorCode::TRANSPORT_PARAMETER_ERROR;

/// Sends each row in a 1-RTT packet over a connection of its own and checks the answer. All
/// connections share one endpoint with a witness that must not notice anything.
fn check(rows: &[Row], connect: impl Fn(&mut Arena) -> PeerId) {
    let mut arena = Arena::new(limits());
    let witness = arena.connected_client();
    for row in rows {
        let liar = connect(&mut arena);
        arena.send_frames(liar, &row.payload);
        assert_closed(&mut arena, liar, row.name, row.code, row.frame);
    }
    assert!(arena.is_alive(witness), "another connection was harmed");
    assert_eq!(arena.closed(witness), None);
}

fn check_server(rows: &[Row]) {
    check(rows, Arena::connected_client);
}

fn check_client(rows: &[Row]) {
    check(rows, Arena::connected_server);
}

fn check_both(rows: &[Row]) {
    check_server(rows);
    check_client(rows);
}

fn assert_closed(
    arena: &mut Arena,
    liar: PeerId,
    name: &str,
    code: TransportErrorCode,
    frame: Option<u64>,
) {
    let closed = arena.closed(liar).unwrap_or_else(|| panic!("{name}: nothing happened"));
    assert_eq!(closed.transport_code(), Some(code), "{name}: {closed:?}");
    // The low bits of STREAM are flags.
    let family = |ty: u64| if (0x08..0x10).contains(&ty) { 0x08 } else { ty };
    let blamed = closed.frame_type.map(|ty| family(ty.0));
    assert_eq!(blamed, frame.map(family), "{name}: {closed:?}");
    // req-test 9000-10.2.3-243
    assert_ne!(closed.reason, "", "{name}");
}

// ---- frames that cannot be read

// req-test 9000-12.4-292, 9000-12.4-293, 9000-12.4-294
#[test]
fn frame_types_are_known_and_short() {
    check_both(&[
        row("a type beyond the last one", ints(&[0x1f]), ENCODING, 0x1f),
        row("an extension nobody asked for", ints(&[0x30, 1]), ENCODING, 0x30),
        row("a type of eight bytes", ints(&[MAX_VARINT]), ENCODING, MAX_VARINT),
        row("after valid frames", [vec![0, 0, 1], ints(&[0x21])].concat(), ENCODING, 0x21),
        row("PING in two bytes", vec![0x40, 0x01], PROTOCOL, 0x01),
        row("PADDING in four bytes", vec![0x80, 0, 0, 0], PROTOCOL, None),
        row("STREAM in eight bytes", vec![0xc0, 0, 0, 0, 0, 0, 0, 0x08], PROTOCOL, 0x08),
    ]);
}

/// One valid encoding of each frame that has fields, for a connection without streams.
fn samples() -> Vec<Vec<u8>> {
    vec![
        ints(&[0x02, 0, 0, 0, 0]),
        ints(&[0x03, 0, 0, 0, 0, 1, 0, 0]),
        reset_stream(0, 0),
        stop_sending(0),
        crypto(0, b"x"),
        [ints(&[0x07, 1]), vec![1]].concat(),
        stream(0, 0, 3, NO_FIN),
        ints(&[0x10, 1]),
        ints(&[0x11, 0, 1]),
        ints(&[0x12, 1]),
        ints(&[0x13, 1]),
        ints(&[0x14, 1]),
        ints(&[0x15, 0, 1]),
        ints(&[0x16, 1]),
        ints(&[0x17, 1]),
        new_connection_id(1, 0, &[7; 8], 1),
        ints(&[0x19, 0]),
        [vec![0x1a], vec![0; 8]].concat(),
        [vec![0x1b], vec![0; 8]].concat(),
        ints(&[0x1c, 0, 0, 0]),
        ints(&[0x1d, 0, 0]),
    ]
}

#[test]
fn a_frame_that_ends_early_is_an_encoding_error_of_that_frame() {
    let rows: Vec<_> = samples()
        .into_iter()
        .flat_map(|frame| {
            (1..frame.len()).map(move |len| {
                // PADDING would be read as the rest of the frame: fill up in front.
                let cut = [vec![0; 4], frame[..len].to_vec()].concat();
                row("a frame cut short", cut, ENCODING, u64::from(frame[0]))
            })
        })
        .collect();
    assert!(rows.len() > 80, "{}", rows.len());
    check_server(&rows);
}

// req-test 9000-19.3.1-437, 9000-4.6-033, 9000-19.11-454, 9000-19.14-462, 9000-19.6-441
// req-test 9000-19.8-447, 9000-19.15-463, 9000-19.15-469
#[test]
fn impossible_values_are_encoding_errors() {
    check_both(&[
        row("the first ACK range is too long", ints(&[0x02, 3, 0, 0, 4]), ENCODING, 0x02),
        row("an ACK gap below zero", ints(&[0x02, 3, 0, 1, 0, 2, 0]), ENCODING, 0x02),
        row("an ACK range below zero", ints(&[0x02, 9, 0, 1, 0, 5, 3]), ENCODING, 0x02),
        row("a number of ACK ranges that are not there", ints(&[0x02, 9, 0, 9, 0]), ENCODING, 0x02),
        row("MAX_STREAMS (bidi)", ints(&[0x12, (1 << 60) + 1]), ENCODING, 0x12),
        row("MAX_STREAMS (uni)", ints(&[0x13, (1 << 60) + 1]), ENCODING, 0x13),
        row("STREAMS_BLOCKED (bidi)", ints(&[0x16, (1 << 60) + 1]), ENCODING, 0x16),
        row("STREAMS_BLOCKED (uni)", ints(&[0x17, MAX_VARINT]), ENCODING, 0x17),
        row("CRYPTO past the largest offset", crypto(MAX_VARINT, b"x"), ENCODING, 0x06),
        row("STREAM past the largest offset", stream(0, MAX_VARINT, 1, NO_FIN), ENCODING, 0x08),
        row("a connection ID of no bytes", new_connection_id(1, 0, &[], 1), ENCODING, 0x18),
        row("a connection ID of 21 bytes", new_connection_id(1, 0, &[7; 21], 1), ENCODING, 0x18),
        row("a retirement of itself", new_connection_id(1, 2, &[7; 8], 1), ENCODING, 0x18),
        row("a length beyond the packet", ints(&[0x0a, 0, 100]), ENCODING, 0x08),
        row("a reason beyond the packet", ints(&[0x1c, 0, 0, 100]), ENCODING, 0x1c),
    ]);
}

// ---- frames for the wrong stream or at the wrong time

// req-test 9000-19.4-438, 9000-19.5-439, 9000-19.5-440, 9000-19.8-446, 9000-19.10-450
// req-test 9000-19.10-451, 9000-19.13-460
#[test]
fn a_server_refuses_frames_for_streams_that_the_client_cannot_mean() {
    // The client opens 0 (bidi) and 2 (uni); 1 and 3 are the server's, and not open.
    check_server(&[
        row(
            "STREAM on a stream that only the server sends on",
            stream(3, 0, 1, NO_FIN),
            STATE,
            0x08,
        ),
        row("STREAM on an unopened stream", stream(1, 0, 1, NO_FIN), STATE, 0x08),
        row(
            "RESET_STREAM of a stream that only the server sends on",
            reset_stream(3, 0),
            STATE,
            0x04,
        ),
        row("RESET_STREAM of an unopened stream", reset_stream(1, 0), STATE, 0x04),
        row("STOP_SENDING on a stream that only the client sends on", stop_sending(2), STATE, 0x05),
        row("STOP_SENDING of an unopened stream", stop_sending(1), STATE, 0x05),
        row("STOP_SENDING of an unopened uni stream", stop_sending(3), STATE, 0x05),
        row("MAX_STREAM_DATA the wrong way", ints(&[0x11, 2, 9]), STATE, 0x11),
        row("MAX_STREAM_DATA of an unopened stream", ints(&[0x11, 1, 9]), STATE, 0x11),
        row("MAX_STREAM_DATA of an unopened uni stream", ints(&[0x11, 3, 9]), STATE, 0x11),
        row("STREAM_DATA_BLOCKED the wrong way", ints(&[0x15, 3, 9]), STATE, 0x15),
        row("STREAM_DATA_BLOCKED of an unopened stream", ints(&[0x15, 1, 9]), STATE, 0x15),
    ]);
}

// req-test 9000-19.4-438, 9000-19.5-439, 9000-19.5-440, 9000-19.8-446, 9000-19.10-450
// req-test 9000-19.10-451, 9000-19.13-460
#[test]
fn a_client_refuses_frames_for_streams_that_the_server_cannot_mean() {
    check_client(&[
        row(
            "STREAM on a stream that only the client sends on",
            stream(2, 0, 1, NO_FIN),
            STATE,
            0x08,
        ),
        row("STREAM on an unopened stream", stream(0, 0, 1, NO_FIN), STATE, 0x08),
        row("RESET_STREAM the wrong way", reset_stream(2, 0), STATE, 0x04),
        row("RESET_STREAM of an unopened stream", reset_stream(0, 0), STATE, 0x04),
        row("STOP_SENDING the wrong way", stop_sending(3), STATE, 0x05),
        row("STOP_SENDING of an unopened stream", stop_sending(0), STATE, 0x05),
        row("MAX_STREAM_DATA the wrong way", ints(&[0x11, 3, 9]), STATE, 0x11),
        row("MAX_STREAM_DATA of an unopened stream", ints(&[0x11, 0, 9]), STATE, 0x11),
        row("STREAM_DATA_BLOCKED the wrong way", ints(&[0x15, 2, 9]), STATE, 0x15),
    ]);
}

// req-test 9000-4.6-035, 9000-19.11-457
#[test]
fn a_stream_past_the_limit_is_a_stream_limit_error_whatever_opens_it() {
    let bidi = 4 * BIDI_STREAMS;
    let uni = 4 * UNI_STREAMS + 2;
    check_server(&[
        row("STREAM, bidi", stream(bidi, 0, 1, NO_FIN), LIMIT, 0x08),
        row("STREAM, uni", stream(uni, 0, 1, NO_FIN), LIMIT, 0x08),
        row("an empty STREAM", stream(bidi, 0, 0, NO_FIN), LIMIT, 0x08),
        row("RESET_STREAM, bidi", reset_stream(bidi, 0), LIMIT, 0x04),
        row("RESET_STREAM, uni", reset_stream(uni, 0), LIMIT, 0x04),
        row("STOP_SENDING", stop_sending(bidi), LIMIT, 0x05),
        row("MAX_STREAM_DATA", ints(&[0x11, bidi, 9]), LIMIT, 0x11),
        row("STREAM_DATA_BLOCKED, bidi", ints(&[0x15, bidi, 9]), LIMIT, 0x15),
        row("STREAM_DATA_BLOCKED, uni", ints(&[0x15, uni, 9]), LIMIT, 0x15),
        row("the largest stream ID", stream(MAX_VARINT - 3, 0, 1, NO_FIN), LIMIT, 0x08),
    ]);
    check_client(&[
        row("STREAM, bidi", stream(bidi + 1, 0, 1, NO_FIN), LIMIT, 0x08),
        row("RESET_STREAM, uni", reset_stream(uni + 1, 0), LIMIT, 0x04),
    ]);
}

// ---- flow control and final sizes

fn fill(id: u64) -> Vec<u8> {
    // The last byte of the window, so that the rest need not be sent.
    stream(id, STREAM_WINDOW - 1, 1, NO_FIN)
}

// req-test 9000-4.1-022, 9000-4.5-029, 9000-19.9-448, 9000-19.9-449, 9000-19.10-452
// req-test 9000-19.10-453
#[test]
fn data_past_a_window_is_a_flow_control_error() {
    check_server(&[
        row("one byte past a stream's window", stream(0, STREAM_WINDOW, 1, NO_FIN), FLOW, 0x08),
        row("the same on a uni stream", stream(2, STREAM_WINDOW, 1, NO_FIN), FLOW, 0x08),
        row("far past it", stream(0, 1 << 40, 1, FIN), FLOW, 0x08),
        row("an end past it", stream(0, STREAM_WINDOW + 1, 0, FIN), FLOW, 0x08),
        row("a reset past it", reset_stream(0, STREAM_WINDOW + 1), FLOW, 0x04),
        row(
            "past the connection's window",
            [fill(0), fill(4), stream(8, CONNECTION_WINDOW - 2 * STREAM_WINDOW, 1, NO_FIN)]
                .concat(),
            FLOW,
            0x08,
        ),
        row(
            "a reset past the connection's window",
            [fill(0), fill(4), reset_stream(8, CONNECTION_WINDOW - 2 * STREAM_WINDOW + 1)].concat(),
            FLOW,
            0x04,
        ),
        row(
            "resets count as sent data",
            [
                reset_stream(0, STREAM_WINDOW),
                reset_stream(4, STREAM_WINDOW),
                reset_stream(2, CONNECTION_WINDOW - 2 * STREAM_WINDOW),
                stream(6, 0, 1, NO_FIN),
                // Nobody reads here: the credit of resets comes back, but nobody was told yet.
                stream(6, CONNECTION_WINDOW, 1, NO_FIN),
            ]
            .concat(),
            FLOW,
            0x08,
        ),
    ]);
}

// req-test 9000-4.5-030
#[test]
fn a_final_size_is_final() {
    check_server(&[
        row(
            "data behind the end",
            [stream(0, 0, 5, FIN), stream(0, 5, 1, NO_FIN)].concat(),
            SIZE,
            0x08,
        ),
        row("a later end", [stream(0, 0, 5, FIN), stream(0, 6, 0, FIN)].concat(), SIZE, 0x08),
        row("an earlier end", [stream(0, 0, 5, FIN), stream(0, 0, 4, FIN)].concat(), SIZE, 0x08),
        row(
            "an end below data",
            [stream(0, 9, 1, NO_FIN), stream(0, 0, 9, FIN)].concat(),
            SIZE,
            0x08,
        ),
        row(
            "a reset below data",
            [stream(0, 9, 1, NO_FIN), reset_stream(0, 9)].concat(),
            SIZE,
            0x04,
        ),
        row(
            "a reset above the end",
            [stream(0, 5, 0, FIN), reset_stream(0, 6)].concat(),
            SIZE,
            0x04,
        ),
        row("another reset", [reset_stream(0, 5), reset_stream(0, 6)].concat(), SIZE, 0x04),
        row(
            "data behind a reset",
            [reset_stream(0, 5), stream(0, 5, 1, NO_FIN)].concat(),
            SIZE,
            0x08,
        ),
        row(
            "an end after a reset",
            [reset_stream(0, 5), stream(0, 6, 0, FIN)].concat(),
            SIZE,
            0x08,
        ),
    ]);
}

// ---- connection IDs, tokens, acknowledgements, handshake messages

// req-test 9000-5.1.1-047, 9000-19.16-472, 9000-19.16-473
#[test]
fn connection_ids_are_issued_and_retired_by_the_rules() {
    let ids = |range: std::ops::RangeInclusive<u64>| -> Vec<u8> {
        range.flat_map(|n| new_connection_id(n, 0, &[n as u8; 8], n as u8)).collect()
    };
    let too_many = TransportErrorCode::CONNECTION_ID_LIMIT_ERROR;
    check_both(&[
        row("more than the limit", ids(1..=4), too_many, 0x18),
        row(
            "another ID under a known number",
            [ids(1..=1), new_connection_id(1, 0, &[9; 8], 1)].concat(),
            PROTOCOL,
            0x18,
        ),
        row(
            "another token under a known number",
            [ids(1..=1), new_connection_id(1, 0, &[1; 8], 2)].concat(),
            PROTOCOL,
            0x18,
        ),
        row(
            "a known ID under another number",
            [ids(1..=1), new_connection_id(2, 0, &[1; 8], 1)].concat(),
            PROTOCOL,
            0x18,
        ),
        row("a retirement of what was never issued", ints(&[0x19, 1000]), PROTOCOL, 0x19),
        row("a retirement of the ID in use", ints(&[0x19, 0]), PROTOCOL, 0x19),
    ]);
}

// req-test 9000-19.15-465
#[test]
fn who_wants_no_connection_ids_gets_none() {
    let mut arena = Arena::new(limits());
    let params = generous_parameters();
    let params =
        TransportParameters { initial_source_connection_id: Some(ConnectionId::EMPTY), ..params };
    let mut encoded = Vec::new();
    params.encode(quic_core::wire::Side::Client, None, &mut encoded);
    let odcid = cid(&[5; 8]);
    let peer = RawPeer::client_with_encoded_params(ConnectionId::EMPTY, odcid, encoded);
    let id = arena.connected(peer);
    arena.send_frames(id, &new_connection_id(1, 0, &[1; 8], 1));
    assert_closed(&mut arena, id, "an ID for a peer without", PROTOCOL, Some(0x18));
}

// req-test 9000-19.7-443, 9000-19.7-445, 9000-19.20-480
#[test]
fn some_frames_come_from_one_side_only() {
    let token = [ints(&[0x07, 3]), vec![1, 2, 3]].concat();
    check_server(&[
        row("NEW_TOKEN from a client", token, PROTOCOL, 0x07),
        row("HANDSHAKE_DONE from a client", vec![0x1e], PROTOCOL, 0x1e),
    ]);
    check_client(&[row("an empty token", ints(&[0x07, 0]), ENCODING, 0x07)]);
}

#[test]
fn packets_that_were_never_sent_cannot_be_acknowledged() {
    check_both(&[
        row("far ahead", ints(&[0x02, 1_000_000, 0, 0, 0]), PROTOCOL, 0x02),
        row("in a range", ints(&[0x02, 1_000_000, 0, 0, 1_000_000]), PROTOCOL, 0x02),
        row("the largest of all", ints(&[0x02, MAX_VARINT, 0, 0, 0]), PROTOCOL, 0x02),
    ]);
}

// req-test 9001-6-063, 9001-4.4-017
#[test]
fn tls_messages_that_quic_forbids_end_the_connection() {
    let unexpected = TransportErrorCode::crypto(10);
    check_client(&[row("KeyUpdate", crypto_after_tickets(&[24, 0, 0, 1, 0]), unexpected, 0x06)]);
    check_server(&[row("KeyUpdate", crypto(0, &[24, 0, 0, 1, 0]), unexpected, 0x06)]);
}

/// The raw server of the arena has sent its session tickets: their size is constant.
fn crypto_after_tickets(data: &[u8]) -> Vec<u8> {
    let mut arena = Arena::new(limits());
    let id = arena.connected_server();
    crypto(arena.peer(id).crypto_sent(SpaceId::Data), data)
}

#[test]
fn handshake_data_without_end_is_refused() {
    let exceeded = TransportErrorCode::CRYPTO_BUFFER_EXCEEDED;
    check_both(&[row("far ahead", crypto(1 << 30, b"x"), exceeded, 0x06)]);
}

// ---- packets

// req-test 9000-12.4-289, 9000-12.4-290
#[test]
fn a_packet_without_frames_is_a_protocol_violation() {
    let mut arena = Arena::new(limits());
    for connect in [Arena::connected_client, Arena::connected_server] {
        let id = connect(&mut arena);
        let empty = arena.peer(id).packet(PacketType::OneRtt).exact_payload().seal();
        arena.send(id, &empty);
        assert_closed(&mut arena, id, "an empty packet", PROTOCOL, None);
    }
}

// req-test 9000-17.3.1-418
#[test]
fn reserved_bits_of_short_headers_are_zero() {
    let mut arena = Arena::new(limits());
    for bits in [0x08, 0x10, 0x18] {
        let id = arena.connected_client();
        let packet = arena.peer(id).packet(PacketType::OneRtt).payload(&[1, 0, 0]);
        let packet = packet.flip_bits(bits).seal();
        arena.send(id, &packet);
        assert_closed(&mut arena, id, "reserved bits", PROTOCOL, None);
    }
}

/// A raw client whose first Initial packet, with this payload, is all that it has sent.
fn first_packet(arena: &mut Arena, payload: &[u8], flipped_bits: u8) -> PeerId {
    let mut peer = RawPeer::client(&mut arena.rng, generous_parameters());
    let _unsent = peer.poll_datagram();
    let packet = peer.packet(PacketType::Initial).payload(payload).flip_bits(flipped_bits);
    let datagram = packet.datagram();
    let id = arena.add_client(peer);
    arena.send(id, &datagram);
    id
}

// req-test 9000-17.2-383
#[test]
fn reserved_bits_of_long_headers_are_zero() {
    let mut arena = Arena::new(limits());
    for bits in [0x04, 0x08, 0x0c] {
        let id = first_packet(&mut arena, &[1, 0, 0, 0], bits);
        assert_closed(&mut arena, id, "reserved bits", PROTOCOL, None);
    }
}

/// Frames that only 0-RTT and 1-RTT packets carry.
fn only_in_data() -> Vec<Vec<u8>> {
    let mut frames = samples();
    frames.retain(|frame| !matches!(frame[0], 0x02 | 0x03 | 0x06 | 0x1c));
    frames.push(vec![0x1e]);
    frames
}

// req-test 9000-12.4-291, 9000-12.5-297, 9000-12.5-299
#[test]
fn initial_packets_carry_few_frames() {
    let mut arena = Arena::new(limits());
    for frame in only_in_data() {
        let id = first_packet(&mut arena, &frame, 0);
        assert_closed(&mut arena, id, "in Initial", PROTOCOL, Some(frame[0].into()));
    }
}

// req-test 9000-12.4-291, 9000-17.2.4-399, 9000-12.5-297, 9000-12.5-299
#[test]
fn handshake_packets_carry_few_frames() {
    let mut arena = Arena::new(limits());
    let witness = arena.connected_client();
    for frame in only_in_data() {
        let id = arena.client_in_handshake();
        while arena.peer(id).poll_datagram().is_some() {}
        let datagram = arena.peer(id).packet(PacketType::Handshake).payload(&frame).datagram();
        arena.send(id, &datagram);
        assert_closed(&mut arena, id, "in Handshake", PROTOCOL, Some(frame[0].into()));
    }
    assert!(arena.is_alive(witness));
}

// ---- transport parameters

struct ParameterRow {
    name: &'static str,
    change: fn(&mut Vec<(u64, Vec<u8>)>),
}

/// The parameters as a list of identifiers and values, with the connection IDs of the handshake.
fn parameters(own: ConnectionId, original: Option<ConnectionId>) -> Vec<(u64, Vec<u8>)> {
    let mut list = vec![(0x04, ints(&[1000])), (0x0f, own.as_slice().to_vec())];
    list.extend(original.map(|id| (0x00, id.as_slice().to_vec())));
    list
}

fn encode(parameters: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let one =
        |(id, value): &(u64, Vec<u8>)| [ints(&[*id, value.len() as u64]), value.clone()].concat();
    parameters.iter().flat_map(one).collect()
}

const EITHER_SIDE: &[ParameterRow] = &[
    ParameterRow { name: "twice", change: |list| list.push(list[0].clone()) },
    ParameterRow {
        name: "unknown and twice",
        change: |list| list.extend([(0x4321, vec![]), (0x4321, vec![])]),
    },
    ParameterRow { name: "a small datagram", change: |list| list.push((0x03, ints(&[1199]))) },
    ParameterRow {
        name: "an ack_delay_exponent of 21",
        change: |list| list.push((0x0a, ints(&[21]))),
    },
    ParameterRow {
        name: "a max_ack_delay of 2^14",
        change: |list| list.push((0x0b, ints(&[1 << 14]))),
    },
    ParameterRow { name: "one connection ID", change: |list| list.push((0x0e, ints(&[1]))) },
    ParameterRow {
        name: "too many streams, bidi",
        change: |list| list.push((0x08, ints(&[(1 << 60) + 1]))),
    },
    ParameterRow {
        name: "too many streams, uni",
        change: |list| list.push((0x09, ints(&[(1 << 60) + 1]))),
    },
    ParameterRow { name: "bytes behind an integer", change: |list| list.push((0x01, vec![1, 2])) },
    ParameterRow { name: "half an integer", change: |list| list.push((0x01, vec![0x40])) },
    ParameterRow { name: "a flag with a value", change: |list| list.push((0x0c, vec![1])) },
    ParameterRow { name: "a connection ID of 21 bytes", change: |list| list[1].1 = vec![1; 21] },
    ParameterRow { name: "no initial_source_connection_id", change: |list| drop(list.remove(1)) },
    ParameterRow { name: "another initial_source_connection_id", change: |list| list[1].1[0] ^= 1 },
];

// req-test 9000-18.2-434, 9000-18.2-435, 9000-18.2-425
const FROM_CLIENT: &[ParameterRow] = &[
    ParameterRow {
        name: "original_destination_connection_id",
        change: |list| list.push((0x00, vec![1; 8])),
    },
    ParameterRow { name: "stateless_reset_token", change: |list| list.push((0x02, vec![1; 16])) },
    ParameterRow { name: "preferred_address", change: |list| list.push((0x0d, vec![1; 50])) },
    ParameterRow {
        name: "retry_source_connection_id",
        change: |list| list.push((0x10, vec![1; 8])),
    },
];

const FROM_SERVER: &[ParameterRow] = &[
    ParameterRow { name: "no original_destination_connection_id", change: |list| drop(list.pop()) },
    ParameterRow {
        name: "another original_destination_connection_id",
        change: |list| list[2].1[0] ^= 1,
    },
    ParameterRow {
        name: "a Retry that was not there",
        change: |list| list.push((0x10, vec![1; 8])),
    },
    ParameterRow { name: "half a reset token", change: |list| list.push((0x02, vec![1; 15])) },
    ParameterRow {
        name: "half a preferred address",
        change: |list| list.push((0x0d, vec![1; 30])),
    },
];

// req-test 9000-7.3-092, 9000-7.3-093, 9000-7.3-094, 9000-7.4-095, 9000-18.2-433, 9000-4.6-033
// req-test 9000-18.2-435
#[test]
fn a_server_refuses_wrong_transport_parameters() {
    let mut arena = Arena::new(limits());
    let witness = arena.connected_client();
    for row in EITHER_SIDE.iter().chain(FROM_CLIENT) {
        let (local, original) = (cid(&arena.rng.array::<8>()), cid(&arena.rng.array::<8>()));
        let mut list = parameters(local, None);
        (row.change)(&mut list);
        let id =
            arena.add_client(RawPeer::client_with_encoded_params(local, original, encode(&list)));
        arena.pump();
        let closed = arena.closed(id).unwrap_or_else(|| panic!("{}: nothing happened", row.name));
        assert_eq!(closed.transport_code(), Some(PARAMETER), "{}: {closed:?}", row.name);
    }
    assert!(arena.is_alive(witness));
}

// req-test 9000-7.3-092, 9000-7.3-093, 9000-7.3-094, 9000-7.4-095, 9000-18.2-433, 9000-4.6-033
#[test]
fn a_client_refuses_wrong_transport_parameters() {
    let mut arena = Arena::new(limits());
    for row in EITHER_SIDE.iter().chain(FROM_SERVER) {
        let id = arena.connect_to(|rng, first| {
            let local = cid(&rng.array::<8>());
            let mut list = parameters(local, Some(RawPeer::original_dcid_of(first)));
            (row.change)(&mut list);
            RawPeer::server_with_encoded_params(local, first, encode(&list))
        });
        arena.pump();
        let closed = arena.closed(id).unwrap_or_else(|| panic!("{}: nothing happened", row.name));
        assert_eq!(closed.transport_code(), Some(PARAMETER), "{}: {closed:?}", row.name);
    }
}

// req-test 9000-7.4.2-109
#[test]
fn unknown_transport_parameters_are_ignored() {
    let mut arena = Arena::new(limits());
    let (local, original) = (cid(&[1; 8]), cid(&[2; 8]));
    let mut list = parameters(local, None);
    list.extend([(0x1b, vec![7; 30]), (0x3fff_ffff, vec![])]);
    let id = arena.connected(RawPeer::client_with_encoded_params(local, original, encode(&list)));
    assert!(arena.is_alive(id));
}

// ---- what looks wrong and must be borne

// req-test 9000-4.1-023, 9000-4.6-036, 9000-19.11-455, 9000-13.3-334, 9000-19.15-466
// req-test 9000-19.15-470
#[test]
fn old_and_repeated_frames_are_no_errors() {
    let id = |n: u64| new_connection_id(n, 0, &[n as u8; 8], n as u8);
    let harmless: &[(&str, Vec<u8>)] = &[
        ("MAX_DATA goes back", ints(&[0x10, 1])),
        ("MAX_STREAMS goes back", ints(&[0x12, 0])),
        ("MAX_STREAM_DATA goes back", [stream(0, 0, 1, NO_FIN), ints(&[0x11, 0, 1])].concat()),
        ("the same connection ID again", [id(1), id(1), id(1)].concat()),
        ("Retire Prior To goes back", [new_connection_id(2, 1, &[2; 8], 2), id(1)].concat()),
        ("the same stream data again", [stream(0, 0, 9, NO_FIN), stream(0, 0, 9, NO_FIN)].concat()),
        ("the same end again", [stream(0, 0, 9, FIN), stream(0, 9, 0, FIN)].concat()),
        ("the same reset again", [reset_stream(0, 9), reset_stream(0, 9)].concat()),
        ("a reset at the end", [stream(0, 0, 9, FIN), reset_stream(0, 9)].concat()),
        ("data below a reset", [reset_stream(0, 9), stream(0, 0, 9, FIN)].concat()),
        ("a stop after the end", [stream(0, 0, 9, FIN), stop_sending(0), stop_sending(0)].concat()),
        ("a blocked peer", [ints(&[0x14, 1]), ints(&[0x16, 1]), ints(&[0x17, 1])].concat()),
        ("an answer to no question", [vec![0x1b], vec![0; 8]].concat()),
        ("an acknowledgement of nothing new", ints(&[0x02, 0, 0, 0, 0])),
        ("padding", vec![0; 1000]),
    ];
    let mut arena = Arena::new(limits());
    for (name, payload) in harmless {
        let peer = arena.connected_client();
        arena.send_frames(peer, payload);
        assert_eq!(arena.closed(peer), None, "{name}");
        assert!(arena.is_alive(peer), "{name}");
    }
}

// req-test 9000-17.2-375, 9000-17.3.1-416, 9000-17.2-377, 9000-17.2-380, 9000-10.3-252
// req-test 9001-5.4.2-046
#[test]
fn garbage_is_dropped_and_harms_nobody() {
    let mut arena = Arena::new(limits());
    let id = arena.connected_client();
    let valid = arena.peer(id).one_rtt(&[0x01; 40]);
    for n in 0..2_000u64 {
        let mut garbage = match n % 4 {
            // Bytes without any sense.
            0 => (0..n % 100).map(|_| arena.rng.u64() as u8).collect(),
            // A packet of the connection with a changed byte.
            1 => {
                let mut packet = valid.clone();
                let at = (n as usize / 4) % packet.len();
                packet[at] ^= 1 << (n % 8);
                packet
            }
            // A packet of the connection cut short.
            2 => valid[..n as usize % valid.len()].to_vec(),
            // A long header with connection IDs of any length.
            _ => (0..60).map(|_| arena.rng.u64() as u8 | 0x80).collect(),
        };
        // The fixed bit is not set.
        if n % 5 == 0 && !garbage.is_empty() {
            garbage[0] &= !0x40;
        }
        arena.send(id, &garbage);
    }
    assert_eq!(arena.closed(id), None);
    assert!(arena.is_alive(id));
}
