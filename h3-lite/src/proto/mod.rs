//! The protocol half of HTTP/3 (RFC 9114), sans-IO: bytes in, values out. It knows no socket, no
//! task and no clock.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

pub mod error;
pub mod frame;
pub mod settings;
pub(crate) mod varint;
