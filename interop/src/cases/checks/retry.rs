//! Retry packets, and that clients do as they say.

use quic_core::wire::{PacketType, Side};

use super::{Evidence, Objection, Outcome, place};

/// There is no Retry packet.
pub(crate) fn none(evidence: &Evidence) -> Outcome {
    match evidence.left.packets(Side::Server, PacketType::Retry).next() {
        None => Ok("no Retry".into()),
        Some((datagram, _)) => {
            Objection::failed(format!("the server sent a Retry packet: left {}", place(datagram)))
        }
    }
}

/// There is a Retry packet, whose token an Initial packet brings back; its packet number goes on
/// from those before.
pub(crate) fn token_returned(evidence: &Evidence) -> Outcome {
    let retries = evidence.left.packets(Side::Server, PacketType::Retry);
    let tokens: Vec<_> = retries.map(|(_, packet)| &packet.token).collect();
    if tokens.is_empty() {
        return Objection::failed("the server sent no Retry packet");
    }
    if tokens.iter().any(|token| token.is_empty()) {
        return Objection::failed("a Retry packet has an empty token");
    }
    let mut before = None;
    for (datagram, packet) in evidence.left.packets(Side::Client, PacketType::Initial) {
        let Some(number) = packet.opened.as_ref().map(|opened| opened.number) else { continue };
        if packet.token.is_empty() {
            before = before.max(Some(number));
        } else if before.is_some_and(|before| number <= before) {
            return Objection::failed(format!(
                "the client began again with packet number {number} after Retry, though it had \
                 used {} before: left {}",
                before.unwrap_or_default(),
                place(datagram)
            ));
        } else if tokens.contains(&&packet.token) {
            return Ok("the token of Retry came back".into());
        }
    }
    Objection::failed("no Initial packet of the client brings the token of Retry back")
}
