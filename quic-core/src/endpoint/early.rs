//! 0-RTT packets that have overtaken the Initial packet that begins their connection (RFC 9000
//! section 5.2.2).
//!
//! Nothing is known of them but where they go, so they are kept for a moment only, and few of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::path::DatagramMeta;
use crate::wire::ConnectionId;

/// An Initial packet that is this late was lost.
const LIFETIME: Duration = Duration::from_secs(1);
/// Datagrams for one connection ID: about what a client may send at first.
const MAX_DATAGRAMS_EACH: usize = 8;
/// Datagrams, and their bytes, for all of them.
const MAX_DATAGRAMS: usize = 128;
const MAX_BYTES: usize = 128 * 1024;

/// A datagram that begins with a 0-RTT packet.
#[derive(Debug)]
struct Waiting {
    dcid: ConnectionId,
    meta: DatagramMeta,
    /// A copy: what waits must not pin a receive buffer.
    datagram: Vec<u8>,
    expires: Instant,
}

/// Datagrams that wait for the beginning of their connections, the oldest first.
#[derive(Debug, Default)]
pub(super) struct EarlyDatagrams {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl EarlyDatagrams {
    /// Keeps a datagram for a while, if there is room.
    // req 9000-5.2.2-070
    pub(super) fn push(
        &mut self,
        now: Instant,
        dcid: ConnectionId,
        meta: &DatagramMeta,
        datagram: &[u8],
    ) -> bool {
        self.expire(now);
        let same = self.waiting.iter().filter(|waiting| waiting.dcid == dcid).count();
        if same >= MAX_DATAGRAMS_EACH
            || self.waiting.len() >= MAX_DATAGRAMS
            || self.bytes + datagram.len() > MAX_BYTES
        {
            return false;
        }
        self.bytes += datagram.len();
        let datagram = datagram.to_vec();
        self.waiting.push_back(Waiting { dcid, meta: *meta, datagram, expires: now + LIFETIME });
        true
    }

    /// Takes out what waits for the connection that `remote` begins with `dcid`.
    pub(super) fn take(
        &mut self,
        dcid: ConnectionId,
        remote: SocketAddr,
    ) -> Vec<(DatagramMeta, Vec<u8>)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let is_wanted = |waiting: &Waiting| waiting.dcid == dcid && waiting.meta.remote == remote;
        let all = std::mem::take(&mut self.waiting);
        let (taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
        self.waiting = left.into();
        self.bytes -= taken.iter().map(|waiting| waiting.datagram.len()).sum::<usize>();
        taken.into_iter().map(|waiting| (waiting.meta, waiting.datagram)).collect()
    }

    /// Forgets what has waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.waiting.pop_front_if(|waiting| waiting.expires <= now) {
            self.bytes -= oldest.datagram.len();
        }
    }

    /// When the oldest one has waited for too long.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(port: u16) -> DatagramMeta {
        DatagramMeta::new(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    fn id(n: u8) -> ConnectionId {
        ConnectionId::new(&[n; 8]).unwrap()
    }

    // req-test 9000-5.2.2-070
    #[test]
    fn early_datagrams_wait_in_limited_number_and_for_a_limited_time() {
        let now = Instant::now();
        let mut early = EarlyDatagrams::default();
        let kept = (0..100).filter(|_| early.push(now, id(1), &meta(1), &[0; 100])).count();
        assert_eq!(kept, MAX_DATAGRAMS_EACH);
        let kept = (2..255).filter(|n| early.push(now, id(*n), &meta(1), &[0; 1000])).count();
        assert_eq!(kept, MAX_DATAGRAMS - MAX_DATAGRAMS_EACH);
        assert_eq!(early.next_expiry(), Some(now + LIFETIME));
        early.expire(now + LIFETIME);
        assert_eq!((early.waiting.len(), early.bytes), (0, 0));
        let kept = (0..100).filter(|n| early.push(now, id(*n), &meta(1), &[0; 60_000])).count();
        assert_eq!(kept, 2, "limited in bytes as well");
    }

    #[test]
    fn only_who_begins_the_connection_gets_its_early_datagrams() {
        let now = Instant::now();
        let mut early = EarlyDatagrams::default();
        for (n, port) in [(1, 1), (1, 2), (2, 1)] {
            assert!(early.push(now, id(n), &meta(port), &[n]));
        }
        let taken = early.take(id(1), meta(1).remote);
        assert_eq!(taken.len(), 1);
        assert_eq!((early.waiting.len(), early.bytes), (2, 2));
    }
}
