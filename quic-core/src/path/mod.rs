//! A network path: where datagrams go, and how much may be sent before the peer has proved that it
//! can receive there.
//!
//! What a datagram looks like at the border of the crate lives here too: [`DatagramMeta`] on the
//! way in, [`Transmit`] on the way out.

mod datagram;

pub use datagram::{DatagramMeta, Ecn, Transmit};

pub use crate::buffer::Retention;

/// Every path that can carry QUIC carries datagrams with at least this many bytes of UDP payload
/// (RFC 9000 section 14).
pub const MIN_MAX_DATAGRAM: u16 = 1200;
