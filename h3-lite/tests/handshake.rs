//! What HTTP/3 asks of the QUIC connection below it.

mod support;

use quic_tokio::{ClientConfig, Endpoint, TransportConfig};
use rustls::RootCertStore;
use support::{Net, within_limits};

// req-test 9114-6.1-119, 9114-6.1-120, 9114-6.2-122, 9114-6.2-123, 9114-6.2.1-137
#[test]
fn the_default_transport_has_room_for_http3() {
    let parameters = TransportConfig::default().transport_parameters();
    assert!(parameters.initial_max_streams_bidi >= 100);
    assert!(parameters.initial_max_stream_data_bidi_remote > 0);
    assert!(parameters.initial_max_streams_uni >= 3);
    assert!(parameters.initial_max_stream_data_uni >= 1024);
    assert!(parameters.initial_max_data >= 4 * 1024);
}

// req-test 9114-5.1-104
#[test]
fn nothing_keeps_an_idle_connection_open_by_default() {
    assert_eq!(TransportConfig::default().keep_alive_interval(), None);
}

// req-test 9114-3.2-009, 9114-3.2-010
#[tokio::test]
async fn the_server_learns_which_host_is_meant() {
    within_limits(async {
        let (_client, server) = Net::new().connect().await;
        assert_eq!(server.server_name(), Some("localhost"));
        assert_eq!(server.alpn(), Some(h3_lite::ALPN));
    })
    .await;
}

// req-test 9114-3.1-001, 9114-3.1-002
#[tokio::test]
async fn there_is_no_connection_to_a_server_that_cannot_prove_its_name() {
    within_limits(async {
        let net = Net::new();
        let server = net.server.clone();
        let accepting = tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                assert!(incoming.accept().await.is_err());
            }
        });
        let addr = net.server.local_addr();
        // A name that is not in the certificate, and a certificate of nobody we trust.
        assert!(net.client.connect(addr, "other.example").await.is_err());
        let config = ClientConfig::with_roots(RootCertStore::empty(), &[h3_lite::ALPN]).unwrap();
        let stranger = Endpoint::client(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(stranger.connect(addr, "localhost").await.is_err());
        accepting.abort();
    })
    .await;
}
