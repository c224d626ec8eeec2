//! Frames and error codes as qlog shows them (draft-ietf-quic-qlog-quic-events, section 8.13).

use super::json::{List, Object};
use crate::wire::frame::{Ack, ConnectionClose};
use crate::wire::{Dir, Frame, Frames, PacketType, TransportErrorCode};

/// Writes the frames of a packet; stops at the first that cannot be read.
pub(super) fn write_frames(list: &mut List<'_>, payload: &[u8], packet_type: PacketType) {
    for frame in Frames::new(payload, packet_type) {
        match frame {
            Ok(frame) => write_frame(&mut list.object(), &frame),
            Err(error) => {
                let mut object = list.object();
                object.text("frame_type", "unknown");
                object.number("frame_type_bytes", error.frame_type.map_or(0, |ty| ty.0));
            }
        }
    }
}

pub(super) fn write_frame(object: &mut Object<'_>, frame: &Frame<'_>) {
    object.text("frame_type", frame_type(frame));
    match frame {
        Frame::Padding(len) => object.object("raw").number("payload_length", *len as u64),
        Frame::Ping | Frame::HandshakeDone => {}
        Frame::Ack(ack) => write_ack(object, ack),
        Frame::ResetStream(reset) => {
            object.number("stream_id", reset.stream_id.into_inner());
            write_application_error(object, "error", reset.error_code.into_inner());
            object.number("final_size", reset.final_size);
        }
        Frame::StopSending(stop) => {
            object.number("stream_id", stop.stream_id.into_inner());
            write_application_error(object, "error", stop.error_code.into_inner());
        }
        Frame::Crypto(crypto) => {
            object.number("offset", crypto.offset);
            write_length(object, crypto.data.len());
        }
        Frame::NewToken(new) => write_length(&mut object.object("token"), new.token.len()),
        Frame::Stream(stream) => {
            object.number("stream_id", stream.stream_id.into_inner());
            object.number("offset", stream.offset);
            if stream.fin {
                object.boolean("fin", true);
            }
            write_length(object, stream.data.len());
        }
        Frame::MaxData(max) => object.number("maximum", max.maximum_data),
        Frame::MaxStreamData(max) => {
            object.number("stream_id", max.stream_id.into_inner());
            object.number("maximum", max.maximum_stream_data);
        }
        Frame::MaxStreams(max) => {
            object.text("stream_type", stream_type(max.dir));
            object.number("maximum", max.maximum_streams);
        }
        Frame::DataBlocked(blocked) => object.number("limit", blocked.maximum_data),
        Frame::StreamDataBlocked(blocked) => {
            object.number("stream_id", blocked.stream_id.into_inner());
            object.number("limit", blocked.maximum_stream_data);
        }
        Frame::StreamsBlocked(blocked) => {
            object.text("stream_type", stream_type(blocked.dir));
            object.number("limit", blocked.maximum_streams);
        }
        Frame::NewConnectionId(new) => {
            object.number("sequence_number", new.sequence_number);
            object.number("retire_prior_to", new.retire_prior_to);
            object.number("connection_id_length", new.connection_id.len() as u64);
            object.hex("connection_id", new.connection_id.as_slice());
            // The token is left out: whoever reads the log could end the connection with it.
        }
        Frame::RetireConnectionId(retire) => {
            object.number("sequence_number", retire.sequence_number);
        }
        Frame::PathChallenge(path) => object.hex("data", &path.data),
        Frame::PathResponse(path) => object.hex("data", &path.data),
        Frame::ConnectionClose(close) => write_close(object, close),
    }
}

fn frame_type(frame: &Frame<'_>) -> &'static str {
    match frame {
        Frame::Padding(_) => "padding",
        Frame::Ping => "ping",
        Frame::Ack(_) => "ack",
        Frame::ResetStream(_) => "reset_stream",
        Frame::StopSending(_) => "stop_sending",
        Frame::Crypto(_) => "crypto",
        Frame::NewToken(_) => "new_token",
        Frame::Stream(_) => "stream",
        Frame::MaxData(_) => "max_data",
        Frame::MaxStreamData(_) => "max_stream_data",
        Frame::MaxStreams(_) => "max_streams",
        Frame::DataBlocked(_) => "data_blocked",
        Frame::StreamDataBlocked(_) => "stream_data_blocked",
        Frame::StreamsBlocked(_) => "streams_blocked",
        Frame::NewConnectionId(_) => "new_connection_id",
        Frame::RetireConnectionId(_) => "retire_connection_id",
        Frame::PathChallenge(_) => "path_challenge",
        Frame::PathResponse(_) => "path_response",
        Frame::ConnectionClose(_) => "connection_close",
        Frame::HandshakeDone => "handshake_done",
    }
}

/// The delay is left out: what its unit is, only the transport parameters tell.
fn write_ack(object: &mut Object<'_>, ack: &Ack<'_>) {
    {
        let mut ranges = object.list("acked_ranges");
        for range in ack.iter() {
            let mut numbers = ranges.list();
            numbers.number(*range.start());
            if range.start() != range.end() {
                numbers.number(*range.end());
            }
        }
    }
    if let Some(ecn) = ack.ecn {
        object.number("ect1", ecn.ect1);
        object.number("ect0", ecn.ect0);
        object.number("ce", ecn.ce);
    }
}

fn write_close(object: &mut Object<'_>, close: &ConnectionClose<'_>) {
    match close {
        ConnectionClose::Transport { error_code, frame_type, .. } => {
            object.text("error_space", "transport");
            write_transport_error(object, "error", *error_code);
            if let Some(ty) = frame_type {
                object.number("trigger_frame_type", ty.0);
            }
        }
        ConnectionClose::Application { error_code, .. } => {
            object.text("error_space", "application");
            write_application_error(object, "error", error_code.into_inner());
        }
    }
    match std::str::from_utf8(close.reason()) {
        Ok("") => {}
        Ok(reason) => object.text("reason", reason),
        Err(_) => object.hex("reason_bytes", close.reason()),
    }
}

/// Writes the name of an error code, and the code itself where qlog has no name for it.
pub(super) fn write_transport_error(object: &mut Object<'_>, key: &str, code: TransportErrorCode) {
    match (transport_error_name(code), code.tls_alert()) {
        (Some(name), _) => object.text(key, name),
        (None, Some(alert)) => object.text(key, &format!("crypto_error_0x1{alert:02x}")),
        (None, None) => {
            object.text(key, "unknown");
            object.number("error_code", code.0);
        }
    }
}

/// The codes of the application mean nothing to the transport.
pub(super) fn write_application_error(object: &mut Object<'_>, key: &str, code: u64) {
    object.text(key, "unknown");
    object.number("error_code", code);
}

fn transport_error_name(code: TransportErrorCode) -> Option<&'static str> {
    Some(match code {
        TransportErrorCode::NO_ERROR => "no_error",
        TransportErrorCode::INTERNAL_ERROR => "internal_error",
        TransportErrorCode::CONNECTION_REFUSED => "connection_refused",
        TransportErrorCode::FLOW_CONTROL_ERROR => "flow_control_error",
        TransportErrorCode::STREAM_LIMIT_ERROR => "stream_limit_error",
        TransportErrorCode::STREAM_STATE_ERROR => "stream_state_error",
        TransportErrorCode::FINAL_SIZE_ERROR => "final_size_error",
        TransportErrorCode::FRAME_ENCODING_ERROR => "frame_encoding_error",
        TransportErrorCode::TRANSPORT_PARAMETER_ERROR => "transport_parameter_error",
        TransportErrorCode::CONNECTION_ID_LIMIT_ERROR => "connection_id_limit_error",
        TransportErrorCode::PROTOCOL_VIOLATION => "protocol_violation",
        TransportErrorCode::INVALID_TOKEN => "invalid_token",
        TransportErrorCode::APPLICATION_ERROR => "application_error",
        TransportErrorCode::CRYPTO_BUFFER_EXCEEDED => "crypto_buffer_exceeded",
        TransportErrorCode::KEY_UPDATE_ERROR => "key_update_error",
        TransportErrorCode::AEAD_LIMIT_REACHED => "aead_limit_reached",
        TransportErrorCode::NO_VIABLE_PATH => "no_viable_path",
        _ => return None,
    })
}

pub(super) fn stream_type(dir: Dir) -> &'static str {
    match dir {
        Dir::Bi => "bidirectional",
        Dir::Uni => "unidirectional",
    }
}

fn write_length(object: &mut Object<'_>, len: usize) {
    object.object("raw").number("length", len as u64);
}
