//! Protecting a packet before it is sent, in place (RFC 9001, sections 5.3 and 5.4). The mirror of
//! `open`.

use super::keys::{SAMPLE_OFFSET, SealKeys, TAG_LEN};
use crate::error::{TransportError, Violation};
use crate::wire::PacketNumber;
use crate::wire::header::FirstByte;

/// Encrypts the payload of `packet`, writes the tag into its last [`TAG_LEN`] bytes, and protects
/// its header, of which `header_len` bytes including the packet number are there.
///
/// # Errors
///
/// AEAD_LIMIT_REACHED if the key has protected as many packets as it may, INTERNAL_ERROR if the
/// packet is too short to take the sample of header protection from; nothing is changed then.
// req 9001-9.5-118: the AEAD and the mask take the same time for each number and each length of it.
pub(super) fn seal(
    keys: &mut SealKeys,
    number: PacketNumber,
    packet: &mut [u8],
    header_len: usize,
) -> Result<(), TransportError> {
    // req 9001-6.6-085, 9001-6.6-088
    if keys.packet.is_exhausted() {
        return Err(TransportError::new(Violation::ConfidentialityLimit));
    }
    let internal = || TransportError::new(Violation::Internal);
    let number_len =
        packet.first().map(|first| FirstByte(*first).packet_number_len()).ok_or_else(internal)?;
    let number_offset = header_len.checked_sub(number_len).ok_or_else(internal)?;
    let sample_end = number_offset + SAMPLE_OFFSET + keys.header.sample_len();
    debug_assert!(packet.len() >= sample_end, "payload too short for header protection");
    if packet.len() < sample_end || packet.len() < header_len + TAG_LEN {
        return Err(internal());
    }

    let (header, payload_and_tag) = packet.split_at_mut(header_len);
    let (payload, tag) = payload_and_tag.split_at_mut(payload_and_tag.len() - TAG_LEN);
    let sealed = keys
        .packet
        .key
        .encrypt_in_place(number.into_inner(), header, payload)
        .map_err(|_| internal())?;
    tag.copy_from_slice(sealed.as_ref());
    keys.packet.sealed += 1;
    keys.packet.bytes += packet.len() as u64;

    let (before_number, rest) = packet.split_at_mut(number_offset);
    let (number_field, rest) = rest.split_at_mut(SAMPLE_OFFSET);
    let sample = rest.get(..keys.header.sample_len()).ok_or_else(internal)?;
    let first = before_number.first_mut().ok_or_else(internal)?;
    // Of the four bytes only as many change as the packet number has.
    keys.header.encrypt_in_place(sample, first, number_field).map_err(|_| internal())
}
