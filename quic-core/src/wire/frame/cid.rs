//! Frames that issue connection IDs and give them back (RFC 9000, sections 19.15 and 19.16).

use super::field::integer_frame;
use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint;
use crate::wire::{ConnectionId, FrameType, ResetToken};

/// NEW_CONNECTION_ID: one more connection ID for the peer to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewConnectionId {
    /// How many connection IDs were issued before this one.
    pub sequence_number: u64,
    /// Connection IDs with lower sequence numbers are to be given back.
    pub retire_prior_to: u64,
    /// The connection ID, 1 to 20 bytes.
    pub connection_id: ConnectionId,
    /// The secret that would reset the connection for packets sent to this ID.
    pub stateless_reset_token: ResetToken,
}

impl NewConnectionId {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        let sequence_number = reader.varint()?;
        let retire_prior_to = reader.varint()?;
        // req 9000-19.15-468, 9000-19.15-469
        if retire_prior_to > sequence_number {
            return Err(Violation::RetirePriorToAboveSequence);
        }
        // req 9000-19.15-463
        let len = usize::from(reader.u8()?);
        if len == 0 || len > ConnectionId::MAX_LEN {
            return Err(Violation::NewConnectionIdLength);
        }
        let connection_id = ConnectionId::new(reader.bytes(len)?).unwrap_or_default();
        let stateless_reset_token = ResetToken::new(reader.array()?);
        Ok(Self { sequence_number, retire_prior_to, connection_id, stateless_reset_token })
    }

    /// Length of the whole frame in bytes.
    pub fn size(&self) -> usize {
        1 + varint::size(self.sequence_number)
            + varint::size(self.retire_prior_to)
            + 1
            + self.connection_id.len()
            + ResetToken::LEN
    }

    /// Writes the whole frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        debug_assert!(!self.connection_id.is_empty());
        debug_assert!(self.retire_prior_to <= self.sequence_number);
        writer.varint(FrameType::NEW_CONNECTION_ID.0);
        writer.varint(self.sequence_number);
        writer.varint(self.retire_prior_to);
        writer.length_prefixed(self.connection_id.as_slice());
        writer.bytes(self.stateless_reset_token.as_bytes());
    }
}

integer_frame! {
    /// RETIRE_CONNECTION_ID: the peer will not send to this connection ID any more.
    RetireConnectionId = RETIRE_CONNECTION_ID {
        /// Which connection ID.
        sequence_number: u64,
    }
}
