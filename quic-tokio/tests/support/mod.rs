//! Endpoints on the loopback interface, with a certificate made for the test.

#![allow(dead_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quic_tokio::{
    ClientConfig, Connection, Endpoint, EndpointBuilder, ServerConfig, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Any address of the loopback interface.
pub(crate) const LOCALHOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The application protocol of the tests.
pub(crate) const ALPN: &[u8] = b"test";

/// A certificate for `localhost` with its key.
pub(crate) struct Identity {
    cert: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        Self { cert: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    pub(crate) fn server(&self, alpn: &[u8]) -> ServerConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        ServerConfig::with_certificate(vec![self.cert.clone()], key, &[alpn]).unwrap()
    }

    pub(crate) fn client(&self, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.clone()).unwrap();
        ClientConfig::with_roots(roots, &[alpn]).unwrap()
    }
}

/// Two endpoints that know each other.
pub(crate) struct Net {
    pub(crate) server: Endpoint,
    pub(crate) client: Endpoint,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(TransportConfig::default(), |builder| builder)
    }

    pub(crate) fn with(
        transport: TransportConfig,
        settings: impl Fn(EndpointBuilder) -> EndpointBuilder,
    ) -> Self {
        let identity = Identity::new();
        let transport = Arc::new(transport);
        let server = identity.server(ALPN).with_transport(Arc::clone(&transport));
        let client = identity.client(ALPN).with_transport(transport);
        Self {
            server: settings(Endpoint::builder().server_config(server)).bind(LOCALHOST).unwrap(),
            client: settings(Endpoint::builder().client_config(client)).bind(LOCALHOST).unwrap(),
        }
    }

    /// A connection, as client and server see it.
    pub(crate) async fn connect(&self) -> (Connection, Connection) {
        let accept = async { self.server.accept().await.unwrap().accept().await.unwrap() };
        let connect =
            async { self.client.connect(self.server.local_addr(), "localhost").await.unwrap() };
        tokio::join!(connect, accept)
    }
}

/// Runs a test, which must not take long.
pub(crate) async fn within_limits<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test hangs")
}

pub(crate) fn code(value: u32) -> VarInt {
    VarInt::from_u32(value)
}

/// `len` bytes that are no pattern.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
