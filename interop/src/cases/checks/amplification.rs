//! How much a server sends to an address that has not been proven.

use std::collections::BTreeSet;

use quic_core::wire::{ConnectionId, Frame, PacketType, Side};

use super::{Evidence, Objection, Outcome, place};

/// The chain of the case is longer than this.
const LEAST_HANDSHAKE_DATA: u64 = 7500;
/// A connection ID of the server with so many bytes proves that the client has heard of it.
const PROOF_LEN: usize = 8;

/// The server sent the long chain, without which the limit would not matter.
pub(crate) fn long_chain_sent(evidence: &Evidence) -> Outcome {
    let packets = evidence.right.packets(Side::Server, PacketType::Handshake);
    let ends = packets.flat_map(|(_, packet)| packet.frames()).map(|frame| match frame {
        Frame::Crypto(frame) => frame.offset + frame.data.len() as u64,
        _ => 0,
    });
    match ends.max().unwrap_or(0) {
        end if end < LEAST_HANDSHAKE_DATA => Objection::failed(format!(
            "the server sent {end} bytes of Handshake data, less than {LEAST_HANDSHAKE_DATA}: it \
             does not use the long certificate chain"
        )),
        end => Ok(format!("{end} bytes of Handshake data")),
    }
}

/// Until the client has proven its address, what the server sends is within three times what
/// arrives in the client's Initial datagrams. Four times is not yet a failure, but is told.
pub(crate) fn limit_kept(evidence: &Evidence) -> Outcome {
    let initials = evidence.right.packets(Side::Server, PacketType::Initial);
    let ids = initials.map(|(_, packet)| packet.scid);
    let proofs: BTreeSet<_> = ids.filter(|id| id.len() >= PROOF_LEN).collect();
    let (mut received, mut sent) = (0, 0);
    let mut slack = "";
    for datagram in &evidence.right.datagrams {
        let Some(first) = datagram.packets.first() else { continue };
        if first.kind == PacketType::VersionNegotiation {
            let at = place(datagram);
            return Objection::failed(format!("there is a Version Negotiation packet: right {at}"));
        }
        match datagram.sender {
            None => {
                let at = place(datagram);
                return Objection::failed(format!("nobody knows who sent right {at}"));
            }
            Some(Side::Client) => {
                let is_proof = |id: &ConnectionId| proofs.contains(id);
                let mut packets = datagram.packets.iter();
                if packets.any(|p| p.kind == PacketType::Handshake) || is_proof(&first.dcid) {
                    return Ok(format!(
                        "{sent} bytes sent for {received} received until the address was proven \
                         by {}{slack}",
                        place(datagram)
                    ));
                }
                if first.kind == PacketType::Initial {
                    received += datagram.len;
                }
            }
            Some(Side::Server) => {
                sent += datagram.len;
                if sent >= 4 * received {
                    return Objection::failed(format!(
                        "the server has sent {sent} bytes for {received} received, with right {}",
                        place(datagram)
                    ));
                }
                if sent > 3 * received {
                    slack = ", more than three times, but less than four times";
                }
            }
        }
    }
    Objection::failed("the client never proves its address with a Handshake packet")
}
