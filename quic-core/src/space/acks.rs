//! When an ACK frame is due (RFC 9000 section 13.2), and the ECN counts it reports.

use std::time::{Duration, Instant};

use super::received::Arrival;
use crate::path::Ecn;
use crate::wire::frame::EcnCounts;

/// Ack-eliciting packets after which an ACK goes out without waiting for the delay.
const ACK_ELICITING_THRESHOLD: u32 = 2;
/// Packets of ours in a row that carried only ACK frames, after which a PING is added so that the
/// peer acknowledges and our ranges can be dropped.
const ACK_ONLY_BEFORE_PING: u32 = 32;

/// Whether the next packet must, may or should not carry an ACK frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckToSend {
    /// Nothing new and ack-eliciting arrived since the last ACK frame.
    None,
    /// Goes along with a packet that is sent anyway.
    IfSending,
    /// Justifies a packet of its own.
    Now,
}

/// The acknowledgement state of one space.
#[derive(Debug)]
pub(crate) struct AckPolicy {
    /// Zero in the Initial and Handshake spaces: those are acknowledged at once.
    max_ack_delay: Duration,
    /// Ack-eliciting packets since the last ACK frame.
    unacked: u32,
    immediate: bool,
    deadline: Option<Instant>,
    ecn: EcnCounts,
    ecn_seen: bool,
    ack_only_sent: u32,
}

impl AckPolicy {
    pub(crate) fn new(max_ack_delay: Duration) -> Self {
        Self {
            max_ack_delay,
            unacked: 0,
            immediate: false,
            deadline: None,
            ecn: EcnCounts::default(),
            ecn_seen: false,
            ack_only_sent: 0,
        }
    }

    // req 9000-13.2.1-307, 9000-13.2.1-309, 9000-13.2.1-313, 9000-13.2.1-314, 9000-13.2.2-315
    // req 9000-13.2.1-306
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        arrival: Arrival,
        ack_eliciting: bool,
        ecn: Option<Ecn>,
    ) {
        self.count_ecn(ecn);
        if !ack_eliciting {
            return;
        }
        self.unacked += 1;
        if self.unacked >= ACK_ELICITING_THRESHOLD
            || arrival == Arrival::OutOfOrder
            || ecn == Some(Ecn::Ce)
            || self.max_ack_delay.is_zero()
        {
            self.immediate = true;
            self.deadline = None;
        } else if !self.immediate && self.deadline.is_none() {
            self.deadline = Some(now + self.max_ack_delay);
        }
    }

    // req 9000-13.4.1-337
    fn count_ecn(&mut self, ecn: Option<Ecn>) {
        match ecn {
            None => return,
            Some(Ecn::Ect0) => self.ecn.ect0 += 1,
            Some(Ecn::Ect1) => self.ecn.ect1 += 1,
            Some(Ecn::Ce) => self.ecn.ce += 1,
        }
        self.ecn_seen = true;
    }

    // req 9000-13.2.1-309, 9000-13.2.1-310
    pub(crate) fn to_send(&self, now: Instant) -> AckToSend {
        if self.immediate || self.deadline.is_some_and(|at| at <= now) {
            AckToSend::Now
        } else if self.unacked > 0 {
            AckToSend::IfSending
        } else {
            AckToSend::None
        }
    }

    /// When an ACK becomes due that is not due yet.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The delay timer fired: the next packet carries the ACK.
    pub(crate) fn on_deadline(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.immediate = true;
        }
    }

    pub(crate) fn ecn_counts(&self) -> Option<EcnCounts> {
        self.ecn_seen.then_some(self.ecn)
    }

    /// An ACK frame was put into a packet.
    // req 9000-13.2.1-308
    pub(crate) fn on_ack_sent(&mut self) {
        self.unacked = 0;
        self.immediate = false;
        self.deadline = None;
    }

    /// Notes whether a packet that we sent was ack-eliciting. True if a PING should be added to the
    /// next one that is not: rarely, so that two endpoints never acknowledge each other for ever.
    // req 9000-13.2.1-312
    pub(crate) fn on_packet_sent(&mut self, ack_eliciting: bool) -> bool {
        if ack_eliciting {
            self.ack_only_sent = 0;
            return false;
        }
        self.ack_only_sent += 1;
        if self.ack_only_sent < ACK_ONLY_BEFORE_PING {
            return false;
        }
        self.ack_only_sent = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(25);

    // req-test 9000-13.2.1-307
    #[test]
    fn one_packet_is_acknowledged_within_the_delay() {
        let now = Instant::now();
        let mut acks = AckPolicy::new(DELAY);
        acks.on_packet(now, Arrival::InOrder, true, None);
        assert_eq!(acks.to_send(now), AckToSend::IfSending);
        assert_eq!(acks.deadline(), Some(now + DELAY));
        assert_eq!(acks.to_send(now + DELAY), AckToSend::Now);
        acks.on_ack_sent();
        assert_eq!(acks.to_send(now + DELAY), AckToSend::None);
    }

    // req-test 9000-13.2.1-307
    #[test]
    fn handshake_packets_are_acknowledged_at_once() {
        let now = Instant::now();
        let mut acks = AckPolicy::new(Duration::ZERO);
        acks.on_packet(now, Arrival::InOrder, true, None);
        assert_eq!(acks.to_send(now), AckToSend::Now);
    }

    // req-test 9000-13.2.2-315
    #[test]
    fn the_second_packet_brings_the_acknowledgement_forward() {
        let now = Instant::now();
        let mut acks = AckPolicy::new(DELAY);
        acks.on_packet(now, Arrival::InOrder, true, None);
        acks.on_packet(now, Arrival::InOrder, true, None);
        assert_eq!(acks.to_send(now), AckToSend::Now);
    }

    // req-test 9000-13.2.1-309, 9000-13.2.1-308
    #[test]
    fn packets_that_elicit_nothing_get_no_packet_of_their_own() {
        let now = Instant::now();
        let mut acks = AckPolicy::new(DELAY);
        for _ in 0..10 {
            acks.on_packet(now, Arrival::OutOfOrder, false, None);
        }
        assert_eq!(acks.to_send(now + DELAY * 10), AckToSend::None);
    }

    // req-test 9000-13.2.1-313, 9000-13.2.1-314
    #[test]
    fn reordering_and_congestion_marks_are_reported_at_once() {
        let now = Instant::now();
        for (arrival, ecn) in
            [(Arrival::OutOfOrder, Some(Ecn::Ect0)), (Arrival::InOrder, Some(Ecn::Ce))]
        {
            let mut acks = AckPolicy::new(DELAY);
            acks.on_packet(now, arrival, true, ecn);
            assert_eq!(acks.to_send(now), AckToSend::Now);
        }
    }

    // req-test 9000-13.4.1-337
    #[test]
    fn every_mark_is_counted() {
        let now = Instant::now();
        let mut acks = AckPolicy::new(DELAY);
        assert_eq!(acks.ecn_counts(), None);
        for ecn in [Ecn::Ect0, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            acks.on_packet(now, Arrival::InOrder, false, Some(ecn));
        }
        assert_eq!(acks.ecn_counts(), Some(EcnCounts { ect0: 2, ect1: 1, ce: 1 }));
    }

    // req-test 9000-13.2.1-312
    #[test]
    fn a_ping_is_added_only_now_and_then() {
        let mut acks = AckPolicy::new(DELAY);
        let pings = (0..320).filter(|_| acks.on_packet_sent(false)).count();
        assert_eq!(pings, 10);
        acks.on_packet_sent(true);
        assert!(!acks.on_packet_sent(false));
    }
}
