//! A set of integers kept as sorted, disjoint ranges: received packet numbers, received bytes.

use std::ops::Range;

use smallvec::SmallVec;

/// Ranges held without an allocation.
const INLINE: usize = 8;

/// A set of `u64` stored as ascending half-open ranges that neither overlap nor touch.
///
/// Adding at or after the end, what packets that arrive in order do, costs constant time.
/// The owner bounds the number of ranges with [`limit`](Self::limit).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: SmallVec<[Range<u64>; INLINE]>,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if the set holds no number.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges the set consists of.
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The smallest number of the set.
    #[inline]
    pub fn min(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.start)
    }

    /// The largest number of the set.
    #[inline]
    pub fn max(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.end - 1)
    }

    /// True if `value` is in the set.
    #[inline]
    pub fn contains(&self, value: u64) -> bool {
        self.range_of(value).is_some()
    }

    /// The whole range that `value` lies in.
    pub fn range_of(&self, value: u64) -> Option<Range<u64>> {
        let index = self.first_ending_after(value);
        self.ranges.get(index).filter(|range| range.start <= value).cloned()
    }

    /// True if every number of `range` is in the set; an empty range always is.
    pub fn contains_range(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.range_of(range.start).is_some_and(|found| range.end <= found.end)
    }

    /// The ranges in ascending order; `.rev()` gives them in descending order.
    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone {
        self.ranges.iter().cloned()
    }

    /// The parts of `range` that are not in the set, in ascending order.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let known = self.ranges[self.first_ending_after(range.start)..].iter();
        let starts = known.clone().map(|known| known.start).chain([range.end]);
        let ends = [range.start].into_iter().chain(known.map(|known| known.end));
        ends.zip(starts)
            .take_while(move |(end, _)| *end < range.end)
            .map(move |(end, start)| end..start.min(range.end))
            .filter(|gap| gap.start < gap.end)
    }

    /// Adds one number; true if it was not in the set.
    #[inline]
    pub fn insert_one(&mut self, value: u64) -> bool {
        debug_assert!(value < u64::MAX);
        self.insert(value..value + 1)
    }

    /// Adds all numbers of `range`; true if at least one of them was not in the set.
    #[inline]
    pub fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        match self.ranges.last_mut() {
            Some(last) if range.start < last.start => self.insert_inside(range),
            Some(last) if range.start <= last.end => {
                let grown = range.end > last.end;
                last.end = last.end.max(range.end);
                grown
            }
            _ => {
                self.ranges.push(range);
                true
            }
        }
    }

    fn insert_inside(&mut self, range: Range<u64>) -> bool {
        // Everything from `from` to `to` overlaps or touches the new range and melts into it.
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = self.ranges.partition_point(|r| r.start <= range.end);
        if from == to {
            self.ranges.insert(from, range);
            return true;
        }
        let merged =
            range.start.min(self.ranges[from].start)..range.end.max(self.ranges[to - 1].end);
        if merged == self.ranges[from] {
            return false;
        }
        self.ranges[from] = merged;
        self.ranges.drain(from + 1..to);
        true
    }

    /// Removes all numbers of `range`; true if at least one of them was in the set.
    pub fn remove(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        let from = self.first_ending_after(range.start);
        let to = self.ranges.partition_point(|r| r.start < range.end);
        if from >= to {
            return false;
        }
        let before = self.ranges[from].start..range.start;
        let after = range.end..self.ranges[to - 1].end;
        self.ranges.drain(from..to);
        if !after.is_empty() {
            self.ranges.insert(from, after);
        }
        if !before.is_empty() {
            self.ranges.insert(from, before);
        }
        true
    }

    /// Removes all numbers below `end`; true if there were any.
    pub fn remove_below(&mut self, end: u64) -> bool {
        self.remove(0..end)
    }

    /// Removes and returns the lowest range.
    pub fn pop_first(&mut self) -> Option<Range<u64>> {
        (!self.ranges.is_empty()).then(|| self.ranges.remove(0))
    }

    /// Keeps the `count` highest ranges and drops the lower ones, so that a peer that leaves holes
    /// cannot make the set grow.
    pub fn limit(&mut self, count: usize) {
        let excess = self.ranges.len().saturating_sub(count);
        if excess > 0 {
            self.ranges.drain(..excess);
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    fn first_ending_after(&self, value: u64) -> usize {
        match self.ranges.last() {
            // Most questions are about the newest range.
            Some(last) if last.start <= value => self.ranges.len() - usize::from(value < last.end),
            _ => self.ranges.partition_point(|range| range.end <= value),
        }
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges(set: &RangeSet) -> Vec<Range<u64>> {
        set.iter().collect()
    }

    #[test]
    fn numbers_in_order_stay_one_range() {
        let mut set = RangeSet::new();
        for n in 0..1000 {
            assert!(set.insert_one(n));
        }
        assert!(!set.insert_one(999));
        assert_eq!(ranges(&set), [0..1000]);
        assert_eq!((set.min(), set.max()), (Some(0), Some(999)));
    }

    #[test]
    fn a_range_that_fills_a_hole_joins_its_neighbours() {
        let mut set: RangeSet = [0..5, 10..15, 20..25].into_iter().collect();
        assert!(set.insert(5..10));
        assert_eq!(ranges(&set), [0..15, 20..25]);
        assert!(!set.insert(3..12));
        assert!(set.insert(0..30));
        assert_eq!(ranges(&set), [0..30]);
    }

    #[test]
    fn removing_the_middle_splits_a_range() {
        let mut set: RangeSet = [0..10].into_iter().collect();
        assert!(set.remove(3..6));
        assert!(!set.remove(3..6));
        assert_eq!(ranges(&set), [0..3, 6..10]);
        assert!(set.remove_below(7));
        assert_eq!(ranges(&set), [7..10]);
    }

    #[test]
    fn limit_drops_the_lowest_ranges() {
        let mut set: RangeSet = (0..20).map(|n| n * 3..n * 3 + 1).collect();
        set.limit(2);
        assert_eq!(ranges(&set), [54..55, 57..58]);
        set.limit(9);
        assert_eq!(set.len(), 2);
        assert_eq!(set.pop_first(), Some(54..55));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Range<u64>),
        Remove(Range<u64>),
    }

    fn op() -> impl Strategy<Value = Op> {
        (any::<bool>(), 0u64..60, 0u64..12).prop_map(|(insert, start, len)| match insert {
            true => Op::Insert(start..start + len),
            false => Op::Remove(start..start + len),
        })
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_integers(ops in prop::collection::vec(op(), 0..60)) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for op in ops {
                match op {
                    Op::Insert(range) => {
                        let newly = range.clone().fold(false, |any, n| model.insert(n) | any);
                        prop_assert_eq!(set.insert(range), newly);
                    }
                    Op::Remove(range) => {
                        let any = range.clone().fold(false, |any, n| model.remove(&n) | any);
                        prop_assert_eq!(set.remove(range), any);
                    }
                }
                for n in 0..75 {
                    prop_assert_eq!(set.contains(n), model.contains(&n));
                }
                let all = ranges(&set);
                prop_assert!(all.iter().all(|r| r.start < r.end));
                prop_assert!(all.windows(2).all(|w| w[0].end < w[1].start));
                prop_assert!(all.iter().all(|r| set.contains_range(r.clone())));
                for start in [0, 7, 30] {
                    let gaps: Vec<_> = set.gaps(start..50).flatten().collect();
                    let expected: Vec<_> = (start..50).filter(|n| !model.contains(n)).collect();
                    prop_assert_eq!(gaps, expected);
                }
            }
        }
    }
}
