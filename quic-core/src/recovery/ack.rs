//! An ACK frame comes in: what it acknowledges, measures and proves lost.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::Recovery;
use super::ecn::EcnFinding;
use super::loss::{Detection, Period};
use super::mtu::BASE_DATAGRAM_SIZE;
use super::outcome::{AckOutcome, HandshakeStage, RecoveryContext};
use super::path::PathRecovery;
use super::sent::{PacketKind, SentPacket};
use super::space::Space;
use crate::congestion::{AckPosition, AckedBatch, CongestionCause};
use crate::error::TransportError;
use crate::wire::PacketNumber;
use crate::wire::SpaceId;
use crate::wire::frame::EcnCounts;

/// Persistent congestion is the loss of everything for this many probe timeouts
/// (kPersistentCongestionThreshold).
// req 9002-7.6.1-066
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;

/// The packets that one ACK frame newly acknowledged, summed up.
#[derive(Default)]
struct Newly {
    /// Bytes that may grow the window.
    window_bytes: u64,
    ack_eliciting: bool,
    /// Marked packets, and whether all of them were sent on this path.
    ect0: u64,
    foreign: bool,
    /// Number and send time of the largest packet of this path.
    largest: Option<(u64, Instant)>,
    /// Size of the largest packet that was no probe.
    largest_size: u16,
}

impl<C> Recovery<C> {
    /// Takes in an ACK frame.
    ///
    /// `ranges` are the acknowledged packet numbers in descending order; `ack_delay` is decoded
    /// with the peer's exponent. `out` is cleared and filled.
    ///
    /// # Errors
    ///
    /// PROTOCOL_VIOLATION if a packet is acknowledged that was never sent.
    #[expect(clippy::too_many_arguments, reason = "an ACK frame and what it is judged by")]
    pub fn on_ack_received(
        &mut self,
        now: Instant,
        id: SpaceId,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        ack_delay: Duration,
        ecn: Option<EcnCounts>,
        context: &RecoveryContext,
        path: &mut PathRecovery,
        out: &mut AckOutcome<C>,
    ) -> Result<(), TransportError> {
        out.clear();
        let flight_before = path.bytes_in_flight();
        let space = &mut self.spaces[id.index()];
        let before = space.largest_acknowledged;
        let newly = space.take_acked(ranges, path, out)?;

        if out.spurious_losses > 0 {
            path.on_spurious_loss(now, out.spurious_losses);
        }
        if out.acked.is_empty() {
            return Ok(());
        }
        let rtt_sample = update_rtt(now, id, &newly, space, ack_delay, context, path);
        out.rtt_updated = rtt_sample.is_some();
        // req 9000-13.4.2.1-339
        if space.largest_acknowledged > before {
            let finding = space.ecn.judge(ecn, newly.ect0);
            on_ecn_finding(now, finding, &newly, path, out);
        }
        on_mtu_evidence(now, &newly, path, out);
        self.detect_lost(now, id, context, path, out);
        self.grow_window(now, id, newly.window_bytes, rtt_sample, flight_before, path, out);

        if newly.ack_eliciting {
            self.pto.on_progress(now);
        }
        if self.peer_validated_address(context) {
            self.pto.reset();
        }
        Ok(())
    }

    pub(super) fn detect_lost(
        &mut self,
        now: Instant,
        id: SpaceId,
        context: &RecoveryContext,
        path: &mut PathRecovery,
        out: &mut AckOutcome<C>,
    ) {
        let delay = path.rtt.loss_delay();
        let found = self.spaces[id.index()].detect_lost(now, delay, path, &mut out.lost);
        if out.lost.is_empty() {
            return;
        }
        let newest = on_packets_lost(now, path, out);
        if let Some(sent) = newest
            && path.on_congestion(now, sent, CongestionCause::Loss)
        {
            out.congestion_event = Some(CongestionCause::Loss);
        }
        if self.is_persistent(id, &found, context, path) {
            path.on_persistent_congestion(now);
            self.spaces[id.index()].row.interrupt();
            out.persistent_congestion = true;
        }
    }

    /// True if a row of losses is long enough and no other space got anything through meanwhile.
    fn is_persistent(
        &self,
        id: SpaceId,
        found: &Detection,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> bool {
        let period = path.rtt.pto_base().saturating_add(context.max_ack_delay);
        let threshold = period.saturating_mul(PERSISTENT_CONGESTION_THRESHOLD);
        let Some(row) = found.longest_row.filter(|row| row.length() > threshold) else {
            return false;
        };
        // req 9002-7.6.2-069
        !SpaceId::ALL
            .into_iter()
            .filter(|other| *other != id)
            .any(|other| self.got_through(other, row))
    }

    fn got_through(&self, id: SpaceId, row: Period) -> bool {
        self.spaces[id.index()].largest_acknowledged_sent.is_some_and(|sent| row.contains(sent))
    }

    #[expect(clippy::too_many_arguments, reason = "all that one ACK frame means to the window")]
    fn grow_window(
        &self,
        now: Instant,
        id: SpaceId,
        bytes: u64,
        rtt_sample: Option<Duration>,
        flight_before: u64,
        path: &mut PathRecovery,
        out: &AckOutcome<C>,
    ) {
        // Whatever was acknowledged was sent before a recovery period that begins now.
        let bytes = if out.congestion_event.is_some() { 0 } else { bytes };
        let space = &self.spaces[id.index()];
        let position = match (id, space.largest_acknowledged) {
            (SpaceId::Data, Some(largest_acknowledged)) => {
                Some(AckPosition { largest_acknowledged, next_packet_number: space.ledger.next() })
            }
            _ => None,
        };
        let smoothed_rtt = path.rtt.smoothed();
        let batch = AckedBatch { bytes, rtt_sample, smoothed_rtt, app_limited: false, position };
        path.on_acked(now, batch, flight_before);
    }
}

impl<C> Space<C> {
    /// Moves what `ranges` newly acknowledge to `out.acked`.
    fn take_acked(
        &mut self,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        path: &mut PathRecovery,
        out: &mut AckOutcome<C>,
    ) -> Result<Newly, TransportError> {
        let mut newly = Newly::default();
        for range in ranges {
            self.check_sent(&range)?;
            out.spurious_losses += self.take_spurious(&range);
            self.largest_acknowledged = self.largest_acknowledged.max(Some(*range.end()));
            self.ledger.take_acked(range, |number, packet| {
                newly.add(number, &packet, path);
                path.remove_from_flight(&packet);
                out.acked.push((PacketNumber::new(number), packet));
            });
        }
        if let Some((number, sent)) = newly.largest
            && self.largest_acknowledged == Some(number)
        {
            self.largest_acknowledged_sent = Some(sent);
        }
        Ok(newly)
    }
}

impl Newly {
    fn add<C>(&mut self, number: u64, packet: &SentPacket<C>, path: &PathRecovery) {
        self.ack_eliciting |= packet.kind.is_ack_eliciting();
        self.ect0 += u64::from(packet.ect0);
        if !path.owns(packet) {
            self.foreign = true;
            return;
        }
        if packet.kind.is_in_flight() && !path.is_before_recovery(packet.time_sent) {
            self.window_bytes += u64::from(packet.size);
        }
        if packet.kind != PacketKind::MtuProbe {
            self.largest_size = self.largest_size.max(packet.size);
        }
        if self.largest.is_none_or(|(largest, _)| largest < number) {
            self.largest = Some((number, packet.time_sent));
        }
    }
}

/// Takes an RTT sample if the ACK frame gives one.
fn update_rtt<C>(
    now: Instant,
    id: SpaceId,
    newly: &Newly,
    space: &Space<C>,
    ack_delay: Duration,
    context: &RecoveryContext,
    path: &mut PathRecovery,
) -> Option<Duration> {
    let (number, sent) = newly.largest?;
    // req 9002-5.1-001, 9002-5.1-002
    if space.largest_acknowledged != Some(number) || !newly.ack_eliciting {
        return None;
    }
    let ack_delay = match (id, context.stage) {
        // req 9002-5.3-009
        (SpaceId::Initial, _) => Duration::ZERO,
        // req 9002-5.3-011
        (_, HandshakeStage::Confirmed) => ack_delay.min(context.max_ack_delay),
        // req 9002-5.3-007, 9002-5.3-010
        (_, HandshakeStage::Initial | HandshakeStage::Handshake) => ack_delay,
    };
    let sample = now.saturating_duration_since(sent);
    path.rtt.update(now, sample, ack_delay);
    Some(sample)
}

fn on_ecn_finding<C>(
    now: Instant,
    finding: EcnFinding,
    newly: &Newly,
    path: &mut PathRecovery,
    out: &mut AckOutcome<C>,
) {
    // Marks of another path say nothing about this one.
    if newly.foreign {
        return;
    }
    let (change, congested) = path.ecn.on_finding(finding);
    out.ecn = change;
    // req 9002-7.3.1-057
    if congested
        && let Some((_, sent)) = newly.largest
        && path.on_congestion(now, sent, CongestionCause::Ecn)
    {
        out.congestion_event = Some(CongestionCause::Ecn);
    }
}

/// Probes that arrived raise the datagram size, other packets show that it still works.
fn on_mtu_evidence<C>(
    now: Instant,
    newly: &Newly,
    path: &mut PathRecovery,
    out: &mut AckOutcome<C>,
) {
    path.mtu.on_acked(newly.largest_size);
    for (_, packet) in &out.acked {
        if packet.kind == PacketKind::MtuProbe
            && path.owns(packet)
            && let Some(size) = path.mtu.on_probe_acked(now, packet.size)
        {
            out.max_datagram_size = Some(size);
            path.on_mtu_changed(size);
        }
    }
}

/// Tells the path about `out.lost`. Returns when the newest packet was sent whose loss means
/// congestion.
fn on_packets_lost<C>(
    now: Instant,
    path: &mut PathRecovery,
    out: &mut AckOutcome<C>,
) -> Option<Instant> {
    let mut newest = None;
    let mut large_lost = false;
    for (_, packet) in &out.lost {
        if !path.owns(packet) {
            continue;
        }
        path.remove_from_flight(packet);
        if packet.ect0 {
            out.ecn = path.ecn.on_lost_ect0().or(out.ecn);
        }
        // req 9000-14.4-369
        if packet.kind == PacketKind::MtuProbe {
            path.mtu.on_probe_lost(now, packet.size);
            continue;
        }
        large_lost |= packet.size > BASE_DATAGRAM_SIZE;
        newest = newest.max(Some(packet.time_sent));
    }
    let large_acked = out.acked.iter().any(|(_, packet)| packet.size > BASE_DATAGRAM_SIZE);
    if large_lost
        && !large_acked
        && let Some(size) = path.mtu.on_suspicion(now)
    {
        out.max_datagram_size = Some(size);
        path.on_mtu_changed(size);
    }
    newest
}
