//! Opening and sealing packets, one generation of keys.

use std::time::Instant;

use super::*;
use crate::crypto::{OpenError, Opened};
use crate::error::{Discard, Violation};
use crate::wire::TransportErrorCode;
use crate::wire::Version;
use crate::wire::header::{LongHeader, LongType};

fn open(keys: &mut Keyring, packet: &mut [u8]) -> Result<Opened, OpenError> {
    let header = header_of(packet);
    keys.open(Instant::now(), &header, packet, None)
}

fn long_packet(keys: &mut Keyring, ty: LongType<'_>, payload: &[u8]) -> Vec<u8> {
    let number = PacketNumber::new(5);
    let cid = ConnectionId::new(b"abcd").unwrap();
    let mut packet = vec![0; 100 + payload.len()];
    let mut writer = Writer::new(&mut packet);
    let packet_number = Truncated::with_len(number, 2);
    let header = LongHeader { ty, version: Version::V1, dcid: cid, scid: cid, packet_number };
    let header = header.encode(&mut writer);
    writer.bytes(payload);
    let len = writer.position() + TAG_LEN;
    packet.truncate(len);
    header.finish_length(&mut packet, len);
    let space = match ty {
        LongType::Initial { .. } => SpaceId::Initial,
        LongType::Handshake | LongType::ZeroRtt => SpaceId::Handshake,
    };
    keys.seal(space, number, &mut packet, header.payload_offset()).unwrap();
    packet
}

#[test]
fn packets_of_every_space_travel_both_ways() {
    let (mut client, mut server) = connected();
    for _ in [Side::Client, Side::Server] {
        let (from, to) = (&mut client.keys, &mut server.keys);
        let initial = long_packet(from, LongType::Initial { token: b"token" }, b"initial frames");
        let handshake = long_packet(from, LongType::Handshake, b"handshake frames");
        let one_rtt = sealed(from, 5, b"one-rtt frames");
        let expected: [(_, _, &[u8]); 3] = [
            (SpaceId::Initial, initial, b"initial frames"),
            (SpaceId::Handshake, handshake, b"handshake frames"),
            (SpaceId::Data, one_rtt, b"one-rtt frames"),
        ];
        for (space, mut packet, payload) in expected {
            let opened = open(to, &mut packet).unwrap();
            assert_eq!((opened.space, opened.packet_number), (space, PacketNumber::new(5)));
            assert_eq!(&packet[opened.payload], payload);
        }
        std::mem::swap(&mut client, &mut server);
    }
}

// req-test 9001-5.7-056, 9001-5.7-057, 9001-5.7-060
#[test]
fn one_rtt_packets_wait_until_the_handshake_is_complete() {
    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    // A server has 1-RTT keys as soon as it has answered, and may send, but not read.
    assert!(server.keys.has(SpaceId::Data) && !server.keys.can_open(SpaceId::Data));
    server.deliver(&mut client, usize::MAX).unwrap();
    let mut packet = sealed(&mut client.keys, 0, b"early bird");
    let missing = OpenError::Discard(Discard::KeysMissing);
    assert_eq!(open(&mut server.keys, &mut packet), Err(missing));
    client.deliver(&mut server, usize::MAX).unwrap();
    assert!(open(&mut server.keys, &mut packet).is_ok());
}

// req-test 9001-5.6-053, 9001-5.6-054, 9001-4.6.2-021
#[test]
fn early_data_is_never_opened() {
    let (mut client, mut server) = connected();
    for keys in [&mut client.keys, &mut server.keys] {
        let mut packet = long_packet(keys, LongType::ZeroRtt, b"early data");
        let rejected = OpenError::Discard(Discard::ZeroRttRejected);
        assert_eq!(open(keys, &mut packet), Err(rejected));
    }
}

#[test]
fn without_keys_nothing_is_opened_or_sealed() {
    let (mut client, mut server) = connected();
    let mut initial = long_packet(&mut client.keys, LongType::Initial { token: b"" }, b"frames");
    let mut one_rtt = sealed(&mut client.keys, 1, b"frames");
    for space in SpaceId::ALL {
        assert!(server.keys.has(space));
        server.keys.discard(space);
        assert!(!server.keys.has(space) && !server.keys.can_open(space));
        let mut packet = vec![0x40; 64];
        let sealed = server.keys.seal(space, PacketNumber::new(9), &mut packet, 8);
        assert_eq!(sealed, Err(TransportError::new(Violation::Internal)));
        assert_eq!(packet, [0x40; 64]);
    }
    for packet in [&mut initial, &mut one_rtt] {
        let missing = OpenError::Discard(Discard::KeysMissing);
        assert_eq!(open(&mut server.keys, packet), Err(missing));
    }
}

// req-test 9001-5.5-047
#[test]
fn a_packet_with_any_bit_changed_is_dropped() {
    let (mut client, mut server) = connected();
    let packet = sealed(&mut client.keys, 77, b"some frames");
    for bit in 0..packet.len() * 8 {
        let mut damaged = packet.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(Header::Protected(header)) = Header::decode(&damaged, 0) else { continue };
        let outcome = server.keys.open(Instant::now(), &header, &mut damaged, None);
        assert!(matches!(outcome, Err(OpenError::Discard(_))), "bit {bit}: {outcome:?}");
    }
    assert!(server.keys.auth_failures() > 0);
    assert!(open(&mut server.keys, &mut packet.clone()).is_ok());
}

// req-test 9001-5.4.2-046
#[test]
fn a_packet_too_short_for_the_sample_is_dropped() {
    let (mut client, mut server) = connected();
    let packet = sealed(&mut client.keys, 1, b"");
    assert_eq!(packet.len(), 1 + 4 + 16);
    for len in 1..packet.len() {
        let mut short = packet[..len].to_vec();
        let too_short = OpenError::Discard(Discard::TooShortToSample);
        assert_eq!(open(&mut server.keys, &mut short), Err(too_short), "{len} bytes");
    }
    assert_eq!(server.keys.auth_failures(), 0);
}

// req-test 9000-17.2-383, 9000-17.3.1-418
#[test]
fn reserved_bits_are_an_error_in_an_authentic_packet_only() {
    let (mut client, mut server) = connected();
    for bit in [0x08, 0x10] {
        let packet = sealed_with(&mut client.keys, 1, b"frames", |packet| packet[0] |= bit);
        let mut packet = packet.unwrap();
        let mut forged = packet.clone();
        *forged.last_mut().unwrap() ^= 1;
        let dropped = OpenError::Discard(Discard::DecryptionFailed);
        assert_eq!(open(&mut server.keys, &mut forged), Err(dropped));
        let Err(OpenError::Transport(error)) = open(&mut server.keys, &mut packet) else {
            panic!("reserved bit {bit:#x} accepted");
        };
        assert_eq!(error.reason, Violation::ReservedBitsSet);
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
    }
}

// req-test 9000-12.4-290
#[test]
fn a_packet_without_frames_is_an_error() {
    let (mut client, mut server) = connected();
    let mut packet = sealed(&mut client.keys, 1, b"");
    let empty = TransportError::new(Violation::PacketEmpty);
    assert_eq!(open(&mut server.keys, &mut packet), Err(OpenError::Transport(empty)));
}

#[test]
fn the_spin_bit_is_read_and_is_not_protected() {
    let (mut client, mut server) = connected();
    let packet = sealed_with(&mut client.keys, 1, b"frames", |packet| packet[0] |= 0x20);
    let mut packet = packet.unwrap();
    assert_eq!(packet[0] & 0x20, 0x20);
    assert!(open(&mut server.keys, &mut packet).unwrap().spin);
    let mut packet = sealed(&mut client.keys, 2, b"frames");
    assert!(!open(&mut server.keys, &mut packet).unwrap().spin);
}

#[test]
fn packet_numbers_are_recovered_with_the_largest_one_received() {
    let (mut client, mut server) = connected();
    let number = (1 << 40) + 12_345;
    let mut packet = sealed(&mut client.keys, number, b"frames");
    let header = header_of(&packet);
    let largest = Some(PacketNumber::new(number - 1000));
    let opened = server.keys.open(Instant::now(), &header, &mut packet, largest).unwrap();
    assert_eq!(opened.packet_number, PacketNumber::new(number));
}

// req-test 9001-6.6-089, 9001-6.6-090, 9001-6.6-087
#[test]
fn too_many_packets_that_fail_end_the_connection() {
    let (mut client, mut server) = connected();
    // The limit of AES-GCM.
    server.keys.pretend_auth_failures((1 << 52) - 1);
    let packet = sealed(&mut client.keys, 1, b"frames");
    let mut forged = packet.clone();
    forged[10] ^= 1;
    let dropped = OpenError::Discard(Discard::DecryptionFailed);
    assert_eq!(open(&mut server.keys, &mut forged.clone()), Err(dropped));
    let limit = TransportError::new(Violation::IntegrityLimit);
    assert_eq!(limit.code, TransportErrorCode::AEAD_LIMIT_REACHED);
    assert_eq!(open(&mut server.keys, &mut forged), Err(OpenError::Transport(limit)));
}

// req-test 9001-6.6-084, 9001-6.6-085, 9001-6.6-088
#[test]
fn worn_out_keys_seal_nothing() {
    let (mut client, _) = connected();
    client.keys.pretend_sealed((1 << 23) - 1);
    assert!(sealed_with(&mut client.keys, 1, b"frames", |_| {}).is_ok());
    let limit = TransportError::new(Violation::ConfidentialityLimit);
    assert_eq!(sealed_with(&mut client.keys, 2, b"frames", |_| {}), Err(limit));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_keyring_panic(mut data: Vec<u8>, largest: Option<u32>) {
        let dcid = ConnectionId::new(b"dcid").unwrap();
        let mut keys = Keyring::new(Version::V1, &dcid, Side::Server);
        if let Ok(Header::Protected(header)) = Header::decode(&data.clone(), 4) {
            let largest = largest.map(|number| PacketNumber::new(number.into()));
            let outcome = keys.open(Instant::now(), &header, &mut data, largest);
            proptest::prop_assert!(outcome.is_err());
        }
    }
}
