//! The kinds of packets (RFC 9000, section 17).

use std::fmt;

use super::SpaceId;

/// What kind of packet it is, which decides its header, its keys and its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// First flights, protected with keys that anyone on the path can compute.
    Initial,
    /// Early data of a client, before the handshake is complete.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// Everything after the handshake; the only packet with a short header.
    OneRtt,
    /// A server asks a client to prove its address; carries no frames.
    Retry,
    /// A server lists its versions; carries no frames.
    VersionNegotiation,
}

impl PacketType {
    /// True if packets of this type have a long header.
    #[inline]
    pub const fn has_long_header(self) -> bool {
        !matches!(self, Self::OneRtt)
    }

    /// The packet number space; `None` for packets without a number.
    #[inline]
    pub const fn space(self) -> Option<SpaceId> {
        match self {
            Self::Initial => Some(SpaceId::Initial),
            Self::Handshake => Some(SpaceId::Handshake),
            Self::ZeroRtt | Self::OneRtt => Some(SpaceId::Data),
            Self::Retry | Self::VersionNegotiation => None,
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "Initial",
            Self::ZeroRtt => "0-RTT",
            Self::Handshake => "Handshake",
            Self::OneRtt => "1-RTT",
            Self::Retry => "Retry",
            Self::VersionNegotiation => "Version Negotiation",
        })
    }
}
