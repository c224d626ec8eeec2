//! A server and a client on the loopback interface, with a certificate made for the test; either of
//! them may be replaced by a test that writes bytes of its own.

#![allow(dead_code, unreachable_pub)]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use h3_lite::server::{self, Handler};
use h3_lite::{ALPN, Client, Code, ConnectionError, RecvBody, Shutdown};
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use quic_tokio::{ClientConfig, Connection, Endpoint, ServerConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::task::JoinHandle;

pub const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Two endpoints that know each other.
pub struct Net {
    pub server: Endpoint,
    pub client: Endpoint,
    /// For a server with the same certificate that knows nothing of the sessions of the first.
    pub another: ServerConfig,
}

impl Net {
    pub fn new() -> Self {
        Self::with(|server| server, |client| client)
    }

    /// Both sides want early data; servers of `config` accept it.
    pub fn early(config: &server::Config) -> Self {
        let context = config.early_data_context();
        Self::with(
            |server| server.with_early_data(&context).unwrap(),
            ClientConfig::with_early_data,
        )
    }

    fn with(
        change_server: impl Fn(ServerConfig) -> ServerConfig,
        change_client: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let cert = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let server = || {
            let server =
                ServerConfig::with_certificate(vec![cert.clone()], key.clone_key(), &[ALPN]);
            change_server(server.unwrap())
        };
        let client = ClientConfig::with_roots(roots, &[ALPN]).unwrap();
        Self {
            server: Endpoint::server(server(), LOCALHOST).unwrap(),
            another: server(),
            client: Endpoint::client(change_client(client), LOCALHOST).unwrap(),
        }
    }

    /// A connection, as client and server see it.
    pub async fn connect(&self) -> (Connection, Connection) {
        let accept = async { self.server.accept().await.unwrap().accept().await.unwrap() };
        let connect =
            async { self.client.connect(self.server.local_addr(), "localhost").await.unwrap() };
        tokio::join!(connect, accept)
    }
}

/// A client, and the task that serves its connection.
pub struct Pair {
    pub client: Client,
    pub server: Serving,
    pub shutdown: Shutdown,
    net: Net,
}

/// A connection that is being served.
pub type Serving = JoinHandle<Result<(), ConnectionError>>;

impl Pair {
    pub async fn new<S: Handler>(service: S) -> Self {
        Self::with_config(service, server::Config::default()).await
    }

    pub async fn with_config<S: Handler>(service: S, config: server::Config) -> Self {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let shutdown = Shutdown::new();
        let server = serve(server, service, config, shutdown.clone());
        Self { client: Client::new(client), server, shutdown, net }
    }
}

/// A server, and a QUIC connection to it on which the test says what it wants.
pub struct RawClient {
    pub quic: Connection,
    pub server: Serving,
    pub shutdown: Shutdown,
    net: Net,
}

impl RawClient {
    pub async fn new<S: Handler>(service: S) -> Self {
        Self::with_config(service, server::Config::default()).await
    }

    pub async fn with_config<S: Handler>(service: S, config: server::Config) -> Self {
        let net = Net::new();
        let (quic, server) = net.connect().await;
        let shutdown = Shutdown::new();
        let server = serve(server, service, config, shutdown.clone());
        Self { quic, server, shutdown, net }
    }
}

fn serve<S: Handler>(
    quic: Connection,
    service: S,
    config: server::Config,
    shutdown: Shutdown,
) -> Serving {
    tokio::spawn(
        async move { server::serve_connection_until(quic, service, config, &shutdown).await },
    )
}

/// A client, and a QUIC connection from it on which the test says what it wants.
pub struct RawServer {
    pub quic: Connection,
    pub client: Client,
    net: Net,
}

impl RawServer {
    pub async fn new() -> Self {
        let net = Net::new();
        let (client, quic) = net.connect().await;
        Self { quic, client: Client::new(client), net }
    }
}

/// Runs a test, which must not take long.
pub async fn within_limits<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test hangs")
}

pub fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("https://localhost{path}")).body(Full::new(body.into())).unwrap()
}

/// All of a body that is expected to be whole.
pub async fn read(body: RecvBody) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

pub fn code(code: Code) -> VarInt {
    VarInt::new(code.value()).unwrap()
}

/// The code with which the peer closed the connection, and what it said.
pub async fn close_code(quic: &Connection) -> (Code, String) {
    match quic.closed().await {
        quic_tokio::ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8(close.reason.to_vec()).unwrap();
            (Code::from_peer(close.error_code.into_inner()), reason)
        }
        other => panic!("{other}"),
    }
}

/// `len` bytes that are no pattern.
pub fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}
