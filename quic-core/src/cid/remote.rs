//! Connection IDs that the peer issued: we send to one of them.

use std::collections::VecDeque;

use super::delivery::Delivery;
use crate::error::{TransportError, Violation};
use crate::util::range_set::RangeSet;
use crate::wire::frame::{NewConnectionId, RetireConnectionId};
use crate::wire::{ConnectionId, ResetToken};

/// Announcements come in order but for loss; a peer that leaves more holes than this is not honest.
const MAX_SEQUENCE_RANGES: usize = 64;
/// How many times the limit of connection IDs may wait for the acknowledgement of their retirement.
const RETIREMENTS_PER_LIMIT: u64 = 4;

/// The connection IDs that we may send to.
///
/// Packets go to [`RemoteIds::active`]. The others wait until the peer wants that one back.
#[derive(Debug)]
pub struct RemoteIds {
    /// Our active_connection_id_limit.
    limit: u64,
    active: Known,
    /// In use on other paths than that of `active`.
    elsewhere: Vec<Known>,
    /// Not yet used, by ascending sequence number.
    spare: VecDeque<Known>,
    /// The largest Retire Prior To received: everything below is given back.
    retire_prior_to: u64,
    /// All sequence numbers ever received, to recognise repetitions.
    received: RangeSet,
    /// Given back, but not yet acknowledged by the peer.
    retired: VecDeque<Retired>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    sequence: u64,
    id: ConnectionId,
    /// A client gives no token for the connection ID of its handshake.
    token: Option<ResetToken>,
}

#[derive(Debug)]
struct Retired {
    sequence: u64,
    announcement: Delivery,
}

impl RemoteIds {
    /// Begins with the connection ID that first packets are sent to. `limit` is the
    /// active_connection_id_limit that the peer is told.
    pub fn new(initial: ConnectionId, limit: u64) -> Self {
        Self {
            limit,
            active: Known { sequence: 0, id: initial, token: None },
            elsewhere: Vec::new(),
            spare: VecDeque::new(),
            retire_prior_to: 0,
            received: std::iter::once(0..1).collect(),
            retired: VecDeque::new(),
        }
    }

    /// The peer's first packet told the connection ID that it wants; a client made one up until
    /// then.
    pub fn set_initial(&mut self, id: ConnectionId) {
        debug_assert_eq!(self.active.sequence, 0);
        self.active.id = id;
    }

    /// The server's stateless_reset_token, which belongs to its first connection ID.
    pub fn set_initial_reset_token(&mut self, token: ResetToken) {
        debug_assert_eq!(self.active.sequence, 0);
        self.active.token = Some(token);
    }

    /// Where packets are sent to.
    #[inline]
    pub fn active(&self) -> ConnectionId {
        self.active.id
    }

    /// True if a datagram that ends in `token` is a stateless reset from the peer. Only connection
    /// IDs in use count, neither spare ones nor those given back.
    // req 9000-10.3.1-258
    pub fn is_reset_token(&self, token: &ResetToken) -> bool {
        self.in_use().any(|known| known.token.is_some_and(|known| known == *token))
    }

    /// The token of number `sequence`, or of the active one; `None` if it has none or is not in
    /// use.
    pub fn reset_token(&self, sequence: Option<u64>) -> Option<ResetToken> {
        self.find(sequence)?.token
    }

    /// The connection ID number `sequence`, or the active one; `None` if it is not in use.
    #[inline]
    pub fn get(&self, sequence: Option<u64>) -> Option<ConnectionId> {
        self.find(sequence).map(|known| known.id)
    }

    fn find(&self, sequence: Option<u64>) -> Option<&Known> {
        match sequence {
            None => Some(&self.active),
            Some(sequence) => self.in_use().find(|known| known.sequence == sequence),
        }
    }

    fn in_use(&self) -> impl Iterator<Item = &Known> {
        std::iter::once(&self.active).chain(&self.elsewhere)
    }

    /// The number of the connection ID that packets are sent to.
    pub fn active_sequence(&self) -> u64 {
        self.active.sequence
    }

    /// True if the peer wants packets without a connection ID.
    pub fn is_empty(&self) -> bool {
        self.active.id.is_empty()
    }

    /// Connection IDs that were not used yet.
    pub fn spare_count(&self) -> usize {
        self.spare.len()
    }

    /// Puts a spare connection ID to use on another path than that of the active one. Returns its
    /// number; `None` if the peer has given no spare one.
    // req 9000-9.5-193, 9000-9.5-194
    pub fn use_spare(&mut self) -> Option<u64> {
        let known = self.spare.pop_front()?;
        self.elsewhere.push(known);
        Some(known.sequence)
    }

    /// Makes number `sequence`, which is in use on another path, the active one. The one that was
    /// active so far stays in use.
    pub fn activate(&mut self, sequence: u64) {
        if let Some(known) = self.elsewhere.iter_mut().find(|known| known.sequence == sequence) {
            std::mem::swap(&mut self.active, known);
        }
    }

    /// The path that used number `sequence` beside the active one is gone.
    // req 9000-5.1.2-053
    pub fn give_back(&mut self, sequence: u64) {
        if let Some(at) = self.elsewhere.iter().position(|known| known.sequence == sequence) {
            self.elsewhere.remove(at);
            self.retire(sequence);
        }
    }

    /// Changes to a spare connection ID and gives the active one back. False if there is no spare
    /// one.
    // req 9000-9.5-192
    pub fn rotate(&mut self) -> bool {
        let Some(next) = self.spare.pop_front() else { return false };
        let old = std::mem::replace(&mut self.active, next);
        self.retire(old.sequence);
        true
    }

    /// The peer issued a connection ID. True if packets go to another one now.
    ///
    /// # Errors
    ///
    /// PROTOCOL_VIOLATION if it contradicts what the peer issued before, or if packets to the peer
    /// carry no connection ID; CONNECTION_ID_LIMIT_ERROR if it is one too many.
    pub fn on_new(&mut self, frame: &NewConnectionId) -> Result<bool, TransportError> {
        // req 9000-19.15-465
        if self.active.id.is_empty() {
            return Err(TransportError::new(Violation::NewConnectionIdUnwanted));
        }
        self.check_consistency(frame)?;
        // req 9000-19.15-466
        if !self.received.insert_one(frame.sequence_number) {
            return Ok(false);
        }
        if self.received.len() > MAX_SEQUENCE_RANGES {
            return Err(TransportError::new(Violation::ConnectionIdLimit));
        }
        // req 9000-19.15-470
        if frame.retire_prior_to > self.retire_prior_to {
            self.retire_prior_to = frame.retire_prior_to;
        }
        self.retire_spare();
        self.retire_elsewhere();
        if frame.sequence_number < self.retire_prior_to {
            // req 9000-19.15-471
            self.retire(frame.sequence_number);
        } else {
            self.add_spare(frame);
        }
        let switched = self.replace_active();
        self.check_limits()?;
        Ok(switched)
    }

    /// One number, one connection ID, one token; a repetition says the same again.
    // req 9000-19.15-467, 9000-10.3.2-266
    fn check_consistency(&self, frame: &NewConnectionId) -> Result<(), TransportError> {
        for known in self.in_use().chain(&self.spare) {
            let same_sequence = known.sequence == frame.sequence_number;
            let same_id = known.id == frame.connection_id;
            let same_token = known.token == Some(frame.stateless_reset_token);
            if same_sequence != same_id || (same_id && known.token.is_some() && !same_token) {
                return Err(TransportError::new(Violation::NewConnectionIdConflict));
            }
            if same_token && !same_id {
                return Err(TransportError::new(Violation::ResetTokenReused));
            }
        }
        Ok(())
    }

    // req 9000-5.1.2-056
    fn retire_spare(&mut self) {
        while let Some(oldest) = self.spare.front().map(|known| known.sequence) {
            if oldest >= self.retire_prior_to {
                return;
            }
            self.spare.pop_front();
            self.retire(oldest);
        }
    }

    /// A path whose connection ID the peer wants back has none from then on.
    fn retire_elsewhere(&mut self) {
        let wanted = self.retire_prior_to;
        while let Some(at) = self.elsewhere.iter().position(|known| known.sequence < wanted) {
            let known = self.elsewhere.remove(at);
            self.retire(known.sequence);
        }
    }

    fn add_spare(&mut self, frame: &NewConnectionId) {
        let at = self.spare.partition_point(|known| known.sequence < frame.sequence_number);
        let known = Known {
            sequence: frame.sequence_number,
            id: frame.connection_id,
            token: Some(frame.stateless_reset_token),
        };
        self.spare.insert(at, known);
    }

    /// Changes to a spare connection ID if the peer wants the one in use back.
    // req 9000-5.1.2-056, 9000-19.16-473
    fn replace_active(&mut self) -> bool {
        // Whoever asks for retirement announces a successor in the same frame.
        self.active.sequence < self.retire_prior_to && self.rotate()
    }

    // req 9000-5.1.2-059
    fn retire(&mut self, sequence: u64) {
        self.retired.push_back(Retired { sequence, announcement: Delivery::Unsent });
    }

    // req 9000-5.1.1-047, 9000-5.1.2-057, 9000-5.1.2-058
    fn check_limits(&self) -> Result<(), TransportError> {
        if (1 + self.elsewhere.len() + self.spare.len()) as u64 > self.limit {
            return Err(TransportError::new(Violation::ConnectionIdLimit));
        }
        if self.retired.len() as u64 > self.limit.saturating_mul(RETIREMENTS_PER_LIMIT) {
            return Err(TransportError::new(Violation::TooManyRetirements));
        }
        Ok(())
    }

    /// True if [`RemoteIds::next_frame`] has something to say.
    pub fn has_pending(&self) -> bool {
        self.retired.iter().any(|retired| retired.announcement.is_pending())
    }

    /// The next connection ID to give back, if the frame fits into `room` bytes.
    pub fn next_frame(&mut self, room: usize) -> Option<RetireConnectionId> {
        let retired = self.retired.iter_mut().find(|retired| retired.announcement.is_pending())?;
        let frame = RetireConnectionId { sequence_number: retired.sequence };
        if frame.size() > room {
            return None;
        }
        retired.announcement.on_sent();
        Some(frame)
    }

    /// The retirement of number `sequence` was acknowledged.
    pub fn on_acked(&mut self, sequence: u64) {
        self.retired.retain(|retired| retired.sequence != sequence);
    }

    /// The retirement of number `sequence` was lost and is sent again.
    pub fn on_lost(&mut self, sequence: u64) {
        if let Some(retired) = self.retired.iter_mut().find(|r| r.sequence == sequence) {
            retired.announcement.on_lost();
        }
    }
}

#[cfg(test)]
mod tests;
