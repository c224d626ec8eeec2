//! Where clients keep the tokens that servers give them for the next connection.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::wire::Version;

/// The longest token that a client keeps or repeats, in bytes. An Initial packet with such a token
/// has room for more than a hundred bytes of handshake in the smallest datagram.
pub const MAX_TOKEN_LEN: usize = 1000;

/// Which connections a token is for: those to the same server with the same version.
// req 9000-8.1.3-134
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenScope {
    /// The name that the server has proved to have.
    pub server_name: String,
    /// The UDP port of the server: another port may be another server.
    pub port: u16,
    /// The version of QUIC.
    pub version: Version,
}

/// Keeps the tokens that servers give out for later connections (RFC 9000 section 8.1.3).
///
/// With a token a server knows from the first packet on that the client is where it says, sends as
/// much as it likes and asks for no Retry. Servers recognise clients by tokens: who does not want
/// that has a store of its own for each identity.
///
/// The methods are called by the task that drives all connections: they must not block.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// Keeps a token. The store is free to forget it, or another one.
    fn insert(&self, scope: &TokenScope, token: Bytes);

    /// Takes out a token for a new connection; it must not be given out again.
    // req 9000-8.1.3-137
    fn take(&self, scope: &TokenScope) -> Option<Bytes>;
}

/// A [`TokenStore`] in memory: a few tokens each of the servers that gave some last.
#[derive(Debug, Default)]
pub struct MemoryTokenStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tokens: BTreeMap<TokenScope, VecDeque<Bytes>>,
    /// The servers, from the one that has given nothing for the longest time on.
    order: VecDeque<TokenScope>,
}

impl MemoryTokenStore {
    /// Tokens of so many servers are kept.
    pub const MAX_SERVERS: usize = 256;
    /// So many tokens of each server are kept, the latest ones.
    pub const MAX_TOKENS_EACH: usize = 4;

    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for MemoryTokenStore {
    fn insert(&self, scope: &TokenScope, token: Bytes) {
        let mut inner = self.lock();
        let Inner { tokens, order } = &mut *inner;
        order.retain(|known| known != scope);
        order.push_back(scope.clone());
        let of_server = tokens.entry(scope.clone()).or_default();
        if of_server.len() >= Self::MAX_TOKENS_EACH {
            of_server.pop_front();
        }
        of_server.push_back(token);
        if order.len() > Self::MAX_SERVERS
            && let Some(oldest) = order.pop_front()
        {
            tokens.remove(&oldest);
        }
    }

    fn take(&self, scope: &TokenScope) -> Option<Bytes> {
        let mut inner = self.lock();
        let of_server = inner.tokens.get_mut(scope)?;
        let token = of_server.pop_back();
        if of_server.is_empty() {
            inner.tokens.remove(scope);
            inner.order.retain(|known| known != scope);
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(server_name: impl Into<String>) -> TokenScope {
        TokenScope { server_name: server_name.into(), port: 443, version: Version::V1 }
    }

    // req-test 9000-8.1.3-134, 9000-8.1.3-137, 9000-8.1.3-141
    #[test]
    fn each_token_is_given_out_once_and_for_its_server_only() {
        let store = MemoryTokenStore::new();
        store.insert(&scope("one"), Bytes::from_static(b"1"));
        store.insert(&scope("one"), Bytes::from_static(b"2"));
        assert_eq!(store.take(&scope("two")), None);
        assert_eq!(store.take(&TokenScope { port: 444, ..scope("one") }), None);
        assert_eq!(store.take(&TokenScope { version: Version(2), ..scope("one") }), None);
        assert_eq!(store.take(&scope("one")), Some(Bytes::from_static(b"2")), "the latest first");
        assert_eq!(store.take(&scope("one")), Some(Bytes::from_static(b"1")));
        assert_eq!(store.take(&scope("one")), None);
    }

    #[test]
    fn number_of_servers_and_of_tokens_is_bounded() {
        let store = MemoryTokenStore::new();
        for server in 0..10 * MemoryTokenStore::MAX_SERVERS {
            for token in 0..20 {
                store.insert(&scope(server.to_string()), Bytes::from(vec![token]));
            }
        }
        let inner = store.lock();
        assert_eq!(inner.tokens.len(), MemoryTokenStore::MAX_SERVERS);
        assert_eq!(inner.order.len(), MemoryTokenStore::MAX_SERVERS);
        let most = inner.tokens.values().map(VecDeque::len).max();
        assert_eq!(most, Some(MemoryTokenStore::MAX_TOKENS_EACH));
        assert!(!inner.tokens.contains_key(&scope("0")), "the oldest goes first");
    }
}
