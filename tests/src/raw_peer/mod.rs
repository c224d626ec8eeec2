//! A peer that completes a handshake with real keys and then says whatever a test wants: any bytes
//! as the payload of any packet, with any packet number, connection IDs and header bits.
//!
//! It knows nothing of time-outs, congestion or flow control. What it receives it opens, keeps in
//! [`RawPeer::received`] for the test to look at, and acknowledges when it is told to. Only
//! handshake messages are answered by themselves.
//!
//! ```text
//!            receive ──▶ open ──▶ received: Vec<ReceivedPacket>
//!                          │ CRYPTO
//!                          ▼
//!   poll_datagram ◀── handshake (TLS)
//!   packet(type).number(..).payload(..).seal() ──▶ the test sends these bytes itself
//! ```

mod crypto_stream;
mod packet;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quic_core::crypto::{Keyring, OpenError, Session};
use quic_core::util::{RangeSet, Rng};
use quic_core::wire::cursor::Writer;
use quic_core::wire::frame::{Ack, ConnectionClose, Frame, encode_ack};
use quic_core::wire::header::{Header, PartialHeader};
use quic_core::wire::{
    ConnectionId, FrameType, Frames, PacketNumber, PacketType, Side, SpaceId, TransportErrorCode,
    TransportParameters, Version,
};

use crypto_stream::CryptoStream;
pub use packet::RawPacket;

use crate::tls::{self, Certificate};

/// The length of the connection IDs that a raw peer chooses, in bytes.
pub const CID_LEN: usize = 8;
/// Datagrams with Initial packets are filled up to this size.
const DATAGRAM: usize = 1200;
/// CRYPTO data in one packet, so that it fits into a datagram with headers and an acknowledgement.
const CRYPTO_CHUNK: usize = 1000;
const MAX_ACK_SIZE: usize = 200;

/// A packet that the peer under test has sent, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPacket {
    /// When it came.
    pub at: Instant,
    /// The kind of packet.
    pub ty: PacketType,
    /// Its packet number.
    pub number: u64,
    /// Whom it was for.
    pub dcid: ConnectionId,
    /// The datagram it came in, counted from zero.
    pub datagram: usize,
    /// The size of the whole datagram it came in, in bytes.
    pub datagram_len: usize,
    /// Its frames, as they were encoded.
    pub payload: Vec<u8>,
}

impl ReceivedPacket {
    /// Its frames, decoded.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        Frames::new(&self.payload, self.ty).map(|frame| frame.expect("valid frames"))
    }
}

/// The error that the peer under test has closed its connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The kind of packet that carried it.
    pub packet: PacketType,
    /// The code, of the transport or of the application.
    pub code: u64,
    /// True if the transport closed (frame type 0x1c).
    pub is_transport: bool,
    /// The frame that was blamed.
    pub frame_type: Option<FrameType>,
    /// The reason phrase.
    pub reason: String,
}

impl Closed {
    /// The code of a close by the transport.
    pub fn transport_code(&self) -> Option<TransportErrorCode> {
        self.is_transport.then_some(TransportErrorCode(self.code))
    }
}

/// What a raw peer keeps for each packet number space.
#[derive(Debug, Default)]
struct Space {
    next_number: u64,
    received: RangeSet,
    crypto: CryptoStream,
    /// Bytes of the handshake sent so far.
    crypto_sent: u64,
}

/// A peer without manners; see the module documentation.
pub struct RawPeer {
    side: Side,
    session: Session,
    keys: Keyring,
    spaces: [Space; 3],
    /// What the other end is called: goes into the packets sent.
    pub remote_cid: ConnectionId,
    /// What this end is called.
    pub local_cid: ConnectionId,
    /// The Destination Connection ID of the client's first packet.
    pub original_dcid: ConnectionId,
    /// All packets that could be opened.
    pub received: Vec<ReceivedPacket>,
    /// Datagrams of which nothing could be opened.
    pub unopened: Vec<Vec<u8>>,
    datagrams_received: usize,
    outbox: VecDeque<Vec<u8>>,
    /// Whether packets of the other end are acknowledged as they come; true at first.
    pub acknowledges: bool,
}

impl RawPeer {
    /// A client that has its first flight ready. Connection IDs in `params` are filled in where
    /// they are missing.
    pub fn client(rng: &mut Rng, params: TransportParameters) -> Self {
        let (local_cid, original_dcid) = (random_cid(rng), random_cid(rng));
        let params = TransportParameters {
            initial_source_connection_id: params.initial_source_connection_id.or(Some(local_cid)),
            ..params
        };
        let mut encoded = Vec::new();
        params.encode(Side::Client, None, &mut encoded);
        Self::client_with_encoded_params(local_cid, original_dcid, encoded)
    }

    /// A client with a TLS configuration of its own, which may have been here before.
    pub fn client_with_tls(
        rng: &mut Rng,
        params: TransportParameters,
        tls: Arc<rustls::ClientConfig>,
    ) -> Self {
        let (local_cid, original_dcid) = (random_cid(rng), random_cid(rng));
        let params =
            TransportParameters { initial_source_connection_id: Some(local_cid), ..params };
        let mut encoded = Vec::new();
        params.encode(Side::Client, None, &mut encoded);
        let name = tls::SERVER_NAME.try_into().expect("a valid name");
        let session = Session::client(tls, Version::V1, name, encoded).expect("TLS");
        let mut peer = Self::new(session, local_cid, original_dcid, original_dcid);
        peer.send_handshake();
        peer.take_early_keys();
        peer
    }

    /// A client with transport parameters of any bytes.
    pub fn client_with_encoded_params(
        local_cid: ConnectionId,
        original_dcid: ConnectionId,
        params: Vec<u8>,
    ) -> Self {
        let name = tls::SERVER_NAME.try_into().expect("a valid name");
        let session =
            Session::client(tls::client(&[tls::ALPN]), Version::V1, name, params).expect("TLS");
        let mut peer = Self::new(session, local_cid, original_dcid, original_dcid);
        peer.send_handshake();
        peer
    }

    /// A server that answers the client whose first datagram is `first`, which still has to be
    /// handed to [`RawPeer::receive`].
    ///
    /// # Panics
    ///
    /// If the datagram does not begin with an Initial packet.
    pub fn server(rng: &mut Rng, params: TransportParameters, first: &[u8]) -> Self {
        let local_cid = random_cid(rng);
        let (original_dcid, _) = initial_ids(first);
        let params = TransportParameters {
            initial_source_connection_id: params.initial_source_connection_id.or(Some(local_cid)),
            original_destination_connection_id: params
                .original_destination_connection_id
                .or(Some(original_dcid)),
            ..params
        };
        let mut encoded = Vec::new();
        params.encode(Side::Server, None, &mut encoded);
        Self::server_with_encoded_params(local_cid, first, encoded)
    }

    /// A server with a TLS configuration of its own, which may share sessions with others; else like
    /// [`RawPeer::server`].
    pub fn server_with_tls(
        rng: &mut Rng,
        params: TransportParameters,
        first: &[u8],
        tls: Arc<rustls::ServerConfig>,
    ) -> Self {
        let local_cid = random_cid(rng);
        let (original_dcid, remote_cid) = initial_ids(first);
        let params = TransportParameters {
            initial_source_connection_id: Some(local_cid),
            original_destination_connection_id: Some(original_dcid),
            ..params
        };
        let mut encoded = Vec::new();
        params.encode(Side::Server, None, &mut encoded);
        let session = Session::server(tls, Version::V1, encoded).expect("TLS");
        Self::new(session, local_cid, remote_cid, original_dcid)
    }

    /// A server with transport parameters of any bytes; else like [`RawPeer::server`].
    pub fn server_with_encoded_params(
        local_cid: ConnectionId,
        first: &[u8],
        params: Vec<u8>,
    ) -> Self {
        let (original_dcid, remote_cid) = initial_ids(first);
        let config = tls::server(Certificate::Small, &[tls::ALPN]);
        let session = Session::server(config, Version::V1, params).expect("TLS");
        Self::new(session, local_cid, remote_cid, original_dcid)
    }

    fn new(
        session: Session,
        local_cid: ConnectionId,
        remote_cid: ConnectionId,
        original_dcid: ConnectionId,
    ) -> Self {
        let side = session.side();
        Self {
            side,
            session,
            keys: Keyring::new(Version::V1, &original_dcid, side),
            spaces: Default::default(),
            remote_cid,
            local_cid,
            original_dcid,
            received: Vec::new(),
            unopened: Vec::new(),
            datagrams_received: 0,
            outbox: VecDeque::new(),
            acknowledges: true,
        }
    }

    /// True once TLS is done on this side.
    pub fn is_connected(&self) -> bool {
        !self.session.is_handshaking()
    }

    /// The next datagram that goes out without being asked for: handshake messages and
    /// acknowledgements.
    pub fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// Takes a datagram of the peer under test.
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let index = self.datagrams_received;
        self.datagrams_received += 1;
        let before = self.received.len();
        let mut rest = datagram;
        while let Ok(Header::Protected(header)) = Header::decode(rest, self.local_cid.len()) {
            let (packet, after) = rest.split_at(header.packet_len);
            rest = after;
            self.receive_packet(now, header, packet.to_vec(), (index, datagram.len()));
        }
        if self.received.len() == before {
            self.unopened.push(datagram.to_vec());
            return;
        }
        self.send_handshake();
        let new: Vec<_> = self.received[before..].iter().map(ReceivedPacket::clone).collect();
        for space in SpaceId::ALL {
            let elicits = |packet: &&ReceivedPacket| {
                packet.ty.space() == Some(space) && packet.frames().any(|f| is_ack_eliciting(&f))
            };
            if self.acknowledges && self.keys.has(space) && new.iter().find(elicits).is_some() {
                self.acknowledge(space);
            }
        }
    }

    fn receive_packet(
        &mut self,
        now: Instant,
        header: PartialHeader,
        mut packet: Vec<u8>,
        (datagram, datagram_len): (usize, usize),
    ) {
        let Some(space) = header.kind.space() else { return };
        let largest = self.spaces[space as usize].received.max().map(packet_number);
        let opened = match self.keys.open(now, &header, &mut packet, largest) {
            Ok(opened) => opened,
            Err(OpenError::Discard(_)) => return,
            Err(OpenError::Transport(error)) => panic!("the peer broke a rule: {error}"),
        };
        if self.side == Side::Client && header.kind == PacketType::Initial {
            self.remote_cid = header.scid;
        }
        let received = ReceivedPacket {
            at: now,
            ty: header.kind,
            number: opened.packet_number.into_inner(),
            dcid: header.dcid,
            datagram,
            datagram_len,
            payload: packet[opened.payload].to_vec(),
        };
        self.spaces[space as usize].received.insert_one(received.number);
        for frame in received.frames() {
            match frame {
                Frame::Crypto(crypto) => {
                    self.spaces[space as usize].crypto.insert(crypto.offset, crypto.data);
                }
                Frame::Ack(ack) if space == SpaceId::Data => {
                    let largest = packet_number(ack.largest_acknowledged);
                    self.keys.on_acked(now, largest, opened.key_generation).expect("right keys");
                }
                _ => {}
            }
        }
        self.received.push(received);
        self.advance_tls();
    }

    /// Has 0-RTT packets sealed (by a client) or opened (by a server), if TLS has keys for them.
    fn take_early_keys(&mut self) {
        if let Some(keys) = self.session.take_early_keys() {
            self.keys.install_early(self.side, keys);
        }
    }

    /// True for a client that can seal 0-RTT packets.
    pub fn can_seal_early(&self) -> bool {
        self.keys.can_seal_early()
    }

    /// Gives TLS what has come in order.
    fn advance_tls(&mut self) {
        loop {
            let level = self.session.read_level();
            let data = self.spaces[level as usize].crypto.take();
            if data.is_empty() {
                return;
            }
            self.session.read(level, &data).expect("the peer's handshake is fine");
            self.take_early_keys();
            self.send_handshake();
        }
    }

    /// Puts what TLS has to say into packets, and takes new keys into use.
    fn send_handshake(&mut self) {
        loop {
            let level = self.session.write_level();
            let mut message = Vec::new();
            let keys = self.session.write(&mut message);
            if message.is_empty() && keys.is_none() {
                break;
            }
            for chunk in message.chunks(CRYPTO_CHUNK) {
                let payload = self.crypto_frame(level, chunk);
                let datagram = self.packet(packet_type(level)).payload(&payload).datagram();
                self.outbox.push_back(datagram);
            }
            if let Some(keys) = keys {
                self.keys.install(keys);
            }
        }
        if self.is_connected() {
            self.keys.on_handshake_complete();
            self.keys.on_handshake_confirmed();
        }
    }

    /// The next bytes of the CRYPTO stream of `level` as a frame.
    fn crypto_frame(&mut self, level: SpaceId, data: &[u8]) -> Vec<u8> {
        let sent = &mut self.spaces[level as usize].crypto_sent;
        let frame = quic_core::wire::frame::Crypto { offset: *sent, data };
        *sent += data.len() as u64;
        encode(&[Frame::Crypto(frame)])
    }

    /// Puts an acknowledgement of all packets received in `space` into the outbox.
    pub fn acknowledge(&mut self, space: SpaceId) {
        let Some(payload) = self.ack_frame(space) else { return };
        let datagram = self.packet(packet_type(space)).payload(&payload).datagram();
        self.outbox.push_back(datagram);
    }

    /// An ACK frame for all packets received in `space`; `None` if there are none.
    pub fn ack_frame(&self, space: SpaceId) -> Option<Vec<u8>> {
        let mut buf = [0; MAX_ACK_SIZE];
        let mut writer = Writer::new(&mut buf);
        let ranges = self.spaces[space as usize].received.iter().rev();
        encode_ack(&mut writer, 0, ranges, None, MAX_ACK_SIZE)?;
        Some(writer.written().to_vec())
    }

    /// Begins a packet of a type that there are keys for. It takes the next packet number when it
    /// is sealed, unless it is given one.
    pub fn packet(&mut self, ty: PacketType) -> RawPacket<'_> {
        RawPacket::new(self, ty)
    }

    /// A datagram with a 1-RTT packet of these frames.
    pub fn one_rtt(&mut self, payload: &[u8]) -> Vec<u8> {
        self.packet(PacketType::OneRtt).payload(payload).datagram()
    }

    /// How many bytes of handshake messages went out in `space`.
    pub fn crypto_sent(&self, space: SpaceId) -> u64 {
        self.spaces[space as usize].crypto_sent
    }

    /// The Destination Connection ID of a client's first datagram.
    ///
    /// # Panics
    ///
    /// If it does not begin with an Initial packet.
    pub fn original_dcid_of(first: &[u8]) -> ConnectionId {
        initial_ids(first).0
    }

    /// The next packet number in `space`.
    pub fn next_number(&self, space: SpaceId) -> u64 {
        self.spaces[space as usize].next_number
    }

    /// Seals the 1-RTT packets to come with the next generation of keys.
    ///
    /// # Panics
    ///
    /// If the peer under test has not acknowledged a packet with the present keys.
    pub fn update_keys(&mut self, now: Instant) {
        self.keys.initiate_key_update(now, Duration::ZERO).expect("an update is allowed");
    }

    /// Believes that the peer under test has acknowledged the last 1-RTT packet, with its keys.
    pub fn pretend_acknowledged(&mut self, now: Instant) {
        let last = self.next_number(SpaceId::Data).saturating_sub(1);
        let generation = self.keys.key_generation();
        self.keys.on_acked(now, packet_number(last), generation).expect("the same keys");
    }

    /// How many key updates there were, by either side.
    pub fn key_generation(&self) -> u64 {
        self.keys.key_generation()
    }

    /// All frames received in packets of type `ty`, oldest first, each handed to `pick`.
    pub fn frames<T>(
        &self,
        ty: PacketType,
        mut pick: impl FnMut(Frame<'_>) -> Option<T>,
    ) -> Vec<T> {
        let packets = self.received.iter().filter(|packet| packet.ty == ty);
        packets
            .flat_map(|packet| packet.frames().filter_map(&mut pick).collect::<Vec<_>>())
            .collect()
    }

    /// True if the peer under test has acknowledged packet `number` of `space`.
    pub fn is_acknowledged(&self, space: SpaceId, number: u64) -> bool {
        let acks = |ack: &Ack<'_>| ack.iter().any(|range| range.contains(&number));
        self.received.iter().filter(|packet| packet.ty.space() == Some(space)).any(|packet| {
            packet.frames().any(|frame| matches!(frame, Frame::Ack(ack) if acks(&ack)))
        })
    }

    /// The transport parameters of the peer under test, once TLS has them.
    pub fn peer_params(&self) -> Option<TransportParameters> {
        let params = TransportParameters::decode(self.session.peer_params()?, !self.side);
        Some(params.expect("valid parameters"))
    }

    /// How the peer under test has closed the connection, if it has: by its last word.
    pub fn closed(&self) -> Option<Closed> {
        self.received.iter().rev().find_map(|packet| {
            packet.frames().find_map(|frame| match frame {
                Frame::ConnectionClose(close) => Some(describe(packet.ty, &close)),
                _ => None,
            })
        })
    }
}

fn describe(packet: PacketType, close: &ConnectionClose<'_>) -> Closed {
    let reason = String::from_utf8_lossy(close.reason()).into_owned();
    match close {
        ConnectionClose::Transport { error_code, frame_type, .. } => Closed {
            packet,
            code: error_code.0,
            is_transport: true,
            frame_type: *frame_type,
            reason,
        },
        ConnectionClose::Application { error_code, .. } => Closed {
            packet,
            code: error_code.0.into_inner(),
            is_transport: false,
            frame_type: None,
            reason,
        },
    }
}

/// The bytes of these frames, each encoded the shortest way.
pub fn encode(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut buf = vec![0; frames.iter().map(Frame::size).sum()];
    let mut writer = Writer::new(&mut buf);
    frames.iter().for_each(|frame| frame.encode(&mut writer));
    let len = writer.position();
    buf.truncate(len);
    buf
}

fn is_ack_eliciting(frame: &Frame<'_>) -> bool {
    !matches!(frame, Frame::Ack(_) | Frame::Padding(_) | Frame::ConnectionClose(_))
}

fn packet_type(space: SpaceId) -> PacketType {
    match space {
        SpaceId::Initial => PacketType::Initial,
        SpaceId::Handshake => PacketType::Handshake,
        SpaceId::Data => PacketType::OneRtt,
    }
}

fn packet_number(number: u64) -> PacketNumber {
    PacketNumber::new(number)
}

/// A connection ID of [`CID_LEN`] random bytes.
pub fn random_cid(rng: &mut Rng) -> ConnectionId {
    ConnectionId::new(&rng.array::<CID_LEN>()).expect("short enough")
}

/// Destination and source connection ID of the Initial packet that `datagram` begins with.
fn initial_ids(datagram: &[u8]) -> (ConnectionId, ConnectionId) {
    match Header::decode(datagram, CID_LEN) {
        Ok(Header::Protected(header)) if header.kind == PacketType::Initial => {
            (header.dcid, header.scid)
        }
        other => panic!("not an Initial packet: {other:?}"),
    }
}

#[cfg(test)]
mod tests;
