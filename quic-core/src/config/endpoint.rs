//! What connections of one endpoint share.

use std::sync::Arc;

use super::error::ConfigError;
use crate::cid::Generator;
use crate::crypto::ResetKey;
use crate::path::MIN_MAX_DATAGRAM;
use crate::wire::Version;

/// Settings of an endpoint: connection IDs, and limits on what strangers can make it do.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    connection_ids: Generator,
    reset_key: Option<ResetKey>,
    max_incoming: usize,
    max_incoming_bytes: usize,
    max_connections: usize,
    stateless_rate: u32,
    supported_versions: Arc<[Version]>,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            connection_ids: Generator::default(),
            reset_key: None,
            max_incoming: 1024,
            max_incoming_bytes: 4 << 20,
            max_connections: 1 << 16,
            stateless_rate: 1000,
            supported_versions: Version::KNOWN.into(),
        }
    }
}

impl EndpointConfig {
    /// Begins with the default of each setting.
    pub fn builder() -> EndpointConfigBuilder {
        EndpointConfigBuilder { config: Self::default(), connection_id_len: Generator::MIN_LEN }
    }

    /// Makes our connection IDs.
    pub fn connection_ids(&self) -> Generator {
        self.connection_ids
    }

    /// Where stateless reset tokens come from; `None` for a key that nobody else has.
    pub fn reset_key(&self) -> Option<&ResetKey> {
        self.reset_key.as_ref()
    }

    /// How many connections may wait to be accepted.
    pub fn max_incoming(&self) -> usize {
        self.max_incoming
    }

    /// Bytes of datagrams that connections which wait to be accepted may hold together.
    pub fn max_incoming_bytes(&self) -> usize {
        self.max_incoming_bytes
    }

    /// How many connections may exist at a time.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// How many packets a second are sent on behalf of no connection.
    pub fn stateless_rate(&self) -> u32 {
        self.stateless_rate
    }

    /// The versions that connections of clients may have, the preferred one first.
    pub fn supported_versions(&self) -> &Arc<[Version]> {
        &self.supported_versions
    }
}

/// Builds an [`EndpointConfig`].
#[derive(Clone, Debug)]
#[must_use = "settings take effect with `build`"]
pub struct EndpointConfigBuilder {
    config: EndpointConfig,
    connection_id_len: usize,
}

impl EndpointConfigBuilder {
    /// Bytes of our connection IDs, 8 to 20, which the peer puts into each packet. Default 8.
    pub fn connection_id_len(mut self, len: usize) -> Self {
        self.connection_id_len = len;
        self
    }

    /// Where stateless reset tokens come from. With a key that survives a restart, the peers of
    /// connections that were lost in it learn at once; no two endpoints that receive each other's
    /// packets may share it. Default: a random one.
    pub fn reset_key(mut self, key: ResetKey) -> Self {
        self.config.reset_key = Some(key);
        self
    }

    /// How many connections may wait to be accepted; clients beyond that are refused. Default 1024.
    pub fn max_incoming(mut self, count: usize) -> Self {
        self.config.max_incoming = count;
        self
    }

    /// Bytes of datagrams that connections which wait to be accepted may hold together. What
    /// exceeds it is dropped and sent again by the client. Default 4 MiB.
    pub fn max_incoming_bytes(mut self, bytes: usize) -> Self {
        self.config.max_incoming_bytes = bytes;
        self
    }

    /// How many connections may exist at a time, of both directions; clients beyond that are
    /// refused. An idle connection costs some ten kilobytes. Default 65,536.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.config.max_connections = count;
        self
    }

    /// How many packets a second are sent on behalf of no connection: Version Negotiation,
    /// refusals and stateless resets. Floods beyond it are dropped. Default 1000; 0 for none.
    pub fn stateless_rate(mut self, packets_per_second: u32) -> Self {
        self.config.stateless_rate = packets_per_second;
        self
    }

    /// The versions that connections of clients may have, the preferred one first: a client that
    /// begins with one and offers a preferred one as well is moved to that (RFC 9368, compatible
    /// version negotiation). Clients that begin with none of them are told what there is. What our
    /// own clients speak is said by [`ClientConfig`](super::ClientConfig). Default: versions 1 and 2,
    /// in this order, so that clients of version 1 stay with it.
    pub fn supported_versions(mut self, versions: impl Into<Vec<Version>>) -> Self {
        self.config.supported_versions = versions.into().into();
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// If values contradict each other or the protocol; the error says what to change.
    pub fn build(self) -> Result<EndpointConfig, ConfigError> {
        let mut config = self.config;
        config.connection_ids =
            Generator::new(self.connection_id_len).map_err(|_| ConfigError::ConnectionIdLength)?;
        if config.supported_versions.is_empty() {
            return Err(ConfigError::NoVersion);
        }
        if !config.supported_versions.iter().all(|version| version.is_known()) {
            return Err(ConfigError::VersionUnknown);
        }
        let least = if config.max_incoming == 0 { 0 } else { usize::from(MIN_MAX_DATAGRAM) };
        if config.max_incoming_bytes < least {
            return Err(ConfigError::MaxIncomingBytesTooLow);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused() {
        let refused = |builder: EndpointConfigBuilder| builder.build().unwrap_err();
        let builder = EndpointConfig::builder;
        assert_eq!(refused(builder().connection_id_len(7)), ConfigError::ConnectionIdLength);
        assert_eq!(refused(builder().connection_id_len(21)), ConfigError::ConnectionIdLength);
        assert_eq!(refused(builder().supported_versions([])), ConfigError::NoVersion);
        let unknown = builder().supported_versions([Version(2)]);
        assert_eq!(refused(unknown), ConfigError::VersionUnknown);
        let too_low = builder().max_incoming_bytes(1199);
        assert_eq!(refused(too_low), ConfigError::MaxIncomingBytesTooLow);
    }

    #[test]
    fn an_endpoint_can_be_told_to_accept_nobody() {
        let config = EndpointConfig::builder().max_incoming(0).max_incoming_bytes(0).build();
        assert_eq!(config.unwrap().max_incoming(), 0);
    }
}
