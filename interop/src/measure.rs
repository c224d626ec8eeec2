//! Rates, percentiles and memory, and how they are written.

use std::time::Duration;

/// Bytes of a mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// "412 MiB/s".
pub(crate) fn byte_rate(bytes: u64, elapsed: Duration) -> String {
    format!("{:.0} MiB/s", per_second(bytes as f64 / MIB as f64, elapsed))
}

/// "8100/s".
pub(crate) fn count_rate(count: usize, elapsed: Duration) -> String {
    format!("{:.0}/s", per_second(count as f64, elapsed))
}

fn per_second(amount: f64, elapsed: Duration) -> f64 {
    amount / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// "0.84 ms", or "1.53 s".
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

/// Measurements of which one wants to know the slow ones.
pub(crate) struct Percentiles {
    sorted: Vec<Duration>,
}

impl Percentiles {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self { sorted: samples }
    }

    /// The smallest measurement that `percent` in a hundred do not exceed; zero of none.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// The most memory in bytes that this process ever had, where the system tells.
pub(crate) fn peak_memory() -> Option<u64> {
    parse_peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements_at_their_rank() {
        let samples = (1..=200).rev().map(Duration::from_millis).collect();
        let percentiles = Percentiles::new(samples);
        assert_eq!(percentiles.at(50), Duration::from_millis(100));
        assert_eq!(percentiles.at(99), Duration::from_millis(198));
        assert_eq!(percentiles.at(100), Duration::from_millis(200));
        assert_eq!(Percentiles::new(vec![]).at(50), Duration::ZERO);
    }

    #[test]
    fn rates_and_durations_have_readable_units() {
        assert_eq!(byte_rate(512 * MIB, Duration::from_secs(2)), "256 MiB/s");
        assert_eq!(count_rate(100, Duration::from_millis(50)), "2000/s");
        assert_eq!(duration(Duration::from_micros(840)), "0.84 ms");
        assert_eq!(duration(Duration::from_millis(1530)), "1.53 s");
    }

    #[test]
    fn the_peak_is_read_from_the_status_of_a_process() {
        let status = "Name:\tx\nVmPeak:\t  9000 kB\nVmHWM:\t    2048 kB\n";
        assert_eq!(parse_peak(status), Some(2 * MIB));
        assert_eq!(parse_peak("Name:\tx\n"), None);
    }
}
