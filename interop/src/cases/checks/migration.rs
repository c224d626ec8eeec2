//! Paths that change under a connection.

use std::collections::{BTreeSet, HashMap, HashSet};

use quic_core::wire::{Frame, Side};

use super::{Evidence, Objection, Outcome, place};
use crate::dissect::hex;

/// The server sends packets to more than one address of the client.
pub(crate) fn several_client_addresses(evidence: &Evidence) -> Outcome {
    let sent = evidence.right.sent_by(Side::Server);
    let addresses: BTreeSet<_> = sent.map(|datagram| datagram.destination.ip()).collect();
    match addresses.len() {
        0 | 1 => Objection::failed("the server sent to a single address of the client"),
        n => Ok(format!("{n} client addresses")),
    }
}

/// The server's first packet on every path but the first asks the client to prove the path, and
/// the client answers.
pub(crate) fn new_paths_are_validated(evidence: &Evidence) -> Outcome {
    let mut paths = HashSet::new();
    let mut challenges = Vec::new();
    for datagram in evidence.right.sent_by(Side::Server) {
        let is_new = paths.insert((datagram.source, datagram.destination));
        if !is_new || paths.len() == 1 {
            continue;
        }
        let mut frames = datagram.packets.iter().take(1).flat_map(|packet| packet.frames());
        let challenge = frames.find_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(challenge.data),
            _ => None,
        });
        let Some(challenge) = challenge else {
            return Objection::failed(format!(
                "the server's first packet to {} on a new path has no PATH_CHALLENGE: right {}",
                datagram.destination,
                place(datagram)
            ));
        };
        challenges.push((challenge, datagram));
    }
    if challenges.is_empty() {
        return Objection::failed("the server used a single path");
    }
    let responses = responses(evidence);
    for (challenge, datagram) in challenges {
        if !responses.contains(&challenge) {
            return Objection::failed(format!(
                "the client sent no PATH_RESPONSE to the PATH_CHALLENGE {} in right {}",
                hex(&challenge),
                place(datagram)
            ));
        }
    }
    Ok(format!("{} paths, all new ones validated", paths.len()))
}

/// What the client's PATH_RESPONSE frames carry.
fn responses(evidence: &Evidence) -> HashSet<[u8; 8]> {
    let packets = evidence.left.sent_by(Side::Client).flat_map(|datagram| &datagram.packets);
    let frames = packets.flat_map(|packet| packet.frames());
    let responses = frames.filter_map(|frame| match frame {
        Frame::PathResponse(response) => Some(response.data),
        _ => None,
    });
    responses.collect()
}

/// The client's first packet on every path but the first has a Destination Connection ID that was
/// on no path before.
pub(crate) fn new_paths_get_new_connection_ids(evidence: &Evidence) -> Outcome {
    let mut paths = HashSet::new();
    // On which path each connection ID was seen first.
    let mut used = HashMap::new();
    for datagram in evidence.left.sent_by(Side::Client) {
        let Some(packet) = datagram.packets.first() else { continue };
        let path = (datagram.source, datagram.destination);
        let is_new = paths.insert(path);
        let first_path = *used.entry(packet.dcid).or_insert(path);
        if is_new && first_path != path {
            return Objection::failed(format!(
                "the client's first packet to {} goes to connection ID {} that it used before: \
                 left {}",
                datagram.destination,
                packet.dcid,
                place(datagram)
            ));
        }
    }
    match paths.len() {
        0 | 1 => Objection::failed("the client used a single path"),
        n => Ok(format!("{n} paths with connection IDs of their own")),
    }
}
