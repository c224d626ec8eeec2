//! How fast data gets through networks of all kinds, and how a connection reacts to what they do.
//!
//! Time is virtual, so the numbers are the same on every machine. The floors stand a little below
//! what is reached today: a change that slows transfers down fails here.

use std::time::Duration;

use quic_core::congestion::CongestionAlgorithm::{self, Cubic, NewReno};
use quic_core::observe::Stats;
use quic_core::wire::Side;
use quic_testkit::app::{HalfPlan, StreamPlan, plan};
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;

const MEGABIT: u64 = 1_000_000 / 8;
const MS: Duration = Duration::from_millis(1);
const PERCENT: u64 = 10_000;
const LIMIT: Duration = Duration::from_secs(600);

/// A link that carries `rate` megabits a second with half of the round trip `rtt`, and holds as
/// much as is on its way in one round trip.
fn link(rate: u64, rtt: Duration) -> Link {
    let rate = rate * MEGABIT;
    let queue = (rate as f64 * rtt.as_secs_f64()) as usize;
    Link { rate: Some(rate), delay: rtt / 2, queue: queue.max(30_000), ..Link::default() }
}

fn setup(algorithm: CongestionAlgorithm, link: Link) -> Setup {
    let setup = Setup::new(Seed::or_env(7)).links(link);
    let setup = setup.transport(|transport| {
        transport.congestion(algorithm).max_idle_timeout(Some(Duration::from_secs(600)))
    });
    Setup { traced: false, ..setup }
}

/// Lets the client send `bytes` on one stream.
fn begin_upload(pair: &mut Pair, bytes: u64) {
    let forward = HalfPlan::whole(bytes);
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward, back: None }]));
    pair.connect();
}

/// Sends `bytes` and returns how long that took from the first packet on, and what the client
/// counted.
fn upload(setup: Setup, bytes: u64) -> (Duration, Stats) {
    let mut pair = setup.build();
    begin_upload(&mut pair, bytes);
    pair.drive_until(LIMIT, Pair::plan_is_done);
    (pair.elapsed(), pair.client_connection().stats())
}

/// Goodput in percent of the rate of the link.
fn goodput(setup: Setup, bytes: u64) -> u64 {
    let rate = setup.up.rate.expect("a link with a rate");
    let (elapsed, _) = upload(setup, bytes);
    (100.0 * bytes as f64 / elapsed.as_secs_f64() / rate as f64) as u64
}

struct Golden {
    megabits: u64,
    rtt_ms: u32,
    loss_ppm: u64,
    megabytes: u64,
    /// Percent of the rate that NewReno and CUBIC reach at least.
    floors: [u64; 2],
}

const fn golden(
    megabits: u64,
    rtt_ms: u32,
    loss_ppm: u64,
    megabytes: u64,
    floors: [u64; 2],
) -> Golden {
    Golden { megabits, rtt_ms, loss_ppm, megabytes, floors }
}

const GOLDENS: [Golden; 9] = [
    golden(2, 20, 0, 2, [88, 88]),
    golden(2, 200, 0, 2, [80, 79]),
    golden(20, 20, 0, 8, [85, 87]),
    golden(20, 100, 0, 8, [75, 75]),
    golden(100, 10, 0, 16, [83, 85]),
    golden(100, 50, 0, 16, [67, 68]),
    golden(20, 20, PERCENT / 10, 4, [68, 80]),
    golden(20, 20, PERCENT, 4, [20, 27]),
    golden(5, 50, 3 * PERCENT, 1, [20, 27]),
];

#[test]
fn goodput_stays_above_its_floors() {
    let mut table = String::new();
    let mut failed = false;
    for row in &GOLDENS {
        let link = Link { loss_ppm: row.loss_ppm, ..link(row.megabits, row.rtt_ms * MS) };
        let reached = [NewReno, Cubic]
            .map(|algorithm| goodput(setup(algorithm, link.clone()), row.megabytes * 1_000_000));
        failed |= reached.iter().zip(row.floors).any(|(reached, floor)| *reached < floor);
        table += &format!(
            "{:>4} Mbit/s {:>4} ms {:>5} ppm: NewReno {:>3} % CUBIC {:>3} %, floors {:?}\n",
            row.megabits, row.rtt_ms, row.loss_ppm, reached[0], reached[1], row.floors
        );
    }
    println!("{table}");
    assert!(!failed, "goodput below its floor:\n{table}");
}

// req-test 9000-13.4.1-337
#[test]
fn marks_slow_a_sender_down_without_any_loss() {
    for algorithm in [NewReno, Cubic] {
        let marked = Link { mark_ppm: PERCENT / 2, ..link(50, 40 * MS) };
        let (with_marks, stats) = upload(setup(algorithm, marked), 6_000_000);
        assert_eq!(stats.packets_lost, 0);
        assert!(stats.congestion_events > 5, "{}", stats.congestion_events);
        let (without, stats) = upload(setup(algorithm, link(50, 40 * MS)), 6_000_000);
        assert!(with_marks > without + without / 4, "{with_marks:?} after {without:?}");
        assert!(stats.congestion_events <= 3);
    }
}

// req-test 9000-13.4.2.2-340
#[test]
fn a_network_that_erases_marks_is_used_without_them() {
    let bleached = Link { bleaches_ecn: true, ..link(20, 20 * MS) };
    let mut pair = setup(Cubic, bleached).build();
    begin_upload(&mut pair, 1_000_000);
    pair.drive_until(LIMIT, Pair::plan_is_done);
    pair.client_connection().ping();
    let before = pair.crossings.len();
    pair.drive_for(500 * MS);
    let late = &pair.crossings[before..];
    assert!(late.iter().any(|crossing| crossing.to_server));
    assert!(late.iter().all(|crossing| crossing.ecn.is_none()), "marks are given up");
}

// req-test 9000-14.2-356
#[test]
fn the_datagram_size_grows_to_what_the_path_carries() {
    for (mtu, expected) in [(1_200, 1_200..=1_200), (1_350, 1_330..=1_350), (9_000, 1_452..=1_452)]
    {
        let mut pair = setup(Cubic, Link { mtu, ..link(20, 20 * MS) }).build();
        begin_upload(&mut pair, 2_000_000);
        pair.drive_until(LIMIT, Pair::plan_is_done);
        let reached = pair.client_connection().stats().path.mtu;
        assert!(expected.contains(&reached), "{reached} over a path of {mtu}");
    }
}

#[test]
fn a_path_that_becomes_narrower_is_noticed_and_the_transfer_goes_on() {
    for algorithm in [NewReno, Cubic] {
        let mut pair = setup(algorithm, link(20, 40 * MS)).build();
        begin_upload(&mut pair, 4_000_000);
        pair.drive_for(800 * MS);
        assert_eq!(pair.client_connection().stats().path.mtu, 1_452);
        pair.network.up.mtu = 1_280;
        pair.drive_until(20_000 * MS, Pair::plan_is_done);
        assert!(pair.client_connection().stats().path.mtu <= 1_280);
    }
}

// req-test 9002-7.6.2-071
#[test]
fn a_long_outage_is_persistent_congestion_and_what_follows_is_fast_again() {
    for algorithm in [NewReno, Cubic] {
        let mut pair = setup(algorithm, link(20, 40 * MS)).build();
        begin_upload(&mut pair, 10_000_000);
        pair.drive_for(1_000 * MS);
        let before = pair.client_connection().stats().path.congestion_window;
        pair.network.up.blackhole = true;
        pair.drive_for(3_000 * MS);
        pair.network.up.blackhole = false;
        let mut smallest = u64::MAX;
        pair.drive_until(LIMIT, |pair| {
            let stats = pair.client_connection().stats();
            smallest = smallest.min(stats.path.congestion_window);
            pair.plan_is_done()
        });
        let stats = pair.client_connection().stats();
        assert!(stats.persistent_congestion_events >= 1);
        assert!(smallest <= 2 * 1_452, "{smallest} after {before}");
        assert!(pair.elapsed() < Duration::from_secs(15), "{:?}", pair.elapsed());
    }
}

#[test]
fn reordering_slows_down_and_does_not_stop() {
    // Each overtaking packet passes by some thirty others, which count as lost for a while.
    let reordered = Link { reorder_ppm: 2 * PERCENT, ..link(20, 40 * MS) };
    let (elapsed, stats) = upload(setup(Cubic, reordered), 4_000_000);
    assert!(stats.spurious_losses > 0);
    assert!(elapsed < 14_000 * MS, "{elapsed:?}");
}

#[test]
fn both_directions_at_once_share_nothing_but_the_wire() {
    let mut pair = setup(Cubic, link(20, 20 * MS)).build();
    let half = HalfPlan::whole(4_000_000);
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward: half, back: Some(half) }]));
    pair.connect();
    pair.drive_until(LIMIT, Pair::plan_is_done);
    // 1.6 s at the full rate.
    assert!(pair.elapsed() < 2_600 * MS, "{:?}", pair.elapsed());
}

#[test]
fn acknowledgements_cost_a_fraction_of_the_data() {
    let mut pair = setup(Cubic, link(20, 20 * MS)).build();
    begin_upload(&mut pair, 4_000_000);
    pair.drive_until(LIMIT, Pair::plan_is_done);
    let bytes = |to_server: bool| -> usize {
        let crossings = pair.crossings.iter().filter(|crossing| crossing.to_server == to_server);
        crossings.map(|crossing| crossing.len).sum()
    };
    assert!(bytes(true) < 4_400_000, "{}", bytes(true));
    assert!(bytes(false) < 200_000, "{}", bytes(false));
}
