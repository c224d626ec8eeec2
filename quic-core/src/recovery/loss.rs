//! Which packets are lost (RFC 9002 sections 6.1 and 7.6): a function over the ledger.

use std::time::{Duration, Instant};

use super::sent::{PacketKind, SentLedger, SentPacket, Slot};
use crate::wire::PacketNumber;

/// A packet is lost once one this much later is acknowledged (kPacketThreshold).
// req 9002-6.1.1-015, 9002-6.1.1-016
pub(super) const PACKET_THRESHOLD: u64 = 3;

/// What decides about a packet.
pub(super) struct Criteria {
    pub(super) now: Instant,
    pub(super) largest_acknowledged: u64,
    /// Packets up to this number are lost by the packet threshold.
    pub(super) lost_up_to: Option<u64>,
    /// A packet sent this long ago is lost.
    pub(super) delay: Duration,
    /// Which packets may stand at the ends of a period of persistent congestion: those sent
    /// after this time, when there was an RTT sample, ...
    pub(super) sampled_since: Option<Instant>,
    /// ... on this path.
    pub(super) path: u8,
}

impl Criteria {
    fn is_lost<C>(&self, number: u64, packet: &SentPacket<C>) -> bool {
        // req 9002-6.1.2-017, 9002-7.4-063: from whatever time the packet is.
        self.lost_up_to.is_some_and(|bound| number <= bound)
            || packet.time_sent + self.delay <= self.now
    }

    fn counts_for_persistence<C>(&self, packet: &SentPacket<C>) -> bool {
        // req 9002-7.6.2-067, 9002-7.6.2-068
        packet.kind == PacketKind::AckEliciting
            && packet.path == self.path
            && self.sampled_since.is_some_and(|since| packet.time_sent > since)
    }
}

/// Send times of the first and the last packet of a row of lost packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) start: Instant,
    pub(super) end: Instant,
}

impl Period {
    pub(super) fn length(self) -> Duration {
        self.end.saturating_duration_since(self.start)
    }

    pub(super) fn contains(self, time: Instant) -> bool {
        self.start <= time && time <= self.end
    }
}

/// The row of losses, unbroken by an acknowledgement, that the ledger has reached.
///
/// Every packet leaves the old end of the ledger exactly once and in order, so that the row goes
/// on from one detection to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossRow(Option<Period>);

impl LossRow {
    fn extend(&mut self, sent: Instant) -> Period {
        let start = self.0.map_or(sent, |period| period.start);
        let period = Period { start, end: sent };
        self.0 = Some(period);
        period
    }

    pub(super) fn interrupt(&mut self) {
        self.0 = None;
    }
}

/// What a detection found besides the lost packets themselves.
#[derive(Default)]
pub(super) struct Detection {
    /// When the oldest packet that is overdue but not yet lost will be.
    pub(super) loss_time: Option<Instant>,
    /// The longest row of losses that grew in this detection.
    pub(super) longest_row: Option<Period>,
}

/// Moves the lost packets from the ledger to `lost`, oldest first.
pub(super) fn detect<C>(
    ledger: &mut SentLedger<C>,
    row: &mut LossRow,
    criteria: &Criteria,
    lost: &mut Vec<(PacketNumber, SentPacket<C>)>,
) -> Detection {
    let mut found = Detection::default();
    while let Some((number, slot)) = ledger.front() {
        match slot {
            Slot::Acked { .. } => row.interrupt(),
            Slot::Absent { .. } => {}
            // Both thresholds need a later packet that was acknowledged.
            Slot::Outstanding(_) if number > criteria.largest_acknowledged => break,
            // Carries nothing to be sent again, so that it is not worth a timer.
            Slot::Outstanding(packet) if packet.kind == PacketKind::AckOnly => {}
            Slot::Outstanding(packet) if !criteria.is_lost(number, packet) => {
                // req 9002-6.1.2-019
                found.loss_time = Some(packet.time_sent + criteria.delay);
                break;
            }
            Slot::Outstanding(packet) => {
                if criteria.counts_for_persistence(packet) {
                    let period = row.extend(packet.time_sent);
                    if found.longest_row.is_none_or(|longest| period.length() > longest.length()) {
                        found.longest_row = Some(period);
                    }
                }
                if let Some(Slot::Outstanding(packet)) = ledger.pop_front() {
                    lost.push((PacketNumber::new(number), packet));
                }
                continue;
            }
        }
        drop(ledger.pop_front());
    }
    found
}
