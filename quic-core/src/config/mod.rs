//! What can be set, what it costs, and which values do not go together.
//!
//! A [`TransportConfig`] is shared by many connections; [`ClientConfig`] and [`ServerConfig`] pair
//! it with TLS; an [`EndpointConfig`] is about what connections share. Values that contradict each
//! other are refused with a [`ConfigError`] that says what to change. Defaults are meant for
//! programs that talk over the internet.

mod client;
mod endpoint;
mod error;
mod server;
mod tokens;
mod transport;
mod validation;
mod versions;

pub use client::ClientConfig;
pub use endpoint::{EndpointConfig, EndpointConfigBuilder};
pub use error::ConfigError;
pub use server::{PreferredAddresses, ServerConfig};
pub use tokens::{MAX_TOKEN_LEN, MemoryTokenStore, TokenScope, TokenStore};
pub use transport::{KeyUse, SpinBit, TransportConfig, TransportConfigBuilder};
pub use validation::{AddressValidation, RetryPolicy};
pub use versions::ClientVersions;
