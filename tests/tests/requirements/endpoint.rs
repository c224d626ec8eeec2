//! RFC 9000 sections 7.2 and 21.11: what only an endpoint with several connections shows.

use std::collections::HashSet;

use quic_testkit::arena::Arena;
use quic_testkit::raw_peer::RawPeer;

use crate::subject::generous;

// req-test 9000-7.2-085
#[test]
fn a_client_begins_with_a_connection_id_that_cannot_be_guessed() {
    let mut arena = Arena::with_defaults();
    let ids: HashSet<_> = (0..20)
        .map(|_| {
            let id = arena.connect_to(|rng, first| RawPeer::server(rng, generous(), first));
            arena.peer(id).original_dcid
        })
        .collect();
    assert_eq!(ids.len(), 20);
    assert!(ids.iter().all(|id| id.len() >= 8));
}

// req-test 9000-21.11-500
#[test]
fn a_damaged_packet_for_a_living_connection_is_not_answered_with_its_reset_token() {
    let mut arena = Arena::with_defaults();
    let client = arena.connected_client();
    let mut damaged = arena.peer(client).one_rtt(&[0x01; 100]);
    *damaged.last_mut().expect("a tag") ^= 1;
    arena.hand_over(client, &damaged);
    assert_eq!(arena.transmit(), []);

    // The same for a connection that is not there.
    let id = arena.peer(client).remote_cid;
    let at = damaged.windows(id.len()).position(|bytes| bytes == id.as_slice());
    damaged[at.expect("the connection ID")] ^= 1;
    arena.hand_over(client, &damaged);
    assert_eq!(arena.transmit().len(), 1);
}
