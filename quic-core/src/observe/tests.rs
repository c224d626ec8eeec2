//! Every event through every observer, and every frame through qlog.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::error::Violation;
use crate::error::{ApplicationClosed, ConnectionClosed, ConnectionError, Discard, TransportError};
use crate::wire::header::{LongHeader, LongType, ShortHeader};
use crate::wire::{
    PacketType, SpaceId, StreamId, TransportErrorCode, TransportParameters, Truncated, Version,
    Writer,
};

/// A writer that the test can look into while something else owns it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// The records of a JSON text sequence.
    fn records(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let mut parts = text.split('\x1e');
        assert_eq!(parts.next(), Some(""), "the first record begins with a separator");
        parts
            .map(|record| {
                assert!(record.ends_with('\n') && record.matches('\n').count() == 1, "{record:?}");
                serde_json::from_str(record).unwrap_or_else(|error| panic!("{error}: {record}"))
            })
            .collect()
    }
}

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

fn info(side: Side) -> ConnectionInfo {
    ConnectionInfo { side, original_dcid: cid(&[0xab, 0xcd]) }
}

/// The records that `event`, 1.5 ms after the start, becomes at a client.
fn records_of(event: &Event<'_>) -> Vec<Value> {
    let start = Instant::now();
    let file = Shared::default();
    let mut qlog = QlogWriter::new(file.clone(), start, &TraceInfo::new(info(Side::Client)));
    qlog.on_event(start + Duration::from_micros(1500), event);
    assert!(qlog.error().is_none());
    file.records().split_off(1)
}

fn data_of(event: &Event<'_>) -> Value {
    let mut records = records_of(event);
    assert_eq!(records.len(), 1, "{records:?}");
    records[0]["data"].take()
}

fn packet(packet_type: PacketType, payload: &[u8]) -> Packet<'_> {
    let is_long = packet_type.has_long_header();
    Packet {
        packet_type,
        number: PacketNumber::new(7),
        version: is_long.then_some(Version::V1),
        dcid: cid(&[1, 2]),
        scid: is_long.then_some(cid(&[3])),
        token_len: 0,
        size: payload.len() + 20,
        payload,
    }
}

/// One event of each kind, and more where the data differ.
fn with_every_event(mut f: impl FnMut(&Event<'_>)) {
    let params = TransportParameters {
        initial_source_connection_id: Some(cid(&[9])),
        max_idle_timeout_ms: 30_000,
        ..TransportParameters::default()
    };
    let addr = "127.0.0.1:443".parse().unwrap();
    let addr6 = "[::1]:4433".parse().unwrap();
    let protocols = [b"h3".to_vec(), vec![0xff]];
    let stream_id = StreamId::new(Side::Client, crate::wire::Dir::Bi, 1);
    f(&Event::ConnectionStarted {
        local: Some(addr6),
        remote: addr,
        local_cid: cid(&[1]),
        remote_cid: cid(&[2]),
    });
    f(&Event::VersionInformation {
        client: &[Version::V1],
        server: &[],
        chosen: Some(Version::V1),
    });
    f(&Event::AlpnInformation { client: &protocols, server: &[], chosen: Some(b"h3") });
    for initiator in [Initiator::Local, Initiator::Remote] {
        f(&Event::ParametersSet { initiator, params: &params });
        f(&Event::ConnectionIdUpdated { initiator, old: Some(cid(&[1])), new: cid(&[2]) });
    }
    for new in [
        ConnectionState::Attempted,
        ConnectionState::HandshakeStarted,
        ConnectionState::PeerValidated,
        ConnectionState::EarlyWrite,
        ConnectionState::Closing,
        ConnectionState::Draining,
        ConnectionState::Closed,
    ] {
        f(&Event::StateUpdated { new });
    }
    f(&Event::HandshakeComplete { alpn: Some(b"h3") });
    f(&Event::HandshakeConfirmed);
    for reason in close_reasons() {
        f(&Event::ConnectionClosed { reason: &reason });
    }
    f(&Event::PathStateUpdated { path: 1, new: PathState::Validated });
    f(&Event::PathAssigned { path: 1, local: None, remote: addr6 });
    f(&Event::MtuUpdated { mtu: 1400 });
    f(&Event::EcnChanged { change: EcnChange::Validated });
    f(&Event::EcnChanged { change: EcnChange::Failed });
    f(&Event::DatagramsSent { count: 10, len: 12_000 });
    f(&Event::DatagramReceived { len: 1200 });
    for packet_type in
        [PacketType::Initial, PacketType::Handshake, PacketType::ZeroRtt, PacketType::OneRtt]
    {
        f(&Event::PacketSent(packet(packet_type, &[1, 0, 0])));
        f(&Event::PacketReceived(packet(packet_type, &[0x1f, 0xff])));
        f(&Event::PacketBuffered { packet_type, len: 40 });
    }
    for reason in Discard::ALL {
        f(&Event::PacketDropped { reason: *reason, len: 50 });
    }
    for space in SpaceId::ALL {
        f(&Event::PacketsAcked { space, ranges: &[8..=9, 3..=5] });
        f(&Event::PacketLost { space, packet_number: PacketNumber::new(6) });
        f(&Event::KeyInstalled { space });
        f(&Event::KeyDiscarded { space });
    }
    for new in [
        StreamState::Ready,
        StreamState::Send,
        StreamState::DataSent,
        StreamState::ResetSent,
        StreamState::ResetReceived,
        StreamState::Receive,
        StreamState::SizeKnown,
        StreamState::DataReceived,
        StreamState::DataRead,
        StreamState::ResetRead,
    ] {
        for half in [StreamHalf::Sending, StreamHalf::Receiving] {
            f(&Event::StreamStateUpdated { stream_id, half, new });
        }
    }
    f(&Event::EarlyKeysInstalled);
    f(&Event::EarlyKeysDiscarded { rejected: true });
    f(&Event::KeyUpdated { generation: 3 });
    f(&Event::RecoveryParametersSet {
        congestion: "cubic",
        initial_rtt: Duration::from_millis(333),
        max_datagram_size: 1200,
        initial_congestion_window: 12_000,
    });
    f(&Event::MetricsUpdated(metrics()));
    f(&Event::CongestionStateUpdated { new: "slow_start" });
    f(&Event::CongestionEvent { cause: CongestionCause::Loss });
    f(&Event::CongestionEvent { cause: CongestionCause::Ecn });
    f(&Event::PersistentCongestion);
    for timer in [
        Timer::AckDelay,
        Timer::LossDetection,
        Timer::ProbeTimeout,
        Timer::Idle,
        Timer::Handshake,
        Timer::KeepAlive,
        Timer::Pacing,
        Timer::PathValidation,
        Timer::Close,
    ] {
        f(&Event::TimerExpired { timer, space: Some(SpaceId::Data) });
        f(&Event::TimerExpired { timer, space: None });
    }
}

fn close_reasons() -> Vec<ConnectionError> {
    let transport = TransportError::new(Violation::FrameUnknown);
    let reason = bytes::Bytes::from_static(b"\x1e\xff\"\n");
    vec![
        ConnectionError::Transport(transport),
        ConnectionError::ConnectionClosed(ConnectionClosed {
            error_code: TransportErrorCode(0x1234),
            frame_type: None,
            reason: reason.clone(),
        }),
        ConnectionError::ApplicationClosed(ApplicationClosed { error_code: 7.into(), reason }),
        ConnectionError::LocallyClosed(8.into()),
        ConnectionError::TimedOut,
        ConnectionError::HandshakeTimedOut,
        ConnectionError::Reset,
        ConnectionError::VersionMismatch { offered: vec![Version(0x1a2a_3a4a)] },
        ConnectionError::AlpnMismatch { ours: vec![b"h3".to_vec()], theirs: vec![] },
        ConnectionError::HandshakeFailed {
            error: TransportError::tls(48),
            cause: "no trust".into(),
        },
        ConnectionError::PacketNumbersExhausted,
        ConnectionError::EndpointClosed,
    ]
}

fn metrics() -> PathMetrics {
    PathMetrics {
        min_rtt: Duration::from_micros(10_250),
        smoothed_rtt: Duration::from_millis(20),
        latest_rtt: Duration::from_millis(30),
        rtt_variation: Duration::from_millis(5),
        congestion_window: 14_720,
        bytes_in_flight: 2400,
        slow_start_threshold: Some(9000),
        mtu: 1452,
    }
}

/// The events of the draft.
const NAMES: &[&str] = &[
    "server_listening",
    "connection_started",
    "connection_closed",
    "connection_id_updated",
    "connection_state_updated",
    "tuple_assigned",
    "mtu_updated",
    "version_information",
    "alpn_information",
    "parameters_set",
    "parameters_restored",
    "packet_sent",
    "packet_received",
    "packet_dropped",
    "packet_buffered",
    "packets_acked",
    "udp_datagrams_sent",
    "udp_datagrams_received",
    "udp_datagram_dropped",
    "stream_state_updated",
    "frames_created",
    "frames_parsed",
    "stream_data_moved",
    "datagram_data_moved",
    "connection_data_blocked_updated",
    "stream_data_blocked_updated",
    "datagram_data_blocked_updated",
    "migration_state_updated",
    "timer_updated",
    "key_updated",
    "key_discarded",
    "recovery_parameters_set",
    "recovery_metrics_updated",
    "congestion_state_updated",
    "packet_lost",
    "marked_for_retransmit",
    "ecn_state_updated",
];

/// The fields that the draft demands of an event.
fn required_fields(name: &str) -> &'static [&'static str] {
    match name {
        "connection_started" => &["local", "remote"],
        "connection_id_updated" => &["initiator"],
        "tuple_assigned" => &["tuple_id"],
        "connection_state_updated"
        | "mtu_updated"
        | "congestion_state_updated"
        | "ecn_state_updated" => &["new"],
        "packet_sent" | "packet_received" => &["header"],
        "stream_state_updated" => &["stream_id", "new", "stream_side"],
        "timer_updated" => &["event_type"],
        "key_updated" | "key_discarded" => &["key_type"],
        "recovery_parameters_set" => &["timer_granularity"],
        _ => &[],
    }
}

#[test]
fn every_event_is_a_qlog_record_with_a_name_and_the_fields_of_the_draft() {
    with_every_event(|event| {
        let records = records_of(event);
        assert!(!records.is_empty());
        for record in records {
            let keys: Vec<_> = record.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["data", "name", "time"], "{record}");
            assert_eq!(record["time"], 1.5);
            let name = record["name"].as_str().unwrap().strip_prefix("quic:").unwrap();
            assert!(NAMES.contains(&name), "{name}");
            assert_eq!(name, event.name());
            for field in required_fields(name) {
                assert!(record["data"].get(field).is_some(), "{field} is missing in {record}");
            }
        }
    });
}

#[test]
fn every_event_is_one_line_of_a_recorder() {
    let start = Instant::now();
    let recorder = Recorder::new("client", start, 1000);
    let mut count = 0;
    with_every_event(|event| {
        recorder.clone().on_event(start + Duration::from_millis(3), event);
        count += 1;
    });
    let lines = recorder.lines();
    assert_eq!(lines.len(), count);
    for line in lines {
        assert!(line.starts_with("      3.000 client "), "{line}");
        assert!(line.chars().all(|char| !char.is_control()), "{line:?}");
    }
}

#[test]
fn a_recorder_forgets_the_oldest() {
    let start = Instant::now();
    let mut client = Recorder::new("client", start, 2);
    let mut server = client.labelled("server");
    for mtu in 1..=3 {
        client.on_event(start, &Event::MtuUpdated { mtu });
        server.on_event(start, &Event::HandshakeConfirmed);
    }
    let text = client.to_string();
    assert!(text.starts_with("(4 earlier events forgotten)\n"), "{text}");
    assert_eq!(client.lines().len(), 2);
    assert!(text.contains("client mtu_updated") && text.contains("mtu=3"), "{text}");
    assert!(text.contains("server connection_state_updated"), "{text}");
}

#[test]
fn the_head_of_a_file_names_the_trace() {
    let file = Shared::default();
    let info = TraceInfo {
        title: Some("a \"trace\"".into()),
        wall_clock_time: Some("2026-01-02T03:04:05.000Z".into()),
        ..TraceInfo::new(info(Side::Server))
    };
    let _ = QlogWriter::new(file.clone(), Instant::now(), &info);
    let expected = json!({
        "file_schema": "urn:ietf:params:qlog:file:sequential",
        "serialization_format": "application/qlog+json-seq",
        "title": "a \"trace\"",
        "trace": {
            "common_fields": {
                "group_id": "abcd",
                "time_format": "relative_to_epoch",
                "reference_time": {
                    "clock_type": "monotonic",
                    "epoch": "unknown",
                    "wall_clock_time": "2026-01-02T03:04:05.000Z",
                },
            },
            "vantage_point": { "type": "server" },
            "event_schemas": ["urn:ietf:params:qlog:events:quic-13"],
        },
    });
    assert_eq!(file.records(), [expected]);
}

#[test]
fn a_packet_shows_header_frames_and_lengths() {
    let event = Event::PacketSent(packet(PacketType::Initial, &[0x06, 0, 2, 0xaa, 0xbb, 0, 0, 0]));
    let expected = json!({
        "header": {
            "packet_type": "initial", "packet_number": 7, "version": "00000001",
            "scil": 1, "scid": "03", "dcil": 2, "dcid": "0102",
        },
        "frames": [
            { "frame_type": "crypto", "offset": 0, "raw": { "length": 2 } },
            { "frame_type": "padding", "raw": { "payload_length": 3 } },
        ],
        "raw": { "length": 28, "payload_length": 8 },
    });
    assert_eq!(data_of(&event), expected);
}

fn frame_json(bytes: &[u8]) -> Value {
    let mut data = data_of(&Event::PacketReceived(packet(PacketType::OneRtt, bytes)));
    let frames = data["frames"].as_array_mut().unwrap();
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames.pop().unwrap()
}

#[test]
fn each_frame_has_the_fields_of_the_draft() {
    let token = [0x55; 16];
    let mut new_connection_id = vec![0x18, 5, 2, 2, 0xca, 0xfe];
    new_connection_id.extend_from_slice(&token);
    let cases: Vec<(&[u8], Value)> = vec![
        (&[0, 0, 0], json!({"frame_type": "padding", "raw": {"payload_length": 3}})),
        (&[1], json!({"frame_type": "ping"})),
        (&[2, 10, 0, 1, 0, 2, 3], json!({"frame_type": "ack", "acked_ranges": [[10], [3, 6]]})),
        (
            &[3, 10, 0, 0, 1, 4, 5, 6],
            json!({"frame_type": "ack", "acked_ranges": [[9, 10]], "ect0": 4, "ect1": 5, "ce": 6}),
        ),
        (
            &[4, 8, 9, 10],
            json!({
                "frame_type": "reset_stream", "stream_id": 8, "error": "unknown",
                "error_code": 9, "final_size": 10,
            }),
        ),
        (
            &[5, 8, 9],
            json!({
                "frame_type": "stop_sending", "stream_id": 8, "error": "unknown", "error_code": 9,
            }),
        ),
        (&[6, 7, 1, 0], json!({"frame_type": "crypto", "offset": 7, "raw": {"length": 1}})),
        (&[7, 2, 1, 2], json!({"frame_type": "new_token", "token": {"raw": {"length": 2}}})),
        (
            &[0x0f, 4, 9, 2, 1, 2],
            json!({
                "frame_type": "stream", "stream_id": 4, "offset": 9, "fin": true,
                "raw": {"length": 2},
            }),
        ),
        (
            &[0x08, 4, 1],
            json!({"frame_type": "stream", "stream_id": 4, "offset": 0, "raw": {"length": 1}}),
        ),
        (&[0x10, 33], json!({"frame_type": "max_data", "maximum": 33})),
        (&[0x11, 4, 33], json!({"frame_type": "max_stream_data", "stream_id": 4, "maximum": 33})),
        (
            &[0x12, 5],
            json!({"frame_type": "max_streams", "stream_type": "bidirectional", "maximum": 5}),
        ),
        (
            &[0x13, 5],
            json!({"frame_type": "max_streams", "stream_type": "unidirectional", "maximum": 5}),
        ),
        (&[0x14, 33], json!({"frame_type": "data_blocked", "limit": 33})),
        (&[0x15, 4, 33], json!({"frame_type": "stream_data_blocked", "stream_id": 4, "limit": 33})),
        (
            &[0x16, 5],
            json!({"frame_type": "streams_blocked", "stream_type": "bidirectional", "limit": 5}),
        ),
        (
            &[0x17, 5],
            json!({"frame_type": "streams_blocked", "stream_type": "unidirectional", "limit": 5}),
        ),
        (
            &new_connection_id,
            json!({
                "frame_type": "new_connection_id", "sequence_number": 5, "retire_prior_to": 2,
                "connection_id_length": 2, "connection_id": "cafe",
            }),
        ),
        (&[0x19, 3], json!({"frame_type": "retire_connection_id", "sequence_number": 3})),
        (
            &[0x1a, 1, 2, 3, 4, 5, 6, 7, 8],
            json!({"frame_type": "path_challenge", "data": "0102030405060708"}),
        ),
        (
            &[0x1b, 1, 2, 3, 4, 5, 6, 7, 8],
            json!({"frame_type": "path_response", "data": "0102030405060708"}),
        ),
        (
            &[0x1c, 0x0a, 0x08, 2, b'n', b'o'],
            json!({
                "frame_type": "connection_close", "error_space": "transport",
                "error": "protocol_violation", "trigger_frame_type": 8, "reason": "no",
            }),
        ),
        (
            &[0x1c, 0x41, 0x78, 0, 1, 0xff],
            json!({
                "frame_type": "connection_close", "error_space": "transport",
                "error": "crypto_error_0x178", "reason_bytes": "ff",
            }),
        ),
        (
            &[0x1d, 0x41, 0x00, 0],
            json!({
                "frame_type": "connection_close", "error_space": "application",
                "error": "unknown", "error_code": 256,
            }),
        ),
        (&[0x1e], json!({"frame_type": "handshake_done"})),
        (&[0x30, 1], json!({"frame_type": "unknown", "frame_type_bytes": 48})),
    ];
    for (bytes, expected) in cases {
        assert_eq!(frame_json(bytes), expected, "{bytes:02x?}");
    }
}

#[test]
fn secrets_of_the_peer_do_not_get_into_the_log() {
    let params = TransportParameters {
        stateless_reset_token: Some(crate::wire::ResetToken::new([0x77; 16])),
        ..TransportParameters::default()
    };
    let event = Event::ParametersSet { initiator: Initiator::Remote, params: &params };
    assert!(!data_of(&event).to_string().contains("7777"));
    assert!(!event.to_string().contains("77, 77") && !event.to_string().contains("119"));
}

#[test]
fn keys_are_told_for_both_directions() {
    let records = records_of(&Event::KeyUpdated { generation: 5 });
    let data: Vec<_> = records.iter().map(|record| record["data"].clone()).collect();
    assert_eq!(
        data,
        [
            json!({"key_type": "client_1rtt_secret", "key_phase": 5}),
            json!({"key_type": "server_1rtt_secret", "key_phase": 5}),
        ]
    );
}

#[test]
fn metrics_are_milliseconds_and_bytes() {
    let expected = json!({
        "min_rtt": 10.25, "smoothed_rtt": 20.0, "latest_rtt": 30.0, "rtt_variance": 5.0,
        "congestion_window": 14720, "bytes_in_flight": 2400, "ssthresh": 9000,
    });
    assert_eq!(data_of(&Event::MetricsUpdated(metrics())), expected);
}

/// A writer that takes some bytes and then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_log_and_nothing_else() {
    let start = Instant::now();
    let mut qlog = QlogWriter::new(Full(600), start, &TraceInfo::new(info(Side::Client)));
    assert!(qlog.error().is_none());
    for _ in 0..10 {
        qlog.on_event(start, &Event::HandshakeConfirmed);
    }
    assert_eq!(qlog.error().unwrap().kind(), io::ErrorKind::StorageFull);
}

/// Counts what it hears.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<Vec<String>>>);

impl Observer for Counter {
    fn on_event(&mut self, _now: Instant, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{} {event}", event.name()));
    }
}

#[test]
fn with_nobody_listening_no_event_is_made() {
    let mut observers = Observers::default();
    assert!(!observers.is_enabled());
    observers.emit(Instant::now(), || panic!("nobody wants this event"));

    let (first, second) = (Counter::default(), Counter::default());
    let mut observers = Observers::new(vec![Box::new(first.clone()), Box::new(second.clone())]);
    assert!(observers.is_enabled());
    observers.emit(Instant::now(), || Event::HandshakeConfirmed);
    for counter in [first, second] {
        assert_eq!(*counter.0.lock().unwrap(), ["connection_state_updated HandshakeConfirmed"]);
    }
}

#[test]
fn a_sent_packet_is_told_from_its_plain_text() {
    let counter = Counter::default();
    let mut observers = Observers::new(vec![Box::new(counter.clone())]);
    let number = PacketNumber::new(300);
    let packet_number = Truncated::with_len(number, 2);
    let mut buffer = [0; 100];

    let mut writer = Writer::new(&mut buffer);
    let ty = LongType::Initial { token: b"token" };
    let (dcid, scid) = (cid(&[1, 2]), cid(&[3]));
    let header = LongHeader { ty, version: Version::V1, dcid, scid, packet_number };
    let header = header.encode(&mut writer);
    writer.bytes(&[1, 0, 0]);
    let payload_end = writer.position();
    let end = payload_end + 16;
    header.finish_length(&mut buffer, end);
    observers.packet_sent(Instant::now(), number, &header, payload_end, &buffer[..end]);

    let mut writer = Writer::new(&mut buffer);
    let key_phase = Default::default();
    let header = ShortHeader { dcid, packet_number, key_phase, spin: false }.encode(&mut writer);
    writer.bytes(&[0x1e]);
    let payload_end = writer.position();
    let end = payload_end + 16;
    observers.packet_sent(Instant::now(), number, &header, payload_end, &buffer[..end]);

    assert_eq!(observers.stats.packets_sent, 2);
    assert_eq!(
        *counter.0.lock().unwrap(),
        [
            "packet_sent Initial 300 dcid=0102 len=39: PING PADDING(2)",
            "packet_sent 1-RTT 300 dcid=0102 len=22: HANDSHAKE_DONE",
        ]
    );
}

#[test]
fn packets_that_cannot_be_read_are_shown_up_to_the_fault() {
    let data = data_of(&Event::PacketReceived(packet(PacketType::OneRtt, &[1, 0x04, 8])));
    assert_eq!(
        data["frames"],
        json!([{"frame_type": "ping"}, {"frame_type": "unknown", "frame_type_bytes": 4}])
    );
}

#[test]
fn statistics_count() {
    let mut stats = Stats::default();
    stats.on_datagram_received(1200);
    stats.on_datagrams_sent(3, 3000);
    stats.on_packet_lost(100);
    stats.on_packet_dropped(Discard::Duplicate);
    stats.on_packet_dropped(Discard::Duplicate);
    stats.on_packet_dropped(Discard::KeysMissing);
    assert_eq!((stats.datagrams_received, stats.bytes_received), (1, 1200));
    assert_eq!((stats.datagrams_sent, stats.bytes_sent), (3, 3000));
    assert_eq!((stats.packets_lost, stats.bytes_lost), (1, 100));
    assert_eq!(stats.packets_dropped.get(Discard::Duplicate), 2);
    assert_eq!(stats.packets_dropped.total(), 3);
    assert_eq!(
        stats.packets_dropped.iter().collect::<Vec<_>>(),
        [(Discard::KeysMissing, 1), (Discard::Duplicate, 2)]
    );
}

/// Collects the levels, names and messages of `tracing` events, and the names of spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<String>>>);

impl ::tracing::Subscriber for Collector {
    fn enabled(&self, _: &::tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &::tracing::span::Attributes<'_>) -> ::tracing::span::Id {
        let mut line = format!("span {}", span.metadata().name());
        span.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
        ::tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &::tracing::span::Id, _: &::tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &::tracing::span::Id, _: &::tracing::span::Id) {}

    fn event(&self, event: &::tracing::Event<'_>) {
        assert_eq!(event.parent(), Some(&::tracing::span::Id::from_u64(1)));
        let mut line = event.metadata().level().to_string();
        event.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &::tracing::span::Id) {}

    fn exit(&self, _: &::tracing::span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl ::tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &::tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

#[test]
fn tracing_hears_every_event_in_the_span_of_the_connection() {
    let collector = Collector::default();
    ::tracing::subscriber::with_default(collector.clone(), || {
        let mut observer = TracingObserver::new(&info(Side::Client));
        observer.on_event(Instant::now(), &Event::HandshakeConfirmed);
        observer.on_event(Instant::now(), &Event::DatagramReceived { len: 9 });
    });
    assert_eq!(
        *collector.0.lock().unwrap(),
        [
            "span quic side=client odcid=abcd",
            "DEBUG message=HandshakeConfirmed name=\"connection_state_updated\"",
            "TRACE message=len=9 name=\"udp_datagrams_received\"",
        ]
    );
}

proptest::proptest! {
    #[test]
    fn any_payload_is_valid_json(payload: Vec<u8>) {
        for packet_type in [PacketType::Initial, PacketType::OneRtt] {
            data_of(&Event::PacketReceived(packet(packet_type, &payload)));
            let _ = Event::PacketReceived(packet(packet_type, &payload)).to_string();
        }
    }
}
