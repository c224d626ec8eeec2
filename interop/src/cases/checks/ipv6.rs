//! IPv6.

use quic_core::wire::Side;

use super::{Evidence, Objection, Outcome, place};

/// The server sends nothing over IPv4.
pub(crate) fn server_uses_nothing_else(evidence: &Evidence) -> Outcome {
    match evidence.right.sent_by(Side::Server).find(|d| d.source.is_ipv4()) {
        Some(datagram) => Objection::failed(format!(
            "the server sent to {} over IPv4: right {}",
            datagram.destination,
            place(datagram)
        )),
        None => Ok("only IPv6".into()),
    }
}
