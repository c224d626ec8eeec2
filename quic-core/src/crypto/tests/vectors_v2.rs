//! The examples of RFC 9369, appendix A.

use std::time::Instant;

use serde_json::Value;

use super::super::Keyring;
use super::header_of;
use crate::wire::{ConnectionId, PacketNumber, Side, SpaceId, Version};

fn vectors() -> Value {
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
    Keyring::new(Version::V2, &dcid, side)
}

/// Seals the packet of `vector` with `payload` and compares it, then opens it at the other side.
#[track_caller]
fn check(sender: Side, vector: &Value, number: u64, payload: &[u8]) {
    let number = PacketNumber::new(number);
    let mut packet = bytes(&vector["unprotected_header"]);
    let header_len = packet.len();
    packet.extend_from_slice(payload);
    packet.extend_from_slice(&[0; 16]);
    keyring(sender).seal(SpaceId::Initial, number, &mut packet, header_len).unwrap();
    assert_eq!(packet, bytes(&vector["packet"]));

    let header = header_of(&packet);
    assert_eq!(header.version, Version::V2);
    let opened = keyring(!sender).open(Instant::now(), &header, &mut packet, None).unwrap();
    assert_eq!((opened.space, opened.packet_number), (SpaceId::Initial, number));
    assert_eq!(packet[opened.payload], *payload);
}

#[test]
fn a_client_initial_of_version_2_is_that_of_the_rfc() {
    let vectors = vectors();
    let vector = &vectors["client_initial"];
    let mut payload = bytes(&vector["crypto_frame"]);
    payload.resize(vector["padding_to_payload_len"].as_u64().unwrap() as usize, 0);
    check(Side::Client, vector, 2, &payload);
}

#[test]
fn a_server_initial_of_version_2_is_that_of_the_rfc() {
    let vectors = vectors();
    let vector = &vectors["server_initial"];
    check(Side::Server, vector, 1, &bytes(&vector["payload"]));
}

#[test]
fn packets_of_both_versions_open_while_the_version_is_open() {
    let vectors = vectors();
    let v1: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/rfc9001_appendix_a.json"))
            .unwrap();
    let mut keys = keyring(Side::Server);
    for vector in [&vectors["client_initial"], &v1["client_initial"]] {
        let mut packet = bytes(&vector["packet"]);
        let header = header_of(&packet);
        keys.open(Instant::now(), &header, &mut packet, None).unwrap();
    }
    // With the version field alone changed nothing fits.
    let mut packet = bytes(&v1["client_initial"]["packet"]);
    packet[1..5].copy_from_slice(&Version::V2.0.to_be_bytes());
    packet[0] = (packet[0] & 0xcf) | 0x10;
    let header = header_of(&packet);
    assert!(keys.open(Instant::now(), &header, &mut packet, None).is_err());
}
