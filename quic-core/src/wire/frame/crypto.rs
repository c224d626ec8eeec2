//! Frames that carry the handshake and address tokens (RFC 9000, sections 19.6 and 19.7).

use crate::error::Violation;
use crate::wire::FrameType;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint;

/// CRYPTO: a piece of the handshake data of one encryption level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto<'a> {
    /// Position of the first byte of `data` in the handshake data of this level.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Crypto<'a> {
    #[inline]
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let offset = reader.varint()?;
        let data = reader.length_prefixed()?;
        // req 9000-19.6-441
        if offset + data.len() as u64 > varint::MAX {
            return Err(Violation::CryptoDataBeyondMaximum);
        }
        Ok(Self { offset, data })
    }

    fn header(&self) -> CryptoHeader {
        CryptoHeader { offset: self.offset, len: self.data.len() }
    }

    /// Length of the whole frame in bytes.
    pub fn size(&self) -> usize {
        self.header().size() + self.data.len()
    }

    /// Writes the whole frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.header().encode(writer);
        writer.bytes(self.data);
    }
}

/// The part of a CRYPTO frame before its data, for senders that copy the data themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoHeader {
    /// Position of the first byte of data in the handshake data of this level.
    pub offset: u64,
    /// Number of bytes of data.
    pub len: usize,
}

impl CryptoHeader {
    /// Length of the header in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        1 + varint::size(self.offset) + varint::size(self.len as u64)
    }

    /// How many bytes of data fit into a frame of at most `room` bytes; `None` if not even the
    /// header of an empty frame fits.
    #[inline]
    pub fn data_capacity(offset: u64, room: usize) -> Option<usize> {
        varint::fit_with_length(room.checked_sub(1 + varint::size(offset))?)
    }

    /// Writes the header; `len` bytes of data must follow.
    #[inline]
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(FrameType::CRYPTO.0);
        writer.varint(self.offset);
        writer.varint(self.len as u64);
    }
}

/// NEW_TOKEN: lets a client prove its address at the start of a later connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// Opaque to the client, never empty.
    pub token: &'a [u8],
}

impl<'a> NewToken<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let token = reader.length_prefixed()?;
        // req 9000-19.7-442, 9000-19.7-443
        if token.is_empty() { Err(Violation::NewTokenEmpty) } else { Ok(Self { token }) }
    }

    /// Length of the whole frame in bytes.
    pub fn size(&self) -> usize {
        1 + varint::size(self.token.len() as u64) + self.token.len()
    }

    /// Writes the whole frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        debug_assert!(!self.token.is_empty());
        writer.varint(FrameType::NEW_TOKEN.0);
        writer.length_prefixed(self.token);
    }
}
