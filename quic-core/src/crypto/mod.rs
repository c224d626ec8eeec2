//! Packet protection and the TLS handshake (RFC 9001), on top of rustls.
//!
//! What lives here: the [`Session`] that turns CRYPTO data into keys, the [`Keyring`] that holds
//! all keys of a connection and opens and seals packets with them in place, the integrity tag of
//! Retry packets, and the keys that stateless reset tokens and address-validation tokens come from.
//!
//! What never lives here: CRYPTO frames and their order, when a packet number space ends, and
//! which packets to send. Nothing here allocates per packet.
//!
//! A received packet changes its type on the way in, so that no step can be left out:
//! `Protected` (as it came from the wire) → `Unprotected` (packet number known, not yet authentic)
//! → [`Opened`] (authentic). The way out is one step, [`Keyring::seal`].

mod client_hello;
mod config;
mod initial;
mod key_update;
mod keyring;
mod keys;
mod open;
mod reset;
pub mod retry;
mod seal;
mod session;
mod session_guard;
mod session_memory;
#[cfg(test)]
mod tests;
mod token;
mod traffic_keys;
mod version_scope;

pub(crate) use client_hello::ClientHello;
pub use config::{
    client_config, client_config_with, provider_with_suites, server_config, server_config_with,
};
pub use key_update::{KeyUpdateProgress, KeyUpdateRefused};
pub use keyring::Keyring;
pub use keys::{EarlyKeys, KeyChange, TAG_LEN};
pub use open::{OpenError, Opened};
pub use reset::ResetKey;
pub use session::{EarlyVerdict, Session, TlsFailure};
pub use session_guard::SessionGuard;
pub use session_memory::{SessionMemory, SessionSlot};
pub use token::{TokenId, TokenKey};
