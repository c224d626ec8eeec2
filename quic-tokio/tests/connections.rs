//! How connections begin and end, between endpoints on the loopback interface.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quic_core::observe::{Event, Observer};
use quic_tokio::{
    ConnectError, ConnectionError, Delivery, Endpoint, KeyUpdateRefused, OpenError, ReadError,
    TransportConfig, WriteError,
};
use support::{ALPN, Identity, LOCALHOST, Net, code, noise, within_limits};

/// What the peer's application said.
fn application_close(error: &ConnectionError) -> (u64, &[u8]) {
    match error {
        ConnectionError::ApplicationClosed(close) => (close.error_code.into_inner(), &close.reason),
        other => panic!("not closed by the peer's application: {other}"),
    }
}

#[tokio::test]
async fn the_reason_of_a_close_reaches_both_sides_and_all_streams() {
    within_limits(async {
        for client_closes in [true, false] {
            let net = Net::new();
            let (client, server) = net.connect().await;
            let (closer, other) = if client_closes { (client, server) } else { (server, client) };
            let (mut send, mut recv) = other.open_bi().await.unwrap();
            send.write_all(b"x").await.unwrap();
            let (mut answer, _question) = closer.accept_bi().await.unwrap();
            answer.finish().unwrap();
            closer.close(code(42), b"enough");
            let ours = closer.closed().await;
            assert_eq!(ours, ConnectionError::LocallyClosed(code(42).into()));
            let theirs = other.closed().await;
            assert_eq!(application_close(&theirs), (42, &b"enough"[..]));
            assert_eq!(other.close_reason(), Some(theirs.clone()));
            let lost = WriteError::ConnectionLost(theirs.clone());
            assert_eq!(send.write(b"y").await, Err(lost));
            let read = loop {
                match recv.read_chunk().await {
                    Ok(Some(_)) => {}
                    result => break result,
                }
            };
            match read {
                // The end of the stream came first.
                Ok(None) => {}
                read => assert_eq!(read, Err(ReadError::ConnectionLost(theirs.clone()))),
            }
            assert_eq!(send.delivered().await, Delivery::ConnectionLost(theirs.clone()));
            let open = other.open_uni().await.map(drop);
            assert_eq!(open, Err(OpenError::ConnectionLost(theirs.clone())));
            assert_eq!(other.accept_uni().await.map(drop), Err(theirs));
        }
    })
    .await;
}

#[tokio::test]
async fn dropping_the_last_handle_closes_with_code_zero() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let clone = client.clone();
        drop(client);
        let (send, recv) = clone.open_bi().await.unwrap();
        drop(clone);
        // A stream keeps its connection.
        assert_eq!(server.close_reason(), None);
        drop((send, recv));
        assert_eq!(application_close(&server.closed().await), (0, &b""[..]));
    })
    .await;
}

#[tokio::test]
async fn connecting_to_nobody_times_out() {
    within_limits(async {
        let transport = TransportConfig::builder()
            .handshake_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        let net = Net::with(transport, |builder| builder);
        // Bound, so that nobody else is there, and never read.
        let silent = std::net::UdpSocket::bind(LOCALHOST).unwrap();
        let error =
            net.client.connect(silent.local_addr().unwrap(), "localhost").await.unwrap_err();
        assert_eq!(error, ConnectError::Connection(ConnectionError::HandshakeTimedOut));
        net.client.wait_idle().await;
    })
    .await;
}

#[tokio::test]
async fn an_alpn_mismatch_names_what_both_sides_speak_on_both_sides() {
    within_limits(async {
        let identity = Identity::new();
        let server = Endpoint::server(identity.server(b"chess"), LOCALHOST).unwrap();
        let client = Endpoint::client(identity.client(b"go"), LOCALHOST).unwrap();
        let accept = async { server.accept().await.unwrap().accept().await.unwrap_err() };
        let connect = client.connect(server.local_addr(), "localhost");
        let (at_client, at_server) = tokio::join!(connect, accept);
        for error in [at_client.unwrap_err(), at_server] {
            let text = error.to_string();
            assert!(text.contains("ALPN"), "{text}");
            assert!(text.contains("chess") && text.contains("go"), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_certificate_is_an_error_on_both_sides() {
    within_limits(async {
        let (one, another) = (Identity::new(), Identity::new());
        let server = Endpoint::server(one.server(ALPN), LOCALHOST).unwrap();
        let client = Endpoint::client(another.client(ALPN), LOCALHOST).unwrap();
        let accept = async { server.accept().await.unwrap().accept().await };
        let connect = client.connect(server.local_addr(), "localhost");
        let (at_client, at_server) = tokio::join!(connect, accept);
        let alert = |error: ConnectError| match error {
            ConnectError::Connection(error) => error.tls_alert(),
            other => panic!("{other}"),
        };
        let at_client = alert(at_client.unwrap_err());
        assert!(at_client.is_some());
        assert_eq!(alert(at_server.unwrap_err()), at_client);
    })
    .await;
}

#[tokio::test]
async fn a_refused_client_is_told() {
    within_limits(async {
        for by_drop in [true, false] {
            let net = Net::new();
            let refuse = async {
                let incoming = net.server.accept().await.unwrap();
                assert_eq!(incoming.remote_address(), net.client.local_addr());
                if by_drop {
                    drop(incoming);
                } else {
                    incoming.refuse();
                }
            };
            let connect = net.client.connect(net.server.local_addr(), "localhost");
            let (error, ()) = tokio::join!(connect, refuse);
            match error.unwrap_err() {
                ConnectError::Connection(ConnectionError::ConnectionClosed(close)) => {
                    assert!(close.error_code.to_string().contains("CONNECTION_REFUSED"));
                }
                other => panic!("{other}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_begin_is_an_error_at_once() {
    within_limits(async {
        let net = Net::new();
        let addr = net.server.local_addr();
        let error = net.client.connect(addr, "not a name").await.unwrap_err();
        assert!(matches!(error, ConnectError::Begin(_)), "{error}");
        let error = net.client.connect(LOCALHOST, "localhost").await.unwrap_err();
        assert!(matches!(error, ConnectError::Begin(_)), "{error}");
        let error = net.server.connect(addr, "localhost").await.unwrap_err();
        assert_eq!(error, ConnectError::NoClientConfig);
        net.client.wait_idle().await;
    })
    .await;
}

#[tokio::test]
async fn closing_a_server_endpoint_ends_everything_and_becomes_idle() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        assert_eq!(net.server.stats().connections, 1);
        net.server.close(code(3), b"going home");
        assert!(net.server.accept().await.is_none());
        assert!(net.server.accept().await.is_none());
        assert_eq!(server.closed().await, ConnectionError::LocallyClosed(code(3).into()));
        assert_eq!(application_close(&client.closed().await), (3, &b"going home"[..]));
        net.server.wait_idle().await;
        net.client.wait_idle().await;
        assert_eq!(net.server.stats().connections, 0);
        assert!(server.stats().await.packets_sent > 0, "the last counters are kept");
        net.client.close(code(0), b"");
        let error = net.client.connect(LOCALHOST, "localhost").await.unwrap_err();
        assert_eq!(error, ConnectError::Connection(ConnectionError::EndpointClosed));
    })
    .await;
}

#[tokio::test]
async fn connections_live_on_without_handles_of_their_endpoint() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        drop(net);
        let mut send = client.open_uni().await.unwrap();
        let data = noise(100_000);
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_to_end(1 << 20).await.unwrap(), data);
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_connect_closes_the_connection() {
    within_limits(async {
        let net = Net::new();
        {
            let mut connect =
                std::pin::pin!(net.client.connect(net.server.local_addr(), "localhost"));
            tokio::select! {
                biased;
                _ = &mut connect => panic!("nobody has accepted"),
                _ = net.server.accept() => {}
            }
        }
        net.client.wait_idle().await;
        assert_eq!(net.client.stats().connections, 0);
    })
    .await;
}

#[test]
fn the_end_of_the_runtime_ends_connections_instead_of_hanging() {
    let first =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let second = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (net, client, server, send) = first.block_on(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let send = client.open_uni().await.unwrap();
        (net, client, server, send)
    });
    drop(first);
    second.block_on(within_limits(async move {
        assert_eq!(client.closed().await, ConnectionError::EndpointClosed);
        assert_eq!(server.closed().await, ConnectionError::EndpointClosed);
        let lost = Delivery::ConnectionLost(ConnectionError::EndpointClosed);
        assert_eq!(send.delivered().await, lost);
        assert!(net.server.accept().await.is_none());
        net.server.wait_idle().await;
        let error = net.client.connect(LOCALHOST, "localhost").await.unwrap_err();
        assert_eq!(error, ConnectError::Connection(ConnectionError::EndpointClosed));
    }));
}

/// Panics at the first packet that carries application data.
struct Bomb;

impl Observer for Bomb {
    fn on_event(&mut self, _now: Instant, event: &Event<'_>) {
        if let Event::PacketReceived(packet) = event
            && packet.payload.windows(4).any(|bytes| bytes == b"BOOM")
        {
            panic!("a test of what a panic of the driver does");
        }
    }
}

#[tokio::test]
async fn a_panic_of_the_driver_ends_connections_instead_of_hanging() {
    within_limits(async {
        let identity = Identity::new();
        let transport =
            TransportConfig::default().with_observer(Arc::new(|_| Some(Box::new(Bomb))));
        let server = identity.server(ALPN).with_transport(Arc::new(transport));
        let net = Net {
            server: Endpoint::server(server, LOCALHOST).unwrap(),
            client: Endpoint::client(identity.client(ALPN), LOCALHOST).unwrap(),
        };
        let (client, server) = net.connect().await;
        let (mut send, _recv) = client.open_bi().await.unwrap();
        send.write_all(b"BOOM").await.unwrap();
        assert_eq!(server.closed().await, ConnectionError::EndpointClosed);
        let lost = OpenError::ConnectionLost(ConnectionError::EndpointClosed);
        assert_eq!(server.open_uni().await.map(drop), Err(lost));
        assert_eq!(server.stats().await.packets_sent, 0, "nobody knows");
        assert!(net.server.accept().await.is_none());
        net.server.wait_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_on_all_addresses_answers_from_the_one_it_was_called_at() {
    within_limits(async {
        let identity = Identity::new();
        let all = "[::]:0".parse().unwrap();
        // Where there is no IPv6 there is nothing to see.
        let Ok(server) = Endpoint::server(identity.server(ALPN), all) else { return };
        let port = server.local_addr().port();
        let client = Endpoint::client(identity.client(ALPN), "0.0.0.0:0".parse().unwrap()).unwrap();
        for host in [1, 2] {
            let addr = SocketAddr::from(([127, 0, 0, host], port));
            let accept = async { server.accept().await.unwrap().accept().await.unwrap() };
            let connect = async { client.connect(addr, "localhost").await.unwrap() };
            let (at_client, at_server) = tokio::join!(connect, accept);
            assert_eq!(at_client.remote_address(), addr);
            assert!(at_server.remote_address().is_ipv4(), "{}", at_server.remote_address());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_share_one_socket_and_one_task() {
    const CONNECTIONS: usize = 64;
    within_limits(async {
        let net = Arc::new(Net::new());
        let server = Arc::clone(&net);
        tokio::spawn(async move {
            while let Some(incoming) = server.server.accept().await {
                tokio::spawn(async move {
                    let connection = incoming.accept().await.unwrap();
                    let mut recv = connection.accept_uni().await.unwrap();
                    let data = recv.read_to_end(1 << 20).await.unwrap();
                    let mut send = connection.open_uni().await.unwrap();
                    send.write_chunk(data).await.unwrap();
                    send.finish().unwrap();
                    connection.closed().await
                });
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..CONNECTIONS {
            let net = Arc::clone(&net);
            tasks.spawn(async move {
                let addr = net.server.local_addr();
                let connection = net.client.connect(addr, "localhost").await.unwrap();
                let data = noise(10_000 + index);
                let mut send = connection.open_uni().await.unwrap();
                send.write_all(&data).await.unwrap();
                send.finish().unwrap();
                let mut recv = connection.accept_uni().await.unwrap();
                assert_eq!(recv.read_to_end(1 << 20).await.unwrap(), data);
                connection.close(code(0), b"done");
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
        net.client.wait_idle().await;
        net.server.wait_idle().await;
        assert_eq!(net.server.stats().connections, 0);
    })
    .await;
}

#[tokio::test]
async fn each_connection_leaves_a_qlog_file_per_side() {
    let directory = std::env::temp_dir().join(format!("quic-tokio-qlog-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    within_limits(async {
        let net = Net::with(TransportConfig::default(), |builder| builder.qlog_dir(&directory));
        let (client, server) = net.connect().await;
        client.close(code(0), b"");
        server.closed().await;
        drop((client, server));
        net.client.wait_idle().await;
        net.server.wait_idle().await;
    })
    .await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        assert!(text.starts_with('\u{1e}') && text.ends_with("}\n"), "{text}");
        assert!(text.contains("packet_sent"), "{text}");
        names.push(entry.file_name().into_string().unwrap());
    }
    std::fs::remove_dir_all(&directory).unwrap();
    names.sort();
    let [client, server] = &names[..] else { panic!("{names:?}") };
    let odcid = client.strip_suffix("_client.sqlog").unwrap();
    assert_eq!(server.strip_suffix("_server.sqlog"), Some(odcid));
}

#[tokio::test]
async fn without_segmentation_offload_each_datagram_is_a_call() {
    within_limits(async {
        let net = Net::with(TransportConfig::default(), |builder| builder.set_gso(false));
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        let data = noise(100_000);
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
        assert_eq!(server.accept_uni().await.unwrap().read_to_end(1 << 20).await.unwrap(), data);
        let stats = net.client.stats();
        assert_eq!(stats.send_calls, stats.datagrams_sent);
    })
    .await;
}

#[tokio::test]
async fn keys_are_updated_when_the_application_asks_for_it() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let echo = tokio::spawn(async move {
            let (mut send, mut recv) = server.accept_bi().await.unwrap();
            let data = recv.read_to_end(1 << 20).await.unwrap();
            send.write_all(&data).await.unwrap();
            send.finish().unwrap();
            send.delivered().await;
            server
        });
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(&noise(10_000)).await.unwrap();
        while let Err(refused) = client.update_keys().await {
            assert_ne!(refused, KeyUpdateRefused::ConnectionClosed);
            tokio::task::yield_now().await;
        }
        send.write_all(&noise(10_000)).await.unwrap();
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(1 << 20).await.unwrap().len(), 20_000);
        let server = echo.await.unwrap();
        assert_eq!(client.stats().await.key_updates, 1);
        assert_eq!(server.stats().await.key_updates, 1);
        client.close(code(0), b"");
        client.closed().await;
        assert_eq!(client.update_keys().await, Err(KeyUpdateRefused::ConnectionClosed));
    })
    .await;
}
