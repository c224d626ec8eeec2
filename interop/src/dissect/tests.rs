//! Forged captures are taken apart as they were made.

use quic_core::wire::frame::{NewConnectionId, PathChallenge};
use quic_core::wire::header::KeyPhase;
use quic_core::wire::{ConnectionId, Frame, PacketType, ResetToken, Side, Version};

use super::forge::{
    Connection, Fate, Forgery, certificate, client_hello, crypto, encrypted_extensions, finished,
    server_hello,
};
use super::{Dissection, KeyLog, V2, dissect};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

fn take_apart(forgery: &Forgery) -> Dissection {
    let mut keys = KeyLog::default();
    keys.add(&forgery.key_log);
    dissect(forgery.pcaps().iter().map(Vec::as_slice), &keys).unwrap()
}

fn ping() -> [Frame<'static>; 1] {
    [Frame::Ping]
}

/// A client's first packet.
fn hello(forgery: &mut Forgery, connection: &mut Connection) {
    forgery.key_log += &connection.key_log();
    let hello = client_hello(&connection.random, &[connection.suite]);
    let server_cid = std::mem::replace(&mut connection.server_cid, connection.original_dcid);
    connection.send(forgery, CLIENT, PacketType::Initial, &[crypto(0, &hello)]);
    connection.server_cid = server_cid;
}

/// The server's answer to it, in one datagram.
fn answer(forgery: &mut Forgery, connection: &mut Connection) {
    forgery.wait(20);
    let hello = server_hello(connection.suite);
    let rest = [encrypted_extensions(100), certificate(300), finished()].concat();
    let datagram = [
        connection.packet(SERVER, PacketType::Initial, &[crypto(0, &hello)]),
        connection.packet(SERVER, PacketType::Handshake, &[crypto(0, &rest)]),
        connection.packet(SERVER, PacketType::OneRtt, &ping()),
    ];
    let path = connection.path(SERVER);
    forgery.send(SERVER, path, connection.ecn, &datagram.concat(), Fate::Delivered);
    forgery.wait(20);
}

/// The kinds and numbers of the opened packets, of each capture.
fn opened(dissection: &Dissection) -> [Vec<(Side, PacketType, u64)>; 2] {
    [0, 1].map(|capture| {
        let packets = dissection.captures[capture].datagrams.iter().flat_map(|d| &d.packets);
        let opened = packets.filter_map(|p| Some((p.opened.as_ref()?, p.kind)));
        opened.map(|(opened, kind)| (opened.sender, kind, opened.number)).collect()
    })
}

#[test]
fn handshakes_of_both_versions_and_all_suites_are_read() {
    for version in [Version::V1, V2] {
        for suite in [0x1301, 0x1302, 0x1303] {
            let mut forgery = Forgery::default();
            let mut connection = Connection { version, suite, ..Connection::new(1) };
            hello(&mut forgery, &mut connection);
            answer(&mut forgery, &mut connection);
            connection.send(&mut forgery, CLIENT, PacketType::OneRtt, &ping());
            let dissection = take_apart(&forgery);
            let expected = [
                (CLIENT, PacketType::Initial, 0),
                (SERVER, PacketType::Initial, 0),
                (SERVER, PacketType::Handshake, 0),
                (SERVER, PacketType::OneRtt, 0),
                (CLIENT, PacketType::OneRtt, 0),
            ];
            assert_eq!(opened(&dissection), [expected, expected], "{version} {suite:x}");
            let [known] = &dissection.connections[..] else { panic!() };
            assert_eq!(known.client_hello.as_ref().unwrap().cipher_suites, [suite]);
            assert!(known.is_handshake_readable() && known.has_certificate());
            let parameters = known.server_parameters.as_ref().unwrap();
            assert_eq!(parameters.initial_max_streams_bidi, 100);
        }
    }
}

#[test]
fn without_secrets_only_initial_packets_are_opened() {
    let mut forgery = Forgery::default();
    let mut connection = Connection::new(1);
    hello(&mut forgery, &mut connection);
    answer(&mut forgery, &mut connection);
    forgery.key_log.clear();
    let [left, _] = opened(&take_apart(&forgery));
    assert_eq!(left, [(CLIENT, PacketType::Initial, 0), (SERVER, PacketType::Initial, 0)]);
}

#[test]
fn what_is_lost_on_the_link_is_known_from_the_other_side() {
    let mut forgery = Forgery::default();
    let mut connection = Connection::new(1);
    hello(&mut forgery, &mut connection);
    answer(&mut forgery, &mut connection);
    // The client never hears of the new connection ID, but uses it.
    let new = NewConnectionId {
        sequence_number: 1,
        retire_prior_to: 0,
        connection_id: ConnectionId::new(&[0xaa; 12]).unwrap(),
        stateless_reset_token: ResetToken::new([0; 16]),
    };
    let frame = Frame::NewConnectionId(new);
    let packet = connection.packet(SERVER, PacketType::OneRtt, &[frame]);
    forgery.send(SERVER, connection.path(SERVER), None, &packet, Fate::Lost);
    forgery.wait(1);
    connection.server_cid = new.connection_id;
    connection.send(&mut forgery, CLIENT, PacketType::OneRtt, &ping());
    let dissection = take_apart(&forgery);
    let [left, right] = opened(&dissection);
    assert_eq!((left.len(), right.len()), (5, 6));
    let last = dissection.captures[0].datagrams.last().unwrap();
    assert_eq!(last.packets[0].dcid, new.connection_id);
}

#[test]
fn damaged_packets_are_not_opened_and_do_no_harm() {
    for at in 0..60 {
        let mut forgery = Forgery::default();
        let mut connection = Connection::new(1);
        hello(&mut forgery, &mut connection);
        let again = client_hello(&connection.random, &[connection.suite]);
        let first = Connection::new(1).server_cid;
        connection.server_cid = connection.original_dcid;
        let packet = connection.packet(CLIENT, PacketType::Initial, &[crypto(0, &again)]);
        connection.server_cid = first;
        forgery.send(CLIENT, connection.path(CLIENT), None, &packet, Fate::Damaged(at));
        answer(&mut forgery, &mut connection);
        let packet = connection.packet(CLIENT, PacketType::OneRtt, &ping());
        let damaged = Fate::Damaged(at % packet.len());
        forgery.send(CLIENT, connection.path(CLIENT), None, &packet, damaged);
        connection.send(&mut forgery, CLIENT, PacketType::OneRtt, &ping());
        let dissection = take_apart(&forgery);
        let [left, right] = opened(&dissection);
        assert_eq!((left.len(), right.len()), (7, 5), "byte {at}");
        assert_eq!(dissection.connections.len(), 1, "byte {at}");
    }
}

#[test]
fn fifty_connections_are_told_apart_even_without_client_connection_ids() {
    let mut forgery = Forgery::default();
    let mut connections: Vec<_> = (1..=50).map(Connection::new).collect();
    for connection in &mut connections {
        connection.client_cid = ConnectionId::EMPTY;
        hello(&mut forgery, connection);
    }
    for connection in &mut connections {
        answer(&mut forgery, connection);
    }
    // A NAT moves half of them.
    for connection in connections.iter_mut().step_by(2) {
        connection.client.set_port(connection.client.port() + 1000);
        connection.send(&mut forgery, SERVER, PacketType::OneRtt, &ping());
    }
    let dissection = take_apart(&forgery);
    assert_eq!(dissection.connections.len(), 50);
    let [left, right] = opened(&dissection);
    assert_eq!((left.len(), right.len()), (50 * 4 + 25, 50 * 4 + 25));
}

#[test]
fn initial_packets_after_retry_have_other_keys() {
    let mut forgery = Forgery::default();
    let mut connection = Connection::new(1);
    hello(&mut forgery, &mut connection);
    let scid = ConnectionId::new(&[0xbb; 9]).unwrap();
    let retry = connection.retry(scid, b"token");
    forgery.wait(20);
    forgery.send(SERVER, connection.path(SERVER), None, &retry, Fate::Delivered);
    forgery.wait(20);
    connection.initial_dcid = scid;
    connection.original_dcid = scid;
    connection.token = b"token".to_vec();
    // Some clients begin again with TLS as well.
    connection.random = [77; 32];
    hello(&mut forgery, &mut connection);
    answer(&mut forgery, &mut connection);
    let dissection = take_apart(&forgery);
    assert_eq!(dissection.connections.len(), 1);
    assert_eq!(opened(&dissection)[0].len(), 5);
    let packets: Vec<_> =
        dissection.captures[0].datagrams.iter().flat_map(|d| &d.packets).collect();
    assert_eq!((packets[1].kind, &packets[1].token[..]), (PacketType::Retry, &b"token"[..]));
    assert_eq!(packets[2].token, b"token");
}

#[test]
fn key_updates_are_followed_and_old_keys_still_open_late_packets() {
    let mut forgery = Forgery::default();
    let mut connection = Connection { version: V2, ..Connection::new(1) };
    hello(&mut forgery, &mut connection);
    answer(&mut forgery, &mut connection);
    for updates in [1, 2, 1, 3, 4, 3] {
        connection.key_updates = [updates; 2];
        connection.send(&mut forgery, CLIENT, PacketType::OneRtt, &ping());
        connection.send(&mut forgery, SERVER, PacketType::OneRtt, &ping());
        forgery.wait(1);
    }
    let dissection = take_apart(&forgery);
    let packets = dissection.captures[1].packets(CLIENT, PacketType::OneRtt);
    let phases: Vec<_> = packets.map(|(_, p)| p.opened.as_ref().unwrap().key_phase).collect();
    let (zero, one) = (KeyPhase::Zero, KeyPhase::One);
    assert_eq!(phases, [one, zero, one, one, zero, one]);
}

#[test]
fn early_data_is_read_before_the_server_has_said_anything() {
    let mut forgery = Forgery::default();
    let mut connection = Connection { suite: 0x1303, ..Connection::new(1) };
    hello(&mut forgery, &mut connection);
    let challenge = [Frame::PathChallenge(PathChallenge { data: [1; 8] })];
    connection.send(&mut forgery, CLIENT, PacketType::ZeroRtt, &challenge);
    let dissection = take_apart(&forgery);
    let (_, packet) = dissection.captures[1].packets(CLIENT, PacketType::ZeroRtt).next().unwrap();
    assert_eq!(packet.frames().collect::<Vec<_>>(), challenge);
}

#[test]
fn the_fixed_bit_and_bytes_after_the_last_packet_do_not_matter() {
    let mut forgery = Forgery::default();
    let mut connection = Connection { fixed_bit: 0, ..Connection::new(1) };
    hello(&mut forgery, &mut connection);
    answer(&mut forgery, &mut connection);
    let mut packet = connection.packet(CLIENT, PacketType::Handshake, &ping());
    packet.extend([0; 500]);
    forgery.send(CLIENT, connection.path(CLIENT), None, &packet, Fate::Delivered);
    let dissection = take_apart(&forgery);
    assert_eq!(opened(&dissection)[0].len(), 5);
    let last = dissection.captures[1].datagrams.last().unwrap();
    assert_eq!((last.packets.len(), last.len), (1, packet.len()));
}

#[test]
fn other_protocols_are_left_out() {
    let mut forgery = Forgery::default();
    let mut connection = Connection::new(1);
    hello(&mut forgery, &mut connection);
    let path = ("193.167.0.100:5353".parse().unwrap(), "193.167.100.2:53".parse().unwrap());
    forgery.send(CLIENT, path, None, &[0x12, 0x34, 1, 0, 0, 1], Fate::Delivered);
    let datagrams = &take_apart(&forgery).captures[1].datagrams;
    assert_eq!(datagrams.len(), 1);
}

#[test]
fn frames_behind_those_of_extensions_are_read() {
    let datagram = [&[0x31, 2, 9, 9][..], &[0x40, 0xaf, 1, 2, 3, 4], &[0x1f]].concat();
    for (extensions, well_formed) in [(&datagram[..], true), (&[0x40, 0x99], false)] {
        let payload = [extensions, &[0x01]].concat();
        let opened = super::packet::Opened::new(CLIENT, 0, KeyPhase::Zero, 0, payload);
        let frames: Vec<_> = opened.frames().collect();
        assert_eq!(frames, if well_formed { vec![Frame::Ping] } else { vec![] });
        assert_eq!(opened.is_well_formed(), well_formed);
    }
}
