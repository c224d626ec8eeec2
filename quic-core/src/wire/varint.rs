//! Variable-length integers (RFC 9000, section 16): the two highest bits of the first byte tell
//! whether the number takes 1, 2, 4 or 8 bytes.

use std::fmt;

use super::cursor::{Reader, UnexpectedEnd, Writer};

/// The largest number that can be encoded, 2^62 - 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Length in bytes of the shortest encoding of `value`, which is at most [`MAX`].
#[inline]
pub const fn size(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// How many bytes fit into `room` together with a variable-length integer that tells their number.
///
/// `None` if there is no room even for the length of nothing.
#[inline]
pub const fn fit_with_length(room: usize) -> Option<usize> {
    let Some(mut len) = room.checked_sub(1) else { return None };
    // Only a few steps: the length field takes at most eight bytes.
    while len + size(len as u64) > room {
        len -= 1;
    }
    Some(len)
}

/// A number from 0 to 2^62 - 1, as variable-length integers carry it.
///
/// Byte counts and offsets are plain `u64` in this crate; this type guards numbers that come from
/// the application, such as error codes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarInt(u64);

impl VarInt {
    /// The largest value, 2^62 - 1.
    pub const MAX: Self = Self(MAX);

    /// The number `value`.
    pub const fn from_u32(value: u32) -> Self {
        Self(value as u64)
    }

    /// The number `value`, `None` if it is larger than [`VarInt::MAX`].
    pub const fn new(value: u64) -> Option<Self> {
        if value <= MAX { Some(Self(value)) } else { None }
    }

    /// The number as a plain integer.
    #[inline]
    pub const fn into_inner(self) -> u64 {
        self.0
    }

    /// Length of the encoding in bytes.
    #[inline]
    pub const fn size(self) -> usize {
        size(self.0)
    }

    /// Reads a number of any encoded length.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, UnexpectedEnd> {
        reader.varint().map(Self)
    }

    /// Writes the shortest encoding.
    #[inline]
    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.varint(self.0);
    }
}

impl From<u32> for VarInt {
    fn from(value: u32) -> Self {
        Self::from_u32(value)
    }
}

impl TryFrom<u64> for VarInt {
    type Error = TooLarge;

    fn try_from(value: u64) -> Result<Self, TooLarge> {
        Self::new(value).ok_or(TooLarge)
    }
}

impl From<VarInt> for u64 {
    fn from(value: VarInt) -> Self {
        value.0
    }
}

impl fmt::Debug for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number is larger than 2^62 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("number is larger than 2^62 - 1")
    }
}

impl std::error::Error for TooLarge {}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::wire::test_support::unhex;

    #[test]
    fn published_vectors_decode_and_the_shortest_ones_encode_back() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/varint.json")).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let bytes = unhex(case["hex"].as_str().unwrap());
            let value: u64 = case["value_str"].as_str().unwrap().parse().unwrap();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value), "{case}");
            assert!(reader.is_empty(), "{case}");
            let mut buf = [0; 8];
            let mut writer = Writer::new(&mut buf);
            writer.varint(value);
            assert_eq!(writer.position(), size(value));
            assert_eq!(writer.written() == bytes, case["minimal"].as_bool().unwrap(), "{case}");
            for end in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..end]).varint(), Err(UnexpectedEnd));
            }
        }
    }

    #[test]
    fn numbers_above_the_maximum_are_refused() {
        assert_eq!(VarInt::try_from(MAX).map(u64::from), Ok(MAX));
        assert_eq!(VarInt::try_from(MAX + 1), Err(TooLarge));
    }

    #[test]
    fn data_and_its_length_field_fill_the_room() {
        assert_eq!(fit_with_length(0), None);
        for room in 1..20_000 {
            let len = fit_with_length(room).unwrap();
            assert!(len + size(len as u64) <= room);
            assert!(len + 1 + size(len as u64 + 1) > room);
        }
    }
}
