//! Between the cells of a connection and the connection itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quic_core::config::TransportConfig;
use quic_core::connection::{Connection, ConnectionEvent};
use quic_core::endpoint::ConnectionHandle;
use quic_core::error::ConnectionError;
use quic_core::observe::Stats;
use quic_core::shared::{SendWork, StreamCells, Wakes};
use quic_core::stream::StreamEvent;
use quic_core::wire::{Dir, StreamId, VarInt};

use super::grants::Grants;
use super::stream::{Fate, StreamLink};
use crate::connection::{Agreed, ConnectionShared};

/// Memory that is used again for each connection, and who is to be woken afterwards.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) wakes: Wakes,
    work: SendWork,
    chunks: Vec<Bytes>,
}

/// What the driver keeps of one connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) handle: ConnectionHandle,
    shared: Arc<ConnectionShared>,
    streams: HashMap<StreamId, StreamLink>,
    grants: Grants,
    /// How many streams of each kind the application may have opened.
    open_limits: [u64; 2],
    /// What a single stream may leave uncredited when there are no others.
    credit_step: u64,
    remote: SocketAddr,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Alive,
    /// It is over, and the application knows.
    Over,
}

impl Link {
    pub(super) fn new(
        handle: ConnectionHandle,
        shared: Arc<ConnectionShared>,
        config: &TransportConfig,
        remote: SocketAddr,
    ) -> Self {
        let windows = config.streams();
        let smallest = [
            windows.initial_max_data,
            windows.initial_max_stream_data_bidi_local,
            windows.initial_max_stream_data_bidi_remote,
            windows.initial_max_stream_data_uni,
        ]
        .into_iter()
        .filter(|window| *window > 0)
        .min();
        Self {
            handle,
            shared,
            streams: HashMap::new(),
            grants: Grants::new(windows.send_budget),
            open_limits: [0; 2],
            credit_step: smallest.unwrap_or(0) / 16,
            remote,
            phase: Phase::Alive,
        }
    }

    /// The application has left something in the connection's cell.
    pub(super) fn on_ready(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) {
        let work = self.shared.cell.take();
        for cells in &work.opened {
            self.open(connection, cells, &mut scratch.wakes);
        }
        for dir in Dir::ALL {
            if work.blocked[dir as usize] {
                connection.streams().want_open(dir);
            }
        }
        let close = work.close.or(work.released.then(|| (VarInt::from_u32(0), Bytes::new())));
        if let Some((code, reason)) = close
            && !connection.is_closed()
        {
            connection.close(now, code.into(), reason);
        }
        self.shared.answer_stats(|| connection.stats());
    }

    /// The application has left something in the sending cell of a stream.
    pub(super) fn on_send_ready(
        &mut self,
        id: StreamId,
        now: Instant,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) {
        if !self.streams.contains_key(&id) {
            // It was opened by a task that has not come round to saying so.
            self.on_ready(now, connection, scratch);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let streams = connection.streams();
        let Scratch { wakes, work, .. } = scratch;
        let fate = stream.on_send_ready(streams, &mut self.grants, work, wakes);
        self.decide(id, fate, connection);
    }

    /// The application has left something in the receiving cell of a stream.
    pub(super) fn on_recv_ready(
        &mut self,
        id: StreamId,
        now: Instant,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) {
        if !self.streams.contains_key(&id) {
            self.on_ready(now, connection, scratch);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let fate = stream.on_recv_ready(connection.streams());
        self.decide(id, fate, connection);
    }

    /// Takes everything that happened in the connection to the cells.
    pub(super) fn take_events(&mut self, connection: &mut Connection, scratch: &mut Scratch) {
        while let Some(event) = connection.poll_event() {
            match event {
                ConnectionEvent::Connected => self.on_connected(connection, &mut scratch.wakes),
                ConnectionEvent::HandshakeConfirmed => {}
                ConnectionEvent::Stream(event) => {
                    self.on_stream_event(event, connection, scratch);
                }
                ConnectionEvent::Closed(error) => {
                    self.on_closed(error, connection.stats(), &mut scratch.wakes);
                }
            }
        }
        if self.phase == Phase::Alive {
            self.update(connection, &mut scratch.wakes);
        }
    }

    /// The connection is over: everyone learns it.
    fn on_closed(&mut self, error: ConnectionError, stats: Stats, wakes: &mut Wakes) {
        self.phase = Phase::Over;
        self.shared.close_stats(stats);
        // First the reason, so that whoever is told of the loss finds it.
        let unseen = self.shared.cell.on_closed(error, wakes);
        for cells in &unseen {
            lose(cells, wakes);
        }
        for stream in self.streams.values() {
            stream.on_lost(wakes);
        }
        self.streams.clear();
    }

    /// The connection is gone. If that is news to anyone, something went very wrong.
    pub(super) fn on_gone(&mut self, wakes: &mut Wakes) {
        self.on_closed(ConnectionError::EndpointClosed, Stats::default(), wakes);
    }

    fn on_connected(&mut self, connection: &mut Connection, wakes: &mut Wakes) {
        let data = connection.handshake_data();
        let agreed = Agreed { alpn: data.alpn, server_name: data.server_name };
        // The handshake completes once.
        let _ = self.shared.agreed.set(agreed);
        self.update(connection, wakes);
        self.shared.cell.on_connected(wakes);
    }

    /// Tells the application what changes without an event of its own.
    fn update(&mut self, connection: &mut Connection, wakes: &mut Wakes) {
        let remote = connection.remote_address();
        if remote != self.remote {
            self.remote = remote;
            self.shared.set_remote(remote);
        }
        for dir in Dir::ALL {
            let limit = connection.streams().open_limit(dir);
            if limit != self.open_limits[dir as usize] {
                self.open_limits[dir as usize] = limit;
                self.shared.cell.set_stream_limit(dir, limit, wakes);
            }
        }
    }

    fn on_stream_event(
        &mut self,
        event: StreamEvent,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) {
        let step = (self.credit_step / self.streams.len().max(1) as u64).max(1);
        let Scratch { wakes, chunks, .. } = scratch;
        match event {
            StreamEvent::Opened(dir) => self.accept(dir, connection, wakes),
            StreamEvent::Readable(id) => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                stream.on_readable(connection.streams(), chunks, step, wakes);
            }
            StreamEvent::Writable(id) => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                let fate = stream.on_writable(connection.streams(), &mut self.grants, wakes);
                self.decide(id, fate, connection);
            }
            StreamEvent::Stopped { id, code } => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                stream.on_stopped(code, wakes);
            }
            StreamEvent::SendClosed { id, outcome } => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                let fate = stream.on_send_closed(outcome, &mut self.grants, wakes);
                self.decide(id, fate, connection);
            }
            // Limits are looked at after each batch of events.
            StreamEvent::StreamsAvailable(_) => {}
        }
    }

    /// Takes the streams that the peer has opened.
    fn accept(&mut self, dir: Dir, connection: &mut Connection, wakes: &mut Wakes) {
        while let Some(id) = connection.streams().accept(dir) {
            let cells = self.shared.cell.new_stream(id);
            self.streams.insert(id, StreamLink::new(&cells, &mut self.grants));
            self.shared.cell.push_accepted(cells, wakes);
        }
    }

    /// Opens the stream that the application has opened in the cell.
    fn open(&mut self, connection: &mut Connection, cells: &StreamCells, wakes: &mut Wakes) {
        match connection.streams().open(cells.id.dir()) {
            Some(id) => {
                debug_assert_eq!(id, cells.id, "cell and transport count alike");
                self.streams.insert(id, StreamLink::new(cells, &mut self.grants));
            }
            // Closed meanwhile, which the cell will learn or has learnt.
            None => lose(cells, wakes),
        }
    }

    /// Forgets a stream that nobody will name again.
    fn decide(&mut self, id: StreamId, fate: Fate, connection: &mut Connection) {
        match fate {
            Fate::Keep => {}
            Fate::Release => {
                self.streams.remove(&id);
                connection.streams().release(id);
            }
        }
    }
}

fn lose(cells: &StreamCells, wakes: &mut Wakes) {
    if let Some(send) = &cells.send {
        send.on_ended(quic_core::shared::SendPhase::Lost, wakes);
    }
    if let Some(recv) = &cells.recv {
        recv.on_lost(wakes);
    }
}
