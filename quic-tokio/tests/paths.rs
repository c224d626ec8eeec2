//! Connections that change their way over real sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quic_tokio::{
    ClientConfig, Connection, Endpoint, MigrateError, MoveError, PreferredAddresses, ServerConfig,
    TransportConfig,
};

use support::{ALPN, Identity, LOCALHOST, Net, noise, within_limits};

mod support;

fn udp(ip: impl Into<std::net::IpAddr>) -> UdpSocket {
    UdpSocket::bind(SocketAddr::new(ip.into(), 0)).unwrap()
}

/// The server sends back on each stream what it gets.
async fn echo(connection: Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        while let Ok(Some(chunk)) = recv.read_chunk().await {
            if send.write_chunk(chunk).await.is_err() {
                return;
            }
        }
        let _ = send.finish();
        send.delivered().await;
    }
}

async fn ask(connection: &Connection, bytes: &[u8]) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let write = async {
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
    };
    let (_, answer) = tokio::join!(write, recv.read_to_end(bytes.len()));
    assert_eq!(answer.unwrap(), bytes);
}

/// Waits until something is so that no event tells of.
async fn eventually(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_connection_moves_to_another_socket_with_data_under_way() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        tokio::spawn(echo(server.clone()));
        let bytes = noise(3_000_000);
        ask(&client, &bytes[..1000]).await;
        let before = server.remote_address();
        let moves = async {
            for _ in 0..3 {
                // The server may have given no other connection ID yet.
                while let Err(error) = client.migrate(udp(Ipv4Addr::LOCALHOST)).await {
                    let none = MigrateError::NoConnectionId;
                    assert!(matches!(error, MoveError::Refused(e) if e == none), "{error}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        tokio::join!(ask(&client, &bytes), moves);
        ask(&client, &bytes[..1000]).await;
        assert_ne!(server.remote_address(), before);
        assert!(client.stats().await.migrations >= 3);
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_goes_on_with_another_socket() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        tokio::spawn(echo(server.clone()));
        ask(&client, b"before").await;
        let socket = udp(Ipv4Addr::LOCALHOST);
        let new = socket.local_addr().unwrap();
        net.client.rebind(socket).await.unwrap();
        assert_eq!(net.client.local_addr(), new);
        ask(&client, b"meanwhile").await;
        eventually(|| server.remote_address() == new).await;
        ask(&client, b"after").await;
        let (_, another) = net.connect().await;
        assert_eq!(another.remote_address(), new);
    })
    .await;
}

#[tokio::test]
async fn a_move_that_is_not_possible_is_an_error_and_nothing_changes() {
    within_limits(async {
        let transport = TransportConfig::builder().allow_migration(false).build().unwrap();
        let net = Net::with(transport, |builder| builder);
        let (client, server) = net.connect().await;
        tokio::spawn(echo(server.clone()));
        ask(&client, b"before").await;
        let refused = client.migrate(udp(Ipv4Addr::LOCALHOST)).await.unwrap_err();
        assert!(matches!(refused, MoveError::Refused(MigrateError::Forbidden)), "{refused}");
        let refused = server.migrate(udp(Ipv4Addr::LOCALHOST)).await.unwrap_err();
        assert!(matches!(refused, MoveError::Refused(MigrateError::NotAClient)), "{refused}");
        ask(&client, b"after").await;
        client.close(support::code(0), b"");
        let refused = client.migrate(udp(Ipv4Addr::LOCALHOST)).await.unwrap_err();
        assert!(matches!(refused, MoveError::ConnectionLost(_)), "{refused}");
    })
    .await;
}

fn configs(preferred: PreferredAddresses) -> (ServerConfig, ClientConfig) {
    let identity = Identity::new();
    (identity.server(ALPN).with_preferred_addresses(preferred), identity.client(ALPN))
}

async fn moves_to_preferred_address(bind: SocketAddr, also: UdpSocket, from: SocketAddr) {
    let SocketAddr::V4(ipv4) = SocketAddr::from((Ipv4Addr::LOCALHOST, port(&also))) else {
        unreachable!()
    };
    let (server, client) = configs(PreferredAddresses { ipv4: Some(ipv4), ipv6: None });
    let server = Endpoint::builder().server_config(server).also_listen_on(also);
    let server = server.bind(bind).unwrap();
    let client = Endpoint::client(client, from).unwrap();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, server.local_addr().port()));
    let accept = async { server.accept().await.unwrap().accept().await.unwrap() };
    let connect = async { client.connect(at, "localhost").await.unwrap() };
    let (client, connection) = tokio::join!(connect, accept);
    tokio::spawn(echo(connection));
    ask(&client, b"before or after").await;
    eventually(|| client.remote_address() == ipv4.into()).await;
    ask(&client, b"after").await;
    assert_eq!(server.local_addrs().len(), 2);
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_client_moves_to_the_preferred_address_of_the_server() {
    within_limits(moves_to_preferred_address(LOCALHOST, udp(Ipv4Addr::LOCALHOST), LOCALHOST)).await;
}

#[tokio::test]
async fn sockets_for_both_families_and_those_for_one_can_be_mixed() {
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 0).into();
    if UdpSocket::bind(any).is_err() {
        return;
    }
    within_limits(moves_to_preferred_address(any, udp(Ipv4Addr::UNSPECIFIED), any)).await;
}

/// The kernel tells of the unreachable port, and that ends nothing.
#[tokio::test]
async fn an_unreachable_peer_does_not_end_a_connection() {
    within_limits(async {
        let idle = Some(Duration::from_secs(20));
        let transport = TransportConfig::builder().max_idle_timeout(idle).build().unwrap();
        let identity = Identity::new();
        let transport = Arc::new(transport);
        let config = identity.server(ALPN).with_transport(Arc::clone(&transport));
        let server = Endpoint::server(config.clone(), LOCALHOST).unwrap();
        let client = identity.client(ALPN).with_transport(transport);
        let client = Endpoint::client(client, LOCALHOST).unwrap();
        // A relay that goes away takes the socket along.
        let relay = Arc::new(tokio::net::UdpSocket::bind(LOCALHOST).await.unwrap());
        let at = relay.local_addr().unwrap();
        let to = server.local_addr();
        let running = tokio::spawn(forward(Arc::clone(&relay), to));
        let accept = async { server.accept().await.unwrap().accept().await.unwrap() };
        let connect = async { client.connect(at, "localhost").await.unwrap() };
        let (client, connection) = tokio::join!(connect, accept);
        tokio::spawn(echo(connection.clone()));
        ask(&client, b"before").await;
        running.abort();
        let _ = running.await;
        drop(relay);
        let before = client.stats().await.probe_timeouts;
        let asked = tokio::spawn({
            let client = client.clone();
            async move { ask(&client, &noise(100_000)).await }
        });
        // Nobody has received a window of packets, nor the probes that followed.
        while client.stats().await.probe_timeouts < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(client.close_reason().is_none() && connection.close_reason().is_none());
        let relay = Arc::new(tokio::net::UdpSocket::bind(at).await.unwrap());
        tokio::spawn(forward(relay, to));
        asked.await.unwrap();
    })
    .await;
}

/// Carries datagrams between one client and the server at `to`.
async fn forward(relay: Arc<tokio::net::UdpSocket>, to: SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let mut client = None;
    loop {
        // Errors tell that somebody was not there, which is the test.
        let Ok((len, from)) = relay.recv_from(&mut buffer).await else { continue };
        let target = if from == to { client } else { Some(to) };
        if from != to {
            client = Some(from);
        }
        if let Some(target) = target {
            let _ = relay.send_to(&buffer[..len], target).await;
        }
    }
}
