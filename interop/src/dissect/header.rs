//! Packet headers, as far as they can be read without keys (RFC 8999, RFC 9000 section 17,
//! RFC 9369 section 3.2).

use quic_core::wire::{ConnectionId, PacketType, Reader, UnexpectedEnd, Version};

/// QUIC version 2, RFC 9369.
pub(crate) const V2: Version = Version(0x6b33_43cf);

/// The bit of the first byte that tells a long header.
const LONG: u8 = 0x80;
const RETRY_TAG_LEN: usize = 16;

/// The header of the packet at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header<'a> {
    /// Initial, 0-RTT or Handshake.
    Long(LongHeader<'a>),
    /// 1-RTT; how long its connection ID is, only its receiver knows.
    Short,
    Retry {
        version: Version,
        dcid: ConnectionId,
        scid: ConnectionId,
        token: &'a [u8],
    },
    VersionNegotiation {
        dcid: &'a [u8],
        scid: &'a [u8],
        versions: Vec<Version>,
    },
    /// A long header of another version.
    UnknownVersion {
        version: Version,
        dcid: &'a [u8],
        scid: &'a [u8],
    },
}

/// What a long header of a protected packet says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LongHeader<'a> {
    pub(super) kind: PacketType,
    pub(super) version: Version,
    pub(super) dcid: ConnectionId,
    pub(super) scid: ConnectionId,
    pub(super) token: &'a [u8],
    /// Where the protected packet number begins.
    pub(super) number_at: usize,
    /// Where the packet ends.
    pub(super) len: usize,
}

impl<'a> Header<'a> {
    /// Reads the header of the packet at the start of `bytes`; `None` if there is no packet.
    ///
    /// The fixed bit tells nothing: peers may agree to set it as they like (RFC 9287). Zeros to the
    /// end of a datagram are what some endpoints fill it up with.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        if first & LONG != 0 {
            Self::decode_long(first, Reader::new(bytes)).ok()
        } else {
            bytes.iter().any(|byte| *byte != 0).then_some(Self::Short)
        }
    }

    fn decode_long(first: u8, mut reader: Reader<'a>) -> Result<Self, UnexpectedEnd> {
        let _first = reader.u8()?;
        let version = Version(reader.u32()?);
        let dcid = connection_id(&mut reader)?;
        let scid = connection_id(&mut reader)?;
        if version == Version::NEGOTIATION {
            let mut versions = Vec::new();
            while !reader.is_empty() {
                versions.push(Version(reader.u32()?));
            }
            return Ok(Self::VersionNegotiation { dcid, scid, versions });
        }
        let Some(kind) = long_type(version, (first >> 4) & 0b11) else {
            return Ok(Self::UnknownVersion { version, dcid, scid });
        };
        let dcid = ConnectionId::new(dcid).ok_or(UnexpectedEnd)?;
        let scid = ConnectionId::new(scid).ok_or(UnexpectedEnd)?;
        if kind == PacketType::Retry {
            let token_len = reader.remaining().checked_sub(RETRY_TAG_LEN).ok_or(UnexpectedEnd)?;
            return Ok(Self::Retry { version, dcid, scid, token: reader.bytes(token_len)? });
        }
        let token = match kind {
            PacketType::Initial => reader.length_prefixed()?,
            _ => &[],
        };
        let rest = usize::try_from(reader.varint()?).map_err(|_| UnexpectedEnd)?;
        let number_at = reader.position();
        reader.bytes(rest)?;
        let len = reader.position();
        Ok(Self::Long(LongHeader { kind, version, dcid, scid, token, number_at, len }))
    }
}

fn connection_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], UnexpectedEnd> {
    let len = reader.u8()?;
    reader.bytes(len.into())
}

/// The kind of packet that the two type bits stand for; `None` in a version that is not known.
pub(super) fn long_type(version: Version, bits: u8) -> Option<PacketType> {
    const KINDS: [PacketType; 4] =
        [PacketType::Initial, PacketType::ZeroRtt, PacketType::Handshake, PacketType::Retry];
    let bits = usize::from(bits);
    match version {
        Version::V1 => KINDS.get(bits).copied(),
        V2 => KINDS.get((bits + 3) % 4).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_numbers_its_packet_types_otherwise() {
        use PacketType::{Handshake, Initial, Retry, ZeroRtt};
        let kinds = |version| [0, 1, 2, 3].map(|bits| long_type(version, bits).unwrap());
        assert_eq!(kinds(Version::V1), [Initial, ZeroRtt, Handshake, Retry]);
        assert_eq!(kinds(V2), [Retry, Initial, ZeroRtt, Handshake]);
        assert_eq!(long_type(Version(7), 0), None);
    }

    #[test]
    fn bytes_that_are_no_packet_are_told_apart() {
        assert_eq!(Header::decode(&[]), None);
        assert_eq!(Header::decode(&[0; 40]), None);
        assert_eq!(Header::decode(&[0x40]), Some(Header::Short));
        assert_eq!(Header::decode(&[0, 0, 1]), Some(Header::Short));
        // A length that goes beyond the datagram.
        assert_eq!(Header::decode(&[0xc0, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3]), None);
        // Connection IDs beyond 20 bytes exist in other versions only.
        let long = |version: u8| [&[0xe0, 0, 0, 0, version, 21][..], &[7; 21], &[0]].concat();
        assert_eq!(Header::decode(&long(1)), None);
        let unknown = Header::UnknownVersion { version: Version(9), dcid: &[7; 21], scid: &[] };
        assert_eq!(Header::decode(&long(9)), Some(unknown));
    }
}
