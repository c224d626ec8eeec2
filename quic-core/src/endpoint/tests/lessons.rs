//! What went wrong in other stacks at the ends of connections, and must not here.

use bytes::Bytes;

use super::*;
use crate::wire::{ApplicationErrorCode, Dir};

fn over() -> ApplicationErrorCode {
    ApplicationErrorCode::from(1)
}

// lesson 28
#[test]
fn a_connection_that_ends_for_several_reasons_is_counted_once() {
    let mut net = Net::new();
    let ends: Vec<_> = (0..3).map(|_| net.established()).collect();
    let counts =
        |net: &Net| [&net.client, &net.server].map(|host| host.endpoint.connection_count());
    assert_eq!(counts(&net), [3, 3]);
    // Both close at once, more than once, and each hears of the other's close several times.
    let [client, server] = ends[0];
    for _ in 0..3 {
        for (host, handle) in [(&mut net.client, client), (&mut net.server, server)] {
            let connection = host.endpoint.connection_mut(handle).unwrap();
            connection.close(net.now, over(), Bytes::new());
        }
    }
    let up = net.client.transmits(net.now);
    let down = net.server.transmits(net.now);
    assert!(!up.is_empty() && !down.is_empty());
    for _ in 0..3 {
        up.iter().for_each(|(_, datagram)| net.server.recv(net.now, CLIENT, datagram));
        down.iter().for_each(|(_, datagram)| net.client.recv(net.now, SERVER, datagram));
    }
    net.settle();
    assert_eq!(counts(&net), [3, 3], "they are closing");
    net.advance(Duration::from_secs(10));
    assert_eq!(counts(&net), [2, 2]);
    // What comes late is about nothing, or about nobody.
    up.iter().for_each(|(_, datagram)| net.server.recv(net.now, CLIENT, datagram));
    down.iter().for_each(|(_, datagram)| net.client.recv(net.now, SERVER, datagram));
    net.advance(Duration::from_secs(1));
    assert_eq!(counts(&net), [2, 2]);
    let gone = |host: &Host| {
        host.events.iter().filter(|e| matches!(e, EndpointEvent::ConnectionGone(_))).count()
    };
    assert_eq!([&net.client, &net.server].map(gone), [1, 1]);
    for host in [&mut net.client, &mut net.server] {
        host.endpoint.close_all(net.now, over(), &Bytes::new());
        host.endpoint.close_all(net.now, over(), &Bytes::new());
    }
    net.advance(Duration::from_secs(10));
    assert_eq!(counts(&net), [0, 0]);
    assert_eq!([&net.client, &net.server].map(gone), [3, 3]);
}

// lesson 4
#[test]
fn a_handle_of_an_earlier_connection_reaches_nothing_of_the_one_in_its_place() {
    let mut net = Net::new();
    let [client, server] = net.established();
    let connection = net.client.endpoint.connection_mut(client).unwrap();
    let stream = connection.streams().open(Dir::Uni).unwrap();
    connection.streams().write(stream, Bytes::from_static(b"old")).unwrap();
    let late = net.client.transmits(net.now);
    let connection = net.client.endpoint.connection_mut(client).unwrap();
    connection.close(net.now, over(), Bytes::new());
    net.advance(Duration::from_secs(10));
    net.server.events.clear();
    net.client.events.clear();
    let [later, later_server] = net.established();
    assert_eq!([later.index(), later_server.index()], [client.index(), server.index()]);
    assert!(net.client.endpoint.connection_mut(client).is_none());
    assert!(net.server.endpoint.connection_mut(server).is_none());
    // Nor does a packet of the earlier one.
    late.iter().for_each(|(_, datagram)| net.server.recv(net.now, CLIENT, datagram));
    net.settle();
    let connection = net.server.endpoint.connection_mut(later_server).unwrap();
    assert_eq!(connection.streams().accept(Dir::Uni), None);
    assert!(!connection.is_closed());
}
