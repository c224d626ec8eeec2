//! How a server makes sure that clients are where they say.

use std::time::Duration;

use crate::crypto::TokenKey;

/// When a server asks clients to prove their address with a Retry packet, before it keeps anything
/// about them (RFC 9000 section 8.1). It costs the client a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Only when the application asks for it, client by client.
    Never,
    /// While at least so many connections have begun and not yet completed their handshake, those
    /// that wait to be accepted included: a sign of a flood, perhaps with forged addresses.
    WhenBusy {
        /// The number from which on clients are asked.
        half_open: usize,
    },
    /// Each client that does not bring a valid token.
    Always,
}

impl Default for RetryPolicy {
    /// While a thousand connections are half open.
    fn default() -> Self {
        Self::WhenBusy { half_open: 1000 }
    }
}

/// How a server validates the addresses of clients: Retry packets, and tokens for the next
/// connection of a client (NEW_TOKEN).
#[derive(Clone, Debug)]
pub struct AddressValidation {
    retry: RetryPolicy,
    key: Option<TokenKey>,
    retry_lifetime: Duration,
    token_lifetime: Duration,
    tokens_per_connection: usize,
}

impl AddressValidation {
    /// The most tokens that a client is given on one connection.
    pub const MAX_TOKENS_PER_CONNECTION: usize = 8;

    /// The defaults: Retry when a thousand connections are half open, one token for each client, a
    /// key that no other endpoint has.
    pub fn new() -> Self {
        Self {
            retry: RetryPolicy::default(),
            key: None,
            retry_lifetime: Duration::from_secs(15),
            token_lifetime: Duration::from_secs(24 * 60 * 60),
            tokens_per_connection: 1,
        }
    }

    /// When clients are asked to prove their address. Default: while 1000 connections are half open.
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self }
    }

    /// The key of all tokens. Servers that share it accept each other's tokens: needed where the
    /// packets of a client may reach another server after a Retry, and of use where it may connect
    /// to another one next time. Their clocks must agree to a few seconds. Each of them accepts a
    /// token once. Default: a random key, new with each endpoint.
    #[must_use]
    pub fn key(self, key: TokenKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// For how long the token of a Retry packet is accepted. Clients return it at once, but may
    /// have to do so several times. Default 15 seconds.
    #[must_use]
    pub fn retry_lifetime(self, lifetime: Duration) -> Self {
        Self { retry_lifetime: lifetime, ..self }
    }

    /// For how long tokens for later connections are accepted. Default one day.
    #[must_use]
    pub fn token_lifetime(self, lifetime: Duration) -> Self {
        Self { token_lifetime: lifetime, ..self }
    }

    /// How many tokens for later connections a client is given on each connection, at most
    /// [`AddressValidation::MAX_TOKENS_PER_CONNECTION`]; 0 for none. Each is good for one
    /// connection from the same IP address. Default 1.
    // req 9000-8.1.3-125
    #[must_use]
    pub fn tokens_per_connection(self, count: usize) -> Self {
        let tokens_per_connection = count.min(Self::MAX_TOKENS_PER_CONNECTION);
        Self { tokens_per_connection, ..self }
    }

    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        self.retry
    }

    pub(crate) fn token_key(&self) -> Option<&TokenKey> {
        self.key.as_ref()
    }

    pub(crate) fn lifetime_of_retry(&self) -> Duration {
        self.retry_lifetime
    }

    pub(crate) fn lifetime_of_tokens(&self) -> Duration {
        self.token_lifetime
    }

    pub(crate) fn new_tokens(&self) -> usize {
        self.tokens_per_connection
    }
}

impl Default for AddressValidation {
    fn default() -> Self {
        Self::new()
    }
}
