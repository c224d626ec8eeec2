//! Keys of another version than the one that TLS was begun with.
//!
//! A client begins TLS with the version of its first packet, and learns only with the first packet
//! of the server which version it is going to be (RFC 9369, section 4.1). TLS makes keys with the
//! labels of the former. The secrets below them do not depend on the version: those are taken out by
//! the way that key logs take, and the keys are made here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::aead::{self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock};
use rustls::quic::{DirectionalKeys, HeaderProtectionKey, PacketKey, PacketKeySet, Tag};
use rustls::{CipherSuite, Error, KeyLog, SupportedCipherSuite};

use super::keys::{CountedKey, KeyChange, KeyChangeKind, LevelKeys, NextKeys, SealKeys, TAG_LEN};
use crate::wire::header::FirstByte;
use crate::wire::{SpaceId, Version};

const LABELS: [&str; 4] = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
];
const IV_LEN: usize = 12;
const MAX_KEY_LEN: usize = 32;

/// Takes secrets out of one TLS connection, for as long as its version may change.
pub(super) struct SecretTap {
    /// The key log of the application hears all that it would without the tap.
    inner: Arc<dyn KeyLog>,
    secrets: Mutex<[Option<OkmBlock>; LABELS.len()]>,
}

impl SecretTap {
    pub(super) fn new(inner: Arc<dyn KeyLog>) -> Self {
        Self { inner, secrets: Mutex::default() }
    }

    /// The keys for `space` in the way of `version`, instead of those that TLS has made; `None`
    /// until TLS has come so far. The secrets are forgotten.
    pub(super) fn keys(
        &self,
        space: SpaceId,
        version: Version,
        suite: SupportedCipherSuite,
    ) -> Option<KeyChange> {
        let algorithm = Algorithm::of(suite)?;
        let [client, server] = match space {
            SpaceId::Initial => return None,
            SpaceId::Handshake => [0, 1],
            SpaceId::Data => [2, 3],
        };
        let mut secrets = self.lock();
        let secrets = TrafficSecrets {
            version,
            algorithm,
            local: secrets.get_mut(client)?.take()?,
            remote: secrets.get_mut(server)?.take()?,
        };
        Some(KeyChange(match space {
            SpaceId::Data => KeyChangeKind::OneRtt {
                keys: secrets.level_keys(),
                next: NextKeys::Own(Box::new(secrets.next())),
            },
            SpaceId::Initial | SpaceId::Handshake => KeyChangeKind::Handshake(secrets.level_keys()),
        }))
    }

    /// Forgets the secrets for `space`, of which TLS has made the right keys.
    pub(super) fn forget(&self, space: SpaceId) {
        let range = match space {
            SpaceId::Initial => return,
            SpaceId::Handshake => 0..2,
            SpaceId::Data => 2..4,
        };
        self.lock().iter_mut().take(range.end).skip(range.start).for_each(|secret| *secret = None);
    }

    /// Nothing that is done under this lock can leave a half-changed value behind.
    fn lock(&self) -> MutexGuard<'_, [Option<OkmBlock>; LABELS.len()]> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SecretTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretTap").field(&self.inner).finish()
    }
}

impl KeyLog for SecretTap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if let Some(at) = LABELS.iter().position(|known| *known == label)
            && secret.len() <= OkmBlock::MAX_LEN
            && let Some(kept) = self.lock().get_mut(at)
        {
            *kept = Some(OkmBlock::new(secret));
        }
        if self.inner.will_log(label) {
            self.inner.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        LABELS.contains(&label) || self.inner.will_log(label)
    }
}

/// What a cipher suite means for packets.
#[derive(Clone, Copy)]
struct Algorithm {
    hkdf: &'static dyn Hkdf,
    packet: &'static aead::Algorithm,
    header: &'static aead::quic::Algorithm,
    /// Packets that may be protected with one key (RFC 9001, section 6.6).
    confidentiality_limit: u64,
    /// Packets that may fail to open, with all keys of a connection.
    integrity_limit: u64,
}

impl Algorithm {
    fn of(suite: SupportedCipherSuite) -> Option<Self> {
        let tls13 = suite.tls13()?;
        let (packet, header, confidentiality_limit, integrity_limit) = match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => {
                (&AES_128_GCM, &aead::quic::AES_128, 1 << 23, 1 << 52)
            }
            CipherSuite::TLS13_AES_256_GCM_SHA384 => {
                (&AES_256_GCM, &aead::quic::AES_256, 1 << 23, 1 << 52)
            }
            // There are no more packet numbers than may be protected.
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => {
                (&CHACHA20_POLY1305, &aead::quic::CHACHA20, u64::MAX, 1 << 36)
            }
            _ => return None,
        };
        let hkdf = tls13.hkdf_provider;
        Some(Self { hkdf, packet, header, confidentiality_limit, integrity_limit })
    }
}

/// The secrets of both sides at one level, or in one generation.
pub(super) struct TrafficSecrets {
    version: Version,
    algorithm: Algorithm,
    local: OkmBlock,
    remote: OkmBlock,
}

impl TrafficSecrets {
    fn level_keys(&self) -> LevelKeys {
        LevelKeys {
            local: SealKeys {
                header: self.header_key(&self.local),
                packet: CountedKey::new(self.packet_key(&self.local)),
            },
            remote: DirectionalKeys {
                header: self.header_key(&self.remote),
                packet: self.packet_key(&self.remote),
            },
        }
    }

    /// The packet keys of this generation; the secrets move on to the next one.
    pub(super) fn next_packet_keys(&mut self) -> PacketKeySet {
        let (local, remote) = (self.packet_key(&self.local), self.packet_key(&self.remote));
        *self = self.next();
        PacketKeySet { local, remote }
    }

    /// The secrets of the next generation (RFC 9001, section 6.1).
    fn next(&self) -> Self {
        let update = |secret| {
            let expander = self.expander(secret);
            let len = u16::try_from(expander.hash_len()).unwrap_or(0);
            expander.expand_block(&label(len, "ku", self.version).parts())
        };
        let (local, remote) = (update(&self.local), update(&self.remote));
        Self { version: self.version, algorithm: self.algorithm, local, remote }
    }

    fn expander(&self, secret: &OkmBlock) -> Box<dyn HkdfExpander> {
        self.algorithm.hkdf.expander_for_okm(secret)
    }

    /// So many bytes from `secret` under a label (RFC 9001, section 5.1; RFC 9369, section 3.3.2).
    fn expand(&self, secret: &OkmBlock, name: &'static str, out: &mut [u8]) {
        let len = u16::try_from(out.len()).unwrap_or(0);
        self.expander(secret)
            .expand_slice(&label(len, name, self.version).parts(), out)
            .expect("keys are shorter than what HKDF can give");
    }

    fn packet_key(&self, secret: &OkmBlock) -> Box<dyn PacketKey> {
        let Algorithm { packet, confidentiality_limit, integrity_limit, .. } = self.algorithm;
        let mut key = [0; MAX_KEY_LEN];
        let key = &mut key[..packet.key_len()];
        self.expand(secret, "key", key);
        let mut iv = [0; IV_LEN];
        self.expand(secret, "iv", &mut iv);
        let key = UnboundKey::new(packet, key).expect("the key has the length of the algorithm");
        let key = LessSafeKey::new(key);
        Box::new(OwnPacketKey { key, iv, confidentiality_limit, integrity_limit })
    }

    fn header_key(&self, secret: &OkmBlock) -> Box<dyn HeaderProtectionKey> {
        let mut key = [0; MAX_KEY_LEN];
        let key = &mut key[..self.algorithm.header.key_len()];
        self.expand(secret, "hp", key);
        let key = aead::quic::HeaderProtectionKey::new(self.algorithm.header, key)
            .expect("the key has the length of the algorithm");
        Box::new(OwnHeaderKey(key))
    }
}

/// The HkdfLabel structure of TLS 1.3 without context.
struct Label {
    len: [u8; 2],
    name_len: [u8; 1],
    version: &'static str,
    name: &'static str,
}

fn label(len: u16, name: &'static str, version: Version) -> Label {
    let version = if version == Version::V2 { "tls13 quicv2 " } else { "tls13 quic " };
    let name_len = u8::try_from(version.len() + name.len()).unwrap_or(0);
    Label { len: len.to_be_bytes(), name_len: [name_len], version, name }
}

impl Label {
    fn parts(&self) -> [&[u8]; 5] {
        [&self.len, &self.name_len, self.version.as_bytes(), self.name.as_bytes(), &[0]]
    }
}

/// Protects payloads (RFC 9001, section 5.3).
struct OwnPacketKey {
    key: LessSafeKey,
    iv: [u8; IV_LEN],
    confidentiality_limit: u64,
    integrity_limit: u64,
}

impl OwnPacketKey {
    fn nonce(&self, packet_number: u64) -> aead::Nonce {
        let mut nonce = self.iv;
        let number = packet_number.to_be_bytes();
        let number_field = nonce.iter_mut().rev().zip(number.iter().rev());
        number_field.for_each(|(byte, number)| *byte ^= number);
        aead::Nonce::assume_unique_for_key(nonce)
    }
}

impl PacketKey for OwnPacketKey {
    fn encrypt_in_place(
        &self,
        packet_number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(packet_number), Aad::from(header), payload)
            .map_err(|_| Error::EncryptError)?;
        Ok(Tag::from(tag.as_ref()))
    }

    fn decrypt_in_place<'a>(
        &self,
        packet_number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let plain = self
            .key
            .open_in_place(self.nonce(packet_number), Aad::from(header), payload)
            .map_err(|_| Error::DecryptError)?;
        Ok(plain)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.confidentiality_limit
    }

    fn integrity_limit(&self) -> u64 {
        self.integrity_limit
    }
}

/// Protects headers (RFC 9001, section 5.4).
struct OwnHeaderKey(aead::quic::HeaderProtectionKey);

impl OwnHeaderKey {
    /// The mask for the first byte, and those for the packet number.
    fn mask(&self, sample: &[u8], first: u8) -> Result<(u8, [u8; 4]), Error> {
        let failed = |_| Error::General("the sample has another length than it should".into());
        let [first_mask, number @ ..] = self.0.new_mask(sample).map_err(failed)?;
        Ok((first_mask & FirstByte(first).protected_bits(), number))
    }
}

fn apply(mask: [u8; 4], first: FirstByte, packet_number: &mut [u8]) {
    let field = packet_number.iter_mut().zip(mask).take(first.packet_number_len());
    field.for_each(|(byte, mask)| *byte ^= mask);
}

impl HeaderProtectionKey for OwnHeaderKey {
    fn encrypt_in_place(
        &self,
        sample: &[u8],
        first: &mut u8,
        packet_number: &mut [u8],
    ) -> Result<(), Error> {
        let (first_mask, mask) = self.mask(sample, *first)?;
        apply(mask, FirstByte(*first), packet_number);
        *first ^= first_mask;
        Ok(())
    }

    fn decrypt_in_place(
        &self,
        sample: &[u8],
        first: &mut u8,
        packet_number: &mut [u8],
    ) -> Result<(), Error> {
        let (first_mask, mask) = self.mask(sample, *first)?;
        *first ^= first_mask;
        apply(mask, FirstByte(*first), packet_number);
        Ok(())
    }

    fn sample_len(&self) -> usize {
        self.0.algorithm().sample_len()
    }
}
