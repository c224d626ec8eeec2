use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 3;
const ROOM: usize = 100;

fn id(n: u64) -> ConnectionId {
    ConnectionId::new(&n.to_be_bytes()).unwrap()
}

fn token(n: u64) -> ResetToken {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    ResetToken::new(bytes)
}

fn new_id(sequence_number: u64, retire_prior_to: u64) -> NewConnectionId {
    NewConnectionId {
        sequence_number,
        retire_prior_to,
        connection_id: id(sequence_number),
        stateless_reset_token: token(sequence_number),
    }
}

fn ids() -> RemoteIds {
    let mut ids = RemoteIds::new(id(77), LIMIT);
    ids.set_initial(id(0));
    ids.set_initial_reset_token(token(0));
    ids
}

fn retirements(ids: &mut RemoteIds) -> Vec<u64> {
    std::iter::from_fn(|| ids.next_frame(ROOM)).map(|frame| frame.sequence_number).collect()
}

fn violation(result: Result<bool, TransportError>) -> Violation {
    result.unwrap_err().reason
}

// req-test 9000-5.1.1-047
#[test]
fn one_connection_id_too_many_ends_the_connection() {
    let mut ids = ids();
    assert_eq!(ids.on_new(&new_id(1, 0)), Ok(false));
    assert_eq!(ids.on_new(&new_id(2, 0)), Ok(false));
    assert_eq!(violation(ids.on_new(&new_id(3, 0))), Violation::ConnectionIdLimit);
}

// req-test 9000-5.1.2-056, 9000-5.1.1-047
#[test]
fn all_connection_ids_can_be_replaced_without_exceeding_the_limit() {
    let mut ids = ids();
    ids.on_new(&new_id(1, 0)).unwrap();
    ids.on_new(&new_id(2, 0)).unwrap();
    assert!(ids.on_new(&new_id(3, 3)).unwrap(), "packets go elsewhere");
    assert_eq!(ids.reset_token(None), Some(token(3)));
    assert_eq!(ids.active(), id(3));
    let mut retired = retirements(&mut ids);
    retired.sort_unstable();
    assert_eq!(retired, [0, 1, 2]);
}

// req-test 9000-19.15-466
#[test]
fn the_same_frame_twice_is_no_error_even_after_retirement() {
    let mut ids = ids();
    ids.on_new(&new_id(1, 0)).unwrap();
    assert_eq!(ids.on_new(&new_id(1, 0)), Ok(false));
    ids.on_new(&new_id(2, 2)).unwrap();
    assert_eq!(retirements(&mut ids).len(), 2);
    assert_eq!(ids.on_new(&new_id(1, 0)), Ok(false));
    assert!(retirements(&mut ids).is_empty(), "it was given back already");
}

// req-test 9000-19.15-467, 9000-10.3.2-266
#[test]
fn contradictions_are_violations() {
    let first = new_id(1, 0);
    let contradictions = [
        (NewConnectionId { connection_id: id(9), ..first }, Violation::NewConnectionIdConflict),
        (
            NewConnectionId { stateless_reset_token: token(9), ..first },
            Violation::NewConnectionIdConflict,
        ),
        (NewConnectionId { sequence_number: 2, ..first }, Violation::NewConnectionIdConflict),
        (
            NewConnectionId { stateless_reset_token: token(1), ..new_id(2, 0) },
            Violation::ResetTokenReused,
        ),
        (
            NewConnectionId { connection_id: id(0), ..new_id(2, 0) },
            Violation::NewConnectionIdConflict,
        ),
        (
            NewConnectionId { connection_id: id(9), ..new_id(0, 0) },
            Violation::NewConnectionIdConflict,
        ),
    ];
    for (frame, expected) in contradictions {
        let mut ids = ids();
        ids.on_new(&first).unwrap();
        assert_eq!(violation(ids.on_new(&frame)), expected, "{frame:?}");
    }
}

// req-test 9000-19.15-465
#[test]
fn a_peer_without_connection_ids_cannot_issue_any() {
    let mut ids = RemoteIds::new(ConnectionId::EMPTY, LIMIT);
    assert_eq!(violation(ids.on_new(&new_id(1, 0))), Violation::NewConnectionIdUnwanted);
}

// req-test 9000-19.15-470, 9000-19.15-471
#[test]
fn a_late_connection_id_below_retire_prior_to_is_given_back_at_once() {
    let mut ids = ids();
    ids.on_new(&new_id(3, 3)).unwrap();
    assert_eq!(retirements(&mut ids), [0]);
    assert_eq!(ids.on_new(&new_id(1, 1)), Ok(false));
    assert_eq!(retirements(&mut ids), [1]);
    assert_eq!(ids.active(), id(3));
    ids.on_new(&new_id(4, 0)).unwrap();
    assert_eq!(ids.active(), id(3), "a smaller Retire Prior To says nothing");
}

// req-test 9000-10.3.1-258
#[test]
fn only_the_token_of_the_connection_id_in_use_resets() {
    let mut ids = ids();
    ids.on_new(&new_id(1, 0)).unwrap();
    assert!(ids.is_reset_token(&token(0)));
    assert!(!ids.is_reset_token(&token(1)), "not used yet");
    ids.on_new(&new_id(2, 1)).unwrap();
    assert!(ids.is_reset_token(&token(1)));
    assert!(!ids.is_reset_token(&token(0)), "retired");
    assert!(!RemoteIds::new(id(0), LIMIT).is_reset_token(&token(0)));
}

#[test]
fn a_lost_retirement_is_repeated_until_it_is_acknowledged() {
    let mut ids = ids();
    ids.on_new(&new_id(1, 1)).unwrap();
    assert_eq!(ids.next_frame(1), None, "no room");
    assert_eq!(retirements(&mut ids), [0]);
    assert!(!ids.has_pending());
    ids.on_lost(0);
    assert!(ids.has_pending());
    assert_eq!(retirements(&mut ids), [0]);
    ids.on_acked(0);
    ids.on_lost(0);
    assert!(!ids.has_pending());
}

// req-test 9000-5.1.2-057, 9000-5.1.2-058, 9000-5.1.2-059
#[test]
fn retirements_that_are_never_acknowledged_hit_a_limit_of_more_than_twice_the_ids() {
    let mut ids = ids();
    let refused_at = (1..100).find(|&n| ids.on_new(&new_id(n, n)).is_err()).unwrap();
    assert!(refused_at > 2 * LIMIT, "refused at {refused_at}");
    assert_eq!(violation(ids.on_new(&new_id(100, 100))), Violation::TooManyRetirements);
}

#[test]
fn holes_in_the_sequence_do_not_make_memory_grow() {
    let mut ids = ids();
    let refused = (1..10_000).find_map(|n| {
        let result = ids.on_new(&new_id(2 * n, 2 * n));
        std::iter::from_fn(|| ids.next_frame(ROOM)).count();
        (0..2 * n).for_each(|sequence| ids.on_acked(sequence));
        result.err()
    });
    assert_eq!(refused.unwrap().reason, Violation::ConnectionIdLimit);
}

proptest! {
    /// Whatever the peer announces, in whatever order and with whatever losses: memory stays within
    /// the limits, and each connection ID below Retire Prior To is given back exactly once.
    #[test]
    fn announcements_in_any_order_keep_the_invariants(
        frames in prop::collection::vec((1u64..12, 0u64..12), 0..60),
    ) {
        let mut ids = ids();
        let mut given_back = Vec::new();
        for (sequence, prior) in frames {
            if ids.on_new(&new_id(sequence, prior.min(sequence))).is_err() {
                break;
            }
            given_back.extend(retirements(&mut ids));
            given_back.iter().for_each(|&sequence| ids.on_acked(sequence));
            prop_assert!(ids.spare.len() < LIMIT as usize);
            prop_assert!(ids.active.sequence >= ids.retire_prior_to);
            prop_assert!(!given_back.contains(&ids.active.sequence));
        }
        let count = given_back.len();
        given_back.sort_unstable();
        given_back.dedup();
        prop_assert_eq!(count, given_back.len());
    }
}
