//! Explicit congestion notification.

use quic_core::Ecn;
use quic_core::wire::{Frame, Side};

use super::{Evidence, Objection, Outcome, place};
use crate::dissect::Capture;

/// Both sides mark packets as ECN-capable, none as congested, and report ECN counts.
pub(crate) fn marked_and_reported(evidence: &Evidence) -> Outcome {
    let client = check_side("client", Side::Client, &evidence.left)?;
    let server = check_side("server", Side::Server, &evidence.right)?;
    Ok(format!("marked packets: {client} of the client, {server} of the server"))
}

fn check_side(name: &str, side: Side, capture: &Capture) -> Result<usize, Objection> {
    if let Some(marked) = capture.sent_by(side).find(|d| d.ecn == Some(Ecn::Ce)) {
        return Objection::failed(format!("the {name} marked a packet CE: {}", place(marked)));
    }
    let marked = capture.sent_by(side).filter(|datagram| datagram.ecn.is_some()).count();
    if marked == 0 {
        return Objection::failed(format!("the {name} marked no packet ECT(0) or ECT(1)"));
    }
    let packets = capture.sent_by(side).flat_map(|datagram| &datagram.packets);
    let reports = |frame: Frame<'_>| matches!(frame, Frame::Ack(ack) if ack.ecn.is_some());
    if !packets.flat_map(|packet| packet.frames()).any(reports) {
        return Objection::failed(format!("the {name} sent no ACK frame with ECN counts"));
    }
    Ok(marked)
}
