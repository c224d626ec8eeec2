//! HTTP/3 frames (RFC 9114 section 7): what a stream's bytes mean before anyone asks whether they
//! are allowed there.
//!
//! [`FrameDecoder`] takes bytes as they arrive. Each frame is announced by its header before any
//! of its payload is kept, so that the owner of the stream can refuse it; content passes through
//! without a copy, and frames of unknown types pass by without being stored.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::{ConnectionFault, Violation};
use super::settings::Settings;
use super::varint::{self, Partial};

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
const CANCEL_PUSH: u64 = 0x03;
const SETTINGS: u64 = 0x04;
const PUSH_PROMISE: u64 = 0x05;
const GOAWAY: u64 = 0x07;
const MAX_PUSH_ID: u64 = 0x0d;

/// The largest SETTINGS payload that is read. Stops a peer from making us keep and compare
/// thousands of settings that mean nothing.
pub const MAX_SETTINGS_PAYLOAD: u64 = 4096;
/// A frame that holds one identifier is as long as a variable-length integer can be.
const ID_PAYLOAD: std::ops::RangeInclusive<u64> = 1..=8;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Content.
    Data,
    /// A field section.
    Headers,
    /// A push is not wanted, or will not come.
    CancelPush,
    /// What the sender can take.
    Settings,
    /// A request the server will answer without being asked.
    PushPromise,
    /// The sender begins to shut down.
    Goaway,
    /// How many pushes the client takes.
    MaxPushId,
    /// An extension, or padding: skipped.
    Unknown,
}

impl FrameKind {
    // req 9114-7.2.8-203, 9114-7.2.8-204, 9114-9-208
    fn from_wire(value: u64) -> Result<Self, ConnectionFault> {
        match value {
            DATA => Ok(Self::Data),
            HEADERS => Ok(Self::Headers),
            CANCEL_PUSH => Ok(Self::CancelPush),
            SETTINGS => Ok(Self::Settings),
            PUSH_PROMISE => Ok(Self::PushPromise),
            GOAWAY => Ok(Self::Goaway),
            MAX_PUSH_ID => Ok(Self::MaxPushId),
            0x02 | 0x06 | 0x08 | 0x09 => Err(Violation::Http2FrameType.into()),
            _ => Ok(Self::Unknown),
        }
    }
}

/// Type and length of a frame whose payload follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The frame type.
    pub kind: FrameKind,
    /// The length of the payload in bytes.
    pub length: u64,
}

/// What a stream of frames is made of, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameEvent {
    /// A frame begins. Comes before every other event of the frame, and alone for PUSH_PROMISE and
    /// unknown types, whose payload is skipped.
    Start(FrameHeader),
    /// A piece of a DATA frame, never empty; shares the memory it arrived in.
    Data(Bytes),
    /// A whole encoded field section, in memory of its own.
    Headers(Bytes),
    /// A HEADERS frame exceeds the limit; its payload is skipped.
    HeadersTooLarge,
    /// A whole SETTINGS frame.
    Settings(Settings),
    /// A GOAWAY frame: a stream ID from a server, a push ID from a client.
    Goaway(u64),
    /// A CANCEL_PUSH frame: the push ID.
    CancelPush(u64),
    /// A MAX_PUSH_ID frame: the push ID.
    MaxPushId(u64),
}

/// Turns the bytes of one stream into [`FrameEvent`]s, in whatever chunks they arrive.
#[derive(Debug)]
pub struct FrameDecoder {
    state: State,
    max_headers: u64,
}

#[derive(Debug)]
enum State {
    Type(Partial),
    Length {
        kind: FrameKind,
        partial: Partial,
    },
    /// A frame that is only understood whole.
    Collect {
        kind: Whole,
        missing: u64,
        payload: BytesMut,
    },
    Data {
        left: u64,
    },
    TooLarge {
        length: u64,
    },
    Skip {
        left: u64,
    },
}

/// Frames that are kept until they are complete.
#[derive(Debug, Clone, Copy)]
enum Whole {
    Headers,
    Settings,
    Goaway,
    CancelPush,
    MaxPushId,
}

impl FrameDecoder {
    /// A decoder that keeps encoded field sections of up to `max_headers` bytes.
    pub fn new(max_headers: u64) -> Self {
        Self { state: State::Type(Partial::default()), max_headers }
    }

    /// The next event of the stream, taking from the front of `chunk` what belongs to it. `None`
    /// means that `chunk` is used up and more bytes are needed.
    pub fn next(&mut self, chunk: &mut Bytes) -> Result<Option<FrameEvent>, ConnectionFault> {
        loop {
            match &mut self.state {
                State::Type(partial) => {
                    let Some(value) = partial.read(chunk) else { return Ok(None) };
                    let kind = FrameKind::from_wire(value)?;
                    self.state = State::Length { kind, partial: Partial::default() };
                }
                State::Length { kind, partial } => {
                    let Some(length) = partial.read(chunk) else { return Ok(None) };
                    let header = FrameHeader { kind: *kind, length };
                    self.state = State::payload_of(header, self.max_headers)?;
                    return Ok(Some(FrameEvent::Start(header)));
                }
                State::Collect { kind, missing, payload } => {
                    move_bytes(chunk, missing, payload);
                    if *missing > 0 {
                        return Ok(None);
                    }
                    let event = whole(*kind, std::mem::take(payload).freeze())?;
                    self.state = State::NEXT_FRAME;
                    return Ok(Some(event));
                }
                State::Data { left } => {
                    let piece = split_up_to(chunk, left);
                    let is_done = *left == 0;
                    if is_done {
                        self.state = State::NEXT_FRAME;
                    }
                    if !piece.is_empty() {
                        return Ok(Some(FrameEvent::Data(piece)));
                    }
                    if !is_done {
                        return Ok(None);
                    }
                }
                State::TooLarge { length } => {
                    self.state = State::Skip { left: *length };
                    return Ok(Some(FrameEvent::HeadersTooLarge));
                }
                State::Skip { left } => {
                    split_up_to(chunk, left);
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::NEXT_FRAME;
                }
            }
        }
    }

    /// Call when the stream ended cleanly and [`FrameDecoder::next`] has nothing left: a frame that
    /// is cut short is an error.
    // req 9114-7.1-149
    pub fn finish(&self) -> Result<(), ConnectionFault> {
        match self.state {
            State::Type(partial) if !partial.is_begun() => Ok(()),
            State::Type(_)
            | State::Length { .. }
            | State::Collect { .. }
            | State::Data { .. }
            | State::TooLarge { .. }
            | State::Skip { .. } => Err(Violation::FrameTruncated.into()),
        }
    }
}

impl State {
    const NEXT_FRAME: Self = Self::Type(Partial::EMPTY);

    // req 9114-7.1-147, 9114-7.1-148
    fn payload_of(header: FrameHeader, max_headers: u64) -> Result<Self, ConnectionFault> {
        let FrameHeader { kind, length } = header;
        match kind {
            FrameKind::Data => Ok(Self::Data { left: length }),
            FrameKind::Headers if length > max_headers => Ok(Self::TooLarge { length }),
            FrameKind::Headers => Ok(Self::collect(Whole::Headers, length)),
            FrameKind::Settings if length > MAX_SETTINGS_PAYLOAD => {
                Err(Violation::ControlFrameTooLarge.into())
            }
            FrameKind::Settings => Ok(Self::collect(Whole::Settings, length)),
            FrameKind::Goaway => Self::identifier(Whole::Goaway, length),
            FrameKind::CancelPush => Self::identifier(Whole::CancelPush, length),
            FrameKind::MaxPushId => Self::identifier(Whole::MaxPushId, length),
            FrameKind::PushPromise | FrameKind::Unknown => Ok(Self::Skip { left: length }),
        }
    }

    fn collect(kind: Whole, length: u64) -> Self {
        // Nothing is reserved yet: a length is a claim, memory is for bytes that came.
        Self::Collect { kind, missing: length, payload: BytesMut::new() }
    }

    fn identifier(kind: Whole, length: u64) -> Result<Self, ConnectionFault> {
        if !ID_PAYLOAD.contains(&length) {
            return Err(Violation::FramePayloadLength.into());
        }
        Ok(Self::collect(kind, length))
    }
}

// req 9114-7.1-146, 9114-10.8-222
fn whole(kind: Whole, payload: Bytes) -> Result<FrameEvent, ConnectionFault> {
    match kind {
        Whole::Headers => Ok(FrameEvent::Headers(payload)),
        Whole::Settings => Settings::decode(payload).map(FrameEvent::Settings),
        Whole::Goaway => identifier(payload).map(FrameEvent::Goaway),
        Whole::CancelPush => identifier(payload).map(FrameEvent::CancelPush),
        Whole::MaxPushId => identifier(payload).map(FrameEvent::MaxPushId),
    }
}

fn identifier(mut payload: Bytes) -> Result<u64, ConnectionFault> {
    match varint::take(&mut payload) {
        Some(id) if payload.is_empty() => Ok(id),
        _ => Err(Violation::FramePayloadLength.into()),
    }
}

/// Copies up to `missing` bytes, so that what is kept for the life of a message does not pin the
/// packets it came in.
fn move_bytes(chunk: &mut Bytes, missing: &mut u64, payload: &mut BytesMut) {
    payload.put(split_up_to(chunk, missing));
}

fn split_up_to(chunk: &mut Bytes, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).map_or(chunk.remaining(), |n| n.min(chunk.remaining()));
    *left -= count as u64;
    chunk.split_to(count)
}

/// The type and length that go before `length` bytes of content.
pub fn data_header(length: u64) -> Bytes {
    header(DATA, length, 0).freeze()
}

/// A whole HEADERS frame.
pub fn headers(section: &[u8]) -> Bytes {
    let mut out = header(HEADERS, section.len() as u64, section.len());
    out.put_slice(section);
    out.freeze()
}

/// A whole SETTINGS frame; see [`Settings::encode`].
pub(crate) fn settings(payload: &[u8], out: &mut BytesMut) {
    put_header(SETTINGS, payload.len() as u64, out);
    out.put_slice(payload);
}

/// A whole GOAWAY frame: `id` is a stream ID from a server, a push ID from a client.
pub fn goaway(id: u64) -> Bytes {
    let mut payload = BytesMut::with_capacity(8);
    varint::put(id, &mut payload);
    let mut out = header(GOAWAY, payload.len() as u64, payload.len());
    out.put(payload);
    out.freeze()
}

/// A frame of a reserved type, chosen by `seed`, that any receiver skips: for padding, and to keep
/// peers tolerant (RFC 9114 section 7.2.8).
// req 9114-7.2.8-202
pub fn reserved(seed: u64, payload: &[u8]) -> Bytes {
    let mut out = header(varint::reserved(seed), payload.len() as u64, payload.len());
    out.put_slice(payload);
    out.freeze()
}

fn header(kind: u64, length: u64, room: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(16 + room);
    put_header(kind, length, &mut out);
    out
}

fn put_header(kind: u64, length: u64, out: &mut BytesMut) {
    varint::put(kind, out);
    varint::put(length, out);
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
