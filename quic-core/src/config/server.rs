//! What a server needs to accept connections.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::quic::{ServerConnection, Version};

use super::error::ConfigError;
use super::transport::TransportConfig;
use crate::crypto;

/// TLS and transport settings of incoming connections.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    tls: Arc<rustls::ServerConfig>,
    transport: Arc<TransportConfig>,
}

impl ServerConfig {
    /// Connections to servers that authenticate themselves as `tls` says.
    ///
    /// # Errors
    ///
    /// If `tls` names no application protocol, does not allow TLS 1.3, or has no cipher suite for
    /// QUIC.
    pub fn new(
        tls: Arc<rustls::ServerConfig>,
        transport: Arc<TransportConfig>,
    ) -> Result<Self, ConfigError> {
        if tls.alpn_protocols.is_empty() {
            return Err(ConfigError::NoApplicationProtocol);
        }
        // Better refused here than in each connection.
        ServerConnection::new(Arc::clone(&tls), Version::V1, Vec::new())?;
        Ok(Self { tls, transport })
    }

    /// Connections with default settings to a server that shows the certificate chain `certs`, its
    /// own certificate first, and speaks the application protocols `alpn`, the preferred one first.
    ///
    /// # Errors
    ///
    /// If the key does not fit the certificate, or `alpn` is empty.
    pub fn with_certificate(
        certs: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        alpn: &[&[u8]],
    ) -> Result<Self, ConfigError> {
        let tls = crypto::server_config(certs, key, alpn)?;
        Self::new(Arc::new(tls), Arc::default())
    }

    /// The same with other transport settings.
    #[must_use]
    pub fn with_transport(self, transport: Arc<TransportConfig>) -> Self {
        Self { transport, ..self }
    }

    /// How the server authenticates itself.
    pub fn tls(&self) -> &Arc<rustls::ServerConfig> {
        &self.tls
    }

    /// What the connections live by.
    pub fn transport(&self) -> &Arc<TransportConfig> {
        &self.transport
    }
}
