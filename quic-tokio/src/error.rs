//! One small error type per kind of call.

use std::fmt;
use std::io;

use quic_core::error::ConnectionError;
use quic_core::shared::{OpenRefused, ReadRefused, SendCell, SendPhase, WriteRefused};
use quic_core::wire::VarInt;

use crate::connection::ConnectionRef;

const EARLY_DATA_REJECTED: &str = "the server did not take the early data";

/// Why nothing was written to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The stream was finished before.
    Finished,
    /// The stream was reset before, with this code.
    Reset(VarInt),
    /// The peer does not want the data, for the reason that its code tells.
    Stopped(VarInt),
    /// The server did not take the early data that the stream began with, and has processed nothing
    /// of it. The connection goes on: what was to be sent can be sent on another stream.
    EarlyDataRejected,
    /// The connection is over.
    ConnectionLost(ConnectionError),
}

impl WriteError {
    pub(crate) fn new(refused: WriteRefused, connection: &ConnectionRef) -> Self {
        match refused {
            WriteRefused::Finished => Self::Finished,
            WriteRefused::Reset(code) => Self::Reset(code),
            WriteRefused::Stopped(code) => Self::Stopped(code),
            WriteRefused::Lost => Self::ConnectionLost(connection.error()),
            WriteRefused::Rejected => Self::EarlyDataRejected,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("the stream was finished before"),
            Self::Reset(code) => write!(f, "the stream was reset before, with code {code}"),
            Self::Stopped(code) => write!(f, "the peer stopped the stream with code {code}"),
            Self::EarlyDataRejected => f.write_str(EARLY_DATA_REJECTED),
            Self::ConnectionLost(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Finished | Self::Reset(_) | Self::Stopped(_) | Self::EarlyDataRejected => None,
            Self::ConnectionLost(error) => Some(error),
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Finished | WriteError::Reset(_) => io::ErrorKind::NotConnected,
            WriteError::Stopped(_) => io::ErrorKind::BrokenPipe,
            WriteError::EarlyDataRejected => io::ErrorKind::ConnectionReset,
            WriteError::ConnectionLost(error) => connection_kind(error),
        };
        Self::new(kind, error)
    }
}

/// Why nothing was read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The peer gave up sending, for the reason that its code tells. Data that was not read is
    /// gone.
    Reset(VarInt),
    /// This side has stopped reading.
    Stopped,
    /// The server did not take the early data that the stream began with: there will be no answer.
    EarlyDataRejected,
    /// The connection ended before the stream did.
    ConnectionLost(ConnectionError),
}

impl ReadError {
    pub(crate) fn new(refused: ReadRefused, connection: &ConnectionRef) -> Self {
        match refused {
            ReadRefused::Reset(code) => Self::Reset(code),
            ReadRefused::Stopped => Self::Stopped,
            ReadRefused::Lost => Self::ConnectionLost(connection.error()),
            ReadRefused::Rejected => Self::EarlyDataRejected,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "the peer reset the stream with code {code}"),
            Self::Stopped => f.write_str("reading was stopped before"),
            Self::EarlyDataRejected => f.write_str(EARLY_DATA_REJECTED),
            Self::ConnectionLost(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Reset(_) | Self::Stopped | Self::EarlyDataRejected => None,
            Self::ConnectionLost(error) => Some(error),
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Reset(_) | ReadError::EarlyDataRejected => io::ErrorKind::ConnectionReset,
            ReadError::Stopped => io::ErrorKind::NotConnected,
            ReadError::ConnectionLost(error) => connection_kind(error),
        };
        Self::new(kind, error)
    }
}

/// Why a stream was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadToEndError {
    /// The stream is longer than the limit.
    TooLong,
    /// Reading failed.
    Read(ReadError),
}

impl fmt::Display for ReadToEndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the stream is longer than the limit"),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadToEndError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLong => None,
            Self::Read(error) => Some(error),
        }
    }
}

impl From<ReadError> for ReadToEndError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Why no stream was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The connection is over.
    ConnectionLost(ConnectionError),
    /// All 2^60 streams of this kind have been used.
    Exhausted,
}

impl From<OpenRefused> for OpenError {
    fn from(refused: OpenRefused) -> Self {
        match refused {
            OpenRefused::Closed(error) => Self::ConnectionLost(error),
            OpenRefused::Exhausted => Self::Exhausted,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionLost(error) => error.fmt(f),
            Self::Exhausted => f.write_str("all streams of the connection have been used"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ConnectionLost(error) => Some(error),
            Self::Exhausted => None,
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let kind = match &error {
            OpenError::ConnectionLost(error) => connection_kind(error),
            OpenError::Exhausted => io::ErrorKind::QuotaExceeded,
        };
        Self::new(kind, error)
    }
}

/// How the sending half of a stream ended. There is exactly one outcome, it never changes, and it
/// can be asked for as long as the handle lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer's transport has acknowledged all bytes and the end of the stream. Whether its
    /// application has read them only the application can tell.
    Acknowledged,
    /// The peer asked us to stop with this code, and the stream was cut short.
    StoppedByPeer(VarInt),
    /// This side has reset the stream with this code, also by dropping an unfinished handle.
    ResetByUs(VarInt),
    /// The server did not take the early data that the stream began with; nothing of it was
    /// processed.
    EarlyDataRejected,
    /// The connection ended before any of these was known.
    ConnectionLost(ConnectionError),
}

impl Delivery {
    /// The outcome in `phase`, which must be final.
    pub(crate) fn new(phase: SendPhase, connection: &ConnectionRef) -> Self {
        match phase {
            SendPhase::Acked => Self::Acknowledged,
            SendPhase::Reset { code, by_peer: true } => Self::StoppedByPeer(code),
            SendPhase::Reset { code, by_peer: false } => Self::ResetByUs(code),
            SendPhase::Rejected => Self::EarlyDataRejected,
            SendPhase::Lost | SendPhase::Open | SendPhase::Fin => {
                debug_assert!(phase.is_final());
                Self::ConnectionLost(connection.error())
            }
        }
    }

    /// The outcome, if there is one yet.
    pub(crate) fn of(cell: &SendCell, connection: &ConnectionRef) -> Option<Self> {
        let phase = cell.phase();
        phase.is_final().then(|| Self::new(phase, connection))
    }

    /// True if every byte was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Acknowledged)
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged => f.write_str("acknowledged"),
            Self::StoppedByPeer(code) => write!(f, "stopped by the peer with code {code}"),
            Self::ResetByUs(code) => write!(f, "reset by this side with code {code}"),
            Self::EarlyDataRejected => f.write_str(EARLY_DATA_REJECTED),
            Self::ConnectionLost(error) => error.fmt(f),
        }
    }
}

fn connection_kind(error: &ConnectionError) -> io::ErrorKind {
    match error {
        ConnectionError::TimedOut | ConnectionError::HandshakeTimedOut => io::ErrorKind::TimedOut,
        ConnectionError::Reset => io::ErrorKind::ConnectionReset,
        ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => {
            io::ErrorKind::ConnectionAborted
        }
        ConnectionError::Transport(_)
        | ConnectionError::LocallyClosed(_)
        | ConnectionError::VersionMismatch { .. }
        | ConnectionError::AlpnMismatch { .. }
        | ConnectionError::HandshakeFailed { .. }
        | ConnectionError::PacketNumbersExhausted
        | ConnectionError::EndpointClosed => io::ErrorKind::NotConnected,
    }
}
