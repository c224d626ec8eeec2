//! Frames that carry and end the data of streams (RFC 9000, sections 19.4, 19.5 and 19.8).

use super::field::integer_frame;
use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint;
use crate::wire::{ApplicationErrorCode, FrameType, StreamId};

integer_frame! {
    /// RESET_STREAM: the sender of a stream ends it early and resends nothing of it.
    ResetStream = RESET_STREAM {
        /// The stream.
        stream_id: StreamId,
        /// Why it ends.
        error_code: ApplicationErrorCode,
        /// How many bytes of the stream count against flow control.
        final_size: u64,
    }
}

integer_frame! {
    /// STOP_SENDING: the receiver of a stream throws its data away and asks for its end.
    StopSending = STOP_SENDING {
        /// The stream.
        stream_id: StreamId,
        /// Why the data is not wanted.
        error_code: ApplicationErrorCode,
    }
}

/// STREAM: a piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The stream.
    pub stream_id: StreamId,
    /// Position of the first byte of `data` in the stream.
    pub offset: u64,
    /// True if the stream ends with the last byte of `data`.
    pub fin: bool,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Stream<'a> {
    /// Reads what follows the frame type, whose low bits tell which fields there are.
    #[inline]
    pub(super) fn decode(ty: u64, reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let stream_id = StreamId::from_varint(reader.varint()?);
        let offset = match ty & FrameType::STREAM_OFF {
            0 => 0,
            _ => reader.varint()?,
        };
        let data = match ty & FrameType::STREAM_LEN {
            0 => reader.rest(),
            _ => reader.length_prefixed()?,
        };
        // req 9000-19.8-447
        if offset + data.len() as u64 > varint::MAX {
            return Err(Violation::StreamDataBeyondMaximum);
        }
        Ok(Self { stream_id, offset, fin: ty & FrameType::STREAM_FIN != 0, data })
    }

    /// Position in the stream after the last byte of `data`.
    #[inline]
    pub fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    fn header(&self) -> StreamHeader {
        StreamHeader {
            stream_id: self.stream_id,
            offset: self.offset,
            fin: self.fin,
            len: Some(self.data.len()),
        }
    }

    /// Length in bytes of the whole frame with a length field.
    pub fn size(&self) -> usize {
        self.header().size() + self.data.len()
    }

    /// Writes the whole frame with a length field.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.header().encode(writer);
        writer.bytes(self.data);
    }
}

/// The part of a STREAM frame before its data, for senders that copy the data themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// The stream.
    pub stream_id: StreamId,
    /// Position of the first byte of data in the stream.
    pub offset: u64,
    /// True if the stream ends with the last byte of data.
    pub fin: bool,
    /// Number of bytes of data; `None` if they fill the rest of the packet.
    pub len: Option<usize>,
}

impl StreamHeader {
    /// Length of the header in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        let len = self.len.map_or(0, |len| varint::size(len as u64));
        Self::size_without_len(self.stream_id, self.offset) + len
    }

    #[inline]
    fn size_without_len(stream_id: StreamId, offset: u64) -> usize {
        let offset = if offset > 0 { varint::size(offset) } else { 0 };
        1 + varint::size(stream_id.into_inner()) + offset
    }

    /// How many bytes of data fit into a frame of at most `room` bytes that tells its length.
    ///
    /// `None` if not even the header of an empty frame fits.
    #[inline]
    pub fn data_capacity(stream_id: StreamId, offset: u64, room: usize) -> Option<usize> {
        let room = room.checked_sub(Self::size_without_len(stream_id, offset))?;
        varint::fit_with_length(room)
    }

    /// How many bytes of data fit into a frame of at most `room` bytes without a length field.
    ///
    /// `None` if not even the header of an empty frame fits.
    #[inline]
    pub fn data_capacity_to_end(stream_id: StreamId, offset: u64, room: usize) -> Option<usize> {
        room.checked_sub(Self::size_without_len(stream_id, offset))
    }

    /// Writes the header; `len` bytes of data, or data up to the end of the packet, must follow.
    #[inline]
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let fin = if self.fin { FrameType::STREAM_FIN } else { 0 };
        let off = if self.offset > 0 { FrameType::STREAM_OFF } else { 0 };
        let len = if self.len.is_some() { FrameType::STREAM_LEN } else { 0 };
        writer.varint(FrameType::STREAM.0 | fin | off | len);
        writer.varint(self.stream_id.into_inner());
        if self.offset > 0 {
            writer.varint(self.offset);
        }
        if let Some(len) = self.len {
            writer.varint(len as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_length_takes_the_rest_of_the_packet() {
        let header = StreamHeader {
            stream_id: StreamId::from_u64(4).unwrap(),
            offset: 70,
            fin: true,
            len: None,
        };
        let mut buf = [0; 8];
        let mut writer = Writer::new(&mut buf);
        header.encode(&mut writer);
        assert_eq!(writer.position(), header.size());
        writer.bytes(b"abcd");
        assert_eq!(buf, [0x0d, 4, 0x40, 70, b'a', b'b', b'c', b'd']);
        let frame = Stream::decode(u64::from(buf[0]), &mut Reader::new(&buf[1..])).unwrap();
        assert_eq!((frame.offset, frame.fin, frame.data), (70, true, &b"abcd"[..]));
        assert_eq!(frame.end(), 74);
    }

    #[test]
    fn capacity_is_what_fits_with_and_without_a_length() {
        let id = StreamId::from_u64(0).unwrap();
        for offset in [0, 1, 100, 1 << 40] {
            for room in 0..300 {
                let fits = |len: usize, explicit: bool| {
                    let len_field = explicit.then_some(len);
                    let header = StreamHeader { stream_id: id, offset, fin: false, len: len_field };
                    header.size() + len <= room
                };
                match StreamHeader::data_capacity(id, offset, room) {
                    Some(len) => assert!(fits(len, true) && !fits(len + 1, true)),
                    None => assert!(!fits(0, true)),
                }
                match StreamHeader::data_capacity_to_end(id, offset, room) {
                    Some(len) => assert!(fits(len, false) && !fits(len + 1, false)),
                    None => assert!(!fits(0, false)),
                }
            }
        }
    }
}
