//! Connection IDs that we issued: the peer sends to them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::Delivery;
use super::generator::Generator;
use crate::crypto::ResetKey;
use crate::error::{TransportError, Violation};
use crate::util::rng::Rng;
use crate::wire::ConnectionId;
use crate::wire::frame::NewConnectionId;

/// The peer gets at most this many connection IDs to choose from, even if it would take more: each
/// of them costs an entry in the routing table.
const MAX_SUPPLY: u64 = 4;

/// The connection IDs that the peer may send to.
///
/// A new one is made by [`LocalIds::issue`] (and must be routed from then on), announced by
/// [`LocalIds::next_frame`] until it is acknowledged, and ends with [`LocalIds::on_retire`].
#[derive(Debug)]
pub struct LocalIds {
    generator: Generator,
    reset_key: Arc<ResetKey>,
    /// In use or announced, by ascending sequence number.
    ids: VecDeque<Issued>,
    next_sequence: u64,
    /// The peer was asked to give back everything below.
    retire_prior_to: u64,
    /// How many connection IDs the peer takes; 0 until its transport parameters are known.
    peer_limit: u64,
    initial: ConnectionId,
    /// The one that the peer last sent to on the path in use.
    in_use: ConnectionId,
}

#[derive(Debug)]
struct Issued {
    sequence: u64,
    id: ConnectionId,
    announcement: Delivery,
}

impl LocalIds {
    /// Begins with the connection ID of the handshake, `initial`, whose sequence number is 0.
    pub fn new(initial: ConnectionId, generator: Generator, reset_key: Arc<ResetKey>) -> Self {
        let first = Issued { sequence: 0, id: initial, announcement: Delivery::Acknowledged };
        Self {
            generator,
            reset_key,
            ids: VecDeque::from([first]),
            next_sequence: 1,
            retire_prior_to: 0,
            peer_limit: 0,
            initial,
            in_use: initial,
        }
    }

    /// The connection ID in the source field of long headers.
    pub fn initial(&self) -> ConnectionId {
        self.initial
    }

    /// A packet to `id` came over the path in use.
    #[inline]
    pub fn note_used(&mut self, id: ConnectionId) {
        self.in_use = id;
    }

    /// True if the peer does not send to `id` on the path in use.
    pub fn is_fresh(&self, id: ConnectionId) -> bool {
        self.in_use != id
    }

    /// The length in bytes of each of our connection IDs.
    #[expect(clippy::len_without_is_empty, reason = "the length of an ID, not of a collection")]
    pub fn len(&self) -> usize {
        self.initial.len()
    }

    /// The peer's active_connection_id_limit is known; [`LocalIds::issue`] has work now.
    pub fn set_peer_limit(&mut self, limit: u64) {
        self.peer_limit = limit;
    }

    /// The peer learns of `id` by our transport parameters: number 1.
    pub fn issue_in_parameters(&mut self, id: ConnectionId) {
        debug_assert_eq!(self.next_sequence, 1);
        let sequence = self.next_sequence;
        self.ids.push_back(Issued { sequence, id, announcement: Delivery::Acknowledged });
        self.next_sequence += 1;
    }

    /// Makes one more connection ID if the peer should have more. The caller routes it and asks
    /// again until there is none.
    // req 9000-5.1.1-042, 9000-5.1.1-044, 9000-5.1.1-045, 9000-5.1.1-046, 9000-5.1.1-048
    // req 9000-5.1.1-051, 9000-9.5-198, 9000-5.1.1-052
    pub fn issue(&mut self, rng: &mut Rng) -> Option<ConnectionId> {
        // Those that the peer was asked to give back make room for their successors.
        let supply = self.ids.iter().filter(|id| id.sequence >= self.retire_prior_to).count();
        if supply as u64 >= self.peer_limit.min(MAX_SUPPLY) {
            return None;
        }
        let id = self.generator.generate(rng);
        let issued = Issued { sequence: self.next_sequence, id, announcement: Delivery::Unsent };
        self.ids.push_back(issued);
        self.next_sequence += 1;
        Some(id)
    }

    /// Asks the peer to give back every connection ID that it has, which takes effect with the next
    /// [`LocalIds::issue`]. Packets to the old ones are accepted until the peer has done so.
    ///
    /// False if the peer has not yet answered the last such request, or would be left with nothing
    /// because it has not told how many it takes.
    // req 9000-5.1.2-054, 9000-5.1.2-060
    pub fn replace_all(&mut self) -> bool {
        let answered = self.ids.front().is_none_or(|id| id.sequence >= self.retire_prior_to);
        if !answered || self.peer_limit == 0 {
            return false;
        }
        self.retire_prior_to = self.next_sequence;
        true
    }

    /// The peer gave back the connection ID number `sequence`, in a packet that was sent to
    /// `packet_dcid`. Returns the connection ID, which is no longer routed; `None` if it was given
    /// back before.
    ///
    /// # Errors
    ///
    /// PROTOCOL_VIOLATION if the peer cannot know such a connection ID, or uses it in the same
    /// packet.
    pub fn on_retire(
        &mut self,
        sequence: u64,
        packet_dcid: ConnectionId,
    ) -> Result<Option<ConnectionId>, TransportError> {
        // req 9000-19.16-472
        if sequence >= self.next_sequence {
            return Err(TransportError::new(Violation::RetirementOfUnissued));
        }
        let Some(index) = self.ids.iter().position(|issued| issued.sequence == sequence) else {
            return Ok(None);
        };
        let issued = &self.ids[index];
        if issued.announcement == Delivery::Unsent {
            return Err(TransportError::new(Violation::RetirementOfUnissued));
        }
        // req 9000-19.16-474
        if issued.id == packet_dcid {
            return Err(TransportError::new(Violation::RetirementOfCurrent));
        }
        let id = issued.id;
        self.ids.remove(index);
        Ok(Some(id))
    }

    /// True if [`LocalIds::next_frame`] has something to say.
    pub fn has_pending(&self) -> bool {
        self.ids.iter().any(|issued| issued.announcement.is_pending())
    }

    /// The next announcement, if it fits into `room` bytes.
    pub fn next_frame(&mut self, room: usize) -> Option<NewConnectionId> {
        let issued = self.ids.iter_mut().find(|issued| issued.announcement.is_pending())?;
        let frame = NewConnectionId {
            sequence_number: issued.sequence,
            // An announcement that is repeated can be older than the request.
            // req 9000-19.15-468
            retire_prior_to: self.retire_prior_to.min(issued.sequence),
            connection_id: issued.id,
            stateless_reset_token: self.reset_key.token(&issued.id),
        };
        if frame.size() > room {
            return None;
        }
        issued.announcement.on_sent();
        Some(frame)
    }

    /// The announcement of number `sequence` was acknowledged.
    pub fn on_acked(&mut self, sequence: u64) {
        if let Some(issued) = self.get_mut(sequence) {
            issued.announcement = Delivery::Acknowledged;
        }
    }

    /// The announcement of number `sequence` was lost and is sent again, unless the peer has proved
    /// to know it.
    pub fn on_lost(&mut self, sequence: u64) {
        if let Some(issued) = self.get_mut(sequence) {
            issued.announcement.on_lost();
        }
    }

    fn get_mut(&mut self, sequence: u64) -> Option<&mut Issued> {
        self.ids.iter_mut().find(|issued| issued.sequence == sequence)
    }

    /// Every connection ID that leads here.
    // req 9000-5.1.1-043
    pub fn iter(&self) -> impl Iterator<Item = ConnectionId> {
        self.ids.iter().map(|issued| issued.id)
    }
}

#[cfg(test)]
mod tests;
