//! What address-validation tokens are sealed with (RFC 9000, section 8.1.4).

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256, Salt};

use super::keys::TAG_LEN;

/// Bytes at the start of each token, different in each, from which its own key follows.
const SALT_LEN: usize = 16;
/// Says what the keys are for, should the secret be used for other things as well.
const PURPOSE: &[u8] = b"quic address validation token";

/// The key that a server's address-validation tokens are sealed with.
///
/// Servers with the same key accept each other's tokens, and a server with the key of before its
/// restart those of before. Whoever has the key can pretend to be at any address; keep it as secret
/// as a private key.
#[derive(Clone)]
pub struct TokenKey(hkdf::Prk);

/// Names a token among all that were ever sealed with a key: equal only for equal tokens.
pub type TokenId = [u8; SALT_LEN];

impl TokenKey {
    /// A key from 32 secret random bytes; the same bytes are the same key.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, &[]).extract(secret))
    }

    /// A token that nobody but the holders of the key can read, change or make. `id` must be
    /// random: it makes the token unique, and hard to guess.
    // req 9000-8.1.4-142, 9000-8.1.4-143, 9000-8.1.3-130
    pub fn seal(&self, id: TokenId, content: &[u8]) -> Vec<u8> {
        let mut token = Vec::with_capacity(SALT_LEN + content.len() + TAG_LEN);
        token.extend_from_slice(&id);
        let mut sealed = content.to_vec();
        self.key_of(&id)
            .seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut sealed)
            .expect("a token is far below the limit of the AEAD");
        token.extend_from_slice(&sealed);
        token
    }

    /// The name and the content of a token that was sealed with this key; `None` if it was not, or
    /// was changed since.
    // req 9000-8.1.4-143
    pub fn open(&self, token: &[u8]) -> Option<(TokenId, Vec<u8>)> {
        let (id, sealed) = token.split_first_chunk::<SALT_LEN>()?;
        let mut content = sealed.to_vec();
        let opened = self.key_of(id).open_in_place(only_nonce(), Aad::empty(), &mut content);
        let len = opened.ok()?.len();
        content.truncate(len);
        Some((*id, content))
    }

    fn key_of(&self, id: &TokenId) -> LessSafeKey {
        let info = [PURPOSE, id.as_slice()];
        let okm = self.0.expand(&info, &AES_256_GCM).expect("a key is short enough for HKDF");
        LessSafeKey::new(UnboundKey::from(okm))
    }
}

/// Each key seals one token only.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> TokenKey {
        TokenKey::new(&[3; 32])
    }

    #[test]
    fn a_token_opens_with_its_key_only() {
        let token = key().seal([1; SALT_LEN], b"content");
        assert_eq!(key().open(&token), Some(([1; SALT_LEN], b"content".to_vec())));
        assert_eq!(TokenKey::new(&[4; 32]).open(&token), None);
        assert_eq!(key().open(&[]), None);
        assert!(!format!("{:?}", key()).contains('3'), "the key is not shown");
    }

    // req-test 9000-8.1.3-130, 9000-8.1.4-142
    #[test]
    fn tokens_with_the_same_content_have_nothing_in_common() {
        let [one, other] = [1, 2].map(|id| key().seal([id; SALT_LEN], &[0; 64]));
        let equal = one.iter().zip(&other).filter(|(one, other)| one == other).count();
        assert!(equal < 8, "{equal} bytes are the same");
    }

    proptest! {
        // req-test 9000-8.1.4-143
        #[test]
        fn no_changed_token_opens(
            id in any::<TokenId>(),
            content in prop::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            change in 1..=u8::MAX,
            cut in any::<prop::sample::Index>(),
        ) {
            let token = key().seal(id, &content);
            prop_assert_eq!(key().open(&token), Some((id, content)));
            let mut changed = token.clone();
            *at.get_mut(&mut changed[..]) ^= change;
            prop_assert_eq!(key().open(&changed), None);
            prop_assert_eq!(key().open(&token[..cut.index(token.len())]), None);
            prop_assert_eq!(key().open(&[&token[..], &[change]].concat()), None);
        }

        // req-test 9000-8.1.4-142
        #[test]
        fn made_up_tokens_do_not_open(token in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(key().open(&token), None);
        }
    }
}
