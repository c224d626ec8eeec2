//! What happens in a connection, for those who want to know: logs, statistics, tests.
//!
//! There is one type of news, [`Event`], and one trait to hear it, [`Observer`]. The observers here
//! write qlog ([`QlogWriter`]), speak to `tracing` ([`TracingObserver`]) or remember the last
//! events ([`Recorder`]). With nobody listening, an event costs one branch and is never made.
//! [`Stats`] are plain counters that are always kept.
//!
//! What never lives here: files, clocks, and anything that a connection's behaviour depends on.

mod event;
mod json;
mod qlog;
mod qlog_data;
mod qlog_frames;
mod recorder;
mod stats;
#[cfg(test)]
mod tests;
mod text;
mod tracing;

pub use self::tracing::TracingObserver;
pub use event::{
    CongestionCause, ConnectionState, EcnChange, Event, Initiator, Packet, PathMetrics, PathState,
    StreamHalf, StreamState, Timer,
};
pub use qlog::{QlogWriter, TraceInfo};
pub use recorder::Recorder;
pub use stats::{DropCounts, Stats};

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::wire::header::{EncodedHeader, Header, PartialHeader};
use crate::wire::{ConnectionId, PacketNumber, Side};

/// Hears what happens in one connection.
///
/// It is called on the thread that drives the connection, and keeps it waiting.
pub trait Observer: Send {
    /// `event` happened at `now`.
    fn on_event(&mut self, now: Instant, event: &Event<'_>);
}

/// A connection that is about to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Which end this is.
    pub side: Side,
    /// The Destination Connection ID of the client's first Initial packet, which both ends know
    /// the connection by.
    pub original_dcid: ConnectionId,
}

/// Makes the observer of a new connection, or `None` if nobody wants to hear of it.
pub type ObserverFactory = Arc<dyn Fn(&ConnectionInfo) -> Option<Box<dyn Observer>> + Send + Sync>;

/// Makes the observers of each new connection.
#[derive(Clone, Default)]
pub struct ObserverFactories(Vec<ObserverFactory>);

impl ObserverFactories {
    /// Adds one more listener to each new connection.
    pub fn add(&mut self, factory: ObserverFactory) {
        self.0.push(factory);
    }

    /// The observers of `connection`.
    pub fn observers(&self, connection: &ConnectionInfo) -> Observers {
        Observers::new(self.0.iter().filter_map(|factory| factory(connection)).collect())
    }
}

impl fmt::Debug for ObserverFactories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObserverFactories({})", self.0.len())
    }
}

/// Everyone who listens to one connection, and its counters.
#[derive(Default)]
pub struct Observers {
    listeners: Vec<Box<dyn Observer>>,
    /// The counters; whoever does something counts it.
    pub stats: Stats,
}

impl Observers {
    /// These observers; none are as good.
    pub fn new(listeners: Vec<Box<dyn Observer>>) -> Self {
        Self { listeners, stats: Stats::default() }
    }

    /// True if somebody listens.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Tells everyone the event that `event` makes; does nothing if nobody listens.
    #[inline]
    pub fn emit<'a>(&mut self, now: Instant, event: impl FnOnce() -> Event<'a>) {
        if self.is_enabled() {
            self.dispatch(now, &event());
        }
    }

    #[cold]
    fn dispatch(&mut self, now: Instant, event: &Event<'_>) {
        for listener in &mut self.listeners {
            listener.on_event(now, event);
        }
    }

    /// Counts and tells a packet that is about to be sealed.
    ///
    /// `packet` is its plain text, from the first byte of the header to the end of the room for the
    /// tag, its length field filled in. `header` is where the parts of the header are and
    /// `payload_end` where the frames end, both counted from the start of `packet`.
    #[inline]
    pub fn packet_sent(
        &mut self,
        now: Instant,
        number: PacketNumber,
        header: &EncodedHeader,
        payload_end: usize,
        packet: &[u8],
    ) {
        self.stats.packets_sent += 1;
        if self.is_enabled() {
            let payload = packet.get(header.payload_offset()..payload_end).unwrap_or_default();
            self.tell_packet_sent(now, number, header.pn_offset, packet, payload);
        }
    }

    #[cold]
    fn tell_packet_sent(
        &mut self,
        now: Instant,
        number: PacketNumber,
        pn_offset: usize,
        packet: &[u8],
        payload: &[u8],
    ) {
        // In a short header, which does not tell its length, the connection ID is all that stands
        // between the first byte and the packet number.
        let short_cid_len = pn_offset.saturating_sub(1).min(ConnectionId::MAX_LEN);
        let Ok(Header::Protected(header)) = Header::decode_any(packet, short_cid_len) else {
            return;
        };
        self.dispatch(now, &Event::PacketSent(Packet::new(&header, number, packet.len(), payload)));
    }

    /// Counts and tells a packet that was opened: `size` is its length in bytes with header and
    /// tag, `payload` its plain text.
    #[inline]
    pub fn packet_received(
        &mut self,
        now: Instant,
        number: PacketNumber,
        header: &PartialHeader,
        size: usize,
        payload: &[u8],
    ) {
        self.stats.packets_received += 1;
        self.emit(now, || Event::PacketReceived(Packet::new(header, number, size, payload)));
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers")
            .field("listeners", &self.listeners.len())
            .field("stats", &self.stats)
            .finish()
    }
}
