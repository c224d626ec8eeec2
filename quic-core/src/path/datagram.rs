//! Datagrams as the caller sees them: what arrives with one, and where one goes.

use std::net::{IpAddr, SocketAddr};

/// Names one of the sockets that an endpoint receives from; what the number means is up to its
/// owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

impl SocketId {
    /// The one socket of an endpoint that has no other.
    pub const FIRST: Self = Self(0);
}

/// What is known of a received UDP datagram beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramMeta {
    /// The socket it came in by. Answers leave by the same one.
    pub socket: SocketId,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The address of ours that it was sent to, if the socket tells. Answers leave from there.
    pub local_ip: Option<IpAddr>,
    /// The ECN field of its IP header; `None` for Not-ECT and where the socket does not tell.
    pub ecn: Option<Ecn>,
}

impl DatagramMeta {
    /// A datagram from `remote` of which nothing else is known.
    pub const fn new(remote: SocketAddr) -> Self {
        Self { socket: SocketId::FIRST, remote, local_ip: None, ecn: None }
    }
}

/// The ECN codepoints of an IP header that say something (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// ECN-capable transport, the codepoint that we send.
    Ect0,
    /// ECN-capable transport, the other codepoint.
    Ect1,
    /// A router on the way saw congestion.
    Ce,
}

impl Ecn {
    /// Reads the two low bits of `field` (the traffic class or TOS byte); `None` for Not-ECT.
    pub const fn from_bits(field: u8) -> Option<Self> {
        match field & 0b11 {
            0b10 => Some(Self::Ect0),
            0b01 => Some(Self::Ect1),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }

    /// The two low bits of the traffic class or TOS byte.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ect0 => 0b10,
            Self::Ect1 => 0b01,
            Self::Ce => 0b11,
        }
    }
}

/// Datagrams to be sent: one, or a train of equal size for one send call with segmentation
/// offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send by.
    pub socket: SocketId,
    /// Where to.
    pub remote: SocketAddr,
    /// The address of ours to send from, if it matters.
    pub local_ip: Option<IpAddr>,
    /// The ECN field of the IP headers.
    pub ecn: Option<Ecn>,
    /// Bytes of each datagram of a train, the last of which may be shorter; `None` for a single
    /// datagram.
    pub segment_size: Option<usize>,
    /// Bytes of all datagrams together, at the start of the buffer that was handed in.
    pub len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_codepoints_survive_the_trip_through_an_ip_header() {
        for ecn in [Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            assert_eq!(Ecn::from_bits(ecn.bits()), Some(ecn));
            // The six bits above are the DSCP.
            assert_eq!(Ecn::from_bits(0b1011_1000 | ecn.bits()), Some(ecn));
        }
        assert_eq!(Ecn::from_bits(0b1111_1100), None);
    }
}
