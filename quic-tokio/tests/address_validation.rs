//! Retry and tokens for later connections, between endpoints on the loopback interface.

mod support;

use std::time::Duration;

use quic_tokio::{AddressProof, AddressValidation, Endpoint, RetryPolicy, TokenKey};
use support::{ALPN, Identity, LOCALHOST, code, within_limits};

/// A client and a server that validates addresses this way.
fn endpoints(validation: AddressValidation) -> [Endpoint; 2] {
    let identity = Identity::new();
    let server = identity.server(ALPN).with_address_validation(validation);
    let client = identity.client(ALPN);
    [Endpoint::client(client, LOCALHOST).unwrap(), Endpoint::server(server, LOCALHOST).unwrap()]
}

/// A whole connection; how the client had proved its address before the server accepted it.
async fn visit(client: &Endpoint, server: &Endpoint) -> AddressProof {
    let accept = async {
        let incoming = server.accept().await.unwrap();
        let proof = incoming.address_proof();
        assert_eq!(incoming.is_address_validated(), proof != AddressProof::None);
        (proof, incoming.accept().await.unwrap())
    };
    let (connection, (proof, at_server)) =
        tokio::join!(client.connect(server.local_addr(), "localhost"), accept);
    let connection = connection.unwrap();
    // The token comes with the end of the handshake: what is sent later arrives later.
    let mut send = at_server.open_uni().await.unwrap();
    send.write_all(b"x").await.unwrap();
    send.finish().unwrap();
    let mut recv = connection.accept_uni().await.unwrap();
    recv.read_to_end(10).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while server.stats().tokens_issued == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    send.delivered().await;
    connection.close(code(0), b"");
    at_server.closed().await;
    proof
}

#[tokio::test]
async fn clients_are_asked_once_and_come_back_with_a_token() {
    within_limits(async {
        let [client, server] = endpoints(AddressValidation::new().retry(RetryPolicy::Always));
        assert_eq!(visit(&client, &server).await, AddressProof::Retry);
        assert_eq!(visit(&client, &server).await, AddressProof::NewToken);
        let stats = server.stats();
        assert_eq!((stats.retries_sent, stats.tokens_accepted), (1, 2));
        assert_eq!((stats.tokens_issued, stats.tokens_replayed), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn the_application_asks_whom_it_likes() {
    within_limits(async {
        let [client, server] = endpoints(AddressValidation::new().retry(RetryPolicy::Never));
        let accept = async {
            let incoming = server.accept().await.unwrap();
            assert!(!incoming.is_address_validated());
            incoming.retry().unwrap();
            let incoming = server.accept().await.unwrap();
            assert!(incoming.is_address_validated());
            let incoming = incoming.retry().expect_err("it was asked before");
            incoming.accept().await.unwrap()
        };
        let connect = client.connect(server.local_addr(), "localhost");
        let (connection, _at_server) = tokio::join!(connect, accept);
        assert_eq!(connection.unwrap().stats().await.retries, 1);
    })
    .await;
}

#[tokio::test]
async fn a_restarted_server_with_the_same_key_knows_its_clients() {
    within_limits(async {
        let identity = Identity::new();
        let client = Endpoint::client(identity.client(ALPN), LOCALHOST).unwrap();
        let mut address = LOCALHOST;
        for proof in [AddressProof::Retry, AddressProof::NewToken] {
            let key = TokenKey::new(&[1; 32]);
            let validation = AddressValidation::new().retry(RetryPolicy::Always).key(key);
            let config = identity.server(ALPN).with_address_validation(validation);
            let server = bind(config, address).await;
            address = server.local_addr();
            assert_eq!(visit(&client, &server).await, proof);
            server.close(code(0), b"");
            server.wait_idle().await;
        }
    })
    .await;
}

/// The port of a server that has just ended may be taken for a moment.
async fn bind(config: quic_tokio::ServerConfig, address: std::net::SocketAddr) -> Endpoint {
    loop {
        match Endpoint::server(config.clone(), address) {
            Ok(endpoint) => return endpoint,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
