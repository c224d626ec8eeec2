//! The connections of an endpoint, each under a handle that never means another one.

use std::sync::Arc;

use slab::Slab;

use crate::config::{TokenScope, TokenStore};
use crate::connection::Connection;
use crate::wire::{ConnectionId, Side};

/// Names a connection of one endpoint. It stays valid until
/// [`EndpointEvent::ConnectionGone`](super::EndpointEvent) and names nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionHandle {
    index: u32,
    generation: u32,
}

impl ConnectionHandle {
    /// A small number that no other living connection of the endpoint has, for tables of one's own.
    pub fn index(self) -> usize {
        self.index as usize
    }

    #[cfg(test)]
    pub(super) fn for_test(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
}

/// Where a connection stands in the eyes of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It takes part.
    Open,
    /// It is over, and says so to the peer or waits for late packets.
    Closed,
    /// It is drained and unreachable, and kept until its owner has been told.
    Drained,
}

/// A connection with what the endpoint knows about it.
#[derive(Debug)]
pub(super) struct Entry {
    generation: u32,
    pub(super) connection: Connection,
    pub(super) presence: Presence,
    /// It was accepted, and its handshake is not complete.
    half_open: bool,
    /// Where tokens for later connections go; of a client only.
    pub(super) tokens: Option<TokenSink>,
    /// All connection IDs that are routed to it.
    pub(super) ids: Vec<ConnectionId>,
    /// Marks under which its stateless reset tokens can be found.
    pub(super) reset_marks: Vec<u64>,
}

/// Where the tokens go that a server gives.
#[derive(Debug)]
pub(super) struct TokenSink {
    pub(super) scope: TokenScope,
    pub(super) store: Arc<dyn TokenStore>,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slab: Slab<Entry>,
    half_open: usize,
    next_generation: u32,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn insert(&mut self, connection: Connection) -> ConnectionHandle {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let half_open = connection.side() == Side::Server;
        self.half_open += usize::from(half_open);
        let index = self.slab.insert(Entry {
            generation,
            connection,
            presence: Presence::Open,
            half_open,
            tokens: None,
            ids: Vec::new(),
            reset_marks: Vec::new(),
        });
        let index = u32::try_from(index).expect("fewer connections than 2^32");
        ConnectionHandle { index, generation }
    }

    pub(super) fn get(&self, handle: ConnectionHandle) -> Option<&Entry> {
        self.slab.get(handle.index()).filter(|entry| entry.generation == handle.generation)
    }

    pub(super) fn get_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Entry> {
        self.slab.get_mut(handle.index()).filter(|entry| entry.generation == handle.generation)
    }

    pub(super) fn remove(&mut self, handle: ConnectionHandle) -> Option<Entry> {
        self.get(handle)?;
        let entry = self.slab.remove(handle.index());
        self.half_open -= usize::from(entry.half_open);
        Some(entry)
    }

    /// How many accepted connections have not completed their handshake.
    pub(super) fn half_open(&self) -> usize {
        self.half_open
    }

    /// Takes note of a handshake that is over, one way or the other.
    pub(super) fn update_half_open(&mut self, handle: ConnectionHandle) {
        let Some(entry) = self.slab.get_mut(handle.index()) else { return };
        if entry.half_open && !entry.connection.is_handshaking() {
            entry.half_open = false;
            self.half_open -= 1;
        }
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = ConnectionHandle> {
        self.slab.iter().map(|(index, entry)| ConnectionHandle {
            index: u32::try_from(index).expect("checked when it was inserted"),
            generation: entry.generation,
        })
    }
}
