//! Loss detection and congestion control (RFC 9002): what became of each packet that was sent.
//!
//! [`Recovery`] holds the three packet number spaces and the probe timeout, [`PathRecovery`] what
//! belongs to a path: RTT, congestion window, pacer, ECN, datagram size. Both are told about
//! packets sent, ACK frames and time, and answer with outcomes: packets acknowledged, packets lost,
//! probes to send. What packets carry (`C`) is opaque here, and nothing is sent from here.

mod ack;
mod ecn;
mod loss;
mod mtu;
mod outcome;
mod path;
mod pto;
mod rtt;
mod sent;
#[cfg(test)]
mod simulation;
mod space;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use ecn::{EcnChange, EcnValidator};
pub use mtu::{
    BASE_DATAGRAM_SIZE, DEFAULT_UPPER_BOUND, MAX_DATAGRAM_SIZE, MtuConfig, MtuDiscovery,
};
pub use outcome::{AckOutcome, Amplification, HandshakeStage, RecoveryContext, TimeoutAction};
pub use path::{PathRecovery, RecoveryConfig, SendBudget};
pub use pto::TimeoutReason;
pub use rtt::{GRANULARITY, INITIAL_RTT, RttEstimator};
pub use sent::{PacketKind, SentPacket};

use crate::util::Rng;
use crate::wire::{PacketNumber, Side, SpaceId};
use pto::PtoBackoff;
use space::Space;

/// Loss recovery of a connection: the packets of all spaces and the probe timeout.
#[derive(Debug)]
pub struct Recovery<C> {
    side: Side,
    spaces: [Space<C>; 3],
    pto: PtoBackoff,
}

impl<C> Recovery<C> {
    /// Nothing sent yet.
    pub fn new(now: Instant, side: Side) -> Self {
        Self { side, spaces: [Space::new(), Space::new(), Space::new()], pto: PtoBackoff::new(now) }
    }

    /// The number of the next packet of `space`; `None` when all are used up. The same until
    /// [`on_packet_sent`](Self::on_packet_sent). Now and then a number is left out, to find peers
    /// that acknowledge what they did not receive (RFC 9000 section 21.4).
    pub fn next_packet_number(&mut self, space: SpaceId, rng: &mut Rng) -> Option<PacketNumber> {
        self.spaces[space.index()].next_number(space, rng)
    }

    /// Makes `number` the next one in `space`; what is in flight there is forgotten.
    #[cfg(test)]
    pub(crate) fn jump_to(&mut self, space: SpaceId, number: u64) {
        self.spaces[space.index()].ledger.jump_to(number);
    }

    /// The largest packet number of `space` that the peer acknowledged.
    pub fn largest_acked(&self, space: SpaceId) -> Option<PacketNumber> {
        self.spaces[space.index()].largest_acknowledged.map(PacketNumber::new)
    }

    /// Every packet of `space` so far has a lower number than this.
    pub fn unsent(&self, space: SpaceId) -> u64 {
        self.spaces[space.index()].ledger.next()
    }

    /// Probe timeouts since the last acknowledgement.
    pub fn pto_count(&self) -> u32 {
        self.pto.count()
    }

    /// True if `space` has packets in flight that the peer must acknowledge.
    pub fn has_ack_eliciting_in_flight(&self, space: SpaceId) -> bool {
        self.spaces[space.index()].ledger.has_ack_eliciting()
    }

    /// False if so many packets with nothing but acknowledgements wait behind one that the peer does
    /// not acknowledge that no more should be sent.
    pub fn has_room_for_ack_only(&self, space: SpaceId) -> bool {
        self.spaces[space.index()].ledger.has_room_for_ack_only()
    }

    /// When the last packet of `space` left that the peer must acknowledge.
    pub fn last_ack_eliciting_sent(&self, space: SpaceId) -> Option<Instant> {
        self.spaces[space.index()].last_ack_eliciting
    }

    /// The packets of `space` that are in flight and must be acknowledged, the oldest first: what a
    /// probe had best repeat.
    pub fn in_flight(&self, space: SpaceId) -> impl Iterator<Item = &SentPacket<C>> {
        let packets = self.spaces[space.index()].ledger.outstanding();
        packets.filter(|packet| packet.kind.is_ack_eliciting())
    }

    /// A packet was sent on `path` with the number that
    /// [`next_packet_number`](Self::next_packet_number) gave.
    pub fn on_packet_sent(
        &mut self,
        space: SpaceId,
        number: PacketNumber,
        mut packet: SentPacket<C>,
        path: &mut PathRecovery,
    ) {
        let space = &mut self.spaces[space.index()];
        debug_assert_eq!(number.into_inner(), space.ledger.next());
        packet.path = path.generation();
        if packet.kind.is_ack_eliciting() {
            self.pto.on_progress(packet.time_sent);
        }
        path.on_packet_sent(&packet);
        space.on_sent(packet);
    }

    /// Packets take another path from now on, on which no timeout has passed yet.
    pub fn on_path_changed(&mut self, now: Instant) {
        self.pto.reset();
        self.pto.on_progress(now);
    }

    /// The keys of `space` are gone: its packets are forgotten, the timers start over.
    pub fn discard_space(&mut self, now: Instant, space: SpaceId, path: &mut PathRecovery) {
        // req 9002-6.4-049
        let space = &mut self.spaces[space.index()];
        space.ledger.drain(|_, packet| path.remove_from_flight(&packet));
        space.loss_time = None;
        space.last_ack_eliciting = None;
        // req 9002-6.2.2-033
        self.pto.reset();
        self.pto.on_progress(now);
    }

    /// The peer will never process what was sent in `space` so far (a Retry or a new version came
    /// back, or 0-RTT was rejected): all of it is handed out in `out.lost` to be sent again,
    /// which is no sign of congestion. `out` is cleared first; packet numbers go on.
    pub fn abandon_sent(
        &mut self,
        now: Instant,
        space: SpaceId,
        path: &mut PathRecovery,
        out: &mut AckOutcome<C>,
    ) {
        out.clear();
        let space = &mut self.spaces[space.index()];
        space.ledger.drain(|number, packet| {
            path.remove_from_flight(&packet);
            out.lost.push((PacketNumber::new(number), packet));
        });
        space.loss_time = None;
        self.pto.reset();
        self.pto.on_progress(now);
    }
}
