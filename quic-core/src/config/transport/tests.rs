use super::*;
use crate::wire::Side;

type Change = fn(TransportConfigBuilder) -> TransportConfigBuilder;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn defaults_go_together() {
    TransportConfig::builder().build().unwrap();
}

// req-test 9114-6.2-122
#[test]
fn http_3_has_the_streams_it_needs_by_default() {
    let told = TransportConfig::default().transport_parameters();
    assert!(told.initial_max_streams_uni >= 3);
    assert!(told.initial_max_stream_data_uni >= 1024);
}

#[test]
fn contradictions_are_refused_and_the_message_says_what_to_change() {
    let cases: &[(Change, ConfigError)] = &[
        (|b| b.max_idle_timeout(Some(5 * SECOND)), ConfigError::IdleTimeoutBelowHandshakeTimeout),
        (|b| b.max_idle_timeout(Some(Duration::ZERO)), ConfigError::IdleTimeoutZero),
        (|b| b.handshake_timeout(Duration::ZERO), ConfigError::HandshakeTimeoutZero),
        (|b| b.keep_alive_interval(Some(Duration::ZERO)), ConfigError::KeepAliveZero),
        (|b| b.keep_alive_interval(Some(30 * SECOND)), ConfigError::KeepAliveTooLate),
        (|b| b.initial_stream_window(2 << 20), ConfigError::StreamWindowAboveConnectionWindow),
        (|b| b.max_stream_window(1000), ConfigError::StreamWindowAboveCap),
        (|b| b.initial_connection_window(1 << 40), ConfigError::ConnectionWindowAboveCap),
        (|b| b.max_stream_window(32 << 20), ConfigError::StreamCapAboveConnectionCap),
        (|b| b.max_connection_window(u64::MAX), ConfigError::WindowTooLarge),
        (|b| b.receive_memory(1 << 20), ConfigError::MemoryBelowConnectionWindow),
        (|b| b.max_bidi_streams((1 << 60) + 1), ConfigError::TooManyStreams),
        (|b| b.max_uni_streams(u64::MAX), ConfigError::TooManyStreams),
        (|b| b.stream_send_window(0), ConfigError::SendWindowZero),
        (|b| b.send_budget(1000), ConfigError::SendWindowAboveBudget),
        (|b| b.max_ack_delay(17 * SECOND), ConfigError::AckDelayTooLong),
        (|b| b.active_connection_id_limit(1), ConfigError::ConnectionIdLimitTooLow),
        (|b| b.active_connection_id_limit(17), ConfigError::ConnectionIdLimitTooHigh),
        (|b| b.initial_rtt(Duration::ZERO), ConfigError::InitialRttTooShort),
        (|b| b.initial_mtu(1199), ConfigError::MtuTooLow),
        (|b| b.initial_mtu(1500), ConfigError::MtuAboveUpperBound),
        (|b| b.mtu_upper_bound(u16::MAX), ConfigError::MtuUpperBoundTooHigh),
    ];
    for (change, expected) in cases {
        let error = change(TransportConfig::builder()).build().unwrap_err();
        assert_eq!(error, *expected);
        assert!(error.to_string().len() > 30, "{error}");
    }
}

#[test]
fn no_idle_timeout_allows_any_handshake_timeout_and_keep_alive() {
    let config = TransportConfig::builder()
        .max_idle_timeout(None)
        .handshake_timeout(3600 * SECOND)
        .keep_alive_interval(Some(3600 * SECOND))
        .build()
        .unwrap();
    assert_eq!(config.transport_parameters().max_idle_timeout_ms, 0);
}

// req-test 9000-5.2.3-073, 9000-18.2-426, 9000-18.2-432
#[test]
fn the_peer_is_told_what_is_set_and_accepts_it() {
    let config = TransportConfig::builder()
        .max_idle_timeout(Some(Duration::from_micros(20_000_100)))
        .initial_stream_window(1000)
        .initial_connection_window(2000)
        .max_bidi_streams(7)
        .max_uni_streams(8)
        .active_connection_id_limit(3)
        .max_ack_delay(Duration::from_millis(7))
        .build()
        .unwrap();
    let mut encoded = Vec::new();
    config.transport_parameters().encode(Side::Client, None, &mut encoded);
    let told = TransportParameters::decode(&encoded, Side::Client).unwrap();
    assert_eq!(told.max_idle_timeout_ms, 20_001);
    assert_eq!(told.initial_max_data, 2000);
    assert_eq!(told.initial_max_stream_data_bidi_local, 1000);
    assert_eq!(told.initial_max_stream_data_bidi_remote, 1000);
    assert_eq!(told.initial_max_stream_data_uni, 1000);
    assert_eq!((told.initial_max_streams_bidi, told.initial_max_streams_uni), (7, 8));
    assert_eq!(told.active_connection_id_limit, 3);
    assert_eq!(told.max_ack_delay_ms, 7);
    assert!(config.max_ack_delay() < Duration::from_millis(7), "timers are late");
    assert!(!told.disable_active_migration);
}
