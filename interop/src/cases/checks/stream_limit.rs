//! A server that must raise its limit of streams, because it begins low.

use super::{Evidence, Objection, Outcome};

/// Most streams that the server may allow from the start.
const MOST: u64 = 1000;

/// The server's transport parameters allow at most 1000 bidirectional streams.
pub(crate) fn at_most_1000(evidence: &Evidence) -> Outcome {
    let parameters = evidence.connections.iter().filter_map(|c| c.server_parameters.as_ref());
    match parameters.map(|parameters| parameters.initial_max_streams_bidi).max() {
        None => Objection::failed("no transport parameters of the server can be read"),
        Some(limit) if limit > MOST => Objection::failed(format!(
            "the server allows {limit} streams from the start, more than {MOST}"
        )),
        Some(limit) => Ok(format!("{limit} streams allowed at first")),
    }
}
