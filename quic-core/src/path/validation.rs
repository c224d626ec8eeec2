//! Whether datagrams get through to the peer and back: our own challenges (RFC 9000 section 8.2).

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Challenges of one validation that can be answered: with the backoff between them there are
/// hardly more before it is given up.
const MAX_OUTSTANDING: usize = 4;

/// Validation of one path by this side.
#[derive(Clone, Debug, Default)]
pub struct PathValidation(State);

#[derive(Clone, Debug, Default)]
enum State {
    /// Nobody asked, or it was answered.
    #[default]
    Idle,
    Running(Running),
    /// Nobody answered in time.
    Failed,
}

#[derive(Clone, Debug)]
struct Running {
    /// When the next challenge is to be sent.
    next_at: Instant,
    give_up_at: Instant,
    /// How often `next_at` was put off.
    sent: u32,
    outstanding: SmallVec<[Outstanding; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    data: [u8; 8],
    sent_at: Instant,
    full_size: bool,
}

/// A challenge was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// From challenge to answer.
    pub elapsed: Duration,
    /// The challenge was in a datagram of the size that every QUIC path must carry.
    pub full_size: bool,
}

impl PathValidation {
    /// Begins to challenge, at once and then ever more rarely, until `give_up_at`. A validation
    /// that runs already goes on as it is.
    pub fn begin(&mut self, now: Instant, give_up_at: Instant) {
        if !self.is_running() {
            let outstanding = SmallVec::new();
            self.0 = State::Running(Running { next_at: now, give_up_at, sent: 0, outstanding });
        }
    }

    /// True while an answer is waited for.
    pub fn is_running(&self) -> bool {
        matches!(self.0, State::Running(_))
    }

    /// True if nobody answered in time.
    pub fn has_failed(&self) -> bool {
        matches!(self.0, State::Failed)
    }

    /// True if a challenge should be sent now.
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(&self.0, State::Running(running) if running.next_at <= now)
    }

    /// True if this validation has sent a challenge.
    pub fn was_sent(&self) -> bool {
        matches!(&self.0, State::Running(running) if running.sent > 0)
    }

    /// A challenge with `data` was sent. The next one follows after `interval`, which is doubled
    /// each time, if there is no answer.
    // req 9000-8.2.1-152, 9000-8.2.1-154, 9000-9.4-191
    pub fn on_sent(&mut self, now: Instant, data: [u8; 8], full_size: bool, interval: Duration) {
        let State::Running(running) = &mut self.0 else { return };
        if running.outstanding.len() == MAX_OUTSTANDING {
            running.outstanding.remove(0);
        }
        running.outstanding.push(Outstanding { data, sent_at: now, full_size });
        running.next_at = now + interval.saturating_mul(1 << running.sent.min(8));
        running.sent += 1;
    }

    /// A PATH_RESPONSE with `data` arrived, over whichever path. Ends the validation if it answers
    /// one of its challenges.
    // req 9000-8.2.2-162
    pub fn on_response(&mut self, now: Instant, data: [u8; 8]) -> Option<Answered> {
        let State::Running(running) = &self.0 else { return None };
        let challenge = running.outstanding.iter().find(|challenge| challenge.data == data)?;
        let elapsed = now.saturating_duration_since(challenge.sent_at);
        let answered = Answered { elapsed, full_size: challenge.full_size };
        self.0 = State::Idle;
        Some(answered)
    }

    /// When to look at it again. What must not be sent now does not wait for a time.
    pub fn deadline(&self, may_send: bool) -> Option<Instant> {
        match &self.0 {
            State::Running(running) if may_send => Some(running.next_at.min(running.give_up_at)),
            State::Running(running) => Some(running.give_up_at),
            State::Idle | State::Failed => None,
        }
    }

    /// Gives up if it is time for that. True once.
    // req 9000-8.2.4-167
    pub fn give_up_if_due(&mut self, now: Instant) -> bool {
        let due = matches!(&self.0, State::Running(running) if running.give_up_at <= now);
        if due {
            self.0 = State::Failed;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn running(now: Instant) -> PathValidation {
        let mut validation = PathValidation::default();
        validation.begin(now, now + 3000 * MS);
        validation
    }

    // req-test 9000-8.2.1-152, 9000-8.2.1-154, 9000-9.4-191
    #[test]
    fn challenges_are_repeated_ever_more_rarely_until_the_end() {
        let start = Instant::now();
        let mut validation = running(start);
        let mut sent = Vec::new();
        let mut now = start;
        while !validation.has_failed() {
            if validation.is_due(now) {
                validation.on_sent(now, [sent.len() as u8; 8], true, 100 * MS);
                sent.push((now - start).as_millis());
            }
            now = validation.deadline(true).unwrap();
            validation.give_up_if_due(now);
        }
        assert_eq!(sent, [0, 100, 300, 700, 1500]);
        assert_eq!(now - start, 3000 * MS);
        assert_eq!(validation.deadline(true), None);
    }

    // req-test 9000-8.2.2-162
    #[test]
    fn only_what_was_asked_is_an_answer_and_only_once() {
        let now = Instant::now();
        let mut validation = running(now);
        validation.on_sent(now, [1; 8], false, 100 * MS);
        validation.on_sent(now + 100 * MS, [2; 8], true, 100 * MS);
        assert_eq!(validation.on_response(now, [3; 8]), None);
        let answered = validation.on_response(now + 150 * MS, [1; 8]);
        assert_eq!(answered, Some(Answered { elapsed: 150 * MS, full_size: false }));
        assert_eq!(validation.on_response(now, [2; 8]), None, "it is over");
        assert!(!validation.is_running() && !validation.has_failed());
    }

    #[test]
    fn a_validation_that_runs_does_not_begin_again() {
        let now = Instant::now();
        let mut validation = running(now);
        validation.on_sent(now, [1; 8], true, 100 * MS);
        validation.begin(now + 10 * MS, now + 9000 * MS);
        assert!(!validation.is_due(now + 10 * MS));
        assert!(validation.give_up_if_due(now + 3000 * MS));
    }
}
