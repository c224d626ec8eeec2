//! One packet-number space: what was received in it, what must be acknowledged, and its CRYPTO stream.
//!
//! Initial, Handshake and application data are numbered, acknowledged and protected apart from each
//! other (RFC 9000 section 12.3). A [`PacketSpace`] is everything of such a space but the packets
//! that we sent (`recovery` keeps those) and the keys (`crypto` keeps those). Dropping the value is
//! how a space is discarded.

mod acks;
mod crypto_stream;
mod received;

pub(crate) use acks::{AckPolicy, AckToSend};
pub(crate) use crypto_stream::CryptoStream;
pub(crate) use received::ReceivedPackets;

use std::time::{Duration, Instant};

use crate::path::Ecn;
use crate::wire::packet_number::PacketNumber;

/// Receive and acknowledgement state of one packet-number space.
#[derive(Debug)]
pub(crate) struct PacketSpace {
    pub(crate) received: ReceivedPackets,
    pub(crate) acks: AckPolicy,
    pub(crate) crypto: CryptoStream,
    /// Probe packets that the loss timer asked for and that were not sent yet.
    pub(crate) probes: u8,
    /// A PING is wanted in the next packet of this space.
    pub(crate) ping: bool,
}

impl PacketSpace {
    /// The three spaces of a connection that acknowledges application data within `max_ack_delay`.
    pub(crate) fn all(max_ack_delay: Duration) -> [Self; 3] {
        [Duration::ZERO, Duration::ZERO, max_ack_delay]
            .map(|delay| Self::new(AckPolicy::new(delay)))
    }

    pub(crate) fn new(acks: AckPolicy) -> Self {
        Self {
            received: ReceivedPackets::default(),
            acks,
            crypto: CryptoStream::default(),
            probes: 0,
            ping: false,
        }
    }

    /// Books a packet that was opened, is no duplicate, and whose frames were all processed.
    // req 9000-13.1-303
    pub(crate) fn on_packet_processed(
        &mut self,
        now: Instant,
        packet_number: PacketNumber,
        ack_eliciting: bool,
        ecn: Option<Ecn>,
    ) {
        let arrival = self.received.insert(now, packet_number, ack_eliciting);
        self.acks.on_packet(now, arrival, ack_eliciting, ecn);
    }
}
