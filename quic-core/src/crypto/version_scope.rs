//! Sessions belong to the version of QUIC that they began in (RFC 9369, section 5): a server does
//! not resume one in another version.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ProducesTickets, StoresServerSessions};

use crate::wire::Version;

/// The TLS settings of a server for connections of `version`: as `config`, with sessions apart from
/// those of other versions.
pub(super) fn server_config_of(config: Arc<ServerConfig>, version: Version) -> Arc<ServerConfig> {
    // Those of version 1 are kept as they always were.
    if version == Version::V1 {
        return config;
    }
    let mut scoped = (*config).clone();
    let inner = Arc::clone(&config.session_storage);
    scoped.session_storage = Arc::new(ScopedStore { inner, version });
    let inner = Arc::clone(&config.ticketer);
    scoped.ticketer = Arc::new(ScopedTickets { inner, version });
    Arc::new(scoped)
}

/// A store that finds the sessions of one version only.
struct ScopedStore {
    inner: Arc<dyn StoresServerSessions>,
    version: Version,
}

impl ScopedStore {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.version.0.to_be_bytes(), key].concat()
    }
}

impl StoresServerSessions for ScopedStore {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.take(&self.key(key))
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

impl fmt::Debug for ScopedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedStore").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Tickets that hold sessions themselves; they name the version, under the seal.
struct ScopedTickets {
    inner: Arc<dyn ProducesTickets>,
    version: Version,
}

impl ProducesTickets for ScopedTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&[plain, &self.version.0.to_be_bytes()].concat())
    }

    // A ticket of version 1 ends in the bytes of its session, which no version number looks like but
    // by one chance in 2^32; what is left of it then is no session.
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.inner.decrypt(cipher)?;
        let (session, version) = plain.split_last_chunk()?;
        let len = session.len();
        (Version(u32::from_be_bytes(*version)) == self.version).then(|| {
            plain.truncate(len);
            plain
        })
    }
}

impl fmt::Debug for ScopedTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTickets").field("version", &self.version).finish_non_exhaustive()
    }
}
