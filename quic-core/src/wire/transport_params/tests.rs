use proptest::prelude::*;

use super::*;
use crate::wire::Side;
use crate::wire::test_support::csv_rows;

#[test]
fn identifiers_and_defaults_match_the_registry() {
    let table = include_str!("../../../../tests/vectors/transport_parameters.csv");
    let rows: Vec<_> = csv_rows(table).collect();
    for (field, id, default) in TransportParameters::INTEGER_TABLE {
        let name = field.trim_end_matches("_ms");
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        assert_eq!(u64::from_str_radix(&row[0][2..], 16), Ok(*id), "{field}");
        assert!(row[3].starts_with("varint"), "{field}");
        let limits = &row[4];
        match default {
            0 => {
                assert!(limits.contains("default 0") || limits.contains("0 = disabled"), "{field}")
            }
            _ => assert!(limits.contains(&format!("default {default}")), "{field}"),
        }
    }
    let others = [
        ("original_destination_connection_id", id::ORIGINAL_DESTINATION_CONNECTION_ID),
        ("stateless_reset_token", id::STATELESS_RESET_TOKEN),
        ("disable_active_migration", id::DISABLE_ACTIVE_MIGRATION),
        ("preferred_address", id::PREFERRED_ADDRESS),
        ("initial_source_connection_id", id::INITIAL_SOURCE_CONNECTION_ID),
        ("retry_source_connection_id", id::RETRY_SOURCE_CONNECTION_ID),
    ];
    for (name, id) in others {
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        assert_eq!(u64::from_str_radix(&row[0][2..], 16), Ok(id), "{name}");
    }
    for (name, id) in
        [("version_information", id::VERSION_INFORMATION), ("grease_quic_bit", id::GREASE_QUIC_BIT)]
    {
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        assert_eq!(u64::from_str_radix(&row[0][2..], 16), Ok(id), "{name}");
    }
    let base = rows.iter().filter(|row| row[5].contains("RFC 9000") && row[0].len() == 4).count();
    assert_eq!(base, TransportParameters::INTEGER_TABLE.len() + others.len());
}

fn reason(bytes: &[u8], from: Side) -> Violation {
    let error = TransportParameters::decode(bytes, from).unwrap_err();
    assert_eq!(error.code, crate::wire::TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
    error.reason
}

// req-test 9000-7.4-097
#[test]
fn a_parameter_sent_twice_is_refused() {
    assert_eq!(reason(&[1, 1, 5, 1, 1, 5], Side::Client), Violation::ParameterDuplicate);
    assert_eq!(reason(&[27, 0, 1, 1, 5, 27, 0], Side::Server), Violation::ParameterDuplicate);
}

// req-test 9000-7.4-095, 9000-18.2-433, 9000-4.6-033
#[test]
fn values_just_outside_their_limits_are_refused() {
    let cases = [
        (0x03, 1199, 1200),
        (0x08, (1 << 60) + 1, 1 << 60),
        (0x09, (1 << 60) + 1, 1 << 60),
        (0x0a, 21, 20),
        (0x0b, 1 << 14, (1 << 14) - 1),
        (0x0e, 1, 2),
    ];
    for (id, wrong, right) in cases {
        let encode = |value| {
            let mut buf = [0; 16];
            let mut writer = crate::wire::Writer::new(&mut buf);
            writer.varint(id);
            writer.varint(varint::size(value) as u64);
            writer.varint(value);
            writer.written().to_vec()
        };
        assert_eq!(reason(&encode(wrong), Side::Client), Violation::ParameterOutOfRange, "{id}");
        assert!(TransportParameters::decode(&encode(right), Side::Client).is_ok(), "{id}");
    }
}

#[test]
fn values_of_the_wrong_length_are_refused() {
    let long_cid = [&[0x0f, 21][..], &[7; 21]].concat();
    let cases: [&[u8]; 9] = [
        &[0x6a, 0xb2, 1, 0], // RFC 9287: a flag with a value
        &[0x04, 2, 5, 5],    // an integer and one byte more
        &[0x04, 0],          // an integer of no bytes
        &[0x04, 1, 0x40],    // half an integer
        &[0x0c, 1, 0],       // a flag with a value
        &[0x02, 2, 1, 1],    // a short reset token
        &long_cid,           // a long connection ID
        &[0x04, 5, 1],       // a length beyond the end
        &[0x04],             // no length
    ];
    for bytes in cases {
        assert_eq!(reason(bytes, Side::Server), Violation::ParametersMalformed, "{bytes:x?}");
    }
}

// req-test 9000-18.2-434, 9000-18.2-435, 9000-18.2-425
#[test]
fn what_only_servers_may_send_is_refused_from_clients() {
    let address = encode(&TransportParameters {
        preferred_address: Some(preferred_address(4)),
        ..Default::default()
    });
    let token = [&[0x02, 16][..], &[1; 16]].concat();
    for bytes in [&[0x00, 0][..], &[0x10, 1, 9], &token, &address] {
        assert_eq!(reason(bytes, Side::Client), Violation::ParameterFromClient);
        assert!(TransportParameters::decode(bytes, Side::Server).is_ok());
    }
}

fn preferred_address(cid_len: usize) -> PreferredAddress {
    PreferredAddress {
        ipv4: Some("192.0.2.1:443".parse().unwrap()),
        ipv6: None,
        connection_id: ConnectionId::new(&[5; 20][..cid_len]).unwrap(),
        stateless_reset_token: ResetToken::new([8; 16]),
    }
}

fn encode(parameters: &TransportParameters) -> Vec<u8> {
    let mut out = Vec::new();
    parameters.encode(Side::Server, None, &mut out);
    out
}

// req-test 9000-18.2-430, 9000-18.2-431
#[test]
fn a_preferred_address_needs_a_connection_id() {
    let mut bytes = encode(&TransportParameters {
        preferred_address: Some(preferred_address(1)),
        ..Default::default()
    });
    bytes[1] -= 1;
    bytes[2 + 24] = 0;
    bytes.remove(2 + 25);
    assert_eq!(reason(&bytes, Side::Server), Violation::PreferredAddressInvalid);
}

// req-test 9000-18.2-428
#[test]
fn a_preferred_address_may_be_of_one_family() {
    let parameters = TransportParameters {
        preferred_address: Some(preferred_address(20)),
        ..Default::default()
    };
    let decoded = TransportParameters::decode(&encode(&parameters), Side::Server).unwrap();
    assert_eq!(decoded, parameters);
    assert_eq!(decoded.preferred_address.unwrap().ipv6, None);
}

#[test]
fn unknown_and_reserved_parameters_are_ignored() {
    let mut bytes = vec![0x40, 0x99, 3, 1, 2, 3];
    let reserved = ReservedParameter::new(1000, b"grease");
    assert_eq!(reserved.id() % 31, 27);
    TransportParameters { initial_max_data: 77, ..Default::default() }.encode(
        Side::Client,
        Some(reserved),
        &mut bytes,
    );
    assert!(bytes.ends_with(b"grease"));
    let decoded = TransportParameters::decode(&bytes, Side::Client).unwrap();
    assert_eq!(decoded, TransportParameters { initial_max_data: 77, ..Default::default() });
}

// req-test 9000-7.3-091, 9000-7.3-092, 9000-7.3-093, 9000-7.3-094
#[test]
fn connection_ids_must_be_those_of_the_handshake() {
    let id = |byte| ConnectionId::new(&[byte; 8]).unwrap();
    let seen_by_client = |retry| HandshakeConnectionIds::Client {
        original_destination: id(1),
        initial_source: id(2),
        retry_source: retry,
    };
    let check = |original, initial, retry, seen| {
        let parameters = TransportParameters {
            original_destination_connection_id: original,
            initial_source_connection_id: initial,
            retry_source_connection_id: retry,
            ..Default::default()
        };
        parameters.authenticate(seen).map_err(|error| error.reason)
    };
    let (one, two, three) = (Some(id(1)), Some(id(2)), Some(id(3)));
    let plain = seen_by_client(None);
    let retried = seen_by_client(three);
    assert_eq!(check(one, two, None, plain), Ok(()));
    assert_eq!(check(one, two, three, retried), Ok(()));
    assert_eq!(check(one, None, None, plain), Err(Violation::InitialSourceMissing));
    assert_eq!(check(one, three, None, plain), Err(Violation::InitialSourceMismatch));
    assert_eq!(check(None, two, None, plain), Err(Violation::OriginalDestinationMissing));
    assert_eq!(check(two, two, None, plain), Err(Violation::OriginalDestinationMismatch));
    assert_eq!(check(one, two, three, plain), Err(Violation::RetrySourceUnexpected));
    assert_eq!(check(one, two, None, retried), Err(Violation::RetrySourceMissing));
    assert_eq!(check(one, two, one, retried), Err(Violation::RetrySourceMismatch));

    let server = HandshakeConnectionIds::Server { initial_source: id(2) };
    assert_eq!(check(None, two, None, server), Ok(()));
    assert_eq!(check(None, one, None, server), Err(Violation::InitialSourceMismatch));
    assert_eq!(check(None, None, None, server), Err(Violation::InitialSourceMissing));
}

fn connection_id() -> impl Strategy<Value = ConnectionId> {
    prop::collection::vec(any::<u8>(), 0..=20).prop_map(|bytes| ConnectionId::new(&bytes).unwrap())
}

prop_compose! {
    fn any_preferred_address()(
        ipv4 in prop::option::of((any::<[u8; 4]>(), 1..=u16::MAX)),
        ipv6 in prop::option::of((any::<[u8; 16]>(), 1..=u16::MAX)),
        connection_id in prop::collection::vec(any::<u8>(), 1..=20),
        token in any::<[u8; 16]>(),
    ) -> PreferredAddress {
        use std::net::{SocketAddrV4, SocketAddrV6};
        PreferredAddress {
            ipv4: ipv4.map(|(ip, port)| SocketAddrV4::new(ip.into(), port)),
            ipv6: ipv6.map(|(ip, port)| SocketAddrV6::new(ip.into(), port, 0, 0)),
            connection_id: ConnectionId::new(&connection_id).unwrap(),
            stateless_reset_token: ResetToken::new(token),
        }
    }
}

prop_compose! {
    fn common()(
        sizes in prop::array::uniform6(0..=varint::MAX),
        streams in prop::array::uniform2(0..=StreamId::MAX_COUNT),
        max_udp_payload_size in 1200..=varint::MAX,
        ack_delay_exponent in 0u64..=20,
        max_ack_delay_ms in 0u64..1 << 14,
        active_connection_id_limit in 2..=varint::MAX,
        disable_active_migration in any::<bool>(),
        initial_source_connection_id in prop::option::of(connection_id()),
    ) -> TransportParameters {
        TransportParameters {
            max_idle_timeout_ms: sizes[0],
            max_udp_payload_size,
            initial_max_data: sizes[1],
            initial_max_stream_data_bidi_local: sizes[2],
            initial_max_stream_data_bidi_remote: sizes[3],
            initial_max_stream_data_uni: sizes[4],
            initial_max_streams_bidi: streams[0],
            initial_max_streams_uni: streams[1],
            ack_delay_exponent,
            max_ack_delay_ms,
            active_connection_id_limit,
            disable_active_migration,
            initial_source_connection_id,
            ..Default::default()
        }
    }
}

prop_compose! {
    fn from_server()(
        common in common(),
        original in prop::option::of(connection_id()),
        retry in prop::option::of(connection_id()),
        token in prop::option::of(any::<[u8; 16]>()),
        preferred_address in prop::option::of(any_preferred_address()),
    ) -> TransportParameters {
        TransportParameters {
            original_destination_connection_id: original,
            retry_source_connection_id: retry,
            stateless_reset_token: token.map(ResetToken::new),
            preferred_address,
            ..common
        }
    }
}

proptest! {
    // req-test 9000-7.4-096
    #[test]
    fn parameters_survive_the_wire(parameters in from_server(), n in any::<u32>()) {
        let mut bytes = Vec::new();
        parameters.encode(Side::Server, Some(ReservedParameter::new(n, b"x")), &mut bytes);
        prop_assert_eq!(TransportParameters::decode(&bytes, Side::Server).unwrap(), parameters);
    }

    #[test]
    fn clients_parameters_survive_the_wire(parameters in common()) {
        let mut bytes = Vec::new();
        parameters.encode(Side::Client, None, &mut bytes);
        prop_assert_eq!(TransportParameters::decode(&bytes, Side::Client).unwrap(), parameters);
    }

    #[test]
    fn a_cut_off_end_gives_an_error_or_fewer_parameters(parameters in from_server()) {
        let bytes = encode(&parameters);
        for end in 0..bytes.len() {
            if let Ok(decoded) = TransportParameters::decode(&bytes[..end], Side::Server) {
                prop_assert_ne!(decoded, parameters.clone());
            }
        }
    }
}
