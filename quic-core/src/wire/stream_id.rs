//! Stream IDs: who opened the stream, in which directions it carries data, and how many of its kind
//! came before it (RFC 9000, section 2.1).

use std::fmt;
use std::ops::Not;

use super::varint;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that opened the connection.
    Client,
    /// The end that accepted the connection.
    Server,
}

impl Side {
    /// True for the client.
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }

    /// True for the server.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Server)
    }
}

impl Not for Side {
    type Output = Self;

    /// The other end.
    fn not(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// In which directions a stream carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// Both ends send.
    Bi,
    /// Only the end that opened the stream sends.
    Uni,
}

impl Dir {
    /// Both directions, for loops over tables indexed by `Dir as usize`.
    pub const ALL: [Self; 2] = [Self::Bi, Self::Uni];
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bi => "bidirectional",
            Self::Uni => "unidirectional",
        })
    }
}

/// The number of a stream, 0 to 2^62 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The largest number of streams of one kind, and thus the largest value of MAX_STREAMS.
    pub const MAX_COUNT: u64 = 1 << 60;

    /// The stream of kind (`initiator`, `dir`) that is opened after `index` others of its kind.
    ///
    /// `index` must be below [`StreamId::MAX_COUNT`]; larger ones wrap around.
    #[inline]
    pub const fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        debug_assert!(index < Self::MAX_COUNT);
        Self(((index << 2) | ((dir as u64) << 1) | initiator as u64) & varint::MAX)
    }

    /// The stream with this number, `None` above 2^62 - 1.
    #[inline]
    pub const fn from_u64(value: u64) -> Option<Self> {
        if value <= varint::MAX { Some(Self(value)) } else { None }
    }

    /// For numbers that come out of a variable-length integer.
    #[inline]
    pub(super) const fn from_varint(value: u64) -> Self {
        Self(value)
    }

    /// Which end opened the stream.
    #[inline]
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// In which directions the stream carries data.
    #[inline]
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// How many streams of the same kind have lower numbers.
    #[inline]
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }

    /// True if the end `side` may send data on this stream.
    #[inline]
    pub fn is_sendable_by(self, side: Side) -> bool {
        self.dir() == Dir::Bi || self.initiator() == side
    }

    /// True if the end `side` can receive data on this stream.
    #[inline]
    pub fn is_receivable_by(self, side: Side) -> bool {
        self.is_sendable_by(!side)
    }

    /// The number as a plain integer.
    #[inline]
    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl From<StreamId> for u64 {
    fn from(id: StreamId) -> Self {
        id.0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_low_bits_tell_the_kind() {
        let kinds = [
            (Side::Client, Dir::Bi),
            (Side::Server, Dir::Bi),
            (Side::Client, Dir::Uni),
            (Side::Server, Dir::Uni),
        ];
        for (bits, (side, dir)) in (0..).zip(kinds) {
            let id = StreamId::new(side, dir, 5);
            assert_eq!(u64::from(id), 20 + bits);
            assert_eq!((id.initiator(), id.dir(), id.index()), (side, dir, 5));
            assert!(id.is_sendable_by(side) && id.is_receivable_by(!side));
            assert_eq!(id.is_sendable_by(!side), dir == Dir::Bi);
        }
        let last = StreamId::new(Side::Server, Dir::Uni, StreamId::MAX_COUNT - 1);
        assert_eq!(u64::from(last), varint::MAX);
        assert_eq!(StreamId::from_u64(varint::MAX + 1), None);
    }
}
