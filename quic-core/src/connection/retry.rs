//! Retry, at the client: the server wants the address proved (RFC 9000 section 17.2.5).

use std::time::Instant;

use bytes::Bytes;

use super::Connection;
use crate::config::MAX_TOKEN_LEN;
use crate::crypto::retry;
use crate::error::Discard;
use crate::observe::Event;
use crate::wire::header::RetryHeader;
use crate::wire::{ConnectionId, Side, SpaceId};

/// What a client shows to be let in.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// What all Initial packets carry: the token of a Retry, or else that of an earlier connection.
    token: Bytes,
    /// The Source Connection ID of the Retry, once there was one.
    retry_source: Option<ConnectionId>,
}

impl Admission {
    /// With the token of an earlier connection, or an empty one.
    pub(super) fn new(token: Bytes) -> Self {
        Self { token, retry_source: None }
    }

    // req 9000-8.1.2-123, 9000-8.1.3-126
    pub(super) fn token(&self) -> &[u8] {
        &self.token
    }

    pub(super) fn retry_source(&self) -> Option<ConnectionId> {
        self.retry_source
    }
}

impl Connection {
    /// Begins anew, with what the server demands.
    ///
    /// # Errors
    ///
    /// Why the packet is dropped; nothing has changed then.
    // req 9000-17.2.5.1-402, 9000-17.2.5.2-406, 9000-17.2.5.2-407, 9000-17.2.5.2-408
    pub(super) fn on_retry(
        &mut self,
        now: Instant,
        packet: &RetryHeader<'_>,
    ) -> Result<(), Discard> {
        if self.side == Side::Server {
            return Err(Discard::RetryAtServer);
        }
        if packet.version != self.versions.current() {
            return Err(Discard::VersionUnexpected);
        }
        if self.admission.retry_source.is_some() || !self.handshake.is_unanswered() {
            return Err(Discard::RetryLate);
        }
        if packet.dcid != self.local_ids.initial() {
            return Err(Discard::ConnectionIdMismatch);
        }
        let sent_to = self.remote_ids.active();
        if packet.scid == sent_to {
            return Err(Discard::RetrySourceUnchanged);
        }
        if packet.token.len() > MAX_TOKEN_LEN {
            return Err(Discard::RetryTokenTooLong);
        }
        if !retry::is_authentic(packet.version, &sent_to, packet.without_tag, &packet.tag) {
            return Err(Discard::RetryTagInvalid);
        }
        self.follow_retry(now, packet);
        Ok(())
    }

    /// Everything sent so far is void: it goes out again under new keys, to another connection ID,
    /// with the token. Packet numbers go on, and so does the handshake: it is the same ClientHello.
    // req 9000-8.1.2-123, 9000-8.1.3-127, 9000-8.1.3-136, 9000-17.2.5.1-403, 9000-17.2.5.2-410
    // req 9000-17.2.5.3-411, 9000-17.2.5.3-414
    fn follow_retry(&mut self, now: Instant, packet: &RetryHeader<'_>) {
        let old = self.remote_ids.active();
        self.observers.stats.retries += 1;
        self.observers.emit(now, || Event::RetryReceived {
            version: packet.version,
            dcid: packet.dcid,
            scid: packet.scid,
            token_len: packet.token.len(),
        });
        let token = Bytes::copy_from_slice(packet.token);
        self.admission = Admission { token, retry_source: Some(packet.scid) };
        self.remote_ids.set_initial(packet.scid);
        self.tell_remote_id(now, old);
        self.keys.replace_initial(&packet.scid, self.side);
        self.guess_rtt(now);
        // The keys of 0-RTT packets do not depend on connection IDs: those packets are lost too, and
        // go out again as they are.
        // req 9000-17.2.5.3-413, 9001-4.6.2-024, 9000-17.2.3-393
        for space in [SpaceId::Initial, SpaceId::Data] {
            self.abandon_sent(now, space);
        }
    }

    /// The Retry has shown how long the way is, or a lost first packet that it cannot be longer.
    // req 9002-6.3-047, 9002-6.3-048
    fn guess_rtt(&mut self, now: Instant) {
        let rtt = &mut self.path.recovery.rtt;
        rtt.set_initial(self.deadlines.age(now).min(rtt.smoothed()));
    }

    /// Has everything sent in `space` sent again: the peer will never process it.
    pub(super) fn abandon_sent(&mut self, now: Instant, space: SpaceId) {
        let mut outcome = std::mem::take(&mut self.ack_outcome);
        self.recovery.abandon_sent(now, space, &mut self.path.recovery, &mut outcome);
        for (_, packet) in outcome.lost.drain(..) {
            for frame in packet.content {
                self.on_frame_lost(frame);
            }
        }
        self.ack_outcome = outcome;
        if let Some(state) = self.space_mut(space) {
            state.probes = 0;
        }
    }
}
