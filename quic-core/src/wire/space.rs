//! Packet number spaces (RFC 9000, section 12.3).

use std::fmt;

/// A packet number space: packets of different spaces are numbered, protected, acknowledged and
/// lost independently of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpaceId {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 0-RTT and 1-RTT packets.
    Data,
}

impl SpaceId {
    /// All spaces, in the order in which a connection goes through them.
    pub const ALL: [Self; 3] = [Self::Initial, Self::Handshake, Self::Data];

    /// 0, 1 or 2, in the order of [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        match self {
            Self::Initial => 0,
            Self::Handshake => 1,
            Self::Data => 2,
        }
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "Initial",
            Self::Handshake => "Handshake",
            Self::Data => "application data",
        })
    }
}
