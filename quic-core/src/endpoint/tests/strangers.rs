//! Datagrams for no connection: what is answered, and what is not.

use super::*;
use crate::wire::TransportErrorCode;
use crate::wire::Version;
use crate::wire::header::Header;

/// A datagram of `len` bytes with a long header of `version`.
fn long_header(version: Version, len: usize) -> Vec<u8> {
    let mut datagram = vec![0xc0];
    datagram.extend(version.0.to_be_bytes());
    datagram.extend(b"\x08destinat\x06source");
    datagram.resize(len, 0x55);
    datagram
}

fn short_header(len: usize) -> Vec<u8> {
    let mut datagram = vec![0x40];
    datagram.extend(b"nobodyis");
    datagram.resize(len, 0x55);
    datagram
}

// req-test 9000-5.2.2-065, 9000-5.2.2-068, 9000-17.2.1-387, 9000-17.2.1-388, 9000-17.2.1-390
#[test]
fn unknown_versions_are_answered_with_ours() {
    let mut net = Net::new();
    net.server.recv(net.now, CLIENT, &long_header(Version(0x7777_7777), 1200));
    let answers = net.server.transmits(net.now);
    assert_eq!(answers.len(), 1);
    let (to, packet) = &answers[0];
    assert_eq!(*to, CLIENT);
    let Ok(Header::VersionNegotiation(answer)) = Header::decode(packet, 8) else {
        panic!("{packet:?}")
    };
    assert_eq!((answer.dcid, answer.scid), (&b"source"[..], &b"destinat"[..]));
    assert!(answer.versions.clone().any(|version| version == Version::V1));
    assert!(!answer.versions.clone().any(|version| version == Version(0x7777_7777)));
    assert_eq!(net.server.endpoint.stats().version_negotiations, 1);
}

// req-test 9000-5.2.2-067, 9000-6.1-076
#[test]
fn small_datagrams_and_version_negotiation_are_not_answered_with_versions() {
    let mut net = Net::new();
    net.server.recv(net.now, CLIENT, &long_header(Version(0x7777_7777), 1199));
    net.server.recv(net.now, CLIENT, &long_header(Version::NEGOTIATION, 1219));
    net.client.recv(net.now, SERVER, &long_header(Version(0x7777_7777), 1200));
    assert_eq!(net.server.transmits(net.now), []);
    assert_eq!(net.client.transmits(net.now), [], "clients do not negotiate");
    assert_eq!(net.server.endpoint.stats().dropped, 2);
}

// req-test 9000-17.2.1-389, 9000-17.2-381
#[test]
fn long_connection_ids_of_other_versions_do_not_prevent_negotiation() {
    let mut net = Net::new();
    let mut datagram = vec![0x80, 0xff, 0, 0, 1, 200];
    datagram.extend([1; 200]);
    datagram.push(255);
    datagram.extend([2; 255]);
    datagram.resize(1200, 0);
    net.server.recv(net.now, CLIENT, &datagram);
    let answers = net.server.transmits(net.now);
    let Ok(Header::VersionNegotiation(answer)) = Header::decode(&answers[0].1, 8) else {
        panic!("{answers:?}")
    };
    assert_eq!((answer.dcid, answer.scid), (&[2; 255][..], &[1; 200][..]));
}

// req-test 9000-10.3-246, 9000-10.3.1-257, 9000-10.3.1-260
#[test]
fn a_server_that_lost_its_state_ends_the_connection_of_the_client() {
    let mut net = Net::new();
    let key = ResetKey::new(&[7; 32]);
    let config = EndpointConfig::builder().reset_key(key).build().unwrap();
    net.server = Host::server(config.clone());
    let [client, _] = net.established();
    let rng = Rng::from_seed([77; 32]);
    net.server = Host::new(Endpoint::new(config, Some(server_config()), rng));

    net.client.endpoint.connection_mut(client).unwrap().ping();
    let ping = net.client.transmits(net.now);
    assert!(ping[0].1.len() > 22, "large enough to be answered");
    net.server.recv(net.now, CLIENT, &ping[0].1);
    let reset = net.server.transmits(net.now);
    assert!(reset[0].1.len() < ping[0].1.len());
    net.client.recv(net.now, address(9), &reset[0].1);
    net.client.take_events();
    assert_eq!(net.client.close_reason(client), None, "not from there");
    net.client.transmits(net.now);
    net.client.recv(net.now, SERVER, &reset[0].1);
    net.client.take_events();
    assert_eq!(net.client.close_reason(client), Some(ConnectionError::Reset));
    net.client.endpoint.connection_mut(client).unwrap().ping();
    assert_eq!(net.client.transmits(net.now), [], "nothing is sent any more");
    net.advance(Duration::from_secs(10));
    assert!(net.client.is_gone(client));
}

// req-test 9000-10.3-254
#[test]
fn a_reset_with_a_long_header_or_to_a_known_connection_id_counts_as_well() {
    for shape in 0..5 {
        let mut net = Net::new();
        let [client, _] = net.established();
        let entry = net.client.endpoint.connections.get(client).unwrap();
        let ours = entry.ids[0];
        let theirs = net.server.endpoint.connections.handles().next().unwrap();
        let initial = net.server.endpoint.connections.get(theirs).unwrap().ids[1];
        let token = net.server.endpoint.reset_key.token(&initial);
        let mut reset = match shape {
            0 => vec![0xff; 40],
            1 => [&[0x40], ours.as_slice(), &[9; 20]].concat(),
            2 => [&[0x00], ours.as_slice(), &[9; 20]].concat(),
            3 => [&[0xc0, 7, 7, 7, 7, 8], ours.as_slice(), &[0; 20]].concat(),
            _ => vec![0x00; 5],
        };
        reset.extend(token.as_bytes());
        net.client.recv(net.now, SERVER, &reset);
        net.client.take_events();
        let reason = net.client.close_reason(client);
        assert_eq!(reason, Some(ConnectionError::Reset), "shape {shape}");
    }
}

// req-test 9000-10.3.1-258
#[test]
fn tokens_of_unused_connection_ids_do_not_reset() {
    let mut net = Net::new();
    let [client, server] = net.established();
    let ids = net.server.endpoint.connections.get(server).unwrap().ids.clone();
    let spare = *ids.last().unwrap();
    let mut reset = short_header(24);
    reset.extend(net.server.endpoint.reset_key.token(&spare).as_bytes());
    net.client.recv(net.now, SERVER, &reset);
    net.client.take_events();
    assert_eq!(net.client.close_reason(client), None);
}

// req-test 9000-10.3.3-267, 9000-10.3-252
#[test]
fn two_endpoints_without_state_do_not_answer_each_other_for_ever() {
    let mut net = Net::new();
    net.server.recv(net.now, CLIENT, &short_header(1400));
    let mut exchanged = 0;
    loop {
        let down = net.server.transmits(net.now);
        down.iter().for_each(|(_, datagram)| net.client.recv(net.now, SERVER, datagram));
        let up = net.client.transmits(net.now);
        up.iter().for_each(|(_, datagram)| net.server.recv(net.now, CLIENT, datagram));
        exchanged += up.len() + down.len();
        if up.is_empty() && down.is_empty() {
            break;
        }
    }
    assert!((2..60).contains(&exchanged), "{exchanged} datagrams");
    net.server.recv(net.now, CLIENT, &short_header(21));
    assert_eq!(net.server.transmits(net.now), []);
}

// req-test 9000-5.2.2-069
#[test]
fn a_refused_client_is_told_so() {
    let mut net = Net::new();
    let client = net.connect();
    net.settle();
    let id = net.server.incoming();
    net.server.endpoint.refuse(net.now, id);
    net.settle();
    let Some(ConnectionError::ConnectionClosed(close)) = net.client.close_reason(client) else {
        panic!("{:?}", net.client.close_reason(client));
    };
    assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
    assert_eq!(net.server.endpoint.accept(net.now, id), Err(AcceptError::Gone));
    assert_eq!(net.server.endpoint.incoming_count(), 0);
    assert!(net.server.endpoint.next_timeout().is_none());
}

#[test]
fn an_ignored_client_tries_again() {
    let mut net = Net::new();
    net.connect();
    net.settle();
    let id = net.server.incoming();
    net.server.endpoint.ignore(id);
    assert_eq!(net.server.transmits(net.now), []);
    net.advance(Duration::from_secs(3));
    assert_ne!(net.server.incoming(), id);
}

#[test]
fn a_client_that_nobody_decides_about_is_forgotten() {
    let mut net = Net::new();
    let datagram = net.first_initial();
    net.server.recv(net.now, CLIENT, &datagram);
    let id = net.server.incoming();
    net.now = net.server.endpoint.next_timeout().unwrap();
    net.server.endpoint.handle_timeout(net.now);
    assert_eq!(net.server.endpoint.accept(net.now, id), Err(AcceptError::Gone));
    net.server.recv(net.now, CLIENT, &datagram);
    assert_ne!(net.server.incoming(), id, "its packet is a new beginning");
}

// req-test 9000-14.1-351, 9000-5.2.2-072, 9000-5.2.2-071, 9000-5.2-061
#[test]
fn only_whole_authentic_first_packets_begin_connections() {
    let mut net = Net::new();
    let initial = net.first_initial();
    assert!(initial.len() >= 1200);
    let mut damaged = initial.clone();
    damaged[600] ^= 1;
    let mut handshake = initial.clone();
    handshake[0] = (handshake[0] & 0xcf) | 0x20;
    let mut zero_rtt = initial.clone();
    zero_rtt[0] = (zero_rtt[0] & 0xcf) | 0x10;
    let short_dcid = [&initial[..5], &[7], &initial[6..13], &initial[14..], &[0]].concat();
    for bad in [&initial[..1199], &damaged, &handshake, &zero_rtt, &short_dcid] {
        net.server.recv(net.now, CLIENT, bad);
    }
    assert_eq!(net.server.endpoint.incoming_count(), 0);
    assert_eq!(net.server.endpoint.stats().dropped, 5);
    assert_eq!(net.server.transmits(net.now), []);
    net.server.recv(net.now, CLIENT, &initial);
    assert_eq!(net.server.endpoint.incoming_count(), 1);
}

#[test]
fn an_endpoint_without_server_configuration_accepts_nobody() {
    let mut net = Net::new();
    let datagram = net.first_initial();
    net.server.endpoint.set_server_config(None);
    net.server.recv(net.now, CLIENT, &datagram);
    assert_eq!(net.server.endpoint.incoming_count(), 0);
    net.server.endpoint.set_server_config(Some(server_config()));
    net.server.recv(net.now, CLIENT, &datagram);
    assert_eq!(net.server.endpoint.incoming_count(), 1);
}
