//! Handshakes over a link that is slower than the first timeout.

use quic_core::wire::{Frame, PacketType, Side};

use super::{Evidence, Objection, Outcome, place};

/// The client sent its ClientHello, or a part of it, again.
pub(crate) fn client_hello_repeated(evidence: &Evidence) -> Outcome {
    let mut sent: Vec<(u64, u64)> = Vec::new();
    for (datagram, packet) in evidence.left.packets(Side::Client, PacketType::Initial) {
        // Two parts in one packet are one attempt.
        let before = sent.len();
        for frame in packet.frames() {
            let Frame::Crypto(frame) = frame else { continue };
            let (start, end) = (frame.offset, frame.offset + frame.data.len() as u64);
            let earlier = sent.iter().take(before);
            if earlier.into_iter().any(|(s, e)| start.max(*s) < end.min(*e)) {
                return Ok(format!("ClientHello sent again in left {}", place(datagram)));
            }
            sent.push((start, end));
        }
    }
    Objection::failed("at least two ClientHellos were expected, but the client sent nothing again")
}
