//! A client that moves, by call or to the address that its server prefers, and connection IDs that
//! tell nobody (RFC 9000 sections 9.1, 9.2, 9.5 and 9.6).

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use quic_core::SocketId;
use quic_core::config::PreferredAddresses;
use quic_core::connection::{MigrateError, PathEvent};
use quic_core::error::{ConnectionError, Discard};
use quic_core::path::PathEnds;
use quic_core::wire::{FrameType, Side};
use quic_testkit::app::{HalfPlan, StreamPlan, plan};
use quic_testkit::net::Link;
use quic_testkit::pair::{CLIENT, Pair, SERVER, Setup};
use quic_testkit::seed::Seed;
use quic_testkit::wiretap::Crossing;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(60);
const MEGABYTE: u64 = 1 << 20;
/// Another address of the client.
const ELSEWHERE: ([u8; 4], u16) = ([198, 51, 100, 1], 50_001);
/// Where the server would rather be.
const PREFERRED: ([u8; 4], u16) = ([192, 0, 2, 2], 4443);

fn link() -> Link {
    let delay = 15 * MS;
    Link { delay, rate: Some(1_250_000), queue: 25 * 1400, ..Link::default() }
}

fn setup(seed: u64) -> Setup {
    Setup { tapped: true, ..Setup::new(Seed::or_env(seed)).links(link()) }
}

fn preferring(seed: u64) -> Setup {
    let (ip, port) = PREFERRED;
    let ipv4 = Some(SocketAddrV4::new(ip.into(), port));
    Setup { preferred: PreferredAddresses { ipv4, ipv6: None }, ..setup(seed) }
}

/// A transfer from the server is under way.
fn downloading(setup: Setup, bytes: u64) -> Pair {
    let mut pair = setup.build();
    pair.client.also = vec![ELSEWHERE.into()];
    begin_download(&mut pair, bytes);
    pair.establish();
    pair
}

fn begin_download(pair: &mut Pair, bytes: u64) {
    let back = Some(HalfPlan::whole(bytes));
    let forward = HalfPlan::whole(20);
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward, back }]));
}

fn elsewhere() -> PathEnds {
    PathEnds { socket: SocketId(1), local_ip: None, remote: SERVER.into() }
}

fn migrate(pair: &mut Pair) -> Result<(), MigrateError> {
    let now = pair.now;
    pair.client_connection().migrate(now, elsewhere())
}

fn client_paths(pair: &Pair) -> Vec<PathEvent> {
    pair.client.known(pair.client.handles()[0]).paths.clone()
}

fn finish(pair: &mut Pair) {
    pair.drive_until(LIMIT, Pair::plan_is_done);
    pair.drive_for(Duration::from_secs(1));
}

/// No connection ID was used from two addresses of one side, nor to two of the other.
// req-test 9000-9.5-193, 9000-9.5-194
fn assert_unlinkable(pair: &Pair) {
    for to_server in [true, false] {
        let mut seen: Vec<(&[u8], SocketAddr, SocketAddr)> = Vec::new();
        for c in pair.crossings.iter().filter(|c| c.to_server == to_server) {
            let known = seen.iter().find(|(dcid, ..)| *dcid == c.dcid);
            match known {
                Some((_, from, to)) => assert_eq!((*from, *to), (c.from, c.to), "{c:?}"),
                None => seen.push((&c.dcid, c.from, c.to)),
            }
        }
    }
}

fn from_elsewhere(pair: &Pair) -> Vec<&Crossing> {
    pair.crossings.iter().filter(|c| c.to_server && c.from == ELSEWHERE.into()).collect()
}

// req-test 9000-5.1.1-052, 9000-9.1-177, 9000-9.5-193, 9000-9.5-194, 9000-8.2-151, 9000-8.2.1-156, 9000-5.1.2-053
#[test]
fn a_client_moves_by_call_and_nobody_can_link_the_paths() {
    let mut pair = downloading(setup(1), MEGABYTE);
    pair.drive_for(200 * MS);
    assert_eq!(migrate(&mut pair), Ok(()));
    finish(&mut pair);
    assert_eq!(pair.server_connection().remote_address(), ELSEWHERE.into());
    assert_eq!(client_paths(&pair), [PathEvent::Moved { remote: SERVER.into() }]);
    let first = from_elsewhere(&pair)[0];
    assert!(first.has(FrameType::PATH_CHALLENGE) && first.len >= 1200, "{first:?}");
    assert_unlinkable(&pair);
    let handles = pair.client.handles();
    let client = pair.client.connection(handles[0]).unwrap();
    assert_eq!(client.sockets().collect::<Vec<_>>(), [SocketId(1)], "the old path is gone");
}

#[test]
fn a_client_moves_over_bad_links_and_back() {
    for seed in 0..20 {
        let link = Link { loss_ppm: 40_000, reorder_ppm: 40_000, ..link() };
        let mut pair = downloading(setup(100 + seed).links(link), MEGABYTE);
        pair.drive_for(200 * MS);
        assert_eq!(migrate(&mut pair), Ok(()));
        pair.drive_until(LIMIT, |pair| !client_paths(pair).is_empty());
        let back = PathEnds { socket: SocketId::FIRST, ..elsewhere() };
        let now = pair.now;
        // The server may not have given another connection ID yet.
        pair.drive_for(300 * MS);
        if pair.client_connection().migrate(now, back).is_ok() {
            pair.drive_for(100 * MS);
        }
        finish(&mut pair);
        assert_unlinkable(&pair);
    }
}

// req-test 9000-9-170
#[test]
fn a_client_does_not_move_before_the_handshake_is_confirmed_and_a_server_never() {
    let mut pair = setup(2).build();
    pair.client.also = vec![ELSEWHERE.into()];
    pair.connect();
    pair.drive_for(20 * MS);
    assert_eq!(migrate(&mut pair), Err(MigrateError::NotConfirmed));
    pair.drive_for(Duration::from_secs(1));
    let (now, ends) = (pair.now, PathEnds { remote: CLIENT.into(), ..elsewhere() });
    assert_eq!(pair.server_connection().migrate(now, ends), Err(MigrateError::NotAClient));
    assert!(from_elsewhere(&pair).is_empty());
}

// req-test 9000-9-171, 9000-18.2-427
#[test]
fn a_client_stays_where_the_server_wants_it_to_stay() {
    let base = setup(3);
    let server = base.server.clone().allow_migration(false);
    let mut pair = downloading(Setup { server, ..base }, 1000);
    pair.drive_for(200 * MS);
    assert_eq!(migrate(&mut pair), Err(MigrateError::Forbidden));
    finish(&mut pair);
    assert!(from_elsewhere(&pair).is_empty());
}

#[test]
fn a_client_without_a_spare_connection_id_says_so_and_goes_on() {
    let base = setup(4);
    // One is in use, one is spare.
    let client = base.client.clone().active_connection_id_limit(2);
    let mut pair = downloading(Setup { client, ..base }, MEGABYTE);
    pair.drive_for(200 * MS);
    let now = pair.now;
    pair.network.up.blackhole = true;
    assert!(pair.client_connection().rotate_connection_id(now));
    assert!(!pair.client_connection().rotate_connection_id(now));
    assert_eq!(migrate(&mut pair), Err(MigrateError::NoConnectionId));
    pair.network.up.blackhole = false;
    pair.drive_for(300 * MS);
    assert_eq!(migrate(&mut pair), Ok(()), "the server has given another one");
    finish(&mut pair);
    assert_unlinkable(&pair);
}

#[test]
fn a_client_goes_on_where_it_is_if_nobody_answers_on_the_other_path() {
    let mut pair = downloading(setup(5), MEGABYTE);
    pair.drive_for(200 * MS);
    pair.client.also = vec![([203, 0, 113, 1], 1).into()];
    pair.meddler = Some(Box::new(|to_server, datagram| {
        let lost = to_server && datagram.from.ip().to_string() == "203.0.113.1";
        if lost { vec![] } else { vec![datagram] }
    }));
    assert_eq!(migrate(&mut pair), Ok(()));
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(client_paths(&pair), [PathEvent::MoveFailed { remote: SERVER.into() }]);
    finish(&mut pair);
    assert_eq!(pair.server_connection().remote_address(), CLIENT.into());
    assert_eq!(pair.client_connection().stats().path_validations_failed, 1);
}

// req-test 9000-9.5-192
#[test]
fn connection_ids_are_rotated_used_up_and_replaced() {
    let mut pair = downloading(setup(6), 100);
    finish(&mut pair);
    let before = pair.crossings.len();
    for _ in 0..50 {
        let now = pair.now;
        assert!(pair.client_connection().rotate_connection_id(now));
        pair.client_connection().ping();
        pair.drive_for(200 * MS);
    }
    let mut dcids: Vec<_> =
        pair.crossings[before..].iter().filter(|c| c.to_server).map(|c| c.dcid.clone()).collect();
    dcids.sort();
    dcids.dedup();
    assert!(dcids.len() >= 50, "{} connection IDs", dcids.len());
}

// req-test 9000-9.6.1-201, 9000-9.6.1-202, 9000-9.6.2-204, 9000-9.6.2-205, 9000-9.6.2-206
// req-test 9000-9.6.1-200, 9000-18.2-428, 9000-21.5.3-488, 9000-18.2-429, 9000-9.6.3-215
// req-test 9000-9.6.3-214
#[test]
fn a_client_moves_to_the_preferred_address_with_a_connection_id_of_its_own() {
    let mut pair = preferring(7).build();
    pair.server.also = vec![PREFERRED.into()];
    begin_download(&mut pair, MEGABYTE);
    pair.establish();
    finish(&mut pair);
    assert_eq!(pair.client_connection().remote_address(), PREFERRED.into());
    assert_eq!(client_paths(&pair), [PathEvent::Moved { remote: PREFERRED.into() }]);
    let to: Vec<_> =
        pair.crossings.iter().filter(|c| c.to_server && c.to == PREFERRED.into()).collect();
    assert!(to[0].has(FrameType::PATH_CHALLENGE) && to[0].len >= 1200);
    let probing = [FrameType::PATH_CHALLENGE, FrameType::PATH_RESPONSE, FrameType::PADDING];
    let answered = to[0].at + 30 * MS;
    for c in to.iter().take_while(|c| c.at < answered) {
        assert!(c.frames.iter().all(|frame| probing.contains(frame)), "{c:?}");
    }
    let mut from = pair.crossings.iter().filter(|c| !c.to_server && c.from == PREFERRED.into());
    assert!(from.next().expect("an answer").has(FrameType::PATH_CHALLENGE));
    let new = &to[0].dcid;
    assert!(pair.crossings.iter().all(|c| c.to != SERVER.into() || c.dcid != *new));
}

// req-test 9000-9.6.1-203
#[test]
fn a_client_stays_at_the_old_address_if_the_preferred_one_does_not_answer() {
    let mut pair = preferring(8).build();
    begin_download(&mut pair, 8 * MEGABYTE);
    pair.establish();
    finish(&mut pair);
    assert_eq!(pair.client_connection().remote_address(), SERVER.into());
    assert_eq!(client_paths(&pair), [PathEvent::MoveFailed { remote: PREFERRED.into() }]);
}

/// The client is behind a NAT that gives it another address toward the preferred one.
// req-test 9000-9.6.3-213
#[test]
fn a_server_does_not_trust_another_source_address_at_its_preferred_address() {
    let mut pair = preferring(13).build();
    pair.server.also = vec![PREFERRED.into()];
    pair.meddler = Some(Box::new(|to_server, mut datagram| {
        if to_server && datagram.to == PREFERRED.into() {
            datagram.from = ELSEWHERE.into();
        } else if datagram.to == ELSEWHERE.into() {
            datagram.to = CLIENT.into();
        }
        vec![datagram]
    }));
    begin_download(&mut pair, MEGABYTE);
    pair.establish();
    finish(&mut pair);
    assert_eq!(pair.server_connection().remote_address(), ELSEWHERE.into());
    let from: Vec<_> =
        pair.crossings.iter().filter(|c| !c.to_server && c.from == PREFERRED.into()).collect();
    let received = pair.crossings.iter().find(|c| c.to == PREFERRED.into()).expect("a probe");
    let early: usize =
        from.iter().take_while(|c| c.at < received.at + 44 * MS).map(|c| c.len).sum();
    assert!(early <= 3 * received.len, "{early} bytes for {}", received.len);
    assert!(from[0].has(FrameType::PATH_CHALLENGE));
}

#[test]
fn a_client_can_be_told_to_ignore_the_preferred_address() {
    let base = preferring(9);
    let client = base.client.clone().follow_preferred_address(false);
    let mut pair = Setup { client, ..base }.build();
    pair.server.also = vec![PREFERRED.into()];
    begin_download(&mut pair, MEGABYTE);
    pair.establish();
    finish(&mut pair);
    assert_eq!(pair.client_connection().remote_address(), SERVER.into());
    assert!(pair.crossings.iter().all(|c| c.to != PREFERRED.into()));
}

// req-test 9000-9.6.2-207, 9000-9.6.2-208
#[test]
fn what_is_sent_to_the_address_that_the_server_has_left_is_dropped() {
    let mut pair = preferring(10).build();
    pair.server.also = vec![PREFERRED.into()];
    pair.establish();
    pair.drive_for(Duration::from_secs(2));
    assert_eq!(pair.client_connection().remote_address(), PREFERRED.into());
    pair.meddler = Some(Box::new(|to_server, mut datagram| {
        if to_server {
            datagram.to = SERVER.into();
        }
        vec![datagram]
    }));
    pair.client_connection().ping();
    pair.drive_for(50 * MS);
    let stats = pair.server_connection().stats();
    assert!(stats.packets_dropped.get(Discard::AddressLeft) > 0);
    pair.meddler = None;
    pair.drive_for(Duration::from_secs(3));
    assert!(pair.client_connection().close_reason().is_none());
}

#[test]
fn a_client_can_move_where_that_is_forbidden_once_it_is_at_the_preferred_address() {
    let base = preferring(11);
    let server = base.server.clone().allow_migration(false);
    let mut pair = Setup { server, ..base }.build();
    pair.server.also = vec![PREFERRED.into()];
    pair.client.also = vec![ELSEWHERE.into()];
    pair.establish();
    pair.drive_for(Duration::from_secs(2));
    assert_eq!(pair.client_connection().remote_address(), PREFERRED.into());
    let (now, ends) = (pair.now, PathEnds { remote: PREFERRED.into(), ..elsewhere() });
    assert_eq!(pair.client_connection().migrate(now, ends), Ok(()));
    pair.drive_for(Duration::from_secs(2));
    assert_eq!(pair.server_connection().remote_address(), ELSEWHERE.into());
}

/// The server has lost all memory after the client has moved: its resets are recognised by the
/// connection IDs of the new path.
// req-test 9000-10.3.1-258
#[test]
fn a_stateless_reset_is_recognised_on_the_new_path() {
    let mut pair = downloading(setup(12), 1000);
    finish(&mut pair);
    assert_eq!(migrate(&mut pair), Ok(()));
    pair.drive_for(Duration::from_secs(1));
    pair.restart_server();
    pair.client_connection().ping();
    let handle = pair.client.handles()[0];
    pair.drive_until(LIMIT, |pair| pair.client.known(handle).closed.is_some());
    assert_eq!(pair.client.known(handle).closed, Some(ConnectionError::Reset));
}

#[test]
fn a_move_that_cannot_begin_leaves_the_one_under_way_alone() {
    let mut pair = downloading(setup(40), MEGABYTE);
    pair.drive_for(200 * MS);
    let results: Vec<_> = (0..20).map(|_| migrate(&mut pair)).collect();
    assert_eq!(results.first(), Some(&Ok(())));
    assert_eq!(results.last(), Some(&Err(MigrateError::NoConnectionId)));
    finish(&mut pair);
    assert_eq!(client_paths(&pair), [PathEvent::Moved { remote: SERVER.into() }]);
}
