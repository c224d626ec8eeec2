//! The address that a server would rather be talked to at (RFC 9000, section 9.6).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::error::Violation;
use crate::wire::cursor::{Reader, UnexpectedEnd, Writer};
use crate::wire::{ConnectionId, ResetToken};

/// Where a client should move to after the handshake, and how it addresses packets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredAddress {
    /// The address for IPv4, if there is one.
    pub ipv4: Option<SocketAddrV4>,
    /// The address for IPv6, if there is one.
    pub ipv6: Option<SocketAddrV6>,
    /// The connection ID with sequence number 1, not empty.
    pub connection_id: ConnectionId,
    /// The stateless reset token of that connection ID.
    pub stateless_reset_token: ResetToken,
}

impl PreferredAddress {
    /// Reads the whole value of the parameter.
    // req 9000-18.2-428: an address and port of all zeros mean that there is none.
    // req 9000-18.2-430, 9000-18.2-431
    pub(super) fn decode(value: &[u8]) -> Result<Self, Violation> {
        let mut reader = Reader::new(value);
        let parts = Self::decode_parts(&mut reader).map_err(|_| Violation::ParametersMalformed)?;
        let (ipv4, ipv6, connection_id, token) = parts;
        if connection_id.is_empty() {
            return Err(Violation::PreferredAddressInvalid);
        }
        let connection_id =
            ConnectionId::new(connection_id).ok_or(Violation::ParameterOutOfRange)?;
        if !reader.is_empty() {
            return Err(Violation::ParametersMalformed);
        }
        Ok(Self {
            ipv4: Some(ipv4).filter(|addr| !addr.ip().is_unspecified() || addr.port() != 0),
            ipv6: Some(ipv6).filter(|addr| !addr.ip().is_unspecified() || addr.port() != 0),
            connection_id,
            stateless_reset_token: ResetToken::new(token),
        })
    }

    #[allow(clippy::type_complexity)] // The fields of the wire format, in order.
    fn decode_parts<'a>(
        reader: &mut Reader<'a>,
    ) -> Result<(SocketAddrV4, SocketAddrV6, &'a [u8], [u8; ResetToken::LEN]), UnexpectedEnd> {
        let ipv4 = SocketAddrV4::new(Ipv4Addr::from(reader.array::<4>()?), reader.u16()?);
        let ipv6 = SocketAddrV6::new(Ipv6Addr::from(reader.array::<16>()?), reader.u16()?, 0, 0);
        let len = usize::from(reader.u8()?);
        Ok((ipv4, ipv6, reader.bytes(len)?, reader.array()?))
    }

    /// Length of the value in bytes.
    pub(super) fn size(&self) -> usize {
        4 + 2 + 16 + 2 + 1 + self.connection_id.len() + ResetToken::LEN
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        debug_assert!(!self.connection_id.is_empty());
        writer.bytes(&self.ipv4.map_or([0; 4], |addr| addr.ip().octets()));
        writer.u16(self.ipv4.map_or(0, |addr| addr.port()));
        writer.bytes(&self.ipv6.map_or([0; 16], |addr| addr.ip().octets()));
        writer.u16(self.ipv6.map_or(0, |addr| addr.port()));
        writer.length_prefixed(self.connection_id.as_slice());
        writer.bytes(self.stateless_reset_token.as_bytes());
    }
}
