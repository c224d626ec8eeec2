//! Datagrams that arrived together, and what may be kept of them.

use std::ops::Range;
use std::slice::Chunks;

use bytes::Bytes;

use super::slab_ring::Slab;

/// What is less than this part of the memory that it would pin is copied: of the datagram that
/// brings it, which counts its own bytes only, and of the slab, which is wanted back.
const MIN_LENT_PART: usize = 4;

/// Data below this size is copied whatever it would pin.
pub(super) const LEND_FROM: usize = 512;

/// Datagrams of one size, of which the last may be shorter, one behind the other in memory, that
/// one call to the socket has received from one sender.
#[derive(Debug)]
pub struct Train<'a> {
    memory: Memory<'a>,
    range: Range<usize>,
    stride: usize,
}

#[derive(Debug)]
enum Memory<'a> {
    /// Readers may keep parts of it.
    Lendable(&'a mut Slab),
    /// Whatever is kept must be copied.
    Scratch(&'a mut Slab),
    Plain(&'a mut [u8]),
}

impl<'a> Train<'a> {
    /// What fills the first `len` bytes of `slab`, in datagrams of `stride` bytes each. Readers may
    /// keep parts of it if it is a good part of the slab.
    pub fn new(slab: &'a mut Slab, len: usize, stride: usize) -> Self {
        let len = len.min(slab.bytes().len());
        let memory = match len * MIN_LENT_PART < slab.bytes().len() {
            true => Memory::Scratch(slab),
            false => Memory::Lendable(slab),
        };
        Self { memory, range: 0..len, stride: stride.max(1) }
    }

    /// Datagrams of `stride` bytes each in memory that is not lent.
    pub fn unlent(datagrams: &'a mut [u8], stride: usize) -> Self {
        let range = 0..datagrams.len();
        Self { memory: Memory::Plain(datagrams), range, stride: stride.max(1) }
    }

    /// A single datagram in memory that is not lent.
    pub fn single(datagram: &'a mut [u8]) -> Self {
        let len = datagram.len();
        Self::unlent(datagram, len)
    }

    /// Splits off the first `datagrams`, or all if there are fewer.
    pub fn split_front(&mut self, datagrams: usize) -> Train<'_> {
        let len = datagrams.saturating_mul(self.stride).min(self.range.len());
        let middle = self.range.start + len;
        let range = self.range.start..middle;
        self.range.start = middle;
        let memory = match &mut self.memory {
            Memory::Lendable(slab) => Memory::Lendable(slab),
            Memory::Scratch(slab) => Memory::Scratch(slab),
            Memory::Plain(bytes) => Memory::Plain(bytes),
        };
        Train { memory, range, stride: self.stride }
    }

    /// The bytes of all datagrams.
    pub fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Lendable(slab) | Memory::Scratch(slab) => &slab.bytes()[self.range.clone()],
            Memory::Plain(bytes) => &bytes[self.range.clone()],
        }
    }

    /// The same, to change them; `None` once something of this memory was lent.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.memory {
            Memory::Lendable(slab) | Memory::Scratch(slab) => {
                Some(&mut slab.bytes_mut()?[self.range.clone()])
            }
            Memory::Plain(bytes) => Some(&mut bytes[self.range.clone()]),
        }
    }

    /// Each datagram.
    pub fn datagrams(&self) -> Chunks<'_, u8> {
        self.bytes().chunks(self.stride)
    }

    /// Bytes of each datagram but the last.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// True if no datagram is left.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Who lends parts of the memory.
    pub fn lender(&self) -> Lender<'_> {
        match &self.memory {
            Memory::Lendable(slab) => Lender { slab: Some(slab), whole: None },
            Memory::Scratch(_) | Memory::Plain(_) => Lender::none(),
        }
    }
}

/// Lends parts of a slab to readers, under a single lease that is made when it is first needed.
#[derive(Debug)]
pub struct Lender<'a> {
    slab: Option<&'a Slab>,
    whole: Option<Bytes>,
}

impl Lender<'_> {
    /// One who lends nothing.
    pub fn none() -> Self {
        Self { slab: None, whole: None }
    }

    /// `data`, of a datagram of `datagram_size` bytes in the slab, in the way in which it may be
    /// kept.
    pub fn lend<'d>(&mut self, data: &'d [u8], datagram_size: usize) -> Arrival<'d> {
        if data.len() < LEND_FROM || data.len() * MIN_LENT_PART < datagram_size {
            return Arrival::Copy(data);
        }
        if self.whole.is_none() {
            self.whole = self.slab.and_then(Slab::lease).map(Bytes::from_owner);
        }
        match &self.whole {
            Some(whole) => Arrival::Share(whole.slice_ref(data)),
            None => Arrival::Copy(data),
        }
    }
}

/// Received data on its way to where it is kept.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// The memory is wanted back at once: what is kept must be copied.
    Copy(&'a [u8]),
    /// May be kept for as long as it is needed.
    Share(Bytes),
}

impl Arrival<'_> {
    /// Splits off the first `at` bytes.
    pub(super) fn split_to(&mut self, at: usize) -> Self {
        match self {
            Self::Copy(data) => {
                let (front, rest) = data.split_at(at);
                *data = rest;
                Self::Copy(front)
            }
            Self::Share(data) => Self::Share(data.split_to(at)),
        }
    }
}

impl std::ops::Deref for Arrival<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copy(data) => data,
            Self::Share(data) => data,
        }
    }
}
