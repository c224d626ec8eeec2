//! Received headers.

use std::ops::Range;

use super::FirstByte;
use crate::error::Discard;
use crate::wire::cursor::{Reader, UnexpectedEnd};
use crate::wire::{ConnectionId, PacketType, Version};

/// Length of the tag at the end of a Retry packet, in bytes.
const RETRY_TAG_LEN: usize = 16;

/// What the header of the first packet in a datagram tells without keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// An Initial, 0-RTT, Handshake or 1-RTT packet.
    Protected(PartialHeader),
    /// A Retry packet.
    Retry(RetryHeader<'a>),
    /// A Version Negotiation packet.
    VersionNegotiation(VersionNegotiation<'a>),
    /// A long header of a version that this crate does not know.
    UnknownVersion(UnknownVersionHeader<'a>),
}

/// The header of a packet whose protection is still in place.
///
/// All positions count from the first byte of the packet, and
/// `token.end <= pn_offset <= packet_len <= ` the length of the datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialHeader {
    /// What kind of packet it is.
    pub kind: PacketType,
    /// The version; version 1 in a short header, which does not tell.
    pub version: Version,
    /// Whom the packet is for.
    pub dcid: ConnectionId,
    /// Whom answers are for; empty in a short header, which does not tell.
    pub scid: ConnectionId,
    /// Where the token of an Initial packet is; empty in other packets.
    pub token: Range<usize>,
    /// Where the protected packet number begins.
    pub pn_offset: usize,
    // req 9000-12.2-277
    /// Where the packet ends and, in a coalesced datagram, the next one begins.
    pub packet_len: usize,
}

/// The header of a Retry packet, which takes up its whole datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryHeader<'a> {
    /// The version.
    pub version: Version,
    /// The connection ID that the client chose for itself.
    pub dcid: ConnectionId,
    /// The connection ID that the client must send to from now on.
    pub scid: ConnectionId,
    /// The token to repeat, never empty.
    pub token: &'a [u8],
    /// The packet without its integrity tag, for checking the tag.
    pub without_tag: &'a [u8],
    /// The integrity tag.
    pub tag: [u8; RETRY_TAG_LEN],
}

/// A Version Negotiation packet, which takes up its whole datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionNegotiation<'a> {
    /// The connection ID that the client chose for itself, up to 255 bytes.
    pub dcid: &'a [u8],
    /// The connection ID that the client sent to, up to 255 bytes.
    pub scid: &'a [u8],
    /// What the server offers, at least one version.
    pub versions: Versions<'a>,
}

/// The parts of a long header that are the same in all versions (RFC 8999, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVersionHeader<'a> {
    /// The version.
    pub version: Version,
    /// Whom the packet is for, up to 255 bytes.
    pub dcid: &'a [u8],
    /// Whom answers are for, up to 255 bytes.
    pub scid: &'a [u8],
}

/// The versions of a Version Negotiation packet, as an iterator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions<'a>(&'a [u8]);

impl Iterator for Versions<'_> {
    type Item = Version;

    fn next(&mut self) -> Option<Version> {
        let (version, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Version(u32::from_be_bytes(*version)))
    }
}

impl From<UnexpectedEnd> for Discard {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::HeaderTruncated
    }
}

impl<'a> Header<'a> {
    /// Reads the header of the packet at the start of `datagram`.
    ///
    /// `local_cid_len` is how long the connection IDs are that this endpoint gives out, at most 20:
    /// short headers do not tell. Packets after the first one begin at
    /// [`PartialHeader::packet_len`].
    ///
    /// # Errors
    ///
    /// Why the rest of the datagram cannot be used; to be dropped without a word.
    #[inline]
    pub fn decode(datagram: &'a [u8], local_cid_len: usize) -> Result<Self, Discard> {
        // req 9000-17.2-375, 9000-17.3.1-416
        match Self::decode_any(datagram, local_cid_len)? {
            Self::Protected(_) | Self::Retry(_)
                if !datagram.first().is_some_and(|first| FirstByte(*first).is_fixed_bit_set()) =>
            {
                Err(Discard::FixedBitZero)
            }
            header => Ok(header),
        }
    }

    /// The same, whatever the fixed bit is (RFC 9287).
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode).
    #[inline]
    pub fn decode_any(datagram: &'a [u8], local_cid_len: usize) -> Result<Self, Discard> {
        let mut reader = Reader::new(datagram);
        let first = FirstByte(reader.u8()?);
        if first.is_long() {
            decode_long(first, reader, datagram)
        } else {
            decode_short(reader, local_cid_len).map(Self::Protected)
        }
    }

    /// The destination connection ID, up to 255 bytes long in unknown versions.
    pub fn dcid(&self) -> &[u8] {
        match self {
            Self::Protected(header) => header.dcid.as_slice(),
            Self::Retry(header) => header.dcid.as_slice(),
            Self::VersionNegotiation(header) => header.dcid,
            Self::UnknownVersion(header) => header.dcid,
        }
    }
}

#[inline]
fn decode_short(mut reader: Reader<'_>, local_cid_len: usize) -> Result<PartialHeader, Discard> {
    let dcid = connection_id(reader.bytes(local_cid_len)?)?;
    let pn_offset = reader.position();
    Ok(PartialHeader {
        kind: PacketType::OneRtt,
        version: Version::V1,
        dcid,
        scid: ConnectionId::EMPTY,
        token: pn_offset..pn_offset,
        pn_offset,
        packet_len: pn_offset + reader.remaining(),
    })
}

fn decode_long<'a>(
    first: FirstByte,
    mut reader: Reader<'a>,
    datagram: &'a [u8],
) -> Result<Header<'a>, Discard> {
    let version = Version(reader.u32()?);
    let dcid = invariant_connection_id(&mut reader)?;
    let scid = invariant_connection_id(&mut reader)?;
    // req 9000-17.2.1-384, 8999-6-001: nothing else of the first byte is looked at.
    if version == Version::NEGOTIATION {
        return decode_version_negotiation(dcid, scid, reader);
    }
    // req 9000-17.2-378, 9000-17.2-381, 9000-17.2.1-389: the limits of version 1 do not hold here.
    if !version.is_known() {
        return Ok(Header::UnknownVersion(UnknownVersionHeader { version, dcid, scid }));
    }
    let (dcid, scid) = (connection_id(dcid)?, connection_id(scid)?);
    let kind = first.long_type(version);
    if kind == PacketType::Retry {
        return decode_retry(version, dcid, scid, datagram, reader);
    }
    let token = match kind {
        PacketType::Initial => {
            let token = reader.length_prefixed()?;
            reader.position() - token.len()..reader.position()
        }
        _ => reader.position()..reader.position(),
    };
    let len = reader.varint()?;
    let pn_offset = reader.position();
    let len = usize::try_from(len).ok().filter(|len| *len <= reader.remaining());
    let packet_len = pn_offset + len.ok_or(Discard::LengthBeyondDatagram)?;
    Ok(Header::Protected(PartialHeader { kind, version, dcid, scid, token, pn_offset, packet_len }))
}

fn decode_version_negotiation<'a>(
    dcid: &'a [u8],
    scid: &'a [u8],
    mut reader: Reader<'a>,
) -> Result<Header<'a>, Discard> {
    let versions = reader.rest();
    // req 8999-6-002
    if versions.is_empty() || !versions.len().is_multiple_of(4) {
        return Err(Discard::VersionsMissing);
    }
    let versions = Versions(versions);
    Ok(Header::VersionNegotiation(VersionNegotiation { dcid, scid, versions }))
}

// req 9000-17.2.5-400: the low bits of the first byte are not looked at.
fn decode_retry<'a>(
    version: Version,
    dcid: ConnectionId,
    scid: ConnectionId,
    datagram: &'a [u8],
    reader: Reader<'a>,
) -> Result<Header<'a>, Discard> {
    let (token, tag) = reader.peek_rest().split_last_chunk().ok_or(Discard::HeaderTruncated)?;
    // req 9000-17.2.5.2-409
    if token.is_empty() {
        return Err(Discard::RetryTokenEmpty);
    }
    let without_tag = datagram.get(..reader.position() + token.len()).unwrap_or_default();
    Ok(Header::Retry(RetryHeader { version, dcid, scid, token, without_tag, tag: *tag }))
}

/// A connection ID of any version: up to 255 bytes.
fn invariant_connection_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Discard> {
    let len = reader.u8()?;
    Ok(reader.bytes(usize::from(len))?)
}

/// A connection ID of version 1.
// req 9000-17.2-377, 9000-17.2-380
#[inline]
fn connection_id(bytes: &[u8]) -> Result<ConnectionId, Discard> {
    ConnectionId::new(bytes).ok_or(Discard::ConnectionIdTooLong)
}
