//! Key updates.

use quic_core::wire::header::KeyPhase;
use quic_core::wire::{PacketType, Side};

use super::{Evidence, Objection, Outcome};
use crate::dissect::Capture;

/// Packets that one side sent in key phase 0, and in key phase 1.
fn phases(capture: &Capture, side: Side) -> [usize; 2] {
    let packets = capture.packets(side, PacketType::OneRtt);
    let opened = packets.filter_map(|(_, packet)| packet.opened.as_ref());
    opened.fold([0, 0], |[zero, one], opened| match opened.key_phase {
        KeyPhase::Zero => [zero + 1, one],
        KeyPhase::One => [zero, one + 1],
    })
}

/// Both sides sent packets with key phase 1.
pub(crate) fn both_updated(evidence: &Evidence) -> Outcome {
    let client = phases(&evidence.left, Side::Client);
    let server = phases(&evidence.right, Side::Server);
    let seen = |[zero, one]: [usize; 2]| format!("{zero} packets in phase 0, {one} in phase 1");
    let (by_client, by_server) = (seen(client), seen(server));
    for (side, phases) in [("client", client), ("server", server)] {
        if phases[1] == 0 {
            return Objection::failed(format!(
                "the {side} did not update its keys: client {by_client}; server {by_server}"
            ));
        }
    }
    Ok(format!("client {by_client}; server {by_server}"))
}
