//! Responses: `:status` (RFC 9114 section 4.3.2).

use bytes::Bytes;
use http::{Response, StatusCode, Version, response};

use super::EncodeError;
use super::fields::{self, Place, Sorted, Writer};
use crate::proto::error::{StreamFault, Violation};
use crate::qpack::FieldLine;

/// Reads a response header section, interim or final.
// req 9114-4.3-063, 9114-4.3-065, 9114-4.3.2-078
pub fn decode_response(lines: Vec<FieldLine>) -> Result<Response<()>, StreamFault> {
    let Sorted { pseudo, headers } = fields::sort(lines, Place::Response)?;
    let mut status: Option<Bytes> = None;
    for (name, value) in pseudo {
        if name.as_ref() != b":status" {
            return Err(Violation::UnknownPseudo.into());
        }
        if status.replace(value).is_some() {
            return Err(Violation::DuplicatePseudo.into());
        }
    }
    let status = status.ok_or(Violation::MissingPseudo)?;
    let mut response = Response::new(());
    *response.status_mut() = parse_status(&status)?;
    *response.version_mut() = Version::HTTP_3;
    *response.headers_mut() = headers;
    Ok(response)
}

fn parse_status(value: &[u8]) -> Result<StatusCode, StreamFault> {
    match StatusCode::from_bytes(value).map_err(|_| Violation::Status)? {
        StatusCode::SWITCHING_PROTOCOLS => Err(Violation::SwitchingProtocols.into()),
        status => Ok(status),
    }
}

/// Encodes the header section of a response for a peer that takes `limit` bytes. Fields that belong
/// to an HTTP/1.1 connection are left out.
// req 9114-4.3.2-078
pub fn encode_response(head: &response::Parts, limit: Option<u64>) -> Result<Vec<u8>, EncodeError> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(EncodeError::SwitchingProtocols);
    }
    let mut writer = Writer::new();
    writer.pseudo(":status", head.status.as_str());
    writer.headers(&head.headers, Place::Response);
    writer.finish(limit)
}
