//! The TLS handshake: fragments, levels, and everything that can be wrong with the other side.

use std::time::{Duration, Instant};

use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256 as AES_128, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::{RootCertStore, SupportedCipherSuite};

use super::*;
use crate::crypto::client_config;
use crate::error::{ConnectionError, Violation};
use crate::wire::TransportErrorCode;

fn alert(number: u8) -> TransportErrorCode {
    TransportErrorCode::crypto(number)
}

// req-test 9001-8.2-103
#[test]
fn a_handshake_completes_with_crypto_data_in_portions_of_any_size() {
    for portion in [1, 2, 3, 7, 100, 1000, usize::MAX] {
        let (mut client, mut server) = pair();
        complete(&mut client, &mut server, portion).unwrap();
        for peer in [&client, &server] {
            assert!(!peer.session.is_handshaking(), "portions of {portion} bytes");
            assert_eq!(peer.session.alpn(), Some(&b"h3"[..]));
            assert_eq!(peer.session.server_name().as_deref(), Some(NAME));
            assert!(SpaceId::ALL.into_iter().all(|space| peer.keys.can_open(space)));
            assert_eq!(peer.session.read_level(), SpaceId::Data);
            assert_eq!(peer.session.write_level(), SpaceId::Data);
            assert!(peer.session.failure().is_none());
        }
        assert_eq!(client.session.peer_params(), Some(SERVER_PARAMS));
        assert_eq!(server.session.peer_params(), Some(CLIENT_PARAMS));
        assert_eq!(client.session.peer_certificates().unwrap().len(), 1);
    }
}

#[test]
fn a_handshake_survives_a_cut_at_every_byte_of_every_flight() {
    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    let longest = server.outbox.iter().map(Vec::len).max().unwrap();
    for portion in 1..longest {
        let (mut client, mut server) = pair();
        complete(&mut client, &mut server, portion).unwrap();
        assert!(!server.session.is_handshaking(), "portions of {portion} bytes");
    }
}

// req-test 9001-4.5-018
#[test]
fn a_client_takes_session_tickets_after_the_handshake() {
    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    server.deliver(&mut client, usize::MAX).unwrap();
    client.deliver(&mut server, usize::MAX).unwrap();
    assert!(!server.outbox[SpaceId::Data as usize].is_empty());
    server.deliver(&mut client, 10).unwrap();
}

// req-test 9001-4.1.3-005, 9001-4.1.3-006
#[test]
fn crypto_data_at_a_level_that_is_over_or_not_begun_is_refused() {
    let (mut client, mut server) = pair();
    let wrong = TransportError::new(Violation::CryptoDataAtWrongLevel);
    assert_eq!(wrong.code, TransportErrorCode::PROTOCOL_VIOLATION);
    assert_eq!(server.read(SpaceId::Handshake, &[1]), Err(wrong));
    assert_eq!(server.read(SpaceId::Data, &[1]), Err(wrong));
    complete(&mut client, &mut server, usize::MAX).unwrap();
    assert_eq!(client.read(SpaceId::Initial, &[1]), Err(wrong));
    assert_eq!(client.read(SpaceId::Handshake, &[1]), Err(wrong));
}

// req-test 9001-4.1.3-007
#[test]
fn crypto_data_behind_the_last_message_of_a_level_is_refused() {
    let left_over = Err(TransportError::new(Violation::CryptoDataLeftOver));

    let (mut client, mut server) = pair();
    client.outbox[0].push(1);
    assert_eq!(client.deliver(&mut server, usize::MAX), left_over);

    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    server.outbox[0].extend_from_slice(&[8, 0]);
    assert_eq!(server.deliver(&mut client, usize::MAX), left_over);

    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    server.outbox[1].push(4);
    assert_eq!(server.deliver(&mut client, usize::MAX), left_over);
}

// req-test 9001-8.1-097, 9001-8.1-100, 9001-8.1-101
#[test]
fn a_server_refuses_a_client_without_a_common_protocol_and_names_both() {
    let (mut client, server) = configs(&[b"h3"]);
    client.alpn_protocols = vec![b"hq-interop".to_vec(), b"x".to_vec()];
    let (mut client, mut server) = pair_of(client, server);
    let error = client.deliver(&mut server, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(120));
    assert_eq!(error.code, TransportErrorCode(0x178));
    assert_eq!(
        server.session.connection_error(error),
        ConnectionError::AlpnMismatch {
            ours: vec![b"h3".to_vec()],
            theirs: vec![b"hq-interop".to_vec(), b"x".to_vec()],
        }
    );
}

// req-test 9001-8.1-096, 9001-8.1-097, 9001-8.1-098, 9000-7-084
#[test]
fn no_side_goes_on_without_an_application_protocol() {
    // A server that knows none does not answer the client's list.
    let (client, server) = configs(&[]);
    let (mut client, mut server) = pair_of(client, server);
    let error = client.deliver(&mut server, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(120));

    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    let extensions = &mut server.outbox[SpaceId::Handshake as usize];
    remove_encrypted_extension(extensions, 16);
    let error = server.deliver(&mut client, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(120));
    let expected = ConnectionError::AlpnMismatch { ours: vec![b"h3".to_vec()], theirs: Vec::new() };
    assert_eq!(client.session.connection_error(error), expected);
}

// req-test 9001-8.1-098, 9001-8.1-102
#[test]
fn a_client_refuses_a_protocol_that_it_did_not_offer() {
    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    let extensions = &mut server.outbox[SpaceId::Handshake as usize];
    let at = extensions.windows(3).position(|bytes| bytes == b"\x02h3").unwrap();
    extensions[at + 2] = b'4';
    let error = server.deliver(&mut client, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(120));
}

// req-test 9001-5.3-042
#[test]
fn a_cipher_suite_without_header_protection_cannot_be_used() {
    let suite = AES_128.tls13().unwrap();
    let common = rustls::crypto::CipherSuiteCommon {
        suite: suite.common.suite,
        hash_provider: suite.common.hash_provider,
        confidentiality_limit: suite.common.confidentiality_limit,
    };
    let without = rustls::Tls13CipherSuite {
        common,
        hkdf_provider: suite.hkdf_provider,
        aead_alg: suite.aead_alg,
        quic: None,
    };
    let without = SupportedCipherSuite::Tls13(Box::leak(Box::new(without)));
    let (client, server) = configs_with(only(without), &[b"h3"]);
    let name = ServerName::try_from(NAME).unwrap();
    assert!(Session::client(Arc::new(client), Version::V1, name, Vec::new()).is_err());
    assert!(Session::server(Arc::new(server), Version::V1, Vec::new()).is_err());
}

#[test]
fn every_cipher_suite_protects_packets_and_updates_keys() {
    for suite in [AES_128, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256] {
        let (client, server) = configs_with(only(suite), &[b"h3"]);
        let (mut client, mut server) = pair_of(client, server);
        complete(&mut client, &mut server, usize::MAX).unwrap();
        client.keys.on_handshake_confirmed();
        let now = Instant::now();
        for generation in 0..3 {
            let number = PacketNumber::new(generation);
            let mut packet = sealed(&mut client.keys, generation, b"frames");
            let header = header_of(&packet);
            let opened = server.keys.open(now, &header, &mut packet, None).unwrap();
            assert_eq!(opened.key_generation, generation);
            sealed(&mut server.keys, generation, b"frames");
            client.keys.on_acked(now, number, generation).unwrap();
            client.keys.initiate_key_update(now, Duration::ZERO).unwrap();
        }
    }
}

/// A provider with no other cipher suite.
fn only(suite: SupportedCipherSuite) -> CryptoProvider {
    CryptoProvider { cipher_suites: vec![suite], ..provider() }
}

// req-test 9001-8.3-106, 9001-5.6-049
#[test]
fn a_client_sends_a_finished_message_and_no_end_of_early_data() {
    let (mut client, mut server) = pair();
    // The early_data extension.
    assert!(!client.outbox[0].windows(4).any(|bytes| bytes == [0, 42, 0, 0]));
    client.deliver(&mut server, usize::MAX).unwrap();
    server.deliver(&mut client, usize::MAX).unwrap();
    let flight = &client.outbox[SpaceId::Handshake as usize];
    assert_eq!(flight[..3], [20, 0, 0]);
    assert_eq!(flight.len(), 4 + usize::from(flight[3]));
    assert!(client.outbox[0].is_empty() && client.outbox[2].is_empty());
}

// req-test 9001-8.2-103
#[test]
fn transport_parameters_must_be_there() {
    let missing_extension = TransportErrorCode(0x16d);

    let (mut client, mut server) = pair();
    let hello = &mut client.outbox[0];
    let len = CLIENT_PARAMS.len() as u8;
    let at = hello.windows(4).position(|bytes| bytes == [0, 0x39, 0, len]).unwrap();
    // An extension that nobody knows takes its place.
    hello[at..at + 2].copy_from_slice(&[0xfa, 0xce]);
    let error = client.deliver(&mut server, usize::MAX).unwrap_err();
    assert_eq!(error.code, missing_extension);

    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    remove_encrypted_extension(&mut server.outbox[SpaceId::Handshake as usize], 0x39);
    let error = server.deliver(&mut client, usize::MAX).unwrap_err();
    assert_eq!(error.code, missing_extension);
}

/// Removes an extension from the EncryptedExtensions message that `flight` begins with.
fn remove_encrypted_extension(flight: &mut Vec<u8>, wanted: u16) {
    assert_eq!(flight[0], 8);
    let mut at = 6;
    loop {
        let ty = u16::from_be_bytes([flight[at], flight[at + 1]]);
        let len = 4 + usize::from(u16::from_be_bytes([flight[at + 2], flight[at + 3]]));
        if ty == wanted {
            flight.drain(at..at + len);
            flight[3] -= len as u8;
            flight[5] -= len as u8;
            return;
        }
        at += len;
    }
}

// req-test 9001-4.4-013, 9000-7-083, 9114-3.1-002
#[test]
fn a_client_refuses_a_certificate_that_it_does_not_trust_and_says_why() {
    let (_, server) = configs(&[b"h3"]);
    let client = client_config(RootCertStore::empty(), &[b"h3"]).unwrap();
    let (mut client, mut server) = pair_of(client, server);
    client.deliver(&mut server, usize::MAX).unwrap();
    let error = server.deliver(&mut client, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(48));
    let reason = client.session.connection_error(error);
    assert!(reason.to_string().contains("UnknownIssuer"), "{reason}");
    assert_eq!(reason.tls_alert(), Some(48));
}

// req-test 9001-4.4-013, 9000-7-083, 9114-3.1-001, 9114-3.1-002
#[test]
fn a_client_refuses_a_certificate_for_another_name() {
    let (client, server) = configs(&[b"h3"]);
    let name = ServerName::try_from("other.example").unwrap();
    let client = Session::client(Arc::new(client), Version::V1, name, Vec::new()).unwrap();
    let server = Session::server(Arc::new(server), Version::V1, Vec::new()).unwrap();
    let (mut client, mut server) = (Peer::new(client), Peer::new(server));
    client.deliver(&mut server, usize::MAX).unwrap();
    let error = server.deliver(&mut client, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(42));
    let reason = client.session.connection_error(error).to_string();
    assert!(reason.contains("other.example"), "{reason}");
}

// req-test 9001-4.2-010, 9001-4.2-011
#[test]
fn a_tls_version_older_than_1_3_is_refused() {
    let (mut client, mut server) = pair();
    let hello = &mut client.outbox[0];
    let offer = [0, 0x2b, 0, 3, 2, 3, 4];
    let at = hello.windows(offer.len()).position(|bytes| bytes == offer).unwrap();
    hello[at + 6] = 3;
    let error = client.deliver(&mut server, usize::MAX).unwrap_err();
    assert_eq!(error.code, alert(70));
}

// req-test 9001-8.4-108
#[test]
fn a_client_does_not_ask_for_the_compatibility_mode() {
    let (client, _) = pair();
    assert_eq!(client.outbox[0][38], 0);
}

// req-test 9001-8.4-109
#[test]
fn a_server_refuses_the_compatibility_mode() {
    for portion in [1, usize::MAX] {
        let (mut client, mut server) = pair();
        client.outbox[0][38] = 32;
        let error = client.deliver(&mut server, portion).unwrap_err();
        assert_eq!(error, TransportError::new(Violation::TlsCompatibilityMode));
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
    }
}

// req-test 9001-6-063
#[test]
fn a_tls_key_update_is_an_unexpected_message() {
    let (mut client, mut server) = connected();
    for peer in [&mut client, &mut server] {
        let error = peer.read(SpaceId::Data, &[24, 0, 0, 1, 0]).unwrap_err();
        assert_eq!(error.code, TransportErrorCode(0x10a));
    }
}

// req-test 9001-4.4-016, 9001-4.4-017
#[test]
fn a_client_refuses_to_show_a_certificate_after_the_handshake() {
    let (mut client, _) = connected();
    let request = [13, 0, 0, 11, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let error = client.read(SpaceId::Data, &request).unwrap_err();
    assert_eq!(error, TransportError::new(Violation::TlsCertificateRequest));
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
}

fn ticket_with_early_data(limit: u32) -> Vec<u8> {
    let mut ticket = vec![4, 0, 0, 25, 0, 0, 0x0e, 0x10, 0, 0, 0, 0, 1, 7, 0, 2, 8, 9, 0, 8];
    ticket.extend_from_slice(&[0, 42, 0, 4]);
    ticket.extend_from_slice(&limit.to_be_bytes());
    ticket[3] = (ticket.len() - 4) as u8;
    ticket
}

// req-test 9001-4.6.1-020
#[test]
fn a_session_ticket_must_not_limit_early_data() {
    let (mut client, _) = connected();
    client.read(SpaceId::Data, &ticket_with_early_data(u32::MAX)).unwrap();
    let error = client.read(SpaceId::Data, &ticket_with_early_data(1)).unwrap_err();
    assert_eq!(error, TransportError::new(Violation::TlsEarlyDataSize));
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
}

// req-test 9001-4.6.1-019
#[test]
fn a_server_takes_no_configuration_with_limited_early_data() {
    let (_, mut server) = configs(&[b"h3"]);
    server.max_early_data_size = 1;
    assert!(Session::server(Arc::new(server), Version::V1, Vec::new()).is_err());
}

// req-test 9001-5.3-043
#[test]
fn a_cipher_suite_that_nobody_knows_is_no_reason_to_refuse() {
    let (mut client, mut server) = pair();
    let hello = &mut client.outbox[0];
    // The list of cipher suites follows the empty session ID. One of them becomes another; the
    // Finished messages then do not match any more, but the server answers.
    assert_eq!(hello[38], 0);
    let len = usize::from(u16::from_be_bytes([hello[39], hello[40]]));
    assert!(len >= 4);
    hello[41 + len - 2..41 + len].copy_from_slice(&[0xfa, 0xce]);
    client.deliver(&mut server, usize::MAX).unwrap();
    assert!(!server.outbox[SpaceId::Handshake as usize].is_empty());
}

// req-test 9001-4.8-026
#[test]
fn after_a_failure_tls_stays_failed() {
    let (mut client, mut server) = pair();
    client.deliver(&mut server, usize::MAX).unwrap();
    let mut flight = server.outbox[0].clone();
    flight[0] = 99;
    let error = client.read(SpaceId::Initial, &flight).unwrap_err();
    assert_eq!(error.code, alert(10));
    assert!(server.deliver(&mut client, usize::MAX).is_err());
    assert!(client.session.is_handshaking());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_session_panic(data: Vec<u8>, portion in 1..64usize) {
        let (_, mut server) = pair();
        for chunk in data.chunks(portion) {
            if server.read(SpaceId::Initial, chunk).is_err() {
                break;
            }
        }
    }

    #[test]
    fn a_damaged_client_hello_never_makes_a_session_panic(at: usize, value: u8) {
        let (mut client, mut server) = pair();
        let hello = &mut client.outbox[0];
        let at = at % hello.len();
        hello[at] = value;
        let _ = client.deliver(&mut server, usize::MAX);
        let _ = server.deliver(&mut client, usize::MAX);
    }
}
