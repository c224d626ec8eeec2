//! Versions of QUIC: version 2, moving to it and away from it, and who tries to hinder that
//! (RFC 9368, RFC 9369).

use std::time::Duration;

use quic_core::error::{ConnectionError, Discard, Violation};
use quic_core::wire::cursor::Writer;
use quic_core::wire::header::{Header, VersionNegotiationPacket};
use quic_core::wire::transport_params::VersionInformation;
use quic_core::wire::{PacketType, Side, TransportErrorCode, TransportParameters, Version};
use quic_testkit::app::{HalfPlan, StreamPlan, plan};
use quic_testkit::arena::{Arena, generous_parameters};
use quic_testkit::net::{Datagram, Link};
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::raw_peer::RawPeer;
use quic_testkit::seed::Seed;

const V1: Version = Version::V1;
const V2: Version = Version::V2;
const RESERVED: Version = Version::reserved(0x1357_9bdf);
const LIMIT: Duration = Duration::from_secs(60);
const PERCENT: u64 = 10_000;

/// A client that begins with `first` and offers `offered`, and a server that speaks `server`.
fn setup(seed: u64, first: Version, offered: &[Version], server: &[Version]) -> Setup {
    let setup = Setup::new(Seed::or_env(seed));
    let endpoint = setup.endpoint.clone().supported_versions(server);
    Setup { versions: (first, offered.to_vec()), endpoint, ..setup }
}

/// Loses, reorders, duplicates and damages.
fn rough() -> Link {
    Link {
        loss_ppm: 10 * PERCENT,
        reorder_ppm: 10 * PERCENT,
        duplicate_ppm: 5 * PERCENT,
        corrupt_ppm: 2 * PERCENT,
        ..Link::default()
    }
}

/// Sends something each way, and returns the pair with the connection still open.
#[track_caller]
fn transfer(setup: Setup) -> Pair {
    let mut pair = setup.build();
    let half = HalfPlan::whole(100_000);
    let stream = StreamPlan { opener: Side::Client, forward: half, back: Some(half) };
    pair.run_plan(&plan(&[stream]));
    pair.connect();
    pair.drive_until(LIMIT, Pair::plan_is_done);
    pair
}

/// The versions of packets of type `ty` that went to the server, or to the client, without
/// repetitions.
fn versions(pair: &Pair, to_server: bool, ty: PacketType) -> Vec<Version> {
    let mut all: Vec<Version> = pair
        .crossings
        .iter()
        .filter(|crossing| crossing.to_server == to_server)
        .flat_map(|crossing| &crossing.versions)
        .filter_map(|(kind, version)| (*kind == ty).then_some(*version))
        .collect();
    all.dedup();
    all
}

/// How the client's only connection ended.
fn client_error(pair: &mut Pair) -> ConnectionError {
    let handle = pair.client.handles()[0];
    pair.drive_until(LIMIT, |pair| pair.client.known(handle).closed.is_some());
    pair.client.known(handle).closed.clone().expect("closed")
}

fn violation(error: &ConnectionError) -> Option<Violation> {
    match error {
        ConnectionError::Transport(error) => Some(error.reason),
        _ => None,
    }
}

#[test]
fn version_2_alone_is_spoken_from_the_first_packet_to_the_last() {
    for links in [Link::default(), rough()] {
        let mut pair = transfer(setup(1, V2, &[V2], &[V2]).links(links));
        for to_server in [true, false] {
            for ty in [PacketType::Initial, PacketType::Handshake] {
                assert_eq!(versions(&pair, to_server, ty), [V2]);
            }
        }
        assert_eq!(pair.client_connection().version(), V2);
        assert_eq!(pair.server_connection().version(), V2);
    }
}

#[test]
fn a_server_that_prefers_version_2_moves_a_client_that_offers_it() {
    let mut pair = transfer(setup(2, V1, &[V1, V2], &[V2, V1]));
    assert_eq!(versions(&pair, true, PacketType::Initial), [V1, V2]);
    assert_eq!(versions(&pair, false, PacketType::Initial), [V2]);
    for to_server in [true, false] {
        assert_eq!(versions(&pair, to_server, PacketType::Handshake), [V2]);
    }
    assert_eq!(pair.client_connection().version(), V2);
    assert_eq!(pair.server_connection().version(), V2);
}

#[test]
fn a_server_that_prefers_version_1_moves_a_client_back_to_it() {
    let mut pair = transfer(setup(3, V2, &[V2, V1], &[V1, V2]));
    assert_eq!(versions(&pair, true, PacketType::Initial), [V2, V1]);
    assert_eq!(versions(&pair, false, PacketType::Initial), [V1]);
    assert_eq!(pair.client_connection().version(), V1);
}

#[test]
fn moving_works_through_loss_and_reordering() {
    for seed in 0..60 {
        let certificate = match seed % 2 {
            0 => quic_testkit::tls::Certificate::Small,
            _ => quic_testkit::tls::Certificate::Large,
        };
        let setup = Setup { certificate, ..setup(100 + seed, V1, &[V2, V1], &[V2, V1]) };
        let pair = transfer(setup.links(rough()));
        for to_server in [true, false] {
            assert_eq!(versions(&pair, to_server, PacketType::Handshake), [V2]);
        }
    }
}

#[test]
fn nobody_is_moved_to_what_only_one_side_has() {
    // The client offers, the server has no version 2.
    let mut pair = transfer(setup(4, V1, &[V2, V1], &[V1]));
    assert_eq!(versions(&pair, false, PacketType::Initial), [V1]);
    assert_eq!(pair.client_connection().version(), V1);
    // The server would, the client does not offer.
    let mut pair = transfer(setup(5, V1, &[V1], &[V2, V1]));
    assert_eq!(versions(&pair, false, PacketType::Initial), [V1]);
    assert_eq!(pair.client_connection().version(), V1);
}

#[test]
fn the_defaults_stay_with_version_1_and_still_accept_version_2() {
    let seed = Seed::or_env(6);
    let pair = transfer(Setup::new(seed));
    assert_eq!(versions(&pair, true, PacketType::Initial), [V1]);
    assert_eq!(versions(&pair, false, PacketType::Initial), [V1]);
    let pair = transfer(Setup { versions: (V2, vec![V2]), ..Setup::new(seed) });
    assert_eq!(versions(&pair, false, PacketType::Initial), [V2]);
}

#[test]
fn a_client_begins_anew_with_a_version_that_the_server_names() {
    for (first, offered, server, end) in [
        (V2, &[V2, V1][..], &[V1][..], V1),
        (V1, &[V1, V2], &[V2], V2),
        (RESERVED, &[V1], &[V1, V2], V1),
        (RESERVED, &[V2, V1], &[V1, V2], V1),
        (RESERVED, &[V2, V1], &[V2, V1], V2),
    ] {
        for links in [Link::default(), rough()] {
            let mut pair = transfer(setup(7, first, offered, server).links(links));
            assert_eq!(pair.client_connection().version(), end, "{first:?} {offered:?} {server:?}");
            assert!(pair.server.endpoint.stats().version_negotiations > 0);
            assert_eq!(versions(&pair, true, PacketType::Handshake), [end]);
        }
    }
}

#[test]
fn without_a_common_version_the_attempt_fails_with_those_of_the_server() {
    let mut pair = setup(8, V1, &[V1], &[V2]).build();
    pair.connect();
    let error = client_error(&mut pair);
    let ConnectionError::VersionMismatch { offered } = error else { panic!("{error}") };
    assert!(offered.contains(&V2));
    assert!(pair.server.handles().is_empty());
}

/// A Version Negotiation packet that answers the client's first packet with `versions`.
fn forged_negotiation(pair: &Pair, first: &[u8], versions: &[Version]) -> Datagram {
    let (dcid, scid) = match Header::decode(first, 8) {
        Ok(Header::Protected(header)) => {
            (header.dcid.as_slice().to_vec(), header.scid.as_slice().to_vec())
        }
        Ok(Header::UnknownVersion(header)) => (header.dcid.to_vec(), header.scid.to_vec()),
        other => panic!("{other:?}"),
    };
    let packet = VersionNegotiationPacket { dcid: &scid, scid: &dcid, versions, unused: 0 };
    let mut payload = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut payload));
    Datagram { from: pair.server.address, to: pair.external, ecn: None, payload }
}

/// The client's first datagram of a connection that it begins now.
fn first_datagram(pair: &mut Pair) -> Vec<u8> {
    pair.connect();
    let mut first = None;
    let now = pair.now;
    let mut all = Vec::new();
    pair.client.transmit(now, |datagram| all.push(datagram));
    for datagram in all {
        first.get_or_insert_with(|| datagram.payload.clone());
        pair.network.send(now, true, datagram);
    }
    first.expect("a first flight")
}

fn drops(pair: &mut Pair, reason: Discard) -> u64 {
    pair.client_connection().stats().packets_dropped.get(reason)
}

#[test]
fn a_forged_negotiation_that_lists_our_version_is_ignored() {
    let mut pair = setup(9, V1, &[V1, V2], &[V1, V2]).build();
    let first = first_datagram(&mut pair);
    let forged = forged_negotiation(&pair, &first, &[V2, V1]);
    pair.client.receive(pair.now, &forged);
    pair.drive_until(LIMIT, |pair| pair.server_known().is_some_and(|known| known.confirmed));
    assert_eq!(drops(&mut pair, Discard::VersionNegotiationListsOurs), 1);
    assert_eq!(pair.client_connection().version(), V1);
}

#[test]
fn a_forged_negotiation_after_a_valid_packet_is_ignored() {
    let mut pair = setup(10, V1, &[V1, V2], &[V1, V2]).build();
    let first = first_datagram(&mut pair);
    let forged = forged_negotiation(&pair, &first, &[V2]);
    pair.drive_until(LIMIT, |pair| pair.client_connection().stats().packets_received > 0);
    pair.client.receive(pair.now, &forged);
    pair.drive_until(LIMIT, |pair| pair.server_known().is_some_and(|known| known.confirmed));
    assert_eq!(drops(&mut pair, Discard::VersionNegotiationLate), 1);
    assert_eq!(pair.client_connection().version(), V1);
}

#[test]
fn a_forged_negotiation_with_other_connection_ids_is_ignored() {
    let mut pair = setup(11, V1, &[V1, V2], &[V1, V2]).build();
    let mut first = first_datagram(&mut pair);
    first[6] ^= 1;
    let forged = forged_negotiation(&pair, &first, &[V2]);
    pair.client.receive(pair.now, &forged);
    pair.drive_until(LIMIT, |pair| pair.server_known().is_some_and(|known| known.confirmed));
    assert_eq!(drops(&mut pair, Discard::ConnectionIdMismatch), 1);
}

// req-test 8999-7-005
#[test]
fn a_forged_negotiation_that_brings_about_another_version_is_detected() {
    // The server has both versions: a genuine packet would never have named one of them only.
    for (first, forged) in [(V2, V1), (V1, V2)] {
        let mut pair = setup(12, first, &[V2, V1], &[V1, V2]).build();
        let datagram = first_datagram(&mut pair);
        let forged = forged_negotiation(&pair, &datagram, &[forged]);
        // What the server has to say to the first attempt does not arrive.
        pair.network.up.blackhole = true;
        while pair.network.receive(pair.now + LIMIT).is_some() {}
        pair.client.receive(pair.now, &forged);
        pair.network.up.blackhole = false;
        let error = client_error(&mut pair);
        assert_eq!(violation(&error), Some(Violation::VersionNegotiationDowngrade), "{error}");
    }
}

#[test]
fn a_second_negotiation_in_response_to_the_second_attempt_is_ignored() {
    let mut pair = setup(13, RESERVED, &[V1, V2], &[V1, V2]).build();
    let first = first_datagram(&mut pair);
    let genuine = forged_negotiation(&pair, &first, &[V1, V2]);
    pair.client.receive(pair.now, &genuine);
    let mut second = None;
    let now = pair.now;
    pair.client.transmit(now, |datagram| second = Some(datagram));
    let second = second.expect("a second first flight");
    let forged = forged_negotiation(&pair, &second.payload, &[V2]);
    pair.client.receive(pair.now, &forged);
    pair.network.send(now, true, second);
    pair.drive_until(LIMIT, |pair| pair.server_known().is_some_and(|known| known.confirmed));
    assert!(drops(&mut pair, Discard::VersionNegotiationAgain) >= 1);
    assert_eq!(pair.client_connection().version(), V1);
}

/// Transport parameters with a tampered version_information.
fn tampered(chosen: Version, available: &[Version]) -> TransportParameters {
    let information = VersionInformation { chosen, available: available.to_vec() };
    TransportParameters { version_information: Some(information), ..generous_parameters() }
}

#[test]
fn a_client_whose_chosen_version_is_not_that_of_its_packets_is_refused() {
    let mut arena = Arena::with_defaults();
    for (information, expected) in [
        (tampered(V2, &[V2, V1]), TransportErrorCode::VERSION_NEGOTIATION_ERROR),
        (tampered(V1, &[V2]), TransportErrorCode::TRANSPORT_PARAMETER_ERROR),
        (tampered(V1, &[V1, Version(0)]), TransportErrorCode::TRANSPORT_PARAMETER_ERROR),
    ] {
        let client = RawPeer::client(&mut arena.rng, information);
        let id = arena.add_client(client);
        arena.pump();
        let closed = arena.closed(id).expect("the server closes");
        assert_eq!(closed.transport_code(), Some(expected), "{closed:?}");
    }
}

#[test]
fn a_server_whose_chosen_version_is_not_that_of_its_packets_is_refused() {
    let mut arena = Arena::with_defaults();
    for (information, expected) in [
        // It was not offered.
        (tampered(V2, &[V1, V2]), TransportErrorCode::VERSION_NEGOTIATION_ERROR),
        (tampered(RESERVED, &[V1]), TransportErrorCode::VERSION_NEGOTIATION_ERROR),
        (tampered(V1, &[Version(0)]), TransportErrorCode::TRANSPORT_PARAMETER_ERROR),
    ] {
        let id = arena.connect_to(|rng, first| RawPeer::server(rng, information, first));
        arena.pump();
        let closed = arena.closed(id).expect("the client closes");
        assert_eq!(closed.transport_code(), Some(expected), "{closed:?}");
    }
}

#[test]
fn handshake_packets_of_another_version_than_the_negotiated_one_are_dropped() {
    let mut arena = Arena::with_defaults();
    let id = arena.client_in_handshake();
    let other = arena.peer(id).packet(PacketType::Handshake).version(V2).payload(&[1]).datagram();
    arena.send(id, &other);
    let dropped = arena.connection(id).stats().packets_dropped;
    assert_eq!(dropped.get(Discard::VersionUnexpected), 1, "{dropped:?}");
    arena.pump();
    assert!(arena.closed(id).is_none());
}
