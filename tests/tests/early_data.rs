//! Session resumption, and data before the handshake is complete, over networks of every kind.

use std::time::Duration;

use quic_core::config::{AddressValidation, RetryPolicy};
use quic_core::connection::EarlyData;
use quic_core::endpoint::ConnectionHandle;
use quic_core::error::Discard;
use quic_core::stream::StreamAudit;
use quic_core::wire::{PacketType, Side};
use quic_testkit::app::{App, HalfPlan, Plan, StreamPlan, plan};
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;

const SECOND: Duration = Duration::from_secs(1);
const PERCENT: u64 = 10_000;

/// Requests of a few sizes, answered, and a stream of the server.
fn requests() -> Plan {
    let request = |up, down| StreamPlan {
        opener: Side::Client,
        forward: HalfPlan::whole(up),
        back: Some(HalfPlan::whole(down)),
    };
    let push = StreamPlan { opener: Side::Server, forward: HalfPlan::whole(3_000), back: None };
    plan(&[request(10, 2_000), request(5_000, 10), request(0, 100), push])
}

/// A first connection that ends in order and leaves tickets behind.
fn visit(pair: &mut Pair) {
    let handle = pair.establish();
    pair.drive_for(SECOND);
    let now = pair.now;
    let connection = pair.client.connection(handle).expect("established");
    connection.close(now, 0u32.into(), "".into());
    pair.drive_idle();
    assert!(pair.client_config.sessions().unwrap().tickets("server.test") > 0);
    pair.crossings.clear();
}

fn begin(setup: Setup) -> Pair {
    let mut pair = setup.build();
    visit(&mut pair);
    pair
}

fn patient(setup: Setup) -> Setup {
    setup.transport(|transport| {
        transport.handshake_timeout(300 * SECOND).max_idle_timeout(Some(600 * SECOND))
    })
}

/// The server's side of the newest connection.
fn at_server(pair: &Pair) -> ConnectionHandle {
    *pair.server.handles().last().expect("a connection")
}

fn client_early(pair: &mut Pair, handle: ConnectionHandle) -> EarlyData {
    pair.client.connection(handle).expect("the connection").early_data()
}

/// Streams and credit are all given back, on both sides of the newest connection.
fn is_clean(pair: &mut Pair, handle: ConnectionHandle) -> bool {
    let server = at_server(pair);
    let audits = [
        pair.client.connection(handle).expect("open").streams().audit(),
        pair.server.connection(server).expect("open").streams().audit(),
    ];
    audits.into_iter().all(|audit| {
        let left = StreamAudit { data_sent: 0, data_received: 0, data_returned: 0, ..audit };
        left == StreamAudit::default() && audit.data_returned == audit.data_received
    })
}

/// Carries out the plan with early data, and checks that nothing is left over.
fn resume_with(pair: &mut Pair, plan: &Plan) -> ConnectionHandle {
    pair.run_plan(plan);
    let handle = pair.connect_early();
    pair.drive_until(600 * SECOND, |pair| pair.plan_is_done());
    pair.apps.iter().flatten().for_each(App::check);
    pair.drive_until(600 * SECOND, |pair| is_clean(pair, handle));
    handle
}

// ---- resumption

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let mut pair = begin(Setup::new(Seed::or_env(1)));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    let server = at_server(&pair);
    assert!(pair.client.connection(handle).unwrap().was_resumed());
    assert!(pair.server.connection(server).unwrap().was_resumed());
    assert!(pair.server.connection(server).unwrap().handshake_data().resumed);
    assert_eq!(client_early(&mut pair, handle), EarlyData::None);
    assert!(pair.crossings.iter().all(|c| !c.packets.contains(&PacketType::ZeroRtt)));
}

// req-test 9001-4.5-018, 9001-9.2-111
#[test]
fn each_ticket_is_used_once() {
    let mut pair = begin(Setup::new(Seed::or_env(1)));
    let sessions = pair.client_config.sessions().unwrap().clone();
    let before = sessions.tickets("server.test");
    pair.connect();
    assert_eq!(sessions.tickets("server.test"), before - 1);
}

#[test]
fn what_the_application_keeps_with_a_session_comes_back_with_it() {
    let mut pair = Setup::new(Seed::or_env(1)).build();
    let first = pair.establish();
    pair.drive_for(SECOND);
    // After the tickets have arrived.
    pair.client.connection(first).unwrap().set_session_state("settings".into());
    let second = pair.connect();
    let resumed = pair.client.connection(second).unwrap();
    assert_eq!(resumed.session_state().as_deref(), Some(&b"settings"[..]));
    assert_eq!(pair.client.connection(first).unwrap().session_state(), None);
}

// ---- accepted

// req-test 9000-7.4.1-101, 9001-4.9.3-034, 9001-5.6-055, 9000-17.2.3-395, 9000-13.2.6-328
#[test]
fn early_data_is_answered_within_one_round_trip() {
    let mut pair = begin(Setup::new(Seed::or_env(1)).with_early_data());
    let request = StreamPlan {
        opener: Side::Client,
        forward: HalfPlan::whole(100),
        back: Some(HalfPlan::whole(500)),
    };
    pair.run_plan(&plan(&[request]));
    let start = pair.now;
    let handle = pair.connect_early();
    assert_eq!(client_early(&mut pair, handle), EarlyData::Offered);
    pair.drive_until(SECOND, |pair| {
        pair.apps[Side::Client as usize].as_ref().unwrap().received().next().is_some()
    });
    assert_eq!(pair.now - start, Duration::from_millis(10), "one round trip");
    assert_eq!(client_early(&mut pair, handle), EarlyData::Accepted);
    assert_eq!(pair.crossings[0].packets, [PacketType::Initial, PacketType::ZeroRtt]);
    pair.drive_until(SECOND, |pair| pair.plan_is_done());
    let one_rtt = |c: &quic_testkit::wiretap::Crossing| {
        c.to_server && c.packets.contains(&PacketType::OneRtt)
    };
    let first = pair.crossings.iter().position(one_rtt).expect("1-RTT packets");
    assert!(
        pair.crossings[first..].iter().all(|c| !c.packets.contains(&PacketType::ZeroRtt)),
        "no early data once there are 1-RTT keys"
    );
    pair.drive_until(SECOND, |pair| is_clean(pair, handle));
}

#[test]
fn streams_that_began_early_are_marked_and_later_ones_are_not() {
    let mut pair = begin(Setup::new(Seed::or_env(1)).with_early_data());
    let handle = pair.connect();
    let open = |pair: &mut Pair| {
        let streams = pair.client.connection(handle).unwrap().streams();
        let id = streams.open(quic_core::wire::Dir::Uni).expect("credit");
        streams.write(id, "early or not".into()).unwrap();
        id
    };
    let early = open(&mut pair);
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    let late = open(&mut pair);
    pair.drive_for(SECOND);
    let server = at_server(&pair);
    let streams = pair.server.connection(server).unwrap().streams();
    assert!(streams.is_early(early));
    assert!(!streams.is_early(late));
}

// req-test 9001-5.6-049
#[test]
fn early_data_is_not_sent_unless_the_application_does() {
    let mut pair = begin(Setup::new(Seed::or_env(1)).with_early_data());
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    assert_eq!(client_early(&mut pair, handle), EarlyData::Accepted);
    assert!(pair.crossings.iter().all(|c| !c.packets.contains(&PacketType::ZeroRtt)));
}

#[test]
fn early_data_survives_every_kind_of_network() {
    let link = Link {
        loss_ppm: 10 * PERCENT,
        reorder_ppm: 30 * PERCENT,
        duplicate_ppm: 30 * PERCENT,
        corrupt_ppm: 5 * PERCENT,
        jitter: Duration::from_millis(4),
        ..Link::default()
    };
    let mut accepted = 0;
    for seed in Seed::range(0..100) {
        let mut pair = begin(patient(Setup::new(seed).with_early_data()));
        (pair.network.up, pair.network.down) = (link.clone(), link.clone());
        let handle = resume_with(&mut pair, &requests());
        accepted += u32::from(client_early(&mut pair, handle) == EarlyData::Accepted);
    }
    assert_eq!(accepted, 100);
}

#[test]
fn early_data_survives_thirty_percent_loss() {
    let link = Link { loss_ppm: 30 * PERCENT, ..Link::default() };
    for seed in Seed::range(0..100) {
        let mut pair = begin(patient(Setup::new(seed).with_early_data()));
        (pair.network.up, pair.network.down) = (link.clone(), link.clone());
        resume_with(&mut pair, &requests());
    }
}

// req-test 9001-4.6.2-024, 9000-17.2.3-393, 9000-17.2.3-394
#[test]
fn early_data_that_meets_a_retry_is_sent_again_under_the_same_keys() {
    let wild = Link {
        loss_ppm: 20 * PERCENT,
        reorder_ppm: 30 * PERCENT,
        duplicate_ppm: 20 * PERCENT,
        jitter: Duration::from_millis(4),
        ..Link::default()
    };
    let mut early_after_retry = 0;
    for (seed, link) in Seed::range(0..60).zip([Link::default(), wild].iter().cycle()) {
        // No token from the first connection, which would spare the client the Retry.
        let validation = AddressValidation::default().tokens_per_connection(0);
        let setup = Setup { validation, ..Setup::new(seed).with_early_data() };
        let mut pair = begin(patient(setup));
        let config = (*pair.server_config).clone();
        let always = AddressValidation::default().retry(RetryPolicy::Always);
        pair.reconfigure_server(config.with_address_validation(always));
        (pair.network.up, pair.network.down) = (link.clone(), link.clone());
        let handle = resume_with(&mut pair, &requests());
        assert_eq!(client_early(&mut pair, handle), EarlyData::Accepted);
        assert_eq!(pair.client.connection(handle).unwrap().stats().retries, 1);
        let retry = pair.crossings.iter().position(|c| !c.to_server).expect("an answer");
        let late = pair.crossings[retry..].iter();
        early_after_retry +=
            late.filter(|c| c.packets.contains(&PacketType::ZeroRtt)).count().min(1);
    }
    assert!(early_after_retry >= 50, "{early_after_retry} of 60");
}

// ---- rejected

/// The server stops accepting early data between the connections.
fn begin_rejected(setup: Setup) -> Pair {
    let mut pair = begin(setup.with_early_data());
    let tls = pair.server_config.tls().clone();
    let mut tls = (*tls).clone();
    tls.max_early_data_size = 0;
    let transport = pair.server_config.transport().clone();
    pair.reconfigure_server(
        quic_core::config::ServerConfig::new(tls.into(), transport).expect("valid"),
    );
    pair
}

// req-test 9001-4.6.2-021, 9001-4.6.2-023, 9000-17.2.3-394, 9001-5.6-052
#[test]
fn rejected_early_data_is_not_processed_and_the_client_begins_anew() {
    let mut pair = begin_rejected(Setup::new(Seed::or_env(1)));
    let handle = resume_with(&mut pair, &requests());
    assert_eq!(client_early(&mut pair, handle), EarlyData::Rejected);
    let server = at_server(&pair);
    let stats = pair.server.connection(server).unwrap().stats();
    assert_eq!(stats.early_packets_received, 0);
    assert!(stats.packets_dropped.get(Discard::ZeroRttRejected) > 0);
    assert!(pair.client.connection(handle).unwrap().was_resumed(), "only early data is rejected");
}

#[test]
fn rejection_in_unlucky_order_leaves_nothing_behind() {
    let link = Link {
        loss_ppm: 20 * PERCENT,
        reorder_ppm: 30 * PERCENT,
        duplicate_ppm: 20 * PERCENT,
        jitter: Duration::from_millis(4),
        ..Link::default()
    };
    for seed in Seed::range(0..100) {
        let mut pair = begin_rejected(patient(Setup::new(seed)));
        (pair.network.up, pair.network.down) = (link.clone(), link.clone());
        let handle = resume_with(&mut pair, &requests());
        assert_eq!(client_early(&mut pair, handle), EarlyData::Rejected);
    }
}
