//! Queues of streams in which each stream has at most one place, and leaves it in constant time.

const NONE: u32 = u32::MAX;

/// `N` first-in-first-out queues over small keys; a key is in at most one of them.
///
/// The queues are linked through one table indexed by key, so nothing is allocated but for the
/// largest key that was ever queued.
#[derive(Debug)]
pub(super) struct Queues<const N: usize> {
    ends: [Ends; N],
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    queue: u32,
    before: u32,
    after: u32,
}

impl<const N: usize> Default for Queues<N> {
    fn default() -> Self {
        Self { ends: [Ends { first: NONE, last: NONE }; N], links: Vec::new() }
    }
}

impl<const N: usize> Queues<N> {
    /// The key that has waited longest in `queue`.
    #[inline]
    pub(super) fn front(&self, queue: usize) -> Option<usize> {
        let first = self.ends[queue].first;
        (first != NONE).then_some(first as usize)
    }

    /// The queue that `key` is in.
    #[inline]
    pub(super) fn queue_of(&self, key: usize) -> Option<usize> {
        self.links.get(key).filter(|link| link.queue != NONE).map(|link| link.queue as usize)
    }

    /// Puts `key` at the end of `queue`, unless it is in that queue already; from another queue it
    /// moves here.
    pub(super) fn push_back(&mut self, queue: usize, key: usize) {
        match self.queue_of(key) {
            Some(current) if current == queue => return,
            Some(_) => self.remove(key),
            None => {}
        }
        if self.links.len() <= key {
            self.links.resize(key + 1, Link { queue: NONE, before: NONE, after: NONE });
        }
        let last = self.ends[queue].last;
        self.links[key] = Link { queue: queue as u32, before: last, after: NONE };
        match last {
            NONE => self.ends[queue].first = key as u32,
            last => self.links[last as usize].after = key as u32,
        }
        self.ends[queue].last = key as u32;
    }

    /// Takes `key` out of the queue it is in, if any.
    pub(super) fn remove(&mut self, key: usize) {
        let Some(queue) = self.queue_of(key) else { return };
        let Link { before, after, .. } = self.links[key];
        match before {
            NONE => self.ends[queue].first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.ends[queue].last = before,
            after => self.links[after as usize].before = before,
        }
        self.links[key].queue = NONE;
    }

    /// Removes and returns the key that has waited longest in `queue`.
    pub(super) fn pop_front(&mut self, queue: usize) -> Option<usize> {
        let key = self.front(queue)?;
        self.remove(key);
        Some(key)
    }

    /// How many keys are queued; takes time linear in the largest key.
    pub(super) fn len(&self) -> usize {
        self.links.iter().filter(|link| link.queue != NONE).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::util::Rng;

    #[test]
    fn behaves_like_queues_without_duplicates() {
        let mut rng = Rng::from_seed([7; 32]);
        let mut queues = Queues::<3>::default();
        let mut model = vec![VecDeque::new(); 3];
        for _ in 0..20_000 {
            let (key, queue) = (rng.range(0..12) as usize, rng.range(0..3) as usize);
            match rng.range(0..4) {
                0 => {
                    queues.remove(key);
                    model.iter_mut().for_each(|queue| queue.retain(|other| *other != key));
                }
                1 => assert_eq!(queues.pop_front(queue), model[queue].pop_front()),
                _ => {
                    queues.push_back(queue, key);
                    if !model[queue].contains(&key) {
                        model.iter_mut().for_each(|queue| queue.retain(|other| *other != key));
                        model[queue].push_back(key);
                    }
                }
            }
            for (queue, model) in model.iter().enumerate() {
                assert_eq!(queues.front(queue), model.front().copied());
            }
            assert_eq!(queues.len(), model.iter().map(VecDeque::len).sum::<usize>());
        }
    }
}
