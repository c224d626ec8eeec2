//! Between the cells of a stream and the transport's streams.

use std::collections::VecDeque;

use bytes::Bytes;

use super::grants::Grants;
use crate::shared::{RecvCell, SendCell, SendPhase, SendWork, StreamCells, Wakes};
use crate::stream::{Priority, Read, ReadError, SendOutcome, Streams, WriteError};
use crate::util::sync::Arc;
use crate::wire::{ApplicationErrorCode, StreamId};

/// What the driver keeps of one stream.
#[derive(Debug)]
pub(super) struct StreamLink {
    id: StreamId,
    send: Option<SendLink>,
    recv: Option<RecvLink>,
}

#[derive(Debug)]
struct SendLink {
    cell: Arc<SendCell>,
    /// Data that the transport had no room for.
    backlog: VecDeque<Bytes>,
    /// Bytes that the transport has taken, ever.
    accepted: u64,
    /// How many the application may have written in all.
    limit: u64,
    end: End,
    /// The application holds no handle.
    released: bool,
}

/// How far the end of the sending half has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The application may write.
    Open,
    /// It has finished the stream, and the backlog comes first.
    Wanted,
    /// The transport knows that no data follows, or has said so itself.
    Told,
}

#[derive(Debug)]
struct RecvLink {
    cell: Arc<RecvCell>,
    released: bool,
}

/// Whether the driver must remember the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// The application is done with it, and the transport can finish it alone.
    Release,
}

impl StreamLink {
    pub(super) fn new(cells: &StreamCells, grants: &mut Grants) -> Self {
        let send = cells.send.as_ref().map(|cell| SendLink {
            cell: Arc::clone(cell),
            backlog: VecDeque::new(),
            accepted: 0,
            limit: Grants::first(),
            end: End::Open,
            released: false,
        });
        if send.is_some() {
            grants.replace(0, Grants::first());
        }
        let recv =
            cells.recv.as_ref().map(|cell| RecvLink { cell: Arc::clone(cell), released: false });
        Self { id: cells.id, send, recv }
    }

    /// The application has left something in the sending cell.
    pub(super) fn on_send_ready(
        &mut self,
        streams: &mut Streams,
        grants: &mut Grants,
        work: &mut SendWork,
        wakes: &mut Wakes,
    ) -> Fate {
        let Some(send) = &mut self.send else { return Fate::Keep };
        send.cell.take(work);
        send.backlog.extend(work.chunks.drain(..));
        send.released |= work.released;
        if let Some((urgency, incremental)) = work.priority {
            streams.set_priority(self.id, Priority { urgency, incremental });
        }
        if work.fin && send.end == End::Open {
            send.end = End::Wanted;
        }
        if let Some(code) = work.reset {
            streams.reset(self.id, code.into());
            send.close(grants);
        }
        send.pump(self.id, streams, grants, wakes);
        self.fate()
    }

    /// The transport has room again.
    pub(super) fn on_writable(
        &mut self,
        streams: &mut Streams,
        grants: &mut Grants,
        wakes: &mut Wakes,
    ) -> Fate {
        if let Some(send) = &mut self.send {
            send.pump(self.id, streams, grants, wakes);
        }
        self.fate()
    }

    pub(super) fn on_stopped(&mut self, code: ApplicationErrorCode, wakes: &mut Wakes) {
        if let Some(send) = &self.send {
            send.cell.on_stopped(code.into(), wakes);
        }
    }

    pub(super) fn on_send_closed(
        &mut self,
        outcome: SendOutcome,
        grants: &mut Grants,
        wakes: &mut Wakes,
    ) -> Fate {
        if let Some(send) = &mut self.send {
            send.cell.on_ended(phase(outcome), wakes);
            send.close(grants);
        }
        self.fate()
    }

    /// The application has left something in the receiving cell.
    pub(super) fn on_recv_ready(&mut self, streams: &mut Streams) -> Fate {
        let Some(recv) = &mut self.recv else { return Fate::Keep };
        let work = recv.cell.take();
        recv.released |= work.released;
        if work.consumed > 0 {
            streams.release_credit(self.id, work.consumed);
        }
        if let Some(code) = work.stop {
            streams.stop(self.id, code.into());
        }
        self.fate()
    }

    /// The transport has something to read. `chunks` is empty, and is so again afterwards.
    pub(super) fn on_readable(
        &mut self,
        streams: &mut Streams,
        chunks: &mut Vec<Bytes>,
        credit_step: u64,
        wakes: &mut Wakes,
    ) {
        let Some(recv) = &self.recv else { return };
        if streams.has_early() && streams.is_early(self.id) {
            recv.cell.set_early();
        }
        let mut fin = false;
        let mut reset = None;
        loop {
            match streams.read(self.id) {
                Ok(Read::Chunk(chunk)) => chunks.push(chunk),
                Ok(Read::Blocked) | Err(ReadError::Stopped | ReadError::UnknownStream) => break,
                Ok(Read::Finished) => {
                    fin = true;
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    reset = Some(code);
                    break;
                }
            }
        }
        let mut credit = 0;
        if fin || !chunks.is_empty() {
            credit += recv.cell.push(chunks, fin, credit_step, wakes);
        }
        if let Some(code) = reset {
            credit += recv.cell.on_reset(code.into(), wakes);
        }
        if credit > 0 {
            streams.release_credit(self.id, credit);
        }
    }

    /// The connection is over.
    pub(super) fn on_lost(&mut self, grants: &mut Grants, wakes: &mut Wakes) {
        if let Some(send) = &mut self.send {
            send.cell.on_ended(SendPhase::Lost, wakes);
            send.close(grants);
        }
        if let Some(recv) = &self.recv {
            recv.cell.on_lost(wakes);
        }
    }

    /// The server did not take the early data that the stream began with.
    pub(super) fn on_rejected(&mut self, grants: &mut Grants, wakes: &mut Wakes) {
        if let Some(send) = &mut self.send {
            send.cell.on_ended(SendPhase::Rejected, wakes);
            send.close(grants);
        }
        if let Some(recv) = &self.recv {
            recv.cell.on_rejected(wakes);
        }
    }

    fn fate(&self) -> Fate {
        let send_done =
            self.send.as_ref().is_none_or(|send| send.released && send.end == End::Told);
        let recv_done = self.recv.as_ref().is_none_or(|recv| recv.released);
        if send_done && recv_done { Fate::Release } else { Fate::Keep }
    }
}

impl SendLink {
    /// Moves the backlog into the transport as far as it has room, then the end of the stream; lets
    /// the application write more if all was moved.
    fn pump(
        &mut self,
        id: StreamId,
        streams: &mut Streams,
        grants: &mut Grants,
        wakes: &mut Wakes,
    ) {
        if self.end == End::Told {
            self.backlog.clear();
            return;
        }
        while let Some(chunk) = self.backlog.pop_front() {
            match streams.write(id, chunk.clone()) {
                Ok(taken) => {
                    self.accept(taken as u64, grants);
                    if taken < chunk.len() {
                        self.backlog.push_front(chunk.slice(taken..));
                        return;
                    }
                }
                Err(WriteError::Blocked) => {
                    self.backlog.push_front(chunk);
                    return;
                }
                // How it ended is an event of its own.
                Err(WriteError::Stopped(_) | WriteError::Closed | WriteError::UnknownStream) => {
                    return self.close(grants);
                }
            }
        }
        match self.end {
            End::Open => self.grant(grants, wakes),
            End::Wanted => {
                // An error is the end of the stream, which is an event of its own.
                let _ = streams.finish(id);
                self.close(grants);
            }
            End::Told => {}
        }
    }

    fn accept(&mut self, taken: u64, grants: &mut Grants) {
        let before = self.reserved();
        self.accepted += taken;
        grants.replace(before, self.reserved());
    }

    /// Lets the application write more once half of what it may write is used up.
    fn grant(&mut self, grants: &mut Grants, wakes: &mut Wakes) {
        let before = self.reserved();
        let share = grants.share(before);
        if before <= share / 2 {
            self.limit = self.accepted + share;
            grants.replace(before, share);
            self.cell.grant(self.limit, wakes);
        }
    }

    /// Nothing more is written.
    fn close(&mut self, grants: &mut Grants) {
        grants.replace(self.reserved(), 0);
        self.limit = self.accepted;
        self.backlog.clear();
        self.end = End::Told;
    }

    /// What the application may still write, or has written into the backlog.
    fn reserved(&self) -> u64 {
        self.limit.saturating_sub(self.accepted)
    }
}

fn phase(outcome: SendOutcome) -> SendPhase {
    match outcome {
        SendOutcome::Delivered => SendPhase::Acked,
        SendOutcome::Reset { code, by_peer } => SendPhase::Reset { code: code.into(), by_peer },
    }
}
