//! Connections that clients want and nobody has decided about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::path::{AddressProof, DatagramMeta};
use crate::wire::{ConnectionId, Version};

/// A client gives up, or tries again, when nobody has decided about it for so long.
const LIFETIME: Duration = Duration::from_secs(10);
/// The first flight of a client is one to three datagrams, with early data as many as its initial
/// congestion window holds: small ones, if it sends small requests as they come.
const MAX_DATAGRAMS_EACH: usize = 64;
/// An initial congestion window (RFC 9002 section 7.2), and a first packet that comes twice.
const MAX_BYTES_EACH: usize = 16 * 1024;

/// Names a connection that waits to be accepted, refused or ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncomingId(u64);

impl IncomingId {
    #[cfg(test)]
    pub(super) const FIRST: Self = Self(0);
}

/// What is known of a client whose first Initial packet was authentic.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) meta: DatagramMeta,
    pub(super) version: Version,
    /// What the client sends to, chosen by itself.
    pub(super) dcid: ConnectionId,
    /// What the client wants to be sent to.
    pub(super) scid: ConnectionId,
    /// How its address was validated.
    pub(super) proof: AddressProof,
    /// What its very first packet was sent to: another connection ID than `dcid` after a Retry.
    pub(super) original_dcid: ConnectionId,
    /// Copies: what waits must not pin receive buffers.
    pub(super) datagrams: Vec<(DatagramMeta, Vec<u8>)>,
    expires: Instant,
}

/// A client as its first packet shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) version: Version,
    pub(super) dcid: ConnectionId,
    pub(super) scid: ConnectionId,
    pub(super) proof: AddressProof,
    pub(super) original_dcid: ConnectionId,
}

impl Incoming {
    fn buffered(&self) -> usize {
        self.datagrams.iter().map(|(_, datagram)| datagram.len()).sum()
    }
}

/// The queue of undecided connections, bounded in number and in bytes.
#[derive(Debug)]
pub(super) struct IncomingQueue {
    waiting: BTreeMap<IncomingId, Incoming>,
    next_id: u64,
    /// Clients from here on were not reported yet.
    unreported: IncomingId,
    bytes: usize,
    max_count: usize,
    max_bytes: usize,
}

impl IncomingQueue {
    pub(super) fn new(max_count: usize, max_bytes: usize) -> Self {
        let waiting = BTreeMap::new();
        Self { waiting, next_id: 0, unreported: IncomingId(0), bytes: 0, max_count, max_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of all datagrams that wait.
    pub(super) fn buffered(&self) -> usize {
        self.bytes
    }

    /// True if another client with a first datagram of `len` bytes would exceed a limit.
    pub(super) fn is_full(&self, len: usize) -> bool {
        self.waiting.len() >= self.max_count || self.bytes + len > self.max_bytes
    }

    /// Adds a client with its first datagram. The caller has asked [`IncomingQueue::is_full`].
    pub(super) fn insert(
        &mut self,
        now: Instant,
        arrival: Arrival,
        meta: DatagramMeta,
        datagram: &[u8],
    ) -> IncomingId {
        let id = IncomingId(self.next_id);
        self.next_id += 1;
        self.bytes += datagram.len();
        let datagrams = vec![(meta, datagram.to_vec())];
        let expires = now + LIFETIME;
        let Arrival { version, dcid, scid, proof, original_dcid } = arrival;
        let incoming =
            Incoming { meta, version, dcid, scid, proof, original_dcid, datagrams, expires };
        self.waiting.insert(id, incoming);
        id
    }

    /// Keeps another datagram of a client, if there is room for it and it comes from the same
    /// address as the first one.
    pub(super) fn push(&mut self, id: IncomingId, meta: DatagramMeta, datagram: &[u8]) -> bool {
        let Some(incoming) = self.waiting.get_mut(&id) else { return false };
        if incoming.meta.remote != meta.remote
            || incoming.datagrams.len() >= MAX_DATAGRAMS_EACH
            || incoming.buffered() + datagram.len() > MAX_BYTES_EACH
            || self.bytes + datagram.len() > self.max_bytes
        {
            return false;
        }
        self.bytes += datagram.len();
        incoming.datagrams.push((meta, datagram.to_vec()));
        true
    }

    /// Takes a client out of the queue: it was decided about.
    pub(super) fn remove(&mut self, id: IncomingId) -> Option<Incoming> {
        let incoming = self.waiting.remove(&id)?;
        self.bytes -= incoming.buffered();
        Some(incoming)
    }

    /// The next client that was not reported yet.
    pub(super) fn next_arrival(&mut self) -> Option<(IncomingId, SocketAddr, AddressProof)> {
        let (id, incoming) = self.waiting.range(self.unreported..).next()?;
        self.unreported = IncomingId(id.0 + 1);
        Some((*id, incoming.meta.remote, incoming.proof))
    }

    pub(super) fn get(&self, id: IncomingId) -> Option<&Incoming> {
        self.waiting.get(&id)
    }

    /// True if there is a client that was not reported yet.
    pub(super) fn has_arrivals(&self) -> bool {
        self.waiting.range(self.unreported..).next().is_some()
    }

    /// When the oldest client has waited for too long. Numbers are given in order of time.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, incoming)| incoming.expires)
    }

    /// Takes out a client that has waited for too long.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Incoming> {
        let id = *self.waiting.first_entry().filter(|first| first.get().expires <= now)?.key();
        self.remove(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = IncomingId> {
        self.waiting.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(port: u16) -> DatagramMeta {
        DatagramMeta::new(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    fn insert(queue: &mut IncomingQueue, now: Instant) -> IncomingId {
        let id = ConnectionId::EMPTY;
        let proof = AddressProof::None;
        let arrival =
            Arrival { version: Version::V1, dcid: id, scid: id, proof, original_dcid: id };
        queue.insert(now, arrival, meta(1), &[0; 1200])
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let now = Instant::now();
        let mut queue = IncomingQueue::new(3, 10_000);
        let first = insert(&mut queue, now);
        assert!((0..7).all(|_| queue.push(first, meta(1), &[0; 1000])));
        assert!(!queue.push(first, meta(1), &[0; 2000]), "more than all may hold together");
        assert_eq!(queue.buffered(), 8200);
        assert!(!queue.is_full(1200));
        insert(&mut queue, now);
        assert!(queue.is_full(1200), "no room for the bytes");
        assert!(!queue.is_full(600));
        queue.remove(first).unwrap();
        assert_eq!(queue.buffered(), 1200);
        insert(&mut queue, now);
        insert(&mut queue, now);
        assert!(queue.is_full(0), "too many");
    }

    #[test]
    fn each_client_may_send_early_data_as_much_as_its_initial_window_holds() {
        let now = Instant::now();
        let mut queue = IncomingQueue::new(3, 1 << 20);
        let first = insert(&mut queue, now);
        let kept = (0..1000).filter(|_| queue.push(first, meta(1), &[0; 300])).count();
        assert_eq!(kept, (MAX_BYTES_EACH - 1200) / 300);
        let second = insert(&mut queue, now);
        let kept = (0..1000).filter(|_| queue.push(second, meta(1), &[0; 40])).count();
        assert_eq!(kept, MAX_DATAGRAMS_EACH - 1);
    }

    #[test]
    fn only_the_address_of_the_first_datagram_adds_to_it() {
        let mut queue = IncomingQueue::new(1, 10_000);
        let id = insert(&mut queue, Instant::now());
        assert!(!queue.push(id, meta(2), b"spoofed"));
        assert!(queue.push(id, meta(1), b"second"));
        assert_eq!(queue.remove(id).unwrap().datagrams.len(), 2);
        assert!(!queue.push(id, meta(1), b"late"));
        assert_eq!(queue.buffered(), 0);
    }

    #[test]
    fn clients_wait_for_a_limited_time_the_oldest_first() {
        let start = Instant::now();
        let mut queue = IncomingQueue::new(10, 10_000);
        insert(&mut queue, start);
        let second = insert(&mut queue, start + Duration::from_secs(1));
        assert!(queue.next_arrival().is_some());
        assert_eq!(queue.next_expiry(), Some(start + LIFETIME));
        assert!(queue.pop_expired(start + Duration::from_secs(9)).is_none());
        assert!(queue.pop_expired(start + LIFETIME).is_some());
        assert!(queue.pop_expired(start + LIFETIME).is_none());
        assert_eq!(queue.ids().collect::<Vec<_>>(), [second]);
        assert_eq!(queue.next_arrival().map(|(id, ..)| id), Some(second));
        assert_eq!(queue.next_arrival(), None);
    }
}
