//! The protocol half of HTTP/3 (RFC 9114), sans-IO: bytes in, values out. It knows no socket, no
//! task and no clock.

pub mod error;
pub(crate) mod varint;
