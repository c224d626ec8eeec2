//! Connection IDs and stateless reset tokens (RFC 9000, sections 5.1 and 10.3).

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A connection ID of QUIC version 1: 0 to 20 bytes, held inline.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId {
    len: u8,
    // Bytes beyond `len` are zero, so that derived comparison is right.
    bytes: [u8; Self::MAX_LEN],
}

impl ConnectionId {
    /// The longest connection ID of version 1, in bytes.
    pub const MAX_LEN: usize = 20;

    /// The connection ID of no bytes.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; Self::MAX_LEN] };

    /// A connection ID of these bytes; `None` if there are more than 20.
    // req 9000-17.2-376, 9000-17.2-379
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = Self::EMPTY;
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        id.len = bytes.len().try_into().ok()?;
        Some(id)
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// Number of bytes, 0 to 20.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// True for the connection ID of no bytes.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Hashes like the bytes, so that maps can be asked with a slice of a datagram.
impl Hash for ConnectionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl Borrow<[u8]> for ConnectionId {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for ConnectionId {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The secret that proves a stateless reset to be genuine.
///
/// Whoever knows it can end the connection, so it is never printed and comparisons take the same
/// time whatever the bytes are.
#[derive(Clone, Copy)]
pub struct ResetToken([u8; Self::LEN]);

impl ResetToken {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The token of these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, for putting them on the wire.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for ResetToken {
    // req 9000-10.3.1-259: every byte is looked at, whether or not an earlier one differs.
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |bits, (a, b)| bits | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

impl Eq for ResetToken {}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    // req-test 9000-17.2-376, 9000-17.2-379
    #[test]
    fn up_to_twenty_bytes_make_a_connection_id() {
        let bytes = [7; 21];
        assert_eq!(ConnectionId::new(&bytes), None);
        for len in 0..=20 {
            let id = ConnectionId::new(&bytes[..len]).unwrap();
            assert_eq!(id.as_slice(), &bytes[..len]);
            assert_eq!((id.len(), id.is_empty()), (len, len == 0));
        }
        assert_eq!(ConnectionId::new(&[0xab, 0x01]).unwrap().to_string(), "ab01");
        assert_ne!(ConnectionId::new(&[0]), ConnectionId::new(&[0, 0]));
    }

    #[test]
    fn maps_can_be_asked_with_bytes_of_a_datagram() {
        let map = HashMap::from([(ConnectionId::new(b"abc").unwrap(), 1)]);
        assert_eq!(map.get(&b"abc"[..]), Some(&1));
        assert_eq!(map.get(&b"abcd"[..]), None);
    }

    // req-test 9000-10.3.1-259
    #[test]
    fn tokens_compare_by_all_bytes_and_are_not_printed() {
        let token = ResetToken::new([0x5a; 16]);
        assert_eq!(token, ResetToken::new([0x5a; 16]));
        for at in 0..16 {
            let mut other = [0x5a; 16];
            other[at] ^= 1;
            assert_ne!(token, ResetToken::new(other));
        }
        assert_eq!(format!("{token:?}"), "ResetToken(..)");
    }
}
