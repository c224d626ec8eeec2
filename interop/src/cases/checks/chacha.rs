//! A client that offers ChaCha20-Poly1305 and nothing else.

use super::{Evidence, Objection, Outcome};

const TLS_CHACHA20_POLY1305_SHA256: u16 = 0x1303;

/// Every ClientHello offers only TLS_CHACHA20_POLY1305_SHA256.
pub(crate) fn only_suite_offered(evidence: &Evidence) -> Outcome {
    let hellos = evidence.connections.iter().filter_map(|c| c.client_hello.as_ref());
    let mut offered: Vec<_> = hellos.flat_map(|hello| &hello.cipher_suites).copied().collect();
    offered.sort_unstable();
    offered.dedup();
    if offered == [TLS_CHACHA20_POLY1305_SHA256] {
        return Ok("only ChaCha20 offered".into());
    }
    Objection::failed(format!(
        "the client should offer only the cipher suite 0x1303, but offers {offered:#06x?}"
    ))
}
