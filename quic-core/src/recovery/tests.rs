//! The rules of RFC 9002, one by one, in virtual time.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::space::Space;
use super::*;
use crate::congestion::{CongestionAlgorithm, CongestionCause};
use crate::error::{TransportError, Violation};
use crate::util::Rng;
use crate::wire::frame::EcnCounts;
use PacketKind::{AckEliciting, AckOnly, MtuProbe, Padded};
use SpaceId::{Data, Handshake, Initial};

const MS: Duration = Duration::from_millis(1);

/// A connection's recovery, its only path, and the clock.
struct Rig {
    now: Instant,
    recovery: Recovery<u64>,
    path: PathRecovery,
    context: RecoveryContext,
    out: AckOutcome<u64>,
}

impl Rig {
    fn new(side: Side) -> Self {
        let config = RecoveryConfig {
            congestion: CongestionAlgorithm::NewReno,
            ..RecoveryConfig::default()
        };
        Self::with_config(side, &config)
    }

    fn with_config(side: Side, config: &RecoveryConfig) -> Self {
        let now = Instant::now();
        let mut recovery = Recovery::new(now, side);
        // Packet numbers without gaps, unless a test asks for them.
        recovery.spaces[2].skip_at = Some(u64::MAX);
        Self {
            now,
            recovery,
            path: PathRecovery::new(now, config, 0),
            context: RecoveryContext {
                stage: HandshakeStage::Initial,
                amplification: Amplification::Free,
                max_ack_delay: 25 * MS,
            },
            out: AckOutcome::new(),
        }
    }

    /// A client whose handshake is confirmed, with one RTT sample of `rtt`.
    fn confirmed(rtt: Duration) -> Self {
        let mut rig = Self::new(Side::Client);
        rig.context.stage = HandshakeStage::Confirmed;
        rig.send(Data);
        rig.pass(rtt);
        rig.ack(Data, &[0..=0]);
        rig
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn space(&mut self, id: SpaceId) -> &mut Space<u64> {
        &mut self.recovery.spaces[id.index()]
    }

    fn send(&mut self, id: SpaceId) -> u64 {
        self.send_as(id, AckEliciting, 1200)
    }

    fn send_as(&mut self, id: SpaceId, kind: PacketKind, size: u16) -> u64 {
        let mut rng = Rng::from_seed([9; 32]);
        let number = self.recovery.next_packet_number(id, &mut rng).unwrap();
        let ect0 = self.path.ecn.marks_ect0() && kind == AckEliciting;
        let packet = SentPacket::new(self.now, size, kind, ect0, number.into_inner());
        self.recovery.on_packet_sent(id, number, packet, &mut self.path);
        number.into_inner()
    }

    fn send_many(&mut self, id: SpaceId, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.send(id)).collect()
    }

    fn ack(&mut self, id: SpaceId, ranges: &[RangeInclusive<u64>]) {
        self.try_ack(id, ranges, Duration::ZERO, None).unwrap();
    }

    fn try_ack(
        &mut self,
        id: SpaceId,
        ranges: &[RangeInclusive<u64>],
        ack_delay: Duration,
        ecn: Option<EcnCounts>,
    ) -> Result<(), TransportError> {
        let Self { now, recovery, path, context, out } = self;
        let ranges = ranges.iter().cloned();
        recovery.on_ack_received(*now, id, ranges, ack_delay, ecn, context, path, out)
    }

    fn ack_delayed(&mut self, id: SpaceId, number: u64, ack_delay: Duration) {
        self.try_ack(id, &[number..=number], ack_delay, None).unwrap();
    }

    fn timeout(&self) -> Option<(Duration, TimeoutReason)> {
        let (at, reason) = self.recovery.timeout(&self.context, &self.path)?;
        Some((at.saturating_duration_since(self.now), reason))
    }

    /// Lets time pass to the next timeout.
    fn fire(&mut self) -> TimeoutAction {
        let (at, _) = self.recovery.timeout(&self.context, &self.path).expect("a timer is set");
        self.now = self.now.max(at);
        self.recovery.on_timeout(self.now, &self.context, &mut self.path, &mut self.out)
    }

    fn lost(&self) -> Vec<u64> {
        self.out.lost.iter().map(|(number, _)| number.into_inner()).collect()
    }

    fn window(&self) -> u64 {
        self.path.congestion().window()
    }

    fn in_flight_by_ledger(&self) -> u64 {
        let spaces = self.recovery.spaces.iter();
        let packets = spaces.flat_map(|space| space.ledger.outstanding());
        packets
            .filter(|p| p.kind.is_in_flight() && self.path.owns(p))
            .map(|p| u64::from(p.size))
            .sum()
    }
}

// ---- RTT -----------------------------------------------------------------------------------

// req-test 9002-5.1-001
#[test]
fn an_ack_frame_that_repeats_its_largest_number_gives_no_sample() {
    let mut rig = Rig::confirmed(100 * MS);
    let sent = rig.send_many(Data, 3);
    rig.pass(100 * MS);
    rig.ack(Data, &[sent[2]..=sent[2]]);
    assert!(rig.out.rtt_updated);
    rig.pass(5 * MS);
    rig.ack(Data, &[sent[1]..=sent[2]]);
    assert_eq!(rig.out.acked.len(), 1);
    assert!(!rig.out.rtt_updated);
}

// req-test 9002-5.1-002
#[test]
fn packets_that_ask_for_no_acknowledgement_give_no_sample() {
    let mut rig = Rig::confirmed(100 * MS);
    let quiet = [rig.send_as(Data, AckOnly, 50), rig.send_as(Data, Padded, 1200)];
    rig.pass(400 * MS);
    rig.ack(Data, &[quiet[0]..=quiet[1]]);
    assert_eq!(rig.out.acked.len(), 2);
    assert!(!rig.out.rtt_updated);
    assert_eq!(rig.path.rtt.latest(), 100 * MS);
}

// req-test 9002-5.3-011, 9002-5.3-010, 9002-5.3-007
#[test]
fn the_claimed_delay_is_limited_once_the_handshake_is_confirmed() {
    for (stage, id, smoothed) in [
        (HandshakeStage::Confirmed, Data, 100 * MS + 75 * MS / 8),
        (HandshakeStage::Handshake, Data, 100 * MS),
        (HandshakeStage::Handshake, Initial, 100 * MS + 100 * MS / 8),
    ] {
        let mut rig = Rig::confirmed(100 * MS);
        rig.context.stage = stage;
        let number = rig.send(id);
        rig.pass(200 * MS);
        rig.ack_delayed(id, number, 100 * MS);
        let difference = rig.path.rtt.smoothed().abs_diff(smoothed);
        assert!(difference < MS, "{stage:?} {id:?}: {:?}", rig.path.rtt.smoothed());
    }
}

// ---- loss ----------------------------------------------------------------------------------

// req-test 9002-6.1.1-015, 9002-6.1.1-016, 9002-7.4-063
#[test]
fn a_packet_is_lost_when_the_third_after_it_is_acknowledged() {
    let mut rig = Rig::confirmed(100 * MS);
    let sent = rig.send_many(Data, 5);
    rig.pass(10 * MS);
    rig.ack(Data, &[sent[2]..=sent[2]]);
    assert!(rig.lost().is_empty());
    rig.ack(Data, &[sent[3]..=sent[3]]);
    assert_eq!(rig.lost(), [sent[0]]);
    rig.ack(Data, &[sent[4]..=sent[4]]);
    assert_eq!(rig.lost(), [sent[1]]);
}

// req-test 9002-6.1.1-016
#[test]
fn a_number_left_out_does_not_count_as_a_later_packet() {
    let mut rig = Rig::confirmed(100 * MS);
    let first = rig.send(Data);
    rig.space(Data).skip();
    let later = rig.send_many(Data, 3);
    rig.ack(Data, &[later[1]..=later[1]]);
    assert_eq!((later[1] - first, rig.lost()), (3, vec![]));
    rig.ack(Data, &[later[2]..=later[2]]);
    assert_eq!(rig.lost(), [first]);
}

// req-test 9002-6.1.2-017, 9002-6.1.2-018, 9002-6.1.2-019, 9002-6.1.2-020
#[test]
fn an_overdue_packet_is_lost_after_nine_eighths_of_the_rtt() {
    let mut rig = Rig::confirmed(80 * MS);
    let sent = rig.send_many(Data, 2);
    rig.pass(80 * MS);
    rig.ack(Data, &[sent[1]..=sent[1]]);
    assert!(rig.lost().is_empty());
    assert_eq!(rig.timeout(), Some((10 * MS, TimeoutReason::Loss(Data))));
    assert_eq!(rig.fire(), TimeoutAction::LossDetected(Data));
    assert_eq!(rig.lost(), [sent[0]]);
    assert_eq!(rig.timeout(), None);
}

#[test]
fn ack_only_packets_are_forgotten_without_a_timer_or_a_loss() {
    let mut rig = Rig::confirmed(80 * MS);
    rig.send_as(Data, AckOnly, 40);
    let number = rig.send(Data);
    rig.ack(Data, &[number..=number]);
    assert_eq!((rig.lost(), rig.timeout()), (vec![], None));
    assert_eq!(rig.space(Data).ledger.front().map(|(number, _)| number), None);
}

#[test]
fn a_late_acknowledgement_of_a_lost_packet_is_reported_once() {
    let mut rig = Rig::confirmed(100 * MS);
    let sent = rig.send_many(Data, 5);
    rig.ack(Data, &[sent[4]..=sent[4]]);
    assert_eq!(rig.lost(), [sent[0], sent[1]]);
    rig.ack(Data, &[sent[0]..=sent[4]]);
    assert_eq!((rig.out.spurious_losses, rig.out.acked.len()), (2, 2));
    rig.ack(Data, &[sent[0]..=sent[4]]);
    assert_eq!((rig.out.spurious_losses, rig.out.acked.len()), (0, 0));
}

// ---- probe timeout -------------------------------------------------------------------------

// req-test 9002-6.2-023, 9002-6.2.1-028, 9002-6.2.4-038, 9002-6.2.4-039
#[test]
fn a_probe_timeout_asks_for_two_probes_doubles_and_loses_nothing() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send(Data);
    // 100 + 4 * 50 + 25
    let (first, reason) = rig.timeout().unwrap();
    assert_eq!((first, reason), (325 * MS, TimeoutReason::Probe(Data)));
    let flight = rig.path.bytes_in_flight();
    for doublings in 0..4 {
        let before = rig.now;
        assert_eq!(rig.fire(), TimeoutAction::SendProbes { space: Data, count: 2 });
        assert_eq!((rig.lost(), rig.path.bytes_in_flight()), (vec![], flight));
        assert_eq!(rig.now - before, first * (1 << doublings) / if doublings == 0 { 1 } else { 2 });
    }
    assert_eq!(rig.window(), Rig::confirmed(100 * MS).window());
}

// req-test 9002-6.2.1-028
#[test]
fn an_acknowledgement_resets_the_backoff() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send(Data);
    rig.fire();
    let probe = rig.send(Data);
    assert_eq!((rig.recovery.pto_count(), rig.timeout().unwrap().0), (1, 650 * MS));
    rig.pass(100 * MS);
    rig.ack(Data, &[probe..=probe]);
    assert_eq!(rig.recovery.pto_count(), 0);
}

#[test]
fn an_initial_acknowledgement_does_not_reset_the_backoff_of_a_client() {
    for (side, count) in [(Side::Client, 1), (Side::Server, 0)] {
        let mut rig = Rig::new(side);
        rig.send(Initial);
        rig.fire();
        rig.ack(Initial, &[0..=0]);
        assert_eq!(rig.recovery.pto_count(), count, "{side:?}");
        rig.context.stage = HandshakeStage::Handshake;
        rig.send(Handshake);
        rig.ack(Handshake, &[0..=0]);
        assert_eq!(rig.recovery.pto_count(), 0);
    }
}

// req-test 9002-6.2.1-025
#[test]
fn the_earlier_of_initial_and_handshake_sets_the_timer() {
    let mut rig = Rig::new(Side::Server);
    rig.send(Initial);
    rig.pass(10 * MS);
    rig.send(Handshake);
    assert_eq!(rig.timeout(), Some((989 * MS, TimeoutReason::Probe(Initial))));
    rig.pass(10 * MS);
    rig.send(Initial);
    assert_eq!(rig.timeout(), Some((989 * MS, TimeoutReason::Probe(Handshake))));
}

// req-test 9002-6.2.1-026
#[test]
fn application_data_has_no_probe_timeout_before_confirmation() {
    let mut rig = Rig::new(Side::Server);
    rig.context.stage = HandshakeStage::Handshake;
    rig.send(Data);
    assert_eq!(rig.timeout(), None);
    rig.context.stage = HandshakeStage::Confirmed;
    assert_eq!(rig.timeout(), Some((999 * MS + 25 * MS, TimeoutReason::Probe(Data))));
}

// req-test 9002-6.2.1-027
#[test]
fn each_ack_eliciting_packet_restarts_the_timer() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send(Data);
    rig.pass(50 * MS);
    rig.send_as(Data, AckOnly, 40);
    assert_eq!(rig.timeout().unwrap().0, 275 * MS);
    rig.send(Data);
    assert_eq!(rig.timeout().unwrap().0, 325 * MS);
}

// req-test 9002-6.2.1-029
#[test]
fn the_loss_timer_stands_in_for_the_probe_timeout() {
    let mut rig = Rig::confirmed(100 * MS);
    let sent = rig.send_many(Data, 3);
    rig.ack(Data, &[sent[1]..=sent[1]]);
    let reason = rig.timeout().unwrap().1;
    assert_eq!(reason, TimeoutReason::Loss(Data));
    rig.fire();
    assert_eq!(rig.timeout().unwrap().1, TimeoutReason::Probe(Data));
}

// req-test 9002-6.2.2-033, 9002-6.4-049
#[test]
fn discarding_a_space_empties_its_flight_and_resets_the_timers() {
    let mut rig = Rig::new(Side::Server);
    rig.send_many(Initial, 3);
    rig.send(Handshake);
    rig.ack(Initial, &[1..=1]);
    rig.pass(5 * MS);
    assert!(matches!(rig.timeout(), Some((_, TimeoutReason::Loss(Initial)))));
    rig.space(Initial).loss_time = None;
    rig.fire();
    assert_eq!(rig.recovery.pto_count(), 1);
    rig.recovery.discard_space(rig.now, Initial, &mut rig.path);
    assert_eq!((rig.path.bytes_in_flight(), rig.recovery.pto_count()), (1200, 0));
    assert!(matches!(rig.timeout(), Some((_, TimeoutReason::Probe(Handshake)))));
    rig.recovery.discard_space(rig.now, Handshake, &mut rig.path);
    assert_eq!((rig.path.bytes_in_flight(), rig.timeout()), (0, None));
}

// req-test 9002-6.2.2.1-034
#[test]
fn a_server_that_may_not_send_arms_no_probe_timeout() {
    let mut rig = Rig::new(Side::Server);
    rig.send(Initial);
    rig.context.amplification = Amplification::Blocked;
    assert_eq!(rig.timeout(), None);
    rig.pass(5_000 * MS);
    rig.context.amplification = Amplification::Free;
    assert_eq!(rig.timeout(), Some((Duration::ZERO, TimeoutReason::Probe(Initial))));
    assert_eq!(rig.fire(), TimeoutAction::SendProbes { space: Initial, count: 2 });
}

// req-test 9002-6.2.2.1-035, 9002-6.2.2.1-036
#[test]
fn a_client_with_nothing_in_flight_probes_until_the_server_has_its_address() {
    let mut rig = Rig::new(Side::Client);
    rig.send(Initial);
    rig.pass(100 * MS);
    rig.ack(Initial, &[0..=0]);
    assert_eq!(rig.timeout(), Some((300 * MS, TimeoutReason::Probe(Initial))));
    assert_eq!(rig.fire(), TimeoutAction::SendProbes { space: Initial, count: 1 });
    assert_eq!(rig.timeout(), Some((600 * MS, TimeoutReason::Probe(Initial))));

    rig.context.stage = HandshakeStage::Handshake;
    rig.recovery.discard_space(rig.now, Initial, &mut rig.path);
    // Application data in flight cannot unblock the server either.
    rig.send(Data);
    assert_eq!(rig.timeout(), Some((300 * MS, TimeoutReason::Probe(Handshake))));

    rig.send(Handshake);
    rig.ack(Handshake, &[0..=0]);
    assert_eq!(rig.timeout(), None);
}

#[test]
fn a_server_with_nothing_in_flight_has_no_timer() {
    let mut rig = Rig::new(Side::Server);
    rig.send(Initial);
    rig.ack(Initial, &[0..=0]);
    assert_eq!(rig.timeout(), None);
}

#[test]
fn the_backoff_never_overflows() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send(Data);
    for _ in 0..100 {
        assert!(matches!(rig.fire(), TimeoutAction::SendProbes { .. }));
    }
    assert_eq!(rig.recovery.pto_count(), 100);
}

#[test]
fn a_timeout_that_comes_too_early_does_nothing() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send(Data);
    let action = rig.recovery.on_timeout(rig.now, &rig.context, &mut rig.path, &mut rig.out);
    assert_eq!((action, rig.recovery.pto_count()), (TimeoutAction::None, 0));
}

// ---- congestion ----------------------------------------------------------------------------

// req-test 9002-7-052
#[test]
fn a_full_window_blocks_until_something_is_acknowledged() {
    let mut rig = Rig::new(Side::Server);
    assert_eq!(rig.path.send_budget(rig.now), SendBudget::Bytes(12_000));
    rig.send_many(Data, 9);
    rig.pass(300 * MS);
    assert_eq!(rig.path.send_budget(rig.now), SendBudget::Bytes(1_200));
    rig.send_as(Data, AckEliciting, 2);
    assert_eq!(rig.path.send_budget(rig.now), SendBudget::Blocked, "a full datagram may not fit");
    rig.send_as(Data, AckOnly, 1200);
    rig.ack(Data, &[0..=0]);
    assert!(matches!(rig.path.send_budget(rig.now), SendBudget::Bytes(_)));
}

// req-test 9002-7.5-064, 9002-7.5-065
#[test]
fn probes_go_beyond_the_window_and_count() {
    let mut rig = Rig::confirmed(100 * MS);
    let fill = rig.window() / 1200;
    rig.send_many(Data, fill as usize);
    assert_eq!(rig.path.send_budget(rig.now), SendBudget::Blocked);
    rig.fire();
    let before = rig.path.bytes_in_flight();
    rig.send_many(Data, 2);
    assert_eq!(rig.path.bytes_in_flight(), before + 2_400);
}

// req-test 9002-7.3.1-057, 9002-7.3.2-058
#[test]
fn the_losses_of_one_round_trip_reduce_the_window_once() {
    let mut rig = Rig::confirmed(100 * MS);
    let window = rig.window();
    let sent = rig.send_many(Data, 10);
    rig.pass(100 * MS);
    rig.ack(Data, &[sent[3]..=sent[3]]);
    assert_eq!(rig.out.congestion_event, Some(CongestionCause::Loss));
    assert_eq!(rig.window(), window / 2);
    assert!(rig.path.is_in_recovery());
    rig.ack(Data, &[sent[9]..=sent[9]]);
    assert_eq!((rig.lost().len(), rig.out.congestion_event), (5, None));
    assert_eq!(rig.window(), window / 2);

    // A packet sent afterwards ends the period; a loss after that is a new event.
    rig.pass(MS);
    let after = rig.send_many(Data, 5);
    rig.pass(100 * MS);
    rig.ack(Data, &[after[0]..=after[0]]);
    assert!(!rig.path.is_in_recovery());
    rig.ack(Data, &[after[4]..=after[4]]);
    assert_eq!(rig.out.congestion_event, Some(CongestionCause::Loss));
}

#[test]
fn old_packets_do_not_open_a_second_recovery_period_after_the_first() {
    let mut rig = Rig::confirmed(100 * MS);
    let old = rig.send_many(Data, 6);
    rig.pass(50 * MS);
    rig.ack(Data, &[old[3]..=old[3]]);
    assert!(rig.out.congestion_event.is_some());
    rig.pass(MS);
    let new = rig.send_many(Data, 1);
    rig.ack(Data, &[new[0]..=new[0]]);
    assert!(!rig.path.is_in_recovery());
    rig.pass(300 * MS);
    rig.fire();
    assert_eq!((rig.lost().is_empty(), rig.out.congestion_event), (false, None));
}

#[test]
fn packets_from_before_the_recovery_period_do_not_grow_the_window() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.path.on_send_limited();
    let sent = rig.send_many(Data, 40);
    rig.pass(100 * MS);
    rig.ack(Data, &[sent[3]..=sent[3]]);
    let reduced = rig.window();
    rig.ack(Data, &[sent[4]..=sent[39]]);
    assert_eq!((rig.out.acked.len(), rig.window()), (36, reduced));
    assert!(rig.path.is_in_recovery());
}

#[test]
fn entering_recovery_lets_one_datagram_out_beyond_the_window() {
    let mut rig = Rig::confirmed(100 * MS);
    let fill = rig.window() / 1200;
    let sent = rig.send_many(Data, fill as usize);
    rig.pass(100 * MS);
    rig.ack(Data, &[sent[3]..=sent[3]]);
    assert!(rig.path.bytes_in_flight() > rig.window());
    assert_eq!(rig.path.send_budget(rig.now), SendBudget::Bytes(1200));
    rig.send(Data);
    assert_eq!(rig.path.send_budget(rig.now), SendBudget::Blocked);
}

// req-test 9002-7.8-077, 9002-7.8-078
#[test]
fn the_window_grows_only_while_it_is_used() {
    let mut rig = Rig::confirmed(100 * MS);
    let window = rig.window();
    rig.path.on_send_exhausted();
    let sent = rig.send_many(Data, 3);
    rig.ack(Data, &[sent[0]..=sent[2]]);
    assert_eq!(rig.window(), window);
    // Held back by the pacer with just as little in flight: the window counts as used.
    rig.path.on_send_limited();
    let sent = rig.send_many(Data, 3);
    rig.ack(Data, &[sent[0]..=sent[2]]);
    assert_eq!(rig.window(), window + 3_600);
    // Out of data, but not before the window was nearly full.
    rig.path.on_send_exhausted();
    let sent = rig.send_many(Data, (rig.window() / 1200) as usize);
    rig.ack(Data, &[sent[0]..=sent[0]]);
    assert_eq!(rig.window(), window + 4_800);
}

/// The example of section 7.6.3 with all times in units of 100 ms; returns whether the last ACK
/// frame found persistent congestion.
fn example_of_persistent_congestion(change: impl FnOnce(&mut Rig)) -> bool {
    let unit = 100 * MS;
    let mut rig = Rig::new(Side::Client);
    rig.context.stage = HandshakeStage::Confirmed;
    // smoothed_rtt + 4 * rttvar + max_ack_delay = 2 units
    rig.context.max_ack_delay = 140 * MS;
    rig.send(Data); // 0 at t = 0
    rig.pass(20 * MS);
    rig.ack(Data, &[0..=0]);
    assert_eq!(rig.path.rtt.pto_base() + rig.context.max_ack_delay, 2 * unit);
    let start = rig.now;
    change(&mut rig);
    for t in [10, 20, 30, 40, 50, 60, 80, 120] {
        rig.now = start + unit * t / 10;
        rig.send(Data);
    }
    rig.pass(20 * MS);
    rig.ack(Data, &[8..=8]);
    if rig.out.persistent_congestion {
        assert_eq!(rig.window(), 2_400);
    }
    rig.out.persistent_congestion
}

// req-test 9002-7.6.1-066, 9002-7.6.2-071
#[test]
fn losing_everything_for_three_probe_timeouts_is_persistent_congestion() {
    assert!(example_of_persistent_congestion(|_| {}));
}

// req-test 9002-7.6.2-069
#[test]
fn what_another_space_got_through_meanwhile_prevents_persistent_congestion() {
    assert!(!example_of_persistent_congestion(|rig| {
        rig.pass(450 * MS);
        let number = rig.send(Handshake);
        rig.pass(20 * MS);
        rig.ack(Handshake, &[number..=number]);
    }));
}

/// Sends eight packets over `spacing` each, acknowledges `acked` of them last; persistent?
fn loses_all_but(kind: PacketKind, sampled: bool, acked: &[RangeInclusive<u64>]) -> bool {
    let mut rig = Rig::new(Side::Client);
    rig.context.stage = HandshakeStage::Confirmed;
    if sampled {
        rig.send_as(Data, AckEliciting, 100);
        rig.pass(20 * MS);
        rig.ack(Data, &[0..=0]);
    } else {
        rig.send_as(Data, AckOnly, 100);
    }
    for _ in 0..8 {
        rig.pass(1_000 * MS);
        rig.send_as(Data, kind, 1200);
    }
    rig.send(Data);
    rig.ack(Data, acked);
    rig.out.persistent_congestion
}

// req-test 9002-7.6.2-067, 9002-7.6.2-068
#[test]
fn persistent_congestion_needs_ack_eliciting_packets_and_an_rtt_sample_and_no_arrival_between() {
    assert!(loses_all_but(AckEliciting, true, &[9..=9]));
    assert!(!loses_all_but(Padded, true, &[9..=9]));
    assert!(!loses_all_but(MtuProbe, true, &[9..=9]));
    assert!(!loses_all_but(AckEliciting, false, &[9..=9]));
    let each_other: Vec<_> = [9, 8, 7, 6, 5, 4, 3, 2].map(|n| n..=n).to_vec();
    assert!(!loses_all_but(AckEliciting, true, &each_other));
}

// ---- acknowledgements of what was not sent --------------------------------------------------

// req-test 9000-13.1-304
#[test]
fn acknowledging_a_packet_that_was_never_sent_is_a_violation() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send(Data);
    let error = rig.try_ack(Data, &[0..=2], Duration::ZERO, None).unwrap_err();
    assert_eq!(error.reason, Violation::AckOfUnsentPacket);
    let error = rig.try_ack(Initial, &[0..=0], Duration::ZERO, None).unwrap_err();
    assert_eq!(error.reason, Violation::AckOfUnsentPacket);
}

// req-test 9000-21.4-485
#[test]
fn a_peer_that_acknowledges_blindly_hits_a_number_left_out() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.space(Data).skip_at = None;
    let mut rng = Rng::from_seed([5; 32]);
    let mut last = 0;
    let mut gaps = Vec::new();
    for _ in 0..20_000 {
        let number = rig.recovery.next_packet_number(Data, &mut rng).unwrap();
        assert_eq!(rig.recovery.next_packet_number(Data, &mut rng), Some(number));
        let packet = SentPacket::new(rig.now, 1200, AckEliciting, false, 0);
        rig.recovery.on_packet_sent(Data, number, packet, &mut rig.path);
        if number.into_inner() > last + 1 {
            gaps.push(number.into_inner() - 1);
        }
        last = number.into_inner();
    }
    assert!((4..=20).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps[0] < 130);
    // Honest: everything but the gaps.
    let gap = gaps[0];
    rig.try_ack(Data, &[gap + 1..=gap + 5, 0..=gap - 1], Duration::ZERO, None).unwrap();
    let error = rig.try_ack(Data, &[0..=gap + 5], Duration::ZERO, None).unwrap_err();
    assert_eq!(error.reason, Violation::AckOfSkippedPacket);
}

// ---- ECN -----------------------------------------------------------------------------------

fn counts(ect0: u64, ce: u64) -> Option<EcnCounts> {
    Some(EcnCounts { ect0, ect1: 0, ce })
}

// req-test 9002-7.3.1-057
#[test]
fn a_congestion_mark_reduces_the_window_once_per_round_trip() {
    let mut rig = Rig::new(Side::Server);
    rig.context.stage = HandshakeStage::Confirmed;
    rig.send_many(Data, 8);
    rig.pass(100 * MS);
    rig.try_ack(Data, &[0..=1], Duration::ZERO, counts(1, 1)).unwrap();
    assert_eq!(rig.out.ecn, Some(EcnChange::Validated));
    assert_eq!(rig.out.congestion_event, Some(CongestionCause::Ecn));
    assert_eq!(rig.window(), 6_000);
    rig.try_ack(Data, &[0..=4], Duration::ZERO, counts(2, 3)).unwrap();
    assert_eq!((rig.out.congestion_event, rig.window()), (None, 6_000));
}

// req-test 9000-13.4.2.1-339
#[test]
fn a_reordered_ack_frame_does_not_fail_ecn() {
    let mut rig = Rig::new(Side::Server);
    rig.send_many(Data, 8);
    rig.try_ack(Data, &[2..=3], Duration::ZERO, counts(2, 0)).unwrap();
    // Sent earlier by the peer, so that its counts are lower.
    rig.try_ack(Data, &[1..=1], Duration::ZERO, counts(1, 0)).unwrap();
    assert_eq!((rig.out.acked.len(), rig.out.ecn), (1, None));
    assert!(rig.path.ecn.is_capable());
}

// req-test 9000-13.4.2.2-340
#[test]
fn marks_that_are_not_reported_disable_ecn() {
    let mut rig = Rig::new(Side::Server);
    rig.send_many(Data, 2);
    rig.ack(Data, &[0..=1]);
    assert_eq!(rig.out.ecn, Some(EcnChange::Failed));
    assert!(!rig.path.ecn.marks_ect0());
}

// ---- datagram size -------------------------------------------------------------------------

// req-test 9000-14.4-369
#[test]
fn a_lost_mtu_probe_is_no_congestion() {
    let mut rig = Rig::confirmed(100 * MS);
    let window = rig.window();
    let size = rig.path.poll_mtu_probe(rig.now).unwrap();
    rig.send_as(Data, MtuProbe, size);
    let sent = rig.send_many(Data, 4);
    rig.ack(Data, &[sent[0]..=sent[3]]);
    assert_eq!((rig.lost().len(), rig.out.congestion_event), (1, None));
    assert!(rig.window() >= window);
    assert_eq!(rig.path.bytes_in_flight(), 0);
    assert_eq!(rig.path.poll_mtu_probe(rig.now), Some(size), "two more attempts");
}

#[test]
fn an_acknowledged_probe_raises_the_datagram_size() {
    let mut rig = Rig::confirmed(100 * MS);
    let size = rig.path.poll_mtu_probe(rig.now).unwrap();
    let number = rig.send_as(Data, MtuProbe, size);
    rig.ack(Data, &[number..=number]);
    assert_eq!(rig.out.max_datagram_size, Some(size));
    assert_eq!(rig.path.max_datagram_size(), size);
}

#[test]
fn a_path_that_swallows_large_datagrams_falls_back_to_the_base() {
    let mut rig = Rig::confirmed(100 * MS);
    let size = rig.path.poll_mtu_probe(rig.now).unwrap();
    let number = rig.send_as(Data, MtuProbe, size);
    rig.ack(Data, &[number..=number]);
    for _ in 0..3 {
        assert_eq!(rig.path.max_datagram_size(), size);
        rig.send_as(Data, AckEliciting, size);
        let small = (0..3).map(|_| rig.send_as(Data, AckEliciting, 100)).max().unwrap();
        rig.ack(Data, &[small - 2..=small]);
    }
    assert_eq!(rig.out.max_datagram_size, Some(1200));
    assert_eq!(rig.path.max_datagram_size(), 1200);
}

#[test]
fn probe_timeouts_with_large_datagrams_in_flight_fall_back_to_the_base() {
    let mut rig = Rig::confirmed(100 * MS);
    let size = rig.path.poll_mtu_probe(rig.now).unwrap();
    let number = rig.send_as(Data, MtuProbe, size);
    rig.ack(Data, &[number..=number]);
    rig.send_as(Data, AckEliciting, size);
    rig.fire();
    rig.fire();
    assert_eq!(rig.path.max_datagram_size(), size);
    rig.fire();
    assert_eq!((rig.out.max_datagram_size, rig.path.max_datagram_size()), (Some(1200), 1200));
}

// ---- paths, retry --------------------------------------------------------------------------

#[test]
fn packets_of_an_old_path_do_not_touch_the_new_one() {
    let mut rig = Rig::confirmed(100 * MS);
    let old = rig.send_many(Data, 6);
    rig.path = PathRecovery::new(rig.now, &RecoveryConfig::default(), 1);
    let window = rig.window();
    rig.pass(700 * MS);
    rig.ack(Data, &[old[5]..=old[5]]);
    assert_eq!((rig.lost().len(), rig.out.congestion_event), (5, None));
    assert!(!rig.out.rtt_updated);
    assert_eq!((rig.window(), rig.path.bytes_in_flight()), (window, 0));
}

#[test]
fn what_was_abandoned_comes_back_as_lost_without_congestion() {
    let mut rig = Rig::new(Side::Client);
    rig.send_many(Initial, 2);
    rig.recovery.abandon_sent(rig.now, Initial, &mut rig.path, &mut rig.out);
    assert_eq!((rig.lost(), rig.path.bytes_in_flight(), rig.window()), (vec![0, 1], 0, 12_000));
    assert_eq!(rig.send(Initial), 2, "packet numbers go on");
}

// ---- invariants ----------------------------------------------------------------------------

#[test]
fn an_ack_frame_costs_what_it_newly_acknowledges() {
    let mut rig = Rig::confirmed(100 * MS);
    rig.send_many(Data, 10_000);
    // Two newly acknowledged per frame, each frame repeating all before, while number 1 is
    // missing and then lost.
    for end in (3..=9_999).step_by(2) {
        rig.space(Data).ledger.touched = 0;
        rig.ack(Data, &[2..=end]);
        let new = rig.out.acked.len() + rig.out.lost.len();
        let touched = rig.space(Data).ledger.touched;
        assert!(touched <= 4 * new + 2, "{touched} slots touched for {new} packets");
    }
    // The same with every third packet missing: many ranges, repeated again and again.
    let mut rig = Rig::confirmed(100 * MS);
    rig.send_many(Data, 10_000);
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    let (mut touched, mut new) = (0, 0);
    for start in (1..9_000).step_by(3) {
        ranges.insert(0, start..=start + 1);
        ranges.truncate(32);
        rig.space(Data).ledger.touched = 0;
        rig.ack(Data, &ranges.clone());
        touched += rig.space(Data).ledger.touched;
        new += rig.out.acked.len() + rig.out.lost.len();
    }
    assert!(touched <= 4 * new, "{touched} slots touched for {new} packets");
}

#[derive(Clone, Debug)]
enum Step {
    Send(SpaceId, PacketKind, u16),
    Ack(SpaceId, Vec<(u64, u64)>),
    Pass(u64),
    Timeout,
    Discard(SpaceId),
    Abandon(SpaceId),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || prop::sample::select(&SpaceId::ALL);
    let kind = prop::sample::select(&[AckEliciting, AckEliciting, AckOnly, Padded][..]);
    prop_oneof![
        12 => (id(), kind, 30u16..1400).prop_map(|(id, kind, size)| Step::Send(id, kind, size)),
        6 => (id(), prop::collection::vec((0u64..12, 0u64..6), 1..5))
            .prop_map(|(id, ranges)| Step::Ack(id, ranges)),
        3 => (0u64..400).prop_map(Step::Pass),
        2 => Just(Step::Timeout),
        1 => id().prop_map(Step::Discard),
        1 => id().prop_map(Step::Abandon),
    ]
}

/// Turns distances below the last sent number into ranges an honest peer could send.
fn ranges_below(next: u64, distances: &[(u64, u64)]) -> Vec<RangeInclusive<u64>> {
    let mut ranges = Vec::new();
    let mut top = next;
    for &(gap, length) in distances {
        let Some(end) = top.checked_sub(gap + 1) else { break };
        let start = end.saturating_sub(length);
        ranges.push(start..=end);
        let Some(below) = start.checked_sub(1) else { break };
        top = below;
    }
    ranges
}

proptest! {
    #[test]
    fn bytes_in_flight_are_always_the_sum_of_the_packets_in_flight(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut rig = Rig::new(Side::Server);
        rig.context.stage = HandshakeStage::Confirmed;
        let mut open = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Send(id, kind, size) => {
                    let number = rig.send_as(id, kind, size);
                    open.insert((id, number));
                    rig.out.clear();
                }
                Step::Ack(id, distances) => {
                    let next = rig.space(id).ledger.next();
                    let ranges = ranges_below(next, &distances);
                    rig.try_ack(id, &ranges, Duration::ZERO, None).unwrap();
                    for (number, _) in rig.out.acked.iter().chain(&rig.out.lost) {
                        prop_assert!(open.remove(&(id, number.into_inner())), "handed out twice");
                    }
                }
                Step::Pass(millis) => rig.pass(millis as u32 * MS),
                Step::Timeout => {
                    if let TimeoutAction::LossDetected(id) = rig.recovery.on_timeout(
                        rig.now, &rig.context, &mut rig.path, &mut rig.out,
                    ) {
                        for (number, _) in &rig.out.lost {
                            prop_assert!(open.remove(&(id, number.into_inner())));
                        }
                    }
                }
                Step::Discard(id) => rig.recovery.discard_space(rig.now, id, &mut rig.path),
                Step::Abandon(id) => {
                    rig.recovery.abandon_sent(rig.now, id, &mut rig.path, &mut rig.out);
                }
            }
            prop_assert_eq!(rig.path.bytes_in_flight(), rig.in_flight_by_ledger());
            prop_assert!(rig.window() >= 2_400);
        }
    }
}
