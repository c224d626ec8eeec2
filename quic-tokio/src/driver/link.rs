//! Between the cells of a connection and the connection itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quic_core::config::TransportConfig;
use quic_core::connection::{
    Connection, ConnectionEvent, EarlyData, HandshakeData as Data, PathEvent,
};
use quic_core::endpoint::ConnectionHandle;
use quic_core::error::ConnectionError;
use quic_core::link::{Links, Scratch};
use quic_core::observe::Stats;
use quic_core::shared::Wakes;
use quic_core::wire::{StreamId, VarInt};

use crate::connection::{Agreed, ConnectionShared, MoveReply, lock};
use crate::move_error::MoveError;

/// What the driver keeps of one connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) handle: ConnectionHandle,
    shared: Arc<ConnectionShared>,
    links: Links,
    remote: SocketAddr,
    phase: Phase,
    /// The application knows that streams can be used.
    usable: bool,
    /// Who waits for the connection to have moved.
    moving: Option<MoveReply>,
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
        let links = Links::new(config.streams());
        Self { handle, shared, links, remote, phase: Phase::Alive, usable: false, moving: None }
    }

    /// The application has left something in the connection's cell.
    pub(super) fn on_ready(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) {
        let work = self.shared.cell.take();
        self.links.on_connection_ready(&work, connection.streams(), &mut scratch.wakes);
        let close = work.close.or(work.released.then(|| (VarInt::from_u32(0), Bytes::new())));
        if let Some((code, reason)) = close
            && !connection.is_closed()
        {
            connection.close(now, code.into(), reason);
        }
        if let Some(state) = lock(&self.shared.early).to_keep.take() {
            connection.set_session_state(state);
        }
        self.shared.answer_key_updates(|| connection.initiate_key_update(now));
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
        if !self.links.knows(id) {
            self.on_ready(now, connection, scratch);
        }
        self.links.on_send_ready(id, connection.streams(), scratch);
    }

    /// The application has left something in the receiving cell of a stream.
    pub(super) fn on_recv_ready(
        &mut self,
        id: StreamId,
        now: Instant,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) {
        if !self.links.knows(id) {
            self.on_ready(now, connection, scratch);
        }
        self.links.on_recv_ready(id, connection.streams());
    }

    /// Takes everything that happened in the connection to the cells.
    pub(super) fn take_events(&mut self, connection: &mut Connection, scratch: &mut Scratch) {
        while let Some(event) = connection.poll_event() {
            match event {
                ConnectionEvent::Connected => self.on_connected(connection, &mut scratch.wakes),
                ConnectionEvent::HandshakeConfirmed => {
                    self.shared.cell.on_confirmed(&mut scratch.wakes);
                }
                ConnectionEvent::EarlyDataAccepted => self.note_early_data(connection),
                ConnectionEvent::EarlyDataRejected => {
                    self.on_early_data_rejected(connection, &mut scratch.wakes);
                }
                ConnectionEvent::Path(event) => self.on_path_event(event),
                ConnectionEvent::Stream(event) => {
                    let streams = connection.streams();
                    self.links.on_event(event, &self.shared.cell, streams, scratch);
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

    /// The sockets that the application wants the connection to move to.
    pub(super) fn take_moves(&self) -> Vec<(std::net::UdpSocket, MoveReply)> {
        std::mem::take(&mut lock(&self.shared.moves))
    }

    /// The connection has begun to move, or cannot.
    pub(super) fn on_move_begun(&mut self, begun: Result<(), MoveError>, reply: MoveReply) {
        match begun {
            // The one before was given up.
            Ok(()) => drop(self.moving.replace(reply)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn on_path_event(&mut self, event: PathEvent) {
        let Some(reply) = self.moving.take() else { return };
        // Who has asked may have gone.
        let _ = reply.send(match event {
            PathEvent::Moved { .. } => Ok(()),
            PathEvent::MoveFailed { .. } => Err(MoveError::NoAnswer),
        });
    }

    /// The connection is over: everyone learns it.
    fn on_closed(&mut self, error: ConnectionError, stats: Stats, wakes: &mut Wakes) {
        self.phase = Phase::Over;
        self.moving = None;
        lock(&self.shared.moves).clear();
        self.shared.close_stats(stats);
        // First the reason, so that whoever is told of the loss finds it.
        let unseen = self.shared.cell.on_closed(error, wakes);
        self.links.on_closed(&unseen, wakes);
    }

    /// The connection is gone. If that is news to anyone, something went very wrong.
    pub(super) fn on_gone(&mut self, wakes: &mut Wakes) {
        self.on_closed(ConnectionError::EndpointClosed, Stats::default(), wakes);
    }

    fn on_connected(&mut self, connection: &mut Connection, wakes: &mut Wakes) {
        self.note_agreed(connection);
        self.note_early_data(connection);
        self.update(connection, wakes);
        self.shared.cell.on_connected(wakes);
    }

    /// A new connection may be of use before its handshake is complete.
    pub(super) fn begin(&mut self, connection: &mut Connection, wakes: &mut Wakes) {
        lock(&self.shared.early).kept = connection.session_state();
        self.note_early_data(connection);
        self.update(connection, wakes);
    }

    fn note_agreed(&self, connection: &Connection) {
        let Data { alpn, server_name, resumed, cipher_suite } = connection.handshake_data();
        let version = connection.version();
        // The first time counts: what was agreed on does not change.
        let _ = self.shared.agreed.set(Agreed {
            alpn,
            server_name,
            resumed,
            cipher_suite,
            version: Some(version),
        });
    }

    fn note_early_data(&self, connection: &Connection) {
        lock(&self.shared.early).data = connection.early_data();
    }

    /// All streams are gone, and those of the application with them; it may open others.
    fn on_early_data_rejected(&mut self, connection: &Connection, wakes: &mut Wakes) {
        self.note_early_data(connection);
        let unseen = self.shared.cell.on_early_data_rejected();
        self.links.on_early_data_rejected(&unseen, wakes);
    }

    /// Tells the application what changes without an event of its own.
    fn update(&mut self, connection: &mut Connection, wakes: &mut Wakes) {
        let remote = connection.remote_address();
        if remote != self.remote {
            self.remote = remote;
            self.shared.set_remote(super::canonical(remote));
        }
        self.links.update_limits(&self.shared.cell, connection.streams(), wakes);
        if !self.usable && connection.is_usable() {
            self.usable = true;
            self.note_early_data(connection);
            if connection.early_data() == EarlyData::Accepted {
                self.note_agreed(connection);
            }
            self.shared.cell.on_usable(wakes);
        }
    }
}
