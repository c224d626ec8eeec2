//! HTTP/3 (RFC 9114) with QPACK (RFC 9204) over QUIC streams, for `http` types.
//!
//! The crate has two halves.
//!
//! **The protocol half** is sans-IO: bytes in, values out, no socket, task or clock. Every rule of
//! the RFCs lives here, and every fault has a type that says how far it reaches.
//!
//! | module | what |
//! |---|---|
//! | [`proto::connection`] | the connection: the peer's unidirectional streams, settings, GOAWAY |
//! | [`proto::receive`] | the receiving half of a request stream: bytes to message events |
//! | [`proto::send`] | the sending half: messages to bytes, in the right order |
//! | [`proto::message`] | field lines to `http` types and back |
//! | [`proto::frame`], [`proto::settings`] | frames and their payloads |
//! | [`proto::error`] | codes, violations, and what they end |
//! | [`qpack`] | field compression, static table only |
//!
//! **The asynchronous half** moves bytes between those machines and QUIC streams and hands
//! requests and responses to the program. It holds no rule of the protocol.
//!
//! Limits are on by default: the size and number of fields
//! ([`SectionLimits`](qpack::decoder::SectionLimits)), frames that carry nothing, streams that do
//! not say what they are.

#![forbid(unsafe_code)]

/// The examples of the README, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod body;
pub mod client;
mod control;
mod error;
pub mod fuzz;
mod message;
pub mod proto;
pub mod qpack;
pub mod server;
mod shared;
mod watchdog;

pub use body::RecvBody;
pub use client::Client;
pub use error::{BodyError, BoxError, ConnectionError, RequestError};
pub use proto::error::Code;
pub use server::{Server, Shutdown, serve_connection, service_fn};

/// The application protocol of HTTP/3, for the TLS configuration (RFC 9114 section 3.1).
pub const ALPN: &[u8] = b"h3";
