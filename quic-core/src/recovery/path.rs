//! What recovery keeps per path: RTT, congestion window, pacing, ECN and datagram size.

use std::time::{Duration, Instant};

use super::ecn::EcnValidator;
use super::mtu::{MtuConfig, MtuDiscovery};
use super::rtt::{INITIAL_RTT, RttEstimator};
use super::sent::{PacketKind, SentPacket};
use crate::congestion::{
    AckedBatch, CongestionAlgorithm, CongestionCause, CongestionPhase, Controller, PaceInput, Pacer,
};
use crate::observe::PathMetrics;

/// Settings of recovery, the same for all paths of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// The congestion controller.
    pub congestion: CongestionAlgorithm,
    /// The RTT assumed before the first sample.
    pub initial_rtt: Duration,
    /// The search for the datagram size.
    pub mtu: MtuConfig,
    /// Mark packets ECT(0) where the path allows it.
    pub ecn: bool,
    /// Spread packets over the round trip.
    pub pacing: bool,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            congestion: CongestionAlgorithm::default(),
            initial_rtt: INITIAL_RTT,
            mtu: MtuConfig::default(),
            ecn: true,
            pacing: true,
        }
    }
}

/// How much may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendBudget {
    /// So many bytes, at least one datagram of the maximum size.
    Bytes(u64),
    /// Nothing until something is acknowledged or lost: the congestion window is full.
    Blocked,
    /// Nothing until this time: the pacer holds packets back.
    Paced(Instant),
}

/// Which share of the window the last send used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// The window or the pacer ended it.
    Limited,
    /// The data ran out first.
    Exhausted,
}

/// The recovery period of RFC 9002 section 7.3.2. Losses of packets sent up to its start are part
/// of what was answered, also after it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecoveryPeriod {
    NeverBegun,
    Active { start: Instant },
    Over { start: Instant },
}

impl RecoveryPeriod {
    fn covers(self, sent: Instant) -> bool {
        match self {
            Self::NeverBegun => false,
            Self::Active { start } | Self::Over { start } => sent <= start,
        }
    }

    /// A packet sent after the start was acknowledged.
    fn end(&mut self) {
        if let Self::Active { start } = *self {
            *self = Self::Over { start };
        }
    }
}

/// Loss recovery and congestion control of one path.
#[derive(Clone, Debug)]
pub struct PathRecovery {
    /// The round-trip time.
    pub rtt: RttEstimator,
    /// Whether packets are marked for ECN.
    pub ecn: EcnValidator,
    pub(super) mtu: MtuDiscovery,
    congestion: Box<dyn Controller>,
    pacer: Option<Pacer>,
    bytes_in_flight: u64,
    recovery: RecoveryPeriod,
    /// One datagram may go beyond the window: the recovery period has just begun.
    fast_retransmit: bool,
    demand: Demand,
    generation: u8,
}

impl PathRecovery {
    /// A path that knows nothing yet.
    ///
    /// `generation` tells the paths of a connection apart: packets sent under another generation
    /// count neither for the RTT nor for the window of this path (RFC 9000 section 9.4).
    pub fn new(now: Instant, config: &RecoveryConfig, generation: u8) -> Self {
        let mtu = MtuDiscovery::new(&config.mtu);
        let mut this = Self {
            rtt: RttEstimator::new(config.initial_rtt),
            ecn: if config.ecn { EcnValidator::new() } else { EcnValidator::disabled() },
            congestion: config.congestion.build(mtu.current()),
            mtu,
            pacer: None,
            bytes_in_flight: 0,
            recovery: RecoveryPeriod::NeverBegun,
            fast_retransmit: false,
            demand: Demand::Exhausted,
            generation,
        };
        this.pacer = config.pacing.then(|| Pacer::new(now, &this.pace_input()));
        this
    }

    /// How much may be sent now. Does not apply to packets that are not in flight (only ACK or
    /// CONNECTION_CLOSE frames) nor to probes after a probe timeout, which are always allowed.
    // req 9002-7.5-064, 9002-7.7-076
    pub fn send_budget(&mut self, now: Instant) -> SendBudget {
        // req 9002-7-052
        let datagram = u64::from(self.mtu.current());
        let mut room = self.congestion.window().saturating_sub(self.bytes_in_flight);
        if room < datagram {
            if !self.fast_retransmit {
                return SendBudget::Blocked;
            }
            room = datagram;
        }
        // req 9002-7.7-072
        let input = self.pace_input();
        match self.pacer.as_mut().map_or(Ok(room), |pacer| pacer.allowance(now, &input)) {
            Ok(allowance) => SendBudget::Bytes(room.min(allowance)),
            Err(later) => SendBudget::Paced(later),
        }
    }

    /// The last send ended because the window or the pacer did not allow more, although there was
    /// more to send.
    // req 9002-7.8-078
    pub fn on_send_limited(&mut self) {
        self.demand = Demand::Limited;
    }

    /// The last send ended because there was nothing more to send. The window does not grow while
    /// that is so.
    pub fn on_send_exhausted(&mut self) {
        self.demand = Demand::Exhausted;
    }

    /// The maximum datagram size in bytes of UDP payload.
    pub fn max_datagram_size(&self) -> u16 {
        self.mtu.current()
    }

    /// The size of the PMTU probe to send now, if one is due; see [`MtuDiscovery::poll_probe`].
    pub fn poll_mtu_probe(&mut self, now: Instant) -> Option<u16> {
        self.mtu.poll_probe(now)
    }

    /// The peer's max_udp_payload_size is known. Returns the new maximum datagram size if that
    /// lowers it.
    pub fn on_peer_max_udp_payload_size(&mut self, limit: u64) -> Option<u16> {
        let lowered = self.mtu.on_peer_limit(limit)?;
        self.congestion.on_mtu(lowered);
        Some(lowered)
    }

    /// Bytes sent and neither acknowledged nor lost.
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// What is known about the path, for statistics and logs.
    pub fn metrics(&self) -> PathMetrics {
        PathMetrics {
            min_rtt: self.rtt.min(),
            smoothed_rtt: self.rtt.smoothed(),
            latest_rtt: self.rtt.latest(),
            rtt_variation: self.rtt.variation(),
            congestion_window: self.congestion.window(),
            bytes_in_flight: self.bytes_in_flight,
            slow_start_threshold: self.congestion.slow_start_threshold(),
            mtu: self.mtu.current(),
        }
    }

    /// The congestion controller, to look at.
    pub fn congestion(&self) -> &dyn Controller {
        &*self.congestion
    }

    /// True from a congestion event until a packet sent after it is acknowledged.
    pub fn is_in_recovery(&self) -> bool {
        matches!(self.recovery, RecoveryPeriod::Active { .. })
    }

    /// The same for a path of another generation that is as long and as wide: RTT, window and
    /// datagram size are kept, and nothing is in flight yet, no probe either.
    #[must_use]
    pub fn continued(&self, generation: u8) -> Self {
        let mut this = Self { generation, bytes_in_flight: 0, ..self.clone() };
        this.mtu.on_probe_forgotten();
        this.ecn.on_marks_forgotten();
        this
    }

    /// True if the window has room for one more datagram.
    pub fn has_room(&self) -> bool {
        self.bytes_in_flight < self.congestion.window()
    }

    /// A packet of this path was acknowledged or lost while another path was in use: it is no
    /// longer in flight, which is all that it means.
    pub fn forget<C>(&mut self, packet: &SentPacket<C>) {
        if !self.owns(packet) {
            return;
        }
        self.remove_from_flight(packet);
        if packet.kind == PacketKind::MtuProbe {
            self.mtu.on_probe_forgotten();
        }
        if packet.ect0 {
            self.ecn.on_marks_forgotten();
        }
    }

    pub(super) fn generation(&self) -> u8 {
        self.generation
    }

    pub(super) fn owns<C>(&self, packet: &SentPacket<C>) -> bool {
        packet.path == self.generation
    }

    pub(super) fn on_packet_sent<C>(&mut self, packet: &SentPacket<C>) {
        let size = u64::from(packet.size);
        if packet.ect0 {
            self.ecn.on_sent_ect0();
        }
        if packet.kind == PacketKind::MtuProbe {
            self.mtu.on_probe_sent();
        }
        if packet.kind.is_in_flight() {
            // req 9002-7.5-065
            self.bytes_in_flight += size;
            self.fast_retransmit = false;
            self.congestion.on_sent(packet.time_sent, size);
            if let Some(pacer) = &mut self.pacer {
                pacer.on_sent(size);
            }
        }
    }

    /// The packet is no longer in flight, for whatever reason.
    pub(super) fn remove_from_flight<C>(&mut self, packet: &SentPacket<C>) {
        if packet.kind.is_in_flight() && self.owns(packet) {
            debug_assert!(self.bytes_in_flight >= u64::from(packet.size));
            self.bytes_in_flight = self.bytes_in_flight.saturating_sub(u64::from(packet.size));
        }
    }

    /// The packet was sent before the last recovery period began.
    pub(super) fn is_before_recovery(&self, sent: Instant) -> bool {
        self.recovery.covers(sent)
    }

    /// Takes in what an ACK frame acknowledged; `flight_before` is what was in flight before it.
    pub(super) fn on_acked(&mut self, now: Instant, mut batch: AckedBatch, flight_before: u64) {
        if batch.bytes > 0 {
            self.recovery.end();
        }
        batch.app_limited = self.is_app_limited(flight_before);
        self.congestion.on_acked(now, &batch);
    }

    fn is_app_limited(&self, flight_before: u64) -> bool {
        if self.demand == Demand::Limited {
            return false;
        }
        // The data ran out, but the window was as good as full; in slow start half of it is
        // enough, because it doubles.
        let window = self.congestion.window();
        let slack = match self.congestion.phase() {
            CongestionPhase::SlowStart | CongestionPhase::ConservativeSlowStart => window / 2,
            CongestionPhase::CongestionAvoidance => 3 * u64::from(self.mtu.current()),
        };
        flight_before.saturating_add(slack) < window
    }

    /// A packet sent at `sent` met congestion. Returns true if that begins a recovery period.
    pub(super) fn on_congestion(
        &mut self,
        now: Instant,
        sent: Instant,
        cause: CongestionCause,
    ) -> bool {
        if self.is_before_recovery(sent) {
            return false;
        }
        // req 9002-7.3.1-057
        self.recovery = RecoveryPeriod::Active { start: now };
        self.fast_retransmit = true;
        self.congestion.on_congestion_event(now, cause);
        true
    }

    pub(super) fn on_persistent_congestion(&mut self, now: Instant) {
        self.recovery = RecoveryPeriod::NeverBegun;
        self.rtt.on_persistent_congestion();
        self.congestion.on_persistent_congestion(now);
    }

    pub(super) fn on_spurious_loss(&mut self, now: Instant, packets: u32) {
        self.congestion.on_spurious_loss(now, packets);
    }

    pub(super) fn on_mtu_changed(&mut self, size: u16) {
        self.congestion.on_mtu(size);
    }

    fn pace_input(&self) -> PaceInput {
        PaceInput {
            window: self.congestion.window(),
            smoothed_rtt: self.rtt.smoothed(),
            max_datagram_size: self.mtu.current(),
            slow_start: self.congestion.phase() != CongestionPhase::CongestionAvoidance,
        }
    }
}
