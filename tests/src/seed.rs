//! Where all luck of a test comes from.

use quic_core::util::Rng;

/// The number that a run follows from.
///
/// Tests choose their seeds themselves, so that they are the same every time; the environment
/// variable `QUIC_SEED` replaces them all, to replay what a failed test has printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// `default`, or the value of `QUIC_SEED`.
    ///
    /// # Panics
    ///
    /// If `QUIC_SEED` is set and no number.
    pub fn or_env(default: u64) -> Self {
        Self(Self::from_env().unwrap_or(default))
    }

    /// The seeds of `range`, or only `QUIC_SEED` if it is set. `QUIC_SEEDS=<n>` makes the range
    /// `n` times as long, for a search that takes its time.
    ///
    /// # Panics
    ///
    /// If a variable is set and no number.
    pub fn range(range: std::ops::Range<u64>) -> impl Iterator<Item = Self> {
        let only = Self::from_env();
        let times = std::env::var("QUIC_SEEDS").map_or(1, |n| n.parse().expect("a number"));
        let len = (range.end - range.start) * times;
        let range = if only.is_some() { 0..0 } else { range.start..range.start + len };
        only.into_iter().chain(range).map(Self)
    }

    fn from_env() -> Option<u64> {
        let seed = std::env::var("QUIC_SEED").ok()?;
        Some(seed.parse().expect("QUIC_SEED is a number"))
    }

    /// The generator that belongs to this seed.
    pub fn rng(self) -> Rng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.0.to_be_bytes());
        Rng::from_seed(seed)
    }

    /// The command that runs the test on this thread again with this seed.
    pub fn replay(self) -> String {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("<name of the test>");
        format!("QUIC_SEED={} cargo test -p quic-testkit {test}", self.0)
    }
}
