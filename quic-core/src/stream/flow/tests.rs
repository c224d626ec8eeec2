use super::*;

const MS: Duration = Duration::from_millis(1);

fn start() -> Instant {
    Instant::now()
}

// req-test 9000-4.1-023, 9000-4.6-036, 9000-19.11-455
#[test]
fn limits_only_rise() {
    let mut credit = SendCredit::new(10);
    assert!(!credit.raise(10) && !credit.raise(3));
    assert_eq!(credit.available(), 10);
    assert!(credit.raise(11));
    credit.consume(11);
    assert_eq!((credit.available(), credit.used()), (0, 11));
}

#[test]
fn being_blocked_is_told_once_for_each_limit_and_again_if_that_was_lost() {
    let mut credit = SendCredit::new(0);
    credit.on_blocked();
    credit.on_blocked();
    assert!(credit.has_blocked_pending());
    credit.on_blocked_sent();
    credit.on_blocked();
    assert!(!credit.has_blocked_pending());
    credit.on_blocked_lost(0);
    assert!(credit.has_blocked_pending());
    credit.on_blocked_sent();
    credit.raise(5);
    credit.on_blocked_lost(0);
    assert!(!credit.has_blocked_pending(), "the old limit interests nobody");
    credit.consume(5);
    credit.on_blocked();
    assert!(credit.has_blocked_pending());
}

#[test]
fn a_repetition_is_only_for_what_is_still_blocked() {
    let mut credit = SendCredit::new(0);
    credit.repeat_blocked();
    assert!(!credit.has_blocked_pending());
    credit.on_blocked();
    credit.on_blocked_sent();
    credit.repeat_blocked();
    assert!(credit.has_blocked_pending());
}

#[test]
fn using_more_than_the_limit_is_refused() {
    let mut credit = ReceiveCredit::new(10, 10, u64::MAX);
    assert_eq!(credit.consume_up_to(10), Ok(10));
    assert_eq!(credit.consume_up_to(4), Ok(0));
    assert_eq!(credit.consume(1), Err(LimitExceeded));
    assert_eq!(credit.consume(u64::MAX), Err(LimitExceeded));
    assert_eq!(credit.consume_up_to(u64::MAX), Err(LimitExceeded));
}

// req-test 9000-4.2-027
#[test]
fn a_new_limit_is_told_when_a_quarter_of_the_window_was_consumed() {
    let mut credit = ReceiveCredit::new(100, 100, u64::MAX);
    credit.consume(50).unwrap();
    credit.give_back(24);
    assert!(!credit.wants_update());
    credit.give_back(1);
    assert!(credit.wants_update());
    assert_eq!(credit.advance(start(), MS), 125);
    assert!(!credit.wants_update());
}

#[test]
fn a_peer_that_is_out_of_credit_hears_of_every_progress() {
    let mut credit = ReceiveCredit::new(100, 100, u64::MAX);
    credit.consume(100).unwrap();
    assert!(!credit.wants_update());
    credit.give_back(1);
    assert!(credit.wants_update(), "the other 99 may be held open for ever");
}

// lesson 21: a lost limit is told again, with the current value
#[test]
fn a_lost_update_is_sent_again_with_the_current_limit() {
    let mut credit = ReceiveCredit::new(100, 100, u64::MAX);
    credit.consume(100).unwrap();
    credit.give_back(30);
    let first = credit.advance(start(), MS);
    credit.give_back(1);
    credit.on_update_lost(first);
    assert!(credit.wants_update());
    assert_eq!(credit.advance(start(), MS), 131);
    credit.on_update_lost(first);
    assert!(!credit.wants_update(), "a newer one is under way");
    credit.on_update_acked(131);
    credit.on_update_lost(131);
    assert!(!credit.wants_update(), "the peer has it");
}

// lesson 19
#[test]
fn a_limit_never_goes_backwards() {
    let mut credit = ReceiveCredit::new(100, 400, u64::MAX);
    let (now, mut limit) = (start(), 100);
    for _ in 0..50 {
        credit.consume(30).unwrap();
        credit.give_back(30);
        let next = credit.advance(now, 1000 * MS);
        assert!(next >= limit);
        limit = next;
    }
}

#[test]
fn no_limit_passes_the_ceiling() {
    let mut credit = ReceiveCredit::new(u64::MAX, u64::MAX, 1000);
    credit.consume(900).unwrap();
    credit.give_back(900);
    assert!(!credit.wants_update(), "there is nothing higher to tell");
    assert_eq!(credit.advance(start(), MS), 1000);
}

/// Runs a sender that always uses all its credit at once, against a reader that takes `rate` bytes
/// per millisecond. The window at the end.
fn window_after(rate: u64, rtt_ms: u32, cap: u64) -> u64 {
    let mut credit = ReceiveCredit::new(10_000, cap, u64::MAX);
    let (mut now, rtt) = (start(), rtt_ms * MS);
    let mut flying: std::collections::VecDeque<(Instant, u64)> = [(now, 10_000)].into();
    let mut received = 0u64;
    for _ in 0..5_000 {
        now += MS;
        while flying.front().is_some_and(|(at, _)| *at <= now) {
            received = flying.pop_front().unwrap().1;
        }
        let n = rate.min(received - credit.used());
        credit.consume(n).unwrap();
        credit.give_back(n);
        if credit.wants_update() {
            flying.push_back((now + rtt, credit.advance(now, rtt)));
        }
    }
    credit.window()
}

#[test]
fn the_window_grows_to_twice_what_is_in_flight_and_no_further() {
    let product = 1_000 * 50;
    let window = window_after(1_000, 50, 100_000_000);
    assert!((product * 3 / 2..=product * 5).contains(&window), "{window}");
    assert_eq!(window_after(10, 50, 100_000_000), 10_000, "slow readers need no window");
    assert_eq!(window_after(1_000, 50, 30_000), 30_000, "the cap is hard");
}
