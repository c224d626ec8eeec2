//! Spreads packets over the round trip: a token bucket filled at a little more than the rate of
//! one window per round trip (RFC 9002 section 7.7).

use std::time::{Duration, Instant};

/// The bucket holds at least this many datagrams, so that trains can be formed.
const MIN_BURST_DATAGRAMS: u64 = 10;
/// The bucket holds at least what the rate allows in this time, the resolution of timers.
const BURST_TIME: Duration = Duration::from_millis(1);
/// A round trip is taken to last at least this long.
const MIN_RTT: Duration = Duration::from_micros(1);

/// What the rate follows from; the pacer keeps none of it.
#[derive(Clone, Copy, Debug)]
pub struct PaceInput {
    /// The congestion window in bytes.
    pub window: u64,
    /// The smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// The maximum datagram size of the path in bytes.
    pub max_datagram_size: u16,
    /// In slow start the rate is twice the window per round trip, otherwise 1.25 times.
    pub slow_start: bool,
}

impl PaceInput {
    /// Bytes that the rate allows in `time`.
    fn bytes_in(&self, time: Duration) -> u64 {
        let (numerator, denominator) = if self.slow_start { (2, 1) } else { (5, 4) };
        let bytes = u128::from(self.window) * time.as_nanos() * numerator
            / (self.smoothed_rtt.max(MIN_RTT).as_nanos() * denominator);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// How long the rate needs for `bytes`.
    fn time_for(&self, bytes: u64) -> Duration {
        let (numerator, denominator) = if self.slow_start { (2, 1) } else { (5, 4) };
        let nanos = u128::from(bytes) * self.smoothed_rtt.max(MIN_RTT).as_nanos() * denominator;
        let nanos = nanos.div_ceil(u128::from(self.window.max(1)) * numerator);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The most bytes that may leave at once.
    fn burst(&self) -> u64 {
        // req 9002-7.7-073, 9002-7.7-075: ten datagrams, about the initial window; beyond that
        // only what the rate carries within one tick of a timer.
        let datagrams = MIN_BURST_DATAGRAMS * u64::from(self.max_datagram_size);
        datagrams.max(self.bytes_in(BURST_TIME))
    }

    /// How much to collect before the next train leaves, once the bucket is empty: a whole burst,
    /// but not more than a quarter of the window, so that small windows stay evenly spread.
    fn train(&self) -> u64 {
        self.burst().min(self.window / 4).max(u64::from(self.max_datagram_size))
    }
}

/// A token bucket; the tokens are bytes.
///
/// Once it is empty nothing leaves before there is enough for a train, lest a sender who asks all
/// the time sends datagram by datagram.
#[derive(Clone, Debug)]
pub struct Pacer {
    tokens: u64,
    filled_at: Instant,
    gate: Gate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Whatever there is may leave.
    Open,
    /// The next train is being collected.
    Collecting,
}

impl Pacer {
    /// A pacer with a full bucket.
    pub fn new(now: Instant, input: &PaceInput) -> Self {
        Self { tokens: input.burst(), filled_at: now, gate: Gate::Open }
    }

    /// The bytes that may leave now, or when the next train may.
    pub fn allowance(&mut self, now: Instant, input: &PaceInput) -> Result<u64, Instant> {
        self.fill(now, input);
        let enough = match self.gate {
            Gate::Open => u64::from(input.max_datagram_size),
            Gate::Collecting => input.train(),
        };
        if self.tokens >= enough {
            self.gate = Gate::Open;
            return Ok(self.tokens);
        }
        self.gate = Gate::Collecting;
        Err(self.filled_at + input.time_for(input.train() - self.tokens))
    }

    /// Takes the tokens of a packet; one that left without asking (a probe) empties the bucket at
    /// most.
    pub fn on_sent(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }

    fn fill(&mut self, now: Instant, input: &PaceInput) {
        let new = input.bytes_in(now.saturating_duration_since(self.filled_at));
        // Less than a byte is not lost: the time stays uncounted until it is one.
        if new > 0 {
            self.tokens = self.tokens.saturating_add(new);
            self.filled_at = now;
        }
        // The burst moves with the window and the round trip.
        self.tokens = self.tokens.min(input.burst());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(window: u64, rtt_ms: u64) -> PaceInput {
        PaceInput {
            window,
            smoothed_rtt: Duration::from_millis(rtt_ms),
            max_datagram_size: 1200,
            slow_start: false,
        }
    }

    /// Sends as much as the pacer lets through; returns (time, bytes) of each train.
    fn run(
        pacer: &mut Pacer,
        input: &PaceInput,
        start: Instant,
        length: Duration,
    ) -> Vec<(Duration, u64)> {
        let mut now = start;
        let mut trains = Vec::new();
        while now - start < length {
            match pacer.allowance(now, input) {
                Ok(bytes) => {
                    let train = bytes / 1200 * 1200;
                    pacer.on_sent(train);
                    trains.push((now - start, train));
                }
                Err(later) => {
                    assert!(later > now, "a deadline in the past spins");
                    now = later;
                }
            }
        }
        trains
    }

    #[test]
    fn a_sender_that_asks_all_the_time_still_sends_trains() {
        let (start, input) = (Instant::now(), input(1_200_000, 10));
        let mut pacer = Pacer::new(start, &input);
        let mut trains = Vec::new();
        for micros in 0..100_000 {
            let now = start + Duration::from_micros(micros);
            if let Ok(bytes) = pacer.allowance(now, &input) {
                pacer.on_sent(bytes / 1200 * 1200);
                trains.push(bytes / 1200);
            }
        }
        assert!(trains.iter().all(|datagrams| *datagrams >= MIN_BURST_DATAGRAMS), "{trains:?}");
        // 1.25 times a thousand datagrams each ten milliseconds.
        let sent: u64 = trains.iter().sum();
        assert!((11_000..=12_700).contains(&sent), "{sent}");
    }

    // req-test 9002-7.7-072, 9002-7.7-073, 9002-7.7-074
    #[test]
    fn the_rate_is_five_quarters_of_a_window_per_round_trip_in_bounded_bursts() {
        let (start, input) = (Instant::now(), input(120_000, 100));
        let mut pacer = Pacer::new(start, &input);
        let trains = run(&mut pacer, &input, start, Duration::from_secs(2));
        let total: u64 = trains.iter().map(|(_, bytes)| bytes).sum();
        let expected = 20 * 150_000;
        assert!((expected..expected + 30_000).contains(&total), "{total}");
        assert!(trains.iter().all(|(_, bytes)| *bytes <= 12_000));
    }

    #[test]
    fn slow_start_is_paced_at_twice_the_window() {
        let (start, mut input) = (Instant::now(), input(120_000, 100));
        input.slow_start = true;
        let mut pacer = Pacer::new(start, &input);
        let trains = run(&mut pacer, &input, start, Duration::from_secs(1));
        let total: u64 = trains.iter().map(|(_, bytes)| bytes).sum();
        assert!((2_400_000..2_430_000).contains(&total), "{total}");
    }

    #[test]
    fn fast_paths_send_trains_of_a_millisecond() {
        // 1 MB per ms: a train is far more than ten packets.
        let (start, input) = (Instant::now(), input(8_000_000, 10));
        let mut pacer = Pacer::new(start, &input);
        let trains = run(&mut pacer, &input, start, Duration::from_millis(100));
        assert!(trains.iter().skip(1).all(|(_, bytes)| *bytes > 900_000), "{trains:?}");
        assert!(trains.len() <= 102, "{}", trains.len());
    }

    #[test]
    fn a_small_window_is_not_held_back_for_a_whole_train() {
        let (start, input) = (Instant::now(), input(2_400, 100));
        let mut pacer = Pacer::new(start, &input);
        pacer.on_sent(12_000);
        let Err(later) = pacer.allowance(start, &input) else { panic!("empty bucket") };
        assert_eq!(later - start, Duration::from_millis(40));
        assert_eq!(pacer.allowance(later, &input), Ok(1200));
    }

    #[test]
    fn idle_time_saves_up_one_burst_and_no_more() {
        let (start, input) = (Instant::now(), input(120_000, 100));
        let mut pacer = Pacer::new(start, &input);
        pacer.on_sent(12_000);
        assert_eq!(pacer.allowance(start + Duration::from_secs(60), &input), Ok(12_000));
    }

    #[test]
    fn asking_very_often_does_not_lose_tokens() {
        let (start, input) = (Instant::now(), input(2_400, 300));
        let mut pacer = Pacer::new(start, &input);
        pacer.on_sent(12_000);
        for micros in 0..240_000 {
            let _ = pacer.allowance(start + Duration::from_micros(micros), &input);
        }
        let got = pacer.allowance(start + Duration::from_millis(240), &input);
        assert!(got.is_ok_and(|bytes| bytes >= 2_300), "{got:?}");
    }

    #[test]
    fn extreme_inputs_neither_panic_nor_stall() {
        let start = Instant::now();
        for (window, rtt) in [(u64::MAX / 4, 0), (0, 0), (1, 1_000_000), (2_400, 0)] {
            let mut pacer = Pacer::new(start, &input(window, rtt));
            pacer.on_sent(u64::MAX);
            let _ = pacer.allowance(start, &input(window, rtt));
        }
    }
}
