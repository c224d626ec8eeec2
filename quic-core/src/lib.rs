//! A sans-IO QUIC version 1 transport: no clock, no sockets, no tasks.

#![forbid(unsafe_code)]

pub mod path;

pub use path::{DatagramMeta, Ecn, Retention, Transmit};
