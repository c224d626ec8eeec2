//! The TLS handshake of one connection (RFC 9001, section 4).
//!
//! TLS reads and writes handshake messages at one level each: Initial, then Handshake, then 1-RTT.
//! Who holds a [`Session`] gives it what is in order of the CRYPTO stream of the level it reads,
//! and puts what it writes into the CRYPTO stream of the level it writes.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::quic::{ClientConnection, Connection, ServerConnection};
use rustls::{AlertDescription, HandshakeKind, PeerMisbehaved};

use super::client_hello::ClientHello;
use super::keys::{EarlyKeys, KeyChange, tls_version};
use super::traffic_keys::SecretTap;
use super::version_scope::server_config_of;
use crate::error::{ConnectionError, TransportError, Violation};
use crate::wire::{Side, SpaceId, Version};

/// Where the transport parameters that TLS shows during the handshake come from.
///
/// A client that resumes a session is shown those of its last connection, for use with early data,
/// until the new ones have replaced them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParamsSource {
    ThisConnection,
    LastConnection,
}

/// What became of the early data that a client offered (RFC 9001, section 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyVerdict {
    /// The server has not said anything yet.
    Open,
    /// The server takes it.
    Accepted,
    /// The server does not take it.
    Rejected,
}

/// The TLS side of one connection.
pub struct Session {
    tls: Connection,
    version: Version,
    /// The version that TLS was begun with.
    tls_version: Version,
    /// The secrets of a client whose version may change.
    tap: Option<Arc<SecretTap>>,
    /// The level of what [`write`](Self::write) gives next.
    write_level: SpaceId,
    /// The application protocols that this side has to offer.
    alpn: Vec<Vec<u8>>,
    server_name: Option<ServerName<'static>>,
    client_hello: ClientHello,
    params: ParamsSource,
    /// The keys for early data were handed out.
    gave_early_keys: bool,
    failure: Option<Box<TlsFailure>>,
}

impl Session {
    /// The client side of a handshake of `version` with the server `name`; `params` are the encoded transport
    /// parameters of this side.
    ///
    /// # Errors
    ///
    /// If `config` does not allow TLS 1.3 or has no cipher suite for QUIC.
    // req 9001-8.2-103, 9001-5.3-042, 9001-8.4-108, 9001-8.3-106, 9001-5.6-049, 9000-7-083
    // req 9114-3.2-009, 9114-3.2-010
    pub fn client(
        config: Arc<rustls::ClientConfig>,
        version: Version,
        name: ServerName<'static>,
        params: Vec<u8>,
    ) -> Result<Self, rustls::Error> {
        let alpn = config.alpn_protocols.clone();
        let server_name = Some(name.clone());
        let tls = ClientConnection::new(config, tls_version(version), name, params)?;
        Ok(Self::new(tls.into(), version, alpn, server_name))
    }

    /// The client side of a handshake that begins in `version` and may go on in another one, see
    /// [`switch_version`](Self::switch_version).
    ///
    /// # Errors
    ///
    /// As for [`client`](Self::client).
    pub fn movable_client(
        config: &rustls::ClientConfig,
        version: Version,
        name: ServerName<'static>,
        params: Vec<u8>,
    ) -> Result<Self, rustls::Error> {
        let mut config = config.clone();
        let tap = Arc::new(SecretTap::new(config.key_log));
        config.key_log = Arc::clone(&tap) as Arc<dyn rustls::KeyLog>;
        let session = Self::client(Arc::new(config), version, name, params)?;
        Ok(Self { tap: Some(tap), ..session })
    }

    /// The server has moved the connection to `version`: all keys to come are those of it. False if
    /// that is not possible any more, or was not foreseen.
    pub fn switch_version(&mut self, version: Version) -> bool {
        let can_switch = self.tap.is_some() && self.write_level == SpaceId::Initial;
        if can_switch {
            self.version = version;
        }
        can_switch
    }

    /// The server side of a handshake of `version`; `params` are the encoded transport parameters of
    /// this side.
    ///
    /// # Errors
    ///
    /// If `config` does not allow TLS 1.3, has no cipher suite for QUIC, or allows an amount of
    /// early data other than none and everything.
    // req 9001-8.2-103, 9001-5.3-042, 9001-5.3-043, 9001-4.6.1-019, 9001-4.2-011, 9000-7-083
    pub fn server(
        config: Arc<rustls::ServerConfig>,
        version: Version,
        params: Vec<u8>,
    ) -> Result<Self, rustls::Error> {
        let alpn = config.alpn_protocols.clone();
        let tls =
            ServerConnection::new(server_config_of(config, version), tls_version(version), params)?;
        Ok(Self::new(tls.into(), version, alpn, None))
    }

    fn new(
        tls: Connection,
        version: Version,
        alpn: Vec<Vec<u8>>,
        server_name: Option<ServerName<'static>>,
    ) -> Self {
        let params = match tls.quic_transport_parameters() {
            Some(_) => ParamsSource::LastConnection,
            None => ParamsSource::ThisConnection,
        };
        Self {
            tls,
            version,
            tls_version: version,
            tap: None,
            write_level: SpaceId::Initial,
            alpn,
            server_name,
            client_hello: ClientHello::default(),
            params,
            gave_early_keys: false,
            failure: None,
        }
    }

    /// Which side of the handshake this is.
    pub fn side(&self) -> Side {
        match self.tls {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        }
    }

    /// The level that TLS reads next: data of a higher one waits, data of a lower one is an error.
    pub fn read_level(&self) -> SpaceId {
        match self.write_level {
            SpaceId::Initial => SpaceId::Initial,
            SpaceId::Handshake | SpaceId::Data if self.is_handshaking() => SpaceId::Handshake,
            SpaceId::Handshake | SpaceId::Data => SpaceId::Data,
        }
    }

    /// The level of what [`write`](Self::write) gives next.
    pub fn write_level(&self) -> SpaceId {
        self.write_level
    }

    /// Gives TLS the next bytes of the CRYPTO stream of `level`, in any portions. Call
    /// [`write`](Self::write) after each call.
    ///
    /// # Errors
    ///
    /// CRYPTO_ERROR with the alert of TLS, see [`failure`](Self::failure) for what is behind it;
    /// PROTOCOL_VIOLATION for data at a level that TLS does not read, and for what only QUIC
    /// forbids.
    // req 9001-4.1.3-005, 9001-4.1.3-006, 9001-6-063
    pub fn read(&mut self, level: SpaceId, data: &[u8]) -> Result<(), TransportError> {
        if level != self.read_level() {
            return Err(TransportError::new(Violation::CryptoDataAtWrongLevel));
        }
        if level == SpaceId::Initial && self.side() == Side::Server {
            self.client_hello.push(data);
            // req 9001-8.4-109
            if self.client_hello.asks_for_compatibility_mode() {
                return Err(TransportError::new(Violation::TlsCompatibilityMode));
            }
        }
        self.tls.read_hs(data).map_err(|error| self.fail(error))?;
        // TLS lets two sides pass of which neither names a protocol.
        // req 9001-8.1-096, 9001-8.1-097, 9001-8.1-098, 9001-8.1-100, 9001-8.1-101, 9000-7-084
        if self.peer_params().is_some() && self.alpn().is_none() {
            return Err(self.fail(rustls::Error::NoApplicationProtocol));
        }
        Ok(())
    }

    /// Appends to `out` what TLS has to send at [`write_level`](Self::write_level), and returns the
    /// keys for what it sends after that. Call it until it neither writes nor returns anything.
    // req 9001-6-062: that TLS has to send a KeyUpdate is nothing that can be asked for here.
    pub fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        let change = KeyChange::from(self.tls.write_hs(out)?);
        let change = self.in_version(change);
        self.write_level = change.space();
        self.client_hello.clear();
        Some(change)
    }

    /// The keys of the version that the connection has now.
    fn in_version(&self, change: KeyChange) -> KeyChange {
        let (Some(tap), Some(suite)) = (&self.tap, self.tls.negotiated_cipher_suite()) else {
            return change;
        };
        if self.version == self.tls_version {
            tap.forget(change.space());
            return change;
        }
        tap.keys(change.space(), self.version, suite).unwrap_or(change)
    }

    /// True until both Finished messages are exchanged.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The encoded transport parameters of the peer, once they have arrived. They are authentic
    /// only when the handshake is complete.
    pub fn peer_params(&self) -> Option<&[u8]> {
        match self.params {
            ParamsSource::LastConnection if self.is_handshaking() => None,
            ParamsSource::LastConnection | ParamsSource::ThisConnection => {
                self.tls.quic_transport_parameters()
            }
        }
    }

    /// The keys of 0-RTT packets, once: at once for a client that resumes a session and may send
    /// early data, and for a server as soon as it has accepted early data.
    // req 9001-4.6.2-021
    pub fn take_early_keys(&mut self) -> Option<EarlyKeys> {
        if self.gave_early_keys {
            return None;
        }
        let keys = self.tls.zero_rtt_keys()?;
        self.gave_early_keys = true;
        Some(EarlyKeys(keys))
    }

    /// The encoded transport parameters of the server in the connection that is being resumed, for
    /// use with early data until the handshake is complete; for clients only.
    pub fn remembered_params(&self) -> Option<&[u8]> {
        match self.params {
            ParamsSource::LastConnection if self.tls.handshake_kind().is_none() => {
                self.tls.quic_transport_parameters()
            }
            ParamsSource::LastConnection | ParamsSource::ThisConnection => None,
        }
    }

    /// What the server has said about early data; for clients that have offered some.
    pub fn early_verdict(&self) -> EarlyVerdict {
        match &self.tls {
            Connection::Client(tls) if tls.is_early_data_accepted() => EarlyVerdict::Accepted,
            Connection::Client(tls) if tls.handshake_kind().is_some() => EarlyVerdict::Rejected,
            Connection::Client(_) | Connection::Server(_) => EarlyVerdict::Open,
        }
    }

    /// True if the session of an earlier connection is resumed; false until that is decided.
    pub fn was_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The cipher suite that was agreed on.
    pub fn cipher_suite(&self) -> Option<rustls::CipherSuite> {
        Some(self.tls.negotiated_cipher_suite()?.suite())
    }

    /// The application protocol that was agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The name of the server that the client asked for: a host name, or for a client also an
    /// address.
    pub fn server_name(&self) -> Option<String> {
        match (&self.tls, &self.server_name) {
            (Connection::Client(_), name) => name.as_ref().map(|name| name.to_str().into_owned()),
            (Connection::Server(tls), _) => tls.server_name().map(str::to_owned),
        }
    }

    /// The certificates that the peer showed, its own first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// The application's view of the `error` that [`read`](Self::read) returned: with both sides'
    /// application protocols if there is none in common, and with what TLS says about the rest.
    pub fn connection_error(&self, error: TransportError) -> ConnectionError {
        match &self.failure {
            Some(failure) if failure.error == rustls::Error::NoApplicationProtocol => {
                ConnectionError::AlpnMismatch {
                    ours: failure.alpn.clone(),
                    theirs: failure.peer_alpn.clone().unwrap_or_default(),
                }
            }
            Some(failure) if error.reason == Violation::TlsAlert => {
                ConnectionError::HandshakeFailed { error, cause: failure.to_string() }
            }
            _ => error.into(),
        }
    }

    /// What made TLS fail, for a message that tells more than an alert.
    pub fn failure(&self) -> Option<&TlsFailure> {
        self.failure.as_deref()
    }

    /// The error to close with after TLS failed.
    // req 9001-4.8-026
    #[cold]
    fn fail(&mut self, error: rustls::Error) -> TransportError {
        let violation = self.quic_violation(&error);
        let alert = match error {
            // TLS has another alert for this than QUIC.
            // req 9001-8.1-098, 9001-8.1-102
            rustls::Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                AlertDescription::NoApplicationProtocol.into()
            }
            _ => self.tls.alert().map_or_else(|| alert_for(&error), u8::from),
        };
        let peer_alpn = match self.side() {
            Side::Client => None,
            Side::Server => self.client_hello.alpn(),
        };
        let alpn = self.alpn.clone();
        self.failure = Some(Box::new(TlsFailure { alpn, peer_alpn, error }));
        match violation {
            Some(violation) => TransportError::new(violation),
            None => TransportError::tls(alert),
        }
    }

    /// The failures for which QUIC has an error code of its own.
    fn quic_violation(&self, error: &rustls::Error) -> Option<Violation> {
        use rustls::Error::{InappropriateHandshakeMessage, PeerMisbehaved as Misbehaved};
        match error {
            // req 9001-4.1.3-007
            Misbehaved(PeerMisbehaved::KeyEpochWithPendingFragment) => {
                Some(Violation::CryptoDataLeftOver)
            }
            // req 9001-4.6.1-020
            Misbehaved(PeerMisbehaved::InvalidMaxEarlyDataSize) => {
                Some(Violation::TlsEarlyDataSize)
            }
            // req 9001-4.4-017
            InappropriateHandshakeMessage {
                got_type: rustls::HandshakeType::CertificateRequest,
                ..
            } if self.side() == Side::Client && !self.is_handshaking() => {
                Some(Violation::TlsCertificateRequest)
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("side", &self.side())
            .field("read_level", &self.read_level())
            .field("write_level", &self.write_level)
            .finish_non_exhaustive()
    }
}

/// The alert for an error that TLS raised without one.
fn alert_for(error: &rustls::Error) -> u8 {
    use rustls::Error as E;
    let alert = match error {
        E::InvalidMessage(_) => AlertDescription::DecodeError,
        E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        E::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        E::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        E::InvalidCertificate(error) => error.clone().into(),
        E::NoCertificatesPresented => AlertDescription::CertificateRequired,
        E::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        E::DecryptError => AlertDescription::DecryptError,
        _ => AlertDescription::InternalError,
    };
    alert.into()
}

/// Why TLS failed, with what is known about both sides.
///
/// Its text is for logs on this side; the peer is only told the alert.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsFailure {
    alpn: Vec<Vec<u8>>,
    peer_alpn: Option<Vec<Vec<u8>>>,
    error: rustls::Error,
}

impl TlsFailure {
    /// The error of the TLS library, for instance why it refused a certificate.
    pub fn error(&self) -> &rustls::Error {
        &self.error
    }

    /// The application protocols that this side has to offer.
    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }

    /// The application protocols that the peer has to offer, if it told; servers do not.
    pub fn peer_alpn(&self) -> Option<&[Vec<u8>]> {
        self.peer_alpn.as_deref()
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for TlsFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
