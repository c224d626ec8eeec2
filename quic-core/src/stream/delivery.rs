//! How far something that must reach the peer has come.

/// Delivery state of one frame, or of the newest version of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    /// There is nothing to deliver.
    #[default]
    Idle,
    /// It must go into a packet.
    Pending,
    /// It is in a packet of which nothing was heard yet.
    InFlight,
    /// The peer has it.
    Acked,
}

impl Delivery {
    /// The packet with it was lost. Nothing changes if the peer has it from another packet.
    pub(super) fn on_lost(&mut self) {
        if *self == Self::InFlight {
            *self = Self::Pending;
        }
    }

    /// The peer has it, also if it was to be sent again.
    pub(super) fn on_acked(&mut self) {
        if *self != Self::Idle {
            *self = Self::Acked;
        }
    }
}
