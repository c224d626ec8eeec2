//! Address validation: Retry, tokens for later connections, and those who forge them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::iter::repeat;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quic_core::config::{
    AddressValidation, ClientConfig, EndpointConfig, MAX_TOKEN_LEN, RetryPolicy, TokenScope,
    TokenStore,
};
use quic_core::connection::EarlyData;
use quic_core::crypto::{Keyring, TokenKey, retry::integrity_tag};
use quic_core::endpoint::{ConnectionHandle, RetryError};
use quic_core::error::{ConnectionError, Discard};
use quic_core::path::AddressProof;
use quic_core::wire::cursor::Writer;
use quic_core::wire::header::{Header, RetryPacket};
use quic_core::wire::{ConnectionId, PacketType, Side, TransportErrorCode, Version};
use quic_testkit::app::{App, HalfPlan, StreamPlan, plan};
use quic_testkit::net::{Datagram, Link};
use quic_testkit::pair::{Pair, Setup};
use quic_testkit::seed::Seed;
use quic_testkit::tls::Certificate;
use quic_testkit::wiretap::Amplification;

const SECOND: Duration = Duration::from_secs(1);
const PERCENT: u64 = 10_000;

fn always() -> AddressValidation {
    AddressValidation::new().retry(RetryPolicy::Always)
}

fn setup(validation: AddressValidation) -> Setup {
    Setup { validation, ..Setup::new(Seed::or_env(1)) }
}

fn is_retry(datagram: &[u8]) -> bool {
    matches!(Header::decode(datagram, 8), Ok(Header::Retry(_)))
}

/// An Initial packet of a client's first flights, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenInitial {
    token: Vec<u8>,
    dcid: ConnectionId,
    scid: ConnectionId,
    number: u64,
    payload: Vec<u8>,
    len: usize,
}

/// The keys of a client's Initial packets follow from what they are sent to, until the server has
/// answered with an Initial packet.
fn see_initial(datagram: &[u8]) -> Option<SeenInitial> {
    let Ok(Header::Protected(header)) = Header::decode(datagram, 8) else { return None };
    if header.kind != PacketType::Initial {
        return None;
    }
    let mut packet = datagram[..header.packet_len].to_vec();
    let mut keys = Keyring::new(header.version, &header.dcid, Side::Server);
    let opened = keys.open(Instant::now(), &header, &mut packet, None).ok()?;
    Some(SeenInitial {
        token: datagram[header.token.clone()].to_vec(),
        dcid: header.dcid,
        scid: header.scid,
        number: opened.packet_number.into_inner(),
        payload: packet[opened.payload].to_vec(),
        len: datagram.len(),
    })
}

type Seen<T> = Rc<RefCell<Vec<T>>>;

/// Writes down all Initial packets of the client that can be read.
fn watch(pair: &mut Pair) -> Seen<SeenInitial> {
    let seen = Seen::default();
    let notes = Rc::clone(&seen);
    pair.meddler = Some(Box::new(move |to_server, datagram| {
        notes.borrow_mut().extend(see_initial(&datagram.payload).filter(|_| to_server));
        vec![datagram]
    }));
    seen
}

fn drops(pair: &mut Pair, reason: Discard) -> u64 {
    pair.client_connection().stats().packets_dropped.get(reason)
}

/// Drives until the first connection of the client has ended; why.
fn drive_to_the_end(pair: &mut Pair, handle: ConnectionHandle) -> ConnectionError {
    pair.drive_until(60 * SECOND, |pair| pair.client.known(handle).closed.is_some());
    pair.client.known(handle).closed.clone().unwrap()
}

fn is_closed_with(reason: &ConnectionError, code: TransportErrorCode) -> bool {
    match reason {
        ConnectionError::ConnectionClosed(closed) => closed.error_code == code,
        ConnectionError::Transport(error) => error.code == code,
        _ => false,
    }
}

/// Begins another connection of the client and drives it until it is confirmed.
fn connect_again(pair: &mut Pair) -> ConnectionHandle {
    let handle = pair.connect();
    pair.drive_until(30 * SECOND, |pair| pair.client.known(handle).confirmed);
    handle
}

// ---- Retry

// req-test 9000-8.1.2-123, 9000-17.2.5.1-403, 9000-17.2.5.2-410, 9000-17.2.5.3-411
// req-test 9000-17.2.5.3-414, 9000-17.2.5.1-401, 9000-7.3-091, 9002-6.3-047, 9002-6.3-048
#[test]
fn a_client_that_is_asked_for_its_address_begins_again_with_the_token() {
    let mut pair = setup(always()).build();
    let seen = watch(&mut pair);
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).connected);
    assert_eq!(pair.elapsed(), Duration::from_millis(20), "one round trip more");

    let seen = seen.borrow();
    let [first, second] = &seen[..2] else { panic!("{} packets", seen.len()) };
    assert!(first.token.is_empty() && !second.token.is_empty());
    assert_ne!(first.dcid, second.dcid);
    assert_eq!(first.scid, second.scid);
    assert_eq!(first.payload[..64], second.payload[..64], "the same ClientHello");
    assert!(second.number > first.number);
    assert!(seen.iter().skip(1).all(|initial| initial.token == second.token));

    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.retries, stats.tokens.retry), (1, 1));
    assert_eq!(pair.client_connection().stats().retries, 1);
    let rtt = pair.client_connection().stats().path.smoothed_rtt;
    assert_eq!(rtt, Duration::from_millis(10));
}

// req-test 9000-8.1.2-123, 9000-17.2.5.3-414, 9000-17.2.5.1-404
#[test]
fn packet_numbers_go_on_when_the_first_packets_were_lost() {
    let mut pair = setup(always()).build();
    let seen = watch(&mut pair);
    pair.network.up.blackhole = true;
    let handle = pair.connect();
    pair.drive_for(2 * SECOND);
    pair.network.up.blackhole = false;
    pair.drive_until(30 * SECOND, |pair| pair.client.known(handle).confirmed);
    let seen = seen.borrow();
    let lost = seen.iter().filter(|initial| initial.token.is_empty()).count();
    assert!(lost > 2, "{lost} packets before the Retry");
    assert!(seen.windows(2).all(|two| two[0].number < two[1].number));
    assert!(seen.iter().skip(lost).all(|initial| !initial.token.is_empty()));
}

#[test]
fn a_lost_retry_is_made_up_for_by_another_one() {
    let mut pair = setup(always()).build();
    pair.network.down.blackhole = true;
    let handle = pair.connect();
    pair.drive_for(SECOND / 2);
    pair.network.down.blackhole = false;
    pair.drive_until(30 * SECOND, |pair| pair.client.known(handle).confirmed);
    assert!(pair.server.endpoint.stats().retries >= 2);
    assert_eq!(pair.client_connection().stats().retries, 1);
    assert_eq!(pair.server.handles().len(), 1);
}

// req-test 9000-17.2.5.2-406, 9000-17.2.5.2-407
#[test]
fn only_the_first_retry_counts() {
    let mut pair = setup(always()).build();
    let mut late = VecDeque::new();
    pair.meddler = Some(Box::new(move |to_server, datagram| {
        if !to_server && is_retry(&datagram.payload) {
            late.push_back(datagram.clone());
            return vec![datagram.clone(), datagram];
        }
        // Once more, before and after what the server says.
        let again = late.iter().filter(|_| !to_server).cloned();
        again.clone().chain([datagram.clone()]).chain(again).collect()
    }));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    assert!(drops(&mut pair, Discard::RetryLate) >= 3);
    assert_eq!(pair.client_connection().stats().retries, 1);
}

// req-test 9000-17.2.5.2-406
#[test]
fn a_second_retry_for_a_repeated_first_packet_is_dropped() {
    let mut pair = setup(always()).build();
    pair.meddler = Some(Box::new(|to_server, datagram| match to_server {
        true => vec![datagram.clone(), datagram],
        false => vec![datagram],
    }));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    assert_eq!(pair.server.endpoint.stats().retries, 2);
    assert_eq!(drops(&mut pair, Discard::RetryLate), 1);
    assert_eq!(pair.server.handles().len(), 1);
}

fn retry_packet(to: &SeenInitial, scid: ConnectionId, token: &[u8]) -> Vec<u8> {
    let packet = RetryPacket { version: Version::V1, dcid: to.scid, scid, token, unused: 0 };
    let mut bytes = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut bytes));
    let tag = integrity_tag(Version::V1, &to.dcid, &bytes);
    bytes.extend_from_slice(&tag);
    bytes
}

// req-test 9000-17.2.5.2-408, 9000-17.2.5.2-409, 9000-17.2.5.1-402
#[test]
fn forged_retries_are_dropped_counted_and_harmless() {
    let mut pair = Pair::new(Seed::or_env(1));
    let mut done = false;
    pair.meddler = Some(Box::new(move |to_server, datagram| {
        let first = see_initial(&datagram.payload).filter(|_| to_server && !done);
        let Some(first) = first else { return vec![datagram] };
        done = true;
        let scid = ConnectionId::new(&[9; 8]).unwrap();
        let mut bad_tag = retry_packet(&first, scid, b"token");
        *bad_tag.last_mut().unwrap() ^= 1;
        let mut other_version = retry_packet(&first, scid, b"token");
        other_version[4] ^= 2;
        let empty = {
            let mut packet = retry_packet(&first, scid, b"t");
            packet.remove(7 + first.scid.len() + scid.len());
            packet
        };
        let forged = [
            bad_tag,
            other_version,
            empty,
            retry_packet(&first, first.dcid, b"token"),
            retry_packet(&first, scid, &[7; MAX_TOKEN_LEN + 1]),
        ];
        let answers = forged.into_iter().map(|payload| Datagram {
            from: datagram.to,
            to: datagram.from,
            ecn: None,
            payload,
        });
        answers.chain([datagram.clone()]).collect()
    }));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    assert_eq!(pair.elapsed(), Duration::from_millis(20), "nothing was disturbed");
    for reason in [
        Discard::RetryTagInvalid,
        Discard::RetryTokenEmpty,
        Discard::RetrySourceUnchanged,
        Discard::RetryTokenTooLong,
    ] {
        assert_eq!(drops(&mut pair, reason), 1, "{reason}");
    }
    assert_eq!(pair.client_connection().stats().retries, 0);
}

// req-test 9000-7.3-092, 9000-7.3-093, 9000-7.3-094
#[test]
fn a_retry_that_the_server_has_not_sent_is_found_out() {
    let mut pair = Pair::new(Seed::or_env(1));
    let mut done = false;
    pair.meddler = Some(Box::new(move |to_server, mut datagram| {
        let first = see_initial(&datagram.payload).filter(|_| to_server && !done);
        let Some(first) = first else { return vec![datagram] };
        done = true;
        let scid = ConnectionId::new(&[9; 8]).unwrap();
        datagram.payload = retry_packet(&first, scid, b"made up");
        (datagram.from, datagram.to) = (datagram.to, datagram.from);
        vec![datagram]
    }));
    // The network sends it up, in the direction of the datagram that it replaces.
    let handle = pair.connect();
    let reason = drive_to_the_end(&mut pair, handle);
    let code = TransportErrorCode::TRANSPORT_PARAMETER_ERROR;
    assert!(is_closed_with(&reason, code), "{reason}");
}

// req-test 9000-17.2.5.1-405
#[test]
fn a_datagram_full_of_first_packets_gets_one_retry() {
    let mut pair = setup(always()).build();
    pair.meddler = Some(Box::new(|to_server, mut datagram| {
        if to_server && see_initial(&datagram.payload).is_some_and(|seen| seen.token.is_empty()) {
            datagram.payload = datagram.payload.repeat(3);
        }
        vec![datagram]
    }));
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).connected);
    assert_eq!(pair.server.endpoint.stats().retries, 1);
}

#[test]
fn any_network_lets_a_client_through_that_is_asked_for_its_address() {
    let bad = Link {
        loss_ppm: 20 * PERCENT,
        reorder_ppm: 20 * PERCENT,
        duplicate_ppm: 10 * PERCENT,
        corrupt_ppm: 2 * PERCENT,
        jitter: Duration::from_millis(5),
        ..Link::default()
    };
    for seed in Seed::range(0..40) {
        let setup = Setup { validation: always(), ..Setup::new(seed) };
        let setup = setup.links(bad.clone()).transport(|transport| {
            transport.handshake_timeout(300 * SECOND).max_idle_timeout(Some(600 * SECOND))
        });
        let mut pair = Setup { certificate: Certificate::Large, ..setup }.build();
        pair.amplification.trusts_tokens = true;
        let forward = HalfPlan::whole(3_000);
        let stream = StreamPlan { opener: Side::Client, forward, back: Some(forward) };
        pair.run_plan(&plan(&[stream]));
        pair.connect();
        pair.drive_until(600 * SECOND, |pair| pair.plan_is_done());
        pair.apps.iter().flatten().for_each(App::check);
        assert_eq!(pair.client_connection().stats().retries, 1);
    }
}

// req-test 9000-17.2.5.3-413, 9000-17.2.5.3-414
#[test]
fn early_data_is_sent_again_after_a_retry_and_accepted() {
    let lossy = Link { loss_ppm: 20 * PERCENT, reorder_ppm: 20 * PERCENT, ..Link::default() };
    for (seed, link) in Seed::range(0..20).zip([Link::default()].into_iter().chain(repeat(lossy))) {
        let setup = Setup { validation: always().tokens_per_connection(0), ..Setup::new(seed) };
        let mut pair = setup.with_early_data().build();
        let first = pair.establish();
        pair.drive_for(SECOND);
        let now = pair.now;
        pair.client.connection(first).unwrap().close(now, 0u32.into(), Bytes::new());
        pair.drive_idle();

        (pair.network.up, pair.network.down) = (link.clone(), link);
        let forward = HalfPlan::whole(3_000);
        let stream = StreamPlan { opener: Side::Client, forward, back: Some(forward) };
        pair.run_plan(&plan(&[stream]));
        let (began, handle) = (pair.now, pair.connect_early());
        pair.drive_until(60 * SECOND, |pair| pair.plan_is_done());
        pair.apps.iter().flatten().for_each(App::check);
        let connection = pair.client.connection(handle).unwrap();
        assert_eq!(connection.early_data(), EarlyData::Accepted);
        assert_eq!(connection.stats().retries, 1);
        if pair.network.up.loss_ppm == 0 {
            // One round trip for the Retry, one for the answer, and half of one for its ACK.
            assert_eq!(pair.now - began, Duration::from_millis(25));
            let early = pair.server.endpoint.stats().tokens.retry;
            assert_eq!(early, 2, "one for each connection");
        }
    }
}

#[test]
fn a_retry_of_version_2_is_followed() {
    let endpoint = EndpointConfig::builder().supported_versions([Version::V2]);
    let mut pair = Setup { endpoint, ..setup(always()) }.build();
    let config = (*pair.client_config).clone().with_versions(Version::V2, &[Version::V2]).unwrap();
    pair.client_config = Arc::new(config);
    pair.establish();
    assert_eq!(pair.client_connection().version(), Version::V2);
    assert_eq!(pair.client_connection().stats().retries, 1);
    pair.drive_for(SECOND);
    connect_again(&mut pair);
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.retries, stats.tokens.retry, stats.tokens.earlier), (1, 1, 1));
}

// ---- invalid tokens

// req-test 9000-8.1.2-124, 9000-8.1.4-148
#[test]
fn a_client_that_returns_the_token_of_a_retry_too_late_is_told() {
    let mut pair = setup(always().retry_lifetime(Duration::from_millis(5))).build();
    let handle = pair.connect();
    let reason = drive_to_the_end(&mut pair, handle);
    assert!(is_closed_with(&reason, TransportErrorCode::INVALID_TOKEN), "{reason}");
    assert_eq!(pair.server.endpoint.stats().tokens.expired, 1);
    assert!(pair.server.handles().is_empty(), "nothing is kept");
}

// req-test 9000-8.1.2-124, 9000-8.1.4-144
#[test]
fn the_token_of_a_retry_is_of_no_use_to_a_client_elsewhere() {
    let mut pair = setup(always()).build();
    let handle = pair.connect();
    pair.drive_for(Duration::from_millis(7));
    assert_eq!(pair.server.endpoint.stats().retries, 1);
    let stolen: Seen<Datagram> = Seen::default();
    let notes = Rc::clone(&stolen);
    pair.meddler = Some(Box::new(move |to_server, mut datagram| {
        if to_server {
            datagram.from.set_port(1);
        } else {
            notes.borrow_mut().push(datagram.clone());
        }
        vec![datagram]
    }));
    pair.drive_for(SECOND);
    assert!(pair.server.handles().is_empty());
    assert!(pair.server.endpoint.stats().tokens.other_address >= 1);
    let answers = stolen.borrow();
    assert!(answers.iter().all(|answer| answer.payload.len() < 200), "small answers");
    assert!(!pair.client.known(handle).connected);
}

// req-test 9000-8.1.3-139, 9000-8.1.3-138
#[test]
fn a_forged_token_is_as_good_as_none() {
    for (validation, retries) in [(always(), 1), (AddressValidation::new(), 0)] {
        let tokens = Arc::new(FixedStore::new(&[7; 100]));
        let mut pair = Setup { tokens, ..setup(validation) }.build();
        let handle = pair.connect();
        pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
        let stats = pair.server.endpoint.stats();
        assert_eq!((stats.tokens.unreadable, stats.retries), (1, retries));
        assert_eq!(stats.tokens.earlier, 0);
    }
}

/// A store that gives out the same token again and again.
#[derive(Debug, Default)]
struct FixedStore(Mutex<Option<Bytes>>);

impl FixedStore {
    fn new(token: &[u8]) -> Self {
        Self(Mutex::new(Some(Bytes::copy_from_slice(token))))
    }
}

impl TokenStore for FixedStore {
    fn insert(&self, _: &TokenScope, token: Bytes) {
        self.0.lock().unwrap().get_or_insert(token);
    }

    fn take(&self, _: &TokenScope) -> Option<Bytes> {
        self.0.lock().unwrap().clone()
    }
}

// ---- tokens for later connections

// req-test 9000-8.1.3-125, 9000-8.1.3-126, 9000-8.1.3-133, 9000-8.1.3-135, 9000-8.1.3-140
// req-test 9000-8.1.3-127, 9000-8.1.3-136, 9000-8.1.3-131
#[test]
fn a_client_that_was_here_before_is_not_asked_again() {
    let mut pair = setup(always()).build();
    let first = pair.establish();
    pair.drive_for(SECOND);
    let now = pair.now;
    pair.client.connection(first).unwrap().close(now, 0u32.into(), Bytes::new());
    pair.drive_for(10 * SECOND);

    let seen = watch(&mut pair);
    let began = pair.now;
    let second = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(second).connected);
    assert_eq!(pair.now - began, Duration::from_millis(10), "no round trip more");
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.retries, stats.tokens.retry, stats.tokens.earlier), (1, 1, 1));
    assert!(seen.borrow().iter().all(|initial| !initial.token.is_empty()));

    // The token is gone; another one has come with the second connection.
    pair.drive_for(SECOND);
    connect_again(&mut pair);
    assert_eq!(pair.server.endpoint.stats().tokens.earlier, 2);
    assert_eq!(pair.server.endpoint.stats().tokens.replayed, 0);
}

// req-test 9000-8.1-117
#[test]
fn a_token_lifts_the_limit_of_what_is_sent_to_a_client_at_first() {
    let setup = Setup { certificate: Certificate::Large, ..Setup::new(Seed::or_env(1)) };
    let mut pair = setup.clone().build();
    let without_token = first_flight(&mut pair);
    pair.drive_for(SECOND);
    // The store is the same, but there is no TLS session to be resumed.
    let store = pair.client_config.token_store().cloned();
    let tls = quic_testkit::tls::client(&[quic_testkit::tls::ALPN]);
    let fresh = ClientConfig::new(tls, pair.client_config.transport().clone()).unwrap();
    pair.client_config = Arc::new(fresh.with_token_store(store));
    pair.amplification = Amplification::default();
    pair.amplification.trusts_tokens = true;
    let with_token = first_flight(&mut pair);
    assert!(without_token <= 3 * 1200, "{without_token}");
    assert!(with_token > 6 * 1200, "{with_token}");
}

/// Bytes that the server answers the first datagram of a client with.
fn first_flight(pair: &mut Pair) -> usize {
    let begin = pair.crossings.len();
    pair.connect();
    pair.drive_for(Duration::from_millis(9));
    pair.crossings[begin..].iter().filter(|crossing| !crossing.to_server).map(|c| c.len).sum()
}

// req-test 9000-8.1.4-147, 9000-8.1.4-149, 9000-21.3-484
#[test]
fn a_token_is_good_for_one_connection() {
    let tokens = Arc::new(FixedStore::default());
    let mut pair = Setup { tokens, ..setup(always()) }.build();
    pair.establish();
    pair.drive_for(SECOND);
    connect_again(&mut pair);
    connect_again(&mut pair);
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.tokens.earlier, stats.tokens.replayed), (1, 1));
    assert_eq!(stats.retries, 2, "the third connection had to prove its address again");
}

// req-test 9000-8.1.4-145, 9000-8.1.4-146
#[test]
fn a_client_that_has_moved_must_prove_its_address_again() {
    let mut pair = setup(always()).build();
    pair.establish();
    pair.drive_for(SECOND);
    pair.external = ([192, 0, 2, 77], 50_000).into();
    connect_again(&mut pair);
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.tokens.other_address, stats.retries), (1, 2));
}

// req-test 9000-8.1.3-129
#[test]
fn a_token_expires() {
    let mut pair = setup(always().token_lifetime(60 * SECOND)).build();
    pair.establish();
    pair.drive_for(100 * SECOND);
    connect_again(&mut pair);
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.tokens.expired, stats.retries), (1, 2));
}

#[test]
fn another_server_with_the_same_key_accepts_the_tokens() {
    let key = TokenKey::new(&[5; 32]);
    let mut pair = setup(always().key(key)).build();
    // The Retry comes from one server, and another one gets the answer.
    pair.connect();
    pair.drive_for(Duration::from_millis(7));
    assert_eq!(pair.server.endpoint.stats().retries, 1);
    pair.restart_server();
    pair.drive_for(SECOND);
    assert_eq!(pair.server.endpoint.stats().tokens.retry, 1);
    assert!(pair.server_known().unwrap().confirmed);
    // So do tokens for later connections.
    pair.restart_server();
    connect_again(&mut pair);
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.tokens.earlier, stats.retries), (1, 0));
}

// req-test 9000-19.7-442
#[test]
fn as_many_tokens_come_as_the_server_likes_even_if_packets_are_lost() {
    for seed in Seed::range(0..20) {
        let link = Link { loss_ppm: 30 * PERCENT, ..Link::default() };
        let validation = AddressValidation::new().tokens_per_connection(4);
        let mut pair = Setup { validation, ..Setup::new(seed) }.links(link).build();
        pair.establish();
        pair.drive_for(20 * SECOND);
        let store = pair.client_config.token_store().unwrap().clone();
        let scope = TokenScope {
            server_name: quic_testkit::tls::SERVER_NAME.to_owned(),
            port: pair.server.address.port(),
            version: Version::V1,
        };
        let tokens: Vec<_> = std::iter::from_fn(|| store.take(&scope)).collect();
        assert_eq!(tokens.len(), 4);
        assert!((1..4).all(|i| !tokens[..i].contains(&tokens[i])), "each is another one");
    }
}

#[test]
fn the_longest_token_leaves_room_for_the_handshake() {
    let tokens = Arc::new(FixedStore::new(&[7; MAX_TOKEN_LEN]));
    let mut pair = Setup { tokens, ..Setup::new(Seed::or_env(1)) }.build();
    let seen = watch(&mut pair);
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    let seen = seen.borrow();
    assert!(seen.len() > 1 && seen.iter().all(|initial| initial.token.len() == MAX_TOKEN_LEN));
    assert!(seen.iter().all(|initial| initial.len == 1200));
}

#[test]
fn a_token_that_is_too_long_is_not_used() {
    let tokens = Arc::new(FixedStore::new(&[7; MAX_TOKEN_LEN + 1]));
    let mut pair = Setup { tokens, ..Setup::new(Seed::or_env(1)) }.build();
    let seen = watch(&mut pair);
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    assert!(seen.borrow().iter().all(|initial| initial.token.is_empty()));
}

// ---- who is asked

#[test]
fn the_application_can_ask_a_client_for_its_address() {
    let mut pair = setup(AddressValidation::new().retry(RetryPolicy::Never)).build();
    pair.server.accepts = false;
    let handle = pair.connect();
    pair.drive_until(SECOND, |pair| !pair.server.waiting.is_empty());
    let (now, (id, proof)) = (pair.now, pair.server.waiting[0]);
    assert_eq!(proof, AddressProof::None);
    pair.server.endpoint.retry(now, id).unwrap();
    assert_eq!(pair.server.endpoint.retry(now, id), Err(RetryError::Gone));
    assert_eq!(pair.server.endpoint.incoming_count(), 0, "nothing is kept");

    pair.drive_until(SECOND, |pair| pair.server.waiting.len() > 1);
    let (now, (id, proof)) = (pair.now, pair.server.waiting[1]);
    assert_eq!(proof, AddressProof::Retry);
    assert_eq!(pair.server.endpoint.retry(now, id), Err(RetryError::AlreadyRetried));
    pair.server.accept(now, id);
    pair.drive_until(SECOND, |pair| pair.client.known(handle).confirmed);
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.retries, stats.tokens.retry), (1, 1));
}

#[test]
fn clients_are_asked_only_while_many_connections_are_half_open() {
    let validation = AddressValidation::new().retry(RetryPolicy::WhenBusy { half_open: 2 });
    let mut pair = setup(validation.tokens_per_connection(0)).build();
    pair.server.accepts = false;
    pair.connect();
    pair.connect();
    pair.drive_for(Duration::from_millis(8));
    assert_eq!(pair.server.endpoint.stats().retries, 0);
    pair.connect();
    pair.drive_for(Duration::from_millis(8));
    assert_eq!(pair.server.endpoint.stats().retries, 1, "two wait already");
    pair.drive_for(11 * SECOND);
    assert_eq!(pair.server.endpoint.incoming_count(), 0, "all have waited for too long");

    pair.server.accepts = true;
    let before = pair.server.endpoint.stats().retries;
    for _ in 0..5 {
        connect_again(&mut pair);
    }
    assert_eq!(pair.server.endpoint.stats().retries, before, "open connections do not count");
}

#[test]
fn retries_stay_within_the_budget_for_strangers() {
    let endpoint = EndpointConfig::builder().stateless_rate(5);
    let mut pair = Setup { endpoint, ..setup(always()) }.build();
    pair.network.down.blackhole = true;
    for _ in 0..100 {
        pair.connect();
    }
    pair.drive_for(Duration::from_millis(100));
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.retries, stats.busy), (5, 95));
    assert_eq!(pair.server.endpoint.incoming_count(), 0);
}
