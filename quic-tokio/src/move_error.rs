//! Why a connection did not move.

use std::fmt;
use std::io;

use quic_core::connection::MigrateError;
use quic_core::error::ConnectionError;

/// Why a connection did not move to another socket; it goes on where it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum MoveError {
    /// The socket lacks what is needed.
    Socket(io::Error),
    /// The socket cannot reach the peer: it is for the other family of addresses.
    Unreachable,
    /// The connection must not move, or cannot.
    Refused(MigrateError),
    /// Nobody answered on the new path, or another move took the place of this one.
    NoAnswer,
    /// The connection is over.
    ConnectionLost(ConnectionError),
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "the socket cannot be used: {error}"),
            Self::Unreachable => f.write_str("the socket cannot reach the peer"),
            Self::Refused(error) => error.fmt(f),
            Self::NoAnswer => f.write_str("nobody answered on the new path"),
            Self::ConnectionLost(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MoveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            Self::Refused(error) => Some(error),
            Self::ConnectionLost(error) => Some(error),
            Self::Unreachable | Self::NoAnswer => None,
        }
    }
}
