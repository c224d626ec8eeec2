//! TLS configurations with the settings that QUIC asks for.
//!
//! Whoever wants TLS secrets for tools such as Wireshark sets the field `key_log` of a configuration,
//! for instance to `rustls::KeyLogFile`: that one reads the environment and writes a file, which
//! nothing here does.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig};

/// A TLS configuration for clients that trust the certificate authorities `roots` and offer the
/// application protocols `alpn`, the preferred one first.
///
/// TLS 1.3 only; the identity of the server is verified (RFC 9001, section 4.4). Session tickets
/// are used once each. Early data is off.
///
/// # Errors
///
/// If the cryptography provider cannot do TLS 1.3.
// req 9001-4.2-010, 9001-4.4-013, 9001-4.5-018, 9114-3.1-001, 9114-3.1-002
pub fn client_config(
    roots: impl Into<Arc<RootCertStore>>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    client_config_with(provider(), roots, alpn)
}

/// The same with the cipher suites and key exchanges of `provider`, see [`provider_with_suites`].
///
/// # Errors
///
/// If `provider` cannot do TLS 1.3.
pub fn client_config_with(
    provider: CryptoProvider,
    roots: impl Into<Arc<RootCertStore>>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots.into())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// A TLS configuration for servers that show the certificate chain `certs`, their own certificate
/// first, and speak the application protocols `alpn`, the preferred one first.
///
/// TLS 1.3 only; clients are not asked for certificates. Early data is off.
///
/// # Errors
///
/// If the key does not fit the certificate or is of a kind that is not supported.
// req 9001-4.2-010, 9001-4.4-016, 9001-4.6.1-019
pub fn server_config(
    certs: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    server_config_with(provider(), certs, key, alpn)
}

/// The same with the cipher suites and key exchanges of `provider`, see [`provider_with_suites`].
///
/// # Errors
///
/// If the key does not fit the certificate, or `provider` cannot do TLS 1.3.
pub fn server_config_with(
    provider: CryptoProvider,
    certs: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(certs, key)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.max_early_data_size = 0;
    Ok(config)
}

/// Cryptography with nothing but these cipher suites, the preferred one first:
/// `TLS13_AES_128_GCM_SHA256`, `TLS13_AES_256_GCM_SHA384` or `TLS13_CHACHA20_POLY1305_SHA256`. Initial
/// packets are always protected with the first of them. `None` if one of them is none of these, or
/// if there are none.
///
/// ```
/// use quic_core::crypto::{client_config_with, provider_with_suites};
/// use rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
///
/// let provider = provider_with_suites(&[TLS13_CHACHA20_POLY1305_SHA256]).unwrap();
/// let tls = client_config_with(provider, rustls::RootCertStore::empty(), &[b"h3"])?;
/// # Ok::<(), rustls::Error>(())
/// ```
// req 9001-5.3-042
pub fn provider_with_suites(suites: &[CipherSuite]) -> Option<CryptoProvider> {
    let known = provider().cipher_suites;
    let find = |wanted: &CipherSuite| {
        known.iter().copied().find(|suite| suite.suite() == *wanted && suite.tls13().is_some())
    };
    let cipher_suites: Vec<_> = suites.iter().map(find).collect::<Option<_>>()?;
    (!cipher_suites.is_empty()).then(|| CryptoProvider { cipher_suites, ..provider() })
}

pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
