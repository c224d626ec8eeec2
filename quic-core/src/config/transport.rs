//! What each connection lives by.

use std::time::Duration;

use super::error::ConfigError;
use crate::observe::{ConnectionInfo, ObserverFactories, ObserverFactory, Observers};
use crate::path::MIN_MAX_DATAGRAM;
use crate::recovery::{MAX_DATAGRAM_SIZE, RecoveryConfig};
use crate::stream::StreamConfig;
use crate::wire::{StreamId, TransportParameters, varint};

mod builder;
#[cfg(test)]
mod tests;

pub use builder::TransportConfigBuilder;

/// max_ack_delay is below 2^14 milliseconds (RFC 9000 section 18.2).
const MAX_ACK_DELAY_END: Duration = Duration::from_millis(1 << 14);
/// How late a timer may be on a machine that is not overloaded.
const TIMER_DELAY: Duration = Duration::from_millis(1);
/// More connection IDs than anyone has paths for.
const MAX_CONNECTION_ID_LIMIT: u64 = 16;

/// Settings of connections: timeouts, windows, memory, datagram size, congestion control.
///
/// ```
/// use std::time::Duration;
///
/// use quic_core::config::TransportConfig;
///
/// let config = TransportConfig::builder()
///     .max_idle_timeout(Some(Duration::from_secs(60)))
///     .keep_alive_interval(Some(Duration::from_secs(20)))
///     .build()?;
/// assert_eq!(config.keep_alive_interval(), Some(Duration::from_secs(20)));
/// # Ok::<(), quic_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransportConfig {
    max_idle_timeout: Option<Duration>,
    handshake_timeout: Duration,
    keep_alive_interval: Option<Duration>,
    max_ack_delay: Duration,
    active_connection_id_limit: u64,
    grease_quic_bit: bool,
    spin_bit: SpinBit,
    key_update_after: KeyUse,
    migration: bool,
    preferred_address: bool,
    streams: StreamConfig,
    recovery: RecoveryConfig,
    observers: ObserverFactories,
}

/// What the latency spin bit is (RFC 9000, section 17.4). It never tells observers anything here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpinBit {
    /// Always zero.
    #[default]
    Zero,
    /// Another random value in each packet, so that nobody comes to rely on it.
    Random,
}

/// After how much use 1-RTT keys are updated, beside the limits of the cipher suite; see
/// [`TransportConfigBuilder::key_update_after`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// Packets sent with one key; `None` for no matter how many.
    pub packets: Option<u64>,
    /// Bytes of packets sent with one key; `None` for no matter how many.
    pub bytes: Option<u64>,
}

impl KeyUse {
    /// True if so much use is as much as this or more.
    pub(crate) fn is_reached(&self, packets: u64, bytes: u64) -> bool {
        self.packets.is_some_and(|most| packets >= most)
            || self.bytes.is_some_and(|most| bytes >= most)
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            max_idle_timeout: Some(Duration::from_secs(30)),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_interval: None,
            max_ack_delay: Duration::from_millis(25),
            active_connection_id_limit: 4,
            grease_quic_bit: true,
            spin_bit: SpinBit::default(),
            key_update_after: KeyUse::default(),
            migration: true,
            preferred_address: true,
            streams: StreamConfig::default(),
            recovery: RecoveryConfig::default(),
            observers: ObserverFactories::default(),
        }
    }
}

impl TransportConfig {
    /// Begins with the default of each setting.
    pub fn builder() -> TransportConfigBuilder {
        TransportConfigBuilder::new()
    }

    /// After how much silence a connection is given up; the peer may want less.
    pub fn max_idle_timeout(&self) -> Option<Duration> {
        self.max_idle_timeout
    }

    /// How long a handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// After how much silence a PING keeps the connection alive.
    pub fn keep_alive_interval(&self) -> Option<Duration> {
        self.keep_alive_interval
    }

    /// How long an acknowledgement may be held back on purpose: a little less than the peer is
    /// told, as timers are late.
    // req 9000-18.2-426
    pub fn max_ack_delay(&self) -> Duration {
        self.max_ack_delay.saturating_sub(TIMER_DELAY)
    }

    /// How many connection IDs of the peer are kept.
    pub fn active_connection_id_limit(&self) -> u64 {
        self.active_connection_id_limit
    }

    /// Whether the fixed bit of packets may be anything, both ways where the peer agrees (RFC 9287).
    pub fn grease_quic_bit(&self) -> bool {
        self.grease_quic_bit
    }

    /// What the latency spin bit of 1-RTT packets is.
    pub fn spin_bit(&self) -> SpinBit {
        self.spin_bit
    }

    /// After how much use 1-RTT keys are updated.
    pub fn key_update_after(&self) -> KeyUse {
        self.key_update_after
    }

    /// Whether a client moves to the preferred address of its server.
    pub fn follows_preferred_address(&self) -> bool {
        self.preferred_address
    }

    /// Whether the peer may move to another address.
    pub fn allows_migration(&self) -> bool {
        self.migration
    }

    /// Windows and memory of streams.
    pub fn streams(&self) -> &StreamConfig {
        &self.streams
    }

    /// Congestion control, datagram size, ECN.
    pub fn recovery(&self) -> &RecoveryConfig {
        &self.recovery
    }

    /// Who listens to a new connection.
    /// The same with someone more who listens to the events of each connection.
    #[must_use]
    pub fn with_observer(mut self, factory: ObserverFactory) -> Self {
        self.observers.add(factory);
        self
    }

    pub(crate) fn observers(&self, connection: &ConnectionInfo) -> Observers {
        self.observers.observers(connection)
    }

    /// What the peer is told of these settings. Connection IDs and the reset token are not settings
    /// and are missing.
    // req 9000-5.2.3-073
    pub fn transport_parameters(&self) -> TransportParameters {
        let streams = &self.streams;
        TransportParameters {
            max_idle_timeout_ms: self.max_idle_timeout.map_or(0, whole_millis),
            initial_max_data: streams.initial_max_data,
            initial_max_stream_data_bidi_local: streams.initial_max_stream_data_bidi_local,
            initial_max_stream_data_bidi_remote: streams.initial_max_stream_data_bidi_remote,
            initial_max_stream_data_uni: streams.initial_max_stream_data_uni,
            initial_max_streams_bidi: streams.initial_max_streams_bidi,
            initial_max_streams_uni: streams.initial_max_streams_uni,
            max_ack_delay_ms: whole_millis(self.max_ack_delay),
            active_connection_id_limit: self.active_connection_id_limit,
            grease_quic_bit: self.grease_quic_bit,
            disable_active_migration: !self.migration,
            ..TransportParameters::default()
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_timeouts()?;
        self.check_windows()?;
        self.check_path()
    }

    fn check_timeouts(&self) -> Result<(), ConfigError> {
        let idle = self.max_idle_timeout.unwrap_or(Duration::MAX);
        let keep_alive = self.keep_alive_interval;
        require(!self.handshake_timeout.is_zero(), ConfigError::HandshakeTimeoutZero)?;
        require(self.max_ack_delay < MAX_ACK_DELAY_END, ConfigError::AckDelayTooLong)?;
        require(idle >= Duration::from_millis(1), ConfigError::IdleTimeoutZero)?;
        require(idle >= self.handshake_timeout, ConfigError::IdleTimeoutBelowHandshakeTimeout)?;
        require(keep_alive.is_none_or(|at| !at.is_zero()), ConfigError::KeepAliveZero)?;
        require(keep_alive.is_none_or(|at| at < idle), ConfigError::KeepAliveTooLate)
    }

    fn check_windows(&self) -> Result<(), ConfigError> {
        let streams = &self.streams;
        let stream_window = streams
            .initial_max_stream_data_bidi_local
            .max(streams.initial_max_stream_data_bidi_remote)
            .max(streams.initial_max_stream_data_uni);
        let window = streams.initial_max_data;
        let cap = streams.max_connection_window;
        let memory = streams.receive_memory as u64;
        let count = streams.initial_max_streams_bidi.max(streams.initial_max_streams_uni);
        require(stream_window <= window, ConfigError::StreamWindowAboveConnectionWindow)?;
        require(stream_window <= streams.max_stream_window, ConfigError::StreamWindowAboveCap)?;
        require(window <= cap, ConfigError::ConnectionWindowAboveCap)?;
        require(streams.max_stream_window <= cap, ConfigError::StreamCapAboveConnectionCap)?;
        require(cap <= varint::MAX, ConfigError::WindowTooLarge)?;
        require(memory >= cap, ConfigError::MemoryBelowConnectionWindow)?;
        require(count <= StreamId::MAX_COUNT, ConfigError::TooManyStreams)?;
        require(streams.stream_send_window > 0, ConfigError::SendWindowZero)?;
        require(
            streams.stream_send_window <= streams.send_budget,
            ConfigError::SendWindowAboveBudget,
        )
    }

    fn check_path(&self) -> Result<(), ConfigError> {
        let mtu = &self.recovery.mtu;
        let ids = self.active_connection_id_limit;
        // req 9000-18.2-432
        require(ids >= 2, ConfigError::ConnectionIdLimitTooLow)?;
        require(ids <= MAX_CONNECTION_ID_LIMIT, ConfigError::ConnectionIdLimitTooHigh)?;
        require(
            self.recovery.initial_rtt >= Duration::from_millis(1),
            ConfigError::InitialRttTooShort,
        )?;
        require(mtu.initial >= MIN_MAX_DATAGRAM, ConfigError::MtuTooLow)?;
        require(mtu.initial <= mtu.upper_bound, ConfigError::MtuAboveUpperBound)?;
        require(mtu.upper_bound <= MAX_DATAGRAM_SIZE, ConfigError::MtuUpperBoundTooHigh)
    }
}

fn require(condition: bool, otherwise: ConfigError) -> Result<(), ConfigError> {
    if condition { Ok(()) } else { Err(otherwise) }
}

/// Milliseconds, rounded up, as far as a transport parameter can say them.
fn whole_millis(duration: Duration) -> u64 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(varint::MAX).min(varint::MAX)
}
