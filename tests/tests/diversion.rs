//! A client that does with paths and connection IDs what no honest one does (RFC 9000 sections 9.3.2
//! and 9.5).

use std::net::SocketAddr;
use std::time::Duration;

use quic_core::connection::PathEvent;
use quic_core::error::{ConnectionError, Violation};
use quic_core::wire::frame::{Frame, NewConnectionId, PathChallenge};
use quic_core::wire::{ConnectionId, PacketType, ResetToken};
use quic_testkit::arena::{Arena, PeerId, cid};
use quic_testkit::net::Datagram;
use quic_testkit::raw_peer::encode;

const PING: &[u8] = &[0x01];

fn elsewhere(n: u8) -> SocketAddr {
    ([198, 51, 100, n], 4000).into()
}

/// The client gives a connection ID, and asks for those below `retire_prior_to`.
fn new_connection_id(sequence_number: u64, retire_prior_to: u64) -> Vec<u8> {
    let byte = sequence_number as u8;
    encode(&[Frame::NewConnectionId(NewConnectionId {
        sequence_number,
        retire_prior_to,
        connection_id: cid(&[byte; 8]),
        stateless_reset_token: ResetToken::new([byte; 16]),
    })])
}

/// The connection IDs that the server has given with frames.
fn spare_ids(arena: &mut Arena, id: PeerId) -> Vec<ConnectionId> {
    arena.peer(id).frames(PacketType::OneRtt, |frame| match frame {
        Frame::NewConnectionId(new) => Some(new.connection_id),
        _ => None,
    })
}

/// A 1-RTT packet of the client to `dcid` arrives from another address. Nobody answers what the
/// server sends; it is returned.
fn send_from(
    arena: &mut Arena,
    id: PeerId,
    from: SocketAddr,
    dcid: ConnectionId,
    frames: &[u8],
) -> Vec<Datagram> {
    let payload = arena.peer(id).packet(PacketType::OneRtt).dcid(dcid).payload(frames).datagram();
    let to = arena.host.address;
    arena.host.receive(arena.now, &Datagram { from, to, ecn: None, payload });
    arena.transmit()
}

/// Time passes, and nobody answers what the server sends, which is returned.
fn wait_in_vain(arena: &mut Arena, duration: Duration) -> Vec<Datagram> {
    let end = arena.now + duration;
    let mut sent = Vec::new();
    while let Some(at) = arena.host.endpoint.next_timeout().filter(|at| *at <= end) {
        arena.now = at.max(arena.now);
        arena.host.handle_timeout(arena.now);
        sent.extend(arena.transmit());
    }
    arena.now = end;
    sent
}

/// A client that has moved under another connection ID, and does not answer there. Also what it
/// sends to.
fn diverted(arena: &mut Arena) -> (PeerId, ConnectionId) {
    let id = arena.connected_client();
    arena.advance(Duration::from_millis(100));
    arena.send_frames(id, &new_connection_id(1, 0));
    let dcid = spare_ids(arena, id)[0];
    send_from(arena, id, elsewhere(1), dcid, PING);
    assert_eq!(arena.connection(id).remote_address(), elsewhere(1));
    (id, dcid)
}

/// Without a word, and at once. The old path goes with the connection ID that the client takes back.
// req-test 9000-9.3.2-184, 9000-9-174
#[test]
fn a_server_that_knows_no_validated_address_forgets_the_connection() {
    let mut arena = Arena::with_defaults();
    let (id, dcid) = diverted(&mut arena);
    let handle = arena.handle(id).unwrap();
    send_from(&mut arena, id, elsewhere(1), dcid, &new_connection_id(2, 2));
    wait_in_vain(&mut arena, Duration::from_secs(2));
    assert!(arena.host.connection(handle).is_some());
    wait_in_vain(&mut arena, Duration::from_secs(3));
    assert!(arena.host.connection(handle).is_none());
    let closed = arena.host.known(handle).closed.clone();
    let Some(ConnectionError::Transport(error)) = closed else { panic!("{closed:?}") };
    assert_eq!(error.reason, Violation::NoViablePath);
}

// req-test 9000-9.3.2-183
#[test]
fn with_the_old_path_known_the_server_returns_to_it() {
    let mut arena = Arena::with_defaults();
    let (id, _) = diverted(&mut arena);
    let (handle, home) = (arena.handle(id).unwrap(), arena.address(id));
    wait_in_vain(&mut arena, Duration::from_secs(5));
    assert_eq!(arena.connection(id).remote_address(), home);
    let moves = [elsewhere(1), home].map(|remote| PathEvent::Moved { remote });
    assert_eq!(arena.host.known(handle).paths, moves);
    assert!(arena.is_alive(id));
}

/// The client has no connection ID to spare for what looks like a third path, and need not have one.
#[test]
fn a_rebinding_right_after_a_move_is_followed_under_the_same_connection_id() {
    let mut arena = Arena::with_defaults();
    let (id, dcid) = diverted(&mut arena);
    let sent = send_from(&mut arena, id, elsewhere(2), dcid, PING);
    assert_eq!(arena.connection(id).remote_address(), elsewhere(2));
    let to_third = sent.iter().find(|d| d.to == elsewhere(2)).expect("a challenge");
    assert_eq!(to_third.payload[1..9], [1; 8]);
}

/// A third path came out of the second as behind a NAT. When the server gives up the second and
/// returns to the first, the third must not get the connection ID of the first.
// req-test 9000-9.5-194
#[test]
fn a_path_keeps_its_connection_id_when_the_server_returns_to_another() {
    let mut arena = Arena::with_defaults();
    let (id, dcid) = diverted(&mut arena);
    let first: Vec<u8> = arena.peer(id).local_cid.as_slice().to_vec();
    wait_in_vain(&mut arena, Duration::from_millis(2500));
    let probe = encode(&[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
    let frames = [&probe[..], &[0; 1100]].concat();
    let mut sent = send_from(&mut arena, id, elsewhere(2), dcid, &frames);
    sent.extend(wait_in_vain(&mut arena, Duration::from_secs(5)));
    assert_eq!(arena.connection(id).remote_address(), arena.address(id));
    let third: Vec<_> = sent.iter().filter(|d| d.to == elsewhere(2)).collect();
    assert!(third.len() >= 2, "challenges before and after");
    for datagram in third {
        assert_ne!(datagram.payload[1..9], first[..], "that of the first path");
    }
}
