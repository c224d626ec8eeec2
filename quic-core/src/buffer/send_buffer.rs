//! Keeps the bytes of an outgoing stream from the moment they are written until the peer has
//! acknowledged them.
//!
//! ```text
//!        acked_to            sent                end
//! ----------|------------------|------------------|
//!  released | in flight, lost, | written, but     |
//!           | or acknowledged  | not sent yet     |
//! ```
//!
//! Between `acked_to` and `sent` two range sets name what was lost and what was acknowledged out of
//! order; all the rest is in flight. Acknowledgements in order touch neither.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::util::RangeSet;

/// Bytes of one outgoing stream that the peer has not acknowledged, by the state of their delivery.
///
/// Offsets count from the first byte ever written. The buffer shares the memory of what is written
/// to it and copies each byte once per transmission, straight into the packet.
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// What was written from `acked_to` on. The first may begin before it; chunks that were
    /// acknowledged out of order have given their bytes back.
    chunks: VecDeque<Chunk>,
    acked_to: u64,
    sent: u64,
    end: u64,
    lost: RangeSet,
    acked: RangeSet,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    end: u64,
    data: Bytes,
}

impl SendBuffer {
    /// A buffer to which nothing was written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `data` to the stream.
    pub fn write(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let start = self.end;
        self.end += data.len() as u64;
        self.chunks.push_back(Chunk { start, end: self.end, data });
    }

    /// Number of bytes ever written.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Number of bytes ever sent, which is the highest offset that the peer can know of.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Number of bytes written and never sent.
    #[inline]
    pub fn unsent(&self) -> u64 {
        self.end - self.sent
    }

    /// Number of bytes from the first that is not acknowledged to the last that was written.
    #[inline]
    pub fn outstanding(&self) -> u64 {
        self.end - self.acked_to
    }

    /// True if bytes were lost and not sent again.
    #[inline]
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// True if every byte that was written is acknowledged.
    #[inline]
    pub fn is_acked(&self) -> bool {
        self.acked_to == self.end
    }

    /// The bytes to send next: what was lost, else what was never sent, but of that nothing at or
    /// behind `limit`, the highest offset that flow control allows.
    pub fn next(&self, limit: u64) -> Option<Range<u64>> {
        self.next_lost().or_else(|| {
            let end = self.end.min(limit);
            (self.sent < end).then_some(self.sent..end)
        })
    }

    /// The lowest bytes that were lost and not sent again.
    #[inline]
    pub fn next_lost(&self) -> Option<Range<u64>> {
        let start = self.lost.min()?;
        self.lost.range_of(start)
    }

    /// Copies the first bytes of `range` to fill `out`, and books them as in flight.
    ///
    /// `range` comes from [`next`](Self::next), and `out` is no longer than it.
    // req 9000-2.2-004
    pub fn transmit(&mut self, range: Range<u64>, out: &mut [u8]) {
        let end = range.start + out.len() as u64;
        debug_assert!(end <= range.end && range.end <= self.end);
        self.copy(range.start, out);
        if range.start < self.sent {
            self.lost.remove(range.start..end);
        }
        self.sent = self.sent.max(end);
    }

    /// The peer has acknowledged the bytes of `range`; how many bytes no longer count as
    /// [`outstanding`](Self::outstanding).
    pub fn on_acked(&mut self, range: Range<u64>) -> u64 {
        debug_assert!(range.end <= self.sent);
        let before = self.acked_to;
        if range.end <= before {
            return 0;
        }
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        if range.start > before {
            self.acked.insert(range.clone());
            self.release_middle(range);
            return 0;
        }
        self.acked_to = range.end;
        if !self.acked.is_empty() {
            if let Some(joined) = self.acked.range_of(self.acked_to) {
                self.acked_to = joined.end;
            }
            self.acked.remove_below(self.acked_to);
        }
        self.release_front();
        self.acked_to - before
    }

    /// The packet that carried the bytes of `range` is considered lost.
    ///
    /// What was acknowledged in another packet meanwhile is not sent again.
    pub fn on_lost(&mut self, range: Range<u64>) {
        debug_assert!(range.end <= self.sent);
        for gap in self.acked.gaps(range.start.max(self.acked_to)..range.end) {
            self.lost.insert(gap);
        }
    }

    /// Gives back all memory and forgets what is left to send, because the stream was reset.
    ///
    /// [`sent`](Self::sent) stays known. The number of bytes that were outstanding.
    pub fn abandon(&mut self) -> u64 {
        let outstanding = self.outstanding();
        self.chunks = VecDeque::new();
        self.lost.clear();
        self.acked.clear();
        self.end = self.sent;
        self.acked_to = self.sent;
        outstanding
    }

    fn copy(&self, start: u64, mut out: &mut [u8]) {
        let mut offset = start;
        let first = self.chunk_at(offset);
        for chunk in self.chunks.range(first..) {
            if out.is_empty() {
                return;
            }
            let rest = &chunk.data[(offset - chunk.start) as usize..];
            let len = rest.len().min(out.len());
            let (now, later) = out.split_at_mut(len);
            now.copy_from_slice(&rest[..len]);
            out = later;
            offset += len as u64;
        }
        debug_assert!(out.is_empty(), "asked for bytes that were not written");
    }

    /// Index of the chunk that holds the byte at `offset`, or of the first one behind it.
    fn chunk_at(&self, offset: u64) -> usize {
        match self.chunks.back() {
            Some(last) if last.start <= offset => self.chunks.len() - 1,
            _ => self.chunks.partition_point(|chunk| chunk.end <= offset),
        }
    }

    fn release_front(&mut self) {
        while self.chunks.front().is_some_and(|chunk| chunk.end <= self.acked_to) {
            self.chunks.pop_front();
        }
    }

    /// Gives back the bytes of the chunks that `newly` acknowledged bytes have completed.
    fn release_middle(&mut self, newly: Range<u64>) {
        let Some(known) = self.acked.range_of(newly.start) else { return };
        let first = self.chunk_at(newly.start);
        for chunk in self.chunks.range_mut(first..) {
            if chunk.start >= newly.end {
                break;
            }
            if known.start <= chunk.start && chunk.end <= known.end {
                chunk.data = Bytes::new();
            }
        }
    }
}

#[cfg(test)]
mod tests;
