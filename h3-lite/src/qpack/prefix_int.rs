//! The prefixed integer of RFC 7541 section 5.1, as QPACK uses it (RFC 9204 section 4.1.1): the low
//! bits of a byte, and seven bits of each following byte when they do not suffice.

use bytes::BufMut;

/// The largest value that is decoded, 2^62-1: what a stream ID can be.
pub const MAX: u64 = (1 << 62) - 1;

/// Continuation bytes that a value up to [`MAX`] can need; longer encodings only make work.
const MAX_CONTINUATION_BYTES: u32 = 9;

/// The integer is above [`MAX`], or padded beyond the bytes such a value can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Where decoding stands after a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The integer is whole.
    Done(u64),
    /// It goes on in the next byte.
    More(Partial),
}

/// An integer of which some bytes have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    value: u64,
    bytes: u32,
}

/// Begins an integer in the low `prefix_bits` (1 to 8) of `first`; the bits above are ignored.
pub fn start(first: u8, prefix_bits: u32) -> Step {
    let mask = mask(prefix_bits);
    let value = u64::from(first) & mask;
    if value < mask { Step::Done(value) } else { Step::More(Partial { value, bytes: 0 }) }
}

impl Partial {
    /// Adds the next byte.
    // req 9204-4.1.1-022
    pub fn push(self, byte: u8) -> Result<Step, TooLarge> {
        if self.bytes >= MAX_CONTINUATION_BYTES {
            return Err(TooLarge);
        }
        // Nine bytes of seven bits are 63 bits: the sum below cannot overflow 64.
        let value = self.value + (u64::from(byte & 0x7f) << (7 * self.bytes));
        if value > MAX {
            return Err(TooLarge);
        }
        if byte & 0x80 == 0 {
            return Ok(Step::Done(value));
        }
        Ok(Step::More(Self { value, bytes: self.bytes + 1 }))
    }
}

/// Appends `value` with `flags` in the bits above the prefix.
pub fn put(flags: u8, prefix_bits: u32, value: u64, out: &mut impl BufMut) {
    let mask = mask(prefix_bits);
    debug_assert!(u64::from(flags) & mask == 0 && value <= MAX);
    if value < mask {
        out.put_u8(flags | low_byte(value));
        return;
    }
    out.put_u8(flags | low_byte(mask));
    let mut rest = value - mask;
    while rest > 0x7f {
        out.put_u8(low_byte(rest) | 0x80);
        rest >>= 7;
    }
    out.put_u8(low_byte(rest));
}

fn mask(prefix_bits: u32) -> u64 {
    debug_assert!((1..=8).contains(&prefix_bits));
    (1 << prefix_bits) - 1
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], prefix_bits: u32) -> Result<Option<u64>, TooLarge> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let mut step = start(*first, prefix_bits);
        let mut rest = rest.iter();
        loop {
            match step {
                Step::Done(value) => return Ok(Some(value)),
                Step::More(partial) => match rest.next() {
                    Some(byte) => step = partial.push(*byte)?,
                    None => return Ok(None),
                },
            }
        }
    }

    // req-test 9204-4.1.1-022
    #[test]
    fn published_integers_decode_encode_and_notice_truncation() {
        let text = include_str!("../../../tests/vectors/qpack/prefix_integer.json");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = json["cases"].as_array().unwrap();
        assert!(cases.len() >= 10);
        for case in cases {
            let value = case["value"].as_u64().unwrap();
            let prefix = u32::try_from(case["prefix_bits"].as_u64().unwrap()).unwrap();
            let wire = crate::qpack::vectors::unhex(case["hex"].as_str().unwrap());
            assert_eq!(decode(&wire, prefix), Ok(Some(value)));
            let mut out = Vec::new();
            put(0, prefix, value, &mut out);
            assert_eq!(out, wire);
            for end in 0..wire.len() {
                assert_eq!(decode(&wire[..end], prefix), Ok(None));
            }
        }
    }

    #[test]
    fn what_exceeds_62_bits_or_is_padded_for_ever_is_refused() {
        let mut over = Vec::new();
        put(0, 8, MAX, &mut over);
        over[1] += 1;
        assert_eq!(decode(&over, 8), Err(TooLarge));
        assert_eq!(decode(&[0xff; 20], 8), Err(TooLarge));
        let mut padded = vec![0xff];
        padded.extend([0x80; 30]);
        assert_eq!(decode(&padded, 8), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn any_value_survives_a_round_trip(value in 0..=MAX, prefix in 1_u32..=8) {
            let mut out = Vec::new();
            put(0, prefix, value, &mut out);
            prop_assert_eq!(decode(&out, prefix), Ok(Some(value)));
        }
    }
}
