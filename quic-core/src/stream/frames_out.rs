//! Frames that concern streams, into packets.
//!
//! Each frame that was written is handed to a `sink`, which keeps it with the packet until the
//! packet is acknowledged or lost.

use std::time::{Duration, Instant};

use super::flow::{ReceiveCredit, SendCredit};
use super::ledger::SentStreamFrame;
use super::send::{SendStream, SentData};
use super::{Phase, Streams};
use crate::wire::frame::{
    DataBlocked, MaxData, MaxStreamData, MaxStreams, StopSending, StreamDataBlocked, StreamsBlocked,
};
use crate::wire::{Dir, StreamId, Writer, varint};

/// Writes a frame if there is room for it; false if there is not.
macro_rules! put {
    ($writer:expr, $frame:expr) => {{
        let frame = $frame;
        let fits = frame.size() <= $writer.remaining();
        if fits {
            frame.encode($writer);
        }
        fits
    }};
}

impl Streams {
    /// True if [`write_control`](Self::write_control) has something to write.
    pub fn has_control_pending(&self) -> bool {
        if self.phase == Phase::Closed {
            return false;
        }
        self.control.front(0).is_some()
            || self.receive_credit.wants_update()
            || self.send_credit.has_blocked_pending()
            || self.accept_credit.iter().any(ReceiveCredit::wants_update)
            || (self.is_running() && self.open_credit.iter().any(SendCredit::has_blocked_pending))
    }

    /// True if [`write_data`](Self::write_data) has something to write, given enough room.
    #[inline]
    pub fn has_data_pending(&self) -> bool {
        self.scheduler.has_work(self.send_credit.available() > 0)
    }

    /// Writes frames that carry no stream data, as far as there is room.
    ///
    /// `rtt` is the smoothed round-trip time, which the receive windows follow.
    pub fn write_control(
        &mut self,
        now: Instant,
        rtt: Duration,
        writer: &mut Writer<'_>,
        sink: &mut impl FnMut(SentStreamFrame),
    ) {
        if self.phase == Phase::Closed {
            return;
        }
        if !self.write_connection_limits(now, rtt, writer, sink) {
            return;
        }
        while let Some(key) = self.control.front(0) {
            if !self.write_stream_control(key, now, rtt, writer, sink) {
                return;
            }
            self.settle(key);
            debug_assert_ne!(self.control.front(0), Some(key), "a turn writes all that waits");
        }
    }

    /// Fills the rest of the packet with STREAM frames, the most urgent stream first.
    ///
    /// If the last one fills the packet to its end it has no length field, so nothing may follow it.
    /// If nothing is written there was too little room.
    // req 9000-2.2-005
    pub fn write_data(&mut self, writer: &mut Writer<'_>, sink: &mut impl FnMut(SentStreamFrame)) {
        loop {
            let credit = self.send_credit.available();
            let Some(key) = self.scheduler.next(credit > 0) else { return };
            let stream = &mut self.table[key];
            let (id, priority) = (stream.id, stream.priority);
            let Some(send) = &mut stream.send else { return };
            let before = (send.highest_sent(), writer.position());
            let Some(sent) = send.write_frame(id, credit, writer) else { return };
            self.send_credit.consume(send.highest_sent() - before.0);
            let SentData { offset, len, fin } = sent;
            sink(SentStreamFrame::Data { id, offset, len, fin });
            self.scheduler.charge(key, priority, (writer.position() - before.1) as u64);
            self.settle(key);
        }
    }

    /// Has every limit that holds data back be told to the peer once more.
    ///
    /// For a connection on which nothing is in flight, lest the peer takes it for idle. Walks over
    /// all streams.
    // req 9000-4.1-025
    pub fn repeat_blocked(&mut self) {
        self.send_credit.repeat_blocked();
        let mut blocked = Vec::new();
        for (key, stream) in self.table.iter_mut() {
            if let Some(send) = &mut stream.send {
                send.repeat_blocked();
                blocked.extend(send.pending_blocked().map(|_| key));
            }
        }
        blocked.into_iter().for_each(|key| self.settle(key));
    }

    fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// False if the packet is full.
    // req 9000-4.2-027, 9000-4.6-038, 9000-19.12-458
    fn write_connection_limits(
        &mut self,
        now: Instant,
        rtt: Duration,
        writer: &mut Writer<'_>,
        sink: &mut impl FnMut(SentStreamFrame),
    ) -> bool {
        // The frames of this function are at most 9 bytes long.
        const ROOM: usize = 9;
        if self.receive_credit.wants_update() {
            if writer.remaining() < ROOM {
                return false;
            }
            let maximum_data = self.receive_credit.advance(now, rtt);
            MaxData { maximum_data }.encode(writer);
            sink(SentStreamFrame::MaxData(maximum_data));
        }
        for dir in Dir::ALL {
            let credit = &mut self.accept_credit[dir as usize];
            if credit.wants_update() {
                if writer.remaining() < ROOM {
                    return false;
                }
                let maximum_streams = credit.advance(now, rtt);
                MaxStreams { dir, maximum_streams }.encode(writer);
                sink(SentStreamFrame::MaxStreams(dir, maximum_streams));
            }
        }
        if self.send_credit.has_blocked_pending() {
            let maximum_data = self.send_credit.limit();
            if !put!(writer, DataBlocked { maximum_data }) {
                return false;
            }
            self.send_credit.on_blocked_sent();
            sink(SentStreamFrame::DataBlocked(maximum_data));
        }
        for dir in Dir::ALL {
            let running = self.is_running();
            let credit = &mut self.open_credit[dir as usize];
            if running && credit.has_blocked_pending() {
                let maximum_streams = credit.limit();
                if !put!(writer, StreamsBlocked { dir, maximum_streams }) {
                    return false;
                }
                credit.on_blocked_sent();
                sink(SentStreamFrame::StreamsBlocked(dir, maximum_streams));
            }
        }
        true
    }

    /// Writes what waits on one stream; false if the packet is full.
    fn write_stream_control(
        &mut self,
        key: usize,
        now: Instant,
        rtt: Duration,
        writer: &mut Writer<'_>,
        sink: &mut impl FnMut(SentStreamFrame),
    ) -> bool {
        let stream = &mut self.table[key];
        let stream_id = stream.id;
        if let Some(send) = &mut stream.send
            && !write_send_control(send, stream_id, writer, sink)
        {
            return false;
        }
        let Some(recv) = &mut stream.recv else { return true };
        if let Some(error_code) = recv.pending_stop() {
            if !put!(writer, StopSending { stream_id, error_code }) {
                return false;
            }
            recv.on_stop_sent();
            sink(SentStreamFrame::StopSending(stream_id));
        }
        if recv.wants_window_update() {
            // With the largest limit, since the true one is known only when it is moved.
            let longest = MaxStreamData { stream_id, maximum_stream_data: varint::MAX };
            if longest.size() > writer.remaining() {
                return false;
            }
            let maximum_stream_data = recv.advance_window(now, rtt);
            MaxStreamData { stream_id, maximum_stream_data }.encode(writer);
            sink(SentStreamFrame::MaxStreamData(stream_id, maximum_stream_data));
            // One stream alone must not be able to use up the credit of all.
            let window = recv.window();
            self.receive_credit.grow_window(window.saturating_add(window / 2));
        }
        true
    }
}

fn write_send_control(
    send: &mut SendStream,
    stream_id: StreamId,
    writer: &mut Writer<'_>,
    sink: &mut impl FnMut(SentStreamFrame),
) -> bool {
    if let Some(frame) = send.pending_reset(stream_id) {
        if !put!(writer, frame) {
            return false;
        }
        send.on_reset_sent();
        sink(SentStreamFrame::ResetStream(stream_id));
    }
    if let Some(maximum_stream_data) = send.pending_blocked() {
        if !put!(writer, StreamDataBlocked { stream_id, maximum_stream_data }) {
            return false;
        }
        send.on_blocked_sent();
        sink(SentStreamFrame::StreamDataBlocked(stream_id, maximum_stream_data));
    }
    true
}
