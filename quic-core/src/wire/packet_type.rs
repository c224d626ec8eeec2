//! The kinds of packets (RFC 9000, section 17).

use std::fmt;

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
