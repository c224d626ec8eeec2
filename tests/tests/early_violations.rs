//! Rules of early data that a peer can break: what the endpoint makes of it.

use std::sync::Arc;
use std::time::Duration;

use quic_core::config::TransportConfig;
use quic_core::connection::EarlyData;
use quic_core::error::Discard;
use quic_core::wire::cursor::Writer;
use quic_core::wire::{Dir, PacketType, TransportErrorCode, TransportParameters};
use quic_testkit::arena::{Arena, PeerId, generous_parameters};
use quic_testkit::raw_peer::RawPeer;
use quic_testkit::tls;

const STREAM_WINDOW: u64 = 4_000;
const PROTOCOL: TransportErrorCode = TransportErrorCode::PROTOCOL_VIOLATION;
const PING: &[u8] = &[0x01];

/// Variable-length integers one after the other.
fn ints(values: &[u64]) -> Vec<u8> {
    let mut buf = vec![0; 8 * values.len()];
    let mut writer = Writer::new(&mut buf);
    values.iter().for_each(|value| writer.varint(*value));
    let len = writer.position();
    buf.truncate(len);
    buf
}

/// A STREAM frame of ten bytes.
fn stream(id: u64, offset: u64) -> Vec<u8> {
    [ints(&[0x0e, id, offset, 10]), vec![b'x'; 10]].concat()
}

// ---- an endpoint that accepts early data, and raw clients

struct Server {
    arena: Arena,
    tls: Arc<rustls::ClientConfig>,
}

impl Server {
    fn new() -> Self {
        let transport =
            TransportConfig::builder().initial_stream_window(STREAM_WINDOW).max_uni_streams(2);
        let mut arena = Arena::new(transport);
        arena.take_early_data();
        Self { arena, tls: tls::early_client() }
    }

    /// A client that has been here before: it can seal 0-RTT packets, and has sent nothing.
    fn early_client(&mut self) -> RawPeer {
        let client = |arena: &mut Arena, tls: &Arc<_>| {
            RawPeer::client_with_tls(&mut arena.rng, generous_parameters(), Arc::clone(tls))
        };
        let first = client(&mut self.arena, &self.tls);
        self.arena.connected(first);
        let second = client(&mut self.arena, &self.tls);
        assert!(second.can_seal_early(), "the first connection left a ticket");
        second
    }

    /// The endpoint has the ClientHello of such a client, and has not answered.
    fn begun(&mut self) -> PeerId {
        let mut peer = self.early_client();
        let hello = peer.poll_datagram().expect("a first flight");
        let id = self.arena.add_client(peer);
        self.arena.hand_over(id, &hello);
        id
    }

    fn early(&mut self, id: PeerId, payload: &[u8]) -> Vec<u8> {
        self.arena.peer(id).packet(PacketType::ZeroRtt).payload(payload).datagram()
    }

    fn early_packets(&mut self, id: PeerId) -> u64 {
        self.arena.connection(id).stats().early_packets_received
    }
}

// req-test 9001-8.3-107, 9000-12.5-300
#[test]
fn early_data_carries_no_frames_that_answer_something() {
    let token = [ints(&[0x07, 4]), vec![1; 4]].concat();
    let crypto = [ints(&[0x06, 0, 4]), vec![1; 4]].concat();
    let rows = [
        ("ACK", ints(&[0x02, 0, 0, 0, 0])),
        ("ACK with ECN", ints(&[0x03, 0, 0, 0, 0, 0, 0, 0])),
        ("CRYPTO", crypto),
        ("NEW_TOKEN", token),
        ("RETIRE_CONNECTION_ID", ints(&[0x19, 0])),
        ("PATH_RESPONSE", [vec![0x1b], vec![7; 8]].concat()),
        ("HANDSHAKE_DONE", ints(&[0x1e])),
    ];
    let mut server = Server::new();
    for (name, payload) in rows {
        let liar = server.begun();
        let datagram = server.early(liar, &payload);
        server.arena.send(liar, &datagram);
        let closed = server.arena.closed(liar).unwrap_or_else(|| panic!("{name}: nothing"));
        assert_eq!(closed.transport_code(), Some(PROTOCOL), "{name}: {closed:?}");
        assert_eq!(closed.frame_type.map(|ty| ty.0), Some(u64::from(payload[0])), "{name}");
    }
}

// req-test 9000-17.2.3-397
#[test]
fn early_data_beyond_the_limits_of_the_session_closes_the_connection() {
    let mut server = Server::new();
    for (payload, code) in [
        (stream(2, STREAM_WINDOW - 9), TransportErrorCode::FLOW_CONTROL_ERROR),
        (stream(10, 0), TransportErrorCode::STREAM_LIMIT_ERROR),
    ] {
        let liar = server.begun();
        let datagram = server.early(liar, &payload);
        server.arena.send(liar, &datagram);
        let closed = server.arena.closed(liar).expect("the limit is kept");
        assert_eq!(closed.transport_code(), Some(code), "{closed:?}");
    }
}

// req-test 9000-5.2.2-070, 9001-4.1.4-008
#[test]
fn early_data_that_overtakes_the_first_packet_waits_for_it() {
    let mut server = Server::new();
    let mut peer = server.early_client();
    let hello = peer.poll_datagram().expect("a first flight");
    let id = server.arena.add_client(peer);
    for offset in [0, 10] {
        let datagram = server.early(id, &stream(2, offset));
        server.arena.hand_over(id, &datagram);
    }
    server.arena.send(id, &hello);
    assert_eq!(server.early_packets(id), 2);
    let connection = server.arena.connection(id);
    let stream = connection.streams().accept(Dir::Uni).expect("the client's stream");
    assert!(connection.streams().is_early(stream));
}

#[test]
fn early_data_without_a_first_packet_is_forgotten() {
    let mut server = Server::new();
    let mut peer = server.early_client();
    let hello = peer.poll_datagram().expect("a first flight");
    let id = server.arena.add_client(peer);
    let datagram = server.early(id, &stream(2, 0));
    server.arena.hand_over(id, &datagram);
    server.arena.advance(Duration::from_secs(2));
    server.arena.send(id, &hello);
    assert_eq!(server.early_packets(id), 0);
}

// req-test 9001-4.9.3-037, 9001-4.9.3-036
#[test]
fn keys_of_early_data_are_dropped_a_while_after_the_first_one_rtt_packet() {
    let mut server = Server::new();
    let id = server.begun();
    let late: Vec<_> = (0..2).map(|n| server.early(id, &stream(2, 10 * n))).collect();
    server.arena.pump();
    server.arena.send_frames(id, PING);
    server.arena.send(id, &late[0]);
    assert_eq!(server.early_packets(id), 1, "overtaken by the end of the handshake");
    let is_early = {
        let streams = server.arena.connection(id).streams();
        let stream = streams.accept(Dir::Uni).expect("the client's stream");
        streams.is_early(stream)
    };
    assert!(!is_early, "after the handshake nobody can have replayed it");
    server.arena.advance(Duration::from_secs(5));
    let dropped = |server: &mut Server| {
        server.arena.connection(id).stats().packets_dropped.get(Discard::KeysDiscarded)
    };
    let before = dropped(&mut server);
    server.arena.send(id, &late[1]);
    assert_eq!(server.early_packets(id), 1);
    assert_eq!(dropped(&mut server), before + 1);
}

// req-test 9001-9.2-110
#[test]
fn a_replay_of_early_data_is_not_processed() {
    let mut server = Server::new();
    let mut peer = server.early_client();
    let hello = peer.poll_datagram().expect("a first flight");
    let id = server.arena.add_client(peer);
    let data = server.early(id, &stream(2, 0));
    server.arena.hand_over(id, &hello);
    server.arena.hand_over(id, &data);
    assert_eq!(server.early_packets(id), 1);
    // The same bytes from elsewhere, to a server that has lost the connection and not its sessions.
    let now = server.arena.now;
    server.arena.connection(id).close(now, 0u32.into(), "".into());
    server.arena.advance(Duration::from_secs(60));
    let copy = RawPeer::client(&mut server.arena.rng, generous_parameters());
    let replay = server.arena.add_client(copy);
    let from = server.arena.address(replay);
    server.arena.hand_over(replay, &hello);
    server.arena.hand_over(replay, &data);
    let handle = *server.arena.host.handles().last().expect("a connection");
    let connection = server.arena.host.connection(handle).expect("it is new");
    assert_eq!(connection.remote_address(), from);
    assert_eq!(connection.early_data(), EarlyData::None);
    let stats = connection.stats();
    assert_eq!(stats.early_packets_received, 0);
    assert_eq!(stats.packets_dropped.get(Discard::ZeroRttRejected), 1);
}

// ---- an endpoint that sends early data, and raw servers

/// Hands what the client sends now to the server, before it learns what that has to say.
fn carry_over(arena: &mut Arena, id: PeerId) {
    for datagram in arena.transmit() {
        let now = arena.now;
        arena.peer(id).receive(now, &datagram.payload);
    }
}

/// Connects to a server that allows early data, then to one with the same sessions and with other
/// `params`, which accepts it or not; the client has sent data on a stream at once.
fn connect_twice(params: TransportParameters, takes: bool) -> (Arena, PeerId) {
    let mut arena = Arena::with_defaults();
    arena.take_early_data();
    let tls = tls::early_server(true, None);
    let first = arena.connect_to(|rng, first| {
        RawPeer::server_with_tls(rng, generous_parameters(), first, tls.clone())
    });
    arena.pump();
    let done = arena.peer(first).one_rtt(&[0x1e]);
    arena.send(first, &done);
    let tls = tls::early_server(takes, Some(&tls));
    let id = arena.connect_to(|rng, first| RawPeer::server_with_tls(rng, params, first, tls));
    let streams = arena.connection(id).streams();
    let stream = streams.open(Dir::Uni).expect("the session allows streams");
    streams.write(stream, "early".into()).unwrap();
    carry_over(&mut arena, id);
    (arena, id)
}

// req-test 9000-7.4.1-103, 9000-7.4.1-100
#[test]
fn a_server_that_accepts_early_data_and_lowers_a_limit_is_refused() {
    let full = generous_parameters;
    let rows = [
        TransportParameters { active_connection_id_limit: 7, ..full() },
        TransportParameters { initial_max_data: 1 << 29, ..full() },
        TransportParameters { initial_max_stream_data_bidi_local: 1 << 29, ..full() },
        TransportParameters { initial_max_stream_data_bidi_remote: 1 << 29, ..full() },
        TransportParameters { initial_max_stream_data_uni: 1 << 29, ..full() },
        TransportParameters { initial_max_streams_bidi: 99, ..full() },
        TransportParameters { initial_max_streams_uni: 99, ..full() },
    ];
    for params in rows {
        let (mut arena, id) = connect_twice(params.clone(), true);
        arena.pump();
        let closed = arena.closed(id).unwrap_or_else(|| panic!("{params:?} was accepted"));
        assert_eq!(closed.transport_code(), Some(PROTOCOL), "{params:?}");
    }
    // Without early data a server is free to do so.
    let lower = TransportParameters { initial_max_data: 1 << 29, ..full() };
    let (mut arena, id) = connect_twice(lower, false);
    arena.pump();
    assert_eq!(arena.closed(id), None);
    assert_eq!(arena.connection(id).early_data(), EarlyData::Rejected);
}

// req-test 9001-4.6.2-022
#[test]
fn an_acknowledgement_of_rejected_early_data_closes_the_connection() {
    let (mut arena, id) = connect_twice(generous_parameters(), false);
    arena.pump();
    assert_eq!(arena.closed(id), None);
    // The first packet of the space was the early one.
    arena.send_frames(id, &ints(&[0x02, 0, 0, 0, 0]));
    let closed = arena.closed(id).expect("nobody can have received the packet");
    assert_eq!(closed.transport_code(), Some(PROTOCOL));
}

// req-test 9000-7.4.1-107
#[test]
fn early_data_keeps_to_the_limits_that_are_remembered() {
    let mut arena = Arena::with_defaults();
    arena.take_early_data();
    let tls = tls::early_server(true, None);
    let small = TransportParameters {
        initial_max_stream_data_uni: 10,
        initial_max_streams_uni: 1,
        ..generous_parameters()
    };
    let first = arena
        .connect_to(|rng, first| RawPeer::server_with_tls(rng, small.clone(), first, tls.clone()));
    arena.pump();
    let done = arena.peer(first).one_rtt(&[0x1e]);
    arena.send(first, &done);
    // The server allows more by now, which the client cannot know in time.
    let tls = Arc::clone(&tls);
    let id = arena
        .connect_to(|rng, first| RawPeer::server_with_tls(rng, generous_parameters(), first, tls));
    let streams = arena.connection(id).streams();
    let stream = streams.open(Dir::Uni).expect("one stream");
    assert_eq!(streams.open(Dir::Uni), None, "and not two");
    streams.write(stream, vec![b'x'; 100].into()).unwrap();
    carry_over(&mut arena, id);
    let early = |frame: quic_core::wire::Frame<'_>| match frame {
        quic_core::wire::Frame::Stream(stream) => Some(stream.offset + stream.data.len() as u64),
        _ => None,
    };
    assert_eq!(arena.peer(id).frames(PacketType::ZeroRtt, early).iter().max(), Some(&10));
    arena.pump();
    assert_eq!(arena.connection(id).early_data(), EarlyData::Accepted);
    assert_eq!(arena.peer(id).frames(PacketType::OneRtt, early).iter().max(), Some(&100));
    assert!(arena.connection(id).streams().open(Dir::Uni).is_some(), "the new limits hold");
}
