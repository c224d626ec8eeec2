//! The two ends of a connection and the numbers of its streams (RFC 9000 section 2.1), as far as
//! HTTP/3 looks at them.

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Opened the connection; sends requests.
    Client,
    /// Accepted the connection; sends responses.
    Server,
}

/// The number of a stream, 0 to 2^62-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Whether this is a stream that carries a request: bidirectional, opened by the client.
    pub fn is_request(self) -> bool {
        self.0.is_multiple_of(4)
    }
}
