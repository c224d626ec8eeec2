//! Removing protection from a received packet, in place, in two steps that cannot be swapped
//! (RFC 9001, sections 5.3 to 5.5). The mirror of `seal`.

use std::ops::Range;

use rustls::quic::{HeaderProtectionKey, PacketKey};

use super::key_update::KeyUpdateProgress;
use super::keys::SAMPLE_OFFSET;
use crate::error::{Discard, TransportError, Violation};
use crate::wire::header::{FirstByte, KeyPhase};
use crate::wire::{PacketNumber, Reader, SpaceId, Truncated};

/// A packet that was authentic, with its payload in plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The packet number space it belongs to.
    pub space: SpaceId,
    /// Its whole packet number.
    pub packet_number: PacketNumber,
    /// Where in the packet the plain text of the payload is, tag excluded.
    pub payload: Range<usize>,
    /// The latency spin bit; false in long headers.
    pub spin: bool,
    /// How many key updates precede the keys that opened it; 0 in long headers.
    pub key_generation: u64,
    /// Whether this packet moved a key update on.
    pub key_update: KeyUpdateProgress,
}

/// Why a packet was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The packet is to be ignored; it may be forged, damaged or late.
    Discard(Discard),
    /// The packet is authentic and breaks the protocol, or the keys are worn out.
    Transport(TransportError),
}

impl From<Discard> for OpenError {
    fn from(discard: Discard) -> Self {
        Self::Discard(discard)
    }
}

impl From<TransportError> for OpenError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<Violation> for OpenError {
    fn from(violation: Violation) -> Self {
        Self::Transport(TransportError::new(violation))
    }
}

/// A packet as it came from the wire: header protected, payload encrypted.
pub(super) struct Protected<'a> {
    packet: &'a mut [u8],
    pn_offset: usize,
}

impl<'a> Protected<'a> {
    pub(super) fn new(packet: &'a mut [u8], pn_offset: usize) -> Self {
        Self { packet, pn_offset }
    }

    /// Removes header protection and recovers the packet number. Nothing is authentic yet.
    pub(super) fn unprotect(
        self,
        key: &dyn HeaderProtectionKey,
        largest_received: Option<PacketNumber>,
    ) -> Result<Unprotected<'a>, Discard> {
        // req 9001-5.4.2-046
        let short = Discard::TooShortToSample;
        let (header, rest) = self.packet.split_at_mut_checked(self.pn_offset).ok_or(short)?;
        let (field, rest) = rest.split_at_mut_checked(SAMPLE_OFFSET).ok_or(short)?;
        let sample = rest.get(..key.sample_len()).ok_or(short)?;
        let first = header.first_mut().ok_or(short)?;
        key.decrypt_in_place(sample, first, field).map_err(|_| short)?;
        let first = FirstByte(*first);
        let len = first.packet_number_len();
        let truncated = Truncated::decode(&mut Reader::new(field), len).map_err(|_| short)?;
        Ok(Unprotected {
            packet: self.packet,
            header_len: self.pn_offset + len,
            first,
            packet_number: truncated.expand(largest_received),
        })
    }
}

/// A packet whose header can be read, and whose payload is still encrypted.
pub(super) struct Unprotected<'a> {
    packet: &'a mut [u8],
    header_len: usize,
    first: FirstByte,
    packet_number: PacketNumber,
}

/// What is left of an [`Unprotected`] packet once its payload is plain text.
pub(super) struct Plain {
    pub(super) packet_number: PacketNumber,
    pub(super) payload: Range<usize>,
    first: FirstByte,
}

impl Unprotected<'_> {
    pub(super) fn packet_number(&self) -> PacketNumber {
        self.packet_number
    }

    pub(super) fn key_phase(&self) -> KeyPhase {
        self.first.key_phase()
    }

    /// The bytes, for a second attempt after one that spoils them.
    pub(super) fn bytes(&self) -> &[u8] {
        self.packet
    }

    /// Puts back the bytes that an attempt has spoiled.
    pub(super) fn restore(&mut self, bytes: &[u8]) {
        self.packet.copy_from_slice(bytes);
    }

    /// Decrypts the payload in place. After a failure the payload is spoiled.
    pub(super) fn decrypt(&mut self, key: &dyn PacketKey) -> Result<Plain, Discard> {
        let failed = Discard::DecryptionFailed;
        let (header, payload) = self.packet.split_at_mut_checked(self.header_len).ok_or(failed)?;
        let plain = key
            .decrypt_in_place(self.packet_number.into_inner(), header, payload)
            .map_err(|_| failed)?;
        Ok(Plain {
            packet_number: self.packet_number,
            payload: self.header_len..self.header_len + plain.len(),
            first: self.first,
        })
    }
}

impl Plain {
    /// The checks that only an authentic header deserves.
    pub(super) fn check(
        self,
        space: SpaceId,
        key_generation: u64,
        key_update: KeyUpdateProgress,
    ) -> Result<Opened, Violation> {
        // req 9000-17.2-383, 9000-17.3.1-418: only here, after all protection is removed.
        if self.first.has_reserved_bits() {
            return Err(Violation::ReservedBitsSet);
        }
        // req 9000-12.4-290
        if self.payload.is_empty() {
            return Err(Violation::PacketEmpty);
        }
        Ok(Opened {
            space,
            packet_number: self.packet_number,
            payload: self.payload,
            spin: !self.first.is_long() && self.first.spin(),
            key_generation,
            key_update,
        })
    }
}
