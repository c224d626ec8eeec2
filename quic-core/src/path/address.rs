//! Whether the peer receives at the address it claims to have (RFC 9000 section 8).

/// As long as the address could be forged, at most this many times the received bytes are sent.
const AMPLIFICATION_FACTOR: u64 = 3;

/// How a client has shown, before its connection began, that it receives at its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressProof {
    /// Not at all: the address may be forged.
    #[default]
    None,
    /// With a token of an earlier connection (RFC 9000 section 8.1.3).
    NewToken,
    /// With the token of a Retry packet (RFC 9000 section 8.1.2).
    Retry,
}

impl AddressProof {
    /// True if the address is known to be the client's.
    pub fn is_validated(self) -> bool {
        self != Self::None
    }
}

/// What is known about the address of the peer, and how much may be sent to it therefore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressValidation(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Someone sent from there, perhaps with a forged source address. Bytes of UDP payload.
    Unvalidated { received: u64, sent: u64 },
    /// Whoever is there receives what we send.
    Validated,
}

impl AddressValidation {
    /// The address could be anyone's.
    pub const UNVALIDATED: Self = Self(State::Unvalidated { received: 0, sent: 0 });

    /// The peer is there.
    pub const VALIDATED: Self = Self(State::Validated);

    /// Counts the bytes of a whole datagram from the address.
    // req 9000-8.1-118
    pub fn on_received(&mut self, len: usize) {
        match &mut self.0 {
            State::Unvalidated { received, .. } => *received = received.saturating_add(len as u64),
            State::Validated => {}
        }
    }

    /// Counts the bytes of a whole datagram to the address.
    pub fn on_sent(&mut self, len: usize) {
        debug_assert!(len <= self.room());
        match &mut self.0 {
            State::Unvalidated { sent, .. } => *sent = sent.saturating_add(len as u64),
            State::Validated => {}
        }
    }

    /// How many more bytes may be sent.
    // req 9000-8-115, 9000-8.1-117, 9000-14.1-353
    pub fn room(&self) -> usize {
        match self.0 {
            State::Unvalidated { received, sent } => {
                let room = received.saturating_mul(AMPLIFICATION_FACTOR).saturating_sub(sent);
                usize::try_from(room).unwrap_or(usize::MAX)
            }
            State::Validated => usize::MAX,
        }
    }
}
