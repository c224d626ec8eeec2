//! The smallest or largest of recent samples, in constant space.
//!
//! Three samples are kept: the best of the window, the best after that one, and the best after
//! the second. When the first falls out of the window the second takes its place, so the answer is
//! always a real sample that is at most one window old (Kathleen Nichols' method).

use std::cmp::Reverse;

#[derive(Clone, Copy, Debug)]
struct Sample<V> {
    at: u64,
    value: V,
}

/// The largest value of the last `window` units of time.
///
/// Time is any number that does not decrease: microseconds, round trips, packets.
#[derive(Clone, Copy, Debug)]
pub struct WindowedMax<V> {
    window: u64,
    best: Option<[Sample<V>; 3]>,
}

impl<V: Copy + Ord> WindowedMax<V> {
    /// An empty filter over `window` units of time.
    pub fn new(window: u64) -> Self {
        Self { window, best: None }
    }

    /// The largest value of the window, `None` before the first sample.
    pub fn get(&self) -> Option<V> {
        self.best.map(|[first, ..]| first.value)
    }

    /// Forgets all samples.
    pub fn reset(&mut self) {
        self.best = None;
    }

    /// Changes the length of the window; takes effect with the next sample.
    pub fn set_window(&mut self, window: u64) {
        self.window = window;
    }

    /// Adds a sample taken at `at` and returns the largest value of the window that ends there.
    pub fn update(&mut self, at: u64, value: V) -> V {
        let new = Sample { at, value };
        let [mut first, mut second, mut third] = match self.best {
            Some(best) if value < best[0].value && !self.expired(best[2], at) => best,
            _ => {
                self.best = Some([new; 3]);
                return value;
            }
        };
        if value >= second.value {
            (second, third) = (new, new);
        } else if value >= third.value {
            third = new;
        }
        if self.expired(first, at) {
            (first, second, third) = (second, third, new);
            if self.expired(first, at) {
                (first, second) = (second, third);
            }
        } else if second.at == first.at && at - first.at > self.window / 4 {
            // A quarter of the window without a runner-up: take a fresh one, so that an old
            // maximum is not followed by an equally old one.
            (second, third) = (new, new);
        } else if third.at == second.at && at - second.at > self.window / 2 {
            third = new;
        }
        self.best = Some([first, second, third]);
        first.value
    }

    fn expired(&self, sample: Sample<V>, now: u64) -> bool {
        now.saturating_sub(sample.at) > self.window
    }
}

/// The smallest value of the last `window` units of time; see [`WindowedMax`].
#[derive(Clone, Copy, Debug)]
pub struct WindowedMin<V>(WindowedMax<Reverse<V>>);

impl<V: Copy + Ord> WindowedMin<V> {
    /// An empty filter over `window` units of time.
    pub fn new(window: u64) -> Self {
        Self(WindowedMax::new(window))
    }

    /// The smallest value of the window, `None` before the first sample.
    pub fn get(&self) -> Option<V> {
        self.0.get().map(|Reverse(value)| value)
    }

    /// Forgets all samples.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// Changes the length of the window; takes effect with the next sample.
    pub fn set_window(&mut self, window: u64) {
        self.0.set_window(window);
    }

    /// Adds a sample taken at `at` and returns the smallest value of the window that ends there.
    pub fn update(&mut self, at: u64, value: V) -> V {
        self.0.update(at, Reverse(value)).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_sample_wins_at_once() {
        let mut max = WindowedMax::new(10);
        assert_eq!(max.get(), None);
        assert_eq!(max.update(0, 5), 5);
        assert_eq!(max.update(1, 3), 5);
        assert_eq!(max.update(2, 9), 9);
        assert_eq!(max.get(), Some(9));
    }

    #[test]
    fn an_old_maximum_gives_way_to_the_runner_up() {
        let mut max = WindowedMax::new(10);
        max.update(0, 100);
        max.update(4, 50);
        assert_eq!(max.update(10, 20), 100);
        assert_eq!(max.update(11, 10), 50);
        assert_eq!(max.update(15, 10), 20);
    }

    #[test]
    fn a_long_silence_forgets_everything() {
        let mut min = WindowedMin::new(10);
        min.update(0, 1);
        assert_eq!(min.update(100, 7), 7);
        assert_eq!(min.get(), Some(7));
    }

    #[test]
    fn the_answer_is_never_below_recent_samples_nor_from_outside_the_window() {
        let mut rng = crate::util::Rng::from_seed([42; 32]);
        let mut max = WindowedMax::new(20);
        let mut all = Vec::new();
        let mut at = 0;
        for _ in 0..2000 {
            at += rng.range(0..4);
            let value = rng.range(0..1000);
            all.push((at, value));
            let answer = max.update(at, value);
            assert!(answer >= value);
            assert!(all.iter().any(|&(then, v)| v == answer && at - then <= 20), "at {at}");
        }
    }
}
