//! Answers to PATH_CHALLENGE (RFC 9000 section 8.2.2).

use std::collections::VecDeque;

use crate::wire::frame::PathResponse;

/// More challenges than an honest peer has on its way at once; a flood of them pushes its own
/// oldest ones out.
const MAX_PENDING: usize = 8;

/// Challenges that wait for a packet with room for the answer.
#[derive(Debug, Default)]
pub struct PendingResponses(VecDeque<[u8; 8]>);

impl PendingResponses {
    /// Remembers to echo `data` once.
    // req 9000-8.2.2-159, 9000-8.2.2-165, 9000-19.17-476
    pub fn push(&mut self, data: [u8; 8]) {
        if self.0.len() == MAX_PENDING {
            self.0.pop_front();
        }
        self.0.push_back(data);
    }

    /// True if no answer is due.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to the oldest challenge, if it fits into `room` bytes.
    pub fn next(&mut self, room: usize) -> Option<PathResponse> {
        if room < PathResponse::SIZE {
            return None;
        }
        self.0.pop_front().map(|data| PathResponse { data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9000-8.2.2-159, 9000-8.2.2-165, 9000-19.17-476
    #[test]
    fn each_challenge_is_echoed_once_in_order() {
        let mut responses = PendingResponses::default();
        responses.push([1; 8]);
        responses.push([2; 8]);
        assert_eq!(responses.next(8), None, "no room");
        assert_eq!(responses.next(9), Some(PathResponse { data: [1; 8] }));
        assert_eq!(responses.next(9), Some(PathResponse { data: [2; 8] }));
        assert_eq!(responses.next(9), None);
        assert!(responses.is_empty());
    }

    #[test]
    fn a_flood_of_challenges_costs_bounded_memory_and_the_newest_are_answered() {
        let mut responses = PendingResponses::default();
        for n in 0..10_000u64 {
            responses.push(n.to_be_bytes());
        }
        let answered: Vec<_> = std::iter::from_fn(|| responses.next(100)).collect();
        assert_eq!(answered.len(), MAX_PENDING);
        assert_eq!(answered.last(), Some(&PathResponse { data: 9_999u64.to_be_bytes() }));
    }
}
