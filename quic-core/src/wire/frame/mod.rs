//! Frames, the contents of packets (RFC 9000, sections 12.4 and 19).
//!
//! [`Frame`] is the sum of all frames of version 1, each family of which has a file. Payloads are
//! borrowed from the packet. [`Frames`] walks over a packet; the structs write themselves.

pub mod ack;
pub mod cid;
pub mod close;
pub mod crypto;
mod field;
pub mod flow;
mod frame_type;
pub mod path;
pub mod stream;

pub use ack::{Ack, AckRanges, EcnCounts, EncodedAck, encode_ack};
pub use cid::{NewConnectionId, RetireConnectionId};
pub use close::ConnectionClose;
pub use crypto::{Crypto, CryptoHeader, NewToken};
pub use flow::{
    DataBlocked, MaxData, MaxStreamData, MaxStreams, StreamDataBlocked, StreamsBlocked,
};
pub use frame_type::FrameType;
pub use path::{PathChallenge, PathResponse};
pub use stream::{ResetStream, StopSending, Stream, StreamHeader};

use super::cursor::{Reader, Writer};
use super::{Dir, PacketType, varint};
use crate::error::{TransportError, Violation};

/// One frame of a packet. Extension frames, such as DATAGRAM, get their variants here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is described at its struct.
pub enum Frame<'a> {
    /// PADDING: this many frames of one byte in a row.
    Padding(usize),
    /// PING: asks for an acknowledgement.
    Ping,
    Ack(Ack<'a>),
    ResetStream(ResetStream),
    StopSending(StopSending),
    Crypto(Crypto<'a>),
    NewToken(NewToken<'a>),
    Stream(Stream<'a>),
    MaxData(MaxData),
    MaxStreamData(MaxStreamData),
    MaxStreams(MaxStreams),
    DataBlocked(DataBlocked),
    StreamDataBlocked(StreamDataBlocked),
    StreamsBlocked(StreamsBlocked),
    NewConnectionId(NewConnectionId),
    RetireConnectionId(RetireConnectionId),
    PathChallenge(PathChallenge),
    PathResponse(PathResponse),
    ConnectionClose(ConnectionClose<'a>),
    /// HANDSHAKE_DONE: the server confirms the handshake.
    HandshakeDone,
}

impl<'a> Frame<'a> {
    /// Reads one frame; PADDING frames in a row are read as one.
    ///
    /// # Errors
    ///
    /// FRAME_ENCODING_ERROR if the frame is unknown, ends early, or holds impossible values;
    /// PROTOCOL_VIOLATION if its type is not encoded the shortest way.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, TransportError> {
        let ty = decode_type(reader)?;
        Self::decode_body(ty, reader).map_err(|violation| in_frame(violation, ty))
    }

    #[inline]
    fn decode_body(ty: FrameType, reader: &mut Reader<'a>) -> Result<Self, Violation> {
        Ok(match ty.0 {
            0x00 => Self::Padding(skip_padding(reader)),
            0x01 => Self::Ping,
            0x02 => Self::Ack(Ack::decode(reader)?),
            0x03 => Self::Ack(Ack::decode_with_ecn(reader)?),
            0x04 => Self::ResetStream(ResetStream::decode(reader)?),
            0x05 => Self::StopSending(StopSending::decode(reader)?),
            0x06 => Self::Crypto(Crypto::decode(reader)?),
            0x07 => Self::NewToken(NewToken::decode(reader)?),
            0x08..=FrameType::STREAM_LAST => Self::Stream(Stream::decode(ty.0, reader)?),
            0x10 => Self::MaxData(MaxData::decode(reader)?),
            0x11 => Self::MaxStreamData(MaxStreamData::decode(reader)?),
            0x12 => Self::MaxStreams(MaxStreams::decode(Dir::Bi, reader)?),
            0x13 => Self::MaxStreams(MaxStreams::decode(Dir::Uni, reader)?),
            0x14 => Self::DataBlocked(DataBlocked::decode(reader)?),
            0x15 => Self::StreamDataBlocked(StreamDataBlocked::decode(reader)?),
            0x16 => Self::StreamsBlocked(StreamsBlocked::decode(Dir::Bi, reader)?),
            0x17 => Self::StreamsBlocked(StreamsBlocked::decode(Dir::Uni, reader)?),
            0x18 => Self::NewConnectionId(NewConnectionId::decode(reader)?),
            0x19 => Self::RetireConnectionId(RetireConnectionId::decode(reader)?),
            0x1a => Self::PathChallenge(PathChallenge::decode(reader)?),
            0x1b => Self::PathResponse(PathResponse::decode(reader)?),
            0x1c => Self::ConnectionClose(ConnectionClose::decode_transport(reader)?),
            0x1d => Self::ConnectionClose(ConnectionClose::decode_application(reader)?),
            0x1e => Self::HandshakeDone,
            // req 9000-12.4-292
            _ => return Err(Violation::FrameUnknown),
        })
    }

    /// The type under which [`encode`](Self::encode) writes the frame.
    pub fn ty(&self) -> FrameType {
        match self {
            Self::Padding(_) => FrameType::PADDING,
            Self::Ping => FrameType::PING,
            Self::Ack(ack) => ack.ty(),
            Self::ResetStream(_) => FrameType::RESET_STREAM,
            Self::StopSending(_) => FrameType::STOP_SENDING,
            Self::Crypto(_) => FrameType::CRYPTO,
            Self::NewToken(_) => FrameType::NEW_TOKEN,
            Self::Stream(_) => FrameType::STREAM,
            Self::MaxData(_) => FrameType::MAX_DATA,
            Self::MaxStreamData(_) => FrameType::MAX_STREAM_DATA,
            Self::MaxStreams(MaxStreams { dir: Dir::Bi, .. }) => FrameType::MAX_STREAMS_BIDI,
            Self::MaxStreams(MaxStreams { dir: Dir::Uni, .. }) => FrameType::MAX_STREAMS_UNI,
            Self::DataBlocked(_) => FrameType::DATA_BLOCKED,
            Self::StreamDataBlocked(_) => FrameType::STREAM_DATA_BLOCKED,
            Self::StreamsBlocked(StreamsBlocked { dir: Dir::Bi, .. }) => {
                FrameType::STREAMS_BLOCKED_BIDI
            }
            Self::StreamsBlocked(StreamsBlocked { dir: Dir::Uni, .. }) => {
                FrameType::STREAMS_BLOCKED_UNI
            }
            Self::NewConnectionId(_) => FrameType::NEW_CONNECTION_ID,
            Self::RetireConnectionId(_) => FrameType::RETIRE_CONNECTION_ID,
            Self::PathChallenge(_) => FrameType::PATH_CHALLENGE,
            Self::PathResponse(_) => FrameType::PATH_RESPONSE,
            Self::ConnectionClose(close) => close.ty(),
            Self::HandshakeDone => FrameType::HANDSHAKE_DONE,
        }
    }

    /// Length in bytes of what [`encode`](Self::encode) writes.
    pub fn size(&self) -> usize {
        match self {
            Self::Padding(len) => *len,
            Self::Ping | Self::HandshakeDone => 1,
            Self::Ack(frame) => frame.size(),
            Self::ResetStream(frame) => frame.size(),
            Self::StopSending(frame) => frame.size(),
            Self::Crypto(frame) => frame.size(),
            Self::NewToken(frame) => frame.size(),
            Self::Stream(frame) => frame.size(),
            Self::MaxData(frame) => frame.size(),
            Self::MaxStreamData(frame) => frame.size(),
            Self::MaxStreams(frame) => frame.size(),
            Self::DataBlocked(frame) => frame.size(),
            Self::StreamDataBlocked(frame) => frame.size(),
            Self::StreamsBlocked(frame) => frame.size(),
            Self::NewConnectionId(frame) => frame.size(),
            Self::RetireConnectionId(frame) => frame.size(),
            Self::PathChallenge(frame) => frame.size(),
            Self::PathResponse(frame) => frame.size(),
            Self::ConnectionClose(frame) => frame.size(),
        }
    }

    /// Writes the frame the shortest way, STREAM with a length field.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Padding(len) => writer.zeros(*len),
            Self::Ping | Self::HandshakeDone => writer.varint(self.ty().0),
            Self::Ack(frame) => frame.encode(writer),
            Self::ResetStream(frame) => frame.encode(writer),
            Self::StopSending(frame) => frame.encode(writer),
            Self::Crypto(frame) => frame.encode(writer),
            Self::NewToken(frame) => frame.encode(writer),
            Self::Stream(frame) => frame.encode(writer),
            Self::MaxData(frame) => frame.encode(writer),
            Self::MaxStreamData(frame) => frame.encode(writer),
            Self::MaxStreams(frame) => frame.encode(writer),
            Self::DataBlocked(frame) => frame.encode(writer),
            Self::StreamDataBlocked(frame) => frame.encode(writer),
            Self::StreamsBlocked(frame) => frame.encode(writer),
            Self::NewConnectionId(frame) => frame.encode(writer),
            Self::RetireConnectionId(frame) => frame.encode(writer),
            Self::PathChallenge(frame) => frame.encode(writer),
            Self::PathResponse(frame) => frame.encode(writer),
            Self::ConnectionClose(frame) => frame.encode(writer),
        }
    }
}

/// Reads the type of a frame.
#[inline]
fn decode_type(reader: &mut Reader<'_>) -> Result<FrameType, TransportError> {
    let before = reader.position();
    let ty = reader.varint().map_err(|_| TransportError::new(Violation::FrameTruncated))?;
    // req 9000-12.4-293, 9000-12.4-294
    if reader.position() - before != varint::size(ty) {
        return Err(in_frame(Violation::FrameTypeNotShortest, FrameType(ty)));
    }
    Ok(FrameType(ty))
}

#[cold]
fn in_frame(violation: Violation, ty: FrameType) -> TransportError {
    TransportError::new(violation).in_frame(ty)
}

/// Reads the PADDING frames after a first one and returns how many they are together.
fn skip_padding(reader: &mut Reader<'_>) -> usize {
    let rest = reader.peek_rest();
    let more = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
    // There are at least as many bytes as were just looked at.
    let _ = reader.bytes(more);
    1 + more
}

/// The frames of a packet, in order; stops after the first error.
///
/// An empty payload gives no frame and no error: whoever opened the packet refuses it.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: Reader<'a>,
    packet: PacketType,
}

impl<'a> Frames<'a> {
    /// The frames in the opened `payload` of a packet of type `packet`.
    #[inline]
    pub fn new(payload: &'a [u8], packet: PacketType) -> Self {
        Self { reader: Reader::new(payload), packet }
    }

    #[inline]
    fn decode_next(&mut self) -> Result<Frame<'a>, TransportError> {
        let ty = decode_type(&mut self.reader)?;
        // req 9000-12.4-291
        if ty.is_known() && !ty.is_allowed_in(self.packet) {
            return Err(in_frame(Violation::FrameNotAllowedInPacket, ty));
        }
        Frame::decode_body(ty, &mut self.reader).map_err(|violation| in_frame(violation, ty))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, TransportError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = self.decode_next();
        if frame.is_err() {
            self.reader.rest();
        }
        Some(frame)
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

#[cfg(test)]
mod tests;
