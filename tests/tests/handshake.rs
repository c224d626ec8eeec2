//! How connections begin and end, over networks of every kind.

use std::time::Duration;

use quic_core::error::ConnectionError;
use quic_core::wire::{PacketType, Side, TransportErrorCode};
use quic_testkit::app::{App, HalfPlan, StreamPlan, plan};
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;
use quic_testkit::tls::Certificate;

const SECOND: Duration = Duration::from_secs(1);
const PERCENT: u64 = 10_000;
/// Alerts of TLS.
const NO_APPLICATION_PROTOCOL: u8 = 120;
const UNKNOWN_CA: u8 = 48;

fn patient(setup: Setup) -> Setup {
    setup.transport(|transport| {
        transport.handshake_timeout(300 * SECOND).max_idle_timeout(Some(600 * SECOND))
    })
}

/// A handshake, a stream in each direction, a close: what every network must allow.
fn live_and_die(mut pair: Pair) {
    let there_and_back = |opener| StreamPlan {
        opener,
        forward: HalfPlan::whole(3_000),
        back: Some(HalfPlan::whole(2_000)),
    };
    pair.run_plan(&plan(&[there_and_back(Side::Client), there_and_back(Side::Server)]));
    let handle = pair.connect();
    pair.drive_until(600 * SECOND, |pair| pair.plan_is_done());
    pair.apps.iter().flatten().for_each(App::check);
    pair.drive_until(600 * SECOND, Pair::all_credit_is_returned);
    check_initial_datagrams(&pair);
    let now = pair.now;
    pair.client_connection().close(now, 7u32.into(), "enough".into());
    pair.drive_idle();
    assert!(pair.client.known(handle).gone);
    assert!(pair.server_known().unwrap().gone);
}

/// What holds for every client: Initial packets come in large datagrams, and end with the first
/// Handshake packet.
// req-test 9000-8.1-119, 9000-14.1-348, 9001-4.9.1-031, 9001-4.9.1-032, 9001-9.3-115
fn check_initial_datagrams(pair: &Pair) {
    let mut handshake_began = false;
    for crossing in pair.crossings.iter().filter(|crossing| crossing.to_server) {
        let has = |ty| crossing.packets.contains(&ty);
        assert!(!has(PacketType::Initial) || crossing.len >= 1200, "{crossing:?}");
        assert!(!has(PacketType::Initial) || !handshake_began, "{crossing:?}");
        handshake_began |= has(PacketType::Handshake);
    }
    assert!(handshake_began);
}

// ---- beginnings

#[test]
fn a_connection_lives_and_dies_without_loss() {
    live_and_die(Pair::new(Seed::or_env(1)));
}

// req-test 9000-12.2-277, 9000-14.1-349, 9001-4.1.2-003, 9000-19.20-479
#[test]
fn a_handshake_takes_two_round_trips_in_few_datagrams() {
    use PacketType::{Handshake, Initial, OneRtt};
    let mut pair = Pair::new(Seed::or_env(1));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).connected);
    assert_eq!(pair.elapsed(), Duration::from_millis(10), "one round trip for the client");
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    assert_eq!(pair.elapsed(), Duration::from_millis(20), "two until it is confirmed");

    let flights: Vec<_> = pair.crossings.iter().take(4).collect();
    assert!(flights[0].to_server && !flights[1].to_server && flights[2].to_server);
    assert_eq!(flights[0].packets, [Initial]);
    assert_eq!(flights[1].packets[..2], [Initial, Handshake], "coalesced");
    assert!(flights[1].len >= 1200);
    assert_eq!(flights[2].packets[..2], [Initial, Handshake], "an ACK, and Finished");
    assert_eq!(flights[3].packets, [OneRtt], "HANDSHAKE_DONE; all other keys are gone");
}

#[test]
fn handshakes_survive_thirty_percent_loss_in_both_directions() {
    let link = Link { loss_ppm: 30 * PERCENT, ..Link::default() };
    for seed in Seed::range(0..150) {
        live_and_die(patient(Setup::new(seed).links(link.clone())).build());
    }
}

// req-test 9000-12.3-287, 9000-12.2-283
#[test]
fn handshakes_survive_a_network_that_does_everything() {
    let link = Link {
        loss_ppm: 10 * PERCENT,
        reorder_ppm: 30 * PERCENT,
        duplicate_ppm: 30 * PERCENT,
        corrupt_ppm: 10 * PERCENT,
        jitter: Duration::from_millis(4),
        ..Link::default()
    };
    for seed in Seed::range(0..100) {
        live_and_die(patient(Setup::new(seed).links(link.clone())).build());
    }
}

// req-test 9000-8-115, 9000-8.1-117, 9000-8.1-118, 9000-14.1-353
#[test]
fn a_large_certificate_waits_for_the_client_to_prove_its_address() {
    let setup = Setup { certificate: Certificate::Large, ..Setup::new(Seed::or_env(1)) };
    let mut pair = setup.build();
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).connected);
    // Every datagram of the server is checked against the limit on its way.
    let before_answer: usize = pair
        .crossings
        .iter()
        .skip(1)
        .take_while(|crossing| !crossing.to_server)
        .map(|crossing| crossing.len)
        .sum();
    assert!((3_000..=3_600).contains(&before_answer), "{before_answer} bytes");
    assert!(pair.elapsed() > Duration::from_millis(10), "more than one round trip");
}

// req-test 9000-8.1-120, 9000-8.1-121, 9000-7.5-110
#[test]
fn a_large_certificate_survives_loss_reordering_and_duplication() {
    let link = Link {
        loss_ppm: 20 * PERCENT,
        reorder_ppm: 20 * PERCENT,
        duplicate_ppm: 20 * PERCENT,
        ..Link::default()
    };
    for seed in Seed::range(0..60) {
        let setup = Setup { certificate: Certificate::Large, ..Setup::new(seed) };
        live_and_die(patient(setup.links(link.clone())).build());
    }
}

// req-test 9000-8.1-120
#[test]
fn a_server_that_may_send_nothing_more_is_freed_by_the_clients_probes() {
    for seed in Seed::range(0..20) {
        // The first answers of the client get lost: the server is stuck at the limit.
        let setup = Setup { certificate: Certificate::Large, ..Setup::new(seed) };
        let mut pair = patient(setup).build();
        let handle = pair.connect();
        pair.drive_for(Duration::from_millis(6));
        pair.network.up.blackhole = true;
        pair.drive_for(Duration::from_millis(20 + 30 * seed.0));
        pair.network.up.blackhole = false;
        pair.drive_until(10 * SECOND, |pair| pair.client.known(handle).confirmed);
    }
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let mut pair = Pair::new(Seed::or_env(1));
    pair.establish();
    pair.drive_for(SECOND);
    let bytes = |pair: &Pair| -> usize { pair.crossings.iter().map(|crossing| crossing.len).sum() };
    let before = bytes(&pair);
    let second = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(second).confirmed);
    assert!(bytes(&pair) - before < 8_000);
}

#[test]
fn many_connections_share_two_endpoints() {
    let link = Link { loss_ppm: 5 * PERCENT, ..Link::default() };
    let mut pair = patient(Setup::new(Seed::or_env(1)).links(link)).build();
    let handles: Vec<_> = (0..50).map(|_| pair.connect()).collect();
    pair.drive_until(60 * SECOND, |pair| {
        handles.iter().all(|handle| pair.client.known(*handle).confirmed)
    });
    assert_eq!(pair.server.endpoint.connection_count(), 50);
}

// ---- beginnings that fail

// req-test 9000-7-084, 9001-8.1-096, 9001-8.1-097, 9001-8.1-101
#[test]
fn without_a_common_protocol_both_sides_say_so() {
    let setup = Setup {
        client_alpn: vec![b"apples"],
        server_alpn: vec![b"oranges"],
        ..Setup::new(Seed::or_env(1))
    };
    let mut pair = setup.build();
    let handle = pair.connect();
    pair.drive_idle();
    let client = pair.client.known(handle).closed.clone().expect("closed");
    assert_eq!(client.tls_alert(), Some(NO_APPLICATION_PROTOCOL), "{client}");
    let server = pair.server_known().and_then(|known| known.closed.clone()).expect("closed");
    assert!(matches!(server, ConnectionError::AlpnMismatch { .. }), "{server}");
    assert!(server.to_string().contains("oranges"), "{server}");
}

// req-test 9001-4.4-013, 9001-4.8-026
#[test]
fn a_certificate_of_a_stranger_is_refused_and_the_server_hears_the_alert() {
    let setup = Setup { certificate: Certificate::Untrusted, ..Setup::new(Seed::or_env(1)) };
    let mut pair = setup.build();
    let handle = pair.connect();
    pair.drive_idle();
    let client = pair.client.known(handle).closed.clone().expect("closed");
    assert!(matches!(client, ConnectionError::HandshakeFailed { .. }), "{client}");
    let server = pair.server_known().and_then(|known| known.closed.clone()).expect("closed");
    assert_eq!(server.tls_alert(), Some(UNKNOWN_CA), "{server}");
    assert!(!pair.client.known(handle).connected);
}

#[test]
fn a_handshake_with_nobody_is_given_up() {
    let mut pair = Pair::new(Seed::or_env(1));
    pair.network.up.blackhole = true;
    let handle = pair.connect();
    pair.drive_idle();
    assert_eq!(pair.client.known(handle).closed, Some(ConnectionError::HandshakeTimedOut));
    assert_eq!(pair.elapsed(), 10 * SECOND);
    let probes = pair.crossings.len();
    assert!((5..20).contains(&probes), "{probes} attempts, ever more rarely");
}

#[test]
fn a_server_forgets_a_client_that_fell_silent() {
    let mut pair = Pair::new(Seed::or_env(1));
    pair.network.down.blackhole = true;
    pair.connect();
    pair.drive_until(SECOND, |pair| pair.server_handle().is_some());
    pair.network.up.blackhole = true;
    pair.drive_idle();
    let known = pair.server_known().expect("a connection");
    assert_eq!(known.closed, Some(ConnectionError::HandshakeTimedOut));
    assert!(known.gone);
}

// ---- silence

#[test]
fn an_idle_connection_ends_on_both_sides_without_a_packet() {
    let mut pair = Pair::new(Seed::or_env(1));
    let handle = pair.establish();
    pair.drive_for(2 * SECOND);
    let packets = pair.crossings.len();
    pair.drive_idle();
    assert_eq!(pair.crossings.len(), packets, "nothing was sent");
    assert_eq!(pair.client.known(handle).closed, Some(ConnectionError::TimedOut));
    let server = pair.server_known().expect("a connection");
    assert_eq!(server.closed, Some(ConnectionError::TimedOut));
    assert!(pair.elapsed() < 32 * SECOND, "{:?}", pair.elapsed());
}

#[test]
fn the_shorter_idle_timeout_of_both_sides_counts() {
    let setup = Setup::new(Seed::or_env(1));
    let server = setup.server.clone().handshake_timeout(SECOND).max_idle_timeout(Some(3 * SECOND));
    let mut pair = Setup { server, ..setup }.build();
    let handle = pair.establish();
    pair.drive_until(10 * SECOND, |pair| pair.client.known(handle).closed.is_some());
    assert!(pair.elapsed() < 4 * SECOND, "{:?}", pair.elapsed());
}

// req-test 9000-10.1-220
#[test]
fn the_idle_timeout_is_not_below_three_probe_timeouts() {
    let link = Link { delay: Duration::from_millis(500), ..Link::default() };
    let setup = Setup::new(Seed::or_env(1)).links(link).transport(|transport| {
        transport.handshake_timeout(3 * SECOND).max_idle_timeout(Some(3 * SECOND))
    });
    let mut pair = setup.build();
    let handle = pair.establish();
    let quiet_since = pair.now;
    pair.drive_until(60 * SECOND, |pair| pair.client.known(handle).closed.is_some());
    // The round trip is 1 s and its variation half of that: a probe timeout of about 3 s.
    assert!(pair.now - quiet_since > 5 * SECOND, "{:?}", pair.now - quiet_since);
}

#[test]
fn keep_alive_keeps_an_idle_connection_for_ever() {
    let setup = Setup::new(Seed::or_env(1));
    let client = setup.client.clone().keep_alive_interval(Some(10 * SECOND));
    let mut pair = Setup { client, ..setup }.build();
    let handle = pair.establish();
    pair.drive_for(SECOND);
    let packets = pair.crossings.len();
    pair.drive_for(1_000 * SECOND);
    assert_eq!(pair.client.known(handle).closed, None);
    let spent = pair.crossings.len() - packets;
    assert!((180..=320).contains(&spent), "{spent} datagrams, two or three each ten seconds");
}

// ---- ends

// req-test 9000-10.2.2-234, 9000-10.2.2-236, 9000-10.2.3-238
#[test]
fn a_close_tells_the_peer_why_and_both_sides_forget() {
    for closer in [Side::Client, Side::Server] {
        let mut pair = Pair::new(Seed::or_env(1));
        let handle = pair.establish();
        pair.drive_for(SECOND);
        let (now, packets) = (pair.now, pair.crossings.len());
        match closer {
            Side::Client => pair.client_connection().close(now, 7u32.into(), "enough".into()),
            Side::Server => pair.server_connection().close(now, 7u32.into(), "enough".into()),
        }
        pair.drive_idle();
        let client = pair.client.known(handle).clone();
        let server = pair.server_known().expect("a connection").clone();
        let (ours, theirs) = match closer {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        assert!(ours.gone && theirs.gone);
        assert_eq!(ours.closed, Some(ConnectionError::LocallyClosed(7u32.into())));
        match theirs.closed {
            Some(ConnectionError::ApplicationClosed(close)) => {
                assert_eq!((close.error_code, &close.reason[..]), (7u32.into(), &b"enough"[..]));
            }
            other => panic!("{other:?}"),
        }
        let sent = &pair.crossings[packets..];
        assert_eq!(sent.len(), 1, "one close, and no answer: {sent:?}");
        assert_eq!(sent[0].packets, [PacketType::OneRtt]);
        assert!(pair.now - now < SECOND, "three probe timeouts, then everything is gone");
    }
}

#[test]
fn a_close_gets_through_a_network_that_loses_packets() {
    let link = Link { loss_ppm: 30 * PERCENT, ..Link::default() };
    let mut heard = 0;
    for seed in Seed::range(0..40) {
        let mut pair = patient(Setup::new(seed).links(link.clone())).build();
        let handle = pair.establish();
        let now = pair.now;
        // The peer has something to say, and is answered with the close again.
        pair.client_connection().close(now, 7u32.into(), "".into());
        for _ in 0..5 {
            if pair.server_known().is_some_and(|known| known.closed.is_none()) {
                pair.server_connection().ping();
            }
            pair.drive_for(Duration::from_millis(5));
        }
        let closed = pair.server_known().and_then(|known| known.closed.clone());
        heard += u32::from(matches!(closed, Some(ConnectionError::ApplicationClosed(_))));
        pair.drive_idle();
        assert!(pair.client.known(handle).gone);
    }
    assert!(heard >= 30 || std::env::var_os("QUIC_SEED").is_some(), "{heard} of 40");
}

// req-test 9000-10.2.3-243, 9000-10.2.3-244
#[test]
fn a_close_before_the_handshake_is_done_hides_the_applications_reason() {
    for delay in [0, 6, 11, 16] {
        let mut pair = Pair::new(Seed::or_env(1));
        let handle = pair.connect();
        pair.drive_for(Duration::from_millis(delay));
        let now = pair.now;
        pair.client_connection().close(now, 7u32.into(), "secret".into());
        pair.drive_idle();
        let client = pair.client.known(handle);
        assert_eq!(client.closed, Some(ConnectionError::LocallyClosed(7u32.into())));
        assert!(client.gone);
        let Some(server) = pair.server_known() else { continue };
        assert!(server.gone);
        match server.closed.clone() {
            Some(ConnectionError::ConnectionClosed(close)) => {
                assert_eq!(close.error_code, TransportErrorCode::APPLICATION_ERROR);
                assert_eq!(close.reason, "");
            }
            Some(ConnectionError::ApplicationClosed(close)) => {
                assert!(delay > 10, "1-RTT keys are there");
                assert_eq!(close.reason, "secret");
            }
            other => panic!("after {delay} ms: {other:?}"),
        }
    }
}

#[test]
fn a_server_that_closes_during_the_handshake_is_understood() {
    let mut pair = Pair::new(Seed::or_env(1));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.server_handle().is_some());
    let now = pair.now;
    pair.server_connection().close(now, 7u32.into(), "secret".into());
    pair.drive_idle();
    let closed = pair.client.known(handle).closed.clone();
    assert!(
        matches!(
            closed,
            Some(ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_))
        ),
        "{closed:?}"
    );
}

// req-test 9000-10.3.1-257, 9000-10.3.1-260, 9000-10.3-253, 9000-10.3-254
#[test]
fn a_server_that_lost_its_memory_resets_the_client() {
    let mut pair = Pair::new(Seed::or_env(1));
    let handle = pair.establish();
    pair.drive_for(SECOND);
    pair.restart_server();
    let packets = pair.crossings.len();
    pair.client_connection().ping();
    pair.drive_until(5 * SECOND, |pair| pair.client.known(handle).closed.is_some());
    assert_eq!(pair.client.known(handle).closed, Some(ConnectionError::Reset));
    pair.drive_idle();
    let last = pair.crossings[packets..].iter().rposition(|crossing| crossing.to_server);
    let reset = pair.crossings[packets..].iter().position(|crossing| !crossing.to_server);
    assert!(last < reset, "nothing is sent on a connection that was reset");
}

// req-test 9000-9-172
#[test]
fn a_client_that_appears_at_another_address_is_not_followed_where_that_is_not_allowed() {
    let setup = Setup::new(Seed::or_env(1));
    let mut pair = setup.transport(|transport| transport.allow_migration(false)).build();
    pair.establish();
    pair.drive_for(SECOND);
    let packets = pair.crossings.len();
    pair.external = ([192, 0, 2, 77], 40_000).into();
    pair.client_connection().ping();
    pair.drive_for(Duration::from_millis(500));
    assert!(pair.crossings[packets..].iter().all(|crossing| crossing.to_server));
}
