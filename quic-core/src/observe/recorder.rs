//! The last events of a connection, as text: what a failing test shows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Event, Observer};

/// Remembers the last events, one readable line each.
///
/// Clones share what they remember: one is given to the connection, the other asked.
#[derive(Clone, Debug)]
pub struct Recorder {
    label: String,
    start: Instant,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug)]
struct Lines {
    capacity: usize,
    forgotten: u64,
    kept: VecDeque<String>,
}

impl Recorder {
    /// Remembers up to `capacity` events; times are counted from `start`, and each line begins with
    /// `label`, for instance the name of the side.
    pub fn new(label: impl Into<String>, start: Instant, capacity: usize) -> Self {
        let lines = Lines { capacity, forgotten: 0, kept: VecDeque::new() };
        Self { label: label.into(), start, lines: Arc::new(Mutex::new(lines)) }
    }

    /// Another label that writes into the same record, so that both sides appear in order.
    #[must_use]
    pub fn labelled(&self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self.clone() }
    }

    /// The lines that are remembered, the oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.with(|lines| lines.kept.iter().cloned().collect())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Lines) -> T) -> T {
        f(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Recorder {
    fn on_event(&mut self, now: Instant, event: &Event<'_>) {
        let millis = now.saturating_duration_since(self.start).as_secs_f64() * 1e3;
        let line = format!("{millis:>11.3} {:<6} {:<24} {event}", self.label, event.name());
        self.with(|lines| {
            if lines.kept.len() >= lines.capacity {
                lines.kept.pop_front();
                lines.forgotten += 1;
            }
            if lines.capacity > 0 {
                lines.kept.push_back(line);
            }
        });
    }
}

/// All lines; first how many events were forgotten, if any were.
impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|lines| {
            if lines.forgotten > 0 {
                writeln!(f, "({} earlier events forgotten)", lines.forgotten)?;
            }
            lines.kept.iter().try_for_each(|line| writeln!(f, "{line}"))
        })
    }
}
