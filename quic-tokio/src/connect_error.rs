//! Why there is no connection.

use std::fmt;
use std::io;

use quic_core::endpoint::{AcceptError, ConnectError as BeginError};
use quic_core::error::ConnectionError;

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectError {
    /// The endpoint has no configuration for outgoing connections.
    NoClientConfig,
    /// The attempt could not begin.
    Begin(BeginError),
    /// The client that wanted to connect could not be accepted.
    Accept(AcceptError),
    /// The connection was begun and ended before the handshake was complete.
    Connection(ConnectionError),
}

impl From<BeginError> for ConnectError {
    fn from(error: BeginError) -> Self {
        Self::Begin(error)
    }
}

impl From<AcceptError> for ConnectError {
    fn from(error: AcceptError) -> Self {
        Self::Accept(error)
    }
}

impl From<ConnectionError> for ConnectError {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClientConfig => f.write_str("the endpoint has no client configuration"),
            Self::Begin(error) => error.fmt(f),
            Self::Accept(error) => error.fmt(f),
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoClientConfig => None,
            Self::Begin(error) => Some(error),
            Self::Accept(error) => Some(error),
            Self::Connection(error) => Some(error),
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::other(error)
    }
}
