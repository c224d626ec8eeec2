//! How many connections the server took.

use std::collections::BTreeSet;

use quic_core::wire::{PacketType, Side};

use super::{Evidence, Objection, Outcome};

/// The server's Initial packets have exactly `N` Source Connection IDs, one for each connection.
pub(crate) fn exactly<const N: usize>(evidence: &Evidence) -> Outcome {
    let initials = evidence.right.packets(Side::Server, PacketType::Initial);
    let scids: BTreeSet<_> = initials.map(|(_, packet)| packet.scid).collect();
    match scids.len() {
        n if n == N => Ok(format!("{n} handshake{}", if n == 1 { "" } else { "s" })),
        n => Objection::failed(format!(
            "{N} handshakes were expected, but the server's Initial packets have {n} source \
             connection IDs"
        )),
    }
}

/// An endpoint logged the secrets that the other checks need.
pub(crate) fn keys_logged(evidence: &Evidence) -> Outcome {
    match evidence.has_keys {
        true => Ok("secrets logged".into()),
        false => Err(Objection::Unsupported("neither endpoint logged its TLS secrets".into())),
    }
}
