use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn tokens() -> Tokens {
    Tokens::new(TokenKey::new(&[1; 32]))
}

fn config() -> AddressValidation {
    AddressValidation::new().retry_lifetime(MINUTE).token_lifetime(10 * MINUTE)
}

fn id(byte: u8) -> ConnectionId {
    ConnectionId::new(&[byte; 8]).unwrap()
}

fn attempt(token: &[u8]) -> Attempt<'_> {
    let remote = "192.0.2.1:4433".parse().unwrap();
    Attempt { remote, version: Version::V1, dcid: id(1), token }
}

/// The token for a client that sent to `id(1)` and shall send to `id(2)`, and it is back with it.
fn retry_token(tokens: &mut Tokens, now: Instant) -> Vec<u8> {
    tokens.for_retry(now, &config(), &attempt(&[]), id(2), [7; 16])
}

fn back(token: &[u8]) -> Attempt<'_> {
    Attempt { dcid: id(2), ..attempt(token) }
}

fn later_token(tokens: &mut Tokens, now: Instant, unique: u8) -> Vec<u8> {
    tokens.for_later(now, &config(), Version::V1, attempt(&[]).remote.ip(), [unique; 16])
}

fn unspent(worth: Worth) -> Unspent {
    match worth {
        Worth::New(unspent) => unspent,
        other => panic!("{other:?}"),
    }
}

// req-test 9000-8.1.1-122, 9000-8.1.4-144
#[test]
fn the_token_of_a_retry_tells_what_the_first_packet_was_sent_to() {
    let (mut tokens, now) = (tokens(), Instant::now());
    let token = retry_token(&mut tokens, now);
    let worth = tokens.examine(now, &config(), &back(&token));
    assert_eq!(worth, Worth::Retry { original_dcid: id(1) });
    assert_eq!(tokens.examine(now, &config(), &attempt(&[])), Worth::Absent);
}

// req-test 9000-8.1.4-144, 9000-8.1.4-148, 9000-8.1.3-138
#[test]
fn the_token_of_a_retry_is_for_one_address_one_attempt_and_a_short_time() {
    let (mut tokens, now) = (tokens(), Instant::now());
    let token = retry_token(&mut tokens, now);
    let mut reject = |now, attempt: Attempt<'_>| match tokens.examine(now, &config(), &attempt) {
        Worth::RetryInvalid(rejection) => rejection,
        other => panic!("{other:?}"),
    };
    let other_port = "192.0.2.1:4434".parse().unwrap();
    let other_ip = "192.0.2.2:4433".parse().unwrap();
    for remote in [other_port, other_ip] {
        let rejection = reject(now, Attempt { remote, ..back(&token) });
        assert_eq!(rejection, Rejection::OtherAddress);
    }
    let version = Version(2);
    for attempt in [attempt(&token), Attempt { version, ..back(&token) }] {
        assert_eq!(reject(now, attempt), Rejection::OtherConnection);
    }
    assert_eq!(reject(now + 2 * MINUTE, back(&token)), Rejection::Expired);
}

// req-test 9000-8.1.4-145, 9000-8.1.3-129
#[test]
fn a_token_for_later_is_for_one_ip_address_and_a_limited_time() {
    let (mut tokens, now) = (tokens(), Instant::now());
    let token = later_token(&mut tokens, now, 1);
    let other_port = Attempt { remote: "192.0.2.1:1".parse().unwrap(), ..attempt(&token) };
    let mapped = Attempt { remote: "[::ffff:192.0.2.1]:1".parse().unwrap(), ..attempt(&token) };
    for good in [attempt(&token), other_port, mapped] {
        unspent(tokens.examine(now + 9 * MINUTE, &config(), &good));
    }
    let mut reject = |now, attempt: Attempt<'_>| tokens.examine(now, &config(), &attempt);
    let other_ip = Attempt { remote: "192.0.2.2:4433".parse().unwrap(), ..attempt(&token) };
    assert_eq!(reject(now, other_ip), Worth::Useless(Rejection::OtherAddress));
    let version = Attempt { version: Version(2), ..attempt(&token) };
    assert_eq!(reject(now, version), Worth::Useless(Rejection::OtherConnection));
    let late = reject(now + 11 * MINUTE, attempt(&token));
    assert_eq!(late, Worth::Useless(Rejection::Expired));
}

// req-test 9000-8.1.4-147, 9000-8.1.4-149, 9000-21.3-484
#[test]
fn a_token_for_later_is_accepted_once() {
    let (mut tokens, now) = (tokens(), Instant::now());
    let [one, other] = [1, 2].map(|unique| later_token(&mut tokens, now, unique));
    let found = unspent(tokens.examine(now, &config(), &attempt(&one)));
    tokens.spend(now, &config(), found);
    let worth = tokens.examine(now, &config(), &attempt(&one));
    assert_eq!(worth, Worth::Useless(Rejection::Replayed));
    unspent(tokens.examine(now, &config(), &attempt(&other)));
}

// req-test 9000-8.1.4-147
#[test]
fn what_was_forgotten_counts_as_used() {
    let mut spent = Spent::default();
    let token = |issued: usize| Unspent { issued: issued as u64, id: [0; 16] };
    for issued in 0..=MAX_SPENT {
        spent.insert(token(issued), 0);
    }
    assert_eq!(spent.tokens.len(), MAX_SPENT);
    assert!((0..=MAX_SPENT).all(|issued| spent.contains(&token(issued))));
    assert!(!spent.contains(&token(MAX_SPENT + 1)));
    let never_seen = Unspent { id: [1; 16], ..token(0) };
    assert!(spent.contains(&never_seen), "it may have been used and forgotten");
}

#[test]
fn used_tokens_are_forgotten_once_they_have_expired() {
    let (mut tokens, mut now) = (tokens(), Instant::now());
    for unique in 0..100 {
        let token = later_token(&mut tokens, now, unique);
        let found = unspent(tokens.examine(now, &config(), &attempt(&token)));
        tokens.spend(now, &config(), found);
        now += MINUTE;
    }
    assert!(tokens.spent.tokens.len() <= 12, "{}", tokens.spent.tokens.len());
}

#[test]
fn servers_with_a_key_and_a_clock_in_common_accept_each_others_tokens() {
    let shared = config().key(TokenKey::new(&[9; 32]));
    let now = Instant::now();
    let [mut one, mut other] = [1, 2].map(|key| Tokens::new(TokenKey::new(&[key; 32])));
    one.set_clock(now, 1000 * MINUTE);
    // The same clock, told at another time, and a bit fast.
    other.set_clock(now + MINUTE, 1001 * MINUTE + Duration::from_secs(4));
    let token = one.for_retry(now, &shared, &attempt(&[]), id(2), [7; 16]);
    let worth = other.examine(now, &shared, &back(&token));
    assert_eq!(worth, Worth::Retry { original_dcid: id(1) });
    let own = one.for_retry(now, &config(), &attempt(&[]), id(2), [7; 16]);
    let worth = other.examine(now, &config(), &back(&own));
    assert_eq!(worth, Worth::Useless(Rejection::Unreadable), "keys of their own");
}

#[test]
fn a_token_from_the_future_is_refused() {
    let (mut tokens, now) = (tokens(), Instant::now());
    tokens.set_clock(now, 1000 * MINUTE);
    let token = later_token(&mut tokens, now + MINUTE, 1);
    let worth = tokens.examine(now, &config(), &attempt(&token));
    assert_eq!(worth, Worth::Useless(Rejection::Expired));
    let almost = later_token(&mut tokens, now + Duration::from_secs(4), 2);
    unspent(tokens.examine(now, &config(), &attempt(&almost)));
}

proptest! {
    // req-test 9000-8.1.4-143, 9000-8.1.4-142
    #[test]
    fn no_changed_token_is_accepted(
        retry in any::<bool>(),
        at in any::<prop::sample::Index>(),
        change in 1..=u8::MAX,
    ) {
        let (mut tokens, now) = (tokens(), Instant::now());
        let mut token = match retry {
            true => retry_token(&mut tokens, now),
            false => later_token(&mut tokens, now, 1),
        };
        *at.get_mut(&mut token[..]) ^= change;
        let worth = tokens.examine(now, &config(), &back(&token));
        prop_assert_eq!(worth, Worth::Useless(Rejection::Unreadable));
    }

    #[test]
    fn content_survives_its_coding(
        version in any::<u32>(),
        issued in any::<u64>(),
        ip in any::<IpAddr>(),
        port in any::<u16>(),
        ids in any::<[[u8; 20]; 2]>(),
        lens in [0..=20usize, 0..=20usize],
        retry in any::<bool>(),
    ) {
        let id = |i: usize| ConnectionId::new(&ids[i][..lens[i]]).unwrap();
        let origin = RetryOrigin { port, original_dcid: id(0), retry_source: id(1) };
        let content = Content {
            version: Version(version),
            issued,
            ip: ip.to_canonical(),
            retry: retry.then_some(origin),
        };
        let mut buf = [0; MAX_CONTENT];
        let mut writer = Writer::new(&mut buf);
        content.encode(&mut writer);
        let len = writer.position();
        prop_assert_eq!(Content::decode(&buf[..len]), Ok(content));
    }
}
