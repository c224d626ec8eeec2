use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::error::Discard;
use crate::wire::cursor::Writer;
use crate::wire::test_support::unhex;
use crate::wire::{ConnectionId, PacketNumber, PacketType, Truncated, Version};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/rfc9001_appendix_a.json")).unwrap()
}

fn bytes(vectors: &Value, packet: &str, field: &str) -> Vec<u8> {
    unhex(vectors[packet][field].as_str().unwrap())
}

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

fn protected(datagram: &[u8], local_cid_len: usize) -> PartialHeader {
    match Header::decode(datagram, local_cid_len) {
        Ok(Header::Protected(header)) => header,
        other => panic!("{other:?}"),
    }
}

#[test]
fn published_initial_packets_are_located() {
    let vectors = vectors();
    let client = bytes(&vectors, "client_initial", "packet");
    let header = protected(&client, 8);
    assert_eq!((header.kind, header.version), (PacketType::Initial, Version::V1));
    assert_eq!(header.dcid, cid(&unhex("8394c8f03e515708")));
    assert_eq!((header.scid, header.token.len()), (ConnectionId::EMPTY, 0));
    assert_eq!((header.pn_offset, header.packet_len), (18, 1200));

    let server = bytes(&vectors, "server_initial", "packet");
    let header = protected(&server, 8);
    assert_eq!(header.scid, cid(&unhex("f067a5502a4262b5")));
    assert_eq!((header.dcid, header.pn_offset), (ConnectionId::EMPTY, 18));
    assert_eq!(header.packet_len, server.len());
}

#[test]
fn published_headers_are_written() {
    let vectors = vectors();
    let number = |value, len| Truncated::with_len(PacketNumber::new(value), len);
    let mut buf = [0; 1200];
    let mut writer = Writer::new(&mut buf);
    let client = LongHeader {
        ty: LongType::Initial { token: &[] },
        version: Version::V1,
        dcid: cid(&unhex("8394c8f03e515708")),
        scid: ConnectionId::EMPTY,
        packet_number: number(2, 4),
    };
    let encoded = client.encode(&mut writer);
    assert_eq!(writer.position(), client.size());
    encoded.finish_length(&mut buf, 1200);
    assert_eq!(buf[..client.size()], bytes(&vectors, "client_initial", "unprotected_header"));
    assert_eq!((encoded.start, encoded.pn_offset, encoded.payload_offset()), (0, 18, 22));

    let mut writer = Writer::new(&mut buf);
    let short = ShortHeader {
        dcid: ConnectionId::EMPTY,
        packet_number: number(654_360_564, 3),
        key_phase: KeyPhase::Zero,
        spin: false,
    };
    let encoded = short.encode(&mut writer);
    assert_eq!(writer.written(), bytes(&vectors, "chacha20_short", "unprotected_header"));
    assert_eq!((encoded.pn_offset, encoded.payload_offset()), (1, short.size()));
}

#[test]
fn a_published_retry_packet_is_read_and_written() {
    let packet = bytes(&vectors(), "retry", "packet");
    let Ok(Header::Retry(retry)) = Header::decode(&packet, 8) else { panic!() };
    assert_eq!(retry.token, b"token");
    assert_eq!(retry.tag[..], bytes(&vectors(), "retry", "tag"));
    assert_eq!((retry.dcid, retry.scid), (ConnectionId::EMPTY, cid(&unhex("f067a5502a4262b5"))));
    let mut buf = [0; 64];
    let mut writer = Writer::new(&mut buf);
    let (version, dcid, scid) = (retry.version, retry.dcid, retry.scid);
    RetryPacket { version, dcid, scid, token: retry.token, unused: 0x0f }.encode(&mut writer);
    assert_eq!(writer.written(), retry.without_tag);
}

// req-test 9000-17.2.5.2-409, 9000-17.2.5-400
#[test]
fn a_retry_packet_needs_a_token_and_its_unused_bits_do_not_matter() {
    let mut packet = bytes(&vectors(), "retry", "packet");
    for low in 0..16 {
        packet[0] = 0xf0 | low;
        assert!(matches!(Header::decode(&packet, 8), Ok(Header::Retry(_))));
    }
    packet.drain(15..20);
    assert_eq!(Header::decode(&packet, 8), Err(Discard::RetryTokenEmpty));
    packet.pop();
    assert_eq!(Header::decode(&packet, 8), Err(Discard::HeaderTruncated));
}

// req-test 9000-17.2-375, 9000-17.3.1-416
#[test]
fn packets_with_a_zero_fixed_bit_are_dropped() {
    let mut long = bytes(&vectors(), "client_initial", "packet");
    long[0] &= !0x40;
    assert_eq!(Header::decode(&long, 8), Err(Discard::FixedBitZero));
    assert_eq!(Header::decode(&[0x01; 40], 8), Err(Discard::FixedBitZero));
    assert_eq!(protected(&[0x41; 40], 8).kind, PacketType::OneRtt);
}

// req-test 9000-17.2-377, 9000-17.2-380, 9000-17.2-378, 9000-17.2-381, 9000-17.2.1-389
#[test]
fn long_connection_ids_are_only_for_other_versions() {
    let packet = |version: u32, dcid_len: u8, scid_len: u8| {
        let mut packet = vec![0xc0];
        packet.extend(version.to_be_bytes());
        for len in [dcid_len, scid_len] {
            packet.push(len);
            packet.extend(vec![len; usize::from(len)]);
        }
        packet.extend([0; 30]);
        packet
    };
    assert_eq!(Header::decode(&packet(1, 21, 0), 8), Err(Discard::ConnectionIdTooLong));
    assert_eq!(Header::decode(&packet(1, 0, 21), 8), Err(Discard::ConnectionIdTooLong));
    assert!(Header::decode(&packet(1, 20, 20), 8).is_ok());
    let other = packet(0x1a2a_3a4a, 255, 100);
    let Ok(Header::UnknownVersion(header)) = Header::decode(&other, 8) else { panic!() };
    assert_eq!((header.dcid, header.scid), (&[255; 255][..], &[100; 100][..]));
    assert_eq!(header.version, Version(0x1a2a_3a4a));
}

// req-test 9000-17.2.1-384, 9000-17.2.1-385, 9000-17.2.1-386, 8999-6-001
#[test]
fn a_version_negotiation_packet_survives_the_wire_whatever_its_unused_bits() {
    let versions = [Version::V1, Version(0x0a1a_2a3a)];
    let packet = VersionNegotiationPacket {
        dcid: &[1; 255],
        scid: &[2; 30],
        versions: &versions,
        unused: 0,
    };
    let mut buf = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut buf));
    assert_eq!((buf[0] & 0xc0, &buf[1..5]), (0xc0, &[0; 4][..]));
    for unused in 0..0x80 {
        buf[0] = 0x80 | unused;
        let Ok(Header::VersionNegotiation(read)) = Header::decode(&buf, 8) else { panic!() };
        assert_eq!((read.dcid, read.scid), (packet.dcid, packet.scid));
        assert!(read.versions.eq(versions));
    }
}

// req-test 8999-6-002
#[test]
fn a_version_negotiation_packet_without_whole_versions_is_dropped() {
    let packet = [0x80, 0, 0, 0, 0, 1, 7, 1, 8, 0, 0, 0, 1, 0, 0, 0];
    assert!(Header::decode(&packet[..13], 8).is_ok());
    for end in [9, 10, 12, 14, 16] {
        assert_eq!(Header::decode(&packet[..end], 8), Err(Discard::VersionsMissing));
    }
}

// req-test 9000-12.2-277
#[test]
fn coalesced_packets_are_told_apart_by_their_length() {
    let mut buf = [0; 100];
    let mut writer = Writer::new(&mut buf);
    let mut ends = Vec::new();
    let types = [LongType::Initial { token: b"t" }, LongType::ZeroRtt, LongType::Handshake];
    for (ty, payload) in types.into_iter().zip([20, 0, 11]) {
        let (dcid, scid) = (cid(b"dst"), cid(b"source"));
        let packet_number = Truncated::with_len(PacketNumber::new(1), 2);
        let header = LongHeader { ty, version: Version::V1, dcid, scid, packet_number };
        let encoded = header.encode(&mut writer);
        writer.zeros(payload);
        let end = writer.position();
        encoded.finish_length(writer.written_mut(), end);
        ends.push((encoded.start, end, encoded.pn_offset));
    }
    for (ty, (start, end, pn_offset)) in types.iter().zip(ends) {
        let header = protected(&buf[start..], 8);
        assert_eq!(header.kind, ty.packet_type());
        assert_eq!(start + header.packet_len, end);
        assert_eq!(start + header.pn_offset, pn_offset);
        assert_eq!((header.dcid, header.scid), (cid(b"dst"), cid(b"source")));
        let first = FirstByte(buf[start]);
        assert!(first.is_long() && !first.has_reserved_bits());
        assert_eq!(first.packet_number_len(), 2);
    }
    let initial = protected(&buf, 8);
    assert_eq!(&buf[initial.token], b"t");
}

#[test]
fn a_length_beyond_the_datagram_is_dropped() {
    let packet = bytes(&vectors(), "server_initial", "packet");
    for end in 0..packet.len() {
        let error = Header::decode(&packet[..end], 8).unwrap_err();
        let whole_header = end >= 18;
        let expected =
            if whole_header { Discard::LengthBeyondDatagram } else { Discard::HeaderTruncated };
        assert_eq!(error, expected, "{end}");
    }
}

#[test]
fn a_short_header_takes_connection_ids_of_the_local_length() {
    let packet = [0x43, 1, 2, 3, 4, 5, 6, 7];
    let header = protected(&packet, 4);
    assert_eq!(header.dcid, cid(&[1, 2, 3, 4]));
    assert_eq!((header.pn_offset, header.packet_len), (5, 8));
    assert_eq!(protected(&packet, 0).pn_offset, 1);
    assert_eq!(Header::decode(&packet, 8), Err(Discard::HeaderTruncated));
}

// req-test 9000-17.2-382, 9000-17.3.1-417
#[test]
fn bits_of_the_first_byte_are_written_and_read() {
    for (key_phase, spin, len) in
        [(KeyPhase::Zero, false, 1), (KeyPhase::One, false, 2), (KeyPhase::Zero, true, 4)]
    {
        let packet_number = Truncated::with_len(PacketNumber::new(9), len);
        let header = ShortHeader { dcid: cid(b"x"), packet_number, key_phase, spin };
        let mut buf = [0; 8];
        header.encode(&mut Writer::new(&mut buf));
        let first = FirstByte(buf[0]);
        assert!(!first.is_long() && first.is_fixed_bit_set() && !first.has_reserved_bits());
        assert_eq!((first.key_phase(), first.spin()), (key_phase, spin));
        assert_eq!(first.packet_number_len(), usize::from(len));
    }
    assert!(FirstByte(0x48).has_reserved_bits() && FirstByte(0x50).has_reserved_bits());
    assert!(FirstByte(0xc4).has_reserved_bits() && FirstByte(0xc8).has_reserved_bits());
    assert!(!FirstByte(0xf0).has_reserved_bits());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_datagram_gives_headers_or_a_reason_to_drop_it(
        mut datagram in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..120),
        first in prop_oneof![Just(0xc0u8), Just(0xf0), any::<u8>()],
        version in prop_oneof![Just(1u32), Just(0), any::<u32>()],
    ) {
        if datagram.len() > 6 {
            datagram[1] = first;
            datagram[2..6].copy_from_slice(&version.to_be_bytes());
        }
        crate::fuzz::header(&datagram);
    }

    #[test]
    fn any_bytes_are_parameters_or_refused(
        bytes in prop::collection::vec(prop_oneof![0u8..0x12, any::<u8>()], 0..80),
    ) {
        crate::fuzz::transport_parameters(&bytes);
    }
}

#[test]
fn version_2_has_other_numbers_for_the_same_types() {
    let number = Truncated::with_len(PacketNumber::new(1), 2);
    let types = [
        (LongType::Initial { token: &[] }, 0xd1),
        (LongType::ZeroRtt, 0xe1),
        (LongType::Handshake, 0xf1),
    ];
    for (ty, first) in types {
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        let ids = [cid(&[1; 8]), cid(&[2; 8])];
        let header = LongHeader {
            ty,
            version: Version::V2,
            dcid: ids[0],
            scid: ids[1],
            packet_number: number,
        };
        let encoded = header.encode(&mut writer);
        encoded.finish_length(&mut buf, 64);
        assert_eq!(buf[0], first);
        let read = protected(&buf, 8);
        assert_eq!((read.kind, read.version), (ty.packet_type(), Version::V2));
        assert_eq!([read.dcid, read.scid], ids);
    }
    let mut buf = [0; 64];
    let retry = RetryPacket {
        version: Version::V2,
        dcid: cid(&[1; 8]),
        scid: cid(&[2; 8]),
        token: b"token",
        unused: 0,
    };
    retry.encode(&mut Writer::new(&mut buf));
    assert_eq!(buf[0] & 0xf0, 0xc0);
    let Ok(Header::Retry(read)) = Header::decode(&buf[..retry.size() + 16], 8) else { panic!() };
    assert_eq!((read.version, read.token), (Version::V2, &b"token"[..]));
}
