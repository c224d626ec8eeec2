//! Why there is no connection.

use std::fmt;
use std::io;

use quic_core::error::ConnectionError;

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectError {
    /// The endpoint has no configuration for outgoing connections.
    NoClientConfig,
    /// The name of the server is neither a DNS name nor an IP address.
    InvalidServerName,
    /// The address cannot be reached from the endpoint's socket: port 0, or the wrong IP version.
    InvalidRemoteAddress,
    /// There are as many connections as the endpoint may have.
    TooManyConnections,
    /// The TLS configuration cannot be used for this connection.
    Tls(rustls::Error),
    /// The client has given up meanwhile.
    Gone,
    /// The connection was begun and ended before the handshake was complete.
    Connection(ConnectionError),
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
            Self::InvalidServerName => {
                f.write_str("the server name is neither a DNS name nor an IP address")
            }
            Self::InvalidRemoteAddress => {
                f.write_str("the address cannot be reached from this socket")
            }
            Self::TooManyConnections => {
                f.write_str("the endpoint has as many connections as it may have")
            }
            Self::Tls(error) => error.fmt(f),
            Self::Gone => f.write_str("the client has given up"),
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Connection(error) => Some(error),
            Self::NoClientConfig
            | Self::InvalidServerName
            | Self::InvalidRemoteAddress
            | Self::TooManyConnections
            | Self::Gone => None,
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::other(error)
    }
}
