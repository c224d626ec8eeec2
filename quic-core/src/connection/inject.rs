//! Frames that come from nowhere, for fuzzing what a peer with the right keys can do.

use std::time::Instant;

use super::Connection;
use super::recv::Opened;
use crate::buffer::Lender;
use crate::path::DatagramMeta;
use crate::wire::{PacketNumber, PacketType, SpaceId};

impl Connection {
    /// Processes `payload` as the frames of a 1-RTT packet that the peer has sent to our first
    /// connection ID. Does nothing before the handshake is complete.
    pub(crate) fn inject_frames(&mut self, now: Instant, payload: &[u8]) {
        if !self.state.is_open() || !self.keys.can_open(SpaceId::Data) {
            return;
        }
        let opened = Opened {
            space: SpaceId::Data,
            packet_type: PacketType::OneRtt,
            version: self.versions.current(),
            packet_number: PacketNumber::new(0),
            dcid: self.local_ids.initial(),
            datagram_size: 0,
            from: DatagramMeta::new(self.path.remote()),
            key_generation: self.keys.key_generation(),
            payload,
        };
        if let Err(error) = self.process_payload(now, &opened, &mut Lender::none()) {
            self.close_with_error(now, error);
        }
    }
}
