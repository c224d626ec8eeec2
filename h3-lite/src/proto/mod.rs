//! The protocol half of HTTP/3 (RFC 9114), sans-IO: bytes in, values out. It knows no socket, no
//! task and no clock.
//!
//! A lower line imports no higher one:
//!
//! ```text
//! connection · receive · send
//! control · shutdown · message
//! frame · settings
//! error · budget · id · varint
//! ```

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod budget;
pub mod connection;
mod control;
pub mod error;
pub mod frame;
pub mod id;
pub mod message;
pub mod receive;
pub mod send;
pub mod settings;
mod shutdown;
pub(crate) mod varint;
