//! Events as one line of text, for logs and for the traces of tests.

use std::fmt;

use super::event::{CongestionCause, EcnChange, Event, Packet, PathMetrics};
use super::json::Hex;
use crate::wire::frame::ConnectionClose;
use crate::wire::{Frame, Frames};

impl Event<'_> {
    /// The name of the event, that of qlog where qlog has one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConnectionStarted { .. } => "connection_started",
            Self::VersionInformation { .. } => "version_information",
            Self::AlpnInformation { .. } => "alpn_information",
            Self::ParametersSet { .. } => "parameters_set",
            Self::StateUpdated { .. }
            | Self::HandshakeComplete { .. }
            | Self::HandshakeConfirmed => "connection_state_updated",
            Self::ConnectionClosed { .. } => "connection_closed",
            Self::ConnectionIdUpdated { .. } => "connection_id_updated",
            Self::PathAssigned { .. } => "tuple_assigned",
            Self::PathStateUpdated { .. } => "migration_state_updated",
            Self::MtuUpdated { .. } => "mtu_updated",
            Self::EcnChanged { .. } => "ecn_state_updated",
            Self::DatagramsSent { .. } => "udp_datagrams_sent",
            Self::DatagramReceived { .. } => "udp_datagrams_received",
            Self::PacketSent(_) => "packet_sent",
            Self::PacketReceived(_) | Self::RetryReceived { .. } => "packet_received",
            Self::PacketDropped { .. } => "packet_dropped",
            Self::PacketBuffered { .. } => "packet_buffered",
            Self::PacketsAcked { .. } => "packets_acked",
            Self::PacketLost { .. } => "packet_lost",
            Self::StreamStateUpdated { .. } => "stream_state_updated",
            Self::KeyInstalled { .. } | Self::EarlyKeysInstalled | Self::KeyUpdated { .. } => {
                "key_updated"
            }
            Self::KeyDiscarded { .. } | Self::EarlyKeysDiscarded { .. } => "key_discarded",
            Self::RecoveryParametersSet { .. } => "recovery_parameters_set",
            Self::MetricsUpdated(_) => "recovery_metrics_updated",
            Self::CongestionStateUpdated { .. }
            | Self::CongestionEvent { .. }
            | Self::PersistentCongestion => "congestion_state_updated",
            Self::TimerExpired { .. } => "timer_updated",
        }
    }

    /// True for events that come with every packet.
    pub fn is_frequent(&self) -> bool {
        matches!(
            self,
            Self::DatagramsSent { .. }
                | Self::DatagramReceived { .. }
                | Self::PacketSent(_)
                | Self::PacketReceived(_)
                | Self::PacketsAcked { .. }
                | Self::MetricsUpdated(_)
                | Self::TimerExpired { .. }
        )
    }
}

/// The details of the event in one line, without its name.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionStarted { remote, local_cid, remote_cid, .. } => {
                write!(f, "remote={remote} local_cid={local_cid} remote_cid={remote_cid}")
            }
            Self::VersionInformation { client, server, chosen } => {
                write!(f, "client={client:?} server={server:?} chosen={chosen:?}")
            }
            Self::AlpnInformation { client, server, chosen } => {
                f.write_str("client=")?;
                write_protocols(f, client)?;
                f.write_str(" server=")?;
                write_protocols(f, server)?;
                f.write_str(" chosen=")?;
                write_protocol(f, *chosen)
            }
            Self::ParametersSet { initiator, params } => write!(f, "{initiator:?} {params:?}"),
            Self::StateUpdated { new } => write!(f, "{new:?}"),
            Self::HandshakeComplete { alpn } => {
                f.write_str("HandshakeComplete alpn=")?;
                write_protocol(f, *alpn)
            }
            Self::HandshakeConfirmed => f.write_str("HandshakeConfirmed"),
            Self::ConnectionClosed { reason } => reason.fmt(f),
            Self::ConnectionIdUpdated { initiator, old, new } => {
                write!(f, "{initiator:?} {old:?} -> {new}")
            }
            Self::PathAssigned { path, remote, .. } => write!(f, "path={path} remote={remote}"),
            Self::PathStateUpdated { path, new } => write!(f, "path={path} {new:?}"),
            Self::MtuUpdated { mtu } => write!(f, "mtu={mtu}"),
            Self::EcnChanged { change: EcnChange::Validated } => f.write_str("ECN works"),
            Self::EcnChanged { change: EcnChange::Failed } => f.write_str("ECN does not work"),
            Self::DatagramsSent { count, len } => write!(f, "count={count} len={len}"),
            Self::DatagramReceived { len } => write!(f, "len={len}"),
            Self::PacketSent(packet) | Self::PacketReceived(packet) => packet.fmt(f),
            Self::RetryReceived { scid, token_len, .. } => {
                write!(f, "Retry scid={scid} token={token_len} bytes")
            }
            Self::PacketDropped { reason, len } => write!(f, "len={len} {reason}"),
            Self::PacketBuffered { packet_type, len } => write!(f, "{packet_type} len={len}"),
            Self::PacketsAcked { space, ranges } => write!(f, "{space} {ranges:?}"),
            Self::PacketLost { space, packet_number } => write!(f, "{space} {packet_number}"),
            Self::StreamStateUpdated { stream_id, half, new } => {
                write!(f, "stream={stream_id} {half:?} {new:?}")
            }
            Self::KeyInstalled { space } => write!(f, "{space} installed"),
            Self::EarlyKeysInstalled => f.write_str("0-RTT installed"),
            Self::EarlyKeysDiscarded { rejected: true } => f.write_str("0-RTT rejected"),
            Self::EarlyKeysDiscarded { rejected: false } => f.write_str("0-RTT"),
            Self::KeyUpdated { generation } => write!(f, "generation={generation}"),
            Self::KeyDiscarded { space } => write!(f, "{space}"),
            Self::RecoveryParametersSet {
                congestion,
                initial_rtt,
                max_datagram_size,
                initial_congestion_window,
            } => write!(
                f,
                "{congestion} initial_rtt={initial_rtt:?} datagram={max_datagram_size} \
                 window={initial_congestion_window}"
            ),
            Self::MetricsUpdated(metrics) => metrics.fmt(f),
            Self::CongestionStateUpdated { new } => f.write_str(new),
            Self::CongestionEvent { cause: CongestionCause::Loss } => f.write_str("loss"),
            Self::CongestionEvent { cause: CongestionCause::Ecn } => f.write_str("ECN"),
            Self::PersistentCongestion => f.write_str("persistent congestion"),
            Self::TimerExpired { timer, space } => write!(f, "{timer:?} {space:?} expired"),
        }
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} dcid={} len={}:", self.packet_type, self.number, self.dcid, self.size)?;
        for frame in Frames::new(self.payload, self.packet_type) {
            match frame {
                Ok(frame) => {
                    f.write_str(" ")?;
                    write_frame(f, &frame)?;
                }
                Err(error) => write!(f, " ({error})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for PathMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rtt={:?} (min {:?}, latest {:?}, variation {:?}) window={} in_flight={} mtu={}",
            self.smoothed_rtt,
            self.min_rtt,
            self.latest_rtt,
            self.rtt_variation,
            self.congestion_window,
            self.bytes_in_flight,
            self.mtu
        )
    }
}

fn write_protocols(f: &mut fmt::Formatter<'_>, protocols: &[Vec<u8>]) -> fmt::Result {
    f.write_str("[")?;
    for (index, protocol) in protocols.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma}{}", protocol.escape_ascii())?;
    }
    f.write_str("]")
}

fn write_protocol(f: &mut fmt::Formatter<'_>, protocol: Option<&[u8]>) -> fmt::Result {
    match protocol {
        Some(protocol) => write!(f, "{}", protocol.escape_ascii()),
        None => f.write_str("none"),
    }
}

fn write_frame(f: &mut fmt::Formatter<'_>, frame: &Frame<'_>) -> fmt::Result {
    match frame {
        Frame::Padding(len) => write!(f, "PADDING({len})"),
        Frame::Ping | Frame::HandshakeDone => write!(f, "{}", frame.ty()),
        Frame::Ack(ack) => {
            f.write_str("ACK(")?;
            for (index, range) in ack.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
            match ack.ecn {
                Some(ecn) => write!(f, " ect0={} ect1={} ce={})", ecn.ect0, ecn.ect1, ecn.ce),
                None => f.write_str(")"),
            }
        }
        Frame::ResetStream(reset) => write!(
            f,
            "RESET_STREAM({} code={} final={})",
            reset.stream_id, reset.error_code, reset.final_size
        ),
        Frame::StopSending(stop) => {
            write!(f, "STOP_SENDING({} code={})", stop.stream_id, stop.error_code)
        }
        Frame::Crypto(crypto) => write!(f, "CRYPTO({}+{})", crypto.offset, crypto.data.len()),
        Frame::NewToken(token) => write!(f, "NEW_TOKEN({} bytes)", token.token.len()),
        Frame::Stream(stream) => {
            let fin = if stream.fin { " fin" } else { "" };
            let (id, offset, len) = (stream.stream_id, stream.offset, stream.data.len());
            write!(f, "STREAM({id} {offset}+{len}{fin})")
        }
        Frame::MaxData(max) => write!(f, "MAX_DATA({})", max.maximum_data),
        Frame::MaxStreamData(max) => {
            write!(f, "MAX_STREAM_DATA({} {})", max.stream_id, max.maximum_stream_data)
        }
        Frame::MaxStreams(max) => write!(f, "MAX_STREAMS({} {})", max.dir, max.maximum_streams),
        Frame::DataBlocked(blocked) => write!(f, "DATA_BLOCKED({})", blocked.maximum_data),
        Frame::StreamDataBlocked(blocked) => {
            let (id, limit) = (blocked.stream_id, blocked.maximum_stream_data);
            write!(f, "STREAM_DATA_BLOCKED({id} {limit})")
        }
        Frame::StreamsBlocked(blocked) => {
            write!(f, "STREAMS_BLOCKED({} {})", blocked.dir, blocked.maximum_streams)
        }
        Frame::NewConnectionId(new) => write!(
            f,
            "NEW_CONNECTION_ID({} {} retire<{})",
            new.sequence_number, new.connection_id, new.retire_prior_to
        ),
        Frame::RetireConnectionId(retire) => {
            write!(f, "RETIRE_CONNECTION_ID({})", retire.sequence_number)
        }
        Frame::PathChallenge(path) => write!(f, "PATH_CHALLENGE({})", Hex(&path.data)),
        Frame::PathResponse(path) => write!(f, "PATH_RESPONSE({})", Hex(&path.data)),
        Frame::ConnectionClose(close) => {
            match close {
                ConnectionClose::Transport { error_code, .. } => {
                    write!(f, "CONNECTION_CLOSE({error_code}")?;
                }
                ConnectionClose::Application { error_code, .. } => {
                    write!(f, "APPLICATION_CLOSE({error_code}")?;
                }
            }
            write!(f, " \"{}\")", close.reason().escape_ascii())
        }
    }
}
