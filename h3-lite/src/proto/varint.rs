//! The QUIC variable-length integer (RFC 9000 section 16) as HTTP/3 frames need it: written whole,
//! read one chunk at a time, since frames may be cut anywhere.

use bytes::{Buf, BufMut, Bytes};

/// The largest value a variable-length integer can carry, 2^62-1.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// Appends `value` in its shortest form. Values above [`MAX`] are a bug of the caller.
pub(crate) fn put(value: u64, out: &mut impl BufMut) {
    debug_assert!(value <= MAX, "{value} does not fit a variable-length integer");
    match value {
        0..=0x3f => out.put_uint(value, 1),
        0x40..=0x3fff => out.put_uint(value | 0x4000, 2),
        0x4000..=0x3fff_ffff => out.put_uint(value | 0x8000_0000, 4),
        _ => out.put_uint(value | 0xc000_0000_0000_0000, 8),
    }
}

/// A value of the form `0x1f * N + 0x21`, which HTTP/3 reserves in all its registries so that
/// peers keep ignoring what they do not know.
pub(crate) fn reserved(seed: u64) -> u64 {
    const LARGEST_N: u64 = (MAX - 0x21) / 0x1f;
    0x1f * (seed % LARGEST_N) + 0x21
}

/// Reads one integer that may arrive in pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Partial {
    value: u64,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Untouched,
    Missing(u8),
}

impl Partial {
    /// Nothing read yet.
    pub(crate) const EMPTY: Self = Self { value: 0, progress: Progress::Untouched };

    /// Takes bytes from `chunk` until the integer is whole; `None` asks for more. After `Some` the
    /// reader is ready for the next integer.
    pub(crate) fn read(&mut self, chunk: &mut Bytes) -> Option<u64> {
        while chunk.has_remaining() {
            let byte = chunk.get_u8();
            let missing = match self.progress {
                Progress::Untouched => {
                    self.value = u64::from(byte & 0x3f);
                    (1_u8 << (byte >> 6)) - 1
                }
                Progress::Missing(count) => {
                    self.value = self.value << 8 | u64::from(byte);
                    count - 1
                }
            };
            if missing == 0 {
                return Some(std::mem::take(self).value);
            }
            self.progress = Progress::Missing(missing);
        }
        None
    }

    /// Whether part of an integer has been read.
    pub(crate) fn is_begun(&self) -> bool {
        self.progress != Progress::Untouched
    }
}

/// Reads one whole integer, `None` if `bytes` ends inside it.
pub(crate) fn take(bytes: &mut Bytes) -> Option<u64> {
    Partial::default().read(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_decode() {
        let cases: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(take(&mut Bytes::copy_from_slice(bytes)), Some(value));
            for end in 0..bytes.len() {
                assert_eq!(take(&mut Bytes::copy_from_slice(&bytes[..end])), None);
            }
        }
    }

    #[test]
    fn boundaries_survive_a_round_trip_byte_by_byte() {
        for value in [0, 0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, MAX] {
            let mut wire = Vec::new();
            put(value, &mut wire);
            let mut partial = Partial::default();
            let mut found = None;
            for byte in &wire {
                assert_eq!(found, None);
                found = partial.read(&mut Bytes::copy_from_slice(&[*byte]));
            }
            assert_eq!(found, Some(value));
            assert!(!partial.is_begun());
        }
    }
}
