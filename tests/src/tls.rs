//! Certificates and TLS configurations for tests: the same bytes in every run, so that handshakes
//! have the same size in every run.

use std::sync::{Arc, LazyLock};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair, SerialNumber};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig};

/// The name that the test server's certificate is made out to.
pub const SERVER_NAME: &str = "server.test";

/// The application protocol that both sides speak unless a test says otherwise.
pub const ALPN: &[u8] = b"test";

/// What stands before the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A certificate of a server, and the authority that it hangs from.
struct Identity {
    root: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

static SMALL: LazyLock<Identity> = LazyLock::new(|| identity(1, 1));
/// Several datagrams long.
static LARGE: LazyLock<Identity> = LazyLock::new(|| identity(3, 400));
/// Of an authority that nobody trusts.
static STRANGE: LazyLock<Identity> = LazyLock::new(|| identity(5, 1));

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate {
    /// Fits into one datagram with all else that a server sends first.
    #[default]
    Small,
    /// Around 10 kB, so that the server's first flight is more than three times the client's.
    Large,
    /// Not signed by an authority that clients trust.
    Untrusted,
}

impl Certificate {
    fn identity(self) -> &'static Identity {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
            Self::Untrusted => &STRANGE,
        }
    }
}

/// The TLS configuration of a client that trusts all certificates of [`Certificate`] but the
/// untrusted one.
pub fn client(alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for identity in [&SMALL, &LARGE] {
        roots.add(identity.root.clone()).expect("our own certificate");
    }
    Arc::new(quic_core::crypto::client_config(roots, alpn).expect("a valid configuration"))
}

/// The TLS configuration of a client that sends early data, if it is used more than once.
pub fn early_client() -> Arc<ClientConfig> {
    let mut config = (*client(&[ALPN])).clone();
    config.enable_early_data = true;
    Arc::new(config)
}

/// The TLS configuration of a server that allows early data, if it is used more than once; with
/// `takes` it accepts it as well, otherwise it has changed its mind.
pub fn early_server(takes: bool, shared: Option<&ServerConfig>) -> Arc<ServerConfig> {
    let mut config = match shared {
        Some(shared) => shared.clone(),
        None => (*server(Certificate::Small, &[ALPN])).clone(),
    };
    config.max_early_data_size = if takes { u32::MAX } else { 0 };
    Arc::new(config)
}

/// The TLS configuration of a server with `certificate`.
pub fn server(certificate: Certificate, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let identity = certificate.identity();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let chain = vec![identity.certificate.clone()];
    Arc::new(quic_core::crypto::server_config(chain, key, alpn).expect("a valid configuration"))
}

/// The same configuration with nothing but `suite` to protect packets.
///
/// # Panics
///
/// If there is no such suite.
pub fn client_with_suite(config: &ClientConfig, suite: CipherSuite) -> Arc<ClientConfig> {
    let provider = quic_core::crypto::provider_with_suites(&[suite]).expect("a known suite");
    let mut roots = RootCertStore::empty();
    for identity in [&SMALL, &LARGE] {
        roots.add(identity.root.clone()).expect("our own certificate");
    }
    let alpn: Vec<&[u8]> = config.alpn_protocols.iter().map(Vec::as_slice).collect();
    let config = quic_core::crypto::client_config_with(provider, roots, &alpn);
    Arc::new(config.expect("a valid configuration"))
}

/// An authority with the key number `number`, and a certificate signed by it for `names` names.
fn identity(number: u8, names: usize) -> Identity {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.serial_number = Some(SerialNumber::from(u64::from(number)));
    authority.distinguished_name.push(DnType::CommonName, format!("authority {number} of tests"));
    let authority =
        CertifiedIssuer::self_signed(authority, key_pair(&pkcs8(number))).expect("an authority");

    let names = std::iter::once(SERVER_NAME.to_owned())
        .chain((1..names).map(|n| format!("{n:04}.a-rather-long.{SERVER_NAME}")));
    let mut params = CertificateParams::new(names.collect::<Vec<_>>()).expect("valid names");
    params.serial_number = Some(SerialNumber::from(u64::from(number + 1)));
    let key = pkcs8(number + 1);
    let certificate = params.signed_by(&key_pair(&key), &authority).expect("a certificate");
    Identity { root: authority.der().clone(), certificate: certificate.der().clone(), key }
}

fn pkcs8(number: u8) -> Vec<u8> {
    [ED25519_PKCS8.as_slice(), &[number; 32]].concat()
}

fn key_pair(pkcs8: &[u8]) -> KeyPair {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    KeyPair::from_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).expect("an Ed25519 key")
}
