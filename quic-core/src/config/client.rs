//! What a client needs to connect.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Version};

use super::error::ConfigError;
use super::transport::TransportConfig;
use crate::crypto;

/// TLS and transport settings of outgoing connections, shared by any number of them.
///
/// Session tickets live in the TLS configuration: connections that share it resume each other's
/// sessions.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    tls: Arc<rustls::ClientConfig>,
    transport: Arc<TransportConfig>,
}

impl ClientConfig {
    /// Connections that authenticate servers as `tls` says.
    ///
    /// # Errors
    ///
    /// If `tls` names no application protocol, does not allow TLS 1.3, or has no cipher suite for
    /// QUIC.
    pub fn new(
        tls: Arc<rustls::ClientConfig>,
        transport: Arc<TransportConfig>,
    ) -> Result<Self, ConfigError> {
        if tls.alpn_protocols.is_empty() {
            return Err(ConfigError::NoApplicationProtocol);
        }
        // Better refused here than in each connection.
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        ClientConnection::new(Arc::clone(&tls), Version::V1, name, Vec::new())?;
        Ok(Self { tls, transport })
    }

    /// Connections with default settings that trust the certificate authorities `roots` and offer
    /// the application protocols `alpn`, the preferred one first.
    ///
    /// # Errors
    ///
    /// If `alpn` is empty.
    pub fn with_roots(
        roots: impl Into<Arc<rustls::RootCertStore>>,
        alpn: &[&[u8]],
    ) -> Result<Self, ConfigError> {
        let tls = crypto::client_config(roots, alpn)?;
        Self::new(Arc::new(tls), Arc::default())
    }

    /// The same with other transport settings.
    #[must_use]
    pub fn with_transport(self, transport: Arc<TransportConfig>) -> Self {
        Self { transport, ..self }
    }

    /// How servers are authenticated.
    pub fn tls(&self) -> &Arc<rustls::ClientConfig> {
        &self.tls
    }

    /// What the connections live by.
    pub fn transport(&self) -> &Arc<TransportConfig> {
        &self.transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_protocol_is_demanded() {
        let roots = rustls::RootCertStore::empty();
        let error = ClientConfig::with_roots(roots.clone(), &[]).unwrap_err();
        assert_eq!(error, ConfigError::NoApplicationProtocol);
        ClientConfig::with_roots(roots, &[b"h3"]).unwrap();
    }
}
