use super::*;

const ROOM: usize = 1000;

fn ids() -> (LocalIds, Rng) {
    let mut rng = Rng::from_seed([9; 32]);
    let generator = Generator::default();
    let initial = generator.generate(&mut rng);
    (LocalIds::new(initial, generator, Arc::new(ResetKey::new(&[3; 32]))), rng)
}

/// Issues and announces all that the peer takes.
fn supply(ids: &mut LocalIds, rng: &mut Rng) -> Vec<NewConnectionId> {
    while ids.issue(rng).is_some() {}
    std::iter::from_fn(|| ids.next_frame(ROOM)).collect()
}

// req-test 9000-5.1.1-042, 9000-5.1.1-044, 9000-5.1.1-045, 9000-5.1.1-051, 9000-9.5-198
#[test]
fn the_peer_is_supplied_up_to_its_limit_and_ours_with_ascending_numbers() {
    for (peer_limit, announced) in [(0, 0), (2, 1), (3, 2), (1 << 60, MAX_SUPPLY as usize - 1)] {
        let (mut ids, mut rng) = ids();
        assert_eq!(ids.issue(&mut rng), None, "the limit is not known yet");
        ids.set_peer_limit(peer_limit);
        let frames = supply(&mut ids, &mut rng);
        assert_eq!(frames.len(), announced);
        let numbers: Vec<_> = frames.iter().map(|frame| frame.sequence_number).collect();
        assert_eq!(numbers, (1..=announced as u64).collect::<Vec<_>>());
        assert!(frames.iter().all(|frame| frame.retire_prior_to == 0));
    }
}

#[test]
fn each_connection_id_has_the_token_of_the_reset_key() {
    let (mut ids, mut rng) = ids();
    ids.set_peer_limit(4);
    for frame in supply(&mut ids, &mut rng) {
        let token = ResetKey::new(&[3; 32]).token(&frame.connection_id);
        assert_eq!(frame.stateless_reset_token, token);
    }
}

// req-test 9000-5.1.1-048
#[test]
fn a_retired_connection_id_is_replaced() {
    let (mut ids, mut rng) = ids();
    ids.set_peer_limit(2);
    let second = supply(&mut ids, &mut rng)[0].connection_id;
    let first = ids.initial();
    assert_eq!(ids.on_retire(0, second), Ok(Some(first)));
    assert_eq!(ids.on_retire(0, second), Ok(None), "a repetition changes nothing");
    let frames = supply(&mut ids, &mut rng);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].sequence_number, 2);
    assert_eq!(ids.iter().collect::<Vec<_>>(), [second, frames[0].connection_id]);
}

// req-test 9000-19.16-472
#[test]
fn retiring_what_was_never_sent_is_a_violation() {
    let (mut ids, mut rng) = ids();
    let unissued = Err(TransportError::new(Violation::RetirementOfUnissued));
    assert_eq!(ids.on_retire(1, ConnectionId::EMPTY), unissued);
    ids.set_peer_limit(2);
    ids.issue(&mut rng).unwrap();
    assert_eq!(ids.on_retire(1, ConnectionId::EMPTY), unissued, "made, but not sent");
    ids.next_frame(ROOM).unwrap();
    assert!(ids.on_retire(1, ConnectionId::EMPTY).is_ok());
}

// req-test 9000-19.16-474
#[test]
fn retiring_the_destination_of_the_same_packet_is_a_violation() {
    let (mut ids, _) = ids();
    let current = ids.initial();
    let refused = Err(TransportError::new(Violation::RetirementOfCurrent));
    assert_eq!(ids.on_retire(0, current), refused);
}

#[test]
fn a_lost_announcement_is_repeated_until_it_is_acknowledged() {
    let (mut ids, mut rng) = ids();
    ids.set_peer_limit(2);
    let frame = supply(&mut ids, &mut rng)[0];
    assert!(!ids.has_pending());
    ids.on_lost(1);
    assert!(ids.has_pending());
    assert_eq!(ids.next_frame(ROOM), Some(frame));
    ids.on_acked(1);
    // An older packet with the same announcement is declared lost late.
    ids.on_lost(1);
    assert!(!ids.has_pending());
}

#[test]
fn an_announcement_waits_for_a_packet_with_room() {
    let (mut ids, mut rng) = ids();
    ids.set_peer_limit(2);
    ids.issue(&mut rng).unwrap();
    assert_eq!(ids.next_frame(20), None);
    assert!(ids.has_pending());
    let frame = ids.next_frame(28).unwrap();
    assert_eq!(frame.size(), 28);
}

// req-test 9000-5.1.2-054, 9000-5.1.2-060, 9000-5.1.1-046, 9000-19.15-468
#[test]
fn all_connection_ids_can_be_replaced_once_the_last_replacement_is_complete() {
    let (mut ids, mut rng) = ids();
    assert!(!ids.replace_all(), "the peer has not told how many it takes");
    ids.set_peer_limit(2);
    supply(&mut ids, &mut rng);
    assert!(ids.replace_all());
    let frames = supply(&mut ids, &mut rng);
    let numbers: Vec<_> = frames.iter().map(|f| (f.sequence_number, f.retire_prior_to)).collect();
    assert_eq!(numbers, [(2, 2), (3, 2)]);
    assert_eq!(ids.iter().count(), 4, "the old ones are accepted until they are given back");
    assert!(!ids.replace_all(), "the peer has not given the old ones back");
    ids.on_lost(1);
    let late = ids.next_frame(ROOM).unwrap();
    assert_eq!((late.sequence_number, late.retire_prior_to), (1, 1));
    let current = frames[0].connection_id;
    for old in [0, 1] {
        assert!(ids.on_retire(old, current).unwrap().is_some());
    }
    assert!(supply(&mut ids, &mut rng).is_empty(), "the successors are there already");
    assert!(ids.replace_all());
}
