//! New connection IDs.

use std::fmt;

use crate::util::rng::Rng;
use crate::wire::ConnectionId;

/// Makes random connection IDs of one length.
///
/// The length is the same for all connections of an endpoint, so that it can take the connection ID
/// out of a short header, which does not say how long it is, and find the stateless reset token of
/// a connection that it has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generator {
    len: usize,
}

impl Generator {
    /// The shortest length in bytes: 64 random bits cannot be guessed, so a peer that uses such a
    /// connection ID has received it.
    pub const MIN_LEN: usize = 8;

    /// A generator of connection IDs of `len` bytes, 8 to 20.
    ///
    /// # Errors
    ///
    /// Another length. Empty connection IDs cannot be told apart on one socket, and short ones
    /// can be guessed or collide.
    // req 9000-5.1-041, 9000-10.3.2-262
    pub const fn new(len: usize) -> Result<Self, InvalidLength> {
        if len < Self::MIN_LEN || len > ConnectionId::MAX_LEN {
            return Err(InvalidLength);
        }
        Ok(Self { len })
    }

    /// The length of the connection IDs in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a generator is not a collection")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// A connection ID of nothing but random bits: it tells an observer nothing, and will not come
    /// twice.
    // req 9000-5.1-039, 9000-5.1-040, 9000-10.3.2-263, 9000-10.3.2-264
    pub fn generate(&self, rng: &mut Rng) -> ConnectionId {
        let mut bytes = [0; ConnectionId::MAX_LEN];
        let bytes = &mut bytes[..self.len];
        rng.fill(bytes);
        ConnectionId::new(bytes).expect("the length was checked")
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self { len: Self::MIN_LEN }
    }
}

/// A length of connection IDs outside of 8 to 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLength;

impl fmt::Display for InvalidLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection IDs must have 8 to 20 bytes")
    }
}

impl std::error::Error for InvalidLength {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    // req-test 9000-10.3.2-262, 9000-5.1-041
    #[test]
    fn all_connection_ids_have_one_length_of_at_least_64_bits() {
        assert_eq!(Generator::new(7), Err(InvalidLength));
        assert_eq!(Generator::new(21), Err(InvalidLength));
        let mut rng = Rng::from_seed([1; 32]);
        for len in 8..=20 {
            let generator = Generator::new(len).unwrap();
            assert!((0..10).all(|_| generator.generate(&mut rng).len() == len));
        }
    }

    // req-test 9000-5.1-040, 9000-5.1-039, 9000-10.3.2-263, 9000-10.3.2-264
    #[test]
    fn no_connection_id_comes_twice() {
        let mut rng = Rng::from_seed([2; 32]);
        let generator = Generator::default();
        let ids: HashSet<_> = (0..10_000).map(|_| generator.generate(&mut rng)).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
