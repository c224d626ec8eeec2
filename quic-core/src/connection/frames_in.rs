//! The frames of an opened packet, each to the state that owns it. Mirror of `frames_out`.

use std::time::Instant;

use super::recv::Opened;
use super::{Connection, RouteChange, patience};
use crate::buffer::Lender;
use crate::error::{TransportError, Violation};
use crate::wire::frame::{Frame, Frames, NewConnectionId, RetireConnectionId};
use crate::wire::{PacketType, Side, SpaceId};

/// What a packet was, by its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Processed {
    /// The peer wants it acknowledged.
    pub(super) ack_eliciting: bool,
    /// It only tries out a path (RFC 9000 section 9.1).
    pub(super) probing: bool,
}

/// True for the frames that do not say that their sender is at home where they come from.
fn is_probing(frame: &Frame<'_>) -> bool {
    matches!(
        frame,
        Frame::Padding(_)
            | Frame::PathChallenge(_)
            | Frame::PathResponse(_)
            | Frame::NewConnectionId(_)
    )
}

impl Connection {
    /// Processes all frames of a packet.
    // req 9000-12.4-290, 9000-5.2-062
    pub(super) fn process_payload(
        &mut self,
        now: Instant,
        packet: &Opened<'_>,
        lender: &mut Lender<'_>,
    ) -> Result<Processed, TransportError> {
        if packet.payload.is_empty() {
            return Err(TransportError::new(Violation::PacketEmpty));
        }
        let mut done = Processed { ack_eliciting: false, probing: true };
        let mut progress = false;
        // req 9000-12.4-291
        for frame in Frames::new(packet.payload, packet.packet_type) {
            let frame = frame?;
            done.ack_eliciting |= frame.ty().is_ack_eliciting();
            done.probing &= is_probing(&frame);
            progress |= patience::is_progress(&frame);
            self.process_frame(now, packet, &frame, lender)
                .map_err(|error| error.in_frame(frame.ty()))?;
            if !self.state.is_open() {
                return Ok(done);
            }
        }
        if progress {
            self.patience.on_progress();
        } else {
            self.patience.on_idle_packet(now)?;
        }
        Ok(done)
    }

    fn process_frame(
        &mut self,
        now: Instant,
        packet: &Opened<'_>,
        frame: &Frame<'_>,
        lender: &mut Lender<'_>,
    ) -> Result<(), TransportError> {
        match frame {
            Frame::Padding(_) | Frame::Ping => Ok(()),
            Frame::Ack(ack) => self.on_ack(now, packet, ack),
            Frame::Crypto(crypto) => {
                if packet.space == SpaceId::Initial {
                    self.versions.on_initial_crypto(packet.version)?;
                }
                self.on_crypto(now, packet.space, crypto)
            }
            Frame::Stream(stream) => {
                if packet.packet_type == PacketType::ZeroRtt && self.state.is_handshaking() {
                    self.streams.on_early_stream(stream)?;
                }
                let data = lender.lend(stream.data, packet.datagram_size);
                self.streams.on_stream(stream, data)
            }
            Frame::ResetStream(reset) => self.streams.on_reset_stream(reset),
            Frame::StopSending(stop) => self.streams.on_stop_sending(stop),
            Frame::MaxData(max) => self.streams.on_max_data(max),
            Frame::MaxStreamData(max) => self.streams.on_max_stream_data(max),
            Frame::MaxStreams(max) => self.streams.on_max_streams(max),
            Frame::DataBlocked(blocked) => self.streams.on_data_blocked(blocked),
            Frame::StreamDataBlocked(blocked) => self.streams.on_stream_data_blocked(blocked),
            Frame::StreamsBlocked(blocked) => self.streams.on_streams_blocked(blocked),
            Frame::NewConnectionId(new) => self.on_new_connection_id(now, new),
            Frame::RetireConnectionId(retire) => self.on_retire_connection_id(packet, retire),
            Frame::PathChallenge(challenge) => {
                self.on_path_challenge(packet, challenge.data);
                Ok(())
            }
            Frame::PathResponse(response) => {
                self.on_path_response(now, response.data);
                Ok(())
            }
            // req 9000-19.7-445
            Frame::NewToken(_) if self.side == Side::Server => {
                Err(TransportError::new(Violation::NewTokenAtServer))
            }
            Frame::NewToken(new) => {
                self.tokens.on_received(new.token);
                Ok(())
            }
            Frame::HandshakeDone => self.on_handshake_done(now),
            Frame::ConnectionClose(close) => {
                self.on_connection_close(now, close);
                Ok(())
            }
        }
    }
}

impl Connection {
    fn on_new_connection_id(
        &mut self,
        now: Instant,
        frame: &NewConnectionId,
    ) -> Result<(), TransportError> {
        let old = self.remote_ids.active();
        if self.remote_ids.on_new(frame)? {
            self.tell_remote_id(now, old);
        }
        self.on_remote_ids_changed(now);
        Ok(())
    }

    fn on_retire_connection_id(
        &mut self,
        packet: &Opened<'_>,
        frame: &RetireConnectionId,
    ) -> Result<(), TransportError> {
        let retired = self.local_ids.on_retire(frame.sequence_number, packet.dcid)?;
        if let Some(id) = retired {
            self.routes.push_back(RouteChange::Retired(id));
            self.issue_connection_ids();
        }
        Ok(())
    }

    /// Makes as many connection IDs as the peer should have in stock.
    pub(super) fn issue_connection_ids(&mut self) {
        while let Some(id) = self.local_ids.issue(&mut self.rng) {
            self.routes.push_back(RouteChange::Issued(id));
        }
    }
}
