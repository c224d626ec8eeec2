//! HyStart++ (RFC 9406): leaves the first slow start when the round-trip time grows.
//!
//! Rounds are counted in packet numbers: a round ends when the packet that was next to be sent at
//! its beginning is acknowledged.

use std::time::Duration;

use super::AckPosition;

const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
/// In conservative slow start the window grows by this fraction of what is acknowledged.
pub(super) const CSS_GROWTH_DIVISOR: u64 = 4;
const CSS_ROUNDS: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SlowStart,
    Conservative {
        baseline: Duration,
        rounds: u32,
    },
    /// Slow start is over, or was never the first one.
    Done,
}

/// What an ACK frame means for slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Continue,
    /// The delay stayed high over all conservative rounds.
    EnterCongestionAvoidance,
}

#[derive(Clone, Debug)]
pub(super) struct HyStart {
    phase: Phase,
    round_ends_at: Option<u64>,
    last_round_min: Option<Duration>,
    current_round_min: Option<Duration>,
    samples: u32,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::SlowStart,
            round_ends_at: None,
            last_round_min: None,
            current_round_min: None,
            samples: 0,
        }
    }

    pub(super) fn is_conservative(&self) -> bool {
        matches!(self.phase, Phase::Conservative { .. })
    }

    /// Slow start is over for good: later ones have a threshold to stop at.
    pub(super) fn finish(&mut self) {
        self.phase = Phase::Done;
    }

    /// Takes in one ACK frame of slow start.
    pub(super) fn on_acked(&mut self, position: AckPosition, sample: Option<Duration>) -> Verdict {
        if let Some(sample) = sample {
            self.samples += 1;
            self.current_round_min = Some(self.current_round_min.map_or(sample, |m| m.min(sample)));
        }
        match self.phase {
            Phase::SlowStart => self.watch_for_delay(),
            Phase::Conservative { baseline, .. } => self.watch_for_relief(baseline),
            Phase::Done => return Verdict::Continue,
        }
        self.count_round(position)
    }

    fn watch_for_delay(&mut self) {
        let (Some(last), Some(current)) = (self.last_round_min, self.current_round_min) else {
            return;
        };
        let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        if self.samples >= N_RTT_SAMPLE && current >= last + threshold {
            self.phase = Phase::Conservative { baseline: current, rounds: 0 };
        }
    }

    fn watch_for_relief(&mut self, baseline: Duration) {
        if self.samples >= N_RTT_SAMPLE && self.current_round_min.is_some_and(|m| m < baseline) {
            self.phase = Phase::SlowStart;
        }
    }

    fn count_round(&mut self, position: AckPosition) -> Verdict {
        match self.round_ends_at {
            Some(end) if position.largest_acknowledged < end => return Verdict::Continue,
            _ => self.start_round(position.next_packet_number),
        }
        if let Phase::Conservative { rounds, .. } = &mut self.phase {
            *rounds += 1;
            if *rounds >= CSS_ROUNDS {
                self.phase = Phase::Done;
                return Verdict::EnterCongestionAvoidance;
            }
        }
        Verdict::Continue
    }

    fn start_round(&mut self, ends_at: u64) {
        self.round_ends_at = Some(ends_at);
        self.last_round_min = self.current_round_min.take();
        self.samples = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// One round of 20 packets, each acknowledged alone with the given RTT.
    fn round(hystart: &mut HyStart, number: u64, rtt: Duration) -> Verdict {
        let first = number * 20;
        let mut last = Verdict::Continue;
        for n in first..first + 20 {
            let position = AckPosition { largest_acknowledged: n, next_packet_number: first + 20 };
            last = hystart.on_acked(position, Some(rtt));
            if last == Verdict::EnterCongestionAvoidance {
                return last;
            }
        }
        last
    }

    #[test]
    fn a_steady_delay_stays_in_slow_start() {
        let mut hystart = HyStart::new();
        for n in 0..20 {
            assert_eq!(round(&mut hystart, n, 40 * MS + MS * (n as u32 % 3)), Verdict::Continue);
            assert!(!hystart.is_conservative());
        }
    }

    #[test]
    fn a_delay_that_grows_and_stays_ends_slow_start_after_five_rounds() {
        let mut hystart = HyStart::new();
        for n in 0..3 {
            round(&mut hystart, n, 40 * MS);
        }
        assert_eq!(round(&mut hystart, 3, 45 * MS), Verdict::Continue);
        assert!(hystart.is_conservative());
        let verdicts: Vec<_> = (4..9).map(|n| round(&mut hystart, n, 50 * MS)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::EnterCongestionAvoidance));
        assert_eq!(verdicts.iter().filter(|v| **v != Verdict::Continue).count(), 1);
    }

    #[test]
    fn a_delay_that_goes_away_returns_to_slow_start() {
        let mut hystart = HyStart::new();
        for n in 0..3 {
            round(&mut hystart, n, 40 * MS);
        }
        round(&mut hystart, 3, 60 * MS);
        assert!(hystart.is_conservative());
        round(&mut hystart, 4, 40 * MS);
        assert!(!hystart.is_conservative());
    }

    #[test]
    fn a_few_delayed_samples_are_not_enough() {
        let mut hystart = HyStart::new();
        for n in 0..3 {
            round(&mut hystart, n, 40 * MS);
        }
        for n in 60..67 {
            let position = AckPosition { largest_acknowledged: n, next_packet_number: 80 };
            hystart.on_acked(position, Some(90 * MS));
        }
        assert!(!hystart.is_conservative());
    }
}
