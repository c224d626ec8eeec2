//! What went into packets, and what becomes of it when they are acknowledged or lost.

use super::Streams;
use super::event::StreamEvent;
use super::send::{SendProgress, SendStream, SentData};
use super::table::Stream;
use crate::wire::{Dir, StreamId};

/// A frame of this layer that is in a packet, with just what is needed to act on the packet's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentStreamFrame {
    /// STREAM.
    Data {
        /// The stream.
        id: StreamId,
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        len: u16,
        /// True if the stream ends after them.
        fin: bool,
    },
    /// RESET_STREAM.
    ResetStream(StreamId),
    /// STOP_SENDING.
    StopSending(StreamId),
    /// MAX_DATA with this limit.
    MaxData(u64),
    /// MAX_STREAM_DATA with this limit.
    MaxStreamData(StreamId, u64),
    /// MAX_STREAMS with this limit.
    MaxStreams(Dir, u64),
    /// DATA_BLOCKED at this limit.
    DataBlocked(u64),
    /// STREAM_DATA_BLOCKED at this limit.
    StreamDataBlocked(StreamId, u64),
    /// STREAMS_BLOCKED at this limit.
    StreamsBlocked(Dir, u64),
}

impl SentStreamFrame {
    /// The stream that the frame is about, if it is about one.
    pub fn stream_id(self) -> Option<StreamId> {
        match self {
            Self::Data { id, .. }
            | Self::ResetStream(id)
            | Self::StopSending(id)
            | Self::MaxStreamData(id, _)
            | Self::StreamDataBlocked(id, _) => Some(id),
            Self::MaxData(_)
            | Self::MaxStreams(..)
            | Self::DataBlocked(_)
            | Self::StreamsBlocked(..) => None,
        }
    }
}

impl Streams {
    /// The peer has acknowledged a packet that carried `frame`.
    pub fn on_acked(&mut self, frame: SentStreamFrame) {
        use SentStreamFrame as F;
        match frame {
            F::MaxData(limit) => self.receive_credit.on_update_acked(limit),
            F::MaxStreams(dir, limit) => {
                self.accept_credit[dir as usize].on_update_acked(limit);
            }
            F::DataBlocked(_) | F::StreamDataBlocked(..) | F::StreamsBlocked(..) => {}
            F::Data { id, offset, len, fin } => {
                let data = SentData { offset, len, fin };
                self.on_data(id, |send| send.on_data_acked(data));
            }
            F::ResetStream(id) => {
                self.on_part(id, |stream| stream.send.as_mut().map(|send| send.on_reset_acked()))
            }
            F::StopSending(id) => {
                self.on_part(id, |stream| stream.recv.as_mut().map(|recv| recv.on_stop_acked()))
            }
            F::MaxStreamData(id, limit) => self
                .on_part(id, |stream| stream.recv.as_mut().map(|recv| recv.on_window_acked(limit))),
        }
    }

    /// A packet that carried `frame` was lost.
    ///
    /// Also for a packet that may still arrive, when its contents shall be sent again as a probe.
    pub fn on_lost(&mut self, frame: SentStreamFrame) {
        use SentStreamFrame as F;
        match frame {
            F::MaxData(limit) => self.receive_credit.on_update_lost(limit),
            F::MaxStreams(dir, limit) => self.accept_credit[dir as usize].on_update_lost(limit),
            F::DataBlocked(limit) => self.send_credit.on_blocked_lost(limit),
            F::StreamsBlocked(dir, limit) => {
                self.open_credit[dir as usize].on_blocked_lost(limit);
            }
            F::StreamDataBlocked(id, limit) => self
                .on_part(id, |stream| stream.send.as_mut().map(|send| send.on_blocked_lost(limit))),
            F::Data { id, offset, len, fin } => {
                let data = SentData { offset, len, fin };
                self.on_data(id, |send| send.on_data_lost(data));
            }
            F::ResetStream(id) => {
                self.on_part(id, |stream| stream.send.as_mut().map(|send| send.on_reset_lost()))
            }
            F::StopSending(id) => {
                self.on_part(id, |stream| stream.recv.as_mut().map(|recv| recv.on_stop_lost()))
            }
            F::MaxStreamData(id, limit) => self
                .on_part(id, |stream| stream.recv.as_mut().map(|recv| recv.on_window_lost(limit))),
        }
    }

    fn on_data(&mut self, id: StreamId, act: impl FnOnce(&mut SendStream) -> SendProgress) {
        let Some(key) = self.table.find(id) else { return };
        let Some(send) = &mut self.table[key].send else { return };
        let SendProgress { freed, outcome } = act(send);
        if let Some(outcome) = outcome {
            self.events.push(StreamEvent::SendClosed { id, outcome });
            self.forget_writer(key);
        }
        self.on_send_freed(key, freed);
        self.settle(key);
    }

    fn on_part<T>(&mut self, id: StreamId, act: impl FnOnce(&mut Stream) -> Option<T>) {
        let Some(key) = self.table.find(id) else { return };
        act(&mut self.table[key]);
        self.settle(key);
    }
}
