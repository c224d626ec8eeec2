//! Key updates in real transfers, cipher suites, and bits on the wire that mean nothing (RFC 9001
//! section 6, RFC 9287).

use std::time::Duration;

use quic_core::config::{KeyUse, SpinBit};
use quic_core::crypto::KeyUpdateRefused;
use quic_core::wire::{PacketType, Side, TransportErrorCode};
use quic_testkit::app::{HalfPlan, StreamPlan, plan};
use quic_testkit::arena::Arena;
use quic_testkit::net::Link;
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;
use rustls::CipherSuite;

const LIMIT: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);
const PERCENT: u64 = 10_000;
const FIXED: u8 = 0x40;

fn rough() -> Link {
    Link {
        loss_ppm: 5 * PERCENT,
        reorder_ppm: 10 * PERCENT,
        duplicate_ppm: 5 * PERCENT,
        corrupt_ppm: PERCENT,
        rate: Some(2_000_000),
        queue: 60_000,
        ..Link::default()
    }
}

/// `bytes` each way on one stream.
fn begin(setup: Setup, bytes: u64) -> Pair {
    let mut pair = Setup { traced: false, ..setup }.build();
    let half = HalfPlan::whole(bytes);
    pair.run_plan(&plan(&[StreamPlan { opener: Side::Client, forward: half, back: Some(half) }]));
    pair.connect();
    pair
}

fn key_updates(pair: &mut Pair) -> [u64; 2] {
    let client = pair.client_connection().stats().key_updates;
    [client, pair.server_connection().stats().key_updates]
}

// req-test 9001-6-061, 9001-6.1-064, 9001-6.1-065, 9001-6.5-081
#[test]
fn an_update_by_call_waits_for_the_handshake_and_for_the_last_one() {
    let mut pair = Setup::new(Seed::or_env(1)).build();
    let handle = pair.connect();
    let now = pair.now;
    let refused = pair.client_connection().initiate_key_update(now);
    assert_eq!(refused, Err(KeyUpdateRefused::HandshakeNotConfirmed));
    pair.drive_until(LIMIT, |pair| {
        pair.client.known(handle).confirmed && pair.server_known().is_some_and(|k| k.confirmed)
    });
    pair.client_connection().ping();
    pair.drive_for(100 * MS);

    let now = pair.now;
    assert_eq!(pair.client_connection().initiate_key_update(now), Ok(()));
    let refused = pair.client_connection().initiate_key_update(now);
    assert_eq!(refused, Err(KeyUpdateRefused::NotAcknowledged));
    // The peer follows and acknowledges.
    pair.drive_for(45 * MS);
    assert_eq!(key_updates(&mut pair), [1, 1]);
    let now = pair.now;
    let refused = pair.client_connection().initiate_key_update(now);
    assert_eq!(refused, Err(KeyUpdateRefused::TooSoon));
    // The server has sent nothing with these keys that the client would acknowledge.
    pair.server_connection().ping();
    pair.drive_for(Duration::from_secs(2));
    let now = pair.now;
    assert_eq!(pair.server_connection().initiate_key_update(now), Ok(()));
    pair.drive_for(Duration::from_secs(2));
    assert_eq!(key_updates(&mut pair), [2, 2]);
    let now = pair.now;
    pair.client_connection().close(now, 0u32.into(), bytes::Bytes::new());
    let refused = pair.client_connection().initiate_key_update(now);
    assert_eq!(refused, Err(KeyUpdateRefused::ConnectionClosed));
}

#[test]
fn keys_are_updated_many_times_in_one_transfer() {
    let most = KeyUse { packets: Some(200), bytes: None };
    for (seed, links) in [(2, Link { rate: Some(2_000_000), ..Link::default() }), (3, rough())] {
        let setup = Setup::new(Seed::or_env(seed)).links(links);
        let mut pair = begin(setup.transport(|config| config.key_update_after(most)), 4 << 20);
        pair.drive_until(LIMIT, Pair::plan_is_done);
        let [client, server] = key_updates(&mut pair);
        assert!(client >= 5, "{client} updates");
        assert!(client.abs_diff(server) <= 1, "{client} and {server} updates");
    }
}

#[test]
fn one_side_alone_updates_by_bytes_and_the_other_follows() {
    let setup = Setup::new(Seed::or_env(4)).links(rough());
    let most = KeyUse { packets: None, bytes: Some(300_000) };
    let setup = Setup { server: setup.server.clone().key_update_after(most), ..setup };
    let mut pair = begin(setup, 2 << 20);
    pair.drive_until(LIMIT, Pair::plan_is_done);
    let [client, server] = key_updates(&mut pair);
    assert!(server >= 2, "{server} updates");
    assert!(client.abs_diff(server) <= 1, "{client} and {server} updates");
}

#[test]
fn both_sides_may_start_the_same_update() {
    for seed in 0..20 {
        let mut pair = begin(Setup::new(Seed::or_env(100 + seed)).links(rough()), 1 << 20);
        pair.drive_until(LIMIT, |pair| {
            pair.server_known().is_some_and(|known| known.confirmed)
                && pair.client_connection().is_confirmed()
        });
        pair.drive_for(200 * MS);
        let now = pair.now;
        let client = pair.client_connection().initiate_key_update(now);
        let server = pair.server_connection().initiate_key_update(now);
        assert_eq!([client, server], [Ok(()); 2]);
        pair.drive_until(LIMIT, Pair::plan_is_done);
        assert_eq!(key_updates(&mut pair), [1, 1]);
    }
}

#[test]
fn every_cipher_suite_carries_a_transfer_and_key_updates() {
    let most = KeyUse { packets: Some(100), bytes: None };
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        // Keys of TLS in version 1, keys of our own after a move to version 2.
        for versions in [[quic_core::wire::Version::V1; 2], quic_core::wire::Version::KNOWN] {
            let setup = Setup::new(Seed::or_env(5)).links(rough());
            let endpoint = setup.endpoint.clone().supported_versions([versions[1], versions[0]]);
            let versions = (versions[0], versions.to_vec());
            let setup = Setup { suite: Some(suite), endpoint, versions, ..setup };
            let mut pair = begin(setup.transport(|config| config.key_update_after(most)), 1 << 20);
            pair.drive_until(LIMIT, Pair::plan_is_done);
            assert!(key_updates(&mut pair)[0] >= 2, "{suite:?}");
            let agreed = pair.client_connection().handshake_data().cipher_suite;
            assert_eq!(agreed, Some(suite));
        }
    }
}

/// The first bytes of packets of type `ty` toward the server, or the client.
fn first_bytes(pair: &Pair, to_server: bool, ty: PacketType) -> Vec<u8> {
    let crossings = pair.crossings.iter().filter(|crossing| crossing.to_server == to_server);
    crossings
        .flat_map(|crossing| crossing.packets.iter().zip(&crossing.first_bytes))
        .filter_map(|(kind, first)| (*kind == ty).then_some(*first))
        .collect()
}

#[test]
fn the_fixed_bit_is_random_toward_peers_that_allow_it_and_set_toward_others() {
    for (client, server) in [(true, true), (true, false), (false, true)] {
        let setup = Setup::new(Seed::or_env(6));
        let setup = Setup {
            client: setup.client.clone().grease_quic_bit(client),
            server: setup.server.clone().grease_quic_bit(server),
            ..setup
        };
        let mut pair = begin(setup, 200_000);
        pair.drive_until(LIMIT, Pair::plan_is_done);
        // The client knows nothing of the server when it sends its first packets.
        let first = first_bytes(&pair, true, PacketType::Initial)[0];
        assert_ne!(first & FIXED, 0);
        for to_server in [true, false] {
            let packets = first_bytes(&pair, to_server, PacketType::OneRtt);
            let cleared = packets.iter().filter(|first| **first & FIXED == 0).count();
            assert_eq!(cleared > 0, client && server, "{cleared} of {}", packets.len());
            assert!(cleared < packets.len());
        }
    }
}

// req-test 9000-17.4-420, 9000-17.4-423
#[test]
fn the_spin_bit_is_zero_or_random() {
    const SPIN: u8 = 0x20;
    for spin_bit in [SpinBit::Zero, SpinBit::Random] {
        let setup = Setup::new(Seed::or_env(7)).transport(|config| config.spin_bit(spin_bit));
        let mut pair = begin(setup, 200_000);
        pair.drive_until(LIMIT, Pair::plan_is_done);
        let packets = first_bytes(&pair, true, PacketType::OneRtt);
        let spun = packets.iter().filter(|first| **first & SPIN != 0).count();
        match spin_bit {
            SpinBit::Zero => assert_eq!(spun, 0),
            SpinBit::Random => assert!(spun > 0 && spun < packets.len(), "{spun}"),
        }
    }
}

// req-test 9001-6.2-070
#[test]
fn a_second_update_before_the_first_was_answered_is_a_violation() {
    let mut arena = Arena::with_defaults();
    let id = arena.connected_client();
    let now = arena.now;
    arena.send_frames(id, &[1]);
    arena.advance(100 * MS);
    // The first one is answered at once, unless nothing is sent in between.
    arena.peer(id).update_keys(now);
    let first = arena.peer(id).one_rtt(&[0]);
    arena.hand_over(id, &first);
    arena.peer(id).pretend_acknowledged(now);
    arena.peer(id).update_keys(now);
    let second = arena.peer(id).one_rtt(&[1]);
    arena.send(id, &second);
    let closed = arena.closed(id).expect("the connection is closed");
    assert_eq!(closed.transport_code(), Some(TransportErrorCode::KEY_UPDATE_ERROR), "{closed:?}");
}
