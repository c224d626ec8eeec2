//! How many packets that bring nothing a connection puts up with.
//!
//! PING, empty STREAM frames, repeated acknowledgements and the like are cheap to send and cost us a
//! decryption each. Honest peers send few of them compared to what they move; a peer that sends
//! nothing else is closed before it can occupy the endpoint (RFC 9000 section 21.9).

use std::time::{Duration, Instant};

use crate::error::{TransportError, Violation};
use crate::wire::frame::Frame;

/// Idle packets in a row that are accepted at once.
const BURST: u32 = 4096;
/// One more is accepted each time this has passed: keep-alives never run out of credit.
const REFILL: Duration = Duration::from_millis(5);

/// A token bucket of idle packets.
#[derive(Debug)]
pub(super) struct Patience {
    left: u32,
    refilled: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now }
    }

    /// A packet brought the connection forward.
    pub(super) fn on_progress(&mut self) {
        self.left = (self.left + 1).min(BURST);
    }

    /// A packet brought nothing.
    ///
    /// # Errors
    ///
    /// PROTOCOL_VIOLATION when there were too many of them.
    // req 9000-21.9-497
    pub(super) fn on_idle_packet(&mut self, now: Instant) -> Result<(), TransportError> {
        let passed = now.saturating_duration_since(self.refilled);
        let refill = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if refill > 0 {
            self.left = self.left.saturating_add(refill).min(BURST);
            self.refilled = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(TransportError::new(Violation::NothingButIdlePackets)),
        }
    }
}

/// True if a frame by itself shows that the peer is at work. Acknowledgements are judged by what
/// they newly acknowledge.
pub(super) fn is_progress(frame: &Frame<'_>) -> bool {
    match frame {
        Frame::Padding(_)
        | Frame::Ping
        | Frame::Ack(_)
        | Frame::DataBlocked(_)
        | Frame::StreamDataBlocked(_)
        | Frame::StreamsBlocked(_)
        | Frame::PathChallenge(_)
        | Frame::PathResponse(_)
        | Frame::NewToken(_) => false,
        Frame::Stream(stream) => stream.fin || !stream.data.is_empty(),
        Frame::Crypto(crypto) => !crypto.data.is_empty(),
        Frame::ResetStream(_)
        | Frame::StopSending(_)
        | Frame::MaxData(_)
        | Frame::MaxStreamData(_)
        | Frame::MaxStreams(_)
        | Frame::NewConnectionId(_)
        | Frame::RetireConnectionId(_)
        | Frame::ConnectionClose(_)
        | Frame::HandshakeDone => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9000-21.9-497
    #[test]
    fn pings_at_line_rate_run_out_of_patience_and_keep_alives_do_not() {
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        let accepted = (0..100_000).take_while(|_| patience.on_idle_packet(now).is_ok()).count();
        assert_eq!(accepted, BURST as usize);
        let mut patience = Patience::new(now);
        for _ in 0..100_000 {
            now += REFILL;
            patience.on_idle_packet(now).expect("a slow peer is harmless");
        }
    }

    #[test]
    fn work_earns_patience_back() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        for _ in 0..100_000 {
            patience.on_progress();
            patience.on_idle_packet(now).expect("as much work as idling");
        }
    }
}
