//! The one source of randomness of the transport: seeded by the caller, never by the system.

use std::fmt;
use std::ops::Range;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A cryptographically strong generator whose whole output follows from its seed.
///
/// Production code seeds it from the operating system at the edge of the program, tests from a
/// printed number.
#[derive(Clone)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A generator that will produce the sequence that belongs to `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// Overwrites all of `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A uniformly distributed 64-bit number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniformly distributed number of the half-open `range`; its start if the range is empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        let span = range.end.saturating_sub(range.start);
        if span == 0 {
            return range.start;
        }
        // Multiply-and-shift maps 64 random bits onto the span; the few low products that would
        // make some results more likely than others are drawn again.
        let rejected_below = span.wrapping_neg() % span;
        loop {
            let product = u128::from(self.u64()) * u128::from(span);
            let [high, low] = [(product >> 64) as u64, product as u64];
            if low >= rejected_below {
                return range.start + high;
            }
        }
    }

    /// True once in `n` draws on average; always for `n` of 0 or 1.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.range(0..n) == 0
    }

    /// An independent generator for another component, so that how much one of them draws does
    /// not change what the other sees.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.array())
    }
}

/// Redacted: the state predicts connection IDs and tokens.
impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_sequence() {
        let mut a = Rng::from_seed([7; 32]);
        let mut b = Rng::from_seed([7; 32]);
        let mut c = Rng::from_seed([8; 32]);
        let first = a.array::<40>();
        assert_eq!(first, b.array::<40>());
        assert_ne!(first, c.array::<40>());
    }

    #[test]
    fn range_stays_inside_and_reaches_every_value() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut seen = [0u32; 6];
        for _ in 0..600 {
            seen[(rng.range(10..16) - 10) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
        assert_eq!(rng.range(5..5), 5);
        assert!(rng.range(0..u64::MAX) < u64::MAX);
    }

    #[test]
    fn fork_is_independent_of_later_draws() {
        let mut a = Rng::from_seed([3; 32]);
        let mut b = Rng::from_seed([3; 32]);
        let mut fork_a = a.fork();
        a.u64();
        let mut fork_b = b.fork();
        assert_eq!(fork_a.u64(), fork_b.u64());
        assert_ne!(a.u64(), b.u64());
    }
}
