//! The integrity tag of Retry packets (RFC 9001, section 5.8; RFC 9369, section 3.3.3): it shows
//! that whoever made the packet saw the client's Initial packet, and that the packet was not damaged.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keys::TAG_LEN;
use crate::wire::{ConnectionId, Version};

/// What the tags of a version are made with. It is public: a tag proves no identity.
struct Secrets {
    key: [u8; 16],
    nonce: [u8; 12],
}

const SECRETS_V1: Secrets = Secrets {
    key: [
        0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8,
        0x4e,
    ],
    nonce: [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
};

const SECRETS_V2: Secrets = Secrets {
    key: [
        0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc,
        0x92,
    ],
    nonce: [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a],
};

/// The tag for the Retry packet `without_tag` of `version` that answers an Initial packet whose
/// Destination Connection ID was `original_dcid`.
pub fn integrity_tag(
    version: Version,
    original_dcid: &ConnectionId,
    without_tag: &[u8],
) -> [u8; TAG_LEN] {
    let id = original_dcid.as_slice();
    let mut pseudo_packet = Vec::with_capacity(1 + id.len() + without_tag.len());
    pseudo_packet.push(id.len() as u8);
    pseudo_packet.extend_from_slice(id);
    pseudo_packet.extend_from_slice(without_tag);

    let Secrets { key, nonce } = match version {
        Version::V2 => SECRETS_V2,
        _ => SECRETS_V1,
    };
    let key = UnboundKey::new(&AES_128_GCM, &key).expect("the key has the length AES-128 wants");
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&pseudo_packet),
            &mut [],
        )
        .expect("nothing is encrypted, only authenticated");
    let mut bytes = [0; TAG_LEN];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// True if `tag` is what [`integrity_tag`] gives for the rest of a Retry packet.
// req 9000-17.2.5.2-408
pub fn is_authentic(
    version: Version,
    original_dcid: &ConnectionId,
    without_tag: &[u8],
    tag: &[u8; TAG_LEN],
) -> bool {
    // The key is public: comparing in constant time would hide nothing.
    integrity_tag(version, original_dcid, without_tag) == *tag
}
