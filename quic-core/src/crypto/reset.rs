//! Where stateless reset tokens come from (RFC 9000, section 10.3.2).

use std::fmt;

use ring::hmac;

use crate::wire::{ConnectionId, ResetToken};

/// The static key of an endpoint from which the reset token of each connection ID follows, so
/// that an endpoint that has lost its state can still end its old connections.
///
/// Whoever has the key can end connections; keep it as secret as a private key.
#[derive(Clone)]
pub struct ResetKey(hmac::Key);

impl ResetKey {
    /// A key from 32 secret random bytes; the same bytes give the same tokens after a restart.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token that belongs to `id`: the first 16 bytes of its HMAC-SHA-256.
    // req 9000-10.3.2-261, 9000-10.3.2-265
    pub fn token(&self, id: &ConnectionId) -> ResetToken {
        let tag = hmac::sign(&self.0, id.as_slice());
        let mut token = [0; ResetToken::LEN];
        for (to, from) in token.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        ResetToken::new(token)
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 4231, test case 6 is beyond our key size; the value here is HMAC-SHA-256 with a zero key
    // over no bytes, cut to 16 bytes, a widely published constant.
    #[test]
    fn a_token_is_the_start_of_an_hmac() {
        let key = ResetKey::new(&[0; 32]);
        let token = key.token(&ConnectionId::EMPTY);
        let expected = [
            0xb6, 0x13, 0x67, 0x9a, 0x08, 0x14, 0xd9, 0xec, 0x77, 0x2f, 0x95, 0xd7, 0x78, 0xc3,
            0x5f, 0xc5,
        ];
        assert_eq!(token.as_bytes(), &expected);
    }

    // req-test 9000-10.3.2-261, 9000-10.3.2-265
    #[test]
    fn tokens_depend_on_the_key_and_on_the_connection_id() {
        let id = ConnectionId::new(&[1, 2, 3]).unwrap();
        let other = ConnectionId::new(&[1, 2, 4]).unwrap();
        let key = ResetKey::new(&[7; 32]);
        assert_eq!(key.token(&id), ResetKey::new(&[7; 32]).token(&id));
        assert_ne!(key.token(&id), key.token(&other));
        assert_ne!(key.token(&id), ResetKey::new(&[8; 32]).token(&id));
    }
}
