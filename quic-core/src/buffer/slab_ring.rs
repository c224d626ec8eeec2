//! Memory for received datagrams: a bounded number of slabs that are used again once nobody reads
//! them.
//!
//! A slab is written only while there is one reference to it: by the kernel, and to decrypt what
//! arrived in place. After that it may be lent: a [`Lease`] is another reference, keeps the slab as
//! it is for as long as it lives, and ends by being dropped, on whatever thread. Nobody is told of
//! that, and no list is kept of what is free: the ring tries.
//!
//! So a slow reader pins a whole slab. When all are pinned, a scratch slab is handed out instead,
//! which is never lent: what readers can pin is never more than the slabs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::sync::{Arc, Generation};

/// Receive memory of one endpoint.
#[derive(Debug)]
pub struct SlabRing {
    /// The slab that was used last is at the end.
    slabs: VecDeque<Arc<Memory>>,
    scratch: Vec<Arc<Memory>>,
    slab_size: usize,
    max_slabs: usize,
    occupancy: Occupancy,
}

/// What a slab is made of. Never empty, never resized.
#[derive(Debug)]
struct Memory {
    generation: Generation,
    bytes: Box<[u8]>,
    occupancy: Occupancy,
}

/// A slab that was checked out of its ring: memory to receive into.
#[derive(Debug)]
pub struct Slab {
    memory: Arc<Memory>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lendable,
    Scratch,
}

/// Keeps the bytes of a slab as they are until it is dropped. It outlives the slab, the ring and
/// everything else if it has to.
#[derive(Debug)]
pub struct Lease(Arc<Memory>);

/// How much of a ring is in use, for whoever wants to know, on any thread.
#[derive(Clone, Debug, Default)]
pub struct Occupancy(std::sync::Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicUsize,
    leases: AtomicUsize,
}

impl SlabRing {
    /// How many slabs are looked at before the search for a free one is given up: a reader that
    /// holds on to old data must not make every receive call walk the whole ring.
    const SEARCH: usize = 4;

    /// Slabs of `slab_size` bytes, at most `max_slabs` of them, allocated as they are needed.
    /// `occupancy` is told of them, and of no other ring.
    pub fn new(slab_size: usize, max_slabs: usize, occupancy: Occupancy) -> Self {
        Self { slabs: VecDeque::new(), scratch: Vec::new(), slab_size, max_slabs, occupancy }
    }

    /// A slab that nobody reads.
    pub fn checkout(&mut self) -> Slab {
        for _ in 0..self.slabs.len().min(Self::SEARCH) {
            // The one that was used last comes first: it is warm.
            let Some(mut memory) = self.slabs.pop_back() else { break };
            if Arc::get_mut(&mut memory).is_some() {
                return Slab { memory, kind: Kind::Lendable };
            }
            self.slabs.push_front(memory);
        }
        if self.occupancy.total() < self.max_slabs {
            self.occupancy.0.total.fetch_add(1, Ordering::Relaxed);
            return Slab { memory: self.allocate(), kind: Kind::Lendable };
        }
        let memory = self.scratch.pop().unwrap_or_else(|| self.allocate());
        Slab { memory, kind: Kind::Scratch }
    }

    /// Takes back a slab. It may be lent.
    pub fn put_back(&mut self, slab: Slab) {
        match slab.kind {
            Kind::Lendable => self.slabs.push_back(slab.memory),
            Kind::Scratch => self.scratch.push(slab.memory),
        }
    }

    /// Makes `slab` ready to receive into again: if it is lent, or was never to be, another one
    /// takes its place.
    pub fn renew(&mut self, slab: &mut Slab) {
        if slab.kind == Kind::Scratch || slab.bytes_mut().is_none() {
            let other = self.checkout();
            self.put_back(std::mem::replace(slab, other));
        }
    }

    /// How many slabs there are and how many of them are free.
    pub fn occupancy(&self) -> &Occupancy {
        &self.occupancy
    }

    fn allocate(&self) -> Arc<Memory> {
        Arc::new(Memory {
            generation: Generation::first(),
            bytes: vec![0; self.slab_size].into_boxed_slice(),
            occupancy: self.occupancy.clone(),
        })
    }
}

impl Slab {
    /// The whole memory, to receive into, with whatever was in it before. `None` while it is lent.
    pub fn begin(&mut self) -> Option<&mut [u8]> {
        let memory = Arc::get_mut(&mut self.memory)?;
        memory.generation.advance();
        Some(&mut memory.bytes)
    }

    /// The whole memory, to change what was received. `None` while it is lent.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let memory = Arc::get_mut(&mut self.memory)?;
        memory.generation.on_write();
        Some(&mut memory.bytes)
    }

    /// The whole memory.
    pub fn bytes(&self) -> &[u8] {
        &self.memory.bytes
    }

    /// Lends the memory as it is now; `None` if it is scratch.
    pub fn lease(&self) -> Option<Lease> {
        match self.kind {
            Kind::Lendable => {
                self.memory.occupancy.0.leases.fetch_add(1, Ordering::Relaxed);
                Some(Lease(Arc::clone(&self.memory)))
            }
            Kind::Scratch => None,
        }
    }

    /// True if all others were lent when this one was checked out: it never is.
    pub fn is_scratch(&self) -> bool {
        self.kind == Kind::Scratch
    }

    /// How often the memory was received into.
    pub fn generation(&self) -> u64 {
        self.memory.generation.get()
    }
}

impl Lease {
    /// How often the memory was received into. It stays the same for as long as the lease lives.
    pub fn generation(&self) -> u64 {
        self.0.generation.get()
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.0.generation.on_read();
        &self.0.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.generation.on_read();
        self.0.occupancy.0.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Occupancy {
    /// Slabs that were allocated, scratch apart.
    pub fn total(&self) -> usize {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Slabs of which there is no lease, if there is at most one of each.
    pub fn free(&self) -> usize {
        self.total().saturating_sub(self.0.leases.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SIZE: usize = 1000;

    /// Receives `content` into a slab; a lease of it if it can be lent.
    fn receive(ring: &mut SlabRing, content: u8) -> Option<Lease> {
        let mut slab = ring.checkout();
        slab.begin().expect("nobody reads it").fill(content);
        let lease = slab.lease();
        ring.put_back(slab);
        lease
    }

    #[test]
    fn a_slab_that_nobody_holds_is_used_for_ever() {
        let mut ring = SlabRing::new(SIZE, 8, Occupancy::default());
        for generation in 1..100 {
            let lease = receive(&mut ring, 1).expect("not scratch");
            assert_eq!(lease.generation(), generation);
        }
        assert_eq!((ring.occupancy().total(), ring.occupancy().free()), (1, 1));
    }

    #[test]
    fn a_slice_that_somebody_holds_is_never_written_again() {
        let mut ring = SlabRing::new(SIZE, 3, Occupancy::default());
        let mut held = Vec::new();
        for content in 0..40_u8 {
            held.extend(receive(&mut ring, content).map(|lease| (content, lease)));
            if content % 7 == 6 {
                held.remove(0);
            }
            for (content, lease) in &held {
                assert!(lease.as_ref().iter().all(|byte| byte == content));
            }
        }
    }

    #[test]
    fn a_slab_that_is_lent_cannot_be_written() {
        let mut ring = SlabRing::new(SIZE, 1, Occupancy::default());
        let mut slab = ring.checkout();
        let lease = slab.lease().unwrap();
        assert!(slab.begin().is_none() && slab.bytes_mut().is_none());
        assert_eq!(slab.generation(), lease.generation());
        drop(lease);
        assert!(slab.begin().is_some());
    }

    #[test]
    fn slow_readers_pin_no_more_than_the_slabs() {
        let mut ring = SlabRing::new(SIZE, 2, Occupancy::default());
        let mut held: Vec<_> = (0..2).map(|content| receive(&mut ring, content)).collect();
        assert!(held.iter().all(Option::is_some));
        assert_eq!((ring.occupancy().total(), ring.occupancy().free()), (2, 0));
        for _ in 0..10 {
            assert!(receive(&mut ring, 9).is_none(), "all are held");
        }
        held.pop();
        assert!(receive(&mut ring, 9).is_some(), "a slab that was let go comes back");
        assert_eq!((ring.occupancy().total(), ring.occupancy().free()), (2, 1));
    }

    #[test]
    fn several_slabs_can_be_out_at_once() {
        let mut ring = SlabRing::new(SIZE, 2, Occupancy::default());
        let slabs: Vec<_> = (0..4).map(|_| ring.checkout()).collect();
        let kinds: Vec<_> = slabs.iter().map(Slab::is_scratch).collect();
        assert_eq!(kinds, [false, false, true, true]);
        slabs.into_iter().for_each(|slab| ring.put_back(slab));
        assert!(!ring.checkout().is_scratch());
    }

    #[test]
    fn a_slab_is_exchanged_only_while_it_is_lent() {
        let mut ring = SlabRing::new(SIZE, 2, Occupancy::default());
        let mut slab = ring.checkout();
        let first = slab.bytes().as_ptr();
        ring.renew(&mut slab);
        assert_eq!(slab.bytes().as_ptr(), first);
        let lease = slab.lease();
        ring.renew(&mut slab);
        assert_ne!(slab.bytes().as_ptr(), first);
        let other = slab.lease();
        ring.renew(&mut slab);
        assert!(slab.is_scratch());
        drop((lease, other));
        ring.renew(&mut slab);
        assert!(!slab.is_scratch(), "scratch is for once");
    }
}
