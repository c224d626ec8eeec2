//! What a server needs to accept connections.

use std::net::{SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::quic::{ServerConnection, Version};

use super::error::ConfigError;
use super::transport::TransportConfig;
use super::validation::AddressValidation;
use crate::crypto;
use crate::crypto::SessionGuard;

/// TLS and transport settings of incoming connections.
///
/// Sessions are resumed (RFC 9001, section 4.5) as the TLS configuration says: by default up to 256
/// of them, from memory, each once. Servers resume each other's sessions if their configurations
/// share `session_storage`, or keys in `ticketer`; the latter without early data.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// As it was handed in.
    tls: Arc<rustls::ServerConfig>,
    transport: Arc<TransportConfig>,
    early_data: Option<EarlyData>,
    validation: AddressValidation,
    preferred: PreferredAddresses,
}

/// Where a server would rather be talked to after the handshake, for each family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreferredAddresses {
    /// For clients that came by IPv4.
    pub ipv4: Option<SocketAddrV4>,
    /// For clients that came by IPv6.
    pub ipv6: Option<SocketAddrV6>,
}

impl PreferredAddresses {
    /// True if the server would rather stay where it is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A server that takes early data.
#[derive(Clone, Debug)]
struct EarlyData {
    /// What the application has promised to its clients.
    application: Arc<[u8]>,
    /// With early data switched on, and sessions that know what was promised.
    tls: Arc<rustls::ServerConfig>,
}

/// The amount of early data that a ticket for QUIC allows (RFC 9001, section 4.6.1).
// req 9001-4.6.1-019
const EARLY_DATA_ALLOWED: u32 = 0xffff_ffff;

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
        let takes_early_data = tls.max_early_data_size != 0;
        let validation = AddressValidation::default();
        let preferred = PreferredAddresses::default();
        let config = Self { tls, transport, early_data: None, validation, preferred };
        if takes_early_data { config.with_early_data(&[]) } else { Ok(config) }
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

    /// The same, and early data of clients that resume a session is accepted (RFC 9001, section
    /// 4.6). Off unless called.
    ///
    /// `application` is what the application has promised to clients beside the transport, and what
    /// their early data may rely on, in any form: the settings of HTTP/3 for instance, nothing for
    /// most protocols. Early data is rejected if it differs from what it was when the session began,
    /// or if a limit of the transport became lower.
    ///
    /// Early data can be replayed: somebody on the network can send a copy of it to the server a
    /// second time (RFC 9001, section 9.2). A ticket is good once and for a few seconds around the
    /// time that it names, so that servers which share `session_storage` accept each early data at
    /// most once as long as the storage remembers what was taken out of it. What would do harm when
    /// it is done twice, in spite of that, has to wait for the handshake: streams know whether they
    /// began early.
    ///
    /// # Errors
    ///
    /// If the TLS configuration does not store sessions: one that seals them into the tickets cannot
    /// know that a ticket was used before.
    // req 9001-9.2-110
    pub fn with_early_data(self, application: &[u8]) -> Result<Self, ConfigError> {
        if self.tls.ticketer.enabled() || !self.tls.session_storage.can_cache() {
            return Err(ConfigError::EarlyDataWithoutStoredSessions);
        }
        let tls = guarded(&self.tls, &self.transport, application);
        let early_data = Some(EarlyData { application: application.into(), tls });
        Ok(Self { early_data, ..self })
    }

    /// True if early data is accepted.
    pub fn takes_early_data(&self) -> bool {
        self.early_data.is_some()
    }

    /// Clients that can are asked to move to these addresses once the handshake is confirmed
    /// (RFC 9000, section 9.6). The endpoint must receive there, see the driver. Default: none.
    #[must_use]
    pub fn with_preferred_addresses(self, preferred: PreferredAddresses) -> Self {
        Self { preferred, ..self }
    }

    /// Where clients are asked to move to.
    pub fn preferred_addresses(&self) -> PreferredAddresses {
        self.preferred
    }

    /// The same with other transport settings.
    #[must_use]
    pub fn with_transport(self, transport: Arc<TransportConfig>) -> Self {
        let early_data = self.early_data.map(|EarlyData { application, .. }| {
            let tls = guarded(&self.tls, &transport, &application);
            EarlyData { application, tls }
        });
        Self { transport, early_data, ..self }
    }

    /// The same with other means to validate the addresses of clients: Retry packets and tokens.
    #[must_use]
    pub fn with_address_validation(self, validation: AddressValidation) -> Self {
        Self { validation, ..self }
    }

    /// How the server authenticates itself, and which sessions it resumes.
    pub fn tls(&self) -> &Arc<rustls::ServerConfig> {
        self.early_data.as_ref().map_or(&self.tls, |early| &early.tls)
    }

    /// What the connections live by.
    pub fn transport(&self) -> &Arc<TransportConfig> {
        &self.transport
    }

    /// How the addresses of clients are validated.
    pub fn address_validation(&self) -> &AddressValidation {
        &self.validation
    }
}

/// `tls` with early data switched on, where sessions know what was promised to their clients.
fn guarded(
    tls: &rustls::ServerConfig,
    transport: &TransportConfig,
    application: &[u8],
) -> Arc<rustls::ServerConfig> {
    let mut tls = tls.clone();
    let params = transport.transport_parameters();
    let store = Arc::clone(&tls.session_storage);
    tls.session_storage = Arc::new(SessionGuard::new(store, &params, application));
    tls.max_early_data_size = EARLY_DATA_ALLOWED;
    Arc::new(tls)
}
