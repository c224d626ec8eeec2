//! New 1-RTT keys (RFC 9001 section 6): by call, and after the use that the configuration allows.
//! The peer's updates are followed where its packets are opened; what wears keys out is counted
//! where packets are sealed.

use std::time::Instant;

use super::Connection;
use crate::crypto::KeyUpdateRefused;
use crate::observe::Event;
use crate::wire::SpaceId;

impl Connection {
    /// Starts a key update: what is sent from now on is protected with new keys, and the peer
    /// follows. [`Stats::key_updates`](crate::observe::Stats::key_updates) counts updates of either
    /// side.
    ///
    /// # Errors
    ///
    /// If it is too early: the handshake is not confirmed, the peer has not acknowledged anything
    /// under the present keys, or the last update is less than three probe timeouts ago. Trying
    /// again later does no harm.
    // req 9001-6-061, 9001-6.1-064, 9001-6.1-065, 9001-6.5-081
    pub fn initiate_key_update(&mut self, now: Instant) -> Result<(), KeyUpdateRefused> {
        if !self.state.is_open() {
            return Err(KeyUpdateRefused::ConnectionClosed);
        }
        let pto = self.probe_timeout(SpaceId::Data);
        self.keys.initiate_key_update(now, pto)?;
        self.note_key_generation(now);
        // Something has to go out for the peer to follow.
        self.ping();
        Ok(())
    }

    /// Updates keys that were used as much as the configuration allows, as soon as that may be.
    pub(super) fn update_used_keys(&mut self, now: Instant) {
        let most = self.config.key_update_after();
        let (packets, bytes) = self.keys.key_use();
        if self.state.is_confirmed() && most.is_reached(packets, bytes) {
            let pto = self.probe_timeout(SpaceId::Data);
            // Refused until the peer has acknowledged the last one, and then tried again.
            if self.keys.initiate_key_update(now, pto).is_ok() {
                self.note_key_generation(now);
            }
        }
    }

    /// Counts and tells a key update, whoever has started it.
    pub(super) fn note_key_generation(&mut self, now: Instant) {
        let generation = self.keys.key_generation();
        if generation > self.observers.stats.key_updates {
            self.observers.stats.key_updates = generation;
            self.observers.emit(now, || Event::KeyUpdated { generation });
        }
    }
}
