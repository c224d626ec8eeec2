//! The receiving part of a stream (RFC 9000, section 3.2).
//!
//! ```text
//!  Recv ──Fin──▶ SizeKnown ──AllReceived──▶ DataRecvd ──ReadAll──▶ DataRead
//!   │                │ └───────────────Discard──────────────────────▲
//!   └─────Reset──────┴─▶ ResetRecvd ──ReadReset──▶ ResetRead
//! ```
//!
//! RESET_STREAM in Data Recvd changes nothing: all data is here and will be read. In the other
//! states it drops what was not read.
//!
//! An application that does not want the data stops the stream: what arrives from then on is thrown
//! away, and its credit goes back to the connection at once. Such a part is over when its final
//! size is known and the peer has STOP_SENDING; nobody reads it to its end (`Discard` above).
//!
//! There is no synchronisation in here: whoever owns the value drives it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::delivery::Delivery;
use super::flow::ReceiveCredit;
use crate::buffer::{Arrival, Assembler};
use crate::error::Violation;
use crate::observe::StreamState;
use crate::wire::{ApplicationErrorCode, varint};

/// The states of RFC 9000, figure 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Recv,
    SizeKnown,
    DataRecvd,
    DataRead,
    ResetRecvd,
    ResetRead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Fin,
    AllReceived,
    ReadAll,
    Discard,
    Reset,
    ReadReset,
}

impl State {
    /// The whole transition table; `None` for what cannot happen in a state.
    fn next(self, event: Event) -> Option<Self> {
        use {Event as E, State as S};
        match (self, event) {
            (S::Recv, E::Fin) => Some(S::SizeKnown),
            (S::SizeKnown, E::AllReceived) => Some(S::DataRecvd),
            (S::DataRecvd, E::ReadAll) => Some(S::DataRead),
            (S::SizeKnown | S::DataRecvd, E::Discard) => Some(S::DataRead),
            (S::Recv | S::SizeKnown, E::Reset) => Some(S::ResetRecvd),
            (S::ResetRecvd, E::ReadReset) => Some(S::ResetRead),
            (S::Recv, E::AllReceived | E::ReadAll | E::Discard | E::ReadReset)
            | (S::SizeKnown, E::Fin | E::ReadAll | E::ReadReset)
            | (S::DataRecvd, E::Fin | E::AllReceived | E::Reset | E::ReadReset)
            | (S::ResetRecvd, E::Fin | E::AllReceived | E::ReadAll | E::Discard | E::Reset)
            | (S::DataRead | S::ResetRead, _) => None,
        }
    }
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The next bytes of the stream, never empty.
    Chunk(Bytes),
    /// Nothing now; `StreamEvent::Readable` tells when there is something.
    Blocked,
    /// All data was read and the stream has ended.
    Finished,
}

/// Why a reader gets nothing, now and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The peer gave the stream up, for the reason it gave.
    Reset(ApplicationErrorCode),
    /// This side has stopped reading the stream.
    Stopped,
    /// There is no such stream, or it only sends.
    UnknownStream,
}

/// Whether the application still wants the data, and if not, whether the peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interest {
    Wanted,
    Stopped { code: ApplicationErrorCode, delivery: Delivery },
}

/// The receiving part of a stream: reassembly, the end, flow control, and stop.
///
/// Methods that return a number of bytes return credit of the connection: as much as the caller
/// shall give back to the connection's flow control. Over the life of a stream these numbers sum up
/// to its final size.
#[derive(Debug)]
pub struct RecvStream {
    state: State,
    assembler: Assembler,
    interest: Interest,
    credit: ReceiveCredit,
    final_size: Option<u64>,
    reset_code: Option<ApplicationErrorCode>,
    /// What went back to the connection's flow control.
    credited: u64,
}

impl RecvStream {
    /// A stream of which nothing was received. The peer knows that it may send `window` bytes; the
    /// window may grow up to `max_window`.
    pub fn new(window: u64, max_window: u64) -> Self {
        Self {
            state: State::Recv,
            assembler: Assembler::new(),
            interest: Interest::Wanted,
            credit: ReceiveCredit::new(window, max_window, varint::MAX),
            final_size: None,
            reset_code: None,
            credited: 0,
        }
    }

    // ---- frames from the peer

    /// Takes in how far a STREAM frame reaches, and whether it ends the stream there; by how much
    /// that is further than before, which counts against the connection's flow control.
    ///
    /// Its data follows with [`on_data`](Self::on_data).
    // req 9000-4.1-022, 9000-19.10-453, 9000-4.5-031, 9000-4.5-032
    pub fn on_extent(&mut self, end: u64, fin: bool) -> Result<u64, Violation> {
        match (self.final_size, fin) {
            (Some(size), true) if end != size => return Err(Violation::FinalSizeChanged),
            (Some(size), false) if end > size => return Err(Violation::DataBeyondFinalSize),
            (None, true) if end < self.credit.used() => {
                return Err(Violation::FinalSizeBelowReceived);
            }
            (Some(_) | None, _) => {}
        }
        let new = self.credit.consume_up_to(end).map_err(|_| Violation::StreamDataLimit)?;
        if fin && self.final_size.is_none() {
            self.final_size = Some(end);
            self.apply(Event::Fin);
        }
        Ok(new)
    }

    /// Takes in the data of a STREAM frame whose extent was accepted; the credit that goes back.
    pub fn on_data(&mut self, offset: u64, data: Arrival<'_>) -> u64 {
        match (self.state, self.interest) {
            (State::Recv | State::SizeKnown, Interest::Wanted) => {
                self.assembler.insert(offset, data);
                if self.final_size == Some(self.assembler.contiguous_end()) {
                    self.apply(Event::AllReceived);
                }
                0
            }
            (State::Recv | State::SizeKnown, Interest::Stopped { .. }) => {
                self.finish_discarding();
                self.return_up_to(self.credit.used())
            }
            (
                State::DataRecvd | State::DataRead | State::ResetRecvd | State::ResetRead,
                Interest::Wanted | Interest::Stopped { .. },
            ) => 0,
        }
    }

    /// Takes in RESET_STREAM; by how much its final size is further than what was received, which
    /// counts against the connection's flow control.
    ///
    /// Once that is booked, [`return_after_reset`](Self::return_after_reset) gives the credit back.
    // req 9000-3.2-009, 9000-4.5-029, 9000-4.5-031
    pub fn on_reset(
        &mut self,
        code: ApplicationErrorCode,
        final_size: u64,
    ) -> Result<u64, Violation> {
        match self.final_size {
            Some(known) if known != final_size => return Err(Violation::FinalSizeChanged),
            None if final_size < self.credit.used() => {
                return Err(Violation::FinalSizeBelowReceived);
            }
            Some(_) | None => {}
        }
        let new = self.credit.consume_up_to(final_size).map_err(|_| Violation::StreamDataLimit)?;
        if let Some(next) = self.state.next(Event::Reset) {
            self.state = next;
            self.final_size = Some(final_size);
            self.reset_code = Some(code);
            self.assembler.clear();
            if self.interest != Interest::Wanted {
                self.apply(Event::ReadReset);
            }
        }
        Ok(new)
    }

    /// The credit that goes back because the peer has reset the stream, read or unread.
    pub fn return_after_reset(&mut self) -> u64 {
        match self.state {
            State::ResetRecvd | State::ResetRead => self.return_up_to(self.credit.used()),
            State::Recv | State::SizeKnown | State::DataRecvd | State::DataRead => 0,
        }
    }

    // ---- the application

    /// Takes the next data. Its credit goes back when the reader is done with it, by
    /// [`release`](Self::release).
    pub fn read(&mut self) -> Result<Read, ReadError> {
        if let Some(code) = self.reset_code {
            if self.state == State::ResetRecvd {
                self.apply(Event::ReadReset);
            }
            return Err(ReadError::Reset(code));
        }
        if self.interest != Interest::Wanted {
            return Err(ReadError::Stopped);
        }
        if let Some(data) = self.assembler.read() {
            return Ok(Read::Chunk(data));
        }
        match self.state {
            State::DataRecvd => self.apply(Event::ReadAll),
            State::DataRead => {}
            State::Recv | State::SizeKnown | State::ResetRecvd | State::ResetRead => {
                return Ok(Read::Blocked);
            }
        }
        Ok(Read::Finished)
    }

    /// The reader is done with `n` bytes that it took; the credit that goes back.
    ///
    /// Nothing goes back that went back already because of a stop or a reset.
    pub fn release(&mut self, n: u64) -> u64 {
        let n = n.min(self.assembler.read_offset().saturating_sub(self.credited));
        self.return_up_to(self.credited + n)
    }

    /// Gives up reading, for the reason `code`; the credit that goes back.
    // req 9000-3.5-013, 9000-3.5-019, 9000-3.3-012
    pub fn stop(&mut self, code: ApplicationErrorCode) -> u64 {
        if self.interest != Interest::Wanted {
            return 0;
        }
        let delivery = match self.state {
            State::Recv | State::SizeKnown => Delivery::Pending,
            State::DataRecvd | State::DataRead | State::ResetRecvd | State::ResetRead => {
                Delivery::Idle
            }
        };
        self.interest = Interest::Stopped { code, delivery };
        self.assembler.clear();
        match self.state {
            State::DataRecvd => self.apply(Event::Discard),
            State::ResetRecvd => self.apply(Event::ReadReset),
            State::Recv | State::SizeKnown | State::DataRead | State::ResetRead => {}
        }
        self.return_up_to(self.credit.used())
    }

    // ---- into packets

    /// The code of the STOP_SENDING frame that waits to be sent.
    pub fn pending_stop(&self) -> Option<ApplicationErrorCode> {
        match (self.state, self.interest) {
            (
                State::Recv | State::SizeKnown,
                Interest::Stopped { code, delivery: Delivery::Pending },
            ) => Some(code),
            _ => None,
        }
    }

    /// The frame of [`pending_stop`](Self::pending_stop) was written.
    pub fn on_stop_sent(&mut self) {
        if let Interest::Stopped { delivery, .. } = &mut self.interest {
            *delivery = Delivery::InFlight;
        }
    }

    /// The peer has acknowledged a packet with STOP_SENDING.
    pub fn on_stop_acked(&mut self) {
        if let Interest::Stopped { delivery, .. } = &mut self.interest {
            delivery.on_acked();
            self.finish_discarding();
        }
    }

    /// A packet with STOP_SENDING was lost.
    pub fn on_stop_lost(&mut self) {
        if let Interest::Stopped { delivery, .. } = &mut self.interest {
            delivery.on_lost();
        }
    }

    /// True if MAX_STREAM_DATA should be sent.
    pub fn wants_window_update(&self) -> bool {
        self.is_receiving() && self.credit.wants_update()
    }

    /// The limit for a MAX_STREAM_DATA frame that is about to be written.
    pub fn advance_window(&mut self, now: Instant, rtt: Duration) -> u64 {
        self.credit.advance(now, rtt)
    }

    /// The peer has acknowledged a packet with MAX_STREAM_DATA that told `limit`.
    pub fn on_window_acked(&mut self, limit: u64) {
        self.credit.on_update_acked(limit);
    }

    /// A packet with MAX_STREAM_DATA that told `limit` was lost.
    pub fn on_window_lost(&mut self, limit: u64) {
        self.credit.on_update_lost(limit);
    }

    /// By how much the peer may run ahead of the reader.
    pub fn window(&self) -> u64 {
        self.credit.window()
    }

    // ---- questions

    /// True if a read would not be blocked, as far as that is news for the application.
    pub fn is_readable(&self) -> bool {
        match self.state {
            State::Recv | State::SizeKnown => self.assembler.is_readable(),
            State::DataRecvd | State::ResetRecvd => true,
            State::DataRead | State::ResetRead => false,
        }
    }

    /// The state, for who listens.
    pub fn state(&self) -> StreamState {
        match self.state {
            State::Recv => StreamState::Receive,
            State::SizeKnown => StreamState::SizeKnown,
            State::DataRecvd => StreamState::DataReceived,
            State::DataRead => StreamState::DataRead,
            State::ResetRecvd => StreamState::ResetReceived,
            State::ResetRead => StreamState::ResetRead,
        }
    }

    /// True in the terminal states: the application has learnt how the stream ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::DataRead | State::ResetRead)
    }

    /// Bytes of memory that unread data takes.
    pub fn memory(&self) -> usize {
        self.assembler.memory()
    }

    /// How much of the connection's credit did not go back yet.
    pub fn uncredited(&self) -> u64 {
        self.credit.used() - self.credited
    }

    fn is_receiving(&self) -> bool {
        self.state == State::Recv && self.interest == Interest::Wanted
    }

    fn finish_discarding(&mut self) {
        let told = matches!(self.interest, Interest::Stopped { delivery: Delivery::Acked, .. });
        if told && self.state == State::SizeKnown {
            self.apply(Event::Discard);
        }
    }

    fn return_up_to(&mut self, total: u64) -> u64 {
        let n = total - self.credited;
        self.credited = total;
        self.credit.give_back(n);
        n
    }

    fn apply(&mut self, event: Event) {
        let next = self.state.next(event);
        debug_assert!(next.is_some(), "{event:?} in state {:?}", self.state);
        self.state = next.unwrap_or(self.state);
    }
}

#[cfg(test)]
mod tests;
