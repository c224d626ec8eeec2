//! Which packet numbers of a space were processed, so that none is processed twice.

use std::time::Instant;

use crate::util::range_set::RangeSet;
use crate::wire::packet_number::PacketNumber;

/// Ranges kept at most. What falls below the lowest kept range is taken for a duplicate: a peer
/// that leaves gaps on purpose costs us bounded memory and bounded ACK frames.
const MAX_RANGES: usize = 64;

/// What the arrival of one packet means for acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next number after the largest seen so far.
    InOrder,
    /// Below an ack-eliciting packet already received, or it left a gap of missing packets.
    OutOfOrder,
}

/// The set of packet numbers processed in one space.
#[derive(Debug, Default)]
pub(crate) struct ReceivedPackets {
    ranges: RangeSet,
    /// Everything below was forgotten and counts as received.
    forgotten_below: u64,
    largest: Option<(PacketNumber, Instant)>,
    largest_ack_eliciting: Option<PacketNumber>,
}

impl ReceivedPackets {
    /// True for a number that was processed, or that is too old to tell.
    // req 9000-12.3-287, 9000-13.2.3-320
    pub(crate) fn is_duplicate(&self, packet_number: PacketNumber) -> bool {
        packet_number.into_inner() < self.forgotten_below
            || self.ranges.contains(packet_number.into_inner())
    }

    pub(crate) fn insert(
        &mut self,
        now: Instant,
        packet_number: PacketNumber,
        ack_eliciting: bool,
    ) -> Arrival {
        let number = packet_number.into_inner();
        let in_order = self.largest.is_none_or(|(largest, _)| number == largest.into_inner() + 1);
        let below_ack_eliciting =
            self.largest_ack_eliciting.is_some_and(|l| number < l.into_inner());
        self.ranges.insert(number..number + 1);
        self.forget_beyond_limit();
        if self.largest.is_none_or(|(largest, _)| number > largest.into_inner()) {
            self.largest = Some((packet_number, now));
        }
        if ack_eliciting {
            self.largest_ack_eliciting = self.largest_ack_eliciting.max(Some(packet_number));
        }
        if in_order && !below_ack_eliciting { Arrival::InOrder } else { Arrival::OutOfOrder }
    }

    /// The largest number processed: packet numbers are decoded relative to it.
    // req 9000-13.2.3-321
    pub(crate) fn largest(&self) -> Option<PacketNumber> {
        self.largest.map(|(number, _)| number)
    }

    /// When the packet with the largest number arrived: the origin of the ACK Delay.
    pub(crate) fn largest_received_at(&self) -> Option<Instant> {
        self.largest.map(|(_, at)| at)
    }

    /// The peer saw our ACK frame whose Largest Acknowledged was `largest`: what it reported below
    /// need not be reported again.
    // req 9000-13.2.3-318
    pub(crate) fn on_ack_acknowledged(&mut self, largest: PacketNumber) {
        // The newest range is always kept: every ACK frame begins with it.
        let Some((newest, _)) = self.largest else { return };
        self.forget_below(largest.into_inner().min(newest.into_inner()));
    }

    /// Ranges from the highest down, as an ACK frame lists them.
    // req 9000-13.2.3-322
    pub(crate) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    fn forget_beyond_limit(&mut self) {
        while self.ranges.len() > MAX_RANGES {
            let Some(lowest) = self.ranges.iter().next() else { return };
            self.forget_below(lowest.end);
        }
    }

    fn forget_below(&mut self, number: u64) {
        if number > self.forgotten_below {
            self.ranges.remove(0..number);
            self.forgotten_below = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(numbers: impl IntoIterator<Item = u64>) -> ReceivedPackets {
        let mut received = ReceivedPackets::default();
        let now = Instant::now();
        for number in numbers {
            received.insert(now, PacketNumber::new(number), true);
        }
        received
    }

    // req-test 9000-12.3-287
    #[test]
    fn a_packet_number_is_accepted_once() {
        let received = packets([0, 1, 5]);
        assert!(received.is_duplicate(PacketNumber::new(1)));
        assert!(received.is_duplicate(PacketNumber::new(5)));
        assert!(!received.is_duplicate(PacketNumber::new(4)));
    }

    // req-test 9000-13.2.3-320
    #[test]
    fn ranges_beyond_the_limit_are_forgotten_and_stay_duplicates() {
        let received = packets((0..1000).map(|n| n * 2));
        assert!(received.ranges().len() <= MAX_RANGES);
        assert!(
            received.is_duplicate(PacketNumber::new(1)),
            "too old to tell: never processed again"
        );
        assert!(!received.is_duplicate(PacketNumber::new(1997)));
    }

    // req-test 9000-13.2.3-321, 9000-13.2.3-318, 9000-13.2.3-322
    #[test]
    fn acknowledged_ranges_are_dropped_but_the_largest_stays() {
        let mut received = packets([0, 1, 2, 7]);
        received.on_ack_acknowledged(PacketNumber::new(7));
        assert_eq!(received.largest(), Some(PacketNumber::new(7)));
        assert_eq!(received.ranges().iter().collect::<Vec<_>>(), vec![7..8]);
        assert!(received.is_duplicate(PacketNumber::new(5)));
    }

    #[test]
    fn gaps_and_late_packets_are_out_of_order() {
        let mut received = ReceivedPackets::default();
        let now = Instant::now();
        assert_eq!(received.insert(now, PacketNumber::new(0), true), Arrival::InOrder);
        assert_eq!(received.insert(now, PacketNumber::new(2), true), Arrival::OutOfOrder);
        assert_eq!(received.insert(now, PacketNumber::new(1), true), Arrival::OutOfOrder);
        assert_eq!(received.insert(now, PacketNumber::new(3), true), Arrival::InOrder);
    }
}
