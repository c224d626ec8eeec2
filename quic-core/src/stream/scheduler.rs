//! Decides which stream fills the next packet.
//!
//! Lower urgency goes first. Within a level, incremental streams take turns by a quantum of bytes,
//! and a stream that is not incremental keeps its turn until it has nothing left to send. Choosing
//! costs the same whatever the number of streams, because a stream that cannot send is not in here,
//! and a stream that waits for the connection's flow control is kept apart from one that does not.

use super::queue::Queues;

/// Bytes that an incremental stream may send before it is the next stream's turn.
const QUANTUM: u64 = 16 * 1024;

const LEVELS: usize = Priority::LOWEST_URGENCY as usize + 1;

/// How a stream shares the connection with others (the parameters of RFC 9218, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From 0, the most urgent, to 7; larger values count as 7. Streams of a level send only when
    /// no stream of a more urgent level can.
    pub urgency: u8,
    /// True if the stream takes turns with others of its level; false if it goes on until it has
    /// nothing left to send.
    pub incremental: bool,
}

impl Priority {
    /// The least urgent level.
    pub const LOWEST_URGENCY: u8 = 7;

    fn level(self) -> usize {
        usize::from(self.urgency.min(Self::LOWEST_URGENCY))
    }
}

impl Default for Priority {
    /// Urgency 3, and streams take turns.
    fn default() -> Self {
        Self { urgency: 3, incremental: true }
    }
}

/// What a stream that wants to send needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Room in a packet: what it sends was paid for before, or has no bytes.
    Room = 0,
    /// Room in a packet and credit of the connection.
    Credit = 1,
}

/// The streams that can send, in the order in which they shall.
#[derive(Debug)]
pub(super) struct Scheduler {
    queues: Queues<{ 2 * LEVELS }>,
    /// One bit per level for each demand, set if a stream is queued there.
    occupied: [u8; 2],
    /// What the first stream of each queue may still send in its turn.
    quantum: [u64; 2 * LEVELS],
}

impl Default for Scheduler {
    fn default() -> Self {
        Self { queues: Queues::default(), occupied: [0; 2], quantum: [QUANTUM; 2 * LEVELS] }
    }
}

impl Scheduler {
    /// Books what the stream `key` wants now. It keeps its place if it wanted the same before.
    pub(super) fn set(&mut self, key: usize, priority: Priority, demand: Option<Demand>) {
        let Some(demand) = demand else { return self.leave(key) };
        let queue = queue_index(demand, priority.level());
        if self.queues.queue_of(key) == Some(queue) {
            return;
        }
        self.leave(key);
        self.queues.push_back(queue, key);
        self.occupied[demand as usize] |= 1 << priority.level();
    }

    /// The stream whose turn it is, if one can send with or without `credit` of the connection.
    #[inline]
    pub(super) fn next(&self, credit: bool) -> Option<usize> {
        let paid = if credit { self.occupied[Demand::Credit as usize] } else { 0 };
        let room = self.occupied[Demand::Room as usize];
        let level = (paid | room).trailing_zeros() as usize;
        if level >= LEVELS {
            return None;
        }
        let demand = if room & (1 << level) != 0 { Demand::Room } else { Demand::Credit };
        self.queues.front(queue_index(demand, level))
    }

    /// True if a stream can send, with or without `credit` of the connection.
    #[inline]
    pub(super) fn has_work(&self, credit: bool) -> bool {
        self.occupied[Demand::Room as usize] != 0
            || (credit && self.occupied[Demand::Credit as usize] != 0)
    }

    /// True if a stream waits for nothing but credit of the connection.
    #[inline]
    pub(super) fn has_demand_for_credit(&self) -> bool {
        self.occupied[Demand::Credit as usize] != 0
    }

    /// Counts `bytes` that the stream `key`, whose turn it was, has sent.
    pub(super) fn charge(&mut self, key: usize, priority: Priority, bytes: u64) {
        let Some(queue) = self.queues.queue_of(key) else { return };
        self.quantum[queue] = self.quantum[queue].saturating_sub(bytes);
        if self.quantum[queue] == 0 {
            self.quantum[queue] = QUANTUM;
            if priority.incremental {
                self.queues.remove(key);
                self.queues.push_back(queue, key);
            }
        }
    }

    /// Number of queued streams; takes time linear in the number of streams.
    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    fn leave(&mut self, key: usize) {
        let Some(queue) = self.queues.queue_of(key) else { return };
        if self.queues.front(queue) == Some(key) {
            self.quantum[queue] = QUANTUM;
        }
        self.queues.remove(key);
        if self.queues.front(queue).is_none() {
            self.occupied[queue / LEVELS] &= !(1 << (queue % LEVELS));
        }
    }
}

fn queue_index(demand: Demand, level: usize) -> usize {
    demand as usize * LEVELS + level
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: Priority = Priority { urgency: 3, incremental: true };
    const WHOLE: Priority = Priority { urgency: 3, incremental: false };

    fn order(scheduler: &mut Scheduler, priority: Priority, picks: usize) -> Vec<usize> {
        let pick = |_| {
            let key = scheduler.next(true).unwrap();
            scheduler.charge(key, priority, QUANTUM / 2);
            key
        };
        (0..picks).map(pick).collect()
    }

    // req-test 9000-2.3-006
    #[test]
    fn the_most_urgent_stream_goes_first() {
        let mut scheduler = Scheduler::default();
        for (key, urgency) in [(0, 5), (1, 0), (2, 200)] {
            let priority = Priority { urgency, incremental: true };
            scheduler.set(key, priority, Some(Demand::Credit));
        }
        for expected in [1, 0, 2] {
            assert_eq!(scheduler.next(true), Some(expected));
            scheduler.set(expected, TURNS, None);
        }
        assert_eq!(scheduler.next(true), None);
    }

    #[test]
    fn incremental_streams_take_turns_by_bytes() {
        let mut scheduler = Scheduler::default();
        (0..3).for_each(|key| scheduler.set(key, TURNS, Some(Demand::Credit)));
        assert_eq!(order(&mut scheduler, TURNS, 8), [0, 0, 1, 1, 2, 2, 0, 0]);
    }

    #[test]
    fn a_stream_that_is_not_incremental_finishes_first() {
        let mut scheduler = Scheduler::default();
        (0..2).for_each(|key| scheduler.set(key, WHOLE, Some(Demand::Credit)));
        assert_eq!(order(&mut scheduler, WHOLE, 5), [0; 5]);
        scheduler.set(0, WHOLE, None);
        assert_eq!(order(&mut scheduler, WHOLE, 5), [1; 5]);
    }

    #[test]
    fn streams_that_need_credit_wait_without_hiding_those_that_need_none() {
        let mut scheduler = Scheduler::default();
        scheduler.set(0, Priority { urgency: 0, incremental: true }, Some(Demand::Credit));
        assert_eq!((scheduler.next(false), scheduler.has_work(false)), (None, false));
        scheduler.set(1, Priority { urgency: 7, incremental: true }, Some(Demand::Room));
        assert_eq!((scheduler.next(false), scheduler.has_work(false)), (Some(1), true));
        assert_eq!((scheduler.next(true), scheduler.has_demand_for_credit()), (Some(0), true));
    }

    #[test]
    fn a_stream_is_queued_once_and_a_new_turn_has_a_whole_quantum() {
        let mut scheduler = Scheduler::default();
        scheduler.set(0, TURNS, Some(Demand::Credit));
        scheduler.set(0, TURNS, Some(Demand::Credit));
        scheduler.charge(0, TURNS, QUANTUM - 1);
        scheduler.set(0, TURNS, None);
        scheduler.set(0, TURNS, None);
        assert_eq!((scheduler.next(true), scheduler.len()), (None, 0));
        (0..2).for_each(|key| scheduler.set(key, TURNS, Some(Demand::Credit)));
        assert_eq!(order(&mut scheduler, TURNS, 4), [0, 0, 1, 1]);
    }
}
