//! The integrity tag of Retry packets (RFC 9001, section 5.8): it shows that whoever made the
//! packet saw the client's Initial packet, and that the packet was not damaged.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keys::TAG_LEN;
use crate::wire::ConnectionId;

const KEY: [u8; 16] = [
    0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
];
const NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// The tag for the Retry packet `without_tag` that answers an Initial packet whose Destination
/// Connection ID was `original_dcid`.
pub fn integrity_tag(original_dcid: &ConnectionId, without_tag: &[u8]) -> [u8; TAG_LEN] {
    let id = original_dcid.as_slice();
    let mut pseudo_packet = Vec::with_capacity(1 + id.len() + without_tag.len());
    pseudo_packet.push(id.len() as u8);
    pseudo_packet.extend_from_slice(id);
    pseudo_packet.extend_from_slice(without_tag);

    let key = UnboundKey::new(&AES_128_GCM, &KEY).expect("the key has the length AES-128 wants");
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(NONCE),
            Aad::from(&pseudo_packet),
            &mut [],
        )
        .expect("nothing is encrypted, only authenticated");
    let mut bytes = [0; TAG_LEN];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// True if the Retry `packet` ends in the tag that [`integrity_tag`] gives for the rest of it.
// req 9000-17.2.5.2-408
pub fn is_authentic(original_dcid: &ConnectionId, packet: &[u8]) -> bool {
    packet.split_last_chunk::<TAG_LEN>().is_some_and(|(without_tag, tag)| {
        // The key is public: comparing in constant time would hide nothing.
        integrity_tag(original_dcid, without_tag) == *tag
    })
}
