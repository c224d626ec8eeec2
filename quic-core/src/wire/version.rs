//! Version numbers (RFC 9000, section 15; RFC 9369).

use std::fmt;

/// A QUIC version number. What a version means for keys is the business of `crypto`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

impl Version {
    /// The value that marks a Version Negotiation packet; not a version.
    pub const NEGOTIATION: Self = Self(0);

    /// QUIC version 1, RFC 9000.
    pub const V1: Self = Self(1);

    /// QUIC version 2, RFC 9369: the same protocol as version 1 with other constants, so that nothing
    /// on the way comes to depend on those.
    pub const V2: Self = Self(0x6b33_43cf);

    /// All versions that packets can be parsed of beyond the invariants.
    pub const KNOWN: [Self; 2] = [Self::V1, Self::V2];

    /// True for the numbers of the form `0x?a?a?a?a`, which no protocol will ever have and which
    /// make the peer negotiate.
    pub const fn is_reserved(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// The reserved version whose other bits come from `bits`.
    pub const fn reserved(bits: u32) -> Self {
        Self((bits & 0xf0f0_f0f0) | 0x0a0a_0a0a)
    }

    /// True if packets of this version can be parsed beyond the invariants.
    pub const fn is_known(self) -> bool {
        matches!(self, Self::V1 | Self::V2)
    }

    /// True if a first flight of this version can be turned into one of `other` (RFC 9368, section
    /// 2.2): versions 1 and 2 differ in constants only.
    pub const fn is_compatible_with(self, other: Self) -> bool {
        self.is_known() && other.is_known()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V1 => f.write_str("QUIC version 1"),
            Self::V2 => f.write_str("QUIC version 2"),
            other => write!(f, "QUIC version {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_versions_follow_the_pattern() {
        assert_eq!(Version::reserved(0), Version(0x0a0a_0a0a));
        assert_eq!(Version::reserved(0x1234_5678), Version(0x1a3a_5a7a));
        assert!(Version::reserved(u32::MAX).is_reserved());
        assert!(!Version::V1.is_reserved());
        assert_eq!(Version(0xff00_001d).to_string(), "QUIC version 0xff00001d");
    }
}
