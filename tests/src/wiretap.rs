//! What somebody sees who looks at the datagrams between client and server.

use std::net::SocketAddr;
use std::time::Instant;

use quic_core::Ecn;
use quic_core::wire::header::Header;
use quic_core::wire::{FrameType, PacketType, Version};

use crate::net::Datagram;
use crate::tap::FrameTap;

/// As long as the client's address is not validated, the server sends at most this many times what
/// it has received (RFC 9000 section 8.1).
const FACTOR: usize = 3;
/// Datagrams of endpoints with default settings carry connection IDs of this length.
const CID_LEN: usize = 8;

/// A datagram that was sent.
#[derive(Debug, Clone)]
pub struct Crossing {
    /// When it was sent.
    pub at: Instant,
    /// Its direction.
    pub to_server: bool,
    /// Its size in bytes.
    pub len: usize,
    /// Its ECN field.
    pub ecn: Option<Ecn>,
    /// The kinds of packets in it.
    pub packets: Vec<PacketType>,
    /// The version of each packet with a long header in it.
    pub versions: Vec<(PacketType, Version)>,
    /// The first byte of each packet in it, as it was on the wire.
    pub first_bytes: Vec<u8>,
    /// Where it comes from, as the receiver sees it.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// The connection ID that its first packet is sent to.
    pub dcid: Vec<u8>,
    /// The types of the frames in it, if frames are tapped.
    pub frames: Vec<FrameType>,
}

impl Crossing {
    pub(crate) fn new(
        at: Instant,
        to_server: bool,
        datagram: &Datagram,
        tap: Option<&FrameTap>,
    ) -> Self {
        let packets = packet_types(&datagram.payload);
        let (mut versions, mut first_bytes) = (Vec::new(), Vec::new());
        let mut dcid = Vec::new();
        let mut rest = &datagram.payload[..];
        while let Ok(Header::Protected(header)) = Header::decode_any(rest, CID_LEN) {
            if first_bytes.is_empty() {
                dcid = header.dcid.as_slice().to_vec();
            }
            first_bytes.push(rest[0]);
            if header.kind.has_long_header() {
                versions.push((header.kind, header.version));
            }
            rest = &rest[header.packet_len..];
        }
        Self {
            at,
            to_server,
            len: datagram.payload.len(),
            ecn: datagram.ecn,
            from: datagram.from,
            to: datagram.to,
            dcid,
            frames: tap.map(|tap| tap.take(packets.len())).unwrap_or_default(),
            packets,
            versions,
            first_bytes,
        }
    }

    /// True if the datagram carries a frame of this type.
    pub fn has(&self, ty: FrameType) -> bool {
        self.frames.contains(&ty)
    }
}

/// The kinds of the packets in a datagram.
pub fn packet_types(datagram: &[u8]) -> Vec<PacketType> {
    let mut rest = datagram;
    let mut types = Vec::new();
    while !rest.is_empty() {
        match Header::decode_any(rest, CID_LEN) {
            Ok(Header::Protected(header)) => {
                types.push(header.kind);
                rest = &rest[header.packet_len..];
            }
            Ok(Header::Retry(_)) => return [types, vec![PacketType::Retry]].concat(),
            Ok(Header::VersionNegotiation(_)) => {
                return [types, vec![PacketType::VersionNegotiation]].concat();
            }
            Ok(Header::UnknownVersion(_)) | Err(_) => return types,
        }
    }
    types
}

/// Watches that a server does not amplify.
#[derive(Debug, Clone, Copy, Default)]
pub struct Amplification {
    received: usize,
    sent: usize,
    validated: bool,
    /// A token in an Initial packet proves the address: the test knows that it is good.
    pub trusts_tokens: bool,
}

impl Amplification {
    pub(crate) fn on_client_datagram(&mut self, datagram: &[u8]) {
        self.received += datagram.len();
        self.validated |= packet_types(datagram).contains(&PacketType::Handshake);
        let header = Header::decode(datagram, CID_LEN);
        let has_token = matches!(header, Ok(Header::Protected(header)) if !header.token.is_empty());
        self.validated |= self.trusts_tokens && has_token;
    }

    /// # Panics
    ///
    /// If the server sends more than it may.
    pub(crate) fn on_server_datagram(&mut self, len: usize) {
        self.sent += len;
        assert!(
            self.validated || self.sent <= FACTOR * self.received,
            "{} bytes sent to an address that {} bytes came from",
            self.sent,
            self.received
        );
    }
}
