//! From parameters to the bytes of the TLS extension.

use super::{TransportParameters, id};
use crate::wire::cursor::Writer;
use crate::wire::{Side, varint};

/// A parameter without a meaning, which keeps peers used to ignoring what they do not know
/// (RFC 9000, section 18.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedParameter<'a> {
    n: u32,
    value: &'a [u8],
}

impl<'a> ReservedParameter<'a> {
    /// The `n`-th reserved parameter, with any value.
    pub const fn new(n: u32, value: &'a [u8]) -> Self {
        Self { n, value }
    }

    /// Its identifier.
    pub fn id(&self) -> u64 {
        31 * u64::from(self.n) + 27
    }
}

impl TransportParameters {
    /// Appends these parameters, as the side `from` sends them, to `out`.
    ///
    /// Values that equal their default are left out, and so is what only servers may send if
    /// `from` is the client.
    // req 9000-7.4-096, 9000-18.2-425, 9000-18.2-434
    pub fn encode(&self, from: Side, reserved: Option<ReservedParameter<'_>>, out: &mut Vec<u8>) {
        debug_assert!(from.is_server() || !self.has_server_only());
        for (id, default, value) in self.integers() {
            if value != default {
                put(out, id, varint::size(value), |writer| writer.varint(value));
            }
        }
        if self.disable_active_migration {
            put_bytes(out, id::DISABLE_ACTIVE_MIGRATION, &[]);
        }
        if self.grease_quic_bit {
            put_bytes(out, id::GREASE_QUIC_BIT, &[]);
        }
        if let Some(versions) = &self.version_information {
            put(out, id::VERSION_INFORMATION, versions.size(), |writer| versions.encode(writer));
        }
        if let Some(id) = self.initial_source_connection_id {
            put_bytes(out, id::INITIAL_SOURCE_CONNECTION_ID, id.as_slice());
        }
        if from.is_server() {
            self.encode_server_only(out);
        }
        if let Some(reserved) = reserved {
            put_bytes(out, reserved.id(), reserved.value);
        }
    }

    fn encode_server_only(&self, out: &mut Vec<u8>) {
        if let Some(id) = self.original_destination_connection_id {
            put_bytes(out, id::ORIGINAL_DESTINATION_CONNECTION_ID, id.as_slice());
        }
        if let Some(id) = self.retry_source_connection_id {
            put_bytes(out, id::RETRY_SOURCE_CONNECTION_ID, id.as_slice());
        }
        if let Some(token) = self.stateless_reset_token {
            put_bytes(out, id::STATELESS_RESET_TOKEN, token.as_bytes());
        }
        if let Some(address) = &self.preferred_address {
            put(out, id::PREFERRED_ADDRESS, address.size(), |writer| address.encode(writer));
        }
    }
}

/// Appends identifier, length and value of one parameter.
fn put(out: &mut Vec<u8>, id: u64, len: usize, value: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    let size = varint::size(id) + varint::size(len as u64) + len;
    out.resize(start + size, 0);
    let mut writer = Writer::new(out.get_mut(start..).unwrap_or_default());
    writer.varint(id);
    writer.varint(len as u64);
    value(&mut writer);
    debug_assert_eq!(writer.remaining(), 0);
}

fn put_bytes(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    put(out, id, value.len(), |writer| writer.bytes(value));
}
