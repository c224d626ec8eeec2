//! From the bytes of the TLS extension to parameters.

use smallvec::SmallVec;

use super::{PreferredAddress, TransportParameters, VersionInformation, id};
use crate::error::{TransportError, Violation};
use crate::wire::cursor::{Reader, UnexpectedEnd};
use crate::wire::{ConnectionId, ResetToken, Side};

/// How many identifiers are remembered to find duplicates. All known ones and a few unknown ones
/// fit; a peer that sends many unknown parameters cannot make this slow or large.
const MAX_REMEMBERED_IDS: usize = 32;

impl TransportParameters {
    /// Reads the transport parameters that the side `from` has sent.
    ///
    /// Unknown parameters are ignored. Whether required ones are there is told by
    /// [`authenticate`](Self::authenticate).
    ///
    /// # Errors
    ///
    /// TRANSPORT_PARAMETER_ERROR if they are malformed, contain duplicates or forbidden values, or
    /// if a client sent what only servers may send.
    pub fn decode(bytes: &[u8], from: Side) -> Result<Self, TransportError> {
        let mut parameters = Self::default();
        let mut seen = SmallVec::<[u64; MAX_REMEMBERED_IDS]>::new();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let (id, value) = decode_one(&mut reader).map_err(|_| malformed())?;
            // req 9000-7.4-097
            if seen.contains(&id) {
                return Err(Violation::ParameterDuplicate.into());
            }
            if seen.len() < MAX_REMEMBERED_IDS {
                seen.push(id);
            }
            parameters.set(id, value, from)?;
        }
        // req 9000-18.2-435
        if from.is_client() && parameters.has_server_only() {
            return Err(Violation::ParameterFromClient.into());
        }
        Ok(parameters)
    }

    /// Takes the value of one parameter.
    // req 9000-7.4-095, 9000-4.6-033, 9000-18.2-433
    fn set(&mut self, id: u64, value: &[u8], from: Side) -> Result<(), Violation> {
        if self.set_integer(id, || integer(value))? {
            return Ok(());
        }
        match id {
            id::ORIGINAL_DESTINATION_CONNECTION_ID => {
                self.original_destination_connection_id = Some(connection_id(value)?);
            }
            id::STATELESS_RESET_TOKEN => {
                let token = value.try_into().map_err(|_| Violation::ParametersMalformed)?;
                self.stateless_reset_token = Some(ResetToken::new(token));
            }
            id::DISABLE_ACTIVE_MIGRATION => {
                if !value.is_empty() {
                    return Err(Violation::ParametersMalformed);
                }
                self.disable_active_migration = true;
            }
            // RFC 9287, section 3
            id::GREASE_QUIC_BIT => {
                if !value.is_empty() {
                    return Err(Violation::ParametersMalformed);
                }
                self.grease_quic_bit = true;
            }
            id::VERSION_INFORMATION => {
                self.version_information = Some(VersionInformation::decode(value, from)?);
            }
            id::PREFERRED_ADDRESS => {
                self.preferred_address = Some(PreferredAddress::decode(value)?);
            }
            id::INITIAL_SOURCE_CONNECTION_ID => {
                self.initial_source_connection_id = Some(connection_id(value)?);
            }
            id::RETRY_SOURCE_CONNECTION_ID => {
                self.retry_source_connection_id = Some(connection_id(value)?);
            }
            // req 9000-7.4.2-109
            _ => {}
        }
        Ok(())
    }
}

#[cold]
fn malformed() -> TransportError {
    TransportError::new(Violation::ParametersMalformed)
}

fn decode_one<'a>(reader: &mut Reader<'a>) -> Result<(u64, &'a [u8]), UnexpectedEnd> {
    Ok((reader.varint()?, reader.length_prefixed()?))
}

/// A value that is one variable-length integer and nothing else.
fn integer(value: &[u8]) -> Result<u64, Violation> {
    let mut reader = Reader::new(value);
    match reader.varint() {
        Ok(integer) if reader.is_empty() => Ok(integer),
        _ => Err(Violation::ParametersMalformed),
    }
}

fn connection_id(value: &[u8]) -> Result<ConnectionId, Violation> {
    ConnectionId::new(value).ok_or(Violation::ParametersMalformed)
}
