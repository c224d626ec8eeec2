//! All keys of one connection, by packet number space.

use std::fmt;
use std::time::{Duration, Instant};

use super::initial::InitialKeys;
use super::key_update::{KeyUpdateProgress, KeyUpdateRefused, OneRttKeys};
use super::keys::{EarlyKeys, KeyChange, KeyChangeKind, LevelKeys, SealKeys};
use super::open::{OpenError, Opened, Protected};
use super::seal::seal;
use crate::error::{Discard, TransportError, Violation};
use crate::wire::header::{KeyPhase, PartialHeader};
use crate::wire::{ConnectionId, PacketNumber, PacketType, Side, SpaceId, Version};

/// Where the handshake stands, as far as 1-RTT keys care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    /// 1-RTT packets may be sent, but none may be opened.
    Running,
    /// TLS is done.
    Complete,
    /// The peer is done as well; keys may be updated.
    Confirmed,
}

/// What this side does with 0-RTT packets.
enum Early {
    /// It neither sends nor takes any, or not any more.
    None,
    /// A client before it has 1-RTT keys.
    Seal(SealKeys),
    /// A server that has accepted early data.
    Open {
        keys: EarlyKeys,
        /// Until when packets that were overtaken are opened.
        until: Option<Instant>,
    },
}

/// Everything that protects the packets of one connection.
///
/// Packets are opened and sealed in place, without allocation. Keys are dropped when their space
/// is [discarded](Self::discard); the same space can then neither open nor seal again.
pub struct Keyring {
    handshake: Handshake,
    initial: Option<InitialKeys>,
    handshake_keys: Option<LevelKeys>,
    early: Early,
    one_rtt: Option<OneRttKeys>,
    /// Packets that no key could open, over the whole connection.
    // req 9001-6.6-089
    auth_failures: u64,
}

impl Keyring {
    /// A keyring with Initial keys of `version` for the end `side`, made from the Destination
    /// Connection ID of the first Initial packet of the client (RFC 9001, section 5.2).
    pub fn new(version: Version, client_dcid: &ConnectionId, side: Side) -> Self {
        Self {
            handshake: Handshake::Running,
            initial: Some(InitialKeys::new(version, client_dcid, side)),
            handshake_keys: None,
            early: Early::None,
            one_rtt: None,
            auth_failures: 0,
        }
    }

    /// Replaces the Initial keys, for a client that was told by Retry to use another Destination
    /// Connection ID. They stay of the same version.
    // RFC 9369, section 4.1: what follows a Retry has the version of what was sent before it.
    pub fn replace_initial(&mut self, client_dcid: &ConnectionId, side: Side) {
        let version = self.initial.as_ref().map_or(Version::V1, InitialKeys::version);
        self.initial = Some(InitialKeys::new(version, client_dcid, side));
    }

    /// Initial packets are sealed with the keys of `version` from now on. Received ones are opened
    /// with the keys of their own version, as before.
    pub fn switch_version(&mut self, version: Version) {
        if let Some(initial) = &mut self.initial {
            initial.switch_to(version);
        }
    }

    /// Takes keys from the TLS handshake into use.
    pub fn install(&mut self, change: KeyChange) {
        match change.0 {
            KeyChangeKind::Handshake(keys) => self.handshake_keys = Some(keys),
            KeyChangeKind::OneRtt { keys, next } => {
                self.one_rtt = Some(OneRttKeys::new(keys, next));
            }
        }
    }

    /// Takes the keys of 0-RTT packets into use: `side` says for what.
    // req 9001-5.6-053
    pub fn install_early(&mut self, side: Side, keys: EarlyKeys) {
        self.early = match side {
            Side::Client => Early::Seal(keys.into()),
            Side::Server => Early::Open { keys, until: None },
        };
    }

    /// True if 0-RTT packets can be sealed.
    pub fn can_seal_early(&self) -> bool {
        matches!(self.early, Early::Seal(_))
    }

    /// True if 0-RTT packets can be opened.
    pub fn can_open_early(&self) -> bool {
        matches!(self.early, Early::Open { .. })
    }

    /// Drops the keys of 0-RTT packets. False if there were none.
    pub fn discard_early(&mut self) -> bool {
        !matches!(std::mem::replace(&mut self.early, Early::None), Early::None)
    }

    /// Sets when the keys of 0-RTT packets are dropped at a server.
    // req 9001-4.9.3-036, 9001-4.9.3-037
    pub fn discard_early_at(&mut self, at: Instant) {
        if let Early::Open { until, .. } = &mut self.early {
            *until = Some(until.map_or(at, |until| until.min(at)));
        }
    }

    /// When [`discard_early`](Self::discard_early) is due.
    pub fn early_deadline(&self) -> Option<Instant> {
        match self.early {
            Early::Open { until, .. } => until,
            Early::None | Early::Seal(_) => None,
        }
    }

    /// Drops the keys of `space`.
    pub fn discard(&mut self, space: SpaceId) {
        match space {
            SpaceId::Initial => self.initial = None,
            SpaceId::Handshake => self.handshake_keys = None,
            SpaceId::Data => self.one_rtt = None,
        }
    }

    /// True if packets can be sealed in `space`.
    pub fn has(&self, space: SpaceId) -> bool {
        match space {
            SpaceId::Initial => self.initial.is_some(),
            SpaceId::Handshake => self.handshake_keys.is_some(),
            SpaceId::Data => self.one_rtt.is_some(),
        }
    }

    /// True if received packets may be opened in `space`: in the application data space only once
    /// the handshake is complete, even if there are keys before.
    // req 9001-5.7-056, 9001-5.7-057, 9001-5.7-060
    pub fn can_open(&self, space: SpaceId) -> bool {
        match space {
            SpaceId::Initial | SpaceId::Handshake => self.has(space),
            SpaceId::Data => self.has(space) && self.handshake != Handshake::Running,
        }
    }

    /// TLS has finished: 1-RTT packets may be opened from now on.
    pub fn on_handshake_complete(&mut self) {
        if self.handshake == Handshake::Running {
            self.handshake = Handshake::Complete;
        }
    }

    /// The handshake is confirmed (RFC 9001, section 4.1.2): keys may be updated from now on.
    pub fn on_handshake_confirmed(&mut self) {
        self.handshake = Handshake::Confirmed;
    }

    /// Opens a received packet in place.
    ///
    /// `packet` is exactly one packet, as it came from the wire, that `header` was parsed from;
    /// `largest_received` is the largest packet number received in its space so far. The caller
    /// discards duplicates.
    ///
    /// # Errors
    ///
    /// [`OpenError::Discard`] if the packet is to be ignored: there are no keys for it, it is too
    /// short, or it is not authentic; its bytes are spoiled then. [`OpenError::Transport`] if it is
    /// authentic and breaks the protocol (PROTOCOL_VIOLATION, KEY_UPDATE_ERROR), or if too many
    /// packets were not authentic (AEAD_LIMIT_REACHED; RFC 9001, section 6.6).
    pub fn open(
        &mut self,
        now: Instant,
        header: &PartialHeader,
        packet: &mut [u8],
        largest_received: Option<PacketNumber>,
    ) -> Result<Opened, OpenError> {
        let space = match header.kind {
            PacketType::Initial => SpaceId::Initial,
            PacketType::Handshake => SpaceId::Handshake,
            PacketType::OneRtt => SpaceId::Data,
            PacketType::ZeroRtt => {
                let packet = Protected::new(packet, header.pn_offset);
                return match self.open_early(packet, largest_received) {
                    Err(OpenError::Discard(Discard::DecryptionFailed)) => {
                        Err(self.on_auth_failure(SpaceId::Data))
                    }
                    opened => opened,
                };
            }
            PacketType::Retry | PacketType::VersionNegotiation => {
                return Err(Discard::KeysMissing.into());
            }
        };
        let packet = Protected::new(packet, header.pn_offset);
        let opened = self.open_in(now, space, header.version, packet, largest_received);
        match opened {
            Err(OpenError::Discard(Discard::DecryptionFailed)) => Err(self.on_auth_failure(space)),
            opened => opened,
        }
    }

    fn open_in(
        &mut self,
        now: Instant,
        space: SpaceId,
        version: Version,
        packet: Protected<'_>,
        largest_received: Option<PacketNumber>,
    ) -> Result<Opened, OpenError> {
        if !self.can_open(space) {
            return Err(Discard::KeysMissing.into());
        }
        let keys = match space {
            SpaceId::Initial => self.initial.as_mut().and_then(|keys| keys.of(version)),
            SpaceId::Handshake => self.handshake_keys.as_mut(),
            SpaceId::Data => {
                let keys = self.one_rtt.as_mut().ok_or(Discard::KeysMissing)?;
                return keys.open(now, packet, largest_received);
            }
        };
        let keys = keys.ok_or(Discard::KeysMissing)?;
        let plain = packet
            .unprotect(&*keys.remote.header, largest_received)?
            .decrypt(&*keys.remote.packet)?;
        Ok(plain.check(space, 0, KeyUpdateProgress::None)?)
    }

    /// A client has no keys to open early data with, nor has a server that did not accept it.
    // req 9001-5.6-053, 9001-5.6-054, 9001-4.6.2-021
    fn open_early(
        &mut self,
        packet: Protected<'_>,
        largest_received: Option<PacketNumber>,
    ) -> Result<Opened, OpenError> {
        let Early::Open { keys: EarlyKeys(keys), .. } = &self.early else {
            return Err(Discard::ZeroRttRejected.into());
        };
        let plain = packet.unprotect(&*keys.header, largest_received)?.decrypt(&*keys.packet)?;
        Ok(plain.check(SpaceId::Data, 0, KeyUpdateProgress::None)?)
    }

    /// Counts a packet that was not authentic against the limit of the AEAD.
    // req 9001-6.6-089, 9001-6.6-090, 9001-6.6-087
    #[cold]
    fn on_auth_failure(&mut self, space: SpaceId) -> OpenError {
        self.auth_failures += 1;
        let limit = match space {
            SpaceId::Initial => {
                let keys = self.initial.as_mut().and_then(|keys| keys.of(keys.version()));
                keys.map(|k| k.remote.packet.integrity_limit())
            }
            SpaceId::Handshake => {
                self.handshake_keys.as_ref().map(|k| k.remote.packet.integrity_limit())
            }
            SpaceId::Data => match (&self.one_rtt, &self.early) {
                (Some(keys), _) => Some(keys.integrity_limit()),
                (None, Early::Open { keys, .. }) => Some(keys.0.packet.integrity_limit()),
                (None, Early::None | Early::Seal(_)) => None,
            },
        };
        match limit {
            Some(limit) if self.auth_failures > limit => Violation::IntegrityLimit.into(),
            _ => Discard::DecryptionFailed.into(),
        }
    }

    /// Packets that failed authentication over the whole connection.
    pub fn auth_failures(&self) -> u64 {
        self.auth_failures
    }

    /// Seals a packet in place.
    ///
    /// `packet` holds the header, of `header_len` bytes including the packet number, the payload,
    /// and [`TAG_LEN`](super::TAG_LEN) bytes of room for the tag. Packet number and payload have at
    /// least four bytes together. The Key Phase bit of a 1-RTT packet is set here.
    ///
    /// # Errors
    ///
    /// AEAD_LIMIT_REACHED if the keys are worn out and cannot be updated, INTERNAL_ERROR if the
    /// space has no keys or the packet is too short; the packet must not be sent then.
    pub fn seal(
        &mut self,
        space: SpaceId,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(), TransportError> {
        let no_keys = || TransportError::new(Violation::Internal);
        let keys = match space {
            SpaceId::Initial => self.initial.as_mut().and_then(|keys| keys.of(keys.version())),
            SpaceId::Handshake => self.handshake_keys.as_mut(),
            SpaceId::Data => {
                let keys = self.one_rtt.as_mut().ok_or_else(no_keys)?;
                let is_confirmed = self.handshake == Handshake::Confirmed;
                return keys.seal(number, packet, header_len, is_confirmed);
            }
        };
        seal(&mut keys.ok_or_else(no_keys)?.local, number, packet, header_len)
    }

    /// Seals a 0-RTT packet in place; as [`seal`](Self::seal) does.
    ///
    /// # Errors
    ///
    /// As for [`seal`](Self::seal).
    pub fn seal_early(
        &mut self,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(), TransportError> {
        match &mut self.early {
            Early::Seal(keys) => seal(keys, number, packet, header_len),
            Early::None | Early::Open { .. } => Err(TransportError::new(Violation::Internal)),
        }
    }

    /// The key phase of 1-RTT packets sealed now.
    pub fn key_phase(&self) -> KeyPhase {
        self.one_rtt.as_ref().map_or(KeyPhase::Zero, OneRttKeys::key_phase)
    }

    /// How many key updates there have been.
    pub fn key_generation(&self) -> u64 {
        self.one_rtt.as_ref().map_or(0, OneRttKeys::generation)
    }

    /// How many 1-RTT packets the present keys have sealed, and the bytes of these packets.
    pub fn key_use(&self) -> (u64, u64) {
        self.one_rtt.as_ref().map_or((0, 0), OneRttKeys::used)
    }

    /// Sets when the keys of before the last update are discarded: three probe timeouts after a
    /// packet with [`Opened::key_update`] other than `None`. Unless told, they stay three seconds.
    pub fn discard_previous_at(&mut self, at: Instant) {
        if let Some(keys) = &mut self.one_rtt {
            keys.discard_previous_at(at);
        }
    }

    /// The peer acknowledged 1-RTT packets up to `largest`, in a packet whose
    /// [`Opened::key_generation`] was `opened_with`.
    ///
    /// # Errors
    ///
    /// KEY_UPDATE_ERROR if the peer acknowledged a packet under new keys with old ones.
    pub fn on_acked(
        &mut self,
        now: Instant,
        largest: PacketNumber,
        opened_with: u64,
    ) -> Result<(), TransportError> {
        match &mut self.one_rtt {
            Some(keys) => keys.on_acked(now, largest, opened_with).map_err(TransportError::new),
            None => Ok(()),
        }
    }

    /// Starts a key update; the next 1-RTT packet is sealed with new keys.
    ///
    /// `pto` is the current probe timeout.
    // req 9001-6-061, 9001-6.1-064
    pub fn initiate_key_update(
        &mut self,
        now: Instant,
        pto: Duration,
    ) -> Result<(), KeyUpdateRefused> {
        match &mut self.one_rtt {
            Some(keys) if self.handshake == Handshake::Confirmed => keys.initiate(now, pto),
            _ => Err(KeyUpdateRefused::HandshakeNotConfirmed),
        }
    }

    #[cfg(test)]
    pub(super) fn pretend_auth_failures(&mut self, packets: u64) {
        self.auth_failures = packets;
    }

    #[cfg(test)]
    pub(super) fn pretend_sealed(&mut self, packets: u64) {
        self.one_rtt.as_mut().unwrap().pretend_sealed(packets);
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("initial", &self.initial.is_some())
            .field("handshake", &self.handshake_keys.is_some())
            .field("one_rtt", &self.one_rtt.is_some())
            .field("generation", &self.key_generation())
            .finish_non_exhaustive()
    }
}
