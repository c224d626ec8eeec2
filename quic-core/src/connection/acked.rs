//! News of what we sent: acknowledged or lost, each frame back to the state that sent it.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Connection;
use super::recv::Opened;
use super::sent_frame::{SentFrame, SentFrames};
use crate::error::TransportError;
use crate::observe::Event;
use crate::recovery::{AckOutcome, Amplification, HandshakeStage, RecoveryContext};
use crate::wire::frame;
use crate::wire::{PacketNumber, SpaceId};

impl Connection {
    // req 9000-19.3-436
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        packet: &Opened,
        ack: &frame::Ack<'_>,
    ) -> Result<(), TransportError> {
        self.check_not_rejected(packet, ack)?;
        let delay = self.scale_ack_delay(ack.ack_delay);
        let context = self.recovery_context();
        let mut outcome = std::mem::take(&mut self.ack_outcome);
        let result = self.recovery.on_ack_received(
            now,
            packet.space,
            ack.iter(),
            delay,
            ack.ecn,
            &context,
            &mut self.path.recovery,
            &mut outcome,
        );
        if result.is_ok() {
            self.forget_elsewhere(&outcome);
            if !outcome.acked.is_empty() {
                self.patience.on_progress();
            }
            self.tell_acked(now, packet.space, &outcome);
            self.on_packets_acked(&mut outcome);
            self.on_packets_lost(now, packet.space, &mut outcome);
            self.report(now, &outcome);
        }
        self.ack_outcome = outcome;
        result?;
        if packet.space == SpaceId::Data {
            let largest = PacketNumber::new(ack.largest_acknowledged);
            self.keys.on_acked(now, largest, packet.key_generation)?;
        }
        Ok(())
    }

    /// The delay on the wire counts units of 2^ack_delay_exponent microseconds.
    fn scale_ack_delay(&self, raw: u64) -> Duration {
        let scale = 1u64 << self.handshake.peer_ack_delay_shift();
        Duration::from_micros(raw.saturating_mul(scale))
    }

    /// Acknowledged packets come in ascending order within a range, ranges from the highest down.
    fn tell_acked(&mut self, now: Instant, space: SpaceId, outcome: &AckOutcome<SentFrames>) {
        if !self.observers.is_enabled() || outcome.acked.is_empty() {
            return;
        }
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for (number, _) in &outcome.acked {
            let number = number.into_inner();
            match ranges.last_mut() {
                Some(last) if last.end() + 1 == number => *last = *last.start()..=number,
                _ => ranges.push(number..=number),
            }
        }
        self.observers.emit(now, || Event::PacketsAcked { space, ranges: &ranges });
    }

    fn on_packets_acked(&mut self, outcome: &mut AckOutcome<SentFrames>) {
        for (_, packet) in outcome.acked.drain(..) {
            for frame in packet.content {
                self.on_frame_acked(frame);
            }
        }
    }

    /// Packets of other paths than the one in use are no longer in flight there.
    // req 9000-9.4-188
    pub(super) fn forget_elsewhere(&mut self, outcome: &AckOutcome<SentFrames>) {
        if self.others.is_empty() {
            return;
        }
        for (_, packet) in outcome.acked.iter().chain(&outcome.lost) {
            for other in self.others.iter_mut() {
                other.path.recovery.forget(packet);
            }
        }
    }

    /// Lets everyone who listens know what an acknowledgement or a timeout changed.
    pub(super) fn report(&mut self, now: Instant, outcome: &AckOutcome<SentFrames>) {
        let path = &self.path.recovery;
        if let Some(cause) = outcome.congestion_event {
            self.observers.stats.congestion_events += 1;
            self.observers.emit(now, || Event::CongestionEvent { cause });
        }
        if outcome.persistent_congestion {
            self.observers.stats.persistent_congestion_events += 1;
            self.observers.emit(now, || Event::PersistentCongestion);
        }
        if let Some(change) = outcome.ecn {
            self.observers.emit(now, || Event::EcnChanged { change });
        }
        if let Some(mtu) = outcome.max_datagram_size {
            self.observers.emit(now, || Event::MtuUpdated { mtu });
        }
        if outcome.spurious_losses > 0 {
            self.observers.stats.spurious_losses += u64::from(outcome.spurious_losses);
        }
        self.observers.emit(now, || Event::MetricsUpdated(path.metrics()));
    }

    pub(super) fn on_frame_acked(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Stream(frame) => self.streams.on_acked(frame),
            SentFrame::Ack { space, largest } => {
                if let Some(space) = self.space_mut(space) {
                    space.received.on_ack_acknowledged(largest);
                }
            }
            SentFrame::Crypto { space, offset, len } => {
                if let Some(space) = self.space_mut(space) {
                    space.crypto.on_acked(offset, len);
                }
            }
            SentFrame::HandshakeDone => self.handshake.on_handshake_done_acked(),
            SentFrame::NewConnectionId { sequence } => self.local_ids.on_acked(sequence),
            SentFrame::RetireConnectionId { sequence } => self.remote_ids.on_acked(sequence),
            SentFrame::NewToken { index } => self.tokens.on_acked(index),
        }
    }

    /// Hands the frames of lost packets back, to be sent again in new packets.
    // req 9000-13.3-333, 9000-13.3-336
    pub(super) fn on_packets_lost(
        &mut self,
        now: Instant,
        space: SpaceId,
        outcome: &mut AckOutcome<SentFrames>,
    ) {
        for (packet_number, packet) in outcome.lost.drain(..) {
            self.observers.stats.on_packet_lost(usize::from(packet.size));
            self.observers.emit(now, || Event::PacketLost { space, packet_number });
            for frame in packet.content {
                self.on_frame_lost(frame);
            }
        }
    }

    pub(super) fn on_frame_lost(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Stream(frame) => self.streams.on_lost(frame),
            // A newer ACK frame replaces a lost one.
            SentFrame::Ack { .. } => {}
            SentFrame::Crypto { space, offset, len } => {
                if let Some(space) = self.space_mut(space) {
                    space.crypto.on_lost(offset, len);
                }
            }
            SentFrame::HandshakeDone => self.handshake.on_handshake_done_lost(),
            SentFrame::NewConnectionId { sequence } => self.local_ids.on_lost(sequence),
            SentFrame::RetireConnectionId { sequence } => self.remote_ids.on_lost(sequence),
            SentFrame::NewToken { index } => self.tokens.on_lost(index),
        }
    }

    /// The probe timeout passed: send something that the peer must acknowledge, in the first place
    /// what it may have missed. Other spaces join in: a flight that was lost as a whole comes back
    /// as a whole.
    // req 9002-6.2.4-038, 9002-6.2.4-041
    pub(super) fn arm_probes(&mut self, space: SpaceId, count: u8) {
        self.repeat_outstanding(count);
        if let Some(state) = self.space_mut(space) {
            state.probes = count;
        }
    }

    /// Has the oldest outstanding frames sent again, without taking them for lost.
    pub(super) fn repeat_outstanding(&mut self, count: u8) {
        for id in SpaceId::ALL {
            // In the handshake everything outstanding is worth repeating: it fits few packets, and
            // each round trip that waits for loss detection delays the first request.
            let repeated = match id {
                SpaceId::Initial | SpaceId::Handshake => usize::MAX,
                SpaceId::Data => usize::from(count),
            };
            self.repeat_oldest(id, repeated);
        }
    }

    /// The next packet in `space` is a probe. In the handshake it repeats what the probe before it
    /// carried, since either may be lost, and the peer can do nothing with a PING alone.
    pub(super) fn refill_probe(&mut self, id: SpaceId) {
        let is_empty = self.space(id).is_some_and(|space| !space.crypto.has_pending());
        if is_empty && id != SpaceId::Data {
            self.repeat_oldest(id, usize::MAX);
        }
    }

    fn repeat_oldest(&mut self, id: SpaceId, packets: usize) {
        let oldest: SmallVec<[SentFrame; 4]> = self
            .recovery
            .in_flight(id)
            .take(packets)
            .flat_map(|packet| packet.content.iter().copied())
            .collect();
        for frame in oldest {
            self.on_frame_lost(frame);
        }
    }

    /// One probe timeout in `space` with the present round-trip time, without backoff.
    pub(super) fn probe_timeout(&self, space: SpaceId) -> Duration {
        let delay = match space {
            SpaceId::Initial | SpaceId::Handshake => Duration::ZERO,
            SpaceId::Data => self.handshake.peer_max_ack_delay(),
        };
        self.path.recovery.rtt.pto_base() + delay
    }

    pub(super) fn recovery_context(&self) -> RecoveryContext {
        let stage = match self.state.is_confirmed() {
            true => HandshakeStage::Confirmed,
            false if self.keys.has(SpaceId::Handshake) => HandshakeStage::Handshake,
            false => HandshakeStage::Initial,
        };
        let amplification = match self.path.is_amplification_blocked() {
            true => Amplification::Blocked,
            false => Amplification::Free,
        };
        let max_ack_delay = self.handshake.peer_max_ack_delay();
        RecoveryContext { stage, amplification, max_ack_delay }
    }
}
