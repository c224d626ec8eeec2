use super::*;
use crate::seed::Seed;

/// Carries datagrams to and fro until neither has anything to say.
fn exchange(now: Instant, client: &mut RawPeer, server: &mut RawPeer) {
    loop {
        let mut quiet = true;
        while let Some(datagram) = client.poll_datagram() {
            server.receive(now, &datagram);
            quiet = false;
        }
        while let Some(datagram) = server.poll_datagram() {
            client.receive(now, &datagram);
            quiet = false;
        }
        if quiet {
            return;
        }
    }
}

fn connected(now: Instant) -> (RawPeer, RawPeer) {
    let mut rng = Seed(1).rng();
    let mut client = RawPeer::client(&mut rng, TransportParameters::default());
    let first = client.poll_datagram().expect("a first flight");
    let mut server = RawPeer::server(&mut rng, TransportParameters::default(), &first);
    server.receive(now, &first);
    exchange(now, &mut client, &mut server);
    assert!(client.is_connected() && server.is_connected());
    (client, server)
}

#[test]
fn two_raw_peers_shake_hands() {
    let (client, server) = connected(Instant::now());
    let params = client.peer_params().expect("parameters");
    assert_eq!(params.original_destination_connection_id, Some(client.original_dcid));
    assert_eq!(
        server.peer_params().and_then(|p| p.initial_source_connection_id),
        Some(client.local_cid)
    );
}

#[test]
fn a_raw_peer_reads_what_another_writes() {
    let now = Instant::now();
    let (mut client, mut server) = connected(now);
    let datagram = client.packet(PacketType::OneRtt).number(77).payload(&[0x01]).datagram();
    server.receive(now, &datagram);
    let packet = server.received.last().expect("a packet");
    assert_eq!((packet.number, packet.ty), (77, PacketType::OneRtt));
    assert_eq!(packet.frames().next(), Some(Frame::Ping));
    exchange(now, &mut client, &mut server);
    assert!(client.is_acknowledged(SpaceId::Data, 77));
    assert!(!client.is_acknowledged(SpaceId::Data, 76));
}

#[test]
fn a_raw_peer_updates_its_keys() {
    let now = Instant::now();
    let (mut client, mut server) = connected(now);
    let datagram = client.one_rtt(&[0x01]);
    server.receive(now, &datagram);
    exchange(now, &mut client, &mut server);
    client.update_keys(now);
    let datagram = client.one_rtt(&[0x01]);
    server.receive(now, &datagram);
    assert_eq!(server.key_generation(), 1);
}
