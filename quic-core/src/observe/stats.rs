//! Counters of one connection.

use std::fmt;

use super::PathMetrics;
use crate::error::Discard;

/// Counters and present values of one connection. Bytes are those of UDP payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes sent, in datagrams.
    pub bytes_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes received, in datagrams.
    pub bytes_received: u64,
    /// Packets sent; a datagram can carry several.
    pub packets_sent: u64,
    /// Packets received and opened.
    pub packets_received: u64,
    /// 0-RTT packets among those sent.
    pub early_packets_sent: u64,
    /// 0-RTT packets among those received and opened.
    pub early_packets_received: u64,
    /// Packets received and dropped, by reason.
    pub packets_dropped: DropCounts,
    /// Packets sent and declared lost.
    pub packets_lost: u64,
    /// Bytes of the packets declared lost.
    pub bytes_lost: u64,
    /// Packets declared lost that were acknowledged after all.
    pub spurious_losses: u64,
    /// How often the congestion window was reduced, for loss or for ECN.
    pub congestion_events: u64,
    /// How often nothing at all came through for so long that the window fell to its minimum.
    pub persistent_congestion_events: u64,
    /// How often a probe timeout passed.
    pub probe_timeouts: u64,
    /// Retry packets that were followed: 0 or 1, and at a client only.
    pub retries: u64,
    /// How often 1-RTT keys were updated, by either side.
    pub key_updates: u64,
    /// How often another path came into use: because the peer or this side moved, or because
    /// nobody answered there.
    pub migrations: u64,
    /// How many validations of paths, by this side, nobody has answered.
    pub path_validations_failed: u64,
    /// Streams that this side opened, bidirectional and unidirectional.
    pub streams_opened: u64,
    /// Streams that the peer opened, bidirectional and unidirectional.
    pub streams_accepted: u64,
    /// Bidirectional streams of the peer that are not over: the application still has them, or not
    /// all of our data on them is acknowledged, or not all of the peer's was read or refused.
    pub peer_streams_open: u64,
    /// Received datagrams marked ECT(0).
    pub ecn_ect0_received: u64,
    /// Received datagrams marked ECT(1).
    pub ecn_ect1_received: u64,
    /// Received datagrams marked CE.
    pub ecn_ce_received: u64,
    /// The current path.
    pub path: PathMetrics,
}

impl Stats {
    /// Counts a received datagram of `bytes` bytes.
    #[inline]
    pub fn on_datagram_received(&mut self, bytes: usize) {
        self.datagrams_received += 1;
        self.bytes_received += bytes as u64;
    }

    /// Counts `datagrams` sent datagrams of `bytes` bytes together.
    #[inline]
    pub fn on_datagrams_sent(&mut self, datagrams: usize, bytes: usize) {
        self.datagrams_sent += datagrams as u64;
        self.bytes_sent += bytes as u64;
    }

    /// Counts a packet that was dropped.
    #[inline]
    pub fn on_packet_dropped(&mut self, reason: Discard) {
        self.packets_dropped.add(reason);
    }

    /// Counts a sent packet of `bytes` bytes that was declared lost.
    #[inline]
    pub fn on_packet_lost(&mut self, bytes: usize) {
        self.packets_lost += 1;
        self.bytes_lost += bytes as u64;
    }
}

/// How many packets were dropped for each reason.
#[derive(Clone, PartialEq, Eq)]
pub struct DropCounts([u64; Discard::ALL.len()]);

impl DropCounts {
    fn add(&mut self, reason: Discard) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Packets dropped for `reason`.
    pub fn get(&self, reason: Discard) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Packets dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons for which packets were dropped, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> {
        Discard::ALL.iter().map(|reason| (*reason, self.get(*reason))).filter(|(_, n)| *n > 0)
    }
}

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; Discard::ALL.len()])
    }
}

impl fmt::Debug for DropCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
