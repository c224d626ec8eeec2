//! One packet of a raw peer, of which everything can be chosen.

use quic_core::crypto::TAG_LEN;
use quic_core::wire::cursor::Writer;
use quic_core::wire::header::{LongHeader, LongType, ShortHeader};
use quic_core::wire::{ConnectionId, PacketType, Truncated, Version};

use super::{DATAGRAM, RawPeer, packet_number};

/// Room for the longest header: two connection IDs and a length, and any token of a test.
const MAX_HEADER: usize = 200;
/// Packet number and payload have at least this many bytes together, for header protection.
const MIN_NUMBER_AND_PAYLOAD: usize = 4;

/// A packet under construction; [`RawPacket::seal`] gives its bytes.
pub struct RawPacket<'a> {
    peer: &'a mut RawPeer,
    ty: PacketType,
    number: Option<u64>,
    number_len: u8,
    dcid: ConnectionId,
    scid: ConnectionId,
    version: Version,
    token: Vec<u8>,
    payload: Vec<u8>,
    flipped_bits: u8,
    padded: bool,
    pads_short_payload: bool,
}

impl<'a> RawPacket<'a> {
    pub(super) fn new(peer: &'a mut RawPeer, ty: PacketType) -> Self {
        Self {
            ty,
            number: None,
            number_len: 2,
            dcid: peer.remote_cid,
            scid: peer.local_cid,
            version: Version::V1,
            token: Vec::new(),
            payload: Vec::new(),
            flipped_bits: 0,
            padded: ty == PacketType::Initial,
            pads_short_payload: true,
            peer,
        }
    }

    /// The frames.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// A packet number; later packets go on from the largest one used.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// How many bytes of the packet number are sent, 1 to 4.
    #[must_use]
    pub fn number_len(mut self, len: u8) -> Self {
        self.number_len = len;
        self
    }

    /// Another Destination Connection ID.
    #[must_use]
    pub fn dcid(mut self, dcid: ConnectionId) -> Self {
        self.dcid = dcid;
        self
    }

    /// Another Source Connection ID, for long headers.
    #[must_use]
    pub fn scid(mut self, scid: ConnectionId) -> Self {
        self.scid = scid;
        self
    }

    /// Another version, for long headers.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// The token of an Initial packet.
    #[must_use]
    pub fn token(mut self, token: &[u8]) -> Self {
        self.token = token.to_vec();
        self
    }

    /// Bits of the first byte to flip before the packet is protected.
    #[must_use]
    pub fn flip_bits(mut self, bits: u8) -> Self {
        self.flipped_bits = bits;
        self
    }

    /// Leaves a datagram with an Initial packet as small as it is.
    #[must_use]
    pub fn unpadded(mut self) -> Self {
        self.padded = false;
        self
    }

    /// Leaves a payload as short as it is, even an empty one; the packet number is sent in four
    /// bytes then.
    #[must_use]
    pub fn exact_payload(mut self) -> Self {
        self.pads_short_payload = false;
        self.number_len = 4;
        self
    }

    /// The datagram that carries this packet alone, with Initial packets filled up to 1200 bytes.
    pub fn datagram(mut self) -> Vec<u8> {
        if self.padded {
            let overhead = self.header_len() + TAG_LEN;
            let target = DATAGRAM.saturating_sub(overhead);
            if self.payload.len() < target {
                self.payload.resize(target, 0);
            }
        }
        self.seal()
    }

    /// The bytes of the protected packet.
    ///
    /// # Panics
    ///
    /// If there are no keys for it.
    pub fn seal(mut self) -> Vec<u8> {
        let space = self.ty.space().expect("a packet with a number");
        let state = &mut self.peer.spaces[space as usize];
        let number = self.number.unwrap_or(state.next_number);
        state.next_number = state.next_number.max(number + 1);
        self.number = Some(number);
        let short = MIN_NUMBER_AND_PAYLOAD
            .saturating_sub(self.payload.len() + usize::from(self.number_len));
        if self.pads_short_payload && short > 0 {
            self.payload.resize(self.payload.len() + short, 0);
        }

        let mut packet = vec![0; MAX_HEADER + self.token.len() + self.payload.len() + TAG_LEN];
        let mut writer = Writer::new(&mut packet);
        let header = self.write_header(&mut writer);
        let header_len = header.payload_offset();
        writer.bytes(&self.payload);
        let end = writer.position() + TAG_LEN;
        packet.truncate(end);
        header.finish_length(&mut packet, end);
        packet[0] ^= self.flipped_bits;
        let number = packet_number(number);
        let keys = &mut self.peer.keys;
        let sealed = match self.ty {
            PacketType::ZeroRtt => keys.seal_early(number, &mut packet, header_len),
            _ => keys.seal(space, number, &mut packet, header_len),
        };
        sealed.expect("keys for the packet");
        packet
    }

    fn header_len(&self) -> usize {
        let mut room = vec![0; MAX_HEADER + self.token.len()];
        self.write_header(&mut Writer::new(&mut room)).payload_offset()
    }

    fn write_header(&self, writer: &mut Writer<'_>) -> quic_core::wire::header::EncodedHeader {
        let number = packet_number(self.number.unwrap_or(0));
        let packet_number = Truncated::with_len(number, self.number_len);
        let ty = match self.ty {
            PacketType::Initial => LongType::Initial { token: &self.token },
            PacketType::Handshake => LongType::Handshake,
            PacketType::OneRtt => {
                let key_phase = self.peer.keys.key_phase();
                let header = ShortHeader { dcid: self.dcid, packet_number, key_phase, spin: false };
                return header.encode(writer);
            }
            PacketType::ZeroRtt => LongType::ZeroRtt,
            PacketType::Retry | PacketType::VersionNegotiation => {
                panic!("there are no keys for {} packets", self.ty)
            }
        };
        let (version, dcid, scid) = (self.version, self.dcid, self.scid);
        LongHeader { ty, version, dcid, scid, packet_number }.encode(writer)
    }
}
