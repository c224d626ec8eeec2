//! Loss detection and congestion control (RFC 9002): what became of each packet that was sent.
//!
//! [`Recovery`] holds the three packet number spaces and the probe timeout, [`PathRecovery`] what
//! belongs to a path: RTT, congestion window, pacer, ECN, datagram size. Both are told about
//! packets sent, ACK frames and time, and answer with outcomes: packets acknowledged, packets lost,
//! probes to send. What packets carry (`C`) is opaque here, and nothing is sent from here.

mod ecn;
mod loss;
mod mtu;
mod path;
mod pto;
mod rtt;
mod sent;
mod space;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

pub use ecn::{EcnChange, EcnValidator};
pub use mtu::{
    BASE_DATAGRAM_SIZE, DEFAULT_UPPER_BOUND, MAX_DATAGRAM_SIZE, MtuConfig, MtuDiscovery,
};
pub use path::{PathRecovery, RecoveryConfig, SendBudget};
pub use pto::TimeoutReason;
pub use rtt::{GRANULARITY, INITIAL_RTT, RttEstimator};
pub use sent::{PacketKind, SentPacket};

use crate::congestion::{AckPosition, AckedBatch, CongestionCause};
use crate::error::TransportError;
use crate::util::Rng;
use crate::wire::frame::EcnCounts;
use crate::wire::{PacketNumber, Side};
use ecn::EcnFinding;
use loss::{Detection, Period};
use pto::PtoBackoff;
use space::Space;

/// Probe timeouts in a row after which large datagrams are suspected to be the cause.
const SUSPICIOUS_PTOS: u32 = 2;
/// Persistent congestion is the loss of everything for this many probe timeouts
/// (kPersistentCongestionThreshold).
// req 9002-7.6.1-066
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;
/// Packets to send when a probe timeout ends.
// req 9002-6.2.4-039
const PROBES: u8 = 2;

/// A packet number space (RFC 9000 section 12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpaceId {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 0-RTT and 1-RTT packets.
    Data,
}

impl SpaceId {
    /// All spaces, in the order of the handshake.
    pub const ALL: [Self; 3] = [Self::Initial, Self::Handshake, Self::Data];

    /// 0, 1 or 2.
    pub const fn index(self) -> usize {
        match self {
            Self::Initial => 0,
            Self::Handshake => 1,
            Self::Data => 2,
        }
    }
}

/// How far the handshake is, as far as timers care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeStage {
    /// No Handshake keys yet.
    Initial,
    /// Handshake keys exist; not confirmed.
    Handshake,
    /// The handshake is confirmed (RFC 9001 section 4.1.2).
    Confirmed,
}

/// Whether the anti-amplification limit lets anything out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amplification {
    /// Packets may be sent.
    Free,
    /// A server that may not send until it receives more.
    Blocked,
}

/// What the connection knows and timers depend on.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryContext {
    /// How far the handshake is.
    pub stage: HandshakeStage,
    /// Whether the anti-amplification limit lets anything out.
    pub amplification: Amplification,
    /// The peer's max_ack_delay transport parameter.
    pub max_ack_delay: Duration,
}

/// What an ACK frame or a timeout brought to light. Reused from call to call, which keeps its
/// memory.
#[derive(Debug)]
pub struct AckOutcome<C> {
    /// Newly acknowledged packets.
    pub acked: Vec<(PacketNumber, SentPacket<C>)>,
    /// Packets declared lost, in ascending order per space. Their content is to be sent again.
    pub lost: Vec<(PacketNumber, SentPacket<C>)>,
    /// The RTT of the path has a new sample.
    pub rtt_updated: bool,
    /// The window was reduced and a recovery period began.
    pub congestion_event: Option<CongestionCause>,
    /// Everything was lost for so long that the window fell to its minimum.
    pub persistent_congestion: bool,
    /// ECN was validated or failed on the path.
    pub ecn: Option<EcnChange>,
    /// The new maximum datagram size of the path.
    pub max_datagram_size: Option<u16>,
    /// Packets acknowledged now that had been declared lost.
    pub spurious_losses: u32,
}

impl<C> AckOutcome<C> {
    /// An empty outcome.
    pub fn new() -> Self {
        Self {
            acked: Vec::new(),
            lost: Vec::new(),
            rtt_updated: false,
            congestion_event: None,
            persistent_congestion: false,
            ecn: None,
            max_datagram_size: None,
            spurious_losses: 0,
        }
    }

    /// Empties the outcome and keeps its memory.
    pub fn clear(&mut self) {
        let (mut acked, mut lost) =
            (std::mem::take(&mut self.acked), std::mem::take(&mut self.lost));
        acked.clear();
        lost.clear();
        *self = Self { acked, lost, ..Self::new() };
    }
}

impl<C> Default for AckOutcome<C> {
    fn default() -> Self {
        Self::new()
    }
}

/// What to do after [`Recovery::on_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// The timer had been moved meanwhile.
    None,
    /// Packets of this space are lost: see [`AckOutcome::lost`].
    LossDetected(SpaceId),
    /// Send `count` datagrams with ack-eliciting packets of `space`, whatever the congestion
    /// window says, and coalesce what other spaces have in flight.
    SendProbes {
        /// The space whose timer fired.
        space: SpaceId,
        /// How many datagrams.
        count: u8,
    },
}

/// Loss recovery of a connection: the packets of all spaces and the probe timeout.
#[derive(Debug)]
pub struct Recovery<C> {
    side: Side,
    spaces: [Space<C>; 3],
    pto: PtoBackoff,
}

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

    /// The largest packet number of `space` that the peer acknowledged.
    pub fn largest_acked(&self, space: SpaceId) -> Option<PacketNumber> {
        self.spaces[space.index()].largest_acknowledged.map(PacketNumber::new)
    }

    /// Probe timeouts since the last acknowledgement.
    pub fn pto_count(&self) -> u32 {
        self.pto.count()
    }

    /// True if `space` has packets in flight that the peer must acknowledge.
    pub fn has_ack_eliciting_in_flight(&self, space: SpaceId) -> bool {
        self.spaces[space.index()].ledger.has_ack_eliciting()
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

    /// When [`on_timeout`](Self::on_timeout) has to be called, and why. To be asked again after
    /// each batch of packets sent or received.
    pub fn timeout(
        &self,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, TimeoutReason)> {
        // req 9002-6.2.1-029
        if let Some((at, id)) = self.earliest_loss_time() {
            return Some((at, TimeoutReason::Loss(id)));
        }
        // req 9002-6.2.2.1-034
        if context.amplification == Amplification::Blocked {
            return None;
        }
        let (at, id) = self.earliest_probe(context, path)?;
        Some((at, TimeoutReason::Probe(id)))
    }

    /// The time that [`timeout`](Self::timeout) gave has come. `out` is cleared and filled.
    pub fn on_timeout(
        &mut self,
        now: Instant,
        context: &RecoveryContext,
        path: &mut PathRecovery,
        out: &mut AckOutcome<C>,
    ) -> TimeoutAction {
        out.clear();
        match self.timeout(context, path) {
            Some((at, TimeoutReason::Loss(id))) if at <= now => {
                self.detect_lost(now, id, context, path, out);
                TimeoutAction::LossDetected(id)
            }
            Some((at, TimeoutReason::Probe(id))) if at <= now => {
                // req 9002-6.2-023: nothing is marked as lost here.
                self.pto.on_expired(now);
                self.suspect_path(now, path, out);
                // req 9002-6.2.4-038, 9002-6.2.4-039
                let waiting = self.spaces.iter().any(|space| space.ledger.has_ack_eliciting());
                TimeoutAction::SendProbes { space: id, count: if waiting { PROBES } else { 1 } }
            }
            _ => TimeoutAction::None,
        }
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

    /// True once the peer is known to have validated our address: always for a server.
    fn peer_validated_address(&self, context: &RecoveryContext) -> bool {
        !self.side.is_client()
            || context.stage == HandshakeStage::Confirmed
            || self.spaces[SpaceId::Handshake.index()].largest_acknowledged.is_some()
    }

    fn earliest_loss_time(&self) -> Option<(Instant, SpaceId)> {
        SpaceId::ALL
            .into_iter()
            .filter_map(|id| Some((self.spaces[id.index()].loss_time?, id)))
            .min()
    }

    fn earliest_probe(
        &self,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, SpaceId)> {
        if !SpaceId::ALL.into_iter().any(|id| self.has_ack_eliciting_in_flight(id)) {
            return self.anti_deadlock_probe(context, path);
        }
        SpaceId::ALL.into_iter().filter_map(|id| self.probe_of(id, context, path)).min()
    }

    /// A client with nothing in flight probes until it knows that the server can send freely.
    fn anti_deadlock_probe(
        &self,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, SpaceId)> {
        // req 9002-6.2.2.1-035, 9002-6.2.2.1-036
        let space = match context.stage {
            _ if self.peer_validated_address(context) => return None,
            HandshakeStage::Initial => SpaceId::Initial,
            HandshakeStage::Handshake | HandshakeStage::Confirmed => SpaceId::Handshake,
        };
        Some((self.pto.anti_deadlock_deadline(&path.rtt), space))
    }

    fn probe_of(
        &self,
        id: SpaceId,
        context: &RecoveryContext,
        path: &PathRecovery,
    ) -> Option<(Instant, SpaceId)> {
        let space = &self.spaces[id.index()];
        if !space.ledger.has_ack_eliciting() {
            return None;
        }
        let max_ack_delay = match (id, context.stage) {
            (SpaceId::Data, HandshakeStage::Confirmed) => context.max_ack_delay,
            // req 9002-6.2.1-026
            (SpaceId::Data, _) => return None,
            (SpaceId::Initial | SpaceId::Handshake, _) => Duration::ZERO,
        };
        let sent = space.last_ack_eliciting?;
        Some((self.pto.deadline(sent, &path.rtt, max_ack_delay), id))
    }

    fn detect_lost(
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

    /// Probe timeouts in a row may be the fault of marks or of large datagrams.
    fn suspect_path(&self, now: Instant, path: &mut PathRecovery, out: &mut AckOutcome<C>) {
        path.ecn.on_pto(self.pto.count());
        if self.pto.count() >= SUSPICIOUS_PTOS {
            out.max_datagram_size = path.mtu.on_suspicion(now);
        }
        if let Some(size) = out.max_datagram_size {
            path.on_mtu_changed(size);
        }
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
