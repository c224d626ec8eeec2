//! Networks that carry nothing for a while: how soon transfers go on afterwards.

use std::time::Duration;

use quic_core::wire::Side;
use quic_testkit::app::{HalfPlan, StreamPlan, plan};
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(120);

/// 10 megabits a second and 30 ms of round trip, as the interop runner has it.
fn link() -> Link {
    let delay = 15 * MS;
    Link { delay, rate: Some(1_250_000), queue: 25 * 1400, ..Link::default() }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Both,
    Up,
    Down,
}

fn close(pair: &mut Pair, direction: Direction, closed: bool) {
    match direction {
        Direction::Both => {
            pair.network.up.blackhole = closed;
            pair.network.down.blackhole = closed;
        }
        Direction::Up => pair.network.up.blackhole = closed,
        Direction::Down => pair.network.down.blackhole = closed,
    }
}

/// How long after an outage of `length` the receiver hears something new again.
fn silence_after(seed: u64, sender: Side, direction: Direction, length: Duration) -> Duration {
    let setup = Setup { traced: false, ..Setup::new(Seed::or_env(seed)).links(link()) };
    let mut pair = setup.build();
    let (forward, back) = match sender {
        Side::Client => (HalfPlan::whole(6_000_000), None),
        Side::Server => (HalfPlan::whole(20), Some(HalfPlan::whole(6_000_000))),
    };
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward, back }]));
    pair.connect();
    pair.drive_for(Duration::from_millis(1500 + 7 * seed));
    close(&mut pair, direction, true);
    pair.drive_for(length);
    close(&mut pair, direction, false);
    let received = |pair: &mut Pair| match sender {
        Side::Client => pair.server_connection().streams().audit().data_received,
        Side::Server => pair.client_connection().streams().audit().data_received,
    };
    let (before, over) = (received(&mut pair), pair.now);
    pair.drive_until(LIMIT, |pair| received(pair) > before);
    let silence = pair.now - over;
    pair.drive_until(LIMIT, Pair::plan_is_done);
    silence
}

#[test]
fn a_transfer_goes_on_soon_after_an_outage() {
    let mut worst = Duration::ZERO;
    for sender in [Side::Client, Side::Server] {
        for direction in [Direction::Both, Direction::Up, Direction::Down] {
            for seed in 1..15 {
                let silence = silence_after(seed, sender, direction, 2000 * MS);
                eprintln!("{sender} sends, {direction:?}, seed {seed}: {silence:?}");
                worst = worst.max(silence);
            }
        }
    }
    assert!(worst < Duration::from_millis(1000), "{worst:?}");
}
