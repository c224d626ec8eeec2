//! Frames of the peer that concern streams (RFC 9000, sections 19.4, 19.5 and 19.8 to 19.14).
//!
//! Every frame first finds its stream, and on the way there all that can be wrong with its number
//! is found out. A frame for a stream that is over does nothing.

use super::event::StreamEvent;
use super::send::StopEffect;
use super::table::{Known, Owner};
use super::{Phase, Streams};
use crate::buffer::Arrival;
use crate::error::{TransportError, Violation};
use crate::wire::frame::{
    DataBlocked, MaxData, MaxStreamData, MaxStreams, ResetStream, StopSending, Stream,
    StreamDataBlocked, StreamsBlocked,
};
use crate::wire::{FrameType, StreamId};

impl Streams {
    /// Takes in a STREAM frame. `data` is the frame's data in the way in which it may
    /// be kept.
    pub fn on_stream(
        &mut self,
        frame: &Stream<'_>,
        data: Arrival<'_>,
    ) -> Result<(), TransportError> {
        debug_assert_eq!(frame.data.len(), data.len());
        self.accept_stream(frame, data).map_err(in_frame(FrameType::STREAM))
    }

    /// A STREAM frame arrived that anybody may have replayed: its stream remembers that.
    ///
    /// To be called before [`on_stream`](Self::on_stream).
    pub fn on_early_stream(&mut self, frame: &Stream<'_>) -> Result<(), TransportError> {
        let found = self.find_receiving(frame.stream_id).map_err(in_frame(FrameType::STREAM))?;
        if let Some(key) = found {
            self.table[key].early = true;
            self.has_early = true;
        }
        Ok(())
    }

    /// Takes in a RESET_STREAM frame.
    pub fn on_reset_stream(&mut self, frame: &ResetStream) -> Result<(), TransportError> {
        self.accept_reset(frame).map_err(in_frame(FrameType::RESET_STREAM))
    }

    /// Takes in a STOP_SENDING frame.
    pub fn on_stop_sending(&mut self, frame: &StopSending) -> Result<(), TransportError> {
        self.accept_stop(frame).map_err(in_frame(FrameType::STOP_SENDING))
    }

    /// Takes in a MAX_DATA frame.
    pub fn on_max_data(&mut self, frame: &MaxData) -> Result<(), TransportError> {
        self.raise_send_limit(frame.maximum_data);
        self.update_blocked();
        Ok(())
    }

    /// Takes in a MAX_STREAM_DATA frame.
    pub fn on_max_stream_data(&mut self, frame: &MaxStreamData) -> Result<(), TransportError> {
        let found =
            self.find_sending(frame.stream_id).map_err(in_frame(FrameType::MAX_STREAM_DATA))?;
        if let Some(key) = found {
            if let Some(send) = &mut self.table[key].send {
                send.on_max_stream_data(frame.maximum_stream_data);
            }
            self.settle(key);
        }
        Ok(())
    }

    /// Takes in a MAX_STREAMS frame.
    pub fn on_max_streams(&mut self, frame: &MaxStreams) -> Result<(), TransportError> {
        self.raise_stream_count(frame.dir, frame.maximum_streams);
        Ok(())
    }

    /// Takes in a DATA_BLOCKED frame, which asks for nothing: limits move on their own.
    pub fn on_data_blocked(&mut self, _frame: &DataBlocked) -> Result<(), TransportError> {
        Ok(())
    }

    /// Takes in a STREAM_DATA_BLOCKED frame, which can open a stream and asks for nothing.
    pub fn on_stream_data_blocked(
        &mut self,
        frame: &StreamDataBlocked,
    ) -> Result<(), TransportError> {
        self.find_receiving(frame.stream_id)
            .map_err(in_frame(FrameType::STREAM_DATA_BLOCKED))
            .map(drop)
    }

    /// Takes in a STREAMS_BLOCKED frame: limits move on their own, and for a peer that waits they do
    /// so with every place that becomes free.
    pub fn on_streams_blocked(&mut self, frame: &StreamsBlocked) -> Result<(), TransportError> {
        self.accept_credit[frame.dir as usize].on_peer_blocked(frame.maximum_streams);
        Ok(())
    }

    fn accept_stream(&mut self, frame: &Stream<'_>, data: Arrival<'_>) -> Result<(), Violation> {
        let Some(key) = self.find_receiving(frame.stream_id)? else { return Ok(()) };
        let Some(recv) = &mut self.table[key].recv else { return Ok(()) };
        // req 9000-4.1-022, 9000-19.9-449
        let used = recv.on_extent(frame.end(), frame.fin)?;
        self.receive_credit.consume(used).map_err(|_| Violation::ConnectionDataLimit)?;
        let was_readable = recv.is_readable();
        let offset = frame.offset;
        let before = recv.memory();
        let credit = recv.on_data(offset, data);
        let (after, is_readable) = (recv.memory(), recv.is_readable());
        self.receive_memory = self.receive_memory - before + after;
        self.receive_credit.give_back(credit);
        self.check_memory()?;
        if is_readable && (!was_readable || used > 0) {
            self.notify_readable(key);
        }
        self.settle(key);
        Ok(())
    }

    fn accept_reset(&mut self, frame: &ResetStream) -> Result<(), Violation> {
        let Some(key) = self.find_receiving(frame.stream_id)? else { return Ok(()) };
        let (code, final_size) = (frame.error_code, frame.final_size);
        if let Some(used) = self.with_recv(key, |recv| recv.on_reset(code, final_size)) {
            self.receive_credit.consume(used?).map_err(|_| Violation::ConnectionDataLimit)?;
        }
        if let Some(recv) = &mut self.table[key].recv {
            self.receive_credit.give_back(recv.return_after_reset());
        }
        self.notify_readable(key);
        self.settle(key);
        Ok(())
    }

    fn accept_stop(&mut self, frame: &StopSending) -> Result<(), Violation> {
        let Some(key) = self.find_sending(frame.stream_id)? else { return Ok(()) };
        let (id, code) = (frame.stream_id, frame.error_code);
        let stream = &mut self.table[key];
        let Some(send) = &mut stream.send else { return Ok(()) };
        match send.on_stop_sending(code) {
            // The application hears of it when it has accepted the stream.
            StopEffect::Reset(_) if stream.owner == Owner::Unaccepted => {}
            StopEffect::Reset(freed) => {
                self.events.push_stopped(id, code);
                self.forget_writer(key);
                self.on_send_freed(key, freed);
            }
            StopEffect::Remembered => self.events.push(StreamEvent::Stopped { id, code }),
            StopEffect::None => {}
        }
        self.settle(key);
        Ok(())
    }

    /// The place of a stream for a frame that only its sender sends; `None` if it is over.
    // req 9000-19.8-446, 9000-19.4-438, 9000-19.13-460
    fn find_receiving(&mut self, id: StreamId) -> Result<Option<usize>, Violation> {
        if !id.is_receivable_by(self.side) {
            return Err(Violation::FrameForSendOnlyStream);
        }
        self.find_or_open(id)
    }

    /// The place of a stream for a frame that only its receiver sends; `None` if it is over.
    // req 9000-19.5-439, 9000-19.5-440, 9000-19.10-450, 9000-19.10-451
    fn find_sending(&mut self, id: StreamId) -> Result<Option<usize>, Violation> {
        if !id.is_sendable_by(self.side) {
            return Err(Violation::FrameForReceiveOnlyStream);
        }
        self.find_or_open(id)
    }

    fn find_or_open(&mut self, id: StreamId) -> Result<Option<usize>, Violation> {
        if self.phase == Phase::Closed {
            return Ok(None);
        }
        match self.table.known(id) {
            Known::Here(key) => Ok(Some(key)),
            Known::Over => Ok(None),
            Known::Implied => Ok(Some(self.make_for_peer(id))),
            Known::Unopened if id.initiator() == self.side => {
                Err(Violation::FrameForUnopenedStream)
            }
            Known::Unopened => {
                // req 9000-4.6-035, 9000-19.11-457
                let credit = &mut self.accept_credit[id.dir() as usize];
                credit.consume_up_to(id.index() + 1).map_err(|_| Violation::StreamLimit)?;
                self.table.open_up_to(id);
                self.events.push_opened(id.dir());
                Ok(Some(self.make_for_peer(id)))
            }
        }
    }

    fn make_for_peer(&mut self, id: StreamId) -> usize {
        let key = self.make(id);
        // A stream that was implied may have been accepted, and is made then; so this one was not.
        self.table[key].owner = Owner::Unaccepted;
        key
    }
}

fn in_frame(ty: FrameType) -> impl Fn(Violation) -> TransportError {
    move |violation| TransportError::new(violation).in_frame(ty)
}
