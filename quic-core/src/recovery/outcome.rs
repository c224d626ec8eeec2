//! What recovery is told about the connection, and what it answers.

use std::time::Duration;

use super::ecn::EcnChange;
use super::sent::SentPacket;
use crate::congestion::CongestionCause;
use crate::wire::PacketNumber;
use crate::wire::SpaceId;

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

/// What to do after [`Recovery::on_timeout`](super::Recovery::on_timeout).
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
