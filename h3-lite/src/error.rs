//! What a program can meet: one type for a connection, one for a request, one for a body.

use std::fmt;

use quic_core::error::ConnectionError as QuicError;

use crate::proto::error::{Code, ConnectionFault, Violation};
use crate::proto::send::SendError;

/// Any error of the program's own: of a handler or of a body that it sends.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an HTTP/3 connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke a rule of HTTP/3 or QPACK, and was told so.
    Violation(ConnectionFault),
    /// The peer closed the connection.
    Closed {
        /// Its code; one that is not known reads as [`Code::NO_ERROR`].
        code: Code,
        /// What it said about it, for a human.
        reason: String,
    },
    /// This side closed the connection.
    LocallyClosed,
    /// QUIC ended the connection: a timeout, a failed handshake, a broken rule of the transport.
    Transport(QuicError),
}

impl ConnectionError {
    pub(crate) fn new(error: QuicError, fault: Option<ConnectionFault>) -> Self {
        if let Some(fault) = fault {
            return Self::Violation(fault);
        }
        match error {
            QuicError::ApplicationClosed(close) => Self::Closed {
                code: Code::from_peer(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            QuicError::LocallyClosed(_) => Self::LocallyClosed,
            other => Self::Transport(other),
        }
    }

    /// Whether one side closed the connection because it was done with it.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Closed { code, .. } => *code == Code::NO_ERROR,
            Self::LocallyClosed => true,
            Self::Violation(_) | Self::Transport(_) => false,
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(fault) => write!(f, "the peer broke a rule: {fault}"),
            Self::Closed { code, reason } if reason.is_empty() => {
                write!(f, "the peer closed the connection with {code}")
            }
            Self::Closed { code, reason } => {
                write!(f, "the peer closed the connection with {code}: {reason:?}")
            }
            Self::LocallyClosed => f.write_str("the connection was closed by this side"),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Violation(fault) => Some(fault),
            Self::Transport(error) => Some(error),
            Self::Closed { .. } | Self::LocallyClosed => None,
        }
    }
}

/// Why a request has no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// HTTP/3 cannot carry the request, or the server said that it takes no fields of this size.
    /// Nothing was sent.
    Unsendable(SendError),
    /// The server is shutting down (GOAWAY). Nothing was sent.
    GoingAway,
    /// The connection ended before anything was sent.
    NotSent(ConnectionError),
    /// The server said that it did not process the request, by GOAWAY or by `H3_REQUEST_REJECTED`.
    Rejected,
    /// The request was sent before the handshake was complete, and the server took nothing of that:
    /// it did not process the request. The connection goes on.
    EarlyDataRejected,
    /// The body of the request failed, and the request was cancelled.
    Body(BoxError),
    /// The server gave up the response.
    Reset(Code),
    /// The response is malformed.
    Malformed(Violation),
    /// The connection ended while the response was awaited. The request may have been processed.
    Connection(ConnectionError),
}

impl RequestError {
    /// Whether the server certainly did not process the request, so that any request can be sent
    /// again on another connection, even one that is not idempotent (RFC 9114 sections 4.1.1 and
    /// 5.2); after [`EarlyDataRejected`](Self::EarlyDataRejected) also on the same one.
    // req 9114-4.1.1-048, 9114-5.4-118
    pub fn may_retry(&self) -> bool {
        match self {
            Self::GoingAway | Self::NotSent(_) | Self::Rejected | Self::EarlyDataRejected => true,
            Self::Unsendable(_)
            | Self::Body(_)
            | Self::Reset(_)
            | Self::Malformed(_)
            | Self::Connection(_) => false,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsendable(error) => write!(f, "the request cannot be sent: {error}"),
            Self::GoingAway => f.write_str("not sent: the server is shutting down"),
            Self::NotSent(error) => write!(f, "not sent: {error}"),
            Self::Rejected => f.write_str("the server did not process the request"),
            Self::EarlyDataRejected => f.write_str("the server did not take early data"),
            Self::Body(error) => write!(f, "the body of the request failed: {error}"),
            Self::Reset(code) => write!(f, "the server gave up the response with {code}"),
            Self::Malformed(reason) => write!(f, "the response is malformed: {reason}"),
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unsendable(error) => Some(error),
            Self::NotSent(error) | Self::Connection(error) => Some(error),
            Self::Body(error) => Some(error.as_ref()),
            Self::GoingAway
            | Self::Rejected
            | Self::EarlyDataRejected
            | Self::Reset(_)
            | Self::Malformed(_) => None,
        }
    }
}

impl From<SendError> for RequestError {
    fn from(error: SendError) -> Self {
        Self::Unsendable(error)
    }
}

/// Why a received body is not whole. A body that ends without an error is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer gave up the message.
    Reset(Code),
    /// The message is malformed: its length is not what Content-Length said, for instance.
    Malformed(Violation),
    /// Nothing arrived for as long as the configuration allows.
    TimedOut,
    /// It was early data, and the server did not take that.
    EarlyDataRejected,
    /// The connection ended before the body did.
    Connection(ConnectionError),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "the peer gave up the message with {code}"),
            Self::Malformed(reason) => write!(f, "the message is malformed: {reason}"),
            Self::TimedOut => f.write_str("the body made no progress for too long"),
            Self::EarlyDataRejected => f.write_str("the server did not take early data"),
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::Reset(_) | Self::Malformed(_) | Self::TimedOut | Self::EarlyDataRejected => None,
        }
    }
}
