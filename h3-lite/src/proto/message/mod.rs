//! HTTP messages in field sections (RFC 9114 sections 4.1 to 4.4): field lines to `http` types and
//! back, with every rule whose breach makes a message malformed.

mod fields;
mod request;
mod response;

use http::{HeaderMap, StatusCode};

use super::error::{StreamFault, Violation};
use crate::qpack::FieldLine;
use fields::{Place, Sorted};

pub use request::{decode_request, encode_request};
pub use response::{decode_response, encode_response};

/// Reads a trailer section.
// req 9114-4.3-064
pub fn decode_trailers(lines: Vec<FieldLine>) -> Result<HeaderMap, StreamFault> {
    let Sorted { pseudo, headers } = fields::sort(lines, Place::Trailers)?;
    if pseudo.is_empty() { Ok(headers) } else { Err(Violation::PseudoInTrailers.into()) }
}

/// Encodes a trailer section for a peer that takes `limit` bytes.
pub fn encode_trailers(trailers: &HeaderMap, limit: Option<u64>) -> Result<Vec<u8>, EncodeError> {
    let mut writer = fields::Writer::new();
    writer.headers(trailers, Place::Trailers);
    writer.finish(limit)
}

/// A message of ours that HTTP/3 cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The request names no authority, neither in its URI nor in a Host field.
    NoAuthority,
    /// The authority has a user part, or is empty.
    Authority,
    /// A CONNECT request needs host and port as its target.
    ConnectTarget,
    /// 101 (Switching Protocols) does not exist in HTTP/3.
    SwitchingProtocols,
    /// The field section exceeds what the peer said it takes.
    TooLargeForPeer,
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoAuthority => "the request has no authority",
            Self::Authority => "the authority of the request is empty or has a user part",
            Self::ConnectTarget => "a CONNECT request needs host and port as its target",
            Self::SwitchingProtocols => "101 does not exist in HTTP/3",
            Self::TooLargeForPeer => "the field section exceeds the limit of the peer",
        })
    }
}

impl std::error::Error for EncodeError {}

/// What content a message may still have.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Any amount.
    Free,
    /// Exactly this many bytes more, as Content-Length said.
    Left(u64),
    /// None at all, whatever Content-Length says.
    Never,
}

impl Content {
    /// What the Content-Length of a message with content promises.
    pub(crate) fn declared(headers: &HeaderMap) -> Result<Self, StreamFault> {
        Ok(content_length(headers)?.map_or(Self::Free, Self::Left))
    }

    /// What the response to a HEAD request, and one without content by its status, may carry.
    pub(crate) fn of_response(
        headers: &HeaderMap,
        status: StatusCode,
        to_head: bool,
    ) -> Result<Self, StreamFault> {
        let declared = Self::declared(headers)?;
        let never = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if to_head || never { Self::Never } else { declared })
    }

    /// Counts `length` more bytes of content.
    // req 9114-4.1.2-050
    pub(crate) fn take(&mut self, length: u64) -> Result<(), StreamFault> {
        match self {
            Self::Free => Ok(()),
            Self::Never if length == 0 => Ok(()),
            Self::Never => Err(Violation::UnexpectedContent.into()),
            Self::Left(left) => {
                *left = left.checked_sub(length).ok_or(Violation::ContentLengthMismatch)?;
                Ok(())
            }
        }
    }

    /// Checks that nothing is missing once the content has ended.
    pub(crate) fn finish(self) -> Result<(), StreamFault> {
        match self {
            Self::Free | Self::Never | Self::Left(0) => Ok(()),
            Self::Left(_) => Err(Violation::ContentLengthMismatch.into()),
        }
    }
}

/// The one Content-Length there may be (RFC 9110 section 8.6): digits only, and no list, not even
/// of equal numbers.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, StreamFault> {
    let mut values = headers.get_all(http::header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = value.to_str().ok().filter(|_| is_number).and_then(|text| text.parse().ok());
    match (number, values.next()) {
        (Some(number), None) => Ok(Some(number)),
        _ => Err(Violation::ContentLength.into()),
    }
}

#[cfg(test)]
mod tests;
