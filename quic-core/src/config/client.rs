//! What a client needs to connect.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::quic::ClientConnection;

use super::error::ConfigError;
use super::tokens::{MemoryTokenStore, TokenStore};
use super::transport::TransportConfig;
use super::versions::ClientVersions;
use crate::crypto;
use crate::crypto::{SessionMemory, SessionSlot};
use crate::wire::Version;

/// TLS and transport settings of outgoing connections, shared by any number of them.
///
/// Sessions are resumed (RFC 9001, section 4.5) from a [`SessionMemory`]: connections resume each
/// other's sessions if their configurations share it, on whatever endpoint. Clones share it.
/// [`with_roots`](Self::with_roots) begins with an empty memory for 256 servers.
///
/// Address-validation tokens live in a [`TokenStore`], likewise shared by clones: connections use
/// each other's tokens.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    tls: Arc<rustls::ClientConfig>,
    transport: Arc<TransportConfig>,
    /// `None` if sessions are kept where `tls` says.
    sessions: Option<Arc<SessionMemory>>,
    early_data: bool,
    versions: ClientVersions,
    tokens: Option<Arc<dyn TokenStore>>,
}

impl ClientConfig {
    /// Connections that authenticate servers as `tls` says, and keep sessions where it says unless
    /// [`with_sessions`](Self::with_sessions) is called.
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
        ClientConnection::new(Arc::clone(&tls), rustls::quic::Version::V1, name, Vec::new())?;
        let early_data = tls.enable_early_data;
        let versions = ClientVersions::default();
        let tokens: Arc<dyn TokenStore> = Arc::new(MemoryTokenStore::new());
        let tokens = Some(tokens);
        Ok(Self { tls, transport, sessions: None, early_data, versions, tokens })
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
        Ok(Self::new(Arc::new(tls), Arc::default())?.with_sessions(Arc::default()))
    }

    /// The same, but sessions are kept in and resumed from `sessions`.
    #[must_use]
    pub fn with_sessions(self, sessions: Arc<SessionMemory>) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// The same, and a connection that resumes a session of a server that allows it may send early
    /// data, which is as good as sent only if the server accepts it, and which others can replay to
    /// the server (RFC 9001, section 9.2): nothing is ever sent early unless the application does so
    /// on such a connection. Off unless called.
    // req 9001-5.6-049
    #[must_use]
    pub fn with_early_data(self) -> Self {
        let sessions = self.sessions.or_else(|| Some(Arc::default()));
        Self { early_data: true, sessions, ..self }
    }

    /// Where sessions are kept; `None` if where [`tls`](Self::tls) says.
    pub fn sessions(&self) -> Option<&Arc<SessionMemory>> {
        self.sessions.as_ref()
    }

    /// The TLS configuration of one connection of `version`, and its part of the sessions.
    pub(crate) fn for_connection(
        &self,
        version: Version,
    ) -> (Arc<rustls::ClientConfig>, Option<SessionSlot>) {
        let slot = self.sessions.as_ref().map(|sessions| sessions.slot(version));
        if slot.is_none() && self.early_data == self.tls.enable_early_data {
            return (Arc::clone(&self.tls), None);
        }
        let mut tls = (*self.tls).clone();
        tls.enable_early_data = self.early_data;
        if let Some(slot) = &slot {
            tls.resumption = slot.resumption();
        }
        (Arc::new(tls), slot)
    }

    /// The same with other transport settings.
    #[must_use]
    pub fn with_transport(self, transport: Arc<TransportConfig>) -> Self {
        Self { transport, ..self }
    }

    /// The same with other versions of QUIC: connections begin with `first`, and the server may
    /// move them to any of `offered`, of which those that come first are preferred (RFC 9368,
    /// compatible version negotiation). `first` is among what is offered, at the end if it is not
    /// named.
    ///
    /// A server that does not speak `first` answers with those that it does; the client then begins
    /// anew, once, with the one that comes first in `offered`. Default: version 1 and nothing else.
    ///
    /// `first` may be a reserved version (RFC 9000, section 6.3), which makes every server answer
    /// so; reserved versions in `offered` are passed on and never chosen.
    ///
    /// ```
    /// # fn example(config: quic_core::config::ClientConfig) -> Result<(), quic_core::config::ConfigError> {
    /// use quic_core::wire::Version;
    ///
    /// // Begins where every server can follow, and prefers version 2.
    /// let config = config.with_versions(Version::V1, &[Version::V2, Version::V1])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a version is neither implemented nor reserved, or if all of them are reserved.
    pub fn with_versions(self, first: Version, offered: &[Version]) -> Result<Self, ConfigError> {
        Ok(Self { versions: ClientVersions::new(first, offered)?, ..self })
    }

    /// Which versions of QUIC connections begin with and may end up with.
    pub fn versions(&self) -> &ClientVersions {
        &self.versions
    }

    /// The same with another store for the tokens that servers give out for later connections;
    /// `None` to keep and use no tokens. Default: a [`MemoryTokenStore`].
    #[must_use]
    pub fn with_token_store(self, tokens: Option<Arc<dyn TokenStore>>) -> Self {
        Self { tokens, ..self }
    }

    /// How servers are authenticated.
    pub fn tls(&self) -> &Arc<rustls::ClientConfig> {
        &self.tls
    }

    /// What the connections live by.
    pub fn transport(&self) -> &Arc<TransportConfig> {
        &self.transport
    }

    /// Where tokens for later connections are kept.
    pub fn token_store(&self) -> Option<&Arc<dyn TokenStore>> {
        self.tokens.as_ref()
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
