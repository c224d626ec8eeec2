//! CUBIC (RFC 9438) over a HyStart++ slow start.
//!
//! The formulas of the RFC are in segments and seconds; here windows are bytes, kept as floating
//! point so that the small steps of congestion avoidance add up, and converted at the edges.

use std::time::{Duration, Instant};

use super::hystart::{CSS_GROWTH_DIVISOR, HyStart, Verdict};
use super::{
    AckedBatch, CongestionCause, CongestionPhase, Controller, initial_window, minimum_window,
};

/// Aggressiveness of the cubic function, in segments per second cubed.
const C: f64 = 0.4;
/// What remains of the window after congestion.
const BETA: f64 = 0.7;
/// Additive increase that gives the average window of Reno together with `BETA`.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// The target for the next round trip is at most this much of the window.
const MAX_TARGET: f64 = 1.5;

/// One stage of congestion avoidance: the cubic curve and the Reno window it is compared with.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// Set while the window is not used, a time that the curve does not count.
    idle_since: Option<Instant>,
    /// The height of the plateau, in bytes.
    w_max: f64,
    /// Seconds from the start to the plateau.
    k: f64,
    /// The window Reno would have, in bytes.
    w_est: f64,
}

impl Epoch {
    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// The cubic window after `t`, in bytes.
    fn w_cubic(&self, t: Duration, segment: f64) -> f64 {
        C * (t.as_secs_f64() - self.k).powi(3) * segment + self.w_max
    }

    /// Leaves out the time in which the application did not use the window.
    fn resume(&mut self, now: Instant) {
        if let Some(since) = self.idle_since.take() {
            self.start += now.saturating_duration_since(since);
        }
    }
}

/// The CUBIC controller: reacts to each congestion event at once, and never grows faster than
/// slow start does.
// req 9002-7-050
#[derive(Clone, Debug)]
pub struct Cubic {
    max_datagram_size: u16,
    window: f64,
    slow_start_threshold: Option<f64>,
    hystart: HyStart,
    /// The window before the last reduction, after fast convergence; `None` before the first
    /// congestion event and after persistent congestion.
    w_max: Option<f64>,
    /// The window before the last reduction.
    window_prior: f64,
    epoch: Option<Epoch>,
}

impl Cubic {
    /// A controller in slow start with the initial window.
    pub fn new(max_datagram_size: u16) -> Self {
        let window = initial_window(max_datagram_size) as f64;
        Self {
            max_datagram_size,
            window,
            slow_start_threshold: None,
            hystart: HyStart::new(),
            w_max: None,
            window_prior: window,
            epoch: None,
        }
    }

    fn segment(&self) -> f64 {
        f64::from(self.max_datagram_size)
    }

    fn minimum(&self) -> f64 {
        minimum_window(self.max_datagram_size) as f64
    }

    fn in_slow_start(&self) -> bool {
        self.slow_start_threshold.is_none_or(|threshold| self.window < threshold)
    }

    /// Grows by what was acknowledged, at most to the threshold.
    fn slow_start(&mut self, batch: &AckedBatch) {
        let growth = match self.hystart.is_conservative() {
            true => batch.bytes / CSS_GROWTH_DIVISOR,
            false => batch.bytes,
        };
        self.window += growth as f64;
        if let Some(threshold) = self.slow_start_threshold {
            self.window = self.window.min(threshold);
            return;
        }
        if let Some(position) = batch.position
            && self.hystart.on_acked(position, batch.rtt_sample)
                == Verdict::EnterCongestionAvoidance
        {
            self.slow_start_threshold = Some(self.window);
            self.window_prior = self.window;
        }
    }

    fn begin_epoch(&self, now: Instant) -> Epoch {
        // Without a known plateau, after a slow start that ended without loss or after persistent
        // congestion, the curve starts on its plateau.
        let w_max = self.w_max.unwrap_or(self.window).max(self.window);
        let k = ((w_max - self.window) / self.segment() / C).cbrt();
        Epoch { start: now, idle_since: None, w_max, k, w_est: self.window }
    }

    fn congestion_avoidance(&mut self, now: Instant, batch: &AckedBatch) {
        let segment = self.segment();
        let mut epoch = self.epoch.take().unwrap_or_else(|| self.begin_epoch(now));
        epoch.resume(now);
        let t = epoch.elapsed(now);
        // Acknowledged bytes as a share of the window: one when a whole window was acknowledged.
        let share = batch.bytes as f64 / self.window;

        let alpha = if epoch.w_est >= self.window_prior { 1.0 } else { ALPHA };
        epoch.w_est += alpha * share * segment;

        if epoch.w_cubic(t, segment) < epoch.w_est {
            self.window = self.window.max(epoch.w_est);
        } else {
            let target = epoch
                .w_cubic(t + batch.smoothed_rtt, segment)
                .clamp(self.window, self.window * MAX_TARGET);
            self.window += (target - self.window) * share.min(1.0);
        }
        self.epoch = Some(epoch);
    }

    fn pause(&mut self, now: Instant) {
        if let Some(epoch) = &mut self.epoch {
            epoch.idle_since.get_or_insert(now);
        }
    }
}

impl Controller for Cubic {
    fn on_acked(&mut self, now: Instant, batch: &AckedBatch) {
        // req 9002-7.8-077
        if batch.app_limited {
            self.pause(now);
        } else if batch.bytes == 0 {
            // Only packets from before the recovery period: nothing that could grow the window.
        } else if self.in_slow_start() {
            self.slow_start(batch);
        } else {
            self.congestion_avoidance(now, batch);
        }
    }

    fn on_congestion_event(&mut self, _now: Instant, _cause: CongestionCause) {
        // Fast convergence: a window that did not reach the last plateau gives up more of it.
        let falling_short = self.w_max.is_some_and(|w_max| self.window < w_max);
        self.w_max = Some(match falling_short {
            true => self.window * (1.0 + BETA) / 2.0,
            false => self.window,
        });
        self.window_prior = self.window;
        self.window = (self.window * BETA).max(self.minimum());
        self.slow_start_threshold = Some(self.window);
        self.hystart.finish();
        self.epoch = None;
    }

    fn on_persistent_congestion(&mut self, _now: Instant) {
        // req 9002-7.6.2-071
        self.window = self.minimum();
        self.hystart.finish();
        self.w_max = None;
        self.epoch = None;
    }

    fn on_mtu(&mut self, max_datagram_size: u16) {
        // req 9002-7.2-054, 9002-7.2-055: as long as nothing was learned about the path.
        let untouched = self.window == initial_window(self.max_datagram_size) as f64;
        if self.slow_start_threshold.is_none() && untouched {
            self.window = initial_window(max_datagram_size) as f64;
        }
        self.max_datagram_size = max_datagram_size;
        self.window = self.window.max(self.minimum());
    }

    fn window(&self) -> u64 {
        self.window as u64
    }

    fn slow_start_threshold(&self) -> Option<u64> {
        self.slow_start_threshold.map(|threshold| threshold as u64)
    }

    fn phase(&self) -> CongestionPhase {
        match (self.in_slow_start(), self.hystart.is_conservative()) {
            (true, true) => CongestionPhase::ConservativeSlowStart,
            (true, false) => CongestionPhase::SlowStart,
            (false, _) => CongestionPhase::CongestionAvoidance,
        }
    }

    fn name(&self) -> &'static str {
        "cubic"
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::AckPosition;

    const RTT: Duration = Duration::from_millis(100);

    fn acked(bytes: u64) -> AckedBatch {
        AckedBatch {
            bytes,
            rtt_sample: Some(RTT),
            smoothed_rtt: RTT,
            app_limited: false,
            position: None,
        }
    }

    /// A controller that just had its first congestion event at `window`.
    fn after_congestion_at(now: Instant, window: u64) -> Cubic {
        let mut cubic = Cubic::new(1200);
        cubic.on_acked(now, &acked(window - 12_000));
        cubic.on_congestion_event(now, CongestionCause::Loss);
        cubic
    }

    /// Acknowledges a whole window each round trip; returns the time when `stop` holds.
    fn run_until(cubic: &mut Cubic, mut now: Instant, stop: impl Fn(&Cubic) -> bool) -> Instant {
        for _ in 0..100_000 {
            if stop(cubic) {
                return now;
            }
            for _ in 0..10 {
                now += RTT / 10;
                cubic.on_acked(now, &acked(cubic.window() / 10));
            }
        }
        panic!("the window never got there: {cubic:?}");
    }

    #[test]
    fn congestion_keeps_seven_tenths_of_the_window() {
        let cubic = after_congestion_at(Instant::now(), 1_200_000);
        assert_eq!(cubic.window(), 840_000);
        assert_eq!(cubic.slow_start_threshold(), Some(840_000));
        assert_eq!(cubic.phase(), CongestionPhase::CongestionAvoidance);
    }

    #[test]
    fn the_window_is_back_at_its_plateau_after_k_seconds_and_flat_there() {
        let start = Instant::now();
        let mut cubic = after_congestion_at(start, 1_200_000);
        let reached = run_until(&mut cubic, start, |c| c.window() >= 1_195_000);
        // K = cbrt(1000 segments * 0.3 / 0.4) = 9.09 s
        let took = (reached - start).as_secs_f64();
        assert!((7.0..9.5).contains(&took), "{took} s");
        let before = cubic.window();
        for n in 1..=10 {
            cubic.on_acked(reached + RTT * n, &acked(cubic.window()));
        }
        assert!(cubic.window() < before + 12_000, "{before} -> {}", cubic.window());
    }

    #[test]
    fn beyond_the_plateau_growth_speeds_up() {
        let start = Instant::now();
        let mut cubic = after_congestion_at(start, 1_200_000);
        let plateau = run_until(&mut cubic, start, |c| c.window() >= 1_200_000);
        let first = run_until(&mut cubic, plateau, |c| c.window() >= 1_300_000);
        let second = run_until(&mut cubic, first, |c| c.window() >= 1_400_000);
        assert!(second - first < first - plateau);
    }

    #[test]
    fn small_windows_grow_at_least_like_reno() {
        // 20 segments at 100 ms: the cubic curve is far below Reno there.
        let start = Instant::now();
        let mut cubic = after_congestion_at(start, 24_000);
        let before = cubic.window();
        let mut now = start;
        for _ in 0..10 {
            now += RTT;
            cubic.on_acked(now, &acked(cubic.window()));
        }
        let segments = (cubic.window() - before) / 1200;
        assert!((5..=10).contains(&segments), "{segments} segments in ten round trips");
    }

    #[test]
    fn a_second_congestion_below_the_plateau_lowers_it_further() {
        let now = Instant::now();
        let mut cubic = after_congestion_at(now, 1_200_000);
        assert_eq!(cubic.w_max, Some(1_200_000.0));
        cubic.on_congestion_event(now, CongestionCause::Ecn);
        let lowered = cubic.w_max.unwrap();
        assert!((lowered - 840_000.0 * 0.85).abs() < 1.0, "{lowered}");
        assert_eq!(cubic.window(), 588_000);
    }

    // req-test 9002-7.8-077
    #[test]
    fn time_without_use_of_the_window_is_not_counted_by_the_curve() {
        let start = Instant::now();
        let mut busy = after_congestion_at(start, 1_200_000);
        busy.on_acked(start, &acked(1));
        let mut rested = busy.clone();
        let pause = Duration::from_secs(60);
        let idle = AckedBatch { app_limited: true, ..acked(840_000) };
        rested.on_acked(start, &idle);
        rested.on_acked(start + pause / 2, &idle);
        assert_eq!(rested.window(), busy.window());
        for n in 1..=20 {
            busy.on_acked(start + RTT * n, &acked(800_000));
            rested.on_acked(start + pause + RTT * n, &acked(800_000));
        }
        let difference = rested.window().abs_diff(busy.window());
        assert!(difference < 30_000, "{} and {}", rested.window(), busy.window());
    }

    // req-test 9002-7.6.2-071
    #[test]
    fn persistent_congestion_leaves_two_datagrams_then_slow_start() {
        let now = Instant::now();
        let mut cubic = after_congestion_at(now, 120_000);
        cubic.on_persistent_congestion(now);
        assert_eq!(cubic.window(), 2_400);
        assert_eq!(cubic.phase(), CongestionPhase::SlowStart);
        cubic.on_acked(now, &acked(500_000));
        assert_eq!(cubic.window(), 84_000);
        assert_eq!(cubic.phase(), CongestionPhase::CongestionAvoidance);
    }

    #[test]
    fn one_acknowledgement_never_grows_the_window_by_more_than_half() {
        let start = Instant::now();
        let mut cubic = after_congestion_at(start, 1_200_000);
        cubic.on_acked(start, &acked(1));
        let before = cubic.window();
        cubic.on_acked(start + Duration::from_secs(600), &acked(before));
        assert!(cubic.window() <= before * 3 / 2 + 1);
    }

    #[test]
    fn a_queue_that_builds_up_ends_slow_start_without_loss() {
        let now = Instant::now();
        let mut cubic = Cubic::new(1200);
        let mut pn = 0;
        for round in 0..30u32 {
            let next = pn + 20;
            for _ in 0..20 {
                let position = AckPosition { largest_acknowledged: pn, next_packet_number: next };
                let rtt = RTT + Duration::from_millis(20) * round.saturating_sub(3);
                let batch =
                    AckedBatch { position: Some(position), rtt_sample: Some(rtt), ..acked(1200) };
                cubic.on_acked(now, &batch);
                pn += 1;
            }
            if cubic.phase() == CongestionPhase::CongestionAvoidance {
                assert!(cubic.slow_start_threshold().is_some());
                return;
            }
        }
        panic!("still in slow start");
    }
}
