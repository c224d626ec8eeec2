//! What a server that takes early data keeps with each session: what it had promised when it gave
//! the ticket (RFC 9000, section 7.4.1; RFC 9001, section 4.6.3).

use std::fmt;
use std::sync::Arc;

use rustls::server::StoresServerSessions;

use crate::wire::TransportParameters;

/// A store of sessions that finds a session only if early data sent by its promises would be
/// within those of today.
///
/// Sessions that do not fit are not resumed at all: the handshake is a full one, which rejects early
/// data. Sessions are taken out of the store, so that each ticket is good once, which also stops
/// replays of early data to servers that share the store.
pub struct SessionGuard {
    inner: Arc<dyn StoresServerSessions>,
    promise: Promise,
}

impl SessionGuard {
    /// A store on top of `inner` for a server with these parameters, and with this state of the
    /// application, which must be the same as before.
    pub fn new(
        inner: Arc<dyn StoresServerSessions>,
        params: &TransportParameters,
        application: &[u8],
    ) -> Self {
        Self { inner, promise: Promise::new(params, application) }
    }

    // req 9000-7.4.1-102, 9000-7.4.1-103, 9000-7.4.1-105, 9000-7.4.1-106, 9114-7.2.4.2-179
    // req 9114-7.2.4.2-181
    fn check(&self, kept: &[u8]) -> Option<Vec<u8>> {
        let (promise, session) = Promise::decode(kept)?;
        promise.is_kept_by(&self.promise).then(|| session.to_vec())
    }
}

impl fmt::Debug for SessionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGuard").field("promise", &self.promise).finish_non_exhaustive()
    }
}

impl StoresServerSessions for SessionGuard {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut kept = self.promise.encode();
        kept.extend_from_slice(&value);
        self.inner.put(key, kept)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.check(&self.inner.get(key)?)
    }

    // req 9001-9.2-110
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.check(&self.inner.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

const LIMITS: usize = 10;

/// What early data relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Promise {
    /// Values that may grow.
    limits: [u64; LIMITS],
    application: Vec<u8>,
}

impl Promise {
    fn new(params: &TransportParameters, application: &[u8]) -> Self {
        let idle = match params.max_idle_timeout_ms {
            0 => u64::MAX,
            limited => limited,
        };
        let limits = [
            params.active_connection_id_limit,
            params.initial_max_data,
            params.initial_max_stream_data_bidi_local,
            params.initial_max_stream_data_bidi_remote,
            params.initial_max_stream_data_uni,
            params.initial_max_streams_bidi,
            params.initial_max_streams_uni,
            idle,
            params.max_udp_payload_size,
            u64::from(!params.disable_active_migration),
        ];
        Self { limits, application: application.to_vec() }
    }

    fn is_kept_by(&self, today: &Self) -> bool {
        self.application == today.application
            && self.limits.iter().zip(today.limits).all(|(before, now)| *before <= now)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.limits.iter().for_each(|limit| out.extend_from_slice(&limit.to_be_bytes()));
        out.extend_from_slice(&(self.application.len() as u64).to_be_bytes());
        out.extend_from_slice(&self.application);
        out
    }

    /// The promise, and what follows it.
    fn decode(mut bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut next = || {
            let (number, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            Some(u64::from_be_bytes(*number))
        };
        let mut limits = [0; LIMITS];
        for limit in &mut limits {
            *limit = next()?;
        }
        let len = usize::try_from(next()?).ok()?;
        let (application, rest) = bytes.split_at_checked(len)?;
        Some((Self { limits, application: application.to_vec() }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> TransportParameters {
        TransportParameters {
            max_idle_timeout_ms: 10_000,
            initial_max_data: 100,
            initial_max_streams_bidi: 5,
            ..TransportParameters::default()
        }
    }

    fn guard(
        inner: &Arc<dyn StoresServerSessions>,
        params: &TransportParameters,
        state: &[u8],
    ) -> SessionGuard {
        SessionGuard::new(Arc::clone(inner), params, state)
    }

    // req-test 9000-7.4.1-102, 9000-7.4.1-103, 9000-7.4.1-105, 9000-7.4.1-106, 9114-7.2.4.2-179
    // req-test 9114-7.2.4.2-181
    #[test]
    fn a_session_is_found_only_if_no_promise_of_it_is_broken() {
        let inner: Arc<dyn StoresServerSessions> =
            rustls::server::ServerSessionMemoryCache::new(100);
        let before = guard(&inner, &params(), b"state");
        let larger =
            TransportParameters { initial_max_data: 200, max_idle_timeout_ms: 0, ..params() };
        let lower = [
            TransportParameters { initial_max_data: 99, ..params() },
            TransportParameters { initial_max_streams_bidi: 4, ..params() },
            TransportParameters { max_idle_timeout_ms: 9_000, ..params() },
            TransportParameters { max_udp_payload_size: 1_200, ..params() },
            TransportParameters { disable_active_migration: true, ..params() },
        ];
        let found = |key: u8, guard: &SessionGuard| {
            assert!(before.put(vec![key], vec![key; 3]));
            guard.take(&[key])
        };
        assert_eq!(found(1, &before), Some(vec![1; 3]));
        assert_eq!(found(2, &guard(&inner, &larger, b"state")), Some(vec![2; 3]));
        assert_eq!(found(3, &guard(&inner, &larger, b"other")), None);
        for (key, params) in (4..).zip(&lower) {
            assert_eq!(found(key, &guard(&inner, params, b"state")), None, "{params:?}");
        }
    }

    // req-test 9001-9.2-110
    #[test]
    fn a_session_is_found_once() {
        let inner: Arc<dyn StoresServerSessions> =
            rustls::server::ServerSessionMemoryCache::new(100);
        let guard = guard(&inner, &params(), b"");
        assert!(guard.put(vec![1], vec![2]));
        assert_eq!(guard.get(&[1]), Some(vec![2]));
        assert_eq!(guard.take(&[1]), Some(vec![2]));
        assert_eq!(guard.take(&[1]), None);
    }
}
