//! The round-trip time of a path (RFC 9002 section 5).

use std::time::{Duration, Instant};

/// Timers are not finer than this (kGranularity).
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// The RTT assumed before the first sample (kInitialRtt).
// req 9002-6.2.2-031
pub const INITIAL_RTT: Duration = Duration::from_millis(333);

/// Smoothed round-trip time, its variation and the minimum of one path.
#[derive(Clone, Debug)]
pub struct RttEstimator {
    latest: Duration,
    smoothed: Duration,
    variation: Duration,
    min: Duration,
    first_sample_at: Option<Instant>,
}

impl RttEstimator {
    /// An estimator without samples that assumes `initial`.
    pub fn new(initial: Duration) -> Self {
        Self {
            latest: initial,
            smoothed: initial,
            variation: initial / 2,
            min: initial,
            first_sample_at: None,
        }
    }

    /// Takes in a sample.
    ///
    /// `latest` is the time from sending the largest newly acknowledged packet until now;
    /// `ack_delay` what the peer says it waited, already limited as section 5.3 asks.
    pub fn update(&mut self, now: Instant, latest: Duration, ack_delay: Duration) {
        self.latest = latest;
        if self.first_sample_at.is_none() {
            // req 9002-5.2-003
            self.first_sample_at = Some(now);
            self.min = latest;
            self.smoothed = latest;
            self.variation = latest / 2;
            return;
        }
        // The minimum is of what was measured, whatever delay the peer claims.
        self.min = self.min.min(latest);
        // req 9002-5.3-012
        let adjusted = match latest.checked_sub(ack_delay) {
            Some(shorter) if shorter >= self.min => shorter,
            _ => latest,
        };
        self.variation = (self.variation * 3 + self.smoothed.abs_diff(adjusted)) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    /// The path has changed so much that the old minimum means nothing.
    pub fn on_persistent_congestion(&mut self) {
        // req 9002-5.2-004: the newest sample takes the place of the minimum.
        self.min = self.latest;
    }

    /// Replaces the assumed RTT of a path that has no sample yet, for instance by the time a
    /// Retry or a path validation took. It does not count as a sample.
    // req 9002-6.2.2-032, 9002-6.3-047, 9002-6.3-048
    pub fn set_initial(&mut self, initial: Duration) {
        if self.first_sample_at.is_none() {
            *self = Self::new(initial.max(GRANULARITY));
        }
    }

    /// The most recent sample, the initial RTT before there is one.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// The exponentially weighted mean of the samples.
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The mean deviation of the samples.
    pub fn variation(&self) -> Duration {
        self.variation
    }

    /// The smallest sample since the start or since persistent congestion.
    pub fn min(&self) -> Duration {
        self.min
    }

    /// When the first sample was taken.
    pub fn first_sample_at(&self) -> Option<Instant> {
        self.first_sample_at
    }

    /// The probe timeout without the peer's delay and without backoff (section 6.2.1).
    pub fn pto_base(&self) -> Duration {
        // req 9002-6.2.1-024
        self.smoothed + (self.variation * 4).max(GRANULARITY)
    }

    /// How long after a packet that was sent later and acknowledged one waits for an earlier one
    /// (section 6.1.2).
    pub fn loss_delay(&self) -> Duration {
        // req 9002-6.1.2-018, 9002-6.1.2-020, 9002-6.1.2-021
        (self.latest.max(self.smoothed) * 9 / 8).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn with_sample(rtt: Duration) -> (Instant, RttEstimator) {
        let now = Instant::now();
        let mut estimator = RttEstimator::new(INITIAL_RTT);
        estimator.update(now, rtt, Duration::ZERO);
        (now, estimator)
    }

    // req-test 9002-6.2.2-031
    #[test]
    fn without_a_sample_the_probe_timeout_is_about_one_second() {
        assert_eq!(RttEstimator::new(INITIAL_RTT).pto_base(), 999 * MS);
    }

    // req-test 9002-5.2-003
    #[test]
    fn the_first_sample_replaces_the_assumption() {
        let (_, rtt) = with_sample(400 * MS);
        assert_eq!((rtt.min(), rtt.smoothed(), rtt.variation()), (400 * MS, 400 * MS, 200 * MS));
    }

    // req-test 9002-5.2-003
    #[test]
    fn the_minimum_follows_the_lowest_measured_sample() {
        let (now, mut rtt) = with_sample(40 * MS);
        rtt.update(now, 30 * MS, 25 * MS);
        assert_eq!(rtt.min(), 30 * MS);
        rtt.update(now, 50 * MS, Duration::ZERO);
        assert_eq!(rtt.min(), 30 * MS);
    }

    #[test]
    fn samples_are_smoothed_with_an_eighth_and_a_quarter() {
        let (now, mut rtt) = with_sample(80 * MS);
        rtt.update(now, 160 * MS, Duration::ZERO);
        assert_eq!(rtt.smoothed(), 90 * MS);
        assert_eq!(rtt.variation(), 50 * MS);
    }

    // req-test 9002-5.3-012
    #[test]
    fn a_claimed_delay_counts_only_down_to_the_minimum() {
        let (now, mut rtt) = with_sample(40 * MS);
        rtt.update(now, 60 * MS, 20 * MS);
        assert_eq!(rtt.smoothed(), 40 * MS);
        rtt.update(now, 48 * MS, 20 * MS);
        assert_eq!(rtt.smoothed(), 41 * MS);
        rtt.update(now, 49 * MS, 500 * MS);
        assert_eq!(rtt.smoothed(), 42 * MS);
    }

    // req-test 9002-5.2-004
    #[test]
    fn persistent_congestion_forgets_the_minimum() {
        let (now, mut rtt) = with_sample(40 * MS);
        rtt.update(now, 90 * MS, Duration::ZERO);
        rtt.on_persistent_congestion();
        assert_eq!(rtt.min(), 90 * MS);
    }

    // req-test 9002-6.1.2-018, 9002-6.1.2-020, 9002-6.2.1-024
    #[test]
    fn no_deadline_is_shorter_than_the_timer_granularity() {
        let (_, rtt) = with_sample(Duration::from_micros(20));
        assert_eq!(rtt.loss_delay(), GRANULARITY);
        assert!(rtt.pto_base() >= GRANULARITY);
        let (_, rtt) = with_sample(80 * MS);
        assert_eq!(rtt.loss_delay(), 90 * MS);
    }

    // req-test 9002-6.2.2-032
    #[test]
    fn a_measured_path_validation_is_an_assumption_and_no_sample() {
        let mut rtt = RttEstimator::new(INITIAL_RTT);
        rtt.set_initial(50 * MS);
        assert_eq!((rtt.smoothed(), rtt.first_sample_at()), (50 * MS, None));
        rtt.update(Instant::now(), 20 * MS, Duration::ZERO);
        rtt.set_initial(500 * MS);
        assert_eq!(rtt.smoothed(), 20 * MS);
    }
}
