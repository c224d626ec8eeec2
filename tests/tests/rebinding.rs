//! A client whose address changes without its doing, as behind a NAT that forgets it: the server
//! follows it and nobody else (RFC 9000 sections 8.2, 9.3 and 9.4).

use std::net::SocketAddr;
use std::time::Duration;

use quic_core::connection::PathEvent;
use quic_core::wire::{FrameType, Side};
use quic_testkit::app::{HalfPlan, StreamPlan, plan};
use quic_testkit::net::Link;
use quic_testkit::pair::{CLIENT, Pair, Setup};
use quic_testkit::seed::Seed;
use quic_testkit::wiretap::Crossing;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(60);
const MEGABYTE: u64 = 1 << 20;

fn other_port(n: u16) -> SocketAddr {
    (CLIENT.0, CLIENT.1 + n).into()
}

fn other_address(n: u8) -> SocketAddr {
    ([198, 51, 100, n], 40_000 + u16::from(n)).into()
}

/// 10 megabits a second and 30 ms of round trip, as the interop runner has it.
fn link() -> Link {
    let delay = 15 * MS;
    Link { delay, rate: Some(1_250_000), queue: 25 * 1400, ..Link::default() }
}

fn setup(seed: u64, link: Link) -> Setup {
    Setup { tapped: true, ..Setup::new(Seed::or_env(seed)).links(link) }
}

/// A transfer from the server is under way.
fn downloading(setup: Setup, bytes: u64) -> Pair {
    let mut pair = setup.build();
    let back = Some(HalfPlan::whole(bytes));
    let forward = HalfPlan::whole(20);
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward, back }]));
    pair.establish();
    pair.drive_for(300 * MS);
    assert!(!pair.plan_is_done(), "it is still under way");
    pair
}

/// All datagrams of the server to `address`.
fn sent_to(pair: &Pair, address: SocketAddr) -> Vec<&Crossing> {
    pair.crossings.iter().filter(|c| !c.to_server && c.to == address).collect()
}

/// On the path to `address` the server begins with a challenge, and does not amplify until there
/// can be an answer.
fn assert_challenged_first(pair: &Pair, address: SocketAddr) {
    let sent = sent_to(pair, address);
    let first = sent.first().expect("something was sent there");
    assert!(first.has(FrameType::PATH_CHALLENGE), "{first:?}");
    let answered = first.at + 30 * MS;
    let early: usize = sent.iter().take_while(|c| c.at < answered).map(|c| c.len).sum();
    let received = pair.crossings.iter().filter(|c| c.to_server && c.from == address);
    let received: usize = received.take_while(|c| c.at < answered).map(|c| c.len).sum();
    assert!(early <= 3 * received, "{early} bytes sent for {received} received");
}

fn finish(pair: &mut Pair) {
    pair.drive_until(LIMIT, Pair::plan_is_done);
    assert_eq!(pair.server_connection().remote_address(), pair.external);
}

// req-test 9000-9.3-179, 9000-9.3-180, 9000-9-173, 9000-8.2.1-156, 9000-8.2.1-157, 9000-8.2.3-166
// req-test 9000-9.3.3-186, 9000-9.4-190, 9000-9.5-195, 9000-8.2.1-153
#[test]
fn a_server_follows_a_client_whose_port_changes_and_challenges_it_first() {
    let mut pair = downloading(setup(1, link()), MEGABYTE);
    let old = pair.external;
    let window = pair.server_connection().stats().path.congestion_window;
    pair.external = other_port(1);
    let changed = pair.now;
    pair.drive_for(200 * MS);
    assert_eq!(pair.server_connection().remote_address(), other_port(1));
    assert_challenged_first(&pair, other_port(1));
    assert!(pair.server_connection().stats().path.congestion_window >= window / 2, "it is kept");
    let full = sent_to(&pair, other_port(1));
    assert!(full.iter().any(|c| c.has(FrameType::PATH_CHALLENGE) && c.len >= 1200));
    let to_old = sent_to(&pair, old);
    assert!(to_old.iter().any(|c| c.at > changed && c.has(FrameType::PATH_CHALLENGE)));
    assert!(full.iter().all(|c| c.dcid == to_old[0].dcid), "nobody but the NAT has moved");
    let challenges = |c: &&&Crossing| {
        c.frames.iter().filter(|frame| **frame == FrameType::PATH_CHALLENGE).count() > 1
    };
    assert_eq!(full.iter().find(challenges).map(|c| c.at), None);
    finish(&mut pair);
}

// req-test 9000-9.4-188, 9000-9.4-189, 9000-9.3-182
#[test]
fn another_address_begins_with_a_new_window_and_round_trip_time() {
    let mut pair = downloading(setup(2, link()), MEGABYTE);
    pair.external = other_address(1);
    pair.drive_until(LIMIT, |pair| pair.server_connection().remote_address() == other_address(1));
    let path = pair.server_connection().stats().path;
    assert_eq!(path.congestion_window, 12_000);
    assert_eq!(path.smoothed_rtt, 333 * MS);
    pair.drive_for(200 * MS);
    assert_challenged_first(&pair, other_address(1));
    assert!(sent_to(&pair, other_address(1)).iter().any(|c| c.has(FrameType::NEW_TOKEN)));
    finish(&mut pair);
}

#[test]
fn two_changes_within_a_round_trip_end_at_the_second() {
    let mut pair = downloading(setup(3, link()), MEGABYTE);
    pair.external = other_address(1);
    pair.drive_until(LIMIT, |pair| pair.server_connection().remote_address() == other_address(1));
    pair.external = other_address(2);
    // Nothing arrives at the client any more, and it has nothing to say until it wonders why.
    pair.drive_for(600 * MS);
    for address in [other_address(1), other_address(2)] {
        assert_challenged_first(&pair, address);
    }
    finish(&mut pair);
}

#[test]
fn changes_on_a_bad_link_are_survived() {
    for seed in 1..30 {
        let link = Link { loss_ppm: 30_000, reorder_ppm: 30_000, duplicate_ppm: 10_000, ..link() };
        let mut pair = downloading(setup(100 + seed, link), MEGABYTE);
        for n in 1..6 {
            pair.external = if n % 2 == 0 { other_address(n) } else { other_port(n.into()) };
            pair.drive_for(Duration::from_millis(37 * u64::from(n)));
        }
        finish(&mut pair);
    }
}

#[test]
fn a_change_while_nothing_is_sent_is_noticed_with_the_next_packet() {
    let mut pair = setup(4, link()).build();
    pair.establish();
    pair.drive_for(Duration::from_secs(5));
    pair.external = other_address(1);
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(pair.server_connection().remote_address(), CLIENT.into());
    pair.client_connection().ping();
    pair.drive_for(200 * MS);
    assert_eq!(pair.server_connection().remote_address(), other_address(1));
    assert_challenged_first(&pair, other_address(1));
    let known = pair.server_known().expect("a connection");
    assert_eq!(known.paths, [PathEvent::Moved { remote: other_address(1) }]);
}

/// An attacker who sees all packets of the client and is always faster.
// req-test 9000-9.3.2-183, 9000-9.3.3-186, 9000-9.3-180
#[test]
fn copies_of_packets_from_elsewhere_do_not_take_the_connection_away() {
    let mut pair = downloading(setup(5, link()), MEGABYTE);
    let attacker = other_address(66);
    pair.copied_from = Some(attacker);
    pair.drive_for(100 * MS);
    pair.copied_from = None;
    let stolen = pair.now;
    finish(&mut pair);
    assert!(pair.now - stolen < Duration::from_secs(5), "{:?}", pair.now - stolen);
    let sent: usize = sent_to(&pair, attacker).iter().map(|c| c.len).sum();
    assert!(sent > 0, "the attack was one");
    assert!(sent < 10_000, "{sent} bytes sent to the attacker");
}

// req-test 9000-9.3.2-183
#[test]
fn a_single_copied_packet_diverts_the_connection_until_the_next_real_one() {
    let mut pair = downloading(setup(6, link()), MEGABYTE);
    let attacker = other_address(66);
    pair.copied_from = Some(attacker);
    pair.drive_until(LIMIT, |pair| pair.server_connection().remote_address() == attacker);
    pair.copied_from = None;
    pair.drive_for(60 * MS);
    assert_eq!(pair.server_connection().remote_address(), CLIENT.into());
    assert!(sent_to(&pair, attacker).iter().map(|c| c.len).sum::<usize>() <= 3 * 1500);
    finish(&mut pair);
}

/// The copy is of the last packet that the client sends for a while.
// req-test 9000-9.3.2-183, 9000-8.2.4-167, 9000-8.2.4-168
#[test]
fn the_connection_returns_to_the_real_address_when_nobody_answers_at_the_other() {
    let mut pair = setup(7, link()).build();
    pair.establish();
    pair.drive_for(Duration::from_secs(2));
    let attacker = other_address(66);
    pair.copied_from = Some(attacker);
    pair.network.up.blackhole = true;
    pair.client_connection().ping();
    pair.drive_until(LIMIT, |pair| pair.server_connection().remote_address() == attacker);
    pair.copied_from = None;
    pair.drive_for(2900 * MS);
    assert_eq!(pair.server_connection().remote_address(), attacker);
    pair.drive_for(300 * MS);
    assert_eq!(pair.server_connection().remote_address(), CLIENT.into());
    let stats = pair.server_connection().stats();
    assert!(stats.path_validations_failed >= 1);
}

#[test]
fn ever_new_addresses_are_followed_at_a_limited_rate() {
    let mut pair = downloading(setup(8, link()), 4 * MEGABYTE);
    let mut addresses = Vec::new();
    for n in 0..100 {
        let from = other_address(n);
        pair.copied_from = Some(from);
        pair.drive_for(10 * MS);
        addresses.push(from);
    }
    pair.copied_from = None;
    let reached = addresses.iter().filter(|a| !sent_to(&pair, **a).is_empty()).count();
    assert!((1..=10).contains(&reached), "{reached} addresses got something");
    finish(&mut pair);
}

// req-test 9000-9-172
#[test]
fn a_server_that_allows_no_migration_drops_what_comes_from_elsewhere() {
    let base = setup(9, link());
    let server = base.server.clone().allow_migration(false);
    let mut pair = downloading(Setup { server, ..base }, MEGABYTE);
    pair.external = other_port(1);
    pair.drive_for(Duration::from_secs(2));
    assert!(sent_to(&pair, other_port(1)).is_empty());
    pair.external = CLIENT.into();
    finish(&mut pair);
}

// req-test 9000-9-176, 9000-9.6-199
#[test]
fn a_client_ignores_what_does_not_come_from_the_servers_address() {
    let mut pair = downloading(setup(10, link()), MEGABYTE);
    let real = pair.server.address;
    pair.server.address = ([192, 0, 2, 77], 443).into();
    let received = pair.client_connection().stats().packets_received;
    pair.drive_for(Duration::from_millis(500));
    let stats = pair.client_connection().stats();
    assert!(stats.packets_received - received < 60, "those that were under way");
    assert!(stats.packets_dropped.get(quic_core::error::Discard::PathUnknown) > 0);
    pair.server.address = real;
    finish(&mut pair);
}

#[test]
fn a_change_during_the_handshake_is_not_followed() {
    let mut pair = setup(11, link()).build();
    let handle = pair.connect();
    pair.drive_for(20 * MS);
    pair.external = other_port(1);
    pair.drive_for(Duration::from_secs(3));
    assert!(!pair.client.known(handle).confirmed);
    assert!(sent_to(&pair, other_port(1)).is_empty());
    pair.external = CLIENT.into();
    pair.drive_until(LIMIT, |pair| pair.client.known(handle).confirmed);
}

/// The probe never arrives, or news of it come when it means nothing any more.
#[test]
fn a_search_for_the_path_mtu_goes_on_after_a_change_during_a_probe() {
    let probe = |c: &Crossing| !c.to_server && c.len == 1452;
    let mut pair = setup(12, link()).build();
    let back = Some(HalfPlan::whole(MEGABYTE));
    let forward = HalfPlan::whole(20);
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward, back }]));
    let old = pair.external;
    pair.connect();
    pair.drive_until(LIMIT, |pair| pair.crossings.iter().any(probe));
    pair.external = other_port(1);
    finish(&mut pair);
    assert!(sent_to(&pair, old).iter().any(|c| probe(c)));
    assert_eq!(pair.server_connection().stats().path.mtu, 1452);
}
