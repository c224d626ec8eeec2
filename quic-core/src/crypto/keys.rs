//! Keys as rustls hands them over, with the counters that RFC 9001 wants beside them.

use std::fmt;
use std::sync::LazyLock;

use rustls::quic::{DirectionalKeys, HeaderProtectionKey, PacketKey, PacketKeySet, Secrets, Suite};

use super::traffic_keys::TrafficSecrets;

use crate::wire::{ConnectionId, Side, SpaceId, Version};

/// Length in bytes of the authentication tag at the end of each protected packet; the same for
/// every AEAD that QUIC uses (RFC 9001, section 5.3).
pub const TAG_LEN: usize = 16;

/// Bytes from the start of the packet number to the sample that header protection takes
/// (RFC 9001, section 5.4.2).
pub(super) const SAMPLE_OFFSET: usize = 4;

/// The only TLS cipher suite that Initial packets use (RFC 9001, section 5.2).
// req 9001-5.2-041
static INITIAL_SUITE: LazyLock<Suite> = LazyLock::new(|| {
    rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(|suite| suite.quic_suite())
        .expect("AES-128-GCM of this TLS library can protect QUIC packets")
});

/// The keys of one packet number space without key updates: Initial or Handshake.
pub(super) struct LevelKeys {
    pub(super) local: SealKeys,
    pub(super) remote: DirectionalKeys,
}

impl LevelKeys {
    /// The keys that both sides derive from the Destination Connection ID of the client's first
    /// Initial packet, in the way of `version`.
    // req 9001-5.2-041
    pub(super) fn initial(version: Version, dcid: &ConnectionId, side: Side) -> Self {
        let side = match side {
            Side::Client => rustls::Side::Client,
            Side::Server => rustls::Side::Server,
        };
        INITIAL_SUITE.keys(dcid.as_slice(), side, tls_version(version)).into()
    }
}

/// What TLS calls a version: it decides about the labels of all keys (RFC 9369, section 3.3.2).
pub(super) fn tls_version(version: Version) -> rustls::quic::Version {
    match version {
        Version::V2 => rustls::quic::Version::V2,
        _ => rustls::quic::Version::V1,
    }
}

impl From<rustls::quic::Keys> for LevelKeys {
    fn from(keys: rustls::quic::Keys) -> Self {
        let rustls::quic::Keys { local, remote } = keys;
        Self {
            local: SealKeys { header: local.header, packet: CountedKey::new(local.packet) },
            remote,
        }
    }
}

/// The keys that protect what we send.
pub(super) struct SealKeys {
    pub(super) header: Box<dyn HeaderProtectionKey>,
    pub(super) packet: CountedKey,
}

/// A packet key that counts the packets it has protected.
// req 9001-6.6-084
pub(super) struct CountedKey {
    pub(super) key: Box<dyn PacketKey>,
    pub(super) sealed: u64,
    /// Bytes of these packets.
    pub(super) bytes: u64,
}

impl CountedKey {
    pub(super) fn new(key: Box<dyn PacketKey>) -> Self {
        Self { key, sealed: 0, bytes: 0 }
    }

    /// True once the key must protect nothing more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.sealed >= self.key.confidentiality_limit()
    }
}

/// The keys of 0-RTT packets, which only a client seals and only a server opens.
pub struct EarlyKeys(pub(super) DirectionalKeys);

impl fmt::Debug for EarlyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EarlyKeys(..)")
    }
}

impl From<EarlyKeys> for SealKeys {
    fn from(EarlyKeys(keys): EarlyKeys) -> Self {
        Self { header: keys.header, packet: CountedKey::new(keys.packet) }
    }
}

/// Keys that the TLS handshake brought forth, for [`Keyring::install`](super::Keyring::install).
pub struct KeyChange(pub(super) KeyChangeKind);

pub(super) enum KeyChangeKind {
    Handshake(LevelKeys),
    OneRtt { keys: LevelKeys, next: NextKeys },
}

/// Where the keys of later generations come from.
pub(super) enum NextKeys {
    /// From TLS, with the labels of the version that it was begun with.
    Tls(Box<Secrets>),
    /// From here, with the labels of another version.
    Own(Box<TrafficSecrets>),
}

impl NextKeys {
    /// The packet keys of the next generation.
    pub(super) fn next_packet_keys(&mut self) -> PacketKeySet {
        match self {
            Self::Tls(secrets) => secrets.next_packet_keys(),
            Self::Own(secrets) => secrets.next_packet_keys(),
        }
    }
}

impl KeyChange {
    /// The packet number space that the keys are for.
    pub fn space(&self) -> SpaceId {
        match self.0 {
            KeyChangeKind::Handshake(_) => SpaceId::Handshake,
            KeyChangeKind::OneRtt { .. } => SpaceId::Data,
        }
    }
}

impl From<rustls::quic::KeyChange> for KeyChange {
    fn from(change: rustls::quic::KeyChange) -> Self {
        Self(match change {
            rustls::quic::KeyChange::Handshake { keys } => KeyChangeKind::Handshake(keys.into()),
            rustls::quic::KeyChange::OneRtt { keys, next } => {
                KeyChangeKind::OneRtt { keys: keys.into(), next: NextKeys::Tls(Box::new(next)) }
            }
        })
    }
}

impl fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyChange({:?}, ..)", self.space())
    }
}
