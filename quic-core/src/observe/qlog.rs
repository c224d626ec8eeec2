//! qlog in its streaming form: JSON text sequences (draft-ietf-quic-qlog-main-schema, section 5).

use std::io::Write;
use std::time::Instant;

use super::json::Object;
use super::qlog_data::write_event;
use super::{ConnectionInfo, Event, Observer};
use crate::wire::Side;

const FILE_SCHEMA: &str = "urn:ietf:params:qlog:file:sequential";
const SERIALIZATION_FORMAT: &str = "application/qlog+json-seq";
/// The draft of the QUIC events whose names are used; a final RFC will drop the number.
const EVENT_SCHEMA: &str = "urn:ietf:params:qlog:events:quic-13";

/// Begins each record of a JSON text sequence.
const RECORD_SEPARATOR: char = '\x1e';

/// What the head of a qlog file says.
#[derive(Clone, Debug)]
pub struct TraceInfo {
    /// The connection.
    pub connection: ConnectionInfo,
    /// A name for the trace, if it shall have one.
    pub title: Option<String>,
    /// The date and time of the start, in the form of RFC 3339, if it shall be known.
    pub wall_clock_time: Option<String>,
}

impl TraceInfo {
    /// The trace of `connection`, without title and date.
    pub fn new(connection: ConnectionInfo) -> Self {
        Self { connection, title: None, wall_clock_time: None }
    }
}

/// Writes the events of one connection as qlog, one record each.
///
/// Each record is handed to the writer with one call; put a buffered writer in between for speed.
/// Once the writer fails, nothing more is written. Files made of it end in `.sqlog`.
#[derive(Debug)]
pub struct QlogWriter<W> {
    writer: W,
    start: Instant,
    side: Side,
    state: State,
    record: String,
}

#[derive(Debug)]
enum State {
    Writing,
    /// The writer failed once; what it said is kept.
    Failed(std::io::Error),
}

impl<W: Write + Send> QlogWriter<W> {
    /// Writes the head of the file; times of events are counted from `start`.
    pub fn new(writer: W, start: Instant, info: &TraceInfo) -> Self {
        let side = info.connection.side;
        let state = State::Writing;
        let mut this = Self { writer, start, side, state, record: String::new() };
        this.write_record(|head| write_head(head, info));
        this
    }

    /// Why nothing is written any more, if the writer failed.
    pub fn error(&self) -> Option<&std::io::Error> {
        match &self.state {
            State::Writing => None,
            State::Failed(error) => Some(error),
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.writer.flush() {
            self.state = State::Failed(error);
        }
    }

    fn write_record(&mut self, content: impl FnOnce(&mut Object<'_>)) {
        self.record.clear();
        self.record.push(RECORD_SEPARATOR);
        content(&mut Object::new(&mut self.record));
        self.record.push('\n');
        if let Err(error) = self.writer.write_all(self.record.as_bytes()) {
            self.state = State::Failed(error);
        }
    }
}

impl<W: Write + Send> Observer for QlogWriter<W> {
    fn on_event(&mut self, now: Instant, event: &Event<'_>) {
        if self.error().is_some() {
            return;
        }
        let time = now.saturating_duration_since(self.start);
        let side = self.side;
        write_event(side, event, &mut |write_data| {
            self.write_record(|record| {
                record.millis("time", time);
                record.text("name", &format!("quic:{}", event.name()));
                write_data(&mut record.object("data"));
            });
        });
        if let Event::ConnectionClosed { .. } = event {
            self.flush();
        }
    }
}

fn write_head(head: &mut Object<'_>, info: &TraceInfo) {
    head.text("file_schema", FILE_SCHEMA);
    head.text("serialization_format", SERIALIZATION_FORMAT);
    if let Some(title) = &info.title {
        head.text("title", title);
    }
    let mut trace = head.object("trace");
    {
        let mut common = trace.object("common_fields");
        common.hex("group_id", info.connection.original_dcid.as_slice());
        common.text("time_format", "relative_to_epoch");
        let mut reference = common.object("reference_time");
        reference.text("clock_type", "monotonic");
        reference.text("epoch", "unknown");
        if let Some(time) = &info.wall_clock_time {
            reference.text("wall_clock_time", time);
        }
    }
    trace.object("vantage_point").text(
        "type",
        match info.connection.side {
            Side::Client => "client",
            Side::Server => "server",
        },
    );
    trace.list("event_schemas").text(EVENT_SCHEMA);
}
