//! Requests in the first flight.

use quic_core::wire::{PacketType, Side};

use super::{Evidence, Objection, Outcome};

/// Half of what the names of all files take: 40 names of 250 letters.
const MOST_LATE_BYTES: usize = 250 * 40 / 2;

/// The client sent 0-RTT packets, and so little later that the requests cannot be there.
pub(crate) fn requests_are_early(evidence: &Evidence) -> Outcome {
    let early = payload_bytes(evidence, PacketType::ZeroRtt);
    let late = payload_bytes(evidence, PacketType::OneRtt);
    if early == 0 {
        return Objection::failed("the client sent no 0-RTT packets");
    }
    if late > MOST_LATE_BYTES {
        return Objection::failed(format!(
            "the client sent {late} bytes in 1-RTT packets, more than {MOST_LATE_BYTES}, beside \
             {early} in 0-RTT packets"
        ));
    }
    Ok(format!("{early} bytes in 0-RTT packets, {late} in 1-RTT packets"))
}

fn payload_bytes(evidence: &Evidence, kind: PacketType) -> usize {
    let packets = evidence.left.packets(Side::Client, kind);
    let sizes = packets.map(|(_, packet)| match &packet.opened {
        Some(opened) => opened.sealed_len,
        None => packet.len,
    });
    sizes.sum()
}
