//! TLS configurations with the settings that QUIC asks for.
//!
//! Whoever wants TLS secrets for tools such as Wireshark sets the field `key_log` of a configuration,
//! for instance to `rustls::KeyLogFile`: that one reads the environment and writes a file, which
//! nothing here does.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

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
    client_config_with(provider(), roots.into(), alpn)
}

/// The same with the cipher suites and key exchanges of `provider`.
pub(super) fn client_config_with(
    provider: CryptoProvider,
    roots: Arc<RootCertStore>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
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

/// The same with the cipher suites and key exchanges of `provider`.
pub(super) fn server_config_with(
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

pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
