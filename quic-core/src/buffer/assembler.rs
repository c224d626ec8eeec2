//! Puts received pieces of a byte stream into order.
//!
//! A piece that continues the stream goes to the end of a queue: no tree, no search, and if it is
//! large enough not even a copy. A piece that arrives ahead of a gap is copied into a tree and
//! waits there until the gap is closed.
//!
//! The sender of the stream chooses how the data is cut into pieces, so memory is counted with what
//! each piece costs beside its bytes ([`Assembler::memory`]), and small neighbours melt into one
//! another: two adjacent pieces of which one could take in the other do not exist for long. There
//! is no limit on the number of gaps: a gap costs memory, and its owner limits memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::train::{Arrival, LEND_FROM};

/// Copied pieces grow by their successors up to this size.
const COPY_UP_TO: usize = 16 * 1024;

/// A piece is melted into its copied predecessor if together they are no larger than this.
const MELT_UP_TO: usize = 1024;

/// What a piece costs beside its bytes: its place in the queue or tree and its allocation.
const OVERHEAD: usize = 96;

/// Received bytes of one stream that nobody has read yet, in whatever order they arrived.
///
/// The first copy of a byte wins; later ones are dropped without a comparison.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Offset of the first byte in `ready`: everything before it was read.
    read_offset: u64,
    /// Offset of the first byte that did not arrive yet.
    contiguous_end: u64,
    /// The bytes from `read_offset` to `contiguous_end`.
    ready: VecDeque<Piece>,
    /// What lies behind the first gap, by offset, without overlaps.
    ahead: BTreeMap<u64, Piece>,
    memory: usize,
}

#[derive(Debug)]
enum Piece {
    /// A part of a received datagram.
    Shared(Bytes),
    /// A copy, which can grow.
    Copied(BytesMut),
}

impl Assembler {
    /// An assembler for a stream of which nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `data`, which starts at `offset` of the stream.
    ///
    /// `offset` plus the length of `data` must not be larger than 2^62. Whether that much data is
    /// welcome is the caller's business, who compares [`memory`](Self::memory) with a limit
    /// afterwards.
    // req 9000-2.2-002
    pub fn insert(&mut self, offset: u64, data: Arrival<'_>) {
        if data.is_empty() {
            return;
        }
        if offset == self.contiguous_end && self.ahead.is_empty() {
            self.push_ready(data);
        } else {
            self.insert_anywhere(offset, data);
        }
    }

    /// Takes out the next bytes in order, `None` if they did not arrive yet.
    pub fn read(&mut self) -> Option<Bytes> {
        let piece = self.ready.pop_front()?;
        self.memory -= piece.memory();
        let data = piece.freeze();
        self.read_offset += data.len() as u64;
        Some(data)
    }

    /// True if [`read`](Self::read) would give bytes.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.read_offset < self.contiguous_end
    }

    /// How many bytes were read.
    #[inline]
    pub fn read_offset(&self) -> u64 {
        self.read_offset
    }

    /// Offset of the first byte that did not arrive yet.
    #[inline]
    pub fn contiguous_end(&self) -> u64 {
        self.contiguous_end
    }

    /// Bytes of memory that the unread data takes, including what each piece costs beside its data.
    #[inline]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Number of bytes that arrived and were not read.
    pub fn buffered(&self) -> u64 {
        let ahead: usize = self.ahead.values().map(Piece::len).sum();
        self.contiguous_end - self.read_offset + ahead as u64
    }

    /// Drops all unread data; what arrived and what was read stays known.
    pub fn clear(&mut self) {
        self.ready = VecDeque::new();
        self.ahead = BTreeMap::new();
        self.read_offset = self.contiguous_end;
        self.memory = 0;
    }

    fn push_ready(&mut self, data: Arrival<'_>) {
        self.contiguous_end += data.len() as u64;
        let data = match &data {
            // What overlapping has made small is not worth its memory any more.
            Arrival::Share(data) if data.len() >= LEND_FROM => {
                self.memory += data.len() + OVERHEAD;
                self.ready.push_back(Piece::Shared(data.clone()));
                return;
            }
            Arrival::Share(data) => data,
            Arrival::Copy(data) => *data,
        };
        if let Some(last) = self.ready.back_mut()
            && let Some(grown) = last.append(data)
        {
            self.memory += grown;
            return;
        }
        let piece = Piece::copy_of(data);
        self.memory += piece.memory();
        self.ready.push_back(piece);
    }

    fn insert_anywhere(&mut self, mut offset: u64, mut data: Arrival<'_>) {
        if !skip_to(&mut offset, &mut data, self.contiguous_end) {
            return;
        }
        if let Some((start, piece)) = self.ahead.range(..=offset).next_back()
            && !skip_to(&mut offset, &mut data, start + piece.len() as u64)
        {
            return;
        }
        // From here on `data` starts in a gap: fill it up to the next piece, jump over that one,
        // and so on.
        loop {
            let end = offset + data.len() as u64;
            let Some((next, piece)) = self.ahead.range(offset..end).next() else { break };
            let (next, next_end) = (*next, next + piece.len() as u64);
            let part = data.split_to((next - offset) as usize);
            self.fill(offset, part);
            offset = next;
            if !skip_to(&mut offset, &mut data, next_end) {
                return self.move_contiguous();
            }
        }
        self.fill(offset, data);
        self.move_contiguous();
    }

    /// Stores `data`, which overlaps with nothing.
    fn fill(&mut self, offset: u64, data: Arrival<'_>) {
        if data.is_empty() {
        } else if offset == self.contiguous_end {
            self.push_ready(data);
        } else {
            self.store_ahead(offset, &data);
        }
    }

    fn store_ahead(&mut self, offset: u64, data: &[u8]) {
        let before = self.ahead.range_mut(..offset).next_back();
        let start = match before {
            Some((start, piece)) if start + piece.len() as u64 == offset => {
                piece.append(data).map(|grown| {
                    self.memory += grown;
                    *start
                })
            }
            _ => None,
        };
        let start = start.unwrap_or_else(|| {
            let piece = Piece::copy_of(data);
            self.memory += piece.memory();
            self.ahead.insert(offset, piece);
            offset
        });
        self.melt_successor(start, offset + data.len() as u64);
    }

    /// Melts the piece at `next` into the one at `start` that ends there, if both are small.
    fn melt_successor(&mut self, start: u64, next: u64) {
        let Some(successor) = self.ahead.get(&next) else { return };
        if (next - start) as usize + successor.len() > MELT_UP_TO {
            return;
        }
        let successor = self.ahead.remove(&next).expect("found just above");
        self.memory -= successor.memory();
        let piece = self.ahead.get_mut(&start).expect("the caller stored it");
        let grown = piece.append(successor.as_slice()).expect("pieces ahead of a gap can grow");
        self.memory += grown;
    }

    /// Moves what follows `contiguous_end` without a gap to the end of `ready`.
    fn move_contiguous(&mut self) {
        while let Some(entry) = self.ahead.first_entry()
            && *entry.key() == self.contiguous_end
        {
            let piece = entry.remove();
            self.contiguous_end += piece.len() as u64;
            self.ready.push_back(piece);
        }
    }
}

/// Drops what `data`, at `offset`, has before `to`; false if nothing is left then.
fn skip_to(offset: &mut u64, data: &mut Arrival<'_>, to: u64) -> bool {
    let known = to.saturating_sub(*offset);
    if known >= data.len() as u64 {
        return false;
    }
    let _ = data.split_to(known as usize);
    *offset += known;
    true
}

impl Piece {
    fn copy_of(data: &[u8]) -> Self {
        Self::Copied(BytesMut::from(data))
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(data) => data,
            Self::Copied(data) => data,
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn memory(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Shared(data) => data.len(),
                Self::Copied(data) => data.capacity(),
            }
    }

    /// Copies `data` to the end of this piece; the memory this takes, `None` if the piece does not
    /// grow that far.
    fn append(&mut self, data: &[u8]) -> Option<usize> {
        match self {
            Self::Copied(piece) if piece.len() + data.len() <= COPY_UP_TO => {
                let before = piece.capacity();
                piece.extend_from_slice(data);
                Some(piece.capacity() - before)
            }
            Self::Copied(_) | Self::Shared(_) => None,
        }
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::Shared(data) => data,
            Self::Copied(data) => data.freeze(),
        }
    }
}

#[cfg(test)]
mod tests;
