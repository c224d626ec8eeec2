//! The frames that a side puts into its packets, in the order in which the packets leave.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quic_core::observe::{Event, Observer};
use quic_core::wire::FrameType;
use quic_core::wire::frame::Frames;

/// Hears of the packets that all connections of one side send.
#[derive(Debug, Clone, Default)]
pub struct FrameTap(Arc<Mutex<VecDeque<Vec<FrameType>>>>);

impl FrameTap {
    /// The frames of the next `packets` packets.
    pub(crate) fn take(&self, packets: usize) -> Vec<FrameType> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let packets = packets.min(waiting.len());
        waiting.drain(..packets).flatten().collect()
    }
}

impl Observer for FrameTap {
    fn on_event(&mut self, _now: Instant, event: &Event<'_>) {
        if let Event::PacketSent(packet) = event {
            let frames = Frames::new(packet.payload, packet.packet_type).flatten();
            let types = frames.map(|frame| frame.ty()).collect();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(types);
        }
    }
}
