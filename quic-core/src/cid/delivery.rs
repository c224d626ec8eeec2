//! How far a frame that must reach the peer has come.

/// Delivery of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It was never sent.
    Unsent,
    /// It is in a packet of which nothing is known yet.
    InFlight,
    /// Its packet was lost: it goes into another one.
    Lost,
    /// The peer has it.
    Acknowledged,
}

impl Delivery {
    /// True if the frame should go into the next packet.
    pub(crate) fn is_pending(self) -> bool {
        match self {
            Self::Unsent | Self::Lost => true,
            Self::InFlight | Self::Acknowledged => false,
        }
    }

    /// The frame went into a packet.
    pub(crate) fn on_sent(&mut self) {
        debug_assert!(self.is_pending());
        *self = Self::InFlight;
    }

    /// A packet with the frame was lost. Another one may have arrived before.
    pub(crate) fn on_lost(&mut self) {
        match self {
            Self::InFlight => *self = Self::Lost,
            Self::Unsent | Self::Lost | Self::Acknowledged => {}
        }
    }
}
