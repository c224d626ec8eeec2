//! Which connection a datagram belongs to: by connection ID, or by stateless reset token.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use super::connections::ConnectionHandle;
use super::incoming::IncomingId;
use crate::util::Rng;
use crate::wire::{ConnectionId, ResetToken};

/// Whom a connection ID leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Connection(ConnectionHandle),
    Incoming(IncomingId),
}

/// The routing table.
///
/// Clients choose the first connection ID that they send to, so the table hashes with a secret key:
/// nobody can choose IDs that collide.
#[derive(Debug)]
pub(super) struct Routes {
    by_id: HashMap<ConnectionId, Target, KeyedHash>,
    by_token: HashMap<u64, (ResetToken, ConnectionHandle), KeyedHash>,
    /// Datagrams come in trains for one connection.
    last: Option<(ConnectionId, Target)>,
    local_cid_len: usize,
}

impl Routes {
    pub(super) fn new(local_cid_len: usize, rng: &mut Rng) -> Self {
        Self {
            by_id: HashMap::with_hasher(KeyedHash::new(rng)),
            by_token: HashMap::with_hasher(KeyedHash::new(rng)),
            last: None,
            local_cid_len,
        }
    }

    /// Whom the datagram is for, as far as its first packet tells.
    #[inline]
    pub(super) fn find(&mut self, datagram: &[u8]) -> Option<Target> {
        let id = destination(datagram, self.local_cid_len)?;
        if let Some((last, target)) = &self.last
            && last.as_slice() == id
        {
            return Some(*target);
        }
        let (id, target) = self.by_id.get_key_value(id)?;
        self.last = Some((*id, *target));
        Some(*target)
    }

    pub(super) fn contains(&self, id: &ConnectionId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Routes `id` to `target` from now on.
    // req 9000-5.1.1-043
    pub(super) fn insert(&mut self, id: ConnectionId, target: Target) {
        self.last = None;
        self.by_id.insert(id, target);
    }

    pub(super) fn remove(&mut self, id: &ConnectionId) {
        self.last = None;
        self.by_id.remove(id);
    }

    /// A datagram from `remote` that ends in `token` ends `handle`. Returns the mark for
    /// [`Routes::remove_token`].
    pub(super) fn insert_token(
        &mut self,
        token: ResetToken,
        remote: SocketAddr,
        handle: ConnectionHandle,
    ) -> u64 {
        let mark = self.mark(&token, remote);
        self.by_token.insert(mark, (token, handle));
        mark
    }

    pub(super) fn remove_token(&mut self, mark: u64, handle: ConnectionHandle) {
        if self.by_token.get(&mark).is_some_and(|(_, owner)| *owner == handle) {
            self.by_token.remove(&mark);
        }
    }

    /// Whom the datagram from `remote` resets.
    ///
    /// What is compared in a time that depends on the data is a hash with a secret key.
    // req 9000-10.3.1-259, 9000-10.3-254
    pub(super) fn find_reset(
        &self,
        datagram: &[u8],
        remote: SocketAddr,
    ) -> Option<ConnectionHandle> {
        let (_, token) = datagram.split_last_chunk()?;
        let token = ResetToken::new(*token);
        let (known, handle) = self.by_token.get(&self.mark(&token, remote))?;
        (*known == token).then_some(*handle)
    }

    pub(super) fn mark(&self, token: &ResetToken, remote: SocketAddr) -> u64 {
        self.by_id.hasher().hash_one((token.as_bytes(), remote))
    }
}

/// The destination connection ID of the first packet, which stands at the same place in all
/// versions of QUIC (RFC 8999 section 5).
#[inline]
pub(super) fn destination(datagram: &[u8], local_cid_len: usize) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return rest.get(..local_cid_len);
    }
    let (_version, rest) = rest.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first()?;
    rest.get(..usize::from(*len))
}

/// SipHash with a key that nobody else knows.
#[derive(Clone, Debug)]
struct KeyedHash {
    keys: [u64; 2],
}

impl KeyedHash {
    fn new(rng: &mut Rng) -> Self {
        Self { keys: [rng.u64(), rng.u64()] }
    }
}

impl BuildHasher for KeyedHash {
    #[expect(deprecated, reason = "the replacement takes its key from the system")]
    type Hasher = std::hash::SipHasher;

    #[expect(deprecated, reason = "the replacement takes its key from the system")]
    fn build_hasher(&self) -> Self::Hasher {
        std::hash::SipHasher::new_with_keys(self.keys[0], self.keys[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        Routes::new(8, &mut Rng::from_seed([4; 32]))
    }

    fn id(bytes: &[u8]) -> ConnectionId {
        ConnectionId::new(bytes).unwrap()
    }

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    const HANDLE: Target = Target::Incoming(IncomingId::FIRST);

    #[test]
    fn both_header_forms_lead_to_the_connection() {
        let mut routes = routes();
        routes.insert(id(b"12345678"), HANDLE);
        let short = b"\x4012345678rest";
        let long = b"\xc0\0\0\0\x01\x0812345678\0rest";
        assert_eq!(routes.find(short), Some(HANDLE));
        assert_eq!(routes.find(long), Some(HANDLE));
        assert_eq!(routes.find(b"\x4012345679rest"), None);
        assert_eq!(routes.find(short), Some(HANDLE), "and back to the one seen last");
        routes.remove(&id(b"12345678"));
        assert_eq!(routes.find(short), None, "also the one seen last is forgotten");
    }

    #[test]
    fn truncated_datagrams_lead_nowhere() {
        let mut routes = routes();
        routes.insert(id(b"12345678"), HANDLE);
        routes.insert(ConnectionId::EMPTY, HANDLE);
        for whole in [&b"\x4012345678"[..], b"\xc0\0\0\0\x01\x0812345678"] {
            for len in 0..whole.len() {
                assert_eq!(routes.find(&whole[..len]), None, "{len} bytes");
            }
        }
    }

    // req-test 9000-10.3-254
    #[test]
    fn a_reset_is_found_by_its_last_bytes_whatever_the_first_are() {
        let mut routes = routes();
        let handle = ConnectionHandle::for_test(1, 1);
        let mark = routes.insert_token(ResetToken::new(*b"0123456789abcdef"), remote(1), handle);
        for reset in [&b"\x40 short 0123456789abcdef"[..], b"\xff long 0123456789abcdef"] {
            assert_eq!(routes.find_reset(reset, remote(1)), Some(handle));
            assert_eq!(routes.find_reset(reset, remote(2)), None, "another peer");
        }
        assert_eq!(routes.find_reset(b"123456789abcdef", remote(1)), None);
        routes.remove_token(mark, ConnectionHandle::for_test(1, 2));
        assert!(routes.find_reset(b"0123456789abcdef", remote(1)).is_some(), "not its owner");
        routes.remove_token(mark, handle);
        assert_eq!(routes.find_reset(b"0123456789abcdef", remote(1)), None);
    }

    #[test]
    fn the_hash_depends_on_the_key() {
        let hash = |seed| KeyedHash::new(&mut Rng::from_seed([seed; 32])).hash_one(b"chosen");
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
