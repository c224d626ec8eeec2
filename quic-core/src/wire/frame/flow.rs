//! Frames that raise limits, and frames that tell that a limit is felt (RFC 9000, sections 19.9 to
//! 19.14).

use super::field::integer_frame;
use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint;
use crate::wire::{Dir, FrameType, StreamId};

integer_frame! {
    /// MAX_DATA: how many bytes the connection may carry in all.
    MaxData = MAX_DATA {
        /// Bytes, summed over all streams.
        maximum_data: u64,
    }
}

integer_frame! {
    /// MAX_STREAM_DATA: how many bytes a stream may carry in all.
    MaxStreamData = MAX_STREAM_DATA {
        /// The stream.
        stream_id: StreamId,
        /// Bytes since the start of the stream.
        maximum_stream_data: u64,
    }
}

integer_frame! {
    /// DATA_BLOCKED: there is more to send than the connection's limit allows.
    DataBlocked = DATA_BLOCKED {
        /// The limit that was reached, in bytes.
        maximum_data: u64,
    }
}

integer_frame! {
    /// STREAM_DATA_BLOCKED: there is more to send than a stream's limit allows.
    StreamDataBlocked = STREAM_DATA_BLOCKED {
        /// The stream.
        stream_id: StreamId,
        /// The limit that was reached, in bytes.
        maximum_stream_data: u64,
    }
}

/// MAX_STREAMS: how many streams of one direction may be opened in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreams {
    /// Which streams the limit is for.
    pub dir: Dir,
    /// Number of streams since the connection began, at most [`StreamId::MAX_COUNT`].
    pub maximum_streams: u64,
}

impl MaxStreams {
    pub(super) fn decode(dir: Dir, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(Self { dir, maximum_streams: stream_count(reader)? })
    }

    const fn ty(&self) -> FrameType {
        match self.dir {
            Dir::Bi => FrameType::MAX_STREAMS_BIDI,
            Dir::Uni => FrameType::MAX_STREAMS_UNI,
        }
    }

    /// Length of the whole frame in bytes.
    pub fn size(&self) -> usize {
        1 + varint::size(self.maximum_streams)
    }

    /// Writes the whole frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(self.ty().0);
        writer.varint(self.maximum_streams);
    }
}

/// STREAMS_BLOCKED: a stream cannot be opened because of the limit on their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsBlocked {
    /// Which streams the limit is for.
    pub dir: Dir,
    /// The limit that was reached, at most [`StreamId::MAX_COUNT`].
    pub maximum_streams: u64,
}

impl StreamsBlocked {
    pub(super) fn decode(dir: Dir, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(Self { dir, maximum_streams: stream_count(reader)? })
    }

    const fn ty(&self) -> FrameType {
        match self.dir {
            Dir::Bi => FrameType::STREAMS_BLOCKED_BIDI,
            Dir::Uni => FrameType::STREAMS_BLOCKED_UNI,
        }
    }

    /// Length of the whole frame in bytes.
    pub fn size(&self) -> usize {
        1 + varint::size(self.maximum_streams)
    }

    /// Writes the whole frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(self.ty().0);
        writer.varint(self.maximum_streams);
    }
}

/// A number of streams whose last stream ID would not fit into a variable-length integer is wrong.
// req 9000-4.6-033, 9000-19.11-454, 9000-19.14-462
fn stream_count(reader: &mut Reader<'_>) -> Result<u64, Violation> {
    let count = reader.varint()?;
    if count > StreamId::MAX_COUNT { Err(Violation::StreamCountTooLarge) } else { Ok(count) }
}
