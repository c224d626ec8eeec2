//! Which version a connection speaks, and how both sides come to it (RFC 9368; RFC 9369, section 4).
//!
//! ```text
//!  client   Open ── an Initial packet of another version ──▶ Settled on that one
//!             └──── CRYPTO data in the first version ──────▶ Settled on the first one
//!  server   Reading ── the ClientHello is whole ───────────▶ Settled on what both have
//! ```
//!
//! A Version Negotiation packet makes a client begin anew, once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustls::pki_types::ServerName;

use super::Connection;
use super::handshake::Handshake;
use super::retry::Admission;
use crate::cid::RemoteIds;
use crate::crypto::{ClientHello, Keyring, Session};
use crate::error::{ConnectionError, Discard, TransportError, Violation};
use crate::observe::Event;
use crate::recovery::Recovery;
use crate::space::PacketSpace;
use crate::wire::header;
use crate::wire::transport_params::{ReservedParameter, VersionInformation};
use crate::wire::{ConnectionId, PacketType, Side, SpaceId, TransportParameters, Version};

/// Length in bytes of the connection ID that a client that begins anew sends to.
const FRESH_DCID_LEN: usize = 8;

/// What a connection knows of its version.
pub(super) struct Versions {
    side: Side,
    /// That of the client's first flight.
    first: Version,
    /// The negotiated one, as far as it is known.
    current: Version,
    /// Those that this side can end up with, the preferred one first.
    ours: Arc<[Version]>,
    stage: Stage,
    /// What a client began with before a Version Negotiation packet made it begin anew.
    refused: Option<Version>,
    again: Option<Box<Again>>,
}

enum Stage {
    /// A client whose server may choose among several versions and has not done so.
    Open,
    /// A server that waits for the whole ClientHello.
    Reading(Box<Reading>),
    /// The version stays what it is.
    Settled,
}

/// A server before it knows what the client offers.
struct Reading {
    hello: ClientHello,
    /// What TLS was not given yet.
    held: Vec<Bytes>,
    tls: Arc<rustls::ServerConfig>,
    params: TransportParameters,
}

/// What a client needs to begin anew.
pub(super) struct Again {
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) server_name: ServerName<'static>,
    pub(super) params: TransportParameters,
}

impl Versions {
    /// A client that begins with `first`.
    pub(super) fn client(first: Version, ours: Arc<[Version]>, again: Again) -> Self {
        let again = Some(Box::new(again));
        let stage = Stage::Settled;
        let current = first;
        let mut this =
            Self { side: Side::Client, first, current, ours, stage, refused: None, again };
        this.begin(first);
        this
    }

    /// A server whose client begins with `first`.
    pub(super) fn server(
        first: Version,
        ours: Arc<[Version]>,
        tls: &Arc<rustls::ServerConfig>,
        params: &TransportParameters,
    ) -> Self {
        let has_choice = ours.iter().any(|own| *own != first && own.is_compatible_with(first));
        let stage = match has_choice {
            true => Stage::Reading(Box::new(Reading {
                hello: ClientHello::default(),
                held: Vec::new(),
                tls: Arc::clone(tls),
                params: params.clone(),
            })),
            false => Stage::Settled,
        };
        Self { side: Side::Server, first, current: first, ours, stage, refused: None, again: None }
    }

    fn begin(&mut self, first: Version) {
        (self.first, self.current) = (first, first);
        self.stage = if self.is_movable() { Stage::Open } else { Stage::Settled };
    }

    /// True at a client that offers more than it begins with.
    pub(super) fn is_movable(&self) -> bool {
        let is_other = |own: &Version| *own != self.first && own.is_compatible_with(self.first);
        self.side == Side::Client && self.ours.iter().any(is_other)
    }

    /// The version of the packets that are sent now.
    pub(super) fn current(&self) -> Version {
        self.current
    }

    /// The version of sent packets of this kind: early data stays in that of the first flight.
    // RFC 9369, section 4.1
    pub(super) fn of(&self, kind: PacketType) -> Version {
        match kind {
            PacketType::ZeroRtt => self.first,
            _ => self.current,
        }
    }

    /// True if a packet of this kind and version may belong to the connection.
    // req 9000-5.2.1-064
    // RFC 9369, section 4.1
    pub(super) fn admits(&self, kind: PacketType, version: Version) -> bool {
        match (kind, &self.stage) {
            (PacketType::ZeroRtt, _) => version == self.first,
            (_, Stage::Open) => {
                version == self.first
                    || (self.ours.contains(&version) && version.is_compatible_with(self.first))
            }
            (PacketType::Initial, _) => version == self.first || version == self.current,
            (_, Stage::Reading(_) | Stage::Settled) => version == self.current,
        }
    }

    /// The client has opened an Initial packet of `version`; true if that is the one to go on in.
    fn on_initial(&mut self, version: Version) -> bool {
        let moves = matches!(self.stage, Stage::Open) && version != self.first;
        if moves {
            self.current = version;
            self.stage = Stage::Settled;
        }
        moves
    }

    /// An Initial packet of `version` carries CRYPTO data.
    ///
    /// # Errors
    ///
    /// VERSION_NEGOTIATION_ERROR at a client whose server sends it in more than one version.
    // RFC 9369, section 4.1
    pub(super) fn on_initial_crypto(&mut self, version: Version) -> Result<(), Violation> {
        match self.side {
            Side::Server => Ok(()),
            Side::Client => {
                if matches!(self.stage, Stage::Open) {
                    self.stage = Stage::Settled;
                }
                if version == self.current { Ok(()) } else { Err(Violation::VersionChanged) }
            }
        }
    }

    /// The version that a client begins anew with after it has learned what the server `offers`.
    fn choose(&self, mut offers: impl FnMut(Version) -> bool) -> Option<Version> {
        self.ours.iter().copied().find(|own| own.is_known() && offers(*own))
    }

    /// The version that a server goes on in with a client that offers these: the first of its own
    /// that is among them.
    fn select(&self, offered: &VersionInformation) -> Version {
        let is_common =
            |own: &Version| offered.available.contains(own) && own.is_compatible_with(self.first);
        self.ours.iter().copied().find(is_common).unwrap_or(self.first)
    }

    /// Compares what the peer says about versions with what happened.
    ///
    /// # Errors
    ///
    /// VERSION_NEGOTIATION_ERROR if somebody has had a hand in it.
    // RFC 9368, section 4
    pub(super) fn check(&self, params: &TransportParameters) -> Result<(), Violation> {
        match (self.side, &params.version_information) {
            (Side::Server, None) => Ok(()),
            (Side::Server, Some(client)) if client.chosen == self.first => Ok(()),
            (Side::Server, Some(_)) => Err(Violation::VersionChosenMismatch),
            (Side::Client, Some(server)) => self.check_server(server),
            // Servers of version 1 may be older than version_information (RFC 9368, section 8).
            (Side::Client, None) if self.current == Version::V1 && self.first == Version::V1 => {
                let chosen = Version::V1;
                self.check_server(&VersionInformation { chosen, available: vec![chosen] })
            }
            (Side::Client, None) if self.refused.is_none() && self.current == self.first => Ok(()),
            (Side::Client, None) => Err(Violation::VersionInformationMissing),
        }
    }

    // req 8999-7-005
    fn check_server(&self, server: &VersionInformation) -> Result<(), Violation> {
        if !self.ours.contains(&server.chosen) {
            return Err(Violation::VersionNotOffered);
        }
        if server.chosen != self.current {
            return Err(Violation::VersionChosenMismatch);
        }
        let Some(refused) = self.refused else { return Ok(()) };
        let offers = |version| version == self.current || server.available.contains(&version);
        let is_genuine = !server.available.is_empty()
            && !server.available.contains(&refused)
            && self.choose(offers) == Some(self.first);
        if is_genuine { Ok(()) } else { Err(Violation::VersionNegotiationDowngrade) }
    }
}

/// What a side with these versions says about them. Of reserved versions one is added, so that
/// peers stay used to what they do not know.
pub(super) fn information(chosen: Version, ours: &[Version], grease: u32) -> VersionInformation {
    let available = ours.iter().copied().chain([Version::reserved(grease)]).collect();
    VersionInformation { chosen, available }
}

/// A parameter without a meaning, and transport parameters with it, encoded.
pub(super) fn encode_params(
    side: Side,
    params: &TransportParameters,
    rng: &mut crate::util::rng::Rng,
) -> Vec<u8> {
    let mut encoded = Vec::new();
    let grease = rng.array::<8>();
    let reserved = ReservedParameter::new(u32::from(grease[0]), &grease[1..]);
    params.encode(side, Some(reserved), &mut encoded);
    encoded
}

/// Compatible version negotiation.
impl Connection {
    /// An Initial packet of `version` was opened.
    pub(super) fn on_initial_version(&mut self, now: Instant, version: Version) {
        if self.side == Side::Client && self.versions.on_initial(version) {
            let switched = self.session.switch_version(version);
            debug_assert!(switched, "TLS was prepared for another version");
            self.keys.switch_version(version);
            self.early_sessions_continue_in(version);
            self.tell_version(now, &[]);
        }
    }

    /// Looks at CRYPTO data of a client before TLS does. Returns what TLS may have now.
    ///
    /// # Errors
    ///
    /// INTERNAL_ERROR if TLS cannot begin with the version that was chosen.
    // RFC 9368, section 2.3
    pub(super) fn hold_back(
        &mut self,
        now: Instant,
        data: Bytes,
    ) -> Result<Vec<Bytes>, TransportError> {
        let Stage::Reading(reading) = &mut self.versions.stage else { return Ok(vec![data]) };
        reading.hello.push(&data);
        reading.held.push(data);
        if reading.hello.is_incomplete() {
            return Ok(Vec::new());
        }
        let Stage::Reading(reading) = std::mem::replace(&mut self.versions.stage, Stage::Settled)
        else {
            return Ok(Vec::new());
        };
        let Reading { hello, held, tls, params } = *reading;
        // A session is resumed in the version in which it began. What cannot be read here, TLS
        // and the checks of the parameters refuse.
        let offered = hello.transport_parameters().and_then(|bytes| {
            TransportParameters::decode(bytes, Side::Client).ok()?.version_information
        });
        if let Some(offered) = offered {
            let chosen = self.versions.select(&offered);
            if chosen != self.versions.first && !hello.resumes() {
                self.move_to(chosen, &tls, params)?;
            }
            self.tell_version(now, &offered.available);
        }
        Ok(held)
    }

    /// The server goes on in `version`.
    fn move_to(
        &mut self,
        version: Version,
        tls: &Arc<rustls::ServerConfig>,
        mut params: TransportParameters,
    ) -> Result<(), TransportError> {
        if let Some(information) = &mut params.version_information {
            information.chosen = version;
        }
        let encoded = encode_params(self.side, &params, &mut self.rng);
        self.session = Session::server(Arc::clone(tls), version, encoded)
            .map_err(|_| TransportError::new(Violation::Internal))?;
        self.keys.switch_version(version);
        self.versions.current = version;
        Ok(())
    }

    /// Tells everyone who listens which version it is now, and what is known of the peer's.
    fn tell_version(&mut self, now: Instant, peer: &[Version]) {
        let ours = &self.versions.ours[..];
        let (client, server) = match self.side {
            Side::Client => (ours, peer),
            Side::Server => (peer, ours),
        };
        let chosen = Some(self.versions.current);
        self.observers.emit(now, || Event::VersionInformation { client, server, chosen });
    }
}

/// Incompatible version negotiation.
impl Connection {
    /// A Version Negotiation packet: the server does not speak our version. Returns what to book
    /// the packet as.
    // req 9000-6.2-078, 9000-6.2-079, 9000-6.2-080
    // RFC 9368, sections 2.1 and 4
    pub(super) fn on_version_negotiation(
        &mut self,
        now: Instant,
        scid: &[u8],
        offered: header::Versions<'_>,
    ) -> Discard {
        if self.side == Side::Server {
            return Discard::VersionNegotiationAtServer;
        }
        let is_answered =
            !self.handshake.is_unanswered() || self.admission.retry_source().is_some();
        if is_answered || !self.state.is_handshaking() {
            return Discard::VersionNegotiationLate;
        }
        if self.versions.refused.is_some() {
            return Discard::VersionNegotiationAgain;
        }
        // An echo of the connection ID that we sent to: it was not made up by somebody off the path.
        if !self.handshake.has_original_dcid(scid) {
            return Discard::ConnectionIdMismatch;
        }
        let first = self.versions.first;
        if offered.clone().any(|version| version == first) {
            return Discard::VersionNegotiationListsOurs;
        }
        let chosen = self.versions.choose(|own| offered.clone().any(|version| version == own));
        match (chosen, self.versions.again.take()) {
            (Some(version), Some(again)) => {
                let offered: Vec<_> = offered.collect();
                if let Err(error) = self.begin_anew(now, version, *again) {
                    self.close_with_error(now, error);
                }
                self.tell_version(now, &offered);
            }
            _ => {
                let offered = offered.collect();
                self.abandon(now, ConnectionError::VersionMismatch { offered });
            }
        }
        Discard::VersionUnsupported
    }

    /// Forgets everything that was sent and begins with another version, as another connection on
    /// the wire.
    fn begin_anew(
        &mut self,
        now: Instant,
        version: Version,
        again: Again,
    ) -> Result<(), TransportError> {
        let internal = TransportError::new(Violation::Internal);
        let fresh = self.rng.array::<FRESH_DCID_LEN>();
        let dcid = ConnectionId::new(&fresh).ok_or(internal)?;
        self.abandon_early_data(now);
        self.versions.refused = Some(self.versions.first);
        self.versions.begin(version);
        self.early_sessions_continue_in(version);
        let Again { tls, server_name, mut params } = again;
        if let Some(information) = &mut params.version_information {
            information.chosen = version;
        }
        let encoded = encode_params(self.side, &params, &mut self.rng);
        let session = match self.versions.is_movable() {
            true => Session::movable_client(&tls, version, server_name, encoded),
            false => Session::client(tls, version, server_name, encoded),
        };
        self.session = session.map_err(|_| internal)?;
        self.keys = Keyring::new(version, &dcid, self.side);
        self.handshake = Handshake::new(dcid, None);
        self.remote_ids = RemoteIds::new(dcid, self.config.active_connection_id_limit());
        // A token is good for the version in which it came (RFC 9369, section 5).
        self.admission = Admission::default();
        self.undecryptable.clear();
        for id in SpaceId::ALL {
            self.recovery.discard_space(now, id, &mut self.path.recovery);
        }
        self.recovery = Recovery::new(now, self.side);
        self.spaces = PacketSpace::all(self.config.max_ack_delay()).map(Some);
        self.advance_handshake(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: Version = Version(0x0a1a_2a3a);

    fn client(first: Version, ours: &[Version]) -> Versions {
        let roots = rustls::RootCertStore::empty();
        let tls = Arc::new(crate::crypto::client_config(roots, &[b"x"]).unwrap());
        let server_name = ServerName::try_from("server.test").unwrap();
        let params = TransportParameters::default();
        Versions::client(first, ours.into(), Again { tls, server_name, params })
    }

    fn params(chosen: Version, available: &[Version]) -> TransportParameters {
        let information = VersionInformation { chosen, available: available.to_vec() };
        TransportParameters { version_information: Some(information), ..Default::default() }
    }

    #[test]
    fn a_client_follows_the_first_other_version_and_no_further() {
        let mut versions = client(Version::V1, &[Version::V2, Version::V1]);
        for kind in [PacketType::Initial, PacketType::Handshake] {
            assert!(versions.admits(kind, Version::V1) && versions.admits(kind, Version::V2));
            assert!(!versions.admits(kind, V3));
        }
        assert!(!versions.admits(PacketType::ZeroRtt, Version::V2));
        assert!(!versions.on_initial(Version::V1), "an acknowledgement only");
        assert!(versions.on_initial(Version::V2));
        assert_eq!(versions.of(PacketType::Handshake), Version::V2);
        assert_eq!(versions.of(PacketType::ZeroRtt), Version::V1);
        assert!(versions.admits(PacketType::Initial, Version::V1), "one that was overtaken");
        assert!(!versions.admits(PacketType::Handshake, Version::V1));
        assert_eq!(versions.on_initial_crypto(Version::V2), Ok(()));
        assert_eq!(versions.on_initial_crypto(Version::V1), Err(Violation::VersionChanged));
    }

    #[test]
    fn handshake_data_in_the_first_version_settles_on_it() {
        let mut versions = client(Version::V1, &[Version::V2, Version::V1]);
        assert_eq!(versions.on_initial_crypto(Version::V1), Ok(()));
        assert!(!versions.admits(PacketType::Initial, Version::V2));
        assert!(!versions.on_initial(Version::V2));
    }

    #[test]
    fn what_the_server_says_must_fit_what_happened() {
        let mut versions = client(Version::V1, &[Version::V2, Version::V1]);
        let both = [Version::V1, Version::V2];
        assert_eq!(versions.check(&params(Version::V1, &both)), Ok(()));
        assert_eq!(
            versions.check(&params(Version::V2, &both)),
            Err(Violation::VersionChosenMismatch)
        );
        assert_eq!(versions.check(&params(V3, &both)), Err(Violation::VersionNotOffered));
        assert_eq!(versions.check(&TransportParameters::default()), Ok(()));
        versions.on_initial(Version::V2);
        assert_eq!(
            versions.check(&TransportParameters::default()),
            Err(Violation::VersionInformationMissing)
        );
    }

    #[test]
    fn a_version_negotiation_packet_must_turn_out_to_be_genuine() {
        let mut versions = client(V3, &[Version::V2, Version::V1]);
        versions.refused = Some(V3);
        versions.begin(Version::V1);
        let downgrade = Err(Violation::VersionNegotiationDowngrade);
        assert_eq!(versions.check(&params(Version::V1, &[Version::V1])), Ok(()));
        // With version 2 among the server's, that one would have been chosen.
        let both = [Version::V1, Version::V2];
        assert_eq!(versions.check(&params(Version::V1, &both)), downgrade);
        assert_eq!(versions.check(&params(Version::V1, &[])), downgrade);
        assert_eq!(versions.check(&params(Version::V1, &[Version::V1, V3])), downgrade);
        // A server that knows version 1 only and nothing of version_information.
        assert_eq!(versions.check(&TransportParameters::default()), Ok(()));
        versions.begin(Version::V2);
        assert_eq!(
            versions.check(&TransportParameters::default()),
            Err(Violation::VersionInformationMissing)
        );
    }
}
