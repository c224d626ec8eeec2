//! The data of each event as qlog shows it (draft-ietf-quic-qlog-quic-events, sections 4 to 7).

use std::net::SocketAddr;

use super::event::{
    CongestionCause, ConnectionState, EcnChange, Event, Initiator, Packet, PathMetrics, PathState,
    StreamHalf, StreamState, Timer,
};
use super::json::Object;
use super::qlog_frames::{
    stream_type, write_application_error, write_frames, write_transport_error,
};
use crate::error::{ConnectionError, Discard};
use crate::wire::{
    ConnectionId, PacketType, Side, SpaceId, TransportErrorCode, TransportParameters, Version,
};

/// Writes the data of one record.
type WriteData<'a> = &'a dyn Fn(&mut Object<'_>);

/// Hands the data of each record that `event` becomes to `record`. Most events are one record;
/// keys of both directions are two.
pub(super) fn write_event(side: Side, event: &Event<'_>, record: &mut dyn FnMut(WriteData<'_>)) {
    match event {
        Event::KeyInstalled { space } => {
            for owner in [Side::Client, Side::Server] {
                record(&|data| {
                    data.text("key_type", key_type(owner, *space));
                    data.text("trigger", "tls");
                });
            }
        }
        Event::KeyDiscarded { space } => {
            for owner in [Side::Client, Side::Server] {
                record(&|data| data.text("key_type", key_type(owner, *space)));
            }
        }
        Event::KeyUpdated { generation } => {
            for owner in [Side::Client, Side::Server] {
                record(&|data| {
                    data.text("key_type", key_type(owner, SpaceId::Data));
                    data.number("key_phase", *generation);
                });
            }
        }
        _ => record(&|data| write_data(side, event, data)),
    }
}

fn write_data(side: Side, event: &Event<'_>, data: &mut Object<'_>) {
    match event {
        Event::ConnectionStarted { local, remote, local_cid, remote_cid } => {
            write_endpoint(&mut data.object("local"), *local, Some(local_cid));
            write_endpoint(&mut data.object("remote"), Some(*remote), Some(remote_cid));
        }
        Event::VersionInformation { client, server, chosen } => {
            write_versions(data, "client_versions", client);
            write_versions(data, "server_versions", server);
            if let Some(version) = chosen {
                data.hex("chosen_version", &version.0.to_be_bytes());
            }
        }
        Event::AlpnInformation { client, server, chosen } => {
            write_protocols(data, "client_alpns", client);
            write_protocols(data, "server_alpns", server);
            if let Some(protocol) = chosen {
                write_protocol(&mut data.object("chosen_alpn"), protocol);
            }
        }
        Event::ParametersSet { initiator, params } => {
            data.text("initiator", initiator_name(*initiator));
            write_parameters(data, params);
        }
        Event::StateUpdated { new } => data.text("new", state_name(*new)),
        Event::HandshakeComplete { .. } => data.text("new", "handshake_complete"),
        Event::HandshakeConfirmed => data.text("new", "handshake_confirmed"),
        Event::ConnectionClosed { reason } => write_closed(data, reason),
        Event::ConnectionIdUpdated { initiator, old, new } => {
            data.text("initiator", initiator_name(*initiator));
            if let Some(old) = old {
                data.hex("old", old.as_slice());
            }
            data.hex("new", new.as_slice());
        }
        Event::PathAssigned { path, local, remote } => {
            data.text("tuple_id", &path.to_string());
            write_endpoint(&mut data.object("tuple_remote"), Some(*remote), None);
            write_endpoint(&mut data.object("tuple_local"), *local, None);
        }
        Event::PathStateUpdated { path, new } => {
            data.text("tuple_id", &path.to_string());
            data.text("new", migration_state(*new));
        }
        Event::MtuUpdated { mtu } => data.number("new", u64::from(*mtu)),
        Event::EcnChanged { change } => data.text(
            "new",
            match change {
                EcnChange::Validated => "capable",
                EcnChange::Failed => "failed",
            },
        ),
        Event::DatagramsSent { count, len } => {
            data.number("count", *count as u64);
            data.list("raw").object().number("length", *len as u64);
        }
        Event::DatagramReceived { len } => {
            data.number("count", 1);
            data.list("raw").object().number("length", *len as u64);
        }
        Event::PacketSent(packet) | Event::PacketReceived(packet) => write_packet(data, packet),
        Event::RetryReceived { version, dcid, scid, token_len } => {
            let mut header = data.object("header");
            header.text("packet_type", packet_type_name(PacketType::Retry));
            header.hex("version", &version.0.to_be_bytes());
            for (len_name, name, id) in [("scil", "scid", scid), ("dcil", "dcid", dcid)] {
                header.number(len_name, id.len() as u64);
                header.hex(name, id.as_slice());
            }
            let mut token = header.object("token");
            token.object("raw").number("length", *token_len as u64);
        }
        Event::PacketDropped { reason, len } => {
            data.object("raw").number("length", *len as u64);
            data.object("details").text("reason", reason.sentence());
            data.text("trigger", drop_trigger(*reason));
        }
        Event::PacketBuffered { packet_type, len } => {
            data.object("header").text("packet_type", packet_type_name(*packet_type));
            data.object("raw").number("length", *len as u64);
            data.text("trigger", "keys_unavailable");
        }
        Event::PacketsAcked { space, ranges } => {
            data.text("packet_number_space", space_name(*space));
            let mut numbers = data.list("packet_numbers");
            ranges.iter().flat_map(|range| range.clone()).for_each(|n| numbers.number(n));
        }
        Event::PacketLost { space, packet_number } => {
            let mut header = data.object("header");
            header.text("packet_type", packet_type_name(packet_type_of(*space)));
            header.number("packet_number", packet_number.into_inner());
        }
        Event::StreamStateUpdated { stream_id, half, new } => {
            data.number("stream_id", stream_id.into_inner());
            data.text("stream_type", stream_type(stream_id.dir()));
            data.text("new", stream_state_name(*new));
            data.text(
                "stream_side",
                match half {
                    StreamHalf::Sending => "sending",
                    StreamHalf::Receiving => "receiving",
                },
            );
        }
        Event::RecoveryParametersSet {
            congestion,
            initial_rtt,
            max_datagram_size,
            initial_congestion_window,
        } => {
            data.number("timer_granularity", TIMER_GRANULARITY_MS);
            data.millis("initial_rtt", *initial_rtt);
            data.number("max_datagram_size", u64::from(*max_datagram_size));
            data.number("initial_congestion_window", *initial_congestion_window);
            data.text("congestion_control", congestion);
        }
        Event::MetricsUpdated(metrics) => write_metrics(data, metrics),
        Event::CongestionStateUpdated { new } => data.text("new", new),
        Event::CongestionEvent { cause } => {
            data.text("new", "recovery");
            data.text(
                "trigger",
                match cause {
                    CongestionCause::Loss => "loss",
                    CongestionCause::Ecn => "ecn",
                },
            );
        }
        Event::PersistentCongestion => {
            data.text("new", "slow_start");
            data.text("trigger", "persistent_congestion");
        }
        Event::TimerExpired { timer, space } => write_timer(data, *timer, *space, "expired"),
        // Only clients protect 0-RTT packets.
        Event::EarlyKeysInstalled => {
            data.text("key_type", "client_0rtt_secret");
            data.text("trigger", "tls");
        }
        Event::EarlyKeysDiscarded { .. } => data.text("key_type", "client_0rtt_secret"),
        Event::KeyInstalled { .. } | Event::KeyUpdated { .. } | Event::KeyDiscarded { .. } => {
            debug_assert!(false, "{side} writes keys as one record for each direction");
        }
    }
}

/// kGranularity of RFC 9002, section 6.1.2.
const TIMER_GRANULARITY_MS: u64 = 1;

fn write_packet(data: &mut Object<'_>, packet: &Packet<'_>) {
    {
        let mut header = data.object("header");
        header.text("packet_type", packet_type_name(packet.packet_type));
        header.number("packet_number", packet.number.into_inner());
        if packet.token_len > 0 {
            let mut token = header.object("token");
            token.object("raw").number("length", packet.token_len as u64);
        }
        if let Some(version) = packet.version {
            header.hex("version", &version.0.to_be_bytes());
        }
        if let Some(scid) = packet.scid {
            header.number("scil", scid.len() as u64);
            header.hex("scid", scid.as_slice());
        }
        header.number("dcil", packet.dcid.len() as u64);
        header.hex("dcid", packet.dcid.as_slice());
    }
    write_frames(&mut data.list("frames"), packet.payload, packet.packet_type);
    let mut raw = data.object("raw");
    raw.number("length", packet.size as u64);
    raw.number("payload_length", packet.payload.len() as u64);
}

fn write_parameters(data: &mut Object<'_>, params: &TransportParameters) {
    let ids = [
        ("original_destination_connection_id", params.original_destination_connection_id),
        ("initial_source_connection_id", params.initial_source_connection_id),
        ("retry_source_connection_id", params.retry_source_connection_id),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            data.hex(name, id.as_slice());
        }
    }
    data.boolean("disable_active_migration", params.disable_active_migration);
    let numbers = [
        ("max_idle_timeout", params.max_idle_timeout_ms),
        ("max_udp_payload_size", params.max_udp_payload_size),
        ("ack_delay_exponent", params.ack_delay_exponent),
        ("max_ack_delay", params.max_ack_delay_ms),
        ("active_connection_id_limit", params.active_connection_id_limit),
        ("initial_max_data", params.initial_max_data),
        ("initial_max_stream_data_bidi_local", params.initial_max_stream_data_bidi_local),
        ("initial_max_stream_data_bidi_remote", params.initial_max_stream_data_bidi_remote),
        ("initial_max_stream_data_uni", params.initial_max_stream_data_uni),
        ("initial_max_streams_bidi", params.initial_max_streams_bidi),
        ("initial_max_streams_uni", params.initial_max_streams_uni),
    ];
    for (name, value) in numbers {
        data.number(name, value);
    }
}

fn write_closed(data: &mut Object<'_>, reason: &ConnectionError) {
    let initiator = match reason {
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => Initiator::Remote,
        ConnectionError::Transport(_)
        | ConnectionError::LocallyClosed(_)
        | ConnectionError::TimedOut
        | ConnectionError::HandshakeTimedOut
        | ConnectionError::VersionMismatch { .. }
        | ConnectionError::AlpnMismatch { .. }
        | ConnectionError::HandshakeFailed { .. }
        | ConnectionError::PacketNumbersExhausted
        | ConnectionError::EndpointClosed => Initiator::Local,
    };
    data.text("initiator", initiator_name(initiator));
    let trigger = match reason {
        ConnectionError::Transport(error) | ConnectionError::HandshakeFailed { error, .. } => {
            write_transport_error(data, "connection_error", error.code);
            "error"
        }
        ConnectionError::ConnectionClosed(close) => {
            write_transport_error(data, "connection_error", close.error_code);
            "error"
        }
        ConnectionError::ApplicationClosed(close) => {
            write_application_error(data, "application_error", close.error_code.into_inner());
            "application"
        }
        ConnectionError::LocallyClosed(code) => {
            write_application_error(data, "application_error", code.into_inner());
            "application"
        }
        ConnectionError::AlpnMismatch { .. } => {
            let code = TransportErrorCode::crypto(reason.tls_alert().unwrap_or_default());
            write_transport_error(data, "connection_error", code);
            "error"
        }
        ConnectionError::TimedOut | ConnectionError::HandshakeTimedOut => "idle_timeout",
        ConnectionError::Reset => "stateless_reset",
        ConnectionError::VersionMismatch { .. } => "version_mismatch",
        ConnectionError::PacketNumbersExhausted => "error",
        ConnectionError::EndpointClosed => "aborted",
    };
    data.text("reason", &reason.to_string());
    data.text("trigger", trigger);
}

fn migration_state(state: PathState) -> &'static str {
    match state {
        PathState::Probing => "probing_started",
        PathState::Validated => "probing_successful",
        PathState::Failed => "probing_abandoned",
        PathState::InUse => "migration_started",
        PathState::Left => "migration_complete",
    }
}

fn write_metrics(data: &mut Object<'_>, metrics: &PathMetrics) {
    data.millis("min_rtt", metrics.min_rtt);
    data.millis("smoothed_rtt", metrics.smoothed_rtt);
    data.millis("latest_rtt", metrics.latest_rtt);
    data.millis("rtt_variance", metrics.rtt_variation);
    data.number("congestion_window", metrics.congestion_window);
    data.number("bytes_in_flight", metrics.bytes_in_flight);
    if let Some(threshold) = metrics.slow_start_threshold {
        data.number("ssthresh", threshold);
    }
}

fn write_timer(data: &mut Object<'_>, timer: Timer, space: Option<SpaceId>, event_type: &str) {
    data.text(
        "timer_type",
        match timer {
            Timer::AckDelay => "ack_delay",
            Timer::LossDetection => "ack",
            Timer::ProbeTimeout => "pto",
            Timer::Idle => "idle_timeout",
            Timer::Handshake => "handshake_timeout",
            Timer::KeepAlive => "keep_alive",
            Timer::Pacing => "pacing",
            Timer::PathValidation => "path_validation",
            Timer::Close => "close",
        },
    );
    if let Some(space) = space {
        data.text("packet_number_space", space_name(space));
    }
    data.text("event_type", event_type);
}

fn write_endpoint(object: &mut Object<'_>, addr: Option<SocketAddr>, id: Option<&ConnectionId>) {
    match addr {
        Some(SocketAddr::V4(addr)) => {
            object.text("ip_v4", &addr.ip().to_string());
            object.number("port_v4", u64::from(addr.port()));
        }
        Some(SocketAddr::V6(addr)) => {
            object.text("ip_v6", &addr.ip().to_string());
            object.number("port_v6", u64::from(addr.port()));
        }
        None => {}
    }
    if let Some(id) = id {
        object.list("connection_ids").hex(id.as_slice());
    }
}

fn write_versions(data: &mut Object<'_>, key: &str, versions: &[Version]) {
    if !versions.is_empty() {
        let mut list = data.list(key);
        versions.iter().for_each(|version| list.hex(&version.0.to_be_bytes()));
    }
}

fn write_protocols(data: &mut Object<'_>, key: &str, protocols: &[Vec<u8>]) {
    if !protocols.is_empty() {
        let mut list = data.list(key);
        protocols.iter().for_each(|protocol| write_protocol(&mut list.object(), protocol));
    }
}

fn write_protocol(object: &mut Object<'_>, protocol: &[u8]) {
    match std::str::from_utf8(protocol) {
        Ok(text) => object.text("string_value", text),
        Err(_) => object.hex("byte_value", protocol),
    }
}

fn initiator_name(initiator: Initiator) -> &'static str {
    match initiator {
        Initiator::Local => "local",
        Initiator::Remote => "remote",
    }
}

fn state_name(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Attempted => "attempted",
        ConnectionState::HandshakeStarted => "handshake_started",
        ConnectionState::PeerValidated => "peer_validated",
        ConnectionState::EarlyWrite => "early_write",
        ConnectionState::Closing => "closing",
        ConnectionState::Draining => "draining",
        ConnectionState::Closed => "closed",
    }
}

fn stream_state_name(state: StreamState) -> &'static str {
    match state {
        StreamState::Ready => "ready",
        StreamState::Send => "send",
        StreamState::DataSent => "data_sent",
        StreamState::ResetSent => "reset_sent",
        StreamState::ResetReceived => "reset_received",
        StreamState::Receive => "receive",
        StreamState::SizeKnown => "size_known",
        StreamState::DataReceived => "data_received",
        StreamState::DataRead => "data_read",
        StreamState::ResetRead => "reset_read",
    }
}

fn key_type(owner: Side, space: SpaceId) -> &'static str {
    match (owner, space) {
        (Side::Client, SpaceId::Initial) => "client_initial_secret",
        (Side::Client, SpaceId::Handshake) => "client_handshake_secret",
        (Side::Client, SpaceId::Data) => "client_1rtt_secret",
        (Side::Server, SpaceId::Initial) => "server_initial_secret",
        (Side::Server, SpaceId::Handshake) => "server_handshake_secret",
        (Side::Server, SpaceId::Data) => "server_1rtt_secret",
    }
}

fn packet_type_name(packet_type: PacketType) -> &'static str {
    match packet_type {
        PacketType::Initial => "initial",
        PacketType::ZeroRtt => "0RTT",
        PacketType::Handshake => "handshake",
        PacketType::OneRtt => "1RTT",
        PacketType::Retry => "retry",
        PacketType::VersionNegotiation => "version_negotiation",
    }
}

fn packet_type_of(space: SpaceId) -> PacketType {
    match space {
        SpaceId::Initial => PacketType::Initial,
        SpaceId::Handshake => PacketType::Handshake,
        SpaceId::Data => PacketType::OneRtt,
    }
}

fn space_name(space: SpaceId) -> &'static str {
    match space {
        SpaceId::Initial => "initial",
        SpaceId::Handshake => "handshake",
        SpaceId::Data => "application_data",
    }
}

/// The categories of qlog are coarse; the sentence of the reason is beside them.
fn drop_trigger(reason: Discard) -> &'static str {
    match reason {
        Discard::HeaderTruncated
        | Discard::LengthBeyondDatagram
        | Discard::FixedBitZero
        | Discard::ConnectionIdTooLong
        | Discard::VersionsMissing
        | Discard::RetryTokenEmpty
        | Discard::TooShortToSample
        | Discard::VersionNegotiationListsOurs
        | Discard::VersionNegotiationLate
        | Discard::VersionNegotiationAgain
        | Discard::VersionNegotiationAtServer
        | Discard::RetryLate
        | Discard::RetryAtServer
        | Discard::RetryTagInvalid
        | Discard::RetrySourceUnchanged
        | Discard::RetryTokenTooLong
        | Discard::TokenInvalid
        | Discard::InitialTooSmall
        | Discard::InitialConnectionIdTooShort
        | Discard::TokenFromServer
        | Discard::ConnectionIdMismatch
        | Discard::SourceConnectionIdChanged => "invalid",
        Discard::VersionUnsupported | Discard::VersionUnexpected => "unsupported",
        Discard::ConnectionIdUnknown => "connection_unknown",
        Discard::KeysMissing | Discard::KeysDiscarded => "key_unavailable",
        Discard::DecryptionFailed => "decryption_failure",
        Discard::Duplicate => "duplicate",
        Discard::ZeroRttRejected
        | Discard::PacketNumberTooOld
        | Discard::PathUnknown
        | Discard::AddressLeft
        | Discard::BufferFull
        | Discard::ServerBusy
        | Discard::NotAServer => "rejected",
        Discard::ConnectionClosing => "general",
    }
}
