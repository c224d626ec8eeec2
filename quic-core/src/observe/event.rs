//! Everything that can be told about a connection.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::{ConnectionError, Discard};
use crate::wire::header::PartialHeader;
use crate::wire::{
    ConnectionId, PacketNumber, PacketType, SpaceId, StreamId, TransportParameters, Version,
};

/// Something that happened in a connection.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    // ------------------------------------------------------------------ the connection as a whole
    /// The connection begins: a client is about to send, or a server has received a first packet.
    ConnectionStarted {
        /// The address of this side, as far as it is known.
        local: Option<SocketAddr>,
        /// The address of the peer.
        remote: SocketAddr,
        /// The connection ID that the peer sends to at first.
        local_cid: ConnectionId,
        /// The connection ID that this side sends to at first.
        remote_cid: ConnectionId,
    },
    /// The versions of both sides, as far as they are known; which one is used.
    VersionInformation {
        /// What the client can do.
        client: &'a [Version],
        /// What the server can do.
        server: &'a [Version],
        /// The version in use, `None` if there is none in common.
        chosen: Option<Version>,
    },
    /// The application protocols of both sides, as far as they are known; which one is used.
    AlpnInformation {
        /// What the client offers; empty if unknown.
        client: &'a [Vec<u8>],
        /// What the server has; empty if unknown.
        server: &'a [Vec<u8>],
        /// The protocol in use, `None` if there is none in common yet.
        chosen: Option<&'a [u8]>,
    },
    /// Transport parameters took effect.
    ParametersSet {
        /// Whose they are.
        initiator: Initiator,
        /// The parameters.
        params: &'a TransportParameters,
    },
    /// The handshake or the end of the connection got a step further.
    StateUpdated {
        /// The state from now on.
        new: ConnectionState,
    },
    /// TLS has finished; data can be sent and received.
    HandshakeComplete {
        /// The application protocol.
        alpn: Option<&'a [u8]>,
    },
    /// Both sides know that the handshake is complete.
    HandshakeConfirmed,
    /// The connection is over.
    ConnectionClosed {
        /// Why.
        reason: &'a ConnectionError,
    },

    // -------------------------------------------------------------------------------- the path
    /// One side sends to another connection ID from now on.
    ConnectionIdUpdated {
        /// `Local` if the peer sends to `new`, `Remote` if this side does.
        initiator: Initiator,
        /// The connection ID before.
        old: Option<ConnectionId>,
        /// The connection ID from now on.
        new: ConnectionId,
    },
    /// A path came into use.
    PathAssigned {
        /// Counts the paths of the connection from 0.
        path: u64,
        /// The address of this side, as far as it is known.
        local: Option<SocketAddr>,
        /// The address of the peer.
        remote: SocketAddr,
    },
    /// A path came into another state.
    PathStateUpdated {
        /// The path, as in [`Event::PathAssigned`].
        path: u64,
        /// The state from now on.
        new: PathState,
    },
    /// The largest datagram that the path is known to carry changed.
    MtuUpdated {
        /// UDP payload bytes.
        mtu: u16,
    },
    /// ECN was found to work on the path, or not to.
    EcnChanged {
        /// Which.
        change: EcnChange,
    },

    // ------------------------------------------------------------------------ datagrams, packets
    /// Datagrams were handed out to be sent.
    DatagramsSent {
        /// How many.
        count: usize,
        /// Bytes of all of them together.
        len: usize,
    },
    /// A datagram came in.
    DatagramReceived {
        /// Its length in bytes.
        len: usize,
    },
    /// A packet is about to be protected and sent.
    PacketSent(Packet<'a>),
    /// A packet was received and opened.
    PacketReceived(Packet<'a>),
    /// A Retry packet came in, and the handshake begins anew.
    RetryReceived {
        /// The version.
        version: Version,
        /// The connection ID it was sent to.
        dcid: ConnectionId,
        /// The connection ID that this side sends to from now on.
        scid: ConnectionId,
        /// Bytes of the token.
        token_len: usize,
    },
    /// A packet, or the rest of a datagram, was dropped.
    PacketDropped {
        /// Why.
        reason: Discard,
        /// Bytes dropped.
        len: usize,
    },
    /// A packet waits for keys that are not there yet.
    PacketBuffered {
        /// What kind of packet it is.
        packet_type: PacketType,
        /// Its length in bytes.
        len: usize,
    },
    /// Packets were acknowledged for the first time.
    PacketsAcked {
        /// Their packet number space.
        space: SpaceId,
        /// Their packet numbers, in ranges.
        ranges: &'a [RangeInclusive<u64>],
    },
    /// A packet was declared lost.
    PacketLost {
        /// Its packet number space.
        space: SpaceId,
        /// Its packet number.
        packet_number: PacketNumber,
    },

    // ----------------------------------------------------------------------------------- streams
    /// One half of a stream came into another state.
    StreamStateUpdated {
        /// The stream.
        stream_id: StreamId,
        /// Which half of it.
        half: StreamHalf,
        /// The state from now on.
        new: StreamState,
    },

    // -------------------------------------------------------------------------------------- keys
    /// TLS gave the keys of a packet number space.
    KeyInstalled {
        /// The space.
        space: SpaceId,
    },
    /// TLS gave the keys of 0-RTT packets.
    EarlyKeysInstalled,
    /// The keys of 0-RTT packets were discarded.
    EarlyKeysDiscarded {
        /// The server did not take the early data.
        rejected: bool,
    },
    /// 1-RTT keys were updated.
    KeyUpdated {
        /// How many updates there have been; its lowest bit is the Key Phase bit.
        generation: u64,
    },
    /// The keys of a packet number space were discarded.
    KeyDiscarded {
        /// The space.
        space: SpaceId,
    },

    // -------------------------------------------------------------------- recovery and congestion
    /// What recovery and congestion control start from.
    RecoveryParametersSet {
        /// The name of the congestion controller.
        congestion: &'static str,
        /// The round-trip time assumed before the first sample.
        initial_rtt: Duration,
        /// UDP payload bytes of the first datagrams.
        max_datagram_size: u16,
        /// The first congestion window, in bytes.
        initial_congestion_window: u64,
    },
    /// Round-trip time, window or bytes in flight changed.
    MetricsUpdated(PathMetrics),
    /// The congestion controller behaves in another way.
    CongestionStateUpdated {
        /// The state from now on, such as "slow_start".
        new: &'static str,
    },
    /// The congestion window was reduced.
    CongestionEvent {
        /// Why.
        cause: CongestionCause,
    },
    /// Everything sent over a long time was lost; the window is at its minimum.
    PersistentCongestion,

    // ------------------------------------------------------------------------------------ timers
    /// A timer went off.
    TimerExpired {
        /// Which.
        timer: Timer,
        /// The space it is for, if it is for one.
        space: Option<SpaceId>,
    },
}

/// A packet in plain text.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What kind of packet it is.
    pub packet_type: PacketType,
    /// Its whole packet number.
    pub number: PacketNumber,
    /// The version; `None` in short headers.
    pub version: Option<Version>,
    /// The connection ID it is sent to.
    pub dcid: ConnectionId,
    /// The connection ID of its sender; `None` in short headers.
    pub scid: Option<ConnectionId>,
    /// Bytes of the token of an Initial packet.
    pub token_len: usize,
    /// Bytes on the wire, with header and tag.
    pub size: usize,
    /// The frames, as they are on the wire before protection; see [`crate::wire::Frames`].
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// A packet with this header; `size` counts header and tag.
    pub fn new(
        header: &PartialHeader,
        number: PacketNumber,
        size: usize,
        payload: &'a [u8],
    ) -> Self {
        let is_long = header.kind.has_long_header();
        Self {
            packet_type: header.kind,
            number,
            version: is_long.then_some(header.version),
            dcid: header.dcid,
            scid: is_long.then_some(header.scid),
            token_len: header.token.len(),
            size,
            payload,
        }
    }
}

/// Which side did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// This one.
    Local,
    /// The peer.
    Remote,
}

/// A step in the life of a connection that has no event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// The first Initial packet was sent or received.
    Attempted,
    /// The first Handshake packet was sent or received.
    HandshakeStarted,
    /// A server knows that the client receives at its address.
    PeerValidated,
    /// A server can send data, but the handshake is not complete.
    EarlyWrite,
    /// This side has closed and answers with CONNECTION_CLOSE.
    Closing,
    /// The peer has closed; this side says nothing more.
    Draining,
    /// Nothing is left.
    Closed,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// The first challenge was sent there.
    Probing,
    /// The peer has answered a challenge in a datagram of full size.
    Validated,
    /// Nobody has answered in time.
    Failed,
    /// Packets are sent there from now on.
    InUse,
    /// It was not needed any more.
    Left,
}

/// One half of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamHalf {
    /// What this side sends.
    Sending,
    /// What the peer sends.
    Receiving,
}

/// The state of one half of a stream (RFC 9000, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The states of the RFC.
pub enum StreamState {
    Ready,
    Send,
    DataSent,
    ResetSent,
    ResetReceived,
    Receive,
    SizeKnown,
    DataReceived,
    DataRead,
    ResetRead,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// To send a delayed acknowledgement.
    AckDelay,
    /// To declare packets lost (RFC 9002, section 6.1.2).
    LossDetection,
    /// To probe (RFC 9002, section 6.2).
    ProbeTimeout,
    /// To give up a silent connection.
    Idle,
    /// To give up a handshake.
    Handshake,
    /// To keep a connection from being given up.
    KeepAlive,
    /// To send what the pacer holds back.
    Pacing,
    /// To give up a path that does not answer.
    PathValidation,
    /// To forget a closed connection.
    Close,
}

/// Why the congestion window has to be reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongestionCause {
    /// A packet was declared lost.
    Loss,
    /// The peer reported more packets marked ECN-CE than before.
    Ecn,
}

/// What an ACK frame changed about ECN on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnChange {
    /// The path carries marks.
    Validated,
    /// The path or the peer does not; packets are no longer marked.
    Failed,
}

/// What recovery and congestion control know about a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathMetrics {
    /// The smallest round-trip time seen.
    pub min_rtt: Duration,
    /// The smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// The last round-trip time seen.
    pub latest_rtt: Duration,
    /// How much the round-trip time varies.
    pub rtt_variation: Duration,
    /// How many bytes may be in flight.
    pub congestion_window: u64,
    /// How many bytes are in flight.
    pub bytes_in_flight: u64,
    /// The window at which slow start ends, in bytes; `None` before the first reduction.
    pub slow_start_threshold: Option<u64>,
    /// UDP payload bytes of the largest datagram that the path is known to carry.
    pub mtu: u16,
}
