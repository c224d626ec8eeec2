//! Which versions of QUIC are spoken.

use std::collections::BTreeSet;

use quic_core::wire::{PacketType, Side, Version};

use super::{Evidence, Objection, Outcome};
use crate::dissect::{Capture, V2};

fn versions(capture: &Capture, side: Side, kind: PacketType) -> BTreeSet<Version> {
    capture.packets(side, kind).filter_map(|(_, packet)| packet.version).collect()
}

/// All Initial packets of the server are of version 1.
pub(crate) fn only_v1(evidence: &Evidence) -> Outcome {
    let seen = versions(&evidence.right, Side::Server, PacketType::Initial);
    if seen == BTreeSet::from([Version::V1]) {
        return Ok("version 1".into());
    }
    Objection::failed(format!(
        "the server's Initial packets should be of version 1 only, but are of {seen:?}"
    ))
}

/// The client begins with version 1; the server and all Handshake packets are of version 2.
pub(crate) fn moved_to_v2(evidence: &Evidence) -> Outcome {
    let (left, right) = (&evidence.left, &evidence.right);
    let begun = versions(left, Side::Client, PacketType::Initial);
    if !begun.contains(&Version::V1) {
        return Objection::failed(format!(
            "the client should begin with version 1, but its Initial packets are of {begun:?}"
        ));
    }
    let answered = versions(right, Side::Server, PacketType::Initial);
    if !answered.contains(&V2) {
        return Objection::failed(format!(
            "the server should answer with version 2, but its Initial packets are of {answered:?}"
        ));
    }
    for (capture, side) in [(left, Side::Client), (right, Side::Server)] {
        let seen = versions(capture, side, PacketType::Handshake);
        if seen != BTreeSet::from([V2]) {
            return Objection::failed(format!(
                "the Handshake packets of the {} should be of version 2 only, but are of {seen:?}",
                if side.is_client() { "client" } else { "server" }
            ));
        }
    }
    Ok("moved from version 1 to version 2".into())
}
