//! What comes out: captures of datagrams of packets.

use std::net::SocketAddr;
use std::time::Duration;

use quic_core::Ecn;
use quic_core::wire::header::KeyPhase;
use quic_core::wire::{ConnectionId, Frame, PacketType, Reader, Side, Version};

/// All datagrams of one capture, in its order.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    pub(crate) datagrams: Vec<Datagram>,
}

/// A UDP datagram with QUIC packets.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// Its place in the capture among all UDP datagrams, from 1.
    pub(crate) number: usize,
    /// When it was captured, since the first datagram of all captures.
    pub(crate) time: Duration,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Option<Ecn>,
    /// Bytes of UDP payload.
    pub(crate) len: usize,
    /// Who sent it, if that is known.
    pub(crate) sender: Option<Side>,
    pub(crate) packets: Vec<Packet>,
}

/// A QUIC packet.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: PacketType,
    /// The version in a long header, whatever it is.
    pub(crate) version: Option<Version>,
    pub(crate) dcid: ConnectionId,
    /// Empty in a short header, which has none.
    pub(crate) scid: ConnectionId,
    /// The token of an Initial or Retry packet.
    pub(crate) token: Vec<u8>,
    /// What a Version Negotiation packet offers.
    pub(crate) versions: Vec<Version>,
    /// Bytes from the first of the header to the last.
    pub(crate) len: usize,
    /// Place in [`Dissection::connections`](super::Dissection::connections).
    pub(crate) connection: Option<usize>,
    /// What is inside, if the packet is whole and there are keys for it.
    pub(crate) opened: Option<Opened>,
}

/// The inside of a packet.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) sender: Side,
    pub(crate) number: u64,
    /// The bit of a 1-RTT packet; zero elsewhere.
    pub(crate) key_phase: KeyPhase,
    /// Encrypted bytes with their tag.
    pub(crate) sealed_len: usize,
    payload: Vec<u8>,
}

impl Opened {
    pub(super) fn new(
        sender: Side,
        number: u64,
        key_phase: KeyPhase,
        sealed_len: usize,
        payload: Vec<u8>,
    ) -> Self {
        Self { sender, number, key_phase, sealed_len, payload }
    }

    /// The frames, up to the first one that cannot be read; those of known extensions are left out.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.try_frames().map_while(Result::ok)
    }

    /// True if every frame can be read.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.try_frames().all(|frame| frame.is_ok())
    }

    /// All frames; after an error there is nothing to rely on.
    fn try_frames(&self) -> impl Iterator<Item = Result<Frame<'_>, ()>> {
        let mut reader = Reader::new(&self.payload);
        std::iter::from_fn(move || {
            while skip_extension(&mut reader) {}
            (!reader.is_empty()).then(|| Frame::decode(&mut reader).map_err(drop))
        })
    }
}

/// Steps over a frame of an extension, if there is one next.
fn skip_extension(reader: &mut Reader<'_>) -> bool {
    let mut ahead = reader.clone();
    let is_whole = match ahead.varint() {
        Ok(frame::IMMEDIATE_ACK) => true,
        Ok(frame::ACK_FREQUENCY) => (0..4).all(|_| ahead.varint().is_ok()),
        Ok(frame::DATAGRAM) => ahead.bytes(ahead.remaining()).is_ok(),
        Ok(frame::DATAGRAM_WITH_LENGTH) => ahead.length_prefixed().is_ok(),
        _ => false,
    };
    if is_whole {
        *reader = ahead;
    }
    is_whole
}

/// The types of the frames that some endpoints send beside those of RFC 9000.
mod frame {
    pub(super) const IMMEDIATE_ACK: u64 = 0x1f;
    pub(super) const DATAGRAM: u64 = 0x30;
    pub(super) const DATAGRAM_WITH_LENGTH: u64 = 0x31;
    pub(super) const ACK_FREQUENCY: u64 = 0xaf;
}

impl Packet {
    /// The frames, none if the packet was not opened.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.opened.iter().flat_map(Opened::frames)
    }
}

impl Capture {
    /// The datagrams with QUIC packets that one side sent.
    pub(crate) fn sent_by(&self, side: Side) -> impl Iterator<Item = &Datagram> {
        self.datagrams.iter().filter(move |datagram| datagram.sender == Some(side))
    }

    /// The packets of one kind that one side sent, opened or not, with their datagrams.
    pub(crate) fn packets(
        &self,
        side: Side,
        kind: PacketType,
    ) -> impl Iterator<Item = (&Datagram, &Packet)> {
        self.sent_by(side).flat_map(move |datagram| {
            let packets = datagram.packets.iter().filter(move |packet| packet.kind == kind);
            packets.map(move |packet| (datagram, packet))
        })
    }
}
