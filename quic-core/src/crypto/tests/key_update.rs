//! Key updates: who starts, who follows, and what is not allowed.

use std::time::{Duration, Instant};

use super::*;
use crate::crypto::{KeyUpdateProgress, KeyUpdateRefused, OpenError, Opened};
use crate::error::{Discard, Violation};
use crate::wire::TransportErrorCode;
use crate::wire::header::KeyPhase;

const PTO: Duration = Duration::from_millis(100);

/// Two keyrings, and a clock.
struct Pair {
    now: Instant,
    client: Keyring,
    server: Keyring,
}

impl Pair {
    /// Both sides have sent a packet, and the client's was acknowledged.
    fn new() -> Self {
        let (client, server) = connected();
        let mut this = Self { now: Instant::now(), client: client.keys, server: server.keys };
        this.client_sends(0).unwrap();
        this.server_sends(0).unwrap();
        this.client.on_acked(this.now, PacketNumber::new(0), 0).unwrap();
        this
    }

    fn client_sends(&mut self, number: u64) -> Result<Opened, OpenError> {
        let packet = sealed(&mut self.client, number, b"to server");
        self.server_opens(packet)
    }

    fn server_sends(&mut self, number: u64) -> Result<Opened, OpenError> {
        let mut packet = sealed(&mut self.server, number, b"to client");
        let header = header_of(&packet);
        self.client.open(self.now, &header, &mut packet, Some(PacketNumber::new(number)))
    }

    fn server_opens(&mut self, mut packet: Vec<u8>) -> Result<Opened, OpenError> {
        let header = header_of(&packet);
        let largest = Some(PacketNumber::new(1000));
        let opened = self.server.open(self.now, &header, &mut packet, largest)?;
        assert_eq!(&packet[opened.payload.clone()], b"to server");
        Ok(opened)
    }

    fn update(&mut self) {
        self.client.initiate_key_update(self.now, PTO).unwrap();
    }

    /// The client acknowledges nothing, but the server's keys of before go.
    fn wait(&mut self) {
        self.now += Duration::from_secs(10);
    }
}

fn violation(reason: Violation) -> Result<Opened, OpenError> {
    let error = TransportError::new(reason);
    assert_eq!(error.code, TransportErrorCode::KEY_UPDATE_ERROR);
    Err(OpenError::Transport(error))
}

// req-test 9001-6.2-068, 9001-6.2-069, 9001-6.3-076, 9001-6-061, 9001-9.5-119
#[test]
fn a_key_update_of_one_side_is_followed_by_the_other() {
    let mut pair = Pair::new();
    assert_eq!(pair.client.key_phase(), KeyPhase::Zero);
    pair.update();
    assert_eq!((pair.client.key_phase(), pair.client.key_generation()), (KeyPhase::One, 1));

    let opened = pair.client_sends(1).unwrap();
    assert_eq!(opened.key_update, KeyUpdateProgress::StartedByPeer);
    assert_eq!(opened.key_generation, 1);
    // What the server sends from now on, its acknowledgement first, uses the new keys.
    assert_eq!((pair.server.key_phase(), pair.server.key_generation()), (KeyPhase::One, 1));
    let opened = pair.server_sends(1).unwrap();
    assert_eq!(opened.key_update, KeyUpdateProgress::FollowedByPeer);
    assert_eq!(opened.key_generation, 1);

    assert_eq!(pair.client_sends(2).unwrap().key_update, KeyUpdateProgress::None);
    assert_eq!(pair.server_sends(2).unwrap().key_update, KeyUpdateProgress::None);
}

// req-test 9001-6.1-066
#[test]
fn a_side_that_started_an_update_reads_old_keys_until_the_other_follows() {
    let mut pair = Pair::new();
    pair.update();
    for number in 1..5 {
        pair.wait();
        let opened = pair.server_sends(number).unwrap();
        assert_eq!(opened.key_generation, 0);
    }
}

// req-test 9001-6.1-067, 9001-6.5-082, 9001-6.5-083
#[test]
fn delayed_packets_are_opened_with_old_keys_for_a_while() {
    let mut pair = Pair::new();
    let delayed: Vec<_> = (1..4).map(|n| sealed(&mut pair.client, n, b"to server")).collect();
    pair.update();
    pair.client_sends(10).unwrap();
    pair.server.discard_previous_at(pair.now + 3 * PTO);

    let [in_time, last, late] = delayed.try_into().unwrap();
    assert_eq!(pair.server_opens(in_time).unwrap().key_generation, 0);
    pair.now += 3 * PTO - Duration::from_nanos(1);
    assert!(pair.server_opens(last).is_ok());
    pair.now += Duration::from_nanos(1);
    let dropped = OpenError::Discard(Discard::DecryptionFailed);
    assert_eq!(pair.server_opens(late), Err(dropped));
    assert!(pair.client_sends(11).is_ok());
}

// req-test 9001-6.4-077, 9001-6.4-078
#[test]
fn old_keys_for_a_newer_packet_are_an_error() {
    let mut pair = Pair::new();
    let newer = sealed(&mut pair.client, 20, b"to server");
    pair.update();
    pair.client_sends(10).unwrap();
    assert_eq!(pair.server_opens(newer), violation(Violation::KeyUpdateBackwards));
}

// req-test 9001-6.4-078
#[test]
fn new_keys_for_an_older_packet_are_an_error() {
    let mut pair = Pair::new();
    let old = sealed(&mut pair.client, 20, b"to server");
    pair.update();
    let new = sealed(&mut pair.client, 30, b"to server");
    let newest_in_order = sealed(&mut pair.client, 10, b"to server");
    pair.server_opens(new).unwrap();
    pair.server_opens(old).unwrap();
    assert_eq!(pair.server_opens(newest_in_order), violation(Violation::KeyUpdateBackwards));

    // The same if the packet with the lower number is what starts the update.
    let mut pair = Pair::new();
    pair.client_sends(20).unwrap();
    pair.update();
    assert_eq!(pair.client_sends(10), violation(Violation::KeyUpdateBackwards));
}

// req-test 9001-6.2-070
#[test]
fn a_second_update_before_the_first_was_answered_is_an_error() {
    let mut pair = Pair::new();
    pair.update();
    pair.client_sends(1).unwrap();
    // The server has sent nothing since, so the client cannot know that it has the new keys.
    pair.client.on_acked(pair.now, PacketNumber::new(1), 1).unwrap();
    pair.wait();
    pair.update();
    assert_eq!(pair.client_sends(2), violation(Violation::KeyUpdateTooEarly));
}

// req-test 9001-6.1-065, 9001-6.5-081, 9001-6.4-077
#[test]
fn keys_can_be_updated_again_and_again() {
    let mut pair = Pair::new();
    for generation in 1..10 {
        pair.update();
        assert_eq!(
            pair.client.initiate_key_update(pair.now, PTO),
            Err(KeyUpdateRefused::NotAcknowledged)
        );
        let opened = pair.client_sends(generation).unwrap();
        assert_eq!(opened.key_update, KeyUpdateProgress::StartedByPeer);
        let opened = pair.server_sends(generation).unwrap();
        assert_eq!(opened.key_generation, generation);
        pair.client.on_acked(pair.now, PacketNumber::new(generation), generation).unwrap();
        pair.now += 3 * PTO - Duration::from_nanos(1);
        assert_eq!(pair.client.initiate_key_update(pair.now, PTO), Err(KeyUpdateRefused::TooSoon));
        pair.now += Duration::from_nanos(1);
    }
}

#[test]
fn an_update_while_the_keys_of_before_are_still_kept_is_followed() {
    let mut pair = Pair::new();
    for generation in 1..4 {
        pair.update();
        pair.client_sends(generation).unwrap();
        pair.server_sends(generation).unwrap();
        pair.client.on_acked(pair.now, PacketNumber::new(generation), generation).unwrap();
        // Three probe timeouts of the client, and less than the server keeps its keys.
        pair.now += 3 * PTO;
    }
    assert_eq!(pair.server.key_generation(), 3);
}

// req-test 9001-6.1-064
#[test]
fn no_update_before_the_handshake_is_confirmed() {
    let (mut client, mut server) = pair();
    complete(&mut client, &mut server, usize::MAX).unwrap();
    let refused = Err(KeyUpdateRefused::HandshakeNotConfirmed);
    let now = Instant::now();
    sealed(&mut client.keys, 0, b"frames");
    client.keys.on_acked(now, PacketNumber::new(0), 0).unwrap();
    assert_eq!(client.keys.initiate_key_update(now, PTO), refused);
    client.keys.on_handshake_confirmed();
    client.keys.initiate_key_update(now, PTO).unwrap();
}

// req-test 9001-6.2-071
#[test]
fn an_acknowledgement_with_old_keys_for_a_packet_with_new_ones_is_an_error() {
    let mut pair = Pair::new();
    pair.update();
    let first = PacketNumber::new(5);
    pair.client_sends(first.into_inner()).unwrap();
    pair.client.on_acked(pair.now, PacketNumber::new(4), 0).unwrap();
    let error = pair.client.on_acked(pair.now, first, 0).unwrap_err();
    assert_eq!(error, TransportError::new(Violation::KeyUpdateNotFollowed));
    assert_eq!(error.code, TransportErrorCode::KEY_UPDATE_ERROR);
    pair.client.on_acked(pair.now, first, 1).unwrap();
}

// req-test 9001-5.5-048, 9001-6.3-075
#[test]
fn a_forged_update_changes_nothing() {
    let mut pair = Pair::new();
    let mut other = Pair::new();
    other.update();
    // Authentic for nobody here: made with the next keys of another connection, and with random
    // phase bits after header protection is removed with the wrong key.
    for number in 1..20 {
        let forged = sealed(&mut other.client, number, b"to server");
        let dropped = OpenError::Discard(Discard::DecryptionFailed);
        assert_eq!(pair.server_opens(forged), Err(dropped));
        assert_eq!(pair.server.key_generation(), 0);
        assert!(pair.client_sends(number).is_ok());
    }
    assert_eq!(pair.server.auth_failures(), 19);
}

#[test]
fn a_forged_packet_right_after_an_update_is_counted_once() {
    let mut pair = Pair::new();
    pair.update();
    pair.client_sends(1).unwrap();
    let mut forged = sealed(&mut pair.client, 2, b"to server");
    *forged.last_mut().unwrap() ^= 1;
    let dropped = OpenError::Discard(Discard::DecryptionFailed);
    assert_eq!(pair.server_opens(forged), Err(dropped));
    assert_eq!(pair.server.auth_failures(), 1);
}

// req-test 9001-5.3-044, 9001-6.6-086
#[test]
fn worn_keys_are_updated_before_they_are_worn_out() {
    let mut pair = Pair::new();
    let limit = 1 << 23;
    pair.client.pretend_sealed(limit - limit / 8 - 1);
    pair.client_sends(1).unwrap();
    assert_eq!(pair.client.key_generation(), 0);
    let opened = pair.client_sends(2).unwrap();
    assert_eq!(opened.key_update, KeyUpdateProgress::StartedByPeer);
    assert_eq!(pair.client.key_generation(), 1);
    // As long as the peer does not confirm, there is no second update.
    pair.client.pretend_sealed(limit);
    let worn_out = TransportError::new(Violation::ConfidentialityLimit);
    assert_eq!(sealed_with(&mut pair.client, 3, b"to server", |_| {}), Err(worn_out));
}

// req-test 9001-6-062
#[test]
fn an_update_puts_nothing_into_the_crypto_stream() {
    let (mut client, mut server) = connected();
    sealed(&mut client.keys, 0, b"frames");
    let now = Instant::now();
    client.keys.on_acked(now, PacketNumber::new(0), 0).unwrap();
    client.keys.initiate_key_update(now, PTO).unwrap();
    let mut packet = sealed(&mut client.keys, 1, b"frames");
    let header = header_of(&packet);
    server.keys.on_handshake_confirmed();
    sealed(&mut server.keys, 0, b"frames");
    server.keys.open(now, &header, &mut packet, None).unwrap();
    for peer in [&mut client, &mut server] {
        peer.collect();
        assert!(peer.outbox.iter().all(Vec::is_empty));
    }
}
