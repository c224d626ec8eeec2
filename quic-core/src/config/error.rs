//! Values that do not go together.

use std::fmt;

/// Defines [`ConfigError`] with a sentence for each mistake.
macro_rules! config_errors {
    ($($name:ident $sentence:literal)+) => {
        /// Why a configuration was refused, and what to change.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum ConfigError {
            $(#[doc = $sentence] $name,)+
            /// The TLS configuration cannot be used for QUIC.
            Tls(rustls::Error),
        }

        impl fmt::Display for ConfigError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($sentence),)+
                    Self::Tls(error) => write!(f, "TLS cannot be used for QUIC: {error}"),
                }
            }
        }
    };
}

config_errors! {
    IdleTimeoutBelowHandshakeTimeout
    "max_idle_timeout ends connections before handshake_timeout does: raise the former or lower the latter"
    IdleTimeoutZero
    "max_idle_timeout is below a millisecond: raise it, or use None for no timeout"
    HandshakeTimeoutZero
    "handshake_timeout is zero, so that no connection can begin: raise it"
    KeepAliveZero
    "keep_alive_interval is zero: raise it, or use None to send no keep-alives"
    KeepAliveTooLate
    "keep_alive_interval is not below max_idle_timeout, which ends the connection first: lower it, to a third for instance"
    StreamWindowAboveConnectionWindow
    "initial_stream_window is above initial_connection_window and could never be used up: lower the former or raise the latter"
    StreamWindowAboveCap
    "initial_stream_window is above max_stream_window: lower the former or raise the latter"
    ConnectionWindowAboveCap
    "initial_connection_window is above max_connection_window: lower the former or raise the latter"
    StreamCapAboveConnectionCap
    "max_stream_window is above max_connection_window, so that one stream can block all others: lower the former or raise the latter"
    WindowTooLarge
    "max_connection_window is above 2^62 - 1 bytes, which no frame can say: lower it"
    MemoryBelowConnectionWindow
    "receive_memory is below max_connection_window, so that an honest peer could exceed it: raise it, to three times the window for instance, or lower the window"
    TooManyStreams
    "there cannot be more than 2^60 streams of a kind: lower max_bidi_streams or max_uni_streams"
    SendWindowZero
    "stream_send_window is zero, so that nothing can be written: raise it"
    SendWindowAboveBudget
    "stream_send_window is above send_budget: lower the former or raise the latter"
    AckDelayTooLong
    "max_ack_delay is not below 16384 ms, which no transport parameter can say: lower it"
    ConnectionIdLimitTooLow
    "active_connection_id_limit is below 2, the least that peers accept: raise it"
    ConnectionIdLimitTooHigh
    "active_connection_id_limit is above 16, which only costs memory: lower it"
    InitialRttTooShort
    "initial_rtt is below a millisecond: raise it, 333 ms is the usual value"
    MtuTooLow
    "initial_mtu is below 1200 bytes, which every path for QUIC can carry: raise it"
    MtuAboveUpperBound
    "initial_mtu is above mtu_upper_bound: lower the former or raise the latter"
    MtuUpperBoundTooHigh
    "mtu_upper_bound is above 65527 bytes, the largest payload of a UDP datagram: lower it"
    ConnectionIdLength
    "connection_id_len is not between 8 and 20 bytes: change it, 8 is enough for most uses"
    NoVersion
    "no version is named, or only reserved ones, so that no connection can begin: leave the default, or name QUIC version 1"
    VersionUnknown
    "a version is named that is not implemented: QUIC versions 1 and 2 are"
    MaxIncomingBytesTooLow
    "max_incoming_bytes has no room for a datagram of 1200 bytes: raise it, or set max_incoming to 0"
    EarlyDataWithoutStoredSessions
    "early data is to be accepted, but the TLS configuration stores no sessions: set session_storage and leave ticketer alone, or do without early data"
    NoApplicationProtocol
    "the TLS configuration names no application protocol, which QUIC demands: set alpn_protocols"
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rustls::Error> for ConfigError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}
