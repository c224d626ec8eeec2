//! Packet numbers and their short form in packet headers (RFC 9000, sections 12.3 and 17.1).

use std::fmt;

use super::cursor::{Reader, UnexpectedEnd, Writer};
use super::varint;

/// The number of a packet within its packet number space, 0 to 2^62 - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketNumber(u64);

impl PacketNumber {
    /// The last packet number; after it a connection can send nothing more.
    pub const MAX: Self = Self(varint::MAX);

    /// The packet number `value`, cut to [`PacketNumber::MAX`].
    #[inline]
    pub const fn new(value: u64) -> Self {
        Self(if value > varint::MAX { varint::MAX } else { value })
    }

    /// The number as a plain integer.
    #[inline]
    pub const fn into_inner(self) -> u64 {
        self.0
    }

    /// The number of the packet after this one, `None` after the last.
    #[inline]
    pub fn next(self) -> Option<Self> {
        (self < Self::MAX).then(|| Self(self.0 + 1))
    }
}

impl From<PacketNumber> for u64 {
    fn from(value: PacketNumber) -> Self {
        value.0
    }
}

impl fmt::Display for PacketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The low 1 to 4 bytes of a packet number, as a packet header carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    value: u32,
    len: u8,
}

impl Truncated {
    /// Cuts `number` to as few bytes as the peer needs to recover it, given the largest packet
    /// number that the peer has acknowledged in this space (RFC 9000, appendix A.2).
    #[inline]
    pub fn shorten(number: PacketNumber, largest_acknowledged: Option<PacketNumber>) -> Self {
        // req 9000-17.1-372: without an acknowledgement all packets since 0 count as outstanding,
        // which always leaves room for the whole number.
        // req 9000-17.1-373, 9000-17.1-374: the encoding covers more than twice the distance.
        let outstanding = match largest_acknowledged {
            Some(largest) => number.0.saturating_sub(largest.0),
            None => number.0 + 1,
        };
        let len = match outstanding {
            0..=0x80 => 1,
            0x81..=0x8000 => 2,
            0x8001..=0x80_0000 => 3,
            _ => 4,
        };
        Self::with_len(number, len)
    }

    /// Cuts `number` to exactly `len` bytes, 1 to 4.
    #[inline]
    pub fn with_len(number: PacketNumber, len: u8) -> Self {
        debug_assert!((1..=4).contains(&len));
        let [.., b0, b1, b2, b3] = number.0.to_be_bytes();
        let value = u32::from_be_bytes([b0, b1, b2, b3]) & (u32::MAX >> (32 - 8 * u32::from(len)));
        Self { value, len }
    }

    /// Number of bytes, 1 to 4.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // It never is.
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// The two low bits of the first byte of a packet header: the length less one.
    #[inline]
    pub fn len_bits(self) -> u8 {
        self.len - 1
    }

    /// Reads `len` bytes, 1 to 4.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>, len: usize) -> Result<Self, UnexpectedEnd> {
        let bytes = reader.bytes(len.clamp(1, 4))?;
        let value = bytes.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte));
        Ok(Self { value, len: bytes.len().try_into().unwrap_or(4) })
    }

    /// Writes the bytes, most significant first.
    #[inline]
    pub fn encode(self, writer: &mut Writer<'_>) {
        let [b0, b1, b2, b3] = self.value.to_be_bytes();
        match self.len {
            1 => writer.bytes(&[b3]),
            2 => writer.bytes(&[b2, b3]),
            3 => writer.bytes(&[b1, b2, b3]),
            _ => writer.bytes(&[b0, b1, b2, b3]),
        }
    }

    /// Recovers the whole number: the candidate closest to the one after `largest_received`, the
    /// largest number received so far in this space (RFC 9000, appendix A.3).
    #[inline]
    pub fn expand(self, largest_received: Option<PacketNumber>) -> PacketNumber {
        let expected = largest_received.map_or(0, |largest| largest.0 + 1);
        let window = 1u64 << (8 * u32::from(self.len));
        let half = window / 2;
        let candidate = (expected & !(window - 1)) | u64::from(self.value);
        let closest = if candidate + half <= expected && candidate <= varint::MAX - window {
            candidate + window
        } else if candidate > expected + half && candidate >= window {
            candidate - window
        } else {
            candidate
        };
        PacketNumber::new(closest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::wire::test_support::unhex;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../tests/vectors/packet_number.json")).unwrap()
    }

    // req-test 9000-17.1-372, 9000-17.1-373
    #[test]
    fn published_numbers_are_shortened() {
        for case in vectors()["encode"].as_array().unwrap() {
            let number = PacketNumber::new(case["full_pn"].as_u64().unwrap());
            let acknowledged = case["largest_acked"].as_u64().map(PacketNumber::new);
            let short = Truncated::shorten(number, acknowledged);
            let mut buf = [0; 4];
            let mut writer = Writer::new(&mut buf);
            short.encode(&mut writer);
            assert_eq!(writer.written(), unhex(case["encoded"].as_str().unwrap()), "{case}");
        }
    }

    #[test]
    fn published_numbers_are_recovered() {
        for case in vectors()["decode"].as_array().unwrap() {
            let len = case["nbits"].as_u64().unwrap() as usize / 8;
            let bytes = case["truncated"].as_u64().unwrap().to_be_bytes();
            let mut reader = Reader::new(&bytes[8 - len..]);
            let short = Truncated::decode(&mut reader, len).unwrap();
            let largest = case["largest_pn"].as_u64().map(PacketNumber::new);
            assert_eq!(short.expand(largest).0, case["decoded"].as_u64().unwrap(), "{case}");
        }
    }

    #[test]
    fn a_number_half_a_window_away_is_taken_to_be_ahead() {
        let short = Truncated::with_len(PacketNumber::new(0x200), 1);
        assert_eq!(short.expand(Some(PacketNumber::new(0x17f))).0, 0x200);
        assert_eq!(short.expand(Some(PacketNumber::new(0x27f))).0, 0x300);
        assert_eq!(short.expand(Some(PacketNumber::new(0x27e))).0, 0x200);
    }

    proptest! {
        // req-test 9000-17.1-373, 9000-17.1-374
        #[test]
        fn what_is_shortened_is_recovered_by_any_peer_that_has_the_acknowledged_packet(
            acknowledged in 0u64..(1 << 62) - (1 << 31),
            ahead in 1u64..1 << 31,
            seen in 0.0f64..1.0,
        ) {
            let number = PacketNumber::new(acknowledged + ahead);
            let short = Truncated::shorten(number, Some(PacketNumber::new(acknowledged)));
            let received = acknowledged + (ahead as f64 * seen) as u64;
            prop_assert_eq!(short.expand(Some(PacketNumber::new(received))), number);
        }

        #[test]
        fn any_bytes_expand_to_a_valid_number(
            bytes in prop::collection::vec(any::<u8>(), 1..5),
            largest in prop::option::of(prop_oneof![0..=varint::MAX, varint::MAX - 9..=varint::MAX]),
        ) {
            let short = Truncated::decode(&mut Reader::new(&bytes), bytes.len()).unwrap();
            let number = short.expand(largest.map(PacketNumber::new));
            prop_assert!(number <= PacketNumber::MAX);
        }
    }
}
