//! Memory for received datagrams: a bounded number of slabs that are used again once nobody holds
//! a slice of them.
//!
//! A slab is handed to the socket, the datagrams that arrived are split off its front, decrypted in
//! place, and their data goes to readers without a copy. So a slow reader pins a whole slab. When
//! all slabs are pinned, a scratch buffer is handed out instead, of which nothing may be kept: what
//! readers can pin is never more than the slabs.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::Retention;

/// Receive memory of one endpoint.
#[derive(Debug)]
pub struct SlabRing {
    /// What is left of each slab, the one that was used last at the end.
    slabs: VecDeque<BytesMut>,
    /// Slabs that exist, in the ring or checked out.
    allocated: usize,
    scratch: Vec<BytesMut>,
    window: usize,
    slab_size: usize,
    max_slabs: usize,
}

/// A buffer to receive into.
#[derive(Debug)]
pub struct Slab {
    /// At least a window of bytes; split what was received off its front.
    pub buffer: BytesMut,
    /// Whether slices of it may be kept.
    pub retention: Retention,
}

impl SlabRing {
    /// How many slabs are looked at before the search for a free one is given up: a reader that
    /// holds on to old data must not make every receive call walk the whole ring.
    const SEARCH: usize = 4;

    /// Slabs of `slab_size` bytes, at most `max_slabs` of them, allocated as they are needed. Each
    /// is handed out again and again until less than `window` bytes are left.
    ///
    /// `window` is made to fit into a slab.
    pub fn new(window: usize, slab_size: usize, max_slabs: usize) -> Self {
        let slab_size = slab_size.max(window);
        Self {
            slabs: VecDeque::new(),
            allocated: 0,
            scratch: Vec::new(),
            window,
            slab_size,
            max_slabs,
        }
    }

    /// A buffer of at least a window, which nobody else can see.
    pub fn checkout(&mut self) -> Slab {
        for _ in 0..self.slabs.len().min(Self::SEARCH) {
            // The one that was used last comes first, for as long as it has room: it is warm.
            let Some(mut slab) = self.slabs.pop_back() else { break };
            if slab.len() >= self.window || self.renew(&mut slab) {
                return Slab { buffer: slab, retention: Retention::Share };
            }
            self.slabs.push_front(slab);
        }
        if self.allocated < self.max_slabs {
            self.allocated += 1;
            let buffer = BytesMut::zeroed(self.slab_size);
            return Slab { buffer, retention: Retention::Share };
        }
        let mut scratch = self.scratch.pop().unwrap_or_default();
        if scratch.len() < self.window && !self.renew(&mut scratch) {
            // Somebody keeps what should have been copied: it is theirs now.
            scratch = BytesMut::zeroed(self.slab_size);
        }
        Slab { buffer: scratch, retention: Retention::Copy }
    }

    /// Takes back what is left of a buffer after the received bytes were split off.
    pub fn put_back(&mut self, slab: Slab) {
        match slab.retention {
            Retention::Share => self.slabs.push_back(slab.buffer),
            Retention::Copy => self.scratch.push(slab.buffer),
        }
    }

    /// The memory of all slabs, and thus the most that readers can pin, in bytes.
    pub fn allocated(&self) -> usize {
        self.allocated * self.slab_size
    }

    /// Makes a used-up slab whole again if nobody holds a slice of it.
    fn renew(&self, slab: &mut BytesMut) -> bool {
        slab.clear();
        let free = slab.try_reclaim(self.slab_size);
        if free {
            slab.resize(self.slab_size, 0);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 1000;

    fn ring(max_slabs: usize) -> SlabRing {
        SlabRing::new(WINDOW, 2500, max_slabs)
    }

    /// Receives `len` bytes.
    fn receive(ring: &mut SlabRing, len: usize) -> (BytesMut, Retention) {
        let mut slab = ring.checkout();
        assert!(slab.buffer.len() >= WINDOW);
        slab.buffer[0] = 0xee;
        let data = slab.buffer.split_to(len);
        let retention = slab.retention;
        ring.put_back(slab);
        (data, retention)
    }

    #[test]
    fn a_slab_that_nobody_holds_is_used_for_ever() {
        let mut ring = ring(8);
        for _ in 0..100 {
            let (data, retention) = receive(&mut ring, WINDOW);
            assert_eq!(retention, Retention::Share);
            drop(data);
        }
        assert_eq!(ring.allocated(), 2500);
    }

    #[test]
    fn a_slice_that_somebody_holds_is_never_written_again() {
        let mut ring = ring(3);
        let mut held = Vec::new();
        for index in 0..40_u8 {
            let mut slab = ring.checkout();
            slab.buffer[..WINDOW].fill(index);
            let data = slab.buffer.split_to(WINDOW).freeze();
            if slab.retention == Retention::Share {
                held.push((index, data));
            }
            ring.put_back(slab);
            if index % 7 == 6 {
                held.remove(0);
            }
            for (index, data) in &held {
                assert!(data.iter().all(|byte| byte == index));
            }
        }
    }

    #[test]
    fn slow_readers_pin_no_more_than_the_slabs() {
        let mut ring = ring(2);
        let mut held: Vec<_> = (0..4).map(|_| receive(&mut ring, WINDOW)).collect();
        assert!(held.iter().all(|(_, retention)| *retention == Retention::Share));
        for _ in 0..10 {
            let (_copied_by_the_stack, retention) = receive(&mut ring, WINDOW);
            assert_eq!(retention, Retention::Copy);
        }
        assert_eq!(ring.allocated(), 2 * 2500);
        held.drain(..2);
        let (_, retention) = receive(&mut ring, WINDOW);
        assert_eq!(retention, Retention::Share, "a slab that was let go comes back");
    }

    #[test]
    fn small_datagrams_share_a_slab() {
        let mut ring = ring(2);
        let held: Vec<_> = (0..16).map(|_| receive(&mut ring, 100)).collect();
        assert!(held.iter().all(|(_, retention)| *retention == Retention::Share));
        assert_eq!(ring.allocated(), 2500);
    }

    #[test]
    fn several_buffers_can_be_out_at_once() {
        let mut ring = ring(2);
        let slabs: Vec<_> = (0..4).map(|_| ring.checkout()).collect();
        let kinds: Vec<_> = slabs.iter().map(|slab| slab.retention).collect();
        use Retention::{Copy, Share};
        assert_eq!(kinds, [Share, Share, Copy, Copy]);
        slabs.into_iter().for_each(|slab| ring.put_back(slab));
        assert_eq!(ring.checkout().retention, Share);
    }
}
