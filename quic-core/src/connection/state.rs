//! The life of a connection as one enum (RFC 9000 sections 7 and 10).

use std::time::Instant;

/// ```text
///  Handshaking ──► Established ──► Confirmed
///      │               │               │
///      └───────┬───────┴───────────────┘
///              ├──► Closing ──┐        we sent CONNECTION_CLOSE
///              ├──► Draining ─┤        the peer did, or reset us
///              └──────────────┴──► Drained
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The TLS handshake is not complete.
    Handshaking,
    /// TLS is complete; the peer might not know yet.
    Established,
    /// Both sides know that the handshake is complete (RFC 9001 section 4.1.2).
    Confirmed,
    /// We closed; packets that still arrive are answered with the close, ever more rarely.
    Closing(Closing),
    /// The peer closed: nothing is sent any more.
    Draining { until: Instant },
    /// Nothing is left to do; the owner drops the connection.
    Drained,
}

/// How the closing state limits itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) until: Instant,
    /// A CONNECTION_CLOSE should go out with the next chance.
    pub(super) send_close: bool,
    /// Packets received since the last close was sent.
    received: u32,
    /// Packets to receive until the close is sent again; doubles each time.
    next_answer: u32,
}

impl Closing {
    pub(super) fn new(until: Instant) -> Self {
        Self { until, send_close: true, received: 0, next_answer: 1 }
    }

    /// A packet arrived for the connection being closed.
    // req 9000-10.2.1-227
    pub(super) fn on_packet(&mut self) {
        self.received += 1;
        if self.received >= self.next_answer {
            self.received = 0;
            self.next_answer = self.next_answer.saturating_mul(2);
            self.send_close = true;
        }
    }
}

impl State {
    /// TLS completed.
    pub(super) fn on_handshake_complete(&mut self) {
        match self {
            Self::Handshaking => *self = Self::Established,
            Self::Established | Self::Confirmed => debug_assert!(false, "completed twice"),
            Self::Closing(_) | Self::Draining { .. } | Self::Drained => {}
        }
    }

    /// The handshake is confirmed. False if it was before.
    pub(super) fn on_handshake_confirmed(&mut self) -> bool {
        match self {
            Self::Established => {
                *self = Self::Confirmed;
                true
            }
            Self::Handshaking => {
                debug_assert!(false, "confirmed before it was complete");
                false
            }
            Self::Confirmed | Self::Closing(_) | Self::Draining { .. } | Self::Drained => false,
        }
    }

    /// Enters the closing state; false if the connection is past it.
    pub(super) fn on_close(&mut self, until: Instant) -> bool {
        match self {
            Self::Handshaking | Self::Established | Self::Confirmed => {
                *self = Self::Closing(Closing::new(until));
                true
            }
            Self::Closing(_) | Self::Draining { .. } | Self::Drained => false,
        }
    }

    /// Enters the draining state; false if the connection is past it.
    pub(super) fn on_drain(&mut self, until: Instant) -> bool {
        match self {
            Self::Handshaking | Self::Established | Self::Confirmed => {
                *self = Self::Draining { until };
                true
            }
            Self::Closing(closing) => {
                *self = Self::Draining { until: closing.until };
                true
            }
            Self::Draining { .. } | Self::Drained => false,
        }
    }

    /// True once each time that a CONNECTION_CLOSE should go out.
    pub(super) fn take_close(&mut self) -> bool {
        match self {
            Self::Closing(closing) => std::mem::take(&mut closing.send_close),
            Self::Handshaking | Self::Established | Self::Confirmed => false,
            Self::Draining { .. } | Self::Drained => false,
        }
    }

    /// Leaves at once: idle timeout, or a connection attempt that never got an answer.
    pub(super) fn on_abandon(&mut self) {
        *self = Self::Drained;
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Handshaking)
    }

    pub(super) fn is_confirmed(&self) -> bool {
        matches!(self, Self::Confirmed)
    }

    /// True while frames are exchanged: not yet closing.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Handshaking | Self::Established | Self::Confirmed)
    }

    pub(super) fn is_drained(&self) -> bool {
        matches!(self, Self::Drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9000-10.2.1-227
    #[test]
    fn the_close_is_repeated_ever_more_rarely() {
        let mut closing = Closing::new(Instant::now());
        closing.send_close = false;
        let answers = (0..1000)
            .filter(|_| {
                closing.on_packet();
                std::mem::take(&mut closing.send_close)
            })
            .count();
        assert!((5..=10).contains(&answers), "{answers} closes for a thousand packets");
    }

    #[test]
    fn an_ended_connection_never_comes_back() {
        let now = Instant::now();
        let mut state = State::Draining { until: now };
        assert!(!state.on_close(now));
        assert!(!state.on_handshake_confirmed());
        assert_eq!(state, State::Draining { until: now });
    }
}
