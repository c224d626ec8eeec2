//! Bytes to send that are made while they are sent, and the SHA-256 of bytes that come and go.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use ring::digest::{Context as Sha256Context, SHA256};

/// Bytes of a chunk of [`Noise`].
const CHUNK: u64 = 64 << 10;

/// A body of pseudo-random bytes, which follow from its seed and never exist all at once.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    state: u64,
    left: u64,
}

impl Noise {
    /// `length` bytes. Different seeds make different bytes.
    pub(crate) fn new(seed: u64, length: u64) -> Self {
        // Far apart on the one cycle that all seeds share.
        Self { state: seed.wrapping_mul(0xd134_2543_de82_ef95), left: length }
    }

    /// The SHA-256 of all that is left.
    pub(crate) fn sha256(mut self) -> Sha256 {
        let mut hasher = Hasher::new();
        while let Some(chunk) = self.next_chunk() {
            hasher.update(&chunk);
        }
        hasher.finish()
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        let length = self.left.min(CHUNK);
        if length == 0 {
            return None;
        }
        self.left -= length;
        let mut chunk = vec![0; length as usize];
        for word in chunk.chunks_mut(8) {
            word.copy_from_slice(&self.next_word().to_le_bytes()[..word.len()]);
        }
        Some(chunk.into())
    }

    /// The next number of SplitMix64.
    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Body for Noise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().next_chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Computes a SHA-256 piece by piece.
pub(crate) struct Hasher(Sha256Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Sha256Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.0.finish().as_ref());
        Sha256(sha256)
    }
}

/// A SHA-256; its text is hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sha256([u8; 32]);

impl Sha256 {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_length_and_follows_from_its_seed() {
        let bytes = |seed, length| {
            let mut noise = Noise::new(seed, length);
            std::iter::from_fn(|| noise.next_chunk()).flatten().collect::<Vec<u8>>()
        };
        assert_eq!(bytes(1, CHUNK + 3).len(), CHUNK as usize + 3);
        assert_eq!(bytes(1, 100), bytes(1, 100));
        assert_ne!(bytes(1, 100), bytes(2, 100));
        assert!(bytes(1, 0).is_empty());
    }

    #[test]
    fn sha256_is_the_standards() {
        // FIPS 180-2, appendix B.1.
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(
            hasher.finish().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
