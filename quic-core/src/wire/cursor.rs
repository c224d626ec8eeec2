//! Reading from and writing to byte slices without ever leaving them.

use std::fmt;

use super::varint;

/// The input ended before the value that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnexpectedEnd;

impl fmt::Display for UnexpectedEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unexpected end of input")
    }
}

impl std::error::Error for UnexpectedEnd {}

/// Reads values from the front of a byte slice.
///
/// A read that fails takes nothing. Values borrowed from the reader live as long as the slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    #[inline]
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input, len: input.len() }
    }

    /// Number of bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// True when every byte has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Number of bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The bytes not yet read, without reading them.
    #[inline]
    pub fn peek_rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads everything that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Reads `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], UnexpectedEnd> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(UnexpectedEnd)?;
        self.rest = tail;
        Ok(*head)
    }

    /// Reads `n` bytes.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], UnexpectedEnd> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(UnexpectedEnd)?;
        self.rest = tail;
        Ok(head)
    }

    /// Reads one byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, UnexpectedEnd> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Reads a 16-bit number in network byte order.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, UnexpectedEnd> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a 32-bit number in network byte order.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, UnexpectedEnd> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a variable-length integer of any encoded length (RFC 9000, section 16).
    #[inline]
    pub fn varint(&mut self) -> Result<u64, UnexpectedEnd> {
        let first = *self.rest.first().ok_or(UnexpectedEnd)?;
        match first >> 6 {
            0 => self.u8().map(u64::from),
            1 => self.u16().map(|value| u64::from(value & 0x3fff)),
            2 => self.u32().map(|value| u64::from(value & 0x3fff_ffff)),
            _ => self.array().map(|bytes| u64::from_be_bytes(bytes) & varint::MAX),
        }
    }

    /// Reads a byte string that is preceded by its length as a variable-length integer.
    #[inline]
    pub fn length_prefixed(&mut self) -> Result<&'a [u8], UnexpectedEnd> {
        let mut ahead = self.clone();
        let len = usize::try_from(ahead.varint()?).map_err(|_| UnexpectedEnd)?;
        let bytes = ahead.bytes(len)?;
        *self = ahead;
        Ok(bytes)
    }
}

/// Writes values one after another into a byte slice.
///
/// The caller makes sure that there is room, by comparing [`remaining`](Self::remaining) with the
/// `size` of what it is about to write. A write that does not fit panics in debug builds and
/// writes nothing in release builds.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    position: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `buf`.
    #[inline]
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, position: 0 }
    }

    /// Number of bytes that can still be written.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.buf.len() - self.position
    }

    /// Number of bytes written so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes written so far.
    #[inline]
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.position).unwrap_or_default()
    }

    /// The bytes written so far, for changing them in place.
    #[inline]
    pub fn written_mut(&mut self) -> &mut [u8] {
        self.buf.get_mut(..self.position).unwrap_or_default()
    }

    /// Takes the next `n` bytes of the buffer for the caller to fill, or an empty slice if there
    /// are fewer.
    #[inline]
    pub fn take(&mut self, n: usize) -> &mut [u8] {
        debug_assert!(n <= self.remaining(), "{n} bytes do not fit into {}", self.remaining());
        let start = self.position;
        match self.buf.get_mut(start..start.saturating_add(n)) {
            Some(room) => {
                self.position += n;
                room
            }
            None => &mut [],
        }
    }

    /// Writes `bytes`.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let room = self.take(bytes.len());
        if room.len() == bytes.len() {
            room.copy_from_slice(bytes);
        }
    }

    /// Writes `n` zero bytes, which in a packet payload are PADDING frames.
    pub fn zeros(&mut self, n: usize) {
        self.take(n).fill(0);
    }

    /// Writes one byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Writes a 16-bit number in network byte order.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a 32-bit number in network byte order.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes `value`, at most [`varint::MAX`], as the shortest variable-length integer.
    #[inline]
    pub fn varint(&mut self, value: u64) {
        debug_assert!(value <= varint::MAX, "{value} is too large for a variable-length integer");
        let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_be_bytes();
        match varint::size(value) {
            1 => self.bytes(&[b7]),
            2 => self.bytes(&[b6 | 0x40, b7]),
            4 => self.bytes(&[b4 | 0x80, b5, b6, b7]),
            _ => self.bytes(&[b0 | 0xc0, b1, b2, b3, b4, b5, b6, b7]),
        }
    }

    /// Writes `bytes` preceded by their number as a variable-length integer.
    #[inline]
    pub fn length_prefixed(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut reader = Reader::new(&[0x80, 1, 2]);
        assert_eq!(reader.varint(), Err(UnexpectedEnd));
        assert_eq!(reader.u32(), Err(UnexpectedEnd));
        assert_eq!(reader.bytes(4), Err(UnexpectedEnd));
        assert_eq!(reader.position(), 0);
        assert_eq!(reader.u16(), Ok(0x8001));
        assert_eq!((reader.position(), reader.remaining()), (2, 1));
        assert_eq!(reader.rest(), [2]);
        assert_eq!((reader.position(), reader.is_empty()), (3, true));

        let mut short = Reader::new(&[3, 1, 2]);
        assert_eq!(short.length_prefixed(), Err(UnexpectedEnd));
        assert_eq!(short.position(), 0);
        assert_eq!(Reader::new(&[0xff; 8]).length_prefixed(), Err(UnexpectedEnd));
    }

    #[test]
    fn writes_follow_each_other() {
        let mut buf = [0xaa; 16];
        let mut writer = Writer::new(&mut buf);
        writer.u8(1);
        writer.u16(0x0203);
        writer.u32(0x0405_0607);
        writer.length_prefixed(b"xyz");
        writer.take(1).copy_from_slice(&[9]);
        writer.zeros(2);
        assert_eq!(writer.written(), [1, 2, 3, 4, 5, 6, 7, 3, b'x', b'y', b'z', 9, 0, 0]);
        assert_eq!((writer.position(), writer.remaining()), (14, 2));
        assert_eq!(buf[14..], [0xaa, 0xaa]);
    }
}
