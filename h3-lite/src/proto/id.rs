//! The two ends of a connection and the numbers of its streams: the types of the transport.

pub use quic_core::wire::{Side, StreamId};

use quic_core::wire::Dir;

/// Whether this is a stream that carries a request: bidirectional, opened by the client.
pub fn is_request(id: StreamId) -> bool {
    id.dir() == Dir::Bi && id.initiator() == Side::Client
}
