//! Datagrams in: batches from the socket, straight into the core.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll};
use std::time::Instant;

use quic_core::buffer::{Occupancy, Slab, SlabRing, Train};
use quic_core::endpoint::Endpoint as Core;
use quic_core::{DatagramMeta, SocketId};
use quinn_udp::RecvMeta;

use super::sockets::Socket;
use crate::stats::Counters;
use crate::udp::from_codepoint;

/// How many datagrams, or trains of them, one call receives.
const BATCH: usize = 8;
/// The most that one train can have, headers apart.
const WINDOW: usize = 65_535;
/// A slab takes one train.
const SLAB: usize = WINDOW + 1;
/// How many calls in a row may fail before the socket is given up.
const MAX_ERRORS: u32 = 64;

/// Receives for all sockets, one after the other.
#[derive(Debug)]
pub(super) struct Inbound {
    ring: SlabRing,
    slabs: [Slab; BATCH],
    metas: [RecvMeta; BATCH],
}

/// What came of an attempt to receive.
#[derive(Debug)]
pub(super) enum Received {
    /// Datagrams were handed to the core at this time.
    Some(Instant),
    /// There is nothing now; the task will be woken.
    Nothing,
    /// The socket is of no use any more.
    Broken(io::Error),
}

impl Inbound {
    /// With about `memory` bytes for data that is held by slow readers, of which `occupancy` tells.
    pub(super) fn new(memory: usize, occupancy: Occupancy) -> Self {
        let slabs = (memory / SLAB).max(BATCH);
        let mut ring = SlabRing::new(SLAB, slabs, occupancy);
        Self {
            slabs: std::array::from_fn(|_| ring.checkout()),
            ring,
            metas: [RecvMeta::default(); BATCH],
        }
    }

    /// Receives one batch from the socket with number `id`.
    pub(super) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        id: SocketId,
        socket: &mut Socket,
        core: &mut Core,
        counters: &Counters,
    ) -> Received {
        let mut slabs = self.slabs.iter_mut();
        let mut buffers: [IoSliceMut<'_>; BATCH] = std::array::from_fn(|_| {
            let slab = slabs.next().expect("as many slabs as buffers");
            IoSliceMut::new(slab.begin().expect("renewed when it was lent"))
        });
        match socket.udp.poll_recv(cx, &mut buffers, &mut self.metas) {
            Poll::Pending => Received::Nothing,
            Poll::Ready(Ok(filled)) => {
                socket.errors_in_a_row = 0;
                let now = Instant::now();
                counters.recv_calls.add(1);
                for index in 0..filled {
                    self.deliver(id, index, now, core, counters);
                }
                Received::Some(now)
            }
            Poll::Ready(Err(error)) => {
                counters.recv_errors.add(1);
                // Some systems say with this that a datagram sent earlier found nobody: then it is
                // for peers to decide how often it comes.
                if error.kind() != io::ErrorKind::ConnectionReset {
                    socket.errors_in_a_row += 1;
                }
                if socket.errors_in_a_row > MAX_ERRORS {
                    return Received::Broken(error);
                }
                // Most are about a single datagram that was sent earlier.
                tracing::debug!(%error, "receiving failed");
                Received::Some(Instant::now())
            }
        }
    }

    /// Hands the datagrams of one buffer to the core, and makes the buffer ready for the next call.
    fn deliver(
        &mut self,
        socket: SocketId,
        index: usize,
        now: Instant,
        core: &mut Core,
        counters: &Counters,
    ) {
        let meta = &self.metas[index];
        let slab = &mut self.slabs[index];
        let from = DatagramMeta {
            socket,
            remote: meta.addr,
            local_ip: meta.dst_ip,
            ecn: meta.ecn.map(from_codepoint),
        };
        counters.scratch_receives.add(u64::from(slab.is_scratch()));
        let len = meta.len.min(SLAB);
        let train = Train::new(slab, len, meta.stride);
        counters.bytes_received.add(len as u64);
        counters.datagrams_received.add(train.datagrams().len() as u64);
        core.recv(now, from, train);
        self.ring.renew(slab);
    }
}
