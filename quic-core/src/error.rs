//! What can go wrong, in three types for three fates.
//!
//! * [`Discard`]: a packet is dropped and nothing else happens.
//! * [`TransportError`]: the peer broke a rule, and the connection closes with a code that the
//!   peer is told.
//! * [`ConnectionError`]: why a connection is over, for the application.
//!
//! Misuse of the API is none of these; each call has its own small error for it.

mod discard;
mod violation;

use std::fmt;

use bytes::Bytes;

pub use discard::Discard;
pub use violation::Violation;

use crate::wire::error_code::tls_alert_name;
use crate::wire::{ApplicationErrorCode, FrameType, TransportErrorCode, UnexpectedEnd, Version};

/// The connection must close, and this is what CONNECTION_CLOSE tells the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// The code for the peer.
    pub code: TransportErrorCode,
    /// The frame that is to blame, if one is.
    pub frame_type: Option<FrameType>,
    /// What exactly was wrong.
    pub reason: Violation,
}

impl TransportError {
    /// The error that belongs to `reason`, not blamed on a frame.
    pub const fn new(reason: Violation) -> Self {
        Self { code: reason.code(), frame_type: None, reason }
    }

    /// The same error, blamed on a frame.
    #[must_use]
    pub const fn in_frame(self, ty: FrameType) -> Self {
        Self { frame_type: Some(ty), ..self }
    }

    /// The TLS handshake failed and its library wants to send this alert.
    pub const fn tls(alert: u8) -> Self {
        Self {
            code: TransportErrorCode::crypto(alert),
            frame_type: Some(FrameType::CRYPTO),
            reason: Violation::TlsAlert,
        }
    }
}

impl From<Violation> for TransportError {
    fn from(reason: Violation) -> Self {
        Self::new(reason)
    }
}

impl From<UnexpectedEnd> for Violation {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::FrameTruncated
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)?;
        match self.frame_type {
            Some(ty) => write!(f, " (in {ty})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TransportError {}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// The peer broke a rule, or something failed on this side.
    Transport(TransportError),
    /// The peer closed the connection at the transport's level, usually because we broke a rule.
    ConnectionClosed(ConnectionClosed),
    /// The peer's application closed the connection.
    ApplicationClosed(ApplicationClosed),
    /// This side's application closed the connection.
    LocallyClosed(ApplicationErrorCode),
    /// Nothing was received for the idle timeout (RFC 9000, section 10.1).
    TimedOut,
    /// The handshake did not complete in time.
    HandshakeTimedOut,
    /// The peer has lost all memory of the connection (RFC 9000, section 10.3).
    Reset,
    /// The server speaks none of our versions; these are the ones it speaks.
    VersionMismatch {
        /// What the server offered, as it listed them.
        offered: Vec<Version>,
    },
    /// No application protocol (ALPN) is common to both sides.
    AlpnMismatch {
        /// What this side speaks.
        ours: Vec<Vec<u8>>,
        /// What the peer speaks; empty where it did not tell.
        theirs: Vec<Vec<u8>>,
    },
    /// TLS refused the handshake on this side, for instance the certificate of the peer.
    HandshakeFailed {
        /// What the peer is told: CRYPTO_ERROR with the TLS alert.
        error: TransportError,
        /// What TLS says about it, for a human on this side.
        cause: String,
    },
    /// The last packet number has been used; no more packets can be sent.
    PacketNumbersExhausted,
    /// The endpoint, or the task that drives it, is gone.
    EndpointClosed,
}

/// What a CONNECTION_CLOSE frame of the transport (type 0x1c) said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionClosed {
    /// Why.
    pub error_code: TransportErrorCode,
    /// The frame of ours that the peer blames, if any.
    pub frame_type: Option<FrameType>,
    /// More about it for a human; chosen by the peer, any bytes.
    pub reason: Bytes,
}

/// What a CONNECTION_CLOSE frame of the application (type 0x1d) said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationClosed {
    /// Why, in the application protocol's numbers.
    pub error_code: ApplicationErrorCode,
    /// More about it for a human; chosen by the peer, any bytes.
    pub reason: Bytes,
}

impl ConnectionError {
    /// The code of the TLS alert that ended the handshake, sent by either side, if one did.
    pub fn tls_alert(&self) -> Option<u8> {
        match self {
            Self::Transport(error) => error.code.tls_alert(),
            Self::ConnectionClosed(close) => close.error_code.tls_alert(),
            Self::HandshakeFailed { error, .. } => error.code.tls_alert(),
            Self::AlpnMismatch { .. } => Some(NO_APPLICATION_PROTOCOL),
            Self::ApplicationClosed(_)
            | Self::LocallyClosed(_)
            | Self::TimedOut
            | Self::HandshakeTimedOut
            | Self::Reset
            | Self::VersionMismatch { .. }
            | Self::PacketNumbersExhausted
            | Self::EndpointClosed => None,
        }
    }
}

/// The TLS alert of an ALPN mismatch.
const NO_APPLICATION_PROTOCOL: u8 = 120;

impl From<TransportError> for ConnectionError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "connection closed by this side: {error}"),
            Self::ConnectionClosed(close) => close.fmt(f),
            Self::ApplicationClosed(close) => close.fmt(f),
            Self::LocallyClosed(code) => {
                write!(f, "connection closed by this side's application with code {code}")
            }
            Self::TimedOut => f.write_str("connection timed out: nothing received for too long"),
            Self::HandshakeTimedOut => f.write_str("handshake timed out"),
            Self::Reset => f.write_str("connection reset: the peer does not know it any more"),
            Self::VersionMismatch { offered } => {
                write!(f, "no common QUIC version: the server offers {offered:?}")
            }
            Self::AlpnMismatch { ours, theirs } => fmt_alpn_mismatch(f, ours, theirs),
            Self::HandshakeFailed { error, cause } => {
                write!(f, "handshake failed: {cause} ({})", error.code)
            }
            Self::PacketNumbersExhausted => f.write_str("packet numbers exhausted"),
            Self::EndpointClosed => f.write_str("endpoint closed"),
        }
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport(error) | Self::HandshakeFailed { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection closed by the peer: {}", self.error_code)?;
        if let Some(ty) = self.frame_type {
            write!(f, " (in {ty})")?;
        }
        fmt_reason(f, &self.reason)
    }
}

impl fmt::Display for ApplicationClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection closed by the peer's application with code {}", self.error_code)?;
        fmt_reason(f, &self.reason)
    }
}

/// Prints the peer's words so that they cannot disturb a terminal or a log.
fn fmt_reason(f: &mut fmt::Formatter<'_>, reason: &[u8]) -> fmt::Result {
    match reason {
        [] => Ok(()),
        _ => write!(f, ": \"{}\"", String::from_utf8_lossy(reason).escape_debug()),
    }
}

fn fmt_alpn_mismatch(
    f: &mut fmt::Formatter<'_>,
    ours: &[Vec<u8>],
    theirs: &[Vec<u8>],
) -> fmt::Result {
    f.write_str("no common application protocol (ALPN): this side speaks ")?;
    fmt_protocols(f, ours)?;
    f.write_str(", the peer speaks ")?;
    match theirs {
        [] => {
            let alert = tls_alert_name(NO_APPLICATION_PROTOCOL).unwrap_or_default();
            write!(f, "something else (TLS alert {NO_APPLICATION_PROTOCOL}, {alert})")
        }
        _ => fmt_protocols(f, theirs),
    }
}

fn fmt_protocols(f: &mut fmt::Formatter<'_>, protocols: &[Vec<u8>]) -> fmt::Result {
    if protocols.is_empty() {
        return f.write_str("none");
    }
    for (index, protocol) in protocols.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}\"{}\"", protocol.escape_ascii())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_error_names_code_sentence_and_frame() {
        let error = TransportError::new(Violation::AckRangeNegative).in_frame(FrameType::ACK);
        let text = error.to_string();
        assert!(text.starts_with("FRAME_ENCODING_ERROR: "), "{text}");
        assert!(text.ends_with(" (in ACK)"), "{text}");
    }

    #[test]
    fn a_tls_failure_names_the_alert() {
        let error = ConnectionError::from(TransportError::tls(48));
        assert!(error.to_string().contains("CRYPTO_ERROR (TLS alert 48, unknown_ca)"), "{error}");
        assert_eq!(error.tls_alert(), Some(48));
    }

    #[test]
    fn an_alpn_mismatch_names_what_both_sides_speak() {
        let ours = vec![b"h3".to_vec(), b"x\xff".to_vec()];
        let known =
            ConnectionError::AlpnMismatch { ours: ours.clone(), theirs: vec![b"hq".into()] };
        assert_eq!(
            known.to_string(),
            "no common application protocol (ALPN): this side speaks \"h3\", \"x\\xff\", \
             the peer speaks \"hq\""
        );
        let unknown = ConnectionError::AlpnMismatch { ours, theirs: vec![] };
        assert!(unknown.to_string().contains("no_application_protocol"), "{unknown}");
    }

    #[test]
    fn the_peers_words_are_escaped() {
        let error = ConnectionError::ApplicationClosed(ApplicationClosed {
            error_code: 7.into(),
            reason: Bytes::from_static(b"bye\x1b[31m"),
        });
        assert_eq!(
            error.to_string(),
            "connection closed by the peer's application with code 7: \"bye\\u{1b}[31m\""
        );
    }
}
