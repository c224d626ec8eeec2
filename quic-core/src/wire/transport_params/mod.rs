//! Transport parameters: what each side tells the other about itself during the handshake
//! (RFC 9000, section 18).

mod decode;
mod encode;
mod preferred_address;
mod version_information;

pub use encode::ReservedParameter;
pub use preferred_address::PreferredAddress;
pub use version_information::VersionInformation;

use super::{ConnectionId, ResetToken, StreamId, varint};
use crate::error::{TransportError, Violation};

/// Identifiers of the parameters that are not integers.
mod id {
    pub(super) const ORIGINAL_DESTINATION_CONNECTION_ID: u64 = 0x00;
    pub(super) const STATELESS_RESET_TOKEN: u64 = 0x02;
    pub(super) const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
    pub(super) const PREFERRED_ADDRESS: u64 = 0x0d;
    pub(super) const INITIAL_SOURCE_CONNECTION_ID: u64 = 0x0f;
    pub(super) const RETRY_SOURCE_CONNECTION_ID: u64 = 0x10;
    pub(super) const VERSION_INFORMATION: u64 = 0x11;
    pub(super) const GREASE_QUIC_BIT: u64 = 0x2ab2;
}

/// Defines [`TransportParameters`] and the table of its integers from the rows below.
macro_rules! integer_parameters {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident = $id:literal, default $default:literal, valid $valid:expr;
    )+) => {
        /// The transport parameters of one side.
        ///
        /// A parameter that is absent on the wire has its default value here.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct TransportParameters {
            $($(#[doc = $doc])+ pub $field: u64,)+

            /// The peer must not move to another address of its own.
            pub disable_active_migration: bool,
            /// This side takes packets whose fixed bit is zero (RFC 9287).
            pub grease_quic_bit: bool,
            /// The versions of this side (RFC 9368).
            pub version_information: Option<VersionInformation>,
            /// The connection ID in the source field of this side's first Initial packet. Always
            /// sent; it is an `Option` so that its absence can be told apart.
            pub initial_source_connection_id: Option<ConnectionId>,
            /// Server only: the connection ID that the client's first Initial packet was sent to.
            pub original_destination_connection_id: Option<ConnectionId>,
            /// Server only: the connection ID in the source field of the Retry packet.
            pub retry_source_connection_id: Option<ConnectionId>,
            /// Server only: the reset token of the connection ID used during the handshake.
            pub stateless_reset_token: Option<ResetToken>,
            /// Server only: an address that the client should move to after the handshake.
            pub preferred_address: Option<PreferredAddress>,
        }

        impl Default for TransportParameters {
            fn default() -> Self {
                Self {
                    $($field: $default,)+
                    disable_active_migration: false,
                    grease_quic_bit: false,
                    version_information: None,
                    initial_source_connection_id: None,
                    original_destination_connection_id: None,
                    retry_source_connection_id: None,
                    stateless_reset_token: None,
                    preferred_address: None,
                }
            }
        }

        impl TransportParameters {
            /// The integers in the order of the table: identifier, default value, and value.
            fn integers(&self) -> impl Iterator<Item = (u64, u64, u64)> {
                [$(($id, $default, self.$field),)+].into_iter()
            }

            /// Sets the integer parameter `id` to `value` if it is one; false if it is not.
            fn set_integer(
                &mut self,
                id: u64,
                value: impl FnOnce() -> Result<u64, Violation>,
            ) -> Result<bool, Violation> {
                match id {
                    $($id => {
                        let value = value()?;
                        if !($valid).contains(&value) {
                            return Err(Violation::ParameterOutOfRange);
                        }
                        self.$field = value;
                    })+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            #[cfg(test)]
            const INTEGER_TABLE: &[(&str, u64, u64)] = &[$((stringify!($field), $id, $default),)+];
        }
    };
}

integer_parameters! {
    /// After how many milliseconds of silence the connection is given up; 0 for never.
    max_idle_timeout_ms = 0x01, default 0, valid 0..=varint::MAX;
    /// The largest UDP payload this side takes, in bytes; at least 1200.
    max_udp_payload_size = 0x03, default 65527, valid 1200..=varint::MAX;
    /// How many bytes the peer may send on the connection at first.
    initial_max_data = 0x04, default 0, valid 0..=varint::MAX;
    /// How many bytes the peer may send at first on a bidirectional stream that the sender of this
    /// parameter opened.
    initial_max_stream_data_bidi_local = 0x05, default 0, valid 0..=varint::MAX;
    /// How many bytes the peer may send at first on a bidirectional stream that it opened itself.
    initial_max_stream_data_bidi_remote = 0x06, default 0, valid 0..=varint::MAX;
    /// How many bytes the peer may send at first on a unidirectional stream.
    initial_max_stream_data_uni = 0x07, default 0, valid 0..=varint::MAX;
    /// How many bidirectional streams the peer may open at first; at most 2^60.
    initial_max_streams_bidi = 0x08, default 0, valid 0..=StreamId::MAX_COUNT;
    /// How many unidirectional streams the peer may open at first; at most 2^60.
    initial_max_streams_uni = 0x09, default 0, valid 0..=StreamId::MAX_COUNT;
    /// The delay in this side's ACK frames is in units of 2 to this power microseconds; at most 20.
    ack_delay_exponent = 0x0a, default 3, valid 0..=MAX_ACK_DELAY_EXPONENT;
    /// For how many milliseconds at most this side holds an acknowledgement back; below 2^14.
    max_ack_delay_ms = 0x0b, default 25, valid 0..MAX_ACK_DELAY_END_MS;
    /// How many connection IDs of the peer this side keeps; at least 2.
    active_connection_id_limit = 0x0e, default 2, valid 2..=varint::MAX;
}

const MAX_ACK_DELAY_EXPONENT: u64 = 20;
const MAX_ACK_DELAY_END_MS: u64 = 1 << 14;

/// The connection IDs that the handshake used, as one side has seen them, to be compared with what
/// the peer's transport parameters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeConnectionIds {
    /// What a server has seen.
    Server {
        /// Source connection ID of the client's first Initial packet.
        initial_source: ConnectionId,
    },
    /// What a client has seen.
    Client {
        /// Destination connection ID of the client's very first Initial packet.
        original_destination: ConnectionId,
        /// Source connection ID of the server's first Initial packet.
        initial_source: ConnectionId,
        /// Source connection ID of the server's Retry packet, if there was one.
        retry_source: Option<ConnectionId>,
    },
}

impl TransportParameters {
    /// Compares the connection IDs that the peer has authenticated in its parameters with those
    /// that this side has `seen` in packets (RFC 9000, section 7.3).
    ///
    /// # Errors
    ///
    /// TRANSPORT_PARAMETER_ERROR if one is missing, different, or there without reason.
    // req 9000-7.3-091, 9000-7.3-092, 9000-7.3-093, 9000-7.3-094
    pub fn authenticate(&self, seen: HandshakeConnectionIds) -> Result<(), TransportError> {
        let (HandshakeConnectionIds::Server { initial_source }
        | HandshakeConnectionIds::Client { initial_source, .. }) = seen;
        match self.initial_source_connection_id {
            None => return Err(Violation::InitialSourceMissing.into()),
            Some(id) if id != initial_source => {
                return Err(Violation::InitialSourceMismatch.into());
            }
            Some(_) => {}
        }
        let HandshakeConnectionIds::Client { original_destination, retry_source, .. } = seen else {
            return Ok(());
        };
        match self.original_destination_connection_id {
            None => return Err(Violation::OriginalDestinationMissing.into()),
            Some(id) if id != original_destination => {
                return Err(Violation::OriginalDestinationMismatch.into());
            }
            Some(_) => {}
        }
        match (self.retry_source_connection_id, retry_source) {
            (None, None) => Ok(()),
            (Some(told), Some(seen)) if told == seen => Ok(()),
            (Some(_), Some(_)) => Err(Violation::RetrySourceMismatch.into()),
            (None, Some(_)) => Err(Violation::RetrySourceMissing.into()),
            (Some(_), None) => Err(Violation::RetrySourceUnexpected.into()),
        }
    }

    fn has_server_only(&self) -> bool {
        self.original_destination_connection_id.is_some()
            || self.retry_source_connection_id.is_some()
            || self.stateless_reset_token.is_some()
            || self.preferred_address.is_some()
    }

    /// How far the ACK Delay field of this side's ACK frames is to be shifted left to be in
    /// microseconds, 0 to 20.
    pub fn ack_delay_shift(&self) -> u32 {
        u32::try_from(self.ack_delay_exponent.min(MAX_ACK_DELAY_EXPONENT)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
