//! Datagrams out: trains from the core, to the socket.

use std::task::{Context, Poll};
use std::time::Instant;

use quic_core::Transmit;
use quic_core::endpoint::Endpoint as Core;

use super::sockets::Sockets;
use crate::stats::Counters;
use crate::udp::Sent;

/// How many trains are sent before others get their turn.
const MAX_TRAINS: usize = 16;

/// Sends for all sockets.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    buffer: Vec<u8>,
    /// The size of datagrams in the last train, and thus most likely in the next.
    segment: usize,
    /// A train that the socket did not take whole.
    pending: Option<Train>,
}

#[derive(Debug)]
struct Train {
    transmit: Transmit,
    /// Bytes that are sent.
    offset: usize,
}

/// Why sending came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// There is nothing more to send now.
    Drained,
    /// There may be more to send at once.
    More,
    /// The socket takes no more; the task will be woken.
    Blocked,
}

impl Outbound {
    /// Sends what the core has, up to a limit that keeps the rest of the driver alive.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        sockets: &Sockets,
        core: &mut Core,
        counters: &Counters,
    ) -> Flow {
        for _ in 0..MAX_TRAINS {
            let train = match self.pending.take() {
                Some(train) => train,
                None => {
                    let now = Instant::now();
                    let max = sockets.max_train(self.segment);
                    let Some(transmit) = core.poll_transmit(now, &mut self.buffer, max) else {
                        return Flow::Drained;
                    };
                    if let Some(segment) = transmit.segment_size {
                        self.segment = segment;
                    }
                    Train { transmit, offset: 0 }
                }
            };
            if self.send_train(cx, sockets, train, counters).is_pending() {
                counters.send_blocked.add(1);
                return Flow::Blocked;
            }
        }
        Flow::More
    }

    /// True while a train waits for the socket.
    pub(super) fn is_blocked(&self) -> bool {
        self.pending.is_some()
    }

    /// Sends a whole train, or keeps the rest of it.
    fn send_train(
        &mut self,
        cx: &mut Context<'_>,
        sockets: &Sockets,
        mut train: Train,
        counters: &Counters,
    ) -> Poll<()> {
        let transmit = &train.transmit;
        while train.offset < transmit.len {
            let Some(socket) = sockets.get(transmit.socket) else {
                // It is gone, and whatever was to leave by it is lost.
                counters.send_errors.add(1);
                return Poll::Ready(());
            };
            match socket.udp.poll_send(cx, transmit, &self.buffer, train.offset) {
                Poll::Pending => {
                    self.pending = Some(train);
                    return Poll::Pending;
                }
                Poll::Ready(Sent::Refused(end)) => {
                    counters.send_errors.add(1);
                    train.offset = end;
                }
                Poll::Ready(Sent::UpTo(end)) => {
                    let bytes = end - train.offset;
                    let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
                    counters.send_calls.add(1);
                    counters.datagrams_sent.add(bytes.div_ceil(segment) as u64);
                    counters.bytes_sent.add(bytes as u64);
                    train.offset = end;
                }
            }
        }
        Poll::Ready(())
    }
}
