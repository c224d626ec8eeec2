//! The settings of a connection one by one, with their units and costs.

use std::time::Duration;

use super::{KeyUse, SpinBit, TransportConfig};
use crate::config::ConfigError;
use crate::congestion::CongestionAlgorithm;
use crate::observe::ObserverFactory;

/// Builds a [`TransportConfig`].
#[derive(Clone, Debug)]
#[must_use = "settings take effect with `build`"]
pub struct TransportConfigBuilder {
    config: TransportConfig,
}

impl TransportConfigBuilder {
    pub(super) fn new() -> Self {
        Self { config: TransportConfig::default() }
    }

    /// A connection on which nothing was heard for this long is given up silently; the smaller
    /// value of both sides counts. With `None`, peers that vanish cost memory for ever. Default
    /// 30 s.
    pub fn max_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.max_idle_timeout = timeout;
        self
    }

    /// A handshake that takes longer than this is given up. Longer values let clients that never
    /// finish hold memory for longer. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.handshake_timeout = timeout;
        self
    }

    /// After this much silence a PING is sent, which keeps the connection and the state of
    /// middleboxes alive at the cost of a packet each way. One side is enough. Default `None`.
    pub fn keep_alive_interval(mut self, interval: Option<Duration>) -> Self {
        self.config.keep_alive_interval = interval;
        self
    }

    /// How long the peer must expect an acknowledgement to be held back, in steps of a millisecond.
    /// Longer values save packets and make the peer detect losses later. Default 25 ms.
    pub fn max_ack_delay(mut self, delay: Duration) -> Self {
        self.config.max_ack_delay = delay;
        self
    }

    /// How many connection IDs of the peer are kept, 2 to 16; each costs some 60 bytes. Default 4.
    pub fn active_connection_id_limit(mut self, limit: u64) -> Self {
        self.config.active_connection_id_limit = limit;
        self
    }

    /// Whether peers are told that the fixed bit of packets need not be set, and whether it is random
    /// in packets to peers that say the same (RFC 9287). Without it, packets whose fixed bit is zero
    /// are dropped. Default true.
    pub fn grease_quic_bit(mut self, enabled: bool) -> Self {
        self.config.grease_quic_bit = enabled;
        self
    }

    /// What the latency spin bit is. Default zero.
    pub fn spin_bit(mut self, spin_bit: SpinBit) -> Self {
        self.config.spin_bit = spin_bit;
        self
    }

    /// After how much use 1-RTT keys are updated, as soon as the protocol allows it: once the
    /// handshake is confirmed, and three probe timeouts after the peer has followed the last update.
    /// Keys are also updated well before the limits of their cipher suite. Default: by those alone.
    pub fn key_update_after(mut self, most: KeyUse) -> Self {
        self.config.key_update_after = most;
        self
    }

    /// Whether a client moves to the address that its server would rather be talked to at, if it
    /// answers there (RFC 9000 section 9.6). Default true.
    pub fn follow_preferred_address(mut self, follow: bool) -> Self {
        self.config.preferred_address = follow;
        self
    }

    /// Whether the peer may move to another address, which is followed after path validation
    /// (RFC 9000 section 9). If not, the peer is told, and what comes from another address is
    /// dropped: a client behind a NAT that forgets it loses its connection. Default true.
    // req 9000-9-172
    pub fn allow_migration(mut self, allowed: bool) -> Self {
        self.config.migration = allowed;
        self
    }

    /// Bytes that the peer may send on a new stream before any of it was read. A stream is no
    /// faster at first than this per round trip. Default 1 MiB.
    pub fn initial_stream_window(mut self, bytes: u64) -> Self {
        let streams = &mut self.config.streams;
        streams.initial_max_stream_data_bidi_local = bytes;
        streams.initial_max_stream_data_bidi_remote = bytes;
        streams.initial_max_stream_data_uni = bytes;
        self
    }

    /// Bytes up to which the window of a stream grows while its reader keeps up. Default 16 MiB.
    pub fn max_stream_window(mut self, bytes: u64) -> Self {
        self.config.streams.max_stream_window = bytes;
        self
    }

    /// Bytes that the peer may send at first on all streams together. Default 1.5 MiB.
    pub fn initial_connection_window(mut self, bytes: u64) -> Self {
        self.config.streams.initial_max_data = bytes;
        self
    }

    /// Bytes up to which the window of the connection grows while readers keep up: what a peer can
    /// make us hold if they stop. Best at least 1.5 times `max_stream_window`. Default 24 MiB.
    pub fn max_connection_window(mut self, bytes: u64) -> Self {
        self.config.streams.max_connection_window = bytes;
        self
    }

    /// Bytes of memory for received data, with the overhead of small fragments, beyond which the
    /// connection is closed. Default 72 MiB.
    pub fn receive_memory(mut self, bytes: usize) -> Self {
        self.config.streams.receive_memory = bytes;
        self
    }

    /// How many bidirectional streams of the peer may be open at a time; 0 for none. Memory is
    /// used by streams that exist, not by the limit. Default 100.
    pub fn max_bidi_streams(mut self, count: u64) -> Self {
        self.config.streams.initial_max_streams_bidi = count;
        self
    }

    /// The same for unidirectional streams; HTTP/3 needs three. Default 100.
    // req 9114-6.2-122
    pub fn max_uni_streams(mut self, count: u64) -> Self {
        self.config.streams.initial_max_streams_uni = count;
        self
    }

    /// Bytes that may be written to a stream beyond what the peer has acknowledged: a stream is no
    /// faster than this per round trip, and can hold so much memory. Default 4 MiB.
    pub fn stream_send_window(mut self, bytes: u64) -> Self {
        self.config.streams.stream_send_window = bytes;
        self
    }

    /// The same for all streams of a connection together. Default 16 MiB.
    pub fn send_budget(mut self, bytes: u64) -> Self {
        self.config.streams.send_budget = bytes;
        self
    }

    /// How congestion is controlled. Default CUBIC.
    pub fn congestion(mut self, algorithm: CongestionAlgorithm) -> Self {
        self.config.recovery.congestion = algorithm;
        self
    }

    /// The round-trip time assumed before the first measurement. A value below the real one sends
    /// the first packets twice. Default 333 ms.
    pub fn initial_rtt(mut self, rtt: Duration) -> Self {
        self.config.recovery.initial_rtt = rtt;
        self
    }

    /// Bytes of UDP payload that are taken to pass the path from the first datagram on. Above
    /// 1200, connections fail on paths that cannot carry it. Default 1200.
    // req 9000-14.1-350
    pub fn initial_mtu(mut self, bytes: u16) -> Self {
        self.config.recovery.mtu.initial = bytes;
        self
    }

    /// Bytes of UDP payload up to which larger datagrams are tried at the cost of a few probes;
    /// equal to `initial_mtu` for no search. Default 1452.
    pub fn mtu_upper_bound(mut self, bytes: u16) -> Self {
        self.config.recovery.mtu.upper_bound = bytes;
        self
    }

    /// Whether packets are marked so that routers can signal congestion without loss, where the
    /// path turns out to support that. Default true.
    pub fn ecn(mut self, enabled: bool) -> Self {
        self.config.recovery.ecn = enabled;
        self
    }

    /// Whether packets are spread over the round trip instead of sent in bursts, which avoids
    /// losses in short queues and costs timers. Default true.
    pub fn pacing(mut self, enabled: bool) -> Self {
        self.config.recovery.pacing = enabled;
        self
    }

    /// Adds someone who listens to the events of each connection: `factory` is called once per
    /// connection. What listens is called for every packet; with nobody listening, events cost
    /// nothing.
    pub fn observer(mut self, factory: ObserverFactory) -> Self {
        self.config.observers.add(factory);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// If values contradict each other or the protocol; the error says what to change.
    pub fn build(self) -> Result<TransportConfig, ConfigError> {
        self.config.check()?;
        Ok(self.config)
    }
}
