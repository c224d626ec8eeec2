//! QUIC endpoints on tokio: one driver task per UDP socket, and handles for its connections and
//! their streams.
//!
//! [`Endpoint`] is a socket, [`Connection`] a connection of it, [`SendStream`] and [`RecvStream`]
//! are the halves of a stream. All of the protocol is in `quic-core`; here it meets a socket, a
//! clock and tasks.
//!
//! * What ends how is explicit: a stream is finished only by [`SendStream::finish`], and a handle
//!   that is dropped early tells the peer that something is missing.
//! * Each async method says whether it is cancel safe.
//! * Errors are small and say which of the things that can happen did; see [`WriteError`],
//!   [`ReadError`], [`OpenError`], [`ConnectError`] and [`ConnectionError`].
//!
//! ```no_run
//! # async fn example(config: quic_core::config::ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use quic_tokio::Endpoint;
//!
//! let endpoint = Endpoint::client(config, "[::]:0".parse()?)?;
//! let connection = endpoint.connect("[2001:db8::1]:4433".parse()?, "example.org").await?;
//! let (mut send, mut recv) = connection.open_bi().await?;
//! send.write_all(b"hello").await?;
//! send.finish()?;
//! let answer = recv.read_to_end(1 << 20).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod builder;
mod connect_error;
mod connection;
mod driver;
mod endpoint;
mod error;
mod incoming;
mod move_error;
mod observers;
mod recv_stream;
mod send_stream;
mod stats;
mod udp;
mod wait;

pub use builder::EndpointBuilder;
pub use connect_error::ConnectError;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::{Delivery, OpenError, ReadError, ReadToEndError, WriteError};
pub use incoming::Incoming;
pub use move_error::MoveError;
pub use recv_stream::RecvStream;
pub use send_stream::SendStream;
pub use stats::EndpointStats;

pub use quic_core::config::{
    AddressValidation, ClientConfig, ConfigError, EndpointConfig, KeyUse, MemoryTokenStore,
    PreferredAddresses, RetryPolicy, ServerConfig, SpinBit, TokenScope, TokenStore,
    TransportConfig,
};
pub use quic_core::connection::{EarlyData, MigrateError};
pub use quic_core::crypto::{KeyUpdateRefused, SessionMemory, TokenKey};
pub use quic_core::endpoint::{AcceptError, ConnectError as BeginError};
pub use quic_core::error::ConnectionError;
pub use quic_core::observe::Stats;
pub use quic_core::path::AddressProof;
pub use quic_core::stream::Priority;
pub use quic_core::wire::Version;
pub use quic_core::wire::{Dir, Side, StreamId, VarInt};
