//! Sessions that go on in a second connection.

use super::{Evidence, Objection, Outcome};

/// The server sent a certificate in the first connection, and none in the last.
pub(crate) fn second_without_certificate(evidence: &Evidence) -> Outcome {
    let readable = evidence.connections.iter().filter(|c| c.is_handshake_readable());
    let certificates: Vec<_> = readable.map(|c| c.has_certificate()).collect();
    match certificates[..] {
        [true, .., false] => Ok("resumed without a certificate".into()),
        [_, .., true] => Objection::failed("the server sent a certificate in the last handshake"),
        [false, .., false] => {
            Objection::failed("the server sent no certificate in the first handshake")
        }
        [] | [_] => Objection::failed(format!(
            "two handshakes were expected, but {} can be read",
            certificates.len()
        )),
    }
}
