//! Which frames go into a packet, in which order. Mirror of `frames_in`.

use std::time::Instant;

use super::Connection;
use super::send::Draft;
use super::sent_frame::SentFrame;
use crate::error::{ConnectionError, TransportError};
use crate::recovery::PacketKind;
use crate::space::AckToSend;
use crate::wire::cursor::Writer;
use crate::wire::frame::{self, ConnectionClose, Frame};
use crate::wire::{SpaceId, TransportErrorCode};

/// Our acknowledgement delays are written in units of 2^3 microseconds, the default.
const ACK_DELAY_EXPONENT: u32 = 3;
/// An ACK frame takes at most this much of a packet: older ranges are left out.
const MAX_ACK_SIZE: usize = 256;
/// The TLS alert for an application protocol that the sides do not share.
const NO_APPLICATION_PROTOCOL: u8 = 120;

impl Connection {
    /// True if something but acknowledgements and CRYPTO data waits for a 1-RTT packet.
    pub(super) fn has_data_frames(&self) -> bool {
        self.handshake.wants_handshake_done()
            // req 9000-8.2.2-160
            || self.path.has_response()
            || self.local_ids.has_pending()
            || self.remote_ids.has_pending()
            || self.tokens.has_pending()
            || self.has_stream_frames()
    }

    /// True if a stream or its flow control has something to send.
    pub(super) fn has_stream_frames(&self) -> bool {
        self.streams.has_control_pending() || self.streams.has_data_pending()
    }

    /// Fills the packet: acknowledgements first, then what keeps the connection going, then data.
    pub(super) fn write_frames(
        &mut self,
        now: Instant,
        id: SpaceId,
        may_send_data: bool,
        writer: &mut Writer<'_>,
        draft: &mut Draft,
    ) {
        let probing = self.space(id).is_some_and(|space| space.probes > 0);
        self.write_ack(now, id, writer, draft);
        if !may_send_data && !probing {
            return;
        }
        if probing {
            self.refill_probe(id);
        }
        let before = writer.position();
        self.write_crypto(id, writer, draft);
        if id == SpaceId::Data {
            // What belongs to the connection has time until it is there.
            if !draft.early {
                self.write_connection_frames(writer, draft);
            }
            let rtt = self.path.recovery.rtt.smoothed();
            let frames = &mut draft.frames;
            self.streams
                .write_control(now, rtt, writer, &mut |f| frames.push(SentFrame::Stream(f)));
            self.streams.write_data(writer, &mut |f| frames.push(SentFrame::Stream(f)));
        }
        self.write_ping(id, writer, probing && writer.position() == before);
        if writer.position() > before {
            draft.kind = PacketKind::AckEliciting;
        }
    }

    // req 9000-13.2.1-310, 9000-13.2.6-326, 9000-13.2.3-322, 9000-13.2.6-327, 9000-17.2.3-396
    pub(super) fn write_ack(
        &mut self,
        now: Instant,
        id: SpaceId,
        writer: &mut Writer<'_>,
        draft: &mut Draft,
    ) {
        let Some(space) = self.space_mut(id) else { return };
        if space.acks.to_send(now) == AckToSend::None {
            return;
        }
        let (Some(largest), Some(at)) =
            (space.received.largest(), space.received.largest_received_at())
        else {
            return;
        };
        // req 9000-13.2.5-323
        let delay = now.saturating_duration_since(at).as_micros() as u64 >> ACK_DELAY_EXPONENT;
        let ecn = space.acks.ecn_counts();
        let ranges = space.received.ranges().iter().rev();
        if frame::encode_ack(writer, delay, ranges, ecn, MAX_ACK_SIZE).is_some() {
            space.acks.on_ack_sent();
            draft.frames.push(SentFrame::Ack { space: id, largest });
        }
    }

    // req 9001-4.9-028
    fn write_crypto(&mut self, id: SpaceId, writer: &mut Writer<'_>, draft: &mut Draft) {
        let Some(space) = self.space_mut(id) else { return };
        while let Some((offset, len)) = space.crypto.write_frame(writer) {
            draft.frames.push(SentFrame::Crypto { space: id, offset, len });
        }
    }

    fn write_connection_frames(&mut self, writer: &mut Writer<'_>, draft: &mut Draft) {
        if self.handshake.wants_handshake_done() && writer.remaining() >= 1 {
            Frame::HandshakeDone.encode(writer);
            self.handshake.on_handshake_done_sent();
            draft.frames.push(SentFrame::HandshakeDone);
        }
        while let Some(response) = self.path.next_response(writer.remaining()) {
            response.encode(writer);
            draft.answers_challenge = true;
        }
        while let Some(retire) = self.remote_ids.next_frame(writer.remaining()) {
            retire.encode(writer);
            draft.frames.push(SentFrame::RetireConnectionId { sequence: retire.sequence_number });
        }
        while let Some(new) = self.local_ids.next_frame(writer.remaining()) {
            new.encode(writer);
            draft.frames.push(SentFrame::NewConnectionId { sequence: new.sequence_number });
        }
        while let Some((index, new)) = self.tokens.next_frame(writer.remaining()) {
            new.encode(writer);
            draft.frames.push(SentFrame::NewToken { index });
        }
    }

    /// A PING where one was asked for, or where a probe would otherwise elicit nothing.
    // req 9002-6.2.4-040
    fn write_ping(&mut self, id: SpaceId, writer: &mut Writer<'_>, probe_is_empty: bool) {
        let Some(space) = self.space_mut(id) else { return };
        if (space.ping || probe_is_empty) && writer.remaining() >= 1 {
            Frame::Ping.encode(writer);
            space.ping = false;
        }
    }
}

impl Connection {
    /// CONNECTION_CLOSE as `id` may carry it: before 1-RTT an application's code and reason stay
    /// hidden, because the peer is not yet known.
    // req 9000-10.2.3-243, 9000-10.2.3-244, 9000-12.5-297
    pub(super) fn write_close(&self, id: SpaceId, writer: &mut Writer<'_>) {
        let phrase;
        let close = match &self.close_reason {
            Some(ConnectionError::LocallyClosed(code)) if id == SpaceId::Data => {
                ConnectionClose::Application { error_code: *code, reason: &self.close_phrase }
            }
            Some(ConnectionError::LocallyClosed(_)) => ConnectionClose::APPLICATION_BEFORE_ONE_RTT,
            Some(
                ConnectionError::Transport(error) | ConnectionError::HandshakeFailed { error, .. },
            ) => transport_close(error),
            Some(reason @ ConnectionError::AlpnMismatch { .. }) => {
                // Names the protocols of both sides, so that the peer's error can do the same.
                phrase = reason.to_string();
                ConnectionClose::Transport {
                    error_code: TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL),
                    frame_type: None,
                    reason: phrase.as_bytes(),
                }
            }
            reason => unreachable!("nothing to say about {reason:?}"),
        };
        close.fitted(writer.remaining()).encode(writer);
    }
}

// req 9000-11-269
fn transport_close(error: &TransportError) -> ConnectionClose<'static> {
    ConnectionClose::Transport {
        error_code: error.code,
        frame_type: error.frame_type,
        reason: error.reason.sentence().as_bytes(),
    }
}
