//! Between the cells that application tasks touch and the streams of a connection: what a driver
//! does whenever one of the two has news for the other.
//!
//! The driver takes items off its [`ReadyList`](crate::shared::ReadyList) and calls
//! [`on_send_ready`](Links::on_send_ready) and [`on_recv_ready`](Links::on_recv_ready) for those of
//! streams; what the transport tells goes to [`on_event`](Links::on_event). Nothing in here is
//! shared: the driver owns it. It stands in this crate, and not in a runtime's, so that the models
//! of `tests/loom.rs` drive just what runs in production.

mod grants;
mod stream;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::grants::Grants;
use self::stream::{Fate, StreamLink};
use crate::shared::{ConnectionCell, ConnectionWork, SendPhase, SendWork, StreamCells, Wakes};
use crate::stream::{StreamConfig, StreamEvent, Streams};
use crate::wire::{Dir, StreamId};

/// How many bytes may be written to a new stream before anything is granted, for
/// [`ConnectionCell::new`].
pub const FIRST_GRANT: u64 = grants::LEAST;

/// Memory that is used again for each connection, and who is to be woken afterwards.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Whom the driver wakes once it has done its work.
    pub wakes: Wakes,
    work: SendWork,
    chunks: Vec<Bytes>,
}

/// All streams of a connection that the application may still name.
#[derive(Debug)]
pub struct Links {
    streams: BTreeMap<StreamId, StreamLink>,
    grants: Grants,
    /// How many streams of each kind the application may have opened.
    open_limits: [u64; 2],
    /// What a single stream may leave uncredited when there are no others.
    credit_step: u64,
}

impl Links {
    /// No streams yet, of a connection with these limits.
    pub fn new(config: &StreamConfig) -> Self {
        let smallest = [
            config.initial_max_data,
            config.initial_max_stream_data_bidi_local,
            config.initial_max_stream_data_bidi_remote,
            config.initial_max_stream_data_uni,
        ]
        .into_iter()
        .filter(|window| *window > 0)
        .min();
        Self {
            streams: BTreeMap::new(),
            grants: Grants::new(config.send_budget),
            open_limits: [0; 2],
            credit_step: smallest.unwrap_or(0) / 16,
        }
    }

    /// True if nothing is to be done before work for this stream is taken. Else it was opened by a
    /// task that has not come round to saying so: the connection's cell comes first.
    pub fn knows(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    /// Bytes that applications may write or have written, and the transport has not taken.
    pub fn promised(&self) -> u64 {
        self.grants.promised()
    }

    // ---- from the application

    /// Opens the streams that the application has opened in the connection's cell.
    pub fn on_connection_ready(
        &mut self,
        work: &ConnectionWork,
        streams: &mut Streams,
        wakes: &mut Wakes,
    ) {
        for cells in &work.opened {
            match streams.open(cells.id.dir()) {
                Some(id) => {
                    debug_assert_eq!(id, cells.id, "cell and transport count alike");
                    self.streams.insert(id, StreamLink::new(cells, &mut self.grants));
                }
                // Closed meanwhile, which the cell will learn or has learnt.
                None => lose(cells, wakes),
            }
        }
        for dir in Dir::ALL {
            if work.blocked[dir as usize] {
                streams.want_open(dir);
            }
        }
    }

    /// The application has left something in the sending cell of a stream.
    pub fn on_send_ready(&mut self, id: StreamId, streams: &mut Streams, scratch: &mut Scratch) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Scratch { wakes, work, .. } = scratch;
        let fate = stream.on_send_ready(streams, &mut self.grants, work, wakes);
        self.decide(id, fate, streams);
    }

    /// The application has left something in the receiving cell of a stream.
    pub fn on_recv_ready(&mut self, id: StreamId, streams: &mut Streams) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let fate = stream.on_recv_ready(streams);
        self.decide(id, fate, streams);
    }

    // ---- from the transport

    /// Takes what happened on a stream to its cells.
    pub fn on_event(
        &mut self,
        event: StreamEvent,
        cell: &ConnectionCell,
        streams: &mut Streams,
        scratch: &mut Scratch,
    ) {
        let step = (self.credit_step / self.streams.len().max(1) as u64).max(1);
        let Scratch { wakes, chunks, .. } = scratch;
        match event {
            StreamEvent::Opened(dir) => self.accept(dir, cell, streams, wakes),
            StreamEvent::Readable(id) => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                stream.on_readable(streams, chunks, step, wakes);
            }
            StreamEvent::Writable(id) => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                let fate = stream.on_writable(streams, &mut self.grants, wakes);
                self.decide(id, fate, streams);
            }
            StreamEvent::Stopped { id, code } => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                stream.on_stopped(code, wakes);
            }
            StreamEvent::SendClosed { id, outcome } => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                let fate = stream.on_send_closed(outcome, &mut self.grants, wakes);
                self.decide(id, fate, streams);
            }
            // Limits are looked at after each batch of events.
            StreamEvent::StreamsAvailable(_) => {}
        }
    }

    /// Tells the application how many streams it may open, if that has changed.
    pub fn update_limits(&mut self, cell: &ConnectionCell, streams: &Streams, wakes: &mut Wakes) {
        for dir in Dir::ALL {
            let limit = streams.open_limit(dir);
            if limit != self.open_limits[dir as usize] {
                self.open_limits[dir as usize] = limit;
                cell.set_stream_limit(dir, limit, wakes);
            }
        }
    }

    /// The connection is over, which its cell knows: so do all streams now. `unseen` are those that
    /// [`ConnectionCell::on_closed`] has returned.
    pub fn on_closed(&mut self, unseen: &[StreamCells], wakes: &mut Wakes) {
        unseen.iter().for_each(|cells| lose(cells, wakes));
        // In the order of their numbers: the same run tells them in the same order.
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            stream.on_lost(&mut self.grants, wakes);
        }
    }

    /// The server did not take early data: all streams are gone, and begin anew. `unseen` are those
    /// that [`ConnectionCell::on_early_data_rejected`] has returned.
    pub fn on_early_data_rejected(&mut self, unseen: &[StreamCells], wakes: &mut Wakes) {
        for cells in unseen {
            StreamLink::new(cells, &mut self.grants).on_rejected(&mut self.grants, wakes);
        }
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            stream.on_rejected(&mut self.grants, wakes);
        }
        self.open_limits = [0; 2];
    }

    /// Takes the streams that the peer has opened.
    fn accept(
        &mut self,
        dir: Dir,
        cell: &ConnectionCell,
        streams: &mut Streams,
        wakes: &mut Wakes,
    ) {
        while let Some(id) = streams.accept(dir) {
            let cells = cell.new_stream(id);
            self.streams.insert(id, StreamLink::new(&cells, &mut self.grants));
            cell.push_accepted(cells, wakes);
        }
    }

    /// Forgets a stream that nobody will name again.
    fn decide(&mut self, id: StreamId, fate: Fate, streams: &mut Streams) {
        match fate {
            Fate::Keep => {}
            Fate::Release => {
                self.streams.remove(&id);
                streams.release(id);
            }
        }
    }
}

fn lose(cells: &StreamCells, wakes: &mut Wakes) {
    if let Some(send) = &cells.send {
        send.on_ended(SendPhase::Lost, wakes);
    }
    if let Some(recv) = &cells.recv {
        recv.on_lost(wakes);
    }
}
