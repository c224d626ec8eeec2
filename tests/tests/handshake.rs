//! How connections begin and end, over networks of every kind.

use std::time::Duration;

use quic_core::wire::{Dir, PacketType, Side};
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;
use quic_testkit::tls::Certificate;

const SECOND: Duration = Duration::from_secs(1);

/// A handshake, a stream in each direction, a close: what every network must allow.
fn live_and_die(mut pair: Pair) {
    use quic_testkit::app::{HalfPlan, StreamPlan, plan};
    let there_and_back = |opener| StreamPlan {
        opener,
        forward: HalfPlan::whole(3_000),
        back: Some(HalfPlan::whole(2_000)),
    };
    pair.run_plan(&plan(&[there_and_back(Side::Client), there_and_back(Side::Server)]));
    let handle = pair.connect();
    pair.drive_until(60 * SECOND, |pair| pair.plan_is_done());
    pair.apps.iter().flatten().for_each(quic_testkit::app::App::check);
    pair.drive_until(60 * SECOND, Pair::all_credit_is_returned);
    let now = pair.now;
    pair.client_connection().close(now, 7u32.into(), "enough".into());
    pair.drive_idle();
    assert!(pair.client.known(handle).gone);
    assert!(pair.server_known().unwrap().gone);
}

#[test]
fn a_connection_lives_and_dies_without_loss() {
    live_and_die(Pair::new(Seed::or_env(1)));
}

#[test]
fn a_handshake_takes_two_flights_of_the_client() {
    let mut pair = Pair::new(Seed::or_env(1));
    pair.establish();
    // Client's Initial, server's Initial and Handshake, client's Handshake, HANDSHAKE_DONE.
    assert_eq!(pair.elapsed(), Duration::from_millis(20));
    let flights: Vec<_> = pair.crossings.iter().map(|c| (c.at, c.to_server, &c.packets)).collect();
    use PacketType::{Handshake, Initial, OneRtt};
    assert_eq!(*flights[0].2, [Initial]);
    assert_eq!(*flights[1].2, [Initial, Handshake, OneRtt]);
    let _ = (Dir::Bi, Certificate::Small, Link::default(), Setup::new(Seed(1)));
}
