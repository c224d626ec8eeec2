//! Events for the `tracing` crate.

use std::time::Instant;

use tracing::{Level, Span};

use super::{ConnectionInfo, Event, Observer};

/// Passes events on to `tracing`: what comes with every packet at level TRACE, the rest at DEBUG,
/// in a span per connection.
#[derive(Debug)]
pub struct TracingObserver {
    span: Span,
}

impl TracingObserver {
    /// An observer with a span of its own for the connection.
    pub fn new(info: &ConnectionInfo) -> Self {
        let (side, odcid) = (info.side, info.original_dcid);
        Self { span: tracing::debug_span!("quic", %side, %odcid) }
    }
}

impl Observer for TracingObserver {
    fn on_event(&mut self, _now: Instant, event: &Event<'_>) {
        let name = event.name();
        if event.is_frequent() {
            tracing::event!(parent: &self.span, Level::TRACE, name, "{event}");
        } else {
            tracing::event!(parent: &self.span, Level::DEBUG, name, "{event}");
        }
    }
}
