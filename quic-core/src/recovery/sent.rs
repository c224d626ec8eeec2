//! The ledger of sent packets of one packet number space: a ring indexed by packet number.
//!
//! The ring begins at the oldest packet whose fate is open. A range of an ACK frame is a slice of
//! it; slots that were settled before are jumped over, so that an ACK frame costs what it newly
//! acknowledges and not what it repeats.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

/// How a packet takes part in acknowledgement and congestion control (RFC 9002 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Only ACK and CONNECTION_CLOSE frames: neither in flight nor acknowledged for its own sake.
    AckOnly,
    /// PADDING besides those: in flight, but the peer need not acknowledge it.
    Padded,
    /// At least one frame that the peer must acknowledge.
    AckEliciting,
    /// A probe of a larger datagram size: its loss says nothing about congestion.
    MtuProbe,
}

impl PacketKind {
    /// The peer must acknowledge the packet.
    pub fn is_ack_eliciting(self) -> bool {
        matches!(self, Self::AckEliciting | Self::MtuProbe)
    }

    /// The packet counts towards bytes in flight.
    pub fn is_in_flight(self) -> bool {
        !matches!(self, Self::AckOnly)
    }
}

/// What is remembered of a packet until its fate is known.
#[derive(Clone, Debug)]
pub struct SentPacket<C> {
    /// When it was sent.
    pub time_sent: Instant,
    /// Its bytes, with header and tag.
    pub size: u16,
    /// How it counts.
    pub kind: PacketKind,
    /// It left in a datagram marked ECT(0).
    pub ect0: bool,
    /// The generation of the path it was sent on; set when it enters the ledger.
    pub(super) path: u8,
    /// What it carried, in terms of the layer that has to send it again.
    pub content: C,
}

impl<C> SentPacket<C> {
    /// A record of a packet that is about to be handed to
    /// [`Recovery::on_packet_sent`](super::Recovery::on_packet_sent).
    pub fn new(time_sent: Instant, size: u16, kind: PacketKind, ect0: bool, content: C) -> Self {
        Self { time_sent, size, kind, ect0, path: 0, content }
    }
}

/// At most this many packets that nobody has to acknowledge are remembered at the old end.
const MAX_ACK_ONLY: usize = 256;

/// At most this many of them are remembered behind a packet whose fate is open. A peer that
/// acknowledges nothing but has us acknowledge all it sends would let the ring grow for ever: it
/// gets no more acknowledgements than these until it sends some.
const MAX_ACK_ONLY_IN_DOUBT: usize = 1 << 15;

/// The fate of a packet number.
#[derive(Debug)]
pub(super) enum Slot<C> {
    Outstanding(SentPacket<C>),
    /// The peer has it. This and the following `run - 1` slots are settled.
    Acked {
        run: u32,
    },
    /// Never sent, or forgotten. `run` as above.
    Absent {
        run: u32,
    },
}

#[derive(Debug)]
pub(super) struct SentLedger<C> {
    base: u64,
    slots: VecDeque<Slot<C>>,
    ack_eliciting: usize,
    ack_only: usize,
    #[cfg(test)]
    pub(super) touched: usize,
}

impl<C> SentLedger<C> {
    pub(super) fn new() -> Self {
        Self {
            base: 0,
            slots: VecDeque::new(),
            ack_eliciting: 0,
            ack_only: 0,
            #[cfg(test)]
            touched: 0,
        }
    }

    /// The number after the last one used or skipped.
    pub(super) fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Packets in flight that the peer must acknowledge.
    pub(super) fn has_ack_eliciting(&self) -> bool {
        self.ack_eliciting > 0
    }

    /// Goes on with packet number `number`.
    #[cfg(test)]
    pub(super) fn jump_to(&mut self, number: u64) {
        (self.base, self.slots) = (number, VecDeque::new());
    }

    /// True if one more packet that nobody has to acknowledge may be remembered.
    pub(super) fn has_room_for_ack_only(&self) -> bool {
        self.ack_only < MAX_ACK_ONLY_IN_DOUBT
    }

    /// Leaves out the next packet number.
    pub(super) fn skip(&mut self) {
        self.slots.push_back(Slot::Absent { run: 1 });
    }

    pub(super) fn push(&mut self, packet: SentPacket<C>) {
        self.count(&packet, 1);
        self.slots.push_back(Slot::Outstanding(packet));
        self.forget_old_ack_only();
    }

    /// A peer that is never made to acknowledge lets the ring grow by packets without content.
    fn forget_old_ack_only(&mut self) {
        while self.ack_only > MAX_ACK_ONLY || self.slots.len() > MAX_ACK_ONLY {
            match self.slots.front() {
                Some(Slot::Outstanding(p)) if p.kind != PacketKind::AckOnly => return,
                Some(_) => drop(self.pop_front()),
                None => return,
            }
        }
    }

    /// The oldest slot and its packet number.
    pub(super) fn front(&self) -> Option<(u64, &Slot<C>)> {
        self.slots.front().map(|slot| (self.base, slot))
    }

    /// Removes the oldest slot.
    pub(super) fn pop_front(&mut self) -> Option<Slot<C>> {
        self.touch();
        let slot = self.slots.pop_front()?;
        self.base += 1;
        if let Slot::Outstanding(packet) = &slot {
            self.uncount(packet.kind);
        }
        Some(slot)
    }

    /// Hands out every outstanding packet of `range`, which ends below [`next`](Self::next), as
    /// acknowledged.
    pub(super) fn take_acked(
        &mut self,
        range: RangeInclusive<u64>,
        mut each: impl FnMut(u64, SentPacket<C>),
    ) {
        let end = *range.end() + 1;
        debug_assert!(end <= self.next());
        let mut number = (*range.start()).max(self.base);
        while number < end {
            self.touch();
            // After this call all of the range is settled: whoever comes by again can jump.
            let left = u32::try_from(end - number).unwrap_or(u32::MAX);
            let slot = &mut self.slots[(number - self.base) as usize];
            match slot {
                Slot::Acked { run } | Slot::Absent { run } => {
                    number += u64::from(*run);
                    *run = left.max(*run);
                }
                Slot::Outstanding(_) => {
                    if let Slot::Outstanding(packet) =
                        std::mem::replace(slot, Slot::Acked { run: left })
                    {
                        self.uncount(packet.kind);
                        each(number, packet);
                    }
                    number += 1;
                }
            }
        }
    }

    /// Empties the ledger; packet numbers go on where they were.
    pub(super) fn drain(&mut self, mut each: impl FnMut(u64, SentPacket<C>)) {
        while !self.slots.is_empty() {
            let number = self.base;
            if let Some(Slot::Outstanding(packet)) = self.pop_front() {
                each(number, packet);
            }
        }
    }

    /// All packets whose fate is open.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = &SentPacket<C>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Outstanding(packet) => Some(packet),
            Slot::Acked { .. } | Slot::Absent { .. } => None,
        })
    }

    fn count(&mut self, packet: &SentPacket<C>, by: usize) {
        self.ack_eliciting += usize::from(packet.kind.is_ack_eliciting()) * by;
        self.ack_only += usize::from(packet.kind == PacketKind::AckOnly) * by;
    }

    fn uncount(&mut self, kind: PacketKind) {
        self.ack_eliciting -= usize::from(kind.is_ack_eliciting());
        self.ack_only -= usize::from(kind == PacketKind::AckOnly);
    }

    #[inline]
    fn touch(&mut self) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: PacketKind) -> SentPacket<u64> {
        SentPacket::new(Instant::now(), 1200, kind, false, 0)
    }

    fn ledger(count: usize) -> SentLedger<u64> {
        let mut ledger = SentLedger::new();
        (0..count).for_each(|_| ledger.push(packet(PacketKind::AckEliciting)));
        ledger
    }

    fn ack(ledger: &mut SentLedger<u64>, range: RangeInclusive<u64>) -> Vec<u64> {
        let mut acked = Vec::new();
        ledger.take_acked(range, |number, _| acked.push(number));
        acked
    }

    #[test]
    fn a_record_with_two_words_of_content_fits_in_forty_bytes() {
        assert!(size_of::<Slot<[u64; 2]>>() <= 40, "{}", size_of::<Slot<[u64; 2]>>());
    }

    #[test]
    fn each_packet_is_handed_out_once() {
        let mut ledger = ledger(10);
        assert_eq!(ack(&mut ledger, 2..=4), [2, 3, 4]);
        assert_eq!(ack(&mut ledger, 0..=6), [0, 1, 5, 6]);
        assert_eq!(ack(&mut ledger, 0..=9), [7, 8, 9]);
        assert!(!ledger.has_ack_eliciting());
        assert_eq!(ledger.outstanding().count(), 0);
        assert_eq!(ledger.next(), 10);
    }

    #[test]
    fn acknowledging_costs_what_is_new_and_not_what_is_repeated() {
        let mut ledger = ledger(10_000);
        // Packet 0 stays open, so nothing leaves the ring; two new packets per ACK frame.
        for end in (2..10_000).step_by(2) {
            ledger.touched = 0;
            assert_eq!(ack(&mut ledger, 1..=end).len(), 2);
            assert!(ledger.touched <= 4, "{} slots touched for two packets", ledger.touched);
        }
        // Repeats with another beginning each time cost a constant on average.
        ledger.touched = 0;
        for start in 1..5_000 {
            assert_eq!(ack(&mut ledger, start..=9_998).len(), 0);
        }
        assert!(ledger.touched < 20_000, "{} slots touched", ledger.touched);
    }

    #[test]
    fn packets_nobody_acknowledges_do_not_pile_up() {
        let mut ledger = SentLedger::new();
        (0..100_000).for_each(|_| ledger.push(packet(PacketKind::AckOnly)));
        assert!(ledger.slots.len() <= MAX_ACK_ONLY + 1);
        assert_eq!(ledger.next(), 100_000);
        ledger.push(packet(PacketKind::AckEliciting));
        assert_eq!(ack(&mut ledger, 0..=100_000).last(), Some(&100_000));
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_is_owed_no_more_than_so_many_acknowledgements() {
        let mut ledger = ledger(1);
        while ledger.has_room_for_ack_only() {
            ledger.push(packet(PacketKind::AckOnly));
            assert!(ledger.slots.len() <= MAX_ACK_ONLY_IN_DOUBT + 1);
        }
        ack(&mut ledger, 0..=10);
        assert!(ledger.has_room_for_ack_only());
    }
}
