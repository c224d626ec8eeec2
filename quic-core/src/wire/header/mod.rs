//! Packet headers (RFC 8999 and RFC 9000, section 17), as far as they can be read and written
//! without keys.
//!
//! A header that is protected is decoded into a [`PartialHeader`], which holds positions instead
//! of references, so that `crypto` can then remove the protection in place. What the protection
//! hides of the first byte is read with [`FirstByte`] afterwards.

mod decode;
mod encode;

pub use decode::{
    Header, PartialHeader, RetryHeader, UnknownVersionHeader, VersionNegotiation, Versions,
};
pub use encode::{
    EncodedHeader, LongHeader, LongType, RetryPacket, ShortHeader, VersionNegotiationPacket,
};

use std::ops::Not;

use super::{PacketType, Version};

/// The first byte of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstByte(pub u8);

impl FirstByte {
    const LONG: u8 = 0x80;
    const FIXED: u8 = 0x40;
    const LONG_TYPE: u8 = 0x30;
    const LONG_TYPE_SHIFT: u8 = 4;
    const LONG_TYPE_MASK: u8 = 0x03;
    const LONG_RESERVED: u8 = 0x0c;
    const SHORT_RESERVED: u8 = 0x18;
    const SPIN: u8 = 0x20;
    const KEY_PHASE: u8 = 0x04;
    const PACKET_NUMBER_LEN: u8 = 0x03;

    /// True if the packet has a long header.
    #[inline]
    pub const fn is_long(self) -> bool {
        self.0 & Self::LONG != 0
    }

    /// True if the fixed bit is set, as it must be in version 1.
    #[inline]
    pub const fn is_fixed_bit_set(self) -> bool {
        self.0 & Self::FIXED != 0
    }

    /// The kind of a packet with a long header of `version`, which is a known one.
    // req 9000-17.2-378
    pub(crate) const fn long_type(self, version: Version) -> PacketType {
        let bits = (self.0 & Self::LONG_TYPE) >> Self::LONG_TYPE_SHIFT;
        match bits.wrapping_sub(long_type_base(version)) & Self::LONG_TYPE_MASK {
            0 => PacketType::Initial,
            1 => PacketType::ZeroRtt,
            2 => PacketType::Handshake,
            _ => PacketType::Retry,
        }
    }

    /// The bits that say what kind of packet it is, in a long header of `version`.
    const fn long_type_bits(version: Version, kind: PacketType) -> u8 {
        let number = match kind {
            PacketType::Initial => 0,
            PacketType::ZeroRtt => 1,
            PacketType::Handshake => 2,
            PacketType::Retry | PacketType::VersionNegotiation | PacketType::OneRtt => 3,
        };
        ((number + long_type_base(version)) & Self::LONG_TYPE_MASK) << Self::LONG_TYPE_SHIFT
    }

    /// Clears the fixed bit of `packet`, for peers that have said that they do not mind (RFC 9287).
    pub fn clear_fixed_bit(packet: &mut [u8]) {
        if let Some(first) = packet.first_mut() {
            *first &= !Self::FIXED;
        }
    }

    /// The bits that header protection covers.
    #[inline]
    pub const fn protected_bits(self) -> u8 {
        if self.is_long() { 0x0f } else { 0x1f }
    }

    /// True if one of the reserved bits is set; known once header protection is removed, and an
    /// error only once the packet is authenticated.
    #[inline]
    pub const fn has_reserved_bits(self) -> bool {
        let reserved = if self.is_long() { Self::LONG_RESERVED } else { Self::SHORT_RESERVED };
        self.0 & reserved != 0
    }

    /// Length of the packet number in bytes, 1 to 4; known once header protection is removed.
    #[inline]
    pub const fn packet_number_len(self) -> usize {
        (self.0 & Self::PACKET_NUMBER_LEN) as usize + 1
    }

    /// The key phase of a short header; known once header protection is removed.
    #[inline]
    pub const fn key_phase(self) -> KeyPhase {
        if self.0 & Self::KEY_PHASE == 0 { KeyPhase::Zero } else { KeyPhase::One }
    }

    /// The latency spin bit of a short header.
    #[inline]
    pub const fn spin(self) -> bool {
        self.0 & Self::SPIN != 0
    }
}

/// The number of the Initial type: version 2 counts the same types from one on, and around (RFC 9369,
/// section 3.2).
const fn long_type_base(version: Version) -> u8 {
    match version {
        Version::V2 => 1,
        _ => 0,
    }
}

/// Which of two successive generations of 1-RTT keys protects a packet (RFC 9001, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyPhase {
    /// The first generation, and every second one after it.
    #[default]
    Zero,
    /// The second generation, and every second one after it.
    One,
}

impl Not for KeyPhase {
    type Output = Self;

    /// The phase of the next, and of the previous, generation.
    fn not(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }
}

#[cfg(test)]
mod tests;
