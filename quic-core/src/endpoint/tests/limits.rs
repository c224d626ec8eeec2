//! Floods, and bytes that nobody would send in earnest.

use proptest::prelude::*;

use super::*;
use crate::util::Rng;
use crate::wire::{ConnectionId, Version};

fn limited(max_incoming: usize, max_bytes: usize) -> EndpointConfig {
    EndpointConfig::builder()
        .max_incoming(max_incoming)
        .max_incoming_bytes(max_bytes)
        .stateless_rate(5)
        .build()
        .unwrap()
}

// req-test 9000-5.2.2-069
#[test]
fn clients_beyond_the_limit_are_refused_as_long_as_the_budget_lasts() {
    let mut net = Net::with_server(limited(3, 1 << 20));
    for _ in 0..20 {
        let datagram = net.first_initial();
        net.server.recv(net.now, CLIENT, &datagram);
    }
    assert_eq!(net.server.endpoint.incoming_count(), 3);
    let stats = net.server.endpoint.stats();
    assert_eq!((stats.refusals, stats.busy), (5, 17));
    assert_eq!(net.server.transmits(net.now).len(), 5);
}

#[test]
fn bytes_of_clients_that_wait_are_bounded() {
    let mut net = Net::with_server(limited(1000, 5000));
    for _ in 0..20 {
        let datagram = net.first_initial();
        for _ in 0..20 {
            net.server.recv(net.now, CLIENT, &datagram);
        }
        assert!(net.server.endpoint.incoming_bytes() <= 5000);
    }
    assert!(net.server.endpoint.incoming_count() >= 1);
}

#[test]
fn connections_are_bounded() {
    let config = EndpointConfig::builder().max_connections(2).build().unwrap();
    let mut net = Net::with_server(config);
    for _ in 0..5 {
        let datagram = net.first_initial();
        net.server.recv(net.now, CLIENT, &datagram);
    }
    let ids = [net.server.incoming(), net.server.incoming()];
    assert_eq!(net.server.endpoint.incoming_count(), 2);
    for id in ids {
        net.server.endpoint.accept(net.now, id).unwrap();
    }
    let refused = net.server.endpoint.connect(net.now, client_config(), CLIENT, "localhost");
    assert_eq!(refused, Err(ConnectError::TooManyConnections));
}

// req-test 9000-6.1-077, 9000-5.2.2-066
#[test]
fn floods_that_ask_for_answers_get_few() {
    let mut net = Net::with_server(limited(10, 1 << 20));
    let mut rng = Rng::from_seed([3; 32]);
    for n in 0..10_000u32 {
        let mut datagram = rng.array::<1200>();
        datagram[0] = if n % 2 == 0 { 0xc0 } else { 0x40 };
        datagram[5] = 8;
        net.server.recv(net.now, CLIENT, &datagram);
    }
    assert_eq!(net.server.transmits(net.now).len(), 5);
    assert_eq!(net.server.endpoint.incoming_count(), 0);
    net.now += Duration::from_secs(1);
    let datagram = [&[0x40][..], &rng.array::<99>()].concat();
    net.server.recv(net.now, CLIENT, &datagram);
    assert_eq!(net.server.transmits(net.now).len(), 1, "a second later it answers again");
}

/// A client whose attempts cost no TLS in each case of a property test.
fn initial() -> Vec<u8> {
    static INITIAL: LazyLock<Vec<u8>> = LazyLock::new(|| Net::new().first_initial());
    INITIAL.clone()
}

/// An endpoint with a connection, and the connection ID that leads there.
fn with_connection() -> (Net, ConnectionId) {
    let mut net = Net::new();
    let [_, server] = net.established();
    let id = net.server.endpoint.connections.get(server).unwrap().ids[1];
    (net, id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(datagrams in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..200), 0..20,
    )) {
        let mut net = Net::new();
        for datagram in &datagrams {
            net.server.recv(net.now, CLIENT, datagram);
            net.client.recv(net.now, SERVER, datagram);
        }
        prop_assert_eq!(net.server.endpoint.incoming_count(), 0);
        net.server.transmits(net.now);
    }

    #[test]
    fn mutated_first_packets_are_survived(
        changes in prop::collection::vec((0usize..1200, any::<u8>()), 1..6),
        cut in 0usize..40,
        version in prop::sample::select(vec![1u32, 0, 2, 0x0a0a_0a0a]),
    ) {
        let mut net = Net::new();
        let mut datagram = initial();
        for (at, value) in changes {
            // Half of the changes go where the header is.
            let at = if at % 2 == 0 { at % 50 } else { at };
            datagram[at] = value;
        }
        datagram[1..5].copy_from_slice(&Version(version).0.to_be_bytes());
        datagram.truncate(datagram.len() - cut);
        net.server.recv(net.now, CLIENT, &datagram);
        net.server.take_events();
        while let Some(EndpointEvent::Incoming { id, .. }) = net.server.events.pop_front() {
            net.server.endpoint.accept(net.now, id).unwrap();
        }
        net.server.transmits(net.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_for_a_living_connection_leave_it_alive(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..10),
        first in any::<u8>(),
    ) {
        let (mut net, id) = with_connection();
        for payload in payloads {
            let short = [&[first & 0x7f], id.as_slice(), &payload].concat();
            let long =
                [&[first | 0x80, 0, 0, 0, 1, 8], id.as_slice(), &[0], &payload].concat();
            net.server.recv(net.now, CLIENT, &short);
            net.server.recv(net.now, CLIENT, &long);
        }
        net.settle();
        let server = net.server.endpoint.connections.handles().next().unwrap();
        prop_assert_eq!(net.server.close_reason(server), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_program_over_two_endpoints_comes_to_its_end(
        program in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        crate::fuzz::connection(Instant::now(), &program);
    }
}
