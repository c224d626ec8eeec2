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
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        // With one writer a load and a store do, which are cheaper than an addition in memory.
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }
}
