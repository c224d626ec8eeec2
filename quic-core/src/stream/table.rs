//! All streams that are not over, found by their number.
//!
//! Streams live in a slab; the rest of this layer names them by their place in it. What is over
//! leaves nothing behind: of each kind of stream the table remembers how many were opened, so a
//! number below that mark that is not in the table belongs to a stream that is over.
//!
//! A frame for a stream opens all streams of its kind with lower numbers too. Those are remembered
//! as ranges of numbers and made when the first frame arrives or the application takes them, so a
//! single frame can make a single stream and no more.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::recv::RecvStream;
use super::scheduler::Priority;
use super::send::SendStream;
use crate::observe::StreamState;
use crate::util::{RangeSet, Rng};
use crate::wire::{Dir, Side, StreamId};

/// One stream: its parts, and what the island keeps about it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: Option<SendStream>,
    pub(super) recv: Option<RecvStream>,
    pub(super) priority: Priority,
    pub(super) owner: Owner,
    pub(super) writer: Writer,
    /// Some of it came in 0-RTT packets before the handshake was complete.
    pub(super) early: bool,
    /// True while a `Readable` event waits for the application.
    pub(super) readable_queued: bool,
    /// The states that were last told to who listens.
    pub(super) told: Told,
}

/// The states of both halves, `None` where there is no such half or nothing was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) send: Option<StreamState>,
    pub(super) recv: Option<StreamState>,
}

/// Whether the application knows the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The peer has opened it and the application did not accept it yet.
    Unaccepted,
    /// The application uses it.
    App,
    /// The application will not name it again.
    Released,
}

/// What the application's writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// It does not wait, or a `Writable` event is on its way.
    Content,
    /// Acknowledgements on this stream.
    Window,
    /// Acknowledgements on any stream.
    Budget,
}

impl Stream {
    pub(super) fn new(id: StreamId, send: Option<SendStream>, recv: Option<RecvStream>) -> Self {
        Self {
            id,
            send,
            recv,
            priority: Priority::default(),
            owner: Owner::App,
            writer: Writer::Content,
            early: false,
            readable_queued: false,
            told: Told::default(),
        }
    }

    /// True if neither part will send or receive anything any more. Each goes its own way till then.
    // req 9000-4.4-028
    pub(super) fn is_closed(&self) -> bool {
        self.send.as_ref().is_none_or(SendStream::is_closed)
            && self.recv.as_ref().is_none_or(RecvStream::is_closed)
    }
}

/// How the table knows a stream number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is in the table at this place.
    Here(usize),
    /// It was opened by a frame for a later stream and is not made yet.
    Implied,
    /// It was opened and is over.
    Over,
    /// It was not opened.
    Unopened,
}

#[derive(Debug)]
pub(super) struct Table {
    streams: Slab<Stream>,
    places: HashMap<StreamId, usize, KeyedState>,
    /// How many streams of each kind were opened.
    opened: [[u64; 2]; 2],
    /// How many streams of the peer the application has accepted.
    accepted: [u64; 2],
    /// Streams that are open and not made yet, of each kind.
    implied: [[RangeSet; 2]; 2],
}

impl Table {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            streams: Slab::new(),
            places: HashMap::with_hasher(KeyedState { key: rng.u64(), factor: rng.u64() | 1 }),
            opened: [[0; 2]; 2],
            accepted: [0; 2],
            implied: Default::default(),
        }
    }

    pub(super) fn find(&self, id: StreamId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    pub(super) fn known(&self, id: StreamId) -> Known {
        if let Some(key) = self.find(id) {
            Known::Here(key)
        } else if id.index() >= self.opened(id.initiator(), id.dir()) {
            Known::Unopened
        } else if self.implied[id.initiator() as usize][id.dir() as usize].contains(id.index()) {
            Known::Implied
        } else {
            Known::Over
        }
    }

    /// How many streams of a kind were opened, which is the index of the next one.
    pub(super) fn opened(&self, initiator: Side, dir: Dir) -> u64 {
        self.opened[initiator as usize][dir as usize]
    }

    /// Opens all streams of the kind of `id` up to and including it.
    // req 9000-2.1-001, 9000-3.2-008
    pub(super) fn open_up_to(&mut self, id: StreamId) {
        let opened = &mut self.opened[id.initiator() as usize][id.dir() as usize];
        debug_assert!(*opened <= id.index(), "stream numbers are used once");
        if *opened < id.index() {
            self.implied[id.initiator() as usize][id.dir() as usize].insert(*opened..id.index());
        }
        *opened = id.index() + 1;
    }

    /// The next stream of the peer, the initiator, that the application has not seen, if it is open.
    pub(super) fn next_to_accept(&self, initiator: Side, dir: Dir) -> Option<StreamId> {
        let index = self.accepted[dir as usize];
        (index < self.opened(initiator, dir)).then(|| StreamId::new(initiator, dir, index))
    }

    pub(super) fn on_accepted(&mut self, dir: Dir) {
        self.accepted[dir as usize] += 1;
    }

    pub(super) fn insert(&mut self, stream: Stream) -> usize {
        let id = stream.id;
        let implied = &mut self.implied[id.initiator() as usize][id.dir() as usize];
        implied.remove(id.index()..id.index() + 1);
        let key = self.streams.insert(stream);
        self.places.insert(id, key);
        key
    }

    pub(super) fn remove(&mut self, key: usize) -> Stream {
        let stream = self.streams.remove(key);
        self.places.remove(&stream.id);
        stream
    }

    /// Removes all streams; which numbers were opened stays known.
    pub(super) fn clear(&mut self) {
        self.streams = Slab::new();
        self.places.clear();
        self.implied = Default::default();
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.streams.capacity().max(self.places.capacity())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().map(|(_, stream)| stream)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Stream)> {
        self.streams.iter_mut()
    }
}

impl Index<usize> for Table {
    type Output = Stream;

    fn index(&self, key: usize) -> &Stream {
        &self.streams[key]
    }
}

impl IndexMut<usize> for Table {
    fn index_mut(&mut self, key: usize) -> &mut Stream {
        &mut self.streams[key]
    }
}

/// Hashes stream numbers with a secret key, because it is the peer who chooses among them.
#[derive(Clone, Copy, Debug)]
struct KeyedState {
    key: u64,
    factor: u64,
}

struct KeyedHasher {
    state: KeyedState,
    hash: u64,
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: *self, hash: self.key }
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.hash ^ value) * u128::from(self.state.factor);
        self.hash = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new(&mut Rng::from_seed([1; 32]))
    }

    fn id(index: u64) -> StreamId {
        StreamId::new(Side::Client, Dir::Uni, index)
    }

    // req-test 9000-3.2-008
    #[test]
    fn opening_a_stream_opens_those_before_it_without_making_them() {
        let mut table = table();
        table.open_up_to(id(1_000_000));
        let key = table.insert(Stream::new(id(1_000_000), None, None));
        assert_eq!(table.len(), 1);
        assert_eq!(table.known(id(1_000_000)), Known::Here(key));
        assert_eq!(table.known(id(999_999)), Known::Implied);
        assert_eq!(table.known(id(1_000_001)), Known::Unopened);
        assert_eq!(table.known(StreamId::new(Side::Server, Dir::Uni, 0)), Known::Unopened);
        table.insert(Stream::new(id(5), None, None));
        assert!(matches!(table.known(id(5)), Known::Here(_)));
    }

    // lesson 27
    #[test]
    fn streams_that_are_over_leave_nothing_behind() {
        let mut table = table();
        for index in 0..10_000 {
            table.open_up_to(id(index));
            let key = table.insert(Stream::new(id(index), None, None));
            assert_eq!(table.remove(key).id, id(index));
            assert_eq!(table.known(id(index)), Known::Over);
        }
        assert!(table.streams.capacity() < 8 && table.places.capacity() < 8);
        assert!(table.implied.iter().flatten().all(RangeSet::is_empty));
    }

    #[test]
    fn hashes_depend_on_the_key() {
        let [one, other] = [1, 2].map(|seed| Table::new(&mut Rng::from_seed([seed; 32])));
        let hash = |table: &Table| table.places.hasher().hash_one(id(7));
        assert_ne!(hash(&one), hash(&other));
        let low: std::collections::HashSet<_> =
            (0..128).map(|n| one.places.hasher().hash_one(id(n)) & 0xff).collect();
        assert!(low.len() > 70, "{} of 128 numbers hash apart", low.len());
    }
}
