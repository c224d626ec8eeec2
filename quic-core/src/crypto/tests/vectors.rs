//! The examples of RFC 9001, appendix A, and of RFC 9369, appendix A.

use std::time::Instant;

use ring::hkdf;
use rustls::crypto::cipher::{AeadKey, Iv};
use serde_json::Value;

use super::super::keys::{CountedKey, SealKeys};
use super::super::open::Protected;
use super::super::{Keyring, retry, seal};
use super::header_of;
use crate::wire::{ConnectionId, PacketNumber, Side, SpaceId, Version};

fn vectors() -> Value {
    let text = include_str!("../../../../tests/vectors/rfc9001_appendix_a.json");
    serde_json::from_str(text).unwrap()
}

fn vectors_v2() -> Value {
    let text = include_str!("../../../../tests/vectors/rfc9369_appendix_a.json");
    serde_json::from_str(text).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}

fn keyring(side: Side) -> Keyring {
    let dcid = ConnectionId::new(&bytes(&vectors()["keys"]["client_dcid"])).unwrap();
    Keyring::new(Version::V1, &dcid, side)
}

/// Header, payload and room for the tag.
fn unprotected(vector: &Value, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut packet = bytes(&vector["unprotected_header"]);
    let header_len = packet.len();
    packet.extend_from_slice(payload);
    packet.extend_from_slice(&[0; 16]);
    (packet, header_len)
}

fn client_payload() -> Vec<u8> {
    let vector = &vectors()["client_initial"];
    let mut payload = bytes(&vector["crypto_frame"]);
    payload.resize(vector["padding_to_payload_len"].as_u64().unwrap() as usize, 0);
    payload
}

// req-test 9001-5.2-041
#[test]
fn a_client_initial_is_sealed_byte_for_byte() {
    let vector = &vectors()["client_initial"];
    let (mut packet, header_len) = unprotected(vector, &client_payload());
    let number = PacketNumber::new(2);
    keyring(Side::Client).seal(SpaceId::Initial, number, &mut packet, header_len).unwrap();
    assert_eq!(packet, bytes(&vector["packet"]));
}

// req-test 9001-5.2-041
#[test]
fn a_client_initial_is_opened() {
    let mut packet = bytes(&vectors()["client_initial"]["packet"]);
    let header = header_of(&packet);
    let opened = keyring(Side::Server).open(Instant::now(), &header, &mut packet, None).unwrap();
    assert_eq!(opened.space, SpaceId::Initial);
    assert_eq!(opened.packet_number, PacketNumber::new(2));
    assert_eq!(packet[opened.payload], client_payload());
}

#[test]
fn a_server_initial_is_sealed_and_opened() {
    let vector = &vectors()["server_initial"];
    let payload = bytes(&vector["payload"]);
    let (mut packet, header_len) = unprotected(vector, &payload);
    let number = PacketNumber::new(1);
    keyring(Side::Server).seal(SpaceId::Initial, number, &mut packet, header_len).unwrap();
    assert_eq!(packet, bytes(&vector["packet"]));

    let header = header_of(&packet);
    let opened = keyring(Side::Client).open(Instant::now(), &header, &mut packet, None).unwrap();
    assert_eq!(opened.packet_number, number);
    assert_eq!(packet[opened.payload], payload);
}

// req-test 9000-17.2.5.2-408
#[test]
fn the_tag_of_a_retry_packet_is_made_and_checked() {
    let tables =
        [(Version::V1, vectors()["retry"].clone()), (Version::V2, vectors_v2()["retry"].clone())];
    for (version, vector) in tables {
        let original_dcid = ConnectionId::new(&bytes(&vector["original_dcid"])).unwrap();
        let mut packet = bytes(&vector["packet"]);
        let is_authentic = |id: &ConnectionId, packet: &[u8]| {
            let (without_tag, tag) = packet.split_last_chunk::<16>().unwrap();
            retry::is_authentic(version, id, without_tag, tag)
        };
        assert!(is_authentic(&original_dcid, &packet));
        assert!(!is_authentic(&ConnectionId::EMPTY, &packet));
        for index in 0..packet.len() {
            packet[index] ^= 1;
            assert!(!is_authentic(&original_dcid, &packet), "byte {index}");
            packet[index] ^= 1;
        }
    }
}

/// The keys of the ChaCha20 example, as TLS would have made them.
fn chacha20_keys() -> SealKeys {
    let vector = &vectors()["chacha20_short"];
    let suite = rustls::crypto::ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let algorithm = suite.tls13().unwrap().quic_suite().unwrap().quic;
    let key = |name: &str| AeadKey::from(<[u8; 32]>::try_from(bytes(&vector[name])).unwrap());
    let iv = Iv::from(<[u8; 12]>::try_from(bytes(&vector["iv"])).unwrap());
    SealKeys {
        header: algorithm.header_protection_key(key("hp")),
        packet: CountedKey::new(algorithm.packet_key(key("key"), iv)),
    }
}

#[test]
fn a_short_header_with_chacha20_is_sealed_and_opened() {
    let vector = &vectors()["chacha20_short"];
    let mut keys = chacha20_keys();
    let number = PacketNumber::new(vector["packet_number"].as_u64().unwrap());
    let (mut packet, header_len) = unprotected(vector, &[1]);
    seal::seal(&mut keys, number, &mut packet, header_len).unwrap();
    assert_eq!(packet, bytes(&vector["packet"]));
    assert_eq!(keys.packet.sealed, 1);

    let largest = PacketNumber::new(number.into_inner() - 1);
    let mut unprotected = Protected::new(&mut packet, 1).unprotect(&*keys.header, Some(largest));
    let plain = unprotected.as_mut().unwrap().decrypt(&*keys.packet.key).unwrap();
    assert_eq!(plain.packet_number, number);
    assert_eq!(packet[plain.payload], [1]);
}

// The labels that TLS uses for QUIC, computed apart from it.
#[test]
fn the_label_of_a_key_update_is_that_of_version_1() {
    let vector = &vectors()["chacha20_short"];
    let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &bytes(&vector["secret"]));
    let info: [&[u8]; 4] = [&[0, 32], &[13], b"tls13 quic ku", &[0]];
    let mut next = [0; 32];
    secret.expand(&info, hkdf::HKDF_SHA256).unwrap().fill(&mut next).unwrap();
    assert_eq!(next.to_vec(), bytes(&vector["ku"]));
}
