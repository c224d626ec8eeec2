//! The sending part of a stream (RFC 9000, section 3.1).
//!
//! ```text
//!  Ready ──SendFrame──▶ Send ──SendFin──▶ DataSent ──AllAcked──▶ DataRecvd
//!    │                   │                   │
//!    └───────Reset───────┴───────Reset───────┴─▶ ResetSent ──ResetAcked──▶ ResetRecvd
//! ```
//!
//! The part enters Reset Sent as soon as it is decided that RESET_STREAM will be sent, since from
//! then on nothing else may be. STOP_SENDING from the peer is such a decision in Ready and Send; in
//! Data Sent it is remembered, and turns into a reset only if data would have to be sent again.
//!
//! There is no synchronisation in here: whoever owns the value drives it.

use bytes::Bytes;

use super::delivery::Delivery;
use super::flow::SendCredit;
use super::scheduler::Demand;
use crate::buffer::SendBuffer;
use crate::observe::StreamState;
use crate::wire::frame::{ResetStream, StreamHeader};
use crate::wire::{ApplicationErrorCode, StreamId, Writer};

/// Room below which a packet gets no part of longer data: its header would weigh too much.
const MIN_PART: usize = 16;

/// The states of RFC 9000, figure 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Send,
    DataSent,
    DataRecvd,
    ResetSent,
    ResetRecvd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    SendFrame,
    SendFin,
    AllAcked,
    Reset,
    ResetAcked,
}

impl State {
    /// The whole transition table; `None` for what cannot happen in a state.
    fn next(self, event: Event) -> Option<Self> {
        use {Event as E, State as S};
        match (self, event) {
            (S::Ready | S::Send, E::SendFrame) => Some(S::Send),
            (S::Ready | S::Send | S::DataSent, E::SendFin) => Some(S::DataSent),
            (S::DataSent, E::AllAcked) => Some(S::DataRecvd),
            (S::Ready | S::Send | S::DataSent, E::Reset) => Some(S::ResetSent),
            (S::ResetSent, E::ResetAcked) => Some(S::ResetRecvd),
            (S::DataSent, E::SendFrame)
            | (S::Ready | S::Send, E::AllAcked | E::ResetAcked)
            | (S::DataSent, E::ResetAcked)
            | (S::ResetSent, E::SendFrame | E::SendFin | E::AllAcked | E::Reset)
            | (S::DataRecvd | S::ResetRecvd, _) => None,
        }
    }
}

/// How the sending part of a stream ended. The first outcome is the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The peer has acknowledged all data and the end of the stream.
    Delivered,
    /// The stream was reset.
    Reset {
        /// The code that the peer is told.
        code: ApplicationErrorCode,
        /// True if the peer asked for it with STOP_SENDING, whose code this is.
        by_peer: bool,
    },
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// There is no room now; `StreamEvent::Writable` tells when there is.
    Blocked,
    /// The peer does not want the data, for the reason it gave.
    Stopped(ApplicationErrorCode),
    /// The stream was finished or reset by this side.
    Closed,
    /// There is no such stream, or it only receives.
    UnknownStream,
}

/// What STOP_SENDING from the peer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopEffect {
    /// The stream is reset with the peer's code; this many bytes left the buffer.
    Reset(u64),
    /// Everything is sent already: only a loss will lead to a reset.
    Remembered,
    /// The stream had ended or was stopped before.
    None,
}

/// What an acknowledgement or a loss led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendProgress {
    /// Bytes that left the buffer.
    pub freed: u64,
    /// The outcome, if it was decided just now.
    pub outcome: Option<SendOutcome>,
}

impl SendProgress {
    const NONE: Self = Self { freed: 0, outcome: None };
}

/// Data that was put into a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentData {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u16,
    /// True if the stream ends after them.
    pub fin: bool,
}

/// Whether the application has ended the stream, and whether the peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Open,
    Requested(Delivery),
}

/// RESET_STREAM, or what might become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abort {
    None,
    /// The peer has sent STOP_SENDING after everything was sent.
    StopRemembered(ApplicationErrorCode),
    Reset {
        code: ApplicationErrorCode,
        by_peer: bool,
        delivery: Delivery,
    },
}

/// The sending part of a stream: data until it is acknowledged, the end, flow control, and reset.
#[derive(Debug)]
pub struct SendStream {
    state: State,
    buffer: SendBuffer,
    fin: Fin,
    abort: Abort,
    credit: SendCredit,
    /// Bytes that may be written beyond what the peer has acknowledged.
    window: u64,
}

impl SendStream {
    /// A stream on which nothing was sent.
    ///
    /// The peer accepts `max_data` bytes for now; `window` bounds what is buffered here.
    pub fn new(max_data: u64, window: u64) -> Self {
        Self {
            state: State::Ready,
            buffer: SendBuffer::new(),
            fin: Fin::Open,
            abort: Abort::None,
            credit: SendCredit::new(max_data),
            window,
        }
    }

    // ---- the application

    /// How many bytes can be written now.
    pub fn room(&self) -> Result<u64, WriteError> {
        match (self.abort, self.fin) {
            (Abort::Reset { code, by_peer: true, .. }, _) => Err(WriteError::Stopped(code)),
            (Abort::Reset { .. }, _) | (_, Fin::Requested(_)) => Err(WriteError::Closed),
            (Abort::None | Abort::StopRemembered(_), Fin::Open) => {
                Ok(self.window.saturating_sub(self.buffer.outstanding()))
            }
        }
    }

    /// True if at least a quarter of the window is free, which makes it worth to wake a writer.
    pub fn has_ample_room(&self) -> bool {
        self.buffer.outstanding() <= self.window - self.window / 4
    }

    /// Appends `data`, which is no longer than [`room`](Self::room).
    pub fn write(&mut self, data: Bytes) {
        debug_assert!(self.room().is_ok_and(|room| data.len() as u64 <= room));
        self.buffer.write(data);
    }

    /// Ends the stream after what was written.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.room()?;
        self.fin = Fin::Requested(Delivery::Pending);
        Ok(())
    }

    /// Ends the stream at once; the number of bytes that left the buffer, `None` if it had ended.
    // req 9000-3.1-007
    pub fn reset(&mut self, code: ApplicationErrorCode) -> Option<u64> {
        self.start_reset(code, false)
    }

    // ---- frames from the peer

    /// Takes in STOP_SENDING.
    // req 9000-3.5-014, 9000-3.5-015, 9000-3.5-017
    pub fn on_stop_sending(&mut self, code: ApplicationErrorCode) -> StopEffect {
        match (self.state, self.abort) {
            (State::Ready | State::Send, _) => match self.start_reset(code, true) {
                Some(freed) => StopEffect::Reset(freed),
                None => StopEffect::None,
            },
            (State::DataSent, Abort::None) => {
                self.abort = Abort::StopRemembered(code);
                StopEffect::Remembered
            }
            (State::DataSent, _) | (State::DataRecvd | State::ResetSent | State::ResetRecvd, _) => {
                StopEffect::None
            }
        }
    }

    /// Takes in MAX_STREAM_DATA.
    pub fn on_max_stream_data(&mut self, limit: u64) {
        self.credit.raise(limit);
    }

    // ---- into packets

    /// What the stream needs to send something, `None` if it cannot send or has nothing to send.
    // req 9000-3.3-010, 9000-3.3-011
    pub fn demand(&self) -> Option<Demand> {
        match self.state {
            State::Ready | State::Send | State::DataSent => {}
            State::DataRecvd | State::ResetSent | State::ResetRecvd => return None,
        }
        if self.buffer.has_lost() {
            Some(Demand::Room)
        } else if self.buffer.unsent() > 0 {
            (self.credit.available() > 0).then_some(Demand::Credit)
        } else {
            (self.fin == Fin::Requested(Delivery::Pending)).then_some(Demand::Room)
        }
    }

    /// Writes one STREAM frame: what was lost before what is new, and of what is new at most
    /// `connection_credit` bytes. `None` if nothing can be sent or too little room is left.
    ///
    /// A frame that fills the packet has no length field. How many bytes of credit were used is the
    /// growth of [`highest_sent`](Self::highest_sent).
    // req 9000-4.5-030, 9000-2.2-004
    pub fn write_frame(
        &mut self,
        id: StreamId,
        connection_credit: u64,
        writer: &mut Writer<'_>,
    ) -> Option<SentData> {
        self.demand()?;
        let sent = self.buffer.sent();
        let allowed = sent.saturating_add(connection_credit).min(self.credit.limit());
        let range = match self.buffer.next(allowed) {
            Some(range) => range,
            None if self.buffer.unsent() == 0 => sent..sent,
            None => return None,
        };
        let wanted = range.end - range.start;
        let room = writer.remaining();
        let to_end = StreamHeader::data_capacity_to_end(id, range.start, room)?;
        let (len, len_field) = if wanted >= to_end as u64 && to_end >= MIN_PART {
            (to_end, None)
        } else {
            let capacity = StreamHeader::data_capacity(id, range.start, room)?;
            if wanted > capacity as u64 && capacity < MIN_PART {
                return None;
            }
            let len = capacity.min(usize::try_from(wanted).unwrap_or(usize::MAX));
            (len, Some(len))
        };
        // A frame without bytes says something only if it ends the stream.
        let end = range.start + len as u64;
        let fin = matches!(self.fin, Fin::Requested(_)) && end == self.buffer.end();
        if len == 0 && !fin {
            return None;
        }
        let offset = range.start;
        StreamHeader { stream_id: id, offset, fin, len: len_field }.encode(writer);
        self.buffer.transmit(range, writer.take(len));
        self.credit.consume(self.buffer.sent() - sent);
        self.on_frame_sent(fin);
        Some(SentData { offset, len: u16::try_from(len).expect("packets are shorter"), fin })
    }

    /// Number of bytes that were put into packets at least once: what the stream has used of the
    /// connection's credit, and its final size once it is reset.
    pub fn highest_sent(&self) -> u64 {
        self.buffer.sent()
    }

    /// The RESET_STREAM frame that waits to be sent.
    pub fn pending_reset(&self, id: StreamId) -> Option<ResetStream> {
        match self.abort {
            Abort::Reset { code, delivery: Delivery::Pending, .. } => Some(ResetStream {
                stream_id: id,
                error_code: code,
                final_size: self.buffer.sent(),
            }),
            Abort::None | Abort::StopRemembered(_) | Abort::Reset { .. } => None,
        }
    }

    /// The frame of [`pending_reset`](Self::pending_reset) was written.
    pub fn on_reset_sent(&mut self) {
        if let Abort::Reset { delivery, .. } = &mut self.abort {
            *delivery = Delivery::InFlight;
        }
    }

    /// The limit that STREAM_DATA_BLOCKED should name now.
    // req 9000-19.13-459, 9000-4.1-024
    pub fn pending_blocked(&self) -> Option<u64> {
        self.credit.has_blocked_pending().then_some(self.credit.limit())
    }

    /// The frame of [`pending_blocked`](Self::pending_blocked) was written.
    pub fn on_blocked_sent(&mut self) {
        self.credit.on_blocked_sent();
        self.on_frame_sent(false);
    }

    /// Finds out whether nothing but the stream's flow control holds data back, for
    /// [`pending_blocked`](Self::pending_blocked).
    pub fn update_blocked(&mut self) {
        let can_send = matches!(self.state, State::Ready | State::Send);
        if can_send && self.buffer.unsent() > 0 && self.credit.available() == 0 {
            self.credit.on_blocked();
        } else {
            self.credit.on_unblocked();
        }
    }

    /// Has [`pending_blocked`](Self::pending_blocked) name the limit once more, if it still holds
    /// data back.
    pub fn repeat_blocked(&mut self) {
        self.credit.repeat_blocked();
    }

    // ---- acknowledgement and loss

    /// The peer has acknowledged a packet with `data`.
    pub fn on_data_acked(&mut self, data: SentData) -> SendProgress {
        if !self.has_data() {
            return SendProgress::NONE;
        }
        let freed = self.buffer.on_acked(data.offset..data.offset + u64::from(data.len));
        if data.fin
            && let Fin::Requested(delivery) = &mut self.fin
        {
            delivery.on_acked();
        }
        let all = self.buffer.is_acked() && self.fin == Fin::Requested(Delivery::Acked);
        if all {
            self.apply(Event::AllAcked);
        }
        SendProgress { freed, outcome: all.then_some(SendOutcome::Delivered) }
    }

    /// A packet with `data` was lost, or the data shall be sent again to probe the path.
    // req 9000-3.5-016
    pub fn on_data_lost(&mut self, data: SentData) -> SendProgress {
        if !self.has_data() {
            return SendProgress::NONE;
        }
        self.buffer.on_lost(data.offset..data.offset + u64::from(data.len));
        if data.fin
            && let Fin::Requested(delivery) = &mut self.fin
        {
            delivery.on_lost();
        }
        match self.abort {
            Abort::StopRemembered(code) if self.demand().is_some() => SendProgress {
                freed: self.start_reset(code, true).unwrap_or(0),
                outcome: Some(SendOutcome::Reset { code, by_peer: true }),
            },
            Abort::None | Abort::StopRemembered(_) | Abort::Reset { .. } => SendProgress::NONE,
        }
    }

    /// The peer has acknowledged a packet with RESET_STREAM.
    pub fn on_reset_acked(&mut self) {
        if let Abort::Reset { delivery, .. } = &mut self.abort
            && *delivery != Delivery::Acked
        {
            delivery.on_acked();
            self.apply(Event::ResetAcked);
        }
    }

    /// A packet with RESET_STREAM was lost.
    pub fn on_reset_lost(&mut self) {
        if let Abort::Reset { delivery, .. } = &mut self.abort {
            delivery.on_lost();
        }
    }

    /// A packet with STREAM_DATA_BLOCKED that named `limit` was lost.
    pub fn on_blocked_lost(&mut self, limit: u64) {
        self.credit.on_blocked_lost(limit);
    }

    // ---- questions

    /// The state, for who listens.
    pub fn state(&self) -> StreamState {
        match self.state {
            State::Ready => StreamState::Ready,
            State::Send => StreamState::Send,
            State::DataSent => StreamState::DataSent,
            State::DataRecvd => StreamState::DataReceived,
            State::ResetSent => StreamState::ResetSent,
            State::ResetRecvd => StreamState::ResetReceived,
        }
    }

    /// True in the terminal states: the peer knows how the stream ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::DataRecvd | State::ResetRecvd)
    }

    /// How the stream ended, once that is decided.
    pub fn outcome(&self) -> Option<SendOutcome> {
        match self.abort {
            Abort::Reset { code, by_peer, .. } => Some(SendOutcome::Reset { code, by_peer }),
            Abort::None | Abort::StopRemembered(_) => {
                (self.state == State::DataRecvd).then_some(SendOutcome::Delivered)
            }
        }
    }

    /// True if the application has neither finished nor reset the stream, nor the peer stopped it.
    pub fn is_open(&self) -> bool {
        self.fin == Fin::Open && !matches!(self.abort, Abort::Reset { .. })
    }

    /// Bytes that were written and whose acknowledgement is outstanding.
    pub fn buffered(&self) -> u64 {
        self.buffer.outstanding()
    }

    fn has_data(&self) -> bool {
        match self.state {
            State::Ready | State::Send | State::DataSent => true,
            State::DataRecvd | State::ResetSent | State::ResetRecvd => false,
        }
    }

    // req 9000-13.3-330
    fn start_reset(&mut self, code: ApplicationErrorCode, by_peer: bool) -> Option<u64> {
        self.state = self.state.next(Event::Reset)?;
        self.abort = Abort::Reset { code, by_peer, delivery: Delivery::Pending };
        self.credit.on_unblocked();
        Some(self.buffer.abandon())
    }

    fn on_frame_sent(&mut self, fin: bool) {
        if fin {
            self.fin = Fin::Requested(Delivery::InFlight);
            self.apply(Event::SendFin);
        } else if self.state != State::DataSent {
            self.apply(Event::SendFrame);
        }
    }

    fn apply(&mut self, event: Event) {
        let next = self.state.next(event);
        debug_assert!(next.is_some(), "{event:?} in state {:?}", self.state);
        self.state = next.unwrap_or(self.state);
    }
}

#[cfg(test)]
mod tests;
