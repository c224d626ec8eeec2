//! Secrets, the keys made of them, and packet protection (RFC 9001 section 5, RFC 9369
//! section 3.3).

use quic_core::wire::{ConnectionId, PacketNumber, Reader, Side, Truncated, Version};
use ring::aead::quic::HeaderProtectionKey;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{self, KeyType, Prk, Salt};

use super::header::V2;

const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
    0xf9, 0xbd, 0x2e, 0xd9,
];

const NONCE_LEN: usize = 12;
/// From the start of the packet number to the bytes that hide it.
const SAMPLE_OFFSET: usize = 4;

/// A TLS cipher suite, as far as QUIC cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20,
}

impl Suite {
    /// The suite with this number in TLS (RFC 8446, appendix B.4).
    pub(super) fn from_number(number: u16) -> Option<Self> {
        match number {
            0x1301 => Some(Self::Aes128Gcm),
            0x1302 => Some(Self::Aes256Gcm),
            0x1303 => Some(Self::ChaCha20),
            _ => None,
        }
    }

    /// The suites that have secrets of this length.
    pub(super) fn with_secrets_of(len: usize) -> &'static [Self] {
        match len {
            32 => &[Self::Aes128Gcm, Self::ChaCha20],
            48 => &[Self::Aes256Gcm],
            _ => &[],
        }
    }

    fn hash(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm | Self::ChaCha20 => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20 => &aead::CHACHA20_POLY1305,
        }
    }

    fn header_protection(self) -> &'static aead::quic::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::quic::AES_128,
            Self::Aes256Gcm => &aead::quic::AES_256,
            Self::ChaCha20 => &aead::quic::CHACHA20,
        }
    }
}

/// A traffic secret: what one side protects packets of one kind with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) suite: Suite,
    pub(crate) bytes: Vec<u8>,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of TLS 1.3 without context.
fn expand(secret: &Prk, label: &str, len: usize) -> Vec<u8> {
    let label_len = "tls13 ".len() + label.len();
    let prefix = [0, len as u8, label_len as u8];
    let info = [&prefix, "tls13 ".as_bytes(), label.as_bytes(), &[0]];
    let mut out = vec![0; len];
    let okm = secret.expand(&info, Length(len)).expect("keys are shorter than HKDF allows");
    okm.fill(&mut out).expect("the buffer has the length that was asked for");
    out
}

/// What a version calls its keys.
struct Labels {
    key: &'static str,
    iv: &'static str,
    header: &'static str,
    update: &'static str,
}

impl Labels {
    const fn of(version: Version) -> Self {
        match version {
            V2 => Self {
                key: "quicv2 key",
                iv: "quicv2 iv",
                header: "quicv2 hp",
                update: "quicv2 ku",
            },
            _ => Self { key: "quic key", iv: "quic iv", header: "quic hp", update: "quic ku" },
        }
    }
}

impl Secret {
    /// The secret of Initial packets, which anyone can compute from the connection ID that the
    /// client's first packet was sent to.
    pub(crate) fn initial(version: Version, dcid: &ConnectionId, sender: Side) -> Self {
        let salt = if version == V2 { &SALT_V2 } else { &SALT_V1 };
        let initial = Salt::new(hkdf::HKDF_SHA256, salt).extract(dcid.as_slice());
        let label = if sender.is_client() { "client in" } else { "server in" };
        Self { suite: Suite::Aes128Gcm, bytes: expand(&initial, label, 32) }
    }

    fn expand(&self, label: &str, len: usize) -> Vec<u8> {
        expand(&Prk::new_less_safe(self.suite.hash(), &self.bytes), label, len)
    }

    /// The secret after a key update.
    pub(crate) fn updated(&self, version: Version) -> Self {
        let bytes = self.expand(Labels::of(version).update, self.bytes.len());
        Self { suite: self.suite, bytes }
    }

    /// The key that hides packet numbers.
    pub(crate) fn header_key(&self, version: Version) -> HeaderKey {
        let algorithm = self.suite.header_protection();
        let key = self.expand(Labels::of(version).header, algorithm.key_len());
        let key = HeaderProtectionKey::new(algorithm, &key);
        HeaderKey(key.expect("the key has the length that the algorithm wants"))
    }

    /// The key that encrypts payloads.
    pub(crate) fn packet_key(&self, version: Version) -> PacketKey {
        let (labels, algorithm) = (Labels::of(version), self.suite.aead());
        let key = UnboundKey::new(algorithm, &self.expand(labels.key, algorithm.key_len()));
        let key = LessSafeKey::new(key.expect("the key has the length that the algorithm wants"));
        let mut iv = [0; NONCE_LEN];
        iv.copy_from_slice(&self.expand(labels.iv, NONCE_LEN));
        PacketKey { key, iv }
    }
}

/// Hides and shows packet numbers; stays the same through key updates.
pub(crate) struct HeaderKey(HeaderProtectionKey);

/// Encrypts and decrypts payloads.
pub(crate) struct PacketKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

/// A packet whose number can be read, but which may be anybody's.
pub(crate) struct Unprotected<'a> {
    /// The first byte without its protection.
    pub(super) first: u8,
    pub(super) number: PacketNumber,
    header: Vec<u8>,
    sealed: &'a [u8],
}

impl HeaderKey {
    /// The five bytes that hide the first byte and the packet number at `number_at`.
    pub(crate) fn mask(&self, packet: &[u8], number_at: usize) -> Option<[u8; 5]> {
        let sample =
            packet.get(number_at + SAMPLE_OFFSET..)?.get(..self.0.algorithm().sample_len())?;
        self.0.new_mask(sample).ok()
    }

    /// Shows the header of exactly one packet, given the largest number seen before it.
    pub(super) fn unprotect<'a>(
        &self,
        packet: &'a [u8],
        number_at: usize,
        largest: Option<PacketNumber>,
    ) -> Option<Unprotected<'a>> {
        let [first_mask, mask @ ..] = self.mask(packet, number_at)?;
        let hidden = *packet.first()?;
        let first = hidden ^ (first_mask & hidden_bits(hidden));
        let number_len = usize::from(first & 0b11) + 1;
        let (header, sealed) = packet.split_at_checked(number_at + number_len)?;
        let mut header = header.to_vec();
        *header.first_mut()? = first;
        let number = header.get_mut(number_at..)?;
        number.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        let number = Truncated::decode(&mut Reader::new(number), number_len).ok()?;
        Some(Unprotected { first, number: number.expand(largest), header, sealed })
    }
}

/// The bits of the first byte that are hidden.
pub(super) const fn hidden_bits(first: u8) -> u8 {
    if first & 0x80 == 0 { 0x1f } else { 0x0f }
}

impl PacketKey {
    fn nonce(&self, number: PacketNumber) -> Nonce {
        let mut nonce = self.iv;
        let number = number.into_inner().to_be_bytes();
        nonce.iter_mut().skip(4).zip(number).for_each(|(byte, number)| *byte ^= number);
        Nonce::assume_unique_for_key(nonce)
    }

    /// The payload, if the packet was protected with this key.
    pub(super) fn open(&self, packet: &Unprotected<'_>) -> Option<Vec<u8>> {
        let mut payload = packet.sealed.to_vec();
        let aad = Aad::from(&packet.header);
        let len = self.key.open_in_place(self.nonce(packet.number), aad, &mut payload).ok()?.len();
        payload.truncate(len);
        Some(payload)
    }

    /// The payload as it goes over the wire, with its tag.
    #[cfg(test)]
    pub(super) fn seal(
        &self,
        number: PacketNumber,
        header: &[u8],
        mut payload: Vec<u8>,
    ) -> Vec<u8> {
        let nonce = self.nonce(number);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut payload).unwrap();
        payload
    }
}

impl Unprotected<'_> {
    /// Bytes that are encrypted, with the tag.
    pub(super) fn sealed_len(&self) -> usize {
        self.sealed.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> [(Version, Value); 2] {
        let parse = |text| serde_json::from_str(text).unwrap();
        [
            (Version::V1, parse(include_str!("../../../tests/vectors/rfc9001_appendix_a.json"))),
            (V2, parse(include_str!("../../../tests/vectors/rfc9369_appendix_a.json"))),
        ]
    }

    fn bytes(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    /// The number and the payload of a published packet.
    fn open(
        secret: &Secret,
        version: Version,
        vector: &Value,
        number_at: usize,
        largest: Option<u64>,
    ) -> (u64, Vec<u8>) {
        let packet = bytes(&vector["packet"]);
        let largest = largest.map(PacketNumber::new);
        let key = secret.header_key(version);
        let packet = key.unprotect(&packet, number_at, largest).unwrap();
        (packet.number.into_inner(), secret.packet_key(version).open(&packet).unwrap())
    }

    #[test]
    fn published_initial_packets_are_opened() {
        for (version, vectors) in vectors() {
            let dcid = ConnectionId::new(&bytes(&vectors["keys"]["client_dcid"])).unwrap();
            let client = Secret::initial(version, &dcid, Side::Client);
            assert_eq!(client.bytes, bytes(&vectors["keys"]["client"]["secret"]));
            let (number, payload) = open(&client, version, &vectors["client_initial"], 18, None);
            assert_eq!(number, 2);
            assert!(payload.starts_with(&bytes(&vectors["client_initial"]["crypto_frame"])));
            let server = Secret::initial(version, &dcid, Side::Server);
            let (number, payload) = open(&server, version, &vectors["server_initial"], 18, None);
            assert_eq!(number, 1);
            assert_eq!(payload, bytes(&vectors["server_initial"]["payload"]));
        }
    }

    #[test]
    fn published_short_packets_are_opened_and_secrets_updated() {
        for (version, vectors) in vectors() {
            let vector = &vectors["chacha20_short"];
            let secret = Secret { suite: Suite::ChaCha20, bytes: bytes(&vector["secret"]) };
            let near = vector["packet_number"].as_u64().unwrap();
            let (number, payload) = open(&secret, version, vector, 1, Some(near - 10));
            assert_eq!((number, payload), (near, vec![1]));
            assert_eq!(secret.updated(version).bytes, bytes(&vector["ku"]));
        }
    }
}
