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

/// The first byte of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstByte(pub u8);

impl FirstByte {
    const LONG: u8 = 0x80;
    const FIXED: u8 = 0x40;
    const LONG_TYPE: u8 = 0x30;
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
