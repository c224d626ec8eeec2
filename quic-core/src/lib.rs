//! A sans-IO QUIC version 1 transport: no clock, no sockets, no tasks.
//!
//! This crate is a state machine: datagrams and the current time go in, datagrams, deadlines and
//! events come out. It draws no randomness of its own either; the caller hands all of these in, so
//! a run with the same inputs is the same run.
//!
//! # The rooms of the house
//!
//! The modules are declared from the bottom layer up, a blank line between layers; a module uses
//! only those of layers above its own in the list.
//!
//! * [`util`] knows nothing of QUIC: range sets, windowed extremes, the random generator.
//! * [`wire`] is the byte formats: headers, frames, transport parameters, code points.
//! * [`error`] is what can go wrong, in three types: drop a packet, close, closed. It names the
//!   code points of `wire`, and the decoders of `wire` name its violations.
//! * [`buffer`] puts received bytes into order and keeps sent bytes until they are acknowledged.
//! * [`shared`] is the few types that application tasks and the driver both touch.
//! * [`observe`] is what happens in a connection, for logs, statistics and tests.
//! * [`crypto`] is TLS and the keys that come out of it: packets are opened and sealed in place.
//! * [`congestion`] decides how many bytes may be in flight, and spreads them over the round trip.
//! * [`recovery`] remembers sent packets and finds out what became of them.
//! * [`stream`] is all streams of a connection: their states, data, flow control and turns.
//! * [`link`] is what a driver does between `shared` and `stream`.
//! * [`cid`] is the connection IDs that each side has issued, until they are given back.
//! * `space` is what was received in each packet number space, and its CRYPTO stream.
//! * [`path`] is what belongs to one network path, and the border types of a datagram.
//! * [`config`] is what can be set, checked before it is used.
//! * [`connection`] moves packets through all of the above: a datagram in, a datagram out.
//! * [`endpoint`] is many connections on one socket, and how to treat strangers.

#![forbid(unsafe_code)]

pub mod util;

pub mod wire;

pub mod error;

pub mod buffer;

pub mod shared;

pub mod observe;

pub mod crypto;

pub mod congestion;

pub mod recovery;

pub mod stream;

pub mod link;

mod space;

pub mod cid;

pub mod path;

pub mod config;

pub mod connection;

pub mod endpoint;

#[doc(hidden)]
pub mod fuzz;

pub use buffer::Train;
pub use path::{DatagramMeta, Ecn, SocketId, Transmit};
