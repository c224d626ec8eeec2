//! The sending side of one packet number space: which numbers were used, what became of them.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::ecn::EcnLedger;
use super::loss::{self, Criteria, Detection, LossRow, PACKET_THRESHOLD};
use super::path::PathRecovery;
use super::sent::{SentLedger, SentPacket};
use crate::error::Violation;
use crate::util::Rng;
use crate::wire::PacketNumber;
use crate::wire::SpaceId;

/// Lost packets of which a late acknowledgement is noticed.
const REMEMBERED_LOSSES: usize = 64;
/// Skipped packet numbers that are remembered.
const REMEMBERED_SKIPS: usize = 16;
/// The first packet number is skipped within this many packets; the distance doubles each time ...
const FIRST_SKIP_WITHIN: u64 = 128;
/// ... up to this, so that a peer that acknowledges blindly is found within a window or two.
const MAX_SKIP_WITHIN: u64 = 8_192;

/// Recovery state of one packet number space.
#[derive(Debug)]
pub(super) struct Space<C> {
    pub(super) ledger: SentLedger<C>,
    pub(super) ecn: EcnLedger,
    pub(super) row: LossRow,
    pub(super) largest_acknowledged: Option<u64>,
    /// When the packet with the largest acknowledged number was sent.
    pub(super) largest_acknowledged_sent: Option<Instant>,
    /// When the last ack-eliciting packet was sent.
    pub(super) last_ack_eliciting: Option<Instant>,
    /// When the oldest overdue packet will count as lost.
    pub(super) loss_time: Option<Instant>,
    /// Numbers of packets declared lost not long ago, ascending.
    recently_lost: VecDeque<u64>,
    /// Numbers left out, ascending.
    skipped: VecDeque<u64>,
    pub(super) skip_at: Option<u64>,
    skip_within: u64,
}

impl<C> Space<C> {
    pub(super) fn new() -> Self {
        Self {
            ledger: SentLedger::new(),
            ecn: EcnLedger::default(),
            row: LossRow::default(),
            largest_acknowledged: None,
            largest_acknowledged_sent: None,
            last_ack_eliciting: None,
            loss_time: None,
            recently_lost: VecDeque::new(),
            skipped: VecDeque::new(),
            skip_at: None,
            skip_within: FIRST_SKIP_WITHIN,
        }
    }

    /// The number the next packet gets; now and then one is left out before it.
    pub(super) fn next_number(&mut self, id: SpaceId, rng: &mut Rng) -> Option<PacketNumber> {
        // req 9000-21.4-485: only where windows get large enough to be worth an attack.
        if id == SpaceId::Data {
            let next = self.ledger.next();
            match self.skip_at {
                None => self.plan_skip(rng),
                Some(at) if at <= next => {
                    self.skip();
                    self.plan_skip(rng);
                }
                Some(_) => {}
            }
        }
        let next = self.ledger.next();
        (next <= PacketNumber::MAX.into_inner()).then(|| PacketNumber::new(next))
    }

    fn plan_skip(&mut self, rng: &mut Rng) {
        let distance = rng.range(1..self.skip_within);
        self.skip_at = Some(self.ledger.next() + distance);
        self.skip_within = (self.skip_within * 2).min(MAX_SKIP_WITHIN);
    }

    pub(super) fn skip(&mut self) {
        remember(&mut self.skipped, self.ledger.next(), REMEMBERED_SKIPS);
        self.ledger.skip();
    }

    pub(super) fn on_sent(&mut self, packet: SentPacket<C>) {
        if packet.kind.is_ack_eliciting() {
            self.last_ack_eliciting = Some(packet.time_sent);
        }
        if packet.ect0 {
            self.ecn.on_sent_ect0();
        }
        self.ledger.push(packet);
    }

    /// Refuses a range with a number that no packet was sent with.
    pub(super) fn check_sent(&self, range: &RangeInclusive<u64>) -> Result<(), Violation> {
        // req 9000-13.1-304
        if *range.end() >= self.ledger.next() {
            return Err(Violation::AckOfUnsentPacket);
        }
        match count_in(&self.skipped, range) {
            0 => Ok(()),
            _ => Err(Violation::AckOfSkippedPacket),
        }
    }

    /// How many packets of the range were declared lost before; each is counted once.
    pub(super) fn take_spurious(&mut self, range: &RangeInclusive<u64>) -> u32 {
        let from = self.recently_lost.partition_point(|number| number < range.start());
        let count = count_in(&self.recently_lost, range);
        self.recently_lost.drain(from..from + count);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Moves what is lost by now from the ledger to `lost`.
    pub(super) fn detect_lost(
        &mut self,
        now: Instant,
        delay: Duration,
        path: &PathRecovery,
        lost: &mut Vec<(PacketNumber, SentPacket<C>)>,
    ) -> Detection {
        let Some(largest_acknowledged) = self.largest_acknowledged else {
            return Detection::default();
        };
        let already = lost.len();
        let criteria = Criteria {
            now,
            largest_acknowledged,
            lost_up_to: self.lost_by_number(largest_acknowledged),
            delay,
            sampled_since: path.rtt.first_sample_at(),
            path: path.generation(),
        };
        let found = loss::detect(&mut self.ledger, &mut self.row, &criteria, lost);
        for (number, _) in &lost[already..] {
            remember(&mut self.recently_lost, number.into_inner(), REMEMBERED_LOSSES);
        }
        self.loss_time = found.loss_time;
        found
    }

    /// The largest number that the packet threshold declares lost. A number that was left out is
    /// no packet that was sent later.
    fn lost_by_number(&self, largest_acknowledged: u64) -> Option<u64> {
        let mut bound = largest_acknowledged.checked_sub(PACKET_THRESHOLD)?;
        for &skipped in self.skipped.iter().rev() {
            if skipped <= bound {
                break;
            }
            if skipped < largest_acknowledged {
                bound = bound.checked_sub(1)?;
            }
        }
        Some(bound)
    }
}

/// How many of the ascending `numbers` lie in `range`.
fn count_in(numbers: &VecDeque<u64>, range: &RangeInclusive<u64>) -> usize {
    let from = numbers.partition_point(|number| number < range.start());
    numbers.partition_point(|number| number <= range.end()).saturating_sub(from)
}

fn remember(numbers: &mut VecDeque<u64>, number: u64, at_most: usize) {
    if numbers.len() == at_most {
        numbers.pop_front();
    }
    numbers.push_back(number);
}
