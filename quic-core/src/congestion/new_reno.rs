//! NewReno as RFC 9002 section 7 and appendix B describe it.

use std::time::Instant;

use super::{
    AckedBatch, CongestionCause, CongestionPhase, Controller, initial_window, minimum_window,
};

/// Slow start, then one datagram more for each window acknowledged, half of it on congestion.
#[derive(Clone, Debug)]
pub struct NewReno {
    max_datagram_size: u16,
    window: u64,
    slow_start_threshold: Option<u64>,
    /// Bytes acknowledged in congestion avoidance that have not yet paid for an increase.
    credit: u64,
}

impl NewReno {
    /// A controller in slow start with the initial window.
    pub fn new(max_datagram_size: u16) -> Self {
        Self {
            max_datagram_size,
            window: initial_window(max_datagram_size),
            slow_start_threshold: None,
            credit: 0,
        }
    }

    /// Grows by what was acknowledged up to the threshold; returns the bytes left beyond it.
    fn slow_start(&mut self, bytes: u64) -> u64 {
        let room = self.slow_start_threshold.map_or(u64::MAX, |t| t.saturating_sub(self.window));
        let used = bytes.min(room);
        self.window += used;
        bytes - used
    }

    fn congestion_avoidance(&mut self, bytes: u64) {
        // req 9002-7.3.3-061: a whole window has to be acknowledged for each datagram of growth.
        self.credit += bytes;
        while self.credit >= self.window {
            self.credit -= self.window;
            self.window += u64::from(self.max_datagram_size);
        }
    }
}

impl Controller for NewReno {
    fn on_acked(&mut self, _now: Instant, batch: &AckedBatch) {
        // req 9002-7.8-077
        if batch.app_limited {
            return;
        }
        let rest = self.slow_start(batch.bytes);
        if rest > 0 {
            self.congestion_avoidance(rest);
        }
    }

    fn on_congestion_event(&mut self, _now: Instant, _cause: CongestionCause) {
        // req 9002-7.3.2-058, 9002-7.3.2-059, 9002-7.3.2-060: at once, not gradually.
        self.window = (self.window / 2).max(minimum_window(self.max_datagram_size));
        self.slow_start_threshold = Some(self.window);
        self.credit = 0;
    }

    fn on_persistent_congestion(&mut self, _now: Instant) {
        // req 9002-7.6.2-071
        self.window = minimum_window(self.max_datagram_size);
        self.credit = 0;
    }

    fn on_mtu(&mut self, max_datagram_size: u16) {
        // req 9002-7.2-054, 9002-7.2-055: as long as nothing was learned about the path.
        if self.slow_start_threshold.is_none()
            && self.window == initial_window(self.max_datagram_size)
        {
            self.window = initial_window(max_datagram_size);
        }
        self.max_datagram_size = max_datagram_size;
        self.window = self.window.max(minimum_window(max_datagram_size));
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn slow_start_threshold(&self) -> Option<u64> {
        self.slow_start_threshold
    }

    fn phase(&self) -> CongestionPhase {
        match self.slow_start_threshold {
            Some(threshold) if self.window >= threshold => CongestionPhase::CongestionAvoidance,
            _ => CongestionPhase::SlowStart,
        }
    }

    fn name(&self) -> &'static str {
        "new_reno"
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn acked(bytes: u64) -> AckedBatch {
        AckedBatch {
            bytes,
            rtt_sample: None,
            smoothed_rtt: Duration::from_millis(50),
            app_limited: false,
            position: None,
        }
    }

    #[test]
    fn slow_start_grows_by_what_is_acknowledged() {
        let mut reno = NewReno::new(1200);
        reno.on_acked(Instant::now(), &acked(5_000));
        assert_eq!(reno.window(), 17_000);
        assert_eq!(reno.phase(), CongestionPhase::SlowStart);
    }

    // req-test 9002-7.3.2-058, 9002-7.3.2-059
    #[test]
    fn congestion_halves_window_and_threshold_and_ends_slow_start() {
        let mut reno = NewReno::new(1200);
        reno.on_congestion_event(Instant::now(), CongestionCause::Loss);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (6_000, Some(6_000)));
        assert_eq!(reno.phase(), CongestionPhase::CongestionAvoidance);
    }

    // req-test 9002-7.3.3-061
    #[test]
    fn congestion_avoidance_adds_one_datagram_per_window_acknowledged() {
        let mut reno = NewReno::new(1200);
        reno.on_congestion_event(Instant::now(), CongestionCause::Ecn);
        reno.on_acked(Instant::now(), &acked(5_999));
        assert_eq!(reno.window(), 6_000);
        reno.on_acked(Instant::now(), &acked(1));
        assert_eq!(reno.window(), 7_200);
        // One huge ACK frame is several windows, each larger than the one before.
        reno.on_acked(Instant::now(), &acked(7_200 + 8_400 + 9_599));
        assert_eq!(reno.window(), 9_600);
    }

    // req-test 9002-7.8-077
    #[test]
    fn an_unused_window_does_not_grow() {
        let mut reno = NewReno::new(1200);
        let idle = AckedBatch { app_limited: true, ..acked(5_000) };
        reno.on_acked(Instant::now(), &idle);
        assert_eq!(reno.window(), 12_000);
        reno.on_congestion_event(Instant::now(), CongestionCause::Loss);
        reno.on_acked(Instant::now(), &AckedBatch { bytes: 50_000, ..idle });
        assert_eq!(reno.window(), 6_000);
    }

    // req-test 9002-7.6.2-071, 9002-7.2-056
    #[test]
    fn persistent_congestion_leaves_the_minimum_window_and_slow_start_up_to_the_threshold() {
        let mut reno = NewReno::new(1200);
        reno.on_acked(Instant::now(), &acked(28_000));
        reno.on_congestion_event(Instant::now(), CongestionCause::Loss);
        reno.on_persistent_congestion(Instant::now());
        assert_eq!(reno.window(), 2_400);
        assert_eq!(reno.phase(), CongestionPhase::SlowStart);
        reno.on_acked(Instant::now(), &acked(17_600));
        assert_eq!(reno.window(), 20_000);
        assert_eq!(reno.phase(), CongestionPhase::CongestionAvoidance);
        for _ in 0..20 {
            reno.on_congestion_event(Instant::now(), CongestionCause::Loss);
        }
        assert_eq!(reno.window(), 2_400);
    }

    // req-test 9002-7.2-054, 9002-7.2-055
    #[test]
    fn an_untouched_initial_window_follows_the_datagram_size() {
        let mut reno = NewReno::new(1200);
        reno.on_mtu(1452);
        assert_eq!(reno.window(), 14_520);
        reno.on_mtu(1200);
        assert_eq!(reno.window(), 12_000);
        reno.on_acked(Instant::now(), &acked(1_000));
        reno.on_mtu(1452);
        assert_eq!(reno.window(), 13_000);
        reno.on_mtu(9_000);
        assert_eq!(reno.window(), 18_000);
    }
}
