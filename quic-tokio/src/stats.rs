//! Counters of a socket.

use std::sync::atomic::{AtomicU64, Ordering};

use quic_core::buffer::Occupancy;

/// Defines the counters once for the driver, which counts, and once for those who read them.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident)+) => {
        /// What an endpoint's socket and its driver have done so far.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct EndpointStats {
            /// Connections that exist now, with those that are closing.
            pub connections: usize,
            /// Slabs of receive memory that exist. There are more the more data readers hold, up to
            /// [`receive_memory`](crate::EndpointBuilder::receive_memory).
            pub slabs: usize,
            /// Slabs of which no reader holds anything, neither in a stream nor as a chunk that it
            /// has taken out.
            pub slabs_free: usize,
            $($(#[$doc])* pub $name: u64,)+
        }

        /// The same, counted by the driver alone.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            pub(crate) slabs: Occupancy,
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self, connections: usize) -> EndpointStats {
                EndpointStats {
                    connections,
                    slabs: self.slabs.total(),
                    slabs_free: self.slabs.free(),
                    $($name: self.$name.0.load(Ordering::Relaxed),)+
                }
            }
        }
    };
}

counters! {
    /// How often the driver was run.
    wake_ups
    /// System calls that received at least one datagram.
    recv_calls
    /// Datagrams received.
    datagrams_received
    /// Bytes of their payload.
    bytes_received
    /// Buffers handed to the core that must not be kept, because slow readers held all others.
    scratch_receives
    /// System calls that sent at least one datagram.
    send_calls
    /// Datagrams sent.
    datagrams_sent
    /// Bytes of their payload.
    bytes_sent
    /// How often the socket took no more for the moment.
    send_blocked
    /// System calls that failed to send; the datagrams count as lost.
    send_errors
    /// System calls that failed to receive, for instance because a port was unreachable.
    recv_errors
    /// Retry packets sent: clients were asked to prove their address.
    retries_sent
    /// Tokens for later connections given to clients.
    tokens_issued
    /// Valid tokens that clients came with, of Retry packets and of earlier connections.
    tokens_accepted
    /// Tokens that were not ours, or damaged.
    tokens_unreadable
    /// Tokens that were too old.
    tokens_expired
    /// Tokens that were given to clients elsewhere, or for other connections.
    tokens_misplaced
    /// Tokens that were used before.
    tokens_replayed
}

impl Counters {
    /// Takes over what the core has counted.
    pub(crate) fn take_over(&self, core: &quic_core::endpoint::EndpointStats) {
        let tokens = &core.tokens;
        self.retries_sent.set(core.retries);
        self.tokens_issued.set(core.tokens_issued);
        self.tokens_accepted.set(tokens.retry + tokens.earlier);
        self.tokens_unreadable.set(tokens.unreadable);
        self.tokens_expired.set(tokens.expired);
        self.tokens_misplaced.set(tokens.other_address + tokens.other_connection);
        self.tokens_replayed.set(tokens.replayed);
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Takes over what was counted elsewhere.
    fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, n: u64) {
        // With one writer a load and a store do, which are cheaper than an addition in memory.
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }
}
