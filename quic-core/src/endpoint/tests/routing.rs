//! Connections from their beginning to their end.

use bytes::Bytes;

use super::*;
use crate::buffer::{Occupancy, SlabRing};
use crate::stream::Read;
use crate::wire::{ApplicationErrorCode, Dir};

#[test]
fn a_connection_is_accepted_and_carries_data() {
    let mut net = Net::new();
    let [client, server] = net.established();
    let connection = net.client.endpoint.connection_mut(client).unwrap();
    let id = connection.streams().open(Dir::Uni).unwrap();
    connection.streams().write(id, Bytes::from_static(b"hello")).unwrap();
    connection.streams().finish(id).unwrap();
    net.settle();
    let connection = net.server.endpoint.connection_mut(server).unwrap();
    let id = connection.streams().accept(Dir::Uni).unwrap();
    assert_eq!(connection.streams().read(id), Ok(Read::Chunk(Bytes::from_static(b"hello"))));
}

#[test]
fn a_closed_connection_is_forgotten_by_both_sides_after_its_owner_was_told() {
    let mut net = Net::new();
    let [client, server] = net.established();
    let connection = net.client.endpoint.connection_mut(client).unwrap();
    let code = ApplicationErrorCode::from(7);
    connection.close(net.now, code, Bytes::from_static(b"enough"));
    net.settle();
    assert_eq!(net.client.close_reason(client), Some(ConnectionError::LocallyClosed(code)));
    let Some(ConnectionError::ApplicationClosed(close)) = net.server.close_reason(server) else {
        panic!("{:?}", net.server.close_reason(server));
    };
    assert_eq!((close.error_code, &close.reason[..]), (code, &b"enough"[..]));
    assert!(!net.server.is_gone(server), "draining takes its time");
    net.advance(Duration::from_secs(10));
    assert!(net.client.is_gone(client) && net.server.is_gone(server));
    for host in [&net.client, &net.server] {
        assert_eq!(host.endpoint.connection_count(), 0);
        assert_eq!(host.endpoint.next_timeout(), None);
    }
    assert!(net.server.endpoint.connection(server).is_none());
    assert!(net.server.endpoint.connection_mut(server).is_none());
}

#[test]
fn a_train_is_shared_out_among_connections_and_strangers() {
    let mut net = Net::new();
    let ends = [net.established(), net.established()];
    for [client, _] in ends {
        let streams = net.client.endpoint.connection_mut(client).unwrap().streams();
        let id = streams.open(Dir::Uni).unwrap();
        streams.write(id, Bytes::from(vec![7; 6000])).unwrap();
    }
    let mut datagrams: Vec<_> = net.client.transmits(net.now).into_iter().map(|d| d.1).collect();
    let stride = datagrams.iter().map(Vec::len).max().unwrap();
    datagrams.retain(|datagram| datagram.len() == stride);
    let half = datagrams.len() / 2;
    assert!(half >= 2);
    // A turn of each, and one for nobody in between.
    let mut mixed: Vec<_> = (0..half).flat_map(|n| [n, half + n]).collect::<Vec<_>>();
    let stranger = datagrams.len();
    datagrams.push(vec![0x41; stride]);
    mixed.insert(3, stranger);
    let train: Vec<u8> = mixed.iter().flat_map(|at| datagrams[*at].clone()).collect();
    let occupancy = Occupancy::default();
    let mut slab = SlabRing::new(train.len(), 1, occupancy.clone()).checkout();
    slab.begin().unwrap().copy_from_slice(&train);
    let before = net.server.endpoint.stats();
    let train = Train::new(&mut slab, train.len(), stride);
    net.server.endpoint.recv(net.now, DatagramMeta::new(CLIENT), train);
    let after = net.server.endpoint.stats();
    assert_eq!(after.received - before.received, mixed.len() as u64);
    assert_eq!(after.dropped + after.stateless_resets, before.dropped + 1);
    for [_, server] in ends {
        let streams = net.server.endpoint.connection_mut(server).unwrap().streams();
        let id = streams.accept(Dir::Uni).unwrap();
        let mut read = 0;
        while let Ok(Read::Chunk(chunk)) = streams.read(id) {
            assert!(chunk.iter().all(|byte| *byte == 7));
            read += chunk.len();
        }
        assert!(read > 1000, "{read} bytes");
    }
    assert_eq!(occupancy.free(), occupancy.total());
}

#[test]
fn a_handle_never_means_a_later_connection() {
    let mut net = Net::new();
    let [client, _] = net.established();
    net.client.endpoint.connection_mut(client).unwrap().close(
        net.now,
        ApplicationErrorCode::from(0),
        Bytes::new(),
    );
    net.advance(Duration::from_secs(10));
    let later = net.connect();
    assert_eq!(later.index(), client.index());
    assert!(net.client.endpoint.connection(client).is_none());
    assert!(net.client.endpoint.connection(later).is_some());
}

// req-test 9000-9-176, 9000-9.6-199
#[test]
fn packets_from_a_server_at_another_address_are_dropped_without_an_answer() {
    let mut net = Net::new();
    let [client, server] = net.established();
    net.server.endpoint.connection_mut(server).unwrap().ping();
    let down = net.server.transmits(net.now);
    assert!(!down.is_empty());
    let before = net.client.endpoint.connection(client).unwrap().stats().packets_received;
    for (_, datagram) in down {
        net.client.recv(net.now, address(9), &datagram);
    }
    assert_eq!(net.client.transmits(net.now), []);
    let after = net.client.endpoint.connection(client).unwrap().stats().packets_received;
    assert_eq!(before, after);
    // The server sends again over the path that is known.
    net.advance(Duration::from_secs(2));
    assert_eq!(net.client.close_reason(client), None);
}

// req-test 9000-5.1.1-043, 9000-5.1.1-044
#[test]
fn every_connection_id_that_was_announced_is_routed() {
    let mut net = Net::new();
    let [_, server] = net.established();
    let entry = net.server.endpoint.connections.get(server).unwrap();
    let ids = entry.ids.clone();
    assert!(ids.len() >= 4, "the client's choice, ours, and announced ones: {ids:?}");
    for id in ids {
        let datagram = [&[0x40], id.as_slice(), &[0; 30]].concat();
        let target = net.server.endpoint.routes.find(&datagram);
        let initial = id.len() != net.server.endpoint.config.connection_ids().len();
        assert!(initial || target == Some(Target::Connection(server)));
    }
}

// req-test 9000-5.1.1-043, 9000-5.1.2-054, 9000-5.1.2-056, 9000-5.1.1-048
#[test]
fn all_connection_ids_of_a_living_connection_can_be_replaced() {
    let mut net = Net::new();
    let [client, server] = net.established();
    let routed = |net: &Net| net.server.endpoint.connections.get(server).unwrap().ids.clone();
    let before = routed(&net);
    let connection = net.server.endpoint.connection_mut(server).unwrap();
    assert!(connection.replace_connection_ids());
    assert!(!connection.replace_connection_ids(), "not answered yet");
    net.settle();
    net.advance(Duration::from_secs(1));
    let after = routed(&net);
    let kept = before.iter().filter(|id| after.contains(id)).count();
    assert_eq!(kept, 1, "only what the client chose for its first packet");
    assert_eq!(after.len(), before.len());
    net.client.endpoint.connection_mut(client).unwrap().ping();
    let received = net.server.endpoint.connection(server).unwrap().stats().packets_received;
    net.settle();
    let now = net.server.endpoint.connection(server).unwrap().stats().packets_received;
    assert!(now > received, "packets reach the new connection IDs");
    assert_eq!(net.server.close_reason(server), None);
    assert!(net.server.endpoint.connection_mut(server).unwrap().replace_connection_ids());
}

#[test]
fn an_idle_connection_times_out_on_both_sides_without_a_word() {
    let mut net = Net::new();
    let [client, server] = net.established();
    net.advance(Duration::from_secs(60));
    assert_eq!(net.client.close_reason(client), Some(ConnectionError::TimedOut));
    assert_eq!(net.server.close_reason(server), Some(ConnectionError::TimedOut));
    assert_eq!(net.server.endpoint.connection_count(), 0);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut net = Net::new();
    let client = net.connect();
    net.client.transmits(net.now);
    while let Some(deadline) = net.client.endpoint.next_timeout() {
        net.now = deadline;
        net.client.endpoint.handle_timeout(net.now);
        net.client.transmits(net.now);
        net.client.take_events();
    }
    assert_eq!(net.client.close_reason(client), Some(ConnectionError::HandshakeTimedOut));
    assert!(net.client.is_gone(client));
}

#[test]
fn many_connections_between_two_endpoints_do_not_mix() {
    let mut net = Net::new();
    let clients: Vec<_> = (0..20).map(|_| net.connect()).collect();
    net.settle();
    for _ in 0..clients.len() {
        let incoming = net.server.incoming();
        net.server.endpoint.accept(net.now, incoming).unwrap();
    }
    net.settle();
    for (n, client) in clients.iter().enumerate() {
        let streams = net.client.endpoint.connection_mut(*client).unwrap().streams();
        let id = streams.open(Dir::Uni).unwrap();
        streams.write(id, Bytes::from(format!("connection {n}"))).unwrap();
    }
    net.settle();
    let handles: Vec<_> = net.server.endpoint.connections.handles().collect();
    let mut received = Vec::new();
    for handle in handles {
        let streams = net.server.endpoint.connection_mut(handle).unwrap().streams();
        let id = streams.accept(Dir::Uni).unwrap();
        let Ok(Read::Chunk(data)) = streams.read(id) else { panic!("no data") };
        received.push(String::from_utf8(data.to_vec()).unwrap());
    }
    received.sort();
    received.dedup();
    assert_eq!(received.len(), clients.len());
}

#[test]
fn close_all_closes_what_is_there_and_refuses_what_waits() {
    let mut net = Net::new();
    let [client, _] = net.established();
    let waiting = net.connect();
    net.settle();
    assert_eq!(net.server.endpoint.incoming_count(), 1);
    let code = ApplicationErrorCode::from(3);
    net.server.endpoint.close_all(net.now, code, &Bytes::new());
    net.settle();
    assert!(matches!(
        net.client.close_reason(client),
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == code
    ));
    assert!(matches!(net.client.close_reason(waiting), Some(ConnectionError::ConnectionClosed(_))));
    assert_eq!(net.server.endpoint.incoming_count(), 0);
}

#[test]
fn attempts_that_cannot_begin_say_why() {
    let mut endpoint = Host::client().endpoint;
    let mut connect = |remote: SocketAddr, name: &str| {
        endpoint.connect(Instant::now(), client_config(), remote, name).unwrap_err()
    };
    assert_eq!(connect(SERVER, "not a name"), ConnectError::InvalidServerName);
    let port_0 = SocketAddr::new(SERVER.ip(), 0);
    assert_eq!(connect(port_0, "localhost"), ConnectError::InvalidRemoteAddress);
    let anywhere = "0.0.0.0:1".parse().unwrap();
    assert_eq!(connect(anywhere, "localhost"), ConnectError::InvalidRemoteAddress);
}

#[test]
fn deadlines_that_move_to_later_do_not_wake_the_connection_early() {
    let config = TransportConfig::builder()
        .keep_alive_interval(Some(Duration::from_secs(1)))
        .build()
        .unwrap();
    let mut net = Net::new();
    let config = Arc::new(ClientConfig::clone(client_config()).with_transport(Arc::new(config)));
    let client = net.client.endpoint.connect(net.now, &config, SERVER, "localhost").unwrap();
    net.settle();
    let incoming = net.server.incoming();
    let server = net.server.endpoint.accept(net.now, incoming).unwrap();
    net.advance(Duration::from_secs(120));
    assert_eq!(net.client.close_reason(client), None, "kept alive");
    assert_eq!(net.server.close_reason(server), None);
}

#[test]
fn a_client_that_comes_back_resumes_its_session_with_new_connection_ids() {
    let mut net = Net::new();
    let [first, _] = net.established();
    let [second, _] = net.established();
    for client in [first, second] {
        assert_eq!(net.client.close_reason(client), None);
    }
}

#[test]
fn the_deadline_is_over_as_long_as_something_was_not_polled() {
    let mut net = Net::new();
    let client = net.connect();
    assert_eq!(net.client.endpoint.next_timeout(), Some(net.now), "something to send");
    assert_ne!(net.client.endpoint.next_deadline(), Some(net.now), "but nothing to wait for");
    net.client.transmits(net.now);
    assert_eq!(net.client.endpoint.next_timeout(), Some(net.now), "something to tell");
    net.client.take_events();
    net.client.transmits(net.now);
    assert!(net.client.endpoint.next_timeout().unwrap() > net.now);
    net.client.endpoint.connection_mut(client).unwrap();
    assert_eq!(net.client.endpoint.next_timeout(), Some(net.now), "touched by its owner");
    assert!(net.client.endpoint.next_deadline().unwrap() > net.now);
}
