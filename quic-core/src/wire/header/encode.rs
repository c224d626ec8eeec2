//! Headers to send.

use super::{FirstByte, KeyPhase};
use crate::wire::cursor::Writer;
use crate::wire::packet_number::Truncated;
use crate::wire::{ConnectionId, PacketType, Version, varint};

/// Marks a variable-length integer of two bytes.
const TWO_BYTE_LENGTH: u16 = 0x4000;

/// Length of the Length field of the long headers we send, in bytes: it is reserved before the
/// length is known, and two bytes are enough for any packet below 16384 bytes.
const LENGTH_FIELD_LEN: usize = 2;

/// The kind of a packet with a long header and a packet number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongType<'a> {
    /// An Initial packet, which alone carries a token; servers send an empty one.
    Initial {
        /// The token.
        token: &'a [u8],
    },
    /// A 0-RTT packet.
    ZeroRtt,
    /// A Handshake packet.
    Handshake,
}

impl LongType<'_> {
    /// The kind of packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Initial { .. } => PacketType::Initial,
            Self::ZeroRtt => PacketType::ZeroRtt,
            Self::Handshake => PacketType::Handshake,
        }
    }
}

/// The header of an Initial, 0-RTT or Handshake packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// The kind of packet, and the token of an Initial packet.
    pub ty: LongType<'a>,
    /// The version.
    pub version: Version,
    /// Whom the packet is for.
    pub dcid: ConnectionId,
    /// Whom answers are for.
    pub scid: ConnectionId,
    /// The shortened packet number.
    pub packet_number: Truncated,
}

/// Where in the writer's buffer the parts of a header are that are completed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedHeader {
    /// Where the packet begins.
    pub start: usize,
    /// Where the packet number begins.
    pub pn_offset: usize,
    /// Length of the packet number in bytes.
    pub pn_len: usize,
    length: LengthField,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthField {
    /// A short header has none: its packet reaches to the end of the datagram.
    None,
    /// Two bytes before the packet number.
    BeforePacketNumber,
}

impl EncodedHeader {
    /// Where the payload begins.
    #[inline]
    pub const fn payload_offset(&self) -> usize {
        self.pn_offset + self.pn_len
    }

    /// Writes the length of a packet that ends at `packet_end`, its tag included, into its header;
    /// does nothing for short headers. Both count from the start of `buf`, as the writer did.
    #[inline]
    pub fn finish_length(&self, buf: &mut [u8], packet_end: usize) {
        match self.length {
            LengthField::None => {}
            LengthField::BeforePacketNumber => {
                let len = u16::try_from(packet_end.saturating_sub(self.pn_offset)).unwrap_or(0);
                debug_assert!(len > 0 && len < TWO_BYTE_LENGTH, "length {len}");
                let field = self.pn_offset - LENGTH_FIELD_LEN..self.pn_offset;
                if let Some(field) = buf.get_mut(field) {
                    field.copy_from_slice(&(TWO_BYTE_LENGTH | len).to_be_bytes());
                }
            }
        }
    }
}

impl LongHeader<'_> {
    /// Length in bytes up to the payload.
    pub fn size(&self) -> usize {
        let token = match self.ty {
            LongType::Initial { token } => varint::size(token.len() as u64) + token.len(),
            LongType::ZeroRtt | LongType::Handshake => 0,
        };
        let connection_ids = 1 + self.dcid.len() + 1 + self.scid.len();
        1 + 4 + connection_ids + token + LENGTH_FIELD_LEN + self.packet_number.len()
    }

    /// Writes the header. The Length field is filled in later by
    /// [`EncodedHeader::finish_length`].
    // req 9000-17.2-382: the reserved bits stay zero.
    pub fn encode(&self, writer: &mut Writer<'_>) -> EncodedHeader {
        let start = writer.position();
        let form = FirstByte::LONG | FirstByte::FIXED;
        let kind = FirstByte::long_type_bits(self.version, self.ty.packet_type());
        writer.u8(form | kind | self.packet_number.len_bits());
        encode_invariants(writer, self.version, self.dcid.as_slice(), self.scid.as_slice());
        if let LongType::Initial { token } = self.ty {
            writer.length_prefixed(token);
        }
        writer.u16(TWO_BYTE_LENGTH);
        let pn_offset = writer.position();
        self.packet_number.encode(writer);
        let pn_len = self.packet_number.len();
        EncodedHeader { start, pn_offset, pn_len, length: LengthField::BeforePacketNumber }
    }
}

/// The header of a 1-RTT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortHeader {
    /// Whom the packet is for.
    pub dcid: ConnectionId,
    /// The shortened packet number.
    pub packet_number: Truncated,
    /// The generation of keys that will protect the packet.
    pub key_phase: KeyPhase,
    /// The latency spin bit.
    pub spin: bool,
}

impl ShortHeader {
    /// Length in bytes up to the payload.
    #[inline]
    pub fn size(&self) -> usize {
        1 + self.dcid.len() + self.packet_number.len()
    }

    /// Writes the header.
    // req 9000-17.3.1-417: the reserved bits stay zero.
    #[inline]
    pub fn encode(&self, writer: &mut Writer<'_>) -> EncodedHeader {
        let start = writer.position();
        let spin = if self.spin { FirstByte::SPIN } else { 0 };
        let phase = match self.key_phase {
            KeyPhase::Zero => 0,
            KeyPhase::One => FirstByte::KEY_PHASE,
        };
        writer.u8(FirstByte::FIXED | spin | phase | self.packet_number.len_bits());
        writer.bytes(self.dcid.as_slice());
        let pn_offset = writer.position();
        self.packet_number.encode(writer);
        let pn_len = self.packet_number.len();
        EncodedHeader { start, pn_offset, pn_len, length: LengthField::None }
    }
}

/// A Version Negotiation packet to send.
///
/// Connection IDs are slices here, for they echo what a client of any version has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionNegotiationPacket<'a> {
    /// The source connection ID of the packet that is answered.
    pub dcid: &'a [u8],
    /// The destination connection ID of the packet that is answered.
    pub scid: &'a [u8],
    /// What is offered.
    pub versions: &'a [Version],
    /// Where the bits without meaning come from; should be random.
    pub unused: u8,
}

impl VersionNegotiationPacket<'_> {
    /// Length in bytes.
    pub fn size(&self) -> usize {
        1 + 4 + 1 + self.dcid.len() + 1 + self.scid.len() + 4 * self.versions.len()
    }

    /// Writes the whole packet.
    // req 9000-17.2.1-385: the fixed bit is set, so that it looks like QUIC among other protocols.
    // req 9000-17.2.1-386
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(FirstByte::LONG | FirstByte::FIXED | self.unused);
        encode_invariants(writer, Version::NEGOTIATION, self.dcid, self.scid);
        self.versions.iter().for_each(|version| writer.u32(version.0));
    }
}

/// A Retry packet to send, all but its integrity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPacket<'a> {
    /// The version.
    pub version: Version,
    /// The source connection ID of the client's Initial packet.
    pub dcid: ConnectionId,
    /// The connection ID that the client shall send to from now on.
    pub scid: ConnectionId,
    /// The token for the client to repeat, not empty.
    pub token: &'a [u8],
    /// Where the four bits without meaning come from; may be random.
    pub unused: u8,
}

impl RetryPacket<'_> {
    /// Length in bytes without the tag.
    pub fn size(&self) -> usize {
        1 + 4 + 1 + self.dcid.len() + 1 + self.scid.len() + self.token.len()
    }

    /// Writes the packet; its integrity tag of 16 bytes must follow.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        debug_assert!(!self.token.is_empty());
        let form = FirstByte::LONG | FirstByte::FIXED;
        let kind = FirstByte::long_type_bits(self.version, PacketType::Retry);
        writer.u8(form | kind | (self.unused & 0x0f));
        encode_invariants(writer, self.version, self.dcid.as_slice(), self.scid.as_slice());
        writer.bytes(self.token);
    }
}

/// Writes what follows the first byte of a long header in all versions.
fn encode_invariants(writer: &mut Writer<'_>, version: Version, dcid: &[u8], scid: &[u8]) {
    writer.u32(version.0);
    for id in [dcid, scid] {
        debug_assert!(id.len() <= 255);
        writer.u8(u8::try_from(id.len()).unwrap_or(u8::MAX));
        writer.bytes(id);
    }
}
