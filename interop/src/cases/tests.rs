//! Every check passes on what it asks for, and fails when that one thing is broken.

use std::path::Path;
use std::time::Duration;

use quic_core::Ecn;
use quic_core::wire::frame::{PathChallenge, PathResponse};
use quic_core::wire::{ConnectionId, Frame, PacketType, Reader, Side, Version};
use tempfile::TempDir;

use super::{ALL, Case, Evidence, Verdict};
use crate::dissect::V2;
use crate::dissect::forge::{
    Connection, Fate, Forgery, certificate, client_hello, crypto, encrypted_extensions, finished,
    server_hello,
};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

/// What the forged endpoints of a run do; the default is what the case `handshake` asks for.
struct Script {
    suites: Vec<u16>,
    max_streams: u16,
    certificate: Option<usize>,
    hello_repeated: bool,
}

impl Default for Script {
    fn default() -> Self {
        let certificate = Some(500);
        Self { suites: vec![0x1301], max_streams: 100, certificate, hello_repeated: false }
    }
}

/// The client's first flight.
fn hello(forgery: &mut Forgery, connection: &mut Connection, script: &Script) {
    let server_cid = std::mem::replace(&mut connection.server_cid, connection.original_dcid);
    let hello = client_hello(&connection.random, &script.suites);
    let frames = [crypto(0, &hello), Frame::Padding(1200)];
    connection.send(forgery, CLIENT, PacketType::Initial, &frames);
    if script.hello_repeated {
        forgery.wait(1000);
        connection.send(forgery, CLIENT, PacketType::Initial, &frames);
    }
    connection.server_cid = server_cid;
    forgery.wait(20);
}

/// The server's answer, and all that makes the handshake complete.
fn answer(forgery: &mut Forgery, connection: &mut Connection, script: &Script) {
    forgery.key_log += &connection.key_log();
    let sh = server_hello(connection.suite);
    let mut rest = encrypted_extensions(script.max_streams);
    rest.extend(script.certificate.map(certificate).unwrap_or_default());
    rest.extend(finished());
    connection.send(forgery, SERVER, PacketType::Initial, &[crypto(0, &sh)]);
    for (at, part) in rest.chunks(1000).enumerate() {
        let frames = [crypto(1000 * at as u64, part)];
        connection.send(forgery, SERVER, PacketType::Handshake, &frames);
    }
    forgery.wait(20);
    connection.send(forgery, CLIENT, PacketType::Handshake, &[crypto(0, &finished())]);
    forgery.wait(20);
}

/// A few packets of both sides.
fn chat(forgery: &mut Forgery, connection: &mut Connection) {
    for side in [CLIENT, SERVER] {
        connection.send(forgery, side, PacketType::OneRtt, &[Frame::Ping]);
        forgery.wait(20);
    }
}

fn connect(forgery: &mut Forgery, n: u8, script: &Script) -> Connection {
    let mut connection = Connection { suite: script.suites[0], ..Connection::new(n) };
    hello(forgery, &mut connection, script);
    answer(forgery, &mut connection, script);
    chat(forgery, &mut connection);
    connection
}

/// The folder of a run in which one file was fetched.
fn folder(forgery: &Forgery) -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["sim", "client/downloads", "server/www"] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    let [left, right] = forgery.pcaps();
    std::fs::write(path("sim/trace_node_left.pcap"), left).unwrap();
    std::fs::write(path("sim/trace_node_right.pcap"), right).unwrap();
    std::fs::write(path("client/keys.log"), &forgery.key_log).unwrap();
    std::fs::write(path("server/www/file"), [7; 1000]).unwrap();
    std::fs::write(path("client/downloads/file"), [7; 1000]).unwrap();
    folder
}

fn judge_folder(case: &str, folder: &Path) -> Verdict {
    Case::find(case).unwrap().check(&Evidence::read(folder).unwrap())
}

fn judge(case: &str, forgery: &Forgery) -> Verdict {
    judge_folder(case, folder(forgery).path())
}

#[track_caller]
fn assert_succeeds(case: &str, forgery: &Forgery) {
    let verdict = judge(case, forgery);
    assert!(matches!(verdict, Verdict::Succeeded(_)), "{case} {verdict}");
}

/// The reason contains these words.
#[track_caller]
fn assert_fails(case: &str, forgery: &Forgery, words: &str) {
    let verdict = judge(case, forgery);
    let Verdict::Failed(why) = &verdict else { panic!("{case} {verdict}") };
    assert!(why.contains(words), "{case}: {why}");
}

/// A connection as `script` says.
fn plain(script: &Script) -> Forgery {
    let mut forgery = Forgery::default();
    connect(&mut forgery, 1, script);
    forgery
}

#[test]
fn the_table_has_22_tests_and_2_measurements_of_different_names() {
    let names: std::collections::HashSet<_> = ALL.iter().map(|case| case.name).collect();
    let short: std::collections::HashSet<_> = ALL.iter().map(|case| case.abbreviation).collect();
    assert_eq!((names.len(), short.len()), (24, 24));
    assert_eq!(ALL.iter().filter(|case| case.measures.is_some()).count(), 2);
    for case in &ALL {
        assert!(!case.checks.is_empty() && !case.files.sizes_and_name_lens().is_empty());
        assert!(std::ptr::eq(Case::find(case.name).unwrap(), case));
    }
}

#[test]
fn a_plain_connection_satisfies_the_plain_cases() {
    let forgery = plain(&Script::default());
    let plain = ["handshake", "transfer", "multiplexing", "http3", "blackhole", "transferloss"];
    plain.iter().for_each(|case| assert_succeeds(case, &forgery));
    assert_succeeds("transfercorruption", &forgery);
}

#[test]
fn files_must_be_those_of_the_server() {
    let forgery = plain(&Script::default());
    type Spoil = fn(&Path);
    let broken: [(Spoil, &str); 4] = [
        (|downloads| std::fs::remove_file(downloads.join("file")).unwrap(), "1 of 1 files"),
        (|downloads| std::fs::write(downloads.join("more"), "").unwrap(), "more was downloaded"),
        (|downloads| std::fs::write(downloads.join("file"), [7; 999]).unwrap(), "999 bytes"),
        (
            |downloads| std::fs::write(downloads.join("file"), [8; 1000]).unwrap(),
            "file differs from byte 0",
        ),
    ];
    for (spoil, words) in broken {
        let folder = folder(&forgery);
        spoil(&folder.path().join("client/downloads"));
        let verdict = judge_folder("handshake", folder.path());
        assert!(verdict.to_string().starts_with("failed: "), "{verdict}");
        assert!(verdict.to_string().contains(words), "{verdict}");
    }
    let empty = folder(&forgery);
    std::fs::remove_dir_all(empty.path().join("server/www")).unwrap();
    assert_eq!(
        judge_folder("handshake", empty.path()),
        Verdict::Failed("the server has no files".into())
    );
}

#[test]
fn handshakes_are_counted() {
    let mut forgery = Forgery::default();
    for n in 1..=49 {
        connect(&mut forgery, n, &Script::default());
    }
    assert_fails("handshakeloss", &forgery, "50 handshakes were expected");
    connect(&mut forgery, 50, &Script::default());
    assert_succeeds("handshakeloss", &forgery);
    assert_succeeds("handshakecorruption", &forgery);
    assert_fails("transfer", &forgery, "1 handshakes were expected");
}

#[test]
fn without_secrets_the_checks_that_need_them_cannot_tell() {
    let mut forgery = plain(&Script::default());
    forgery.key_log.clear();
    assert_succeeds("handshake", &forgery);
    let need = [
        "multiplexing",
        "resumption",
        "keyupdate",
        "ecn",
        "amplificationlimit",
        "rebind-port",
        "rebind-addr",
        "connectionmigration",
    ];
    for case in need {
        assert!(matches!(judge(case, &forgery), Verdict::Unsupported(_)), "{case}");
    }
}

#[test]
fn only_version_1_is_spoken_where_no_other_is_asked_for() {
    let mut forgery = Forgery::default();
    let script = Script::default();
    let mut connection = Connection { version: V2, ..Connection::new(1) };
    hello(&mut forgery, &mut connection, &script);
    answer(&mut forgery, &mut connection, &script);
    assert_fails("transfer", &forgery, "version 1 only");
}

#[test]
fn a_retry_is_not_part_of_a_plain_handshake() {
    let mut forgery = Forgery::default();
    retried(&mut forgery, 0);
    assert_fails("handshake", &forgery, "sent a Retry packet");
}

/// A connection after Retry, whose packet numbers go on from `next_number`.
fn retried(forgery: &mut Forgery, next_number: u64) -> Connection {
    let script = Script::default();
    let mut connection = Connection::new(1);
    hello(forgery, &mut connection, &script);
    let scid = ConnectionId::new(&[0xbb; 9]).unwrap();
    let retry = connection.retry(scid, b"token");
    forgery.send(SERVER, connection.path(SERVER), None, &retry, Fate::Delivered);
    forgery.wait(20);
    connection.original_dcid = scid;
    connection.initial_dcid = scid;
    connection.token = b"token".to_vec();
    connection.next_number[0][0] = next_number;
    hello(forgery, &mut connection, &script);
    connection.token.clear();
    answer(forgery, &mut connection, &script);
    chat(forgery, &mut connection);
    connection
}

#[test]
fn a_token_comes_back_and_packet_numbers_go_on() {
    let mut forgery = Forgery::default();
    retried(&mut forgery, 1);
    assert_succeeds("retry", &forgery);

    let mut forgery = Forgery::default();
    retried(&mut forgery, 0);
    assert_fails("retry", &forgery, "began again with packet number 0");

    assert_fails("retry", &plain(&Script::default()), "sent no Retry");

    let mut forgery = Forgery::default();
    let mut connection = Connection::new(1);
    let script = Script::default();
    hello(&mut forgery, &mut connection, &script);
    let retry = connection.retry(connection.server_cid, b"token");
    forgery.send(SERVER, connection.path(SERVER), None, &retry, Fate::Delivered);
    answer(&mut forgery, &mut connection, &script);
    assert_fails("retry", &forgery, "no Initial packet of the client");
}

#[test]
fn a_long_round_trip_makes_the_client_repeat_itself() {
    let script = Script { hello_repeated: true, ..Script::default() };
    assert_succeeds("longrtt", &plain(&script));
    assert_fails("longrtt", &plain(&Script::default()), "sent nothing again");
}

#[test]
fn chacha_is_the_only_suite_offered() {
    let only = |suites: &[u16]| plain(&Script { suites: suites.into(), ..Script::default() });
    assert_succeeds("chacha20", &only(&[0x1303]));
    assert_fails("chacha20", &only(&[0x1303, 0x1301]), "0x1301");
    assert_fails("chacha20", &only(&[0x1301]), "0x1301");
}

#[test]
fn the_limit_of_streams_is_low_and_visible() {
    let limit = |max_streams| plain(&Script { max_streams, ..Script::default() });
    assert_succeeds("multiplexing", &limit(1000));
    assert_fails("multiplexing", &limit(1001), "1001 streams");
    let mut forgery = plain(&Script::default());
    // The log has the secrets of another connection.
    forgery.key_log = Connection::new(2).key_log();
    assert_fails("multiplexing", &forgery, "no transport parameters");
}

#[test]
fn a_resumed_session_needs_no_certificate() {
    let pair = |first, second| {
        let mut forgery = Forgery::default();
        for (n, certificate) in [(1, first), (2, second)] {
            connect(&mut forgery, n, &Script { certificate, ..Script::default() });
        }
        forgery
    };
    assert_succeeds("resumption", &pair(Some(500), None));
    assert_fails("resumption", &pair(Some(500), Some(500)), "in the last handshake");
    assert_fails("resumption", &pair(None, None), "in the first handshake");
    assert_fails("resumption", &plain(&Script::default()), "2 handshakes were expected");
    let mut forgery = pair(Some(500), None);
    forgery.key_log = Connection::new(1).key_log();
    assert_fails("resumption", &forgery, "1 can be read");
}

/// Two connections; in the second, the client sends so many requests of 250 bytes early and late.
fn requests(early: usize, late: usize) -> Forgery {
    let mut forgery = plain(&Script::default());
    let script = Script { certificate: None, ..Script::default() };
    let mut connection = Connection::new(2);
    let request = [Frame::Ping, Frame::Padding(250)];
    hello(&mut forgery, &mut connection, &script);
    for _ in 0..early {
        connection.send(&mut forgery, CLIENT, PacketType::ZeroRtt, &request);
    }
    answer(&mut forgery, &mut connection, &script);
    for _ in 0..late {
        connection.send(&mut forgery, CLIENT, PacketType::OneRtt, &request);
    }
    forgery
}

#[test]
fn requests_are_in_early_data() {
    assert_succeeds("zerortt", &requests(39, 1));
    assert_fails("zerortt", &requests(0, 39), "no 0-RTT packets");
    assert_fails("zerortt", &requests(20, 20), "more than 5000");
}

#[test]
fn both_sides_update_their_keys() {
    let updates = |client, server| {
        let mut forgery = Forgery::default();
        let mut connection = connect(&mut forgery, 1, &Script::default());
        connection.key_updates = [client, server];
        chat(&mut forgery, &mut connection);
        forgery
    };
    assert_succeeds("keyupdate", &updates(1, 1));
    assert_fails("keyupdate", &updates(0, 1), "the client did not update");
    assert_fails("keyupdate", &updates(1, 0), "the server did not update");
    assert_fails("keyupdate", &updates(0, 0), "did not update");
}

/// A connection whose sides mark a packet so, and report marks or not.
fn marked(marks: [Option<Ecn>; 2], reports: [bool; 2]) -> Forgery {
    let mut forgery = Forgery::default();
    let script = Script::default();
    let mut connection = Connection { ecn: None, ..Connection::new(1) };
    hello(&mut forgery, &mut connection, &script);
    answer(&mut forgery, &mut connection, &script);
    for ((side, ecn), reports) in [CLIENT, SERVER].into_iter().zip(marks).zip(reports) {
        connection.ecn = ecn;
        // Type, largest, delay, no more ranges, a range of one packet, and the counts.
        let encoded: &[u8] =
            if reports { &[0x03, 0, 0, 0, 0, 1, 0, 0] } else { &[0x02, 0, 0, 0, 0] };
        let ack = Frame::decode(&mut Reader::new(encoded)).unwrap();
        connection.send(&mut forgery, side, PacketType::OneRtt, &[ack]);
    }
    forgery
}

#[test]
fn packets_are_marked_and_marks_reported() {
    let ect = Some(Ecn::Ect0);
    assert_succeeds("ecn", &marked([ect, ect], [true, true]));
    assert_succeeds("ecn", &marked([ect, Some(Ecn::Ect1)], [true, true]));
    assert_fails("ecn", &marked([ect, ect], [false, true]), "client sent no ACK frame with ECN");
    assert_fails("ecn", &marked([ect, ect], [true, false]), "server sent no ACK frame with ECN");
    assert_fails("ecn", &marked([None, ect], [true, true]), "client marked no packet");
    assert_fails("ecn", &marked([ect, None], [true, true]), "server marked no packet");
    assert_fails("ecn", &marked([ect, Some(Ecn::Ce)], [true, true]), "server marked a packet CE");
}

/// A server sends so many datagrams of 1200 bytes before it hears of the client again.
fn amplified(datagrams: usize, chain: usize) -> Forgery {
    let mut forgery = Forgery::default();
    let script = Script { certificate: Some(chain), ..Script::default() };
    let mut connection = Connection::new(1);
    hello(&mut forgery, &mut connection, &script);
    for _ in 0..datagrams {
        let padding = 1200 - 43;
        let frames = [Frame::Ping, Frame::Padding(padding)];
        connection.send(&mut forgery, SERVER, PacketType::Initial, &frames);
    }
    forgery.wait(20);
    connection.send(&mut forgery, CLIENT, PacketType::Handshake, &[Frame::Ping]);
    forgery.wait(20);
    answer(&mut forgery, &mut connection, &script);
    forgery
}

#[test]
fn a_server_sends_three_times_what_it_received() {
    assert_succeeds("amplificationlimit", &amplified(3, 8000));
    let verdict = judge("amplificationlimit", &amplified(4, 8000)).to_string();
    assert!(verdict.contains("more than three times, but less than four"), "{verdict}");
    assert_fails("amplificationlimit", &amplified(5, 8000), "has sent");
    assert_fails("amplificationlimit", &amplified(3, 500), "does not use the long certificate");
    let mut forgery = Forgery::default();
    let script = Script { certificate: Some(8000), ..Script::default() };
    let mut connection = Connection::new(1);
    // All at once, as if the client were known.
    hello(&mut forgery, &mut connection, &script);
    answer(&mut forgery, &mut connection, &script);
    assert_fails("amplificationlimit", &forgery, "has sent");
}

#[test]
fn version_negotiation_has_no_place_in_the_walk_over_the_first_flight() {
    let mut forgery = amplified(3, 8000);
    let packet = [&[0xc0, 0, 0, 0, 0, 1, 1, 1, 2][..], &1u32.to_be_bytes()].concat();
    forgery.now = Duration::from_millis(1);
    forgery.send(SERVER, Connection::new(1).path(SERVER), None, &packet, Fate::Delivered);
    assert_fails("amplificationlimit", &forgery, "Version Negotiation");
}

#[test]
fn nothing_goes_over_ipv4() {
    let mut forgery = Forgery::default();
    let mut connection = Connection::new(1);
    connection.client = "[fd00:cafe:cafe:0::100]:40000".parse().unwrap();
    connection.server = "[fd00:cafe:cafe:100::100]:443".parse().unwrap();
    let script = Script::default();
    hello(&mut forgery, &mut connection, &script);
    answer(&mut forgery, &mut connection, &script);
    assert_succeeds("ipv6", &forgery);
    let v4 = Connection::new(1);
    (connection.client, connection.server) = (v4.client, v4.server);
    chat(&mut forgery, &mut connection);
    assert_fails("ipv6", &forgery, "over IPv4");
}

#[test]
fn a_connection_moves_to_version_2() {
    let run = |first, answered, handshake| {
        let mut forgery = Forgery::default();
        let mut connection = Connection { version: first, ..Connection::new(1) };
        let script = Script::default();
        hello(&mut forgery, &mut connection, &script);
        connection.version = answered;
        answer(&mut forgery, &mut connection, &script);
        connection.version = handshake;
        connection.send(&mut forgery, CLIENT, PacketType::Handshake, &[Frame::Ping]);
        connection.version = answered;
        chat(&mut forgery, &mut connection);
        forgery
    };
    assert_succeeds("v2", &run(Version::V1, V2, V2));
    assert_fails("v2", &run(V2, V2, V2), "should begin with version 1");
    assert_fails("v2", &run(Version::V1, Version::V1, Version::V1), "answer with version 2");
    assert_fails("v2", &run(Version::V1, V2, Version::V1), "Handshake packets of the client");
}

/// What can go wrong when a path changes.
#[derive(Default)]
struct Move {
    same_path: bool,
    ack_first: bool,
    no_response: bool,
    same_dcid: bool,
    other_address: bool,
}

/// The client appears under another address, as a NAT makes it, or moves there itself.
fn moved(by_nat: bool, how: &Move) -> Forgery {
    let mut forgery = Forgery::default();
    let mut connection = connect(&mut forgery, 1, &Script::default());
    let before = connection.client;
    if !how.same_path {
        connection.client.set_port(55_555);
    }
    if how.other_address {
        connection.client.set_ip("193.167.0.77".parse().unwrap());
    }
    let after = connection.client;
    if !how.same_dcid {
        connection.server_cid = ConnectionId::new(&[0xe1; 8]).unwrap();
    }
    let client_sends = |forgery: &mut Forgery, frames: &[Frame<'_>], c: &mut Connection| {
        c.client = if by_nat { before } else { after };
        c.send(forgery, CLIENT, PacketType::OneRtt, frames);
        c.client = after;
        forgery.wait(20);
    };
    client_sends(&mut forgery, &[Frame::Ping], &mut connection);
    if how.ack_first {
        connection.send(&mut forgery, SERVER, PacketType::OneRtt, &[Frame::Ping]);
    }
    let data = [3; 8];
    let challenge = Frame::PathChallenge(PathChallenge { data });
    connection.send(&mut forgery, SERVER, PacketType::OneRtt, &[challenge]);
    forgery.wait(20);
    if !how.no_response {
        let response = Frame::PathResponse(PathResponse { data });
        client_sends(&mut forgery, &[response], &mut connection);
    }
    forgery
}

#[test]
fn new_paths_are_validated_at_once() {
    let by_nat = |how: Move| moved(true, &how);
    assert_succeeds("rebind-port", &by_nat(Move { same_dcid: true, ..Move::default() }));
    let same = Move { same_path: true, ..Move::default() };
    assert_fails("rebind-port", &by_nat(same), "a single path");
    let late = Move { ack_first: true, ..Move::default() };
    assert_fails("rebind-port", &by_nat(late), "has no PATH_CHALLENGE");
    let mute = Move { no_response: true, ..Move::default() };
    assert_fails("rebind-port", &by_nat(mute), "no PATH_RESPONSE");
}

#[test]
fn an_address_is_more_than_a_port() {
    let other = Move { other_address: true, ..Move::default() };
    assert_succeeds("rebind-addr", &moved(true, &other));
    assert_fails("rebind-addr", &moved(true, &Move::default()), "a single address");
    let late = Move { ack_first: true, other_address: true, ..Move::default() };
    assert_fails("rebind-addr", &moved(true, &late), "has no PATH_CHALLENGE");
}

#[test]
fn a_client_that_moves_takes_another_connection_id() {
    assert_succeeds("connectionmigration", &moved(false, &Move::default()));
    let same = Move { same_dcid: true, ..Move::default() };
    assert_fails("connectionmigration", &moved(false, &same), "that it used before");
    assert_fails(
        "connectionmigration",
        &moved(true, &Move::default()),
        "client used a single path",
    );
}

#[test]
fn goodput_is_bits_of_the_file_over_the_time_of_the_servers_packets() {
    let mut forgery = plain(&Script::default());
    let mut connection = Connection::new(1);
    connection.next_number = [[9; 3]; 2];
    forgery.wait(60);
    connection.send(&mut forgery, SERVER, PacketType::OneRtt, &[Frame::Ping]);
    // The first one left 20 ms before the wait.
    let Verdict::Succeeded(success) = judge("goodput", &forgery) else { panic!() };
    assert_eq!(success.kbit_per_second, Some(8.0 * 1000.0 / 80.0));
    assert_fails("goodput", &plain(&Script::default()), "too few 1-RTT packets");
}

#[test]
fn a_run_without_captures_is_an_error() {
    let folder = folder(&plain(&Script::default()));
    std::fs::remove_file(folder.path().join("sim/trace_node_left.pcap")).unwrap();
    let error = Evidence::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("trace_node_left.pcap: it does not exist"), "{error}");
}
