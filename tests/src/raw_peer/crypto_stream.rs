//! Puts received CRYPTO data into order.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct CryptoStream {
    pieces: BTreeMap<u64, Vec<u8>>,
    taken: u64,
}

impl CryptoStream {
    pub(super) fn insert(&mut self, offset: u64, data: &[u8]) {
        let piece = self.pieces.entry(offset).or_default();
        if piece.len() < data.len() {
            *piece = data.to_vec();
        }
    }

    /// What follows the bytes taken before, as far as it is there.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(piece) = self.pieces.first_entry().filter(|p| *p.key() <= self.taken) {
            let (offset, data) = piece.remove_entry();
            let known = (self.taken - offset) as usize;
            let new = data.get(known..).unwrap_or_default();
            out.extend_from_slice(new);
            self.taken += new.len() as u64;
        }
        out
    }
}
