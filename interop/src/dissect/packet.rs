//! What comes out: captures of datagrams of packets.

use std::net::SocketAddr;
use std::time::Duration;

use quic_core::Ecn;
use quic_core::wire::header::KeyPhase;
use quic_core::wire::{ConnectionId, Frame, Frames, PacketType, Side, Version};

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
    kind: PacketType,
}

impl Opened {
    pub(super) fn new(
        sender: Side,
        kind: PacketType,
        number: u64,
        key_phase: KeyPhase,
        sealed_len: usize,
        payload: Vec<u8>,
    ) -> Self {
        Self { sender, number, key_phase, sealed_len, payload, kind }
    }

    /// The frames, up to the first one that cannot be read.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        Frames::new(&self.payload, self.kind).map_while(Result::ok)
    }

    /// True if every frame can be read.
    pub(crate) fn is_well_formed(&self) -> bool {
        Frames::new(&self.payload, self.kind).all(|frame| frame.is_ok())
    }
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
