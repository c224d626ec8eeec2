//! A datagram in: split into packets, each opened, checked, and its frames handed over.

use std::time::Instant;

use super::Connection;
use super::state::State;
use crate::buffer::Lender;
use crate::crypto::{self, KeyUpdateProgress, OpenError};
use crate::error::Discard;
use crate::observe::Event;
use crate::path::{DatagramMeta, PathEnds};
use crate::wire::SpaceId;
use crate::wire::header::{Header, PartialHeader};
use crate::wire::{ConnectionId, PacketNumber, PacketType, ResetToken, Side, Version};

/// Packets kept for which keys may still come, and their bytes; more are dropped and sent again by
/// the peer.
const MAX_UNDECRYPTABLE: usize = 16;
const MAX_UNDECRYPTABLE_BYTES: usize = 24 * 1024;
/// A datagram that carries an Initial packet has at least this size (RFC 9000 section 14.1).
pub(super) const MIN_INITIAL_DATAGRAM: usize = 1200;

/// Old keys stay this many probe timeouts after a key update, for packets that were overtaken.
// req 9001-6.5-082, 9001-6.5-083
const KEY_UPDATE_PTOS: u32 = 3;

/// Packets that arrived before their keys.
// req 9001-4.1.4-008
pub(super) type Undecryptable = Vec<(DatagramMeta, PacketType, Vec<u8>)>;

/// A packet that was opened in place, with the header and the datagram that it came with.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenPacket<'a> {
    pub(super) meta: &'a DatagramMeta,
    pub(super) header: &'a PartialHeader,
    /// All of the packet, the payload in plain text.
    pub(super) packet: &'a [u8],
    pub(super) opened: &'a crypto::Opened,
    pub(super) datagram_size: usize,
}

/// An opened packet on its way to the frames.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) space: SpaceId,
    pub(super) packet_type: PacketType,
    /// The version in its header; version 1 in a short header, which does not tell.
    pub(super) version: Version,
    pub(super) packet_number: PacketNumber,
    pub(super) dcid: ConnectionId,
    pub(super) datagram_size: usize,
    /// How its datagram came.
    pub(super) from: DatagramMeta,
    /// How many key updates precede the keys that opened it.
    pub(super) key_generation: u64,
    pub(super) payload: &'a [u8],
}

impl Connection {
    /// Processes one UDP datagram on its own, whatever it holds. Nothing of its memory is lent.
    pub(super) fn recv_datagram(&mut self, now: Instant, meta: &DatagramMeta, datagram: &mut [u8]) {
        if !self.begin_datagram(now, meta, datagram.len()) {
            return;
        }
        self.recv_packets(now, meta, datagram);
        self.retry_undecryptable(now);
        self.tell_stream_states(now);
    }

    /// Books a datagram. True if its packets are to be looked at.
    pub(super) fn begin_datagram(&mut self, now: Instant, meta: &DatagramMeta, len: usize) -> bool {
        self.observers.stats.on_datagram_received(len);
        self.observers.emit(now, || Event::DatagramReceived { len });
        match &mut self.state {
            State::Drained | State::Draining { .. } => return false,
            State::Closing(closing) => {
                if self.path.carries(meta) {
                    self.path.on_datagram_received(len);
                    closing.on_packet();
                }
                return false;
            }
            State::Handshaking | State::Established | State::Confirmed => {}
        }
        if !self.admits(meta) {
            self.drop_packet(now, Discard::PathUnknown, len);
            return false;
        }
        self.count_received(meta, len);
        true
    }

    /// Takes the coalesced packets apart (RFC 9000 section 12.2).
    // req 9000-12.2-277, 9000-12.2-281, 9000-12.2-282, 9000-12.2-283
    fn recv_packets(&mut self, now: Instant, meta: &DatagramMeta, mut datagram: &mut [u8]) {
        let size = datagram.len();
        let mut reset_token = trailing_token(datagram);
        let mut first_dcid = None;
        while !datagram.is_empty() && self.state.is_open() {
            // Only a datagram whose first packet cannot be opened can be a stateless reset.
            let token = reset_token.take();
            let header = match self.read_header(now, datagram) {
                Ok(Some(header)) => header,
                // Nothing can follow a Retry packet.
                Ok(None) => return,
                Err(discard) => return self.drop_unopened(now, discard, datagram.len(), token),
            };
            let (packet, rest) = datagram.split_at_mut(header.packet_len);
            datagram = rest;
            if *first_dcid.get_or_insert(header.dcid) != header.dcid {
                self.drop_packet(now, Discard::ConnectionIdMismatch, packet.len());
                continue;
            }
            if let Err(discard) = self.recv_packet(now, meta, &header, packet, size) {
                self.drop_unopened(now, discard, packet.len(), token);
            }
        }
    }

    fn recv_packet(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        header: &PartialHeader,
        packet: &mut [u8],
        datagram_size: usize,
    ) -> Result<(), Discard> {
        let space = self.admit(header, datagram_size)?;
        if !self.can_open(header.kind, space) {
            return self.keep_undecryptable(now, space, meta, header, packet);
        }
        let largest = self.space(space).and_then(|space| space.received.largest());
        match self.keys.open(now, header, packet, largest) {
            Ok(opened) => {
                let packet = OpenPacket { meta, header, packet, opened: &opened, datagram_size };
                self.on_packet_opened(now, packet, &mut Lender::none())
            }
            Err(OpenError::Discard(discard)) => Err(discard),
            Err(OpenError::Transport(error)) => {
                self.close_with_error(now, error);
                Ok(())
            }
        }
    }

    /// A packet is authentic: follows its key update, and hands its frames over unless that was
    /// done before.
    pub(super) fn on_packet_opened(
        &mut self,
        now: Instant,
        packet: OpenPacket<'_>,
        lender: &mut Lender<'_>,
    ) -> Result<(), Discard> {
        let OpenPacket { meta, header, packet, opened, datagram_size } = packet;
        if opened.key_update != KeyUpdateProgress::None {
            let at = now + self.probe_timeout(SpaceId::Data) * KEY_UPDATE_PTOS;
            self.keys.discard_previous_at(at);
            self.note_key_generation(now);
        }
        let number = opened.packet_number;
        let state = self.space(opened.space).ok_or(Discard::KeysDiscarded)?;
        // req 9000-12.3-287, 9000-12.3-288
        if state.received.is_duplicate(number) {
            return Err(Discard::Duplicate);
        }
        let is_data = opened.space == SpaceId::Data;
        if is_data && self.is_for_left_address(&PathEnds::from(meta), number) {
            return Err(Discard::AddressLeft);
        }
        let authentic = Opened {
            space: opened.space,
            packet_type: header.kind,
            version: header.version,
            packet_number: number,
            dcid: header.dcid,
            datagram_size,
            from: *meta,
            key_generation: opened.key_generation,
            payload: packet.get(opened.payload.clone()).unwrap_or_default(),
        };
        self.process_packet(now, header, &authentic, packet.len(), lender);
        Ok(())
    }

    /// Reads a header, whose fixed bit may be zero if we have said so.
    // req 9000-17.2-375, 9000-17.3.1-416
    // RFC 9287, section 3
    pub(super) fn decode_header<'a>(&self, packet: &'a [u8]) -> Result<Header<'a>, Discard> {
        match self.config.grease_quic_bit() {
            true => Header::decode_any(packet, self.local_ids.len()),
            false => Header::decode(packet, self.local_ids.len()),
        }
    }

    /// Reads what the next packet of a datagram says without keys. Version Negotiation ends the
    /// attempt right here, Retry begins it anew and leaves nothing to open; everything else that
    /// carries no frames is dropped.
    fn read_header(
        &mut self,
        now: Instant,
        datagram: &[u8],
    ) -> Result<Option<PartialHeader>, Discard> {
        match self.decode_header(datagram)? {
            Header::Protected(header) => Ok(Some(header)),
            Header::VersionNegotiation(packet) => {
                Err(self.on_version_negotiation(now, packet.scid, packet.versions))
            }
            Header::Retry(packet) => self.on_retry(now, &packet).map(|()| None),
            // req 9000-5.2.1-064
            Header::UnknownVersion(_) => Err(Discard::VersionUnexpected),
        }
    }

    /// Decides by the unprotected part of the header whether the packet can be ours, and which
    /// space it belongs to.
    fn admit(&self, header: &PartialHeader, datagram_size: usize) -> Result<SpaceId, Discard> {
        let space = match header.kind {
            PacketType::OneRtt => return Ok(SpaceId::Data),
            PacketType::Initial => SpaceId::Initial,
            PacketType::Handshake => SpaceId::Handshake,
            PacketType::ZeroRtt => SpaceId::Data,
            PacketType::Retry | PacketType::VersionNegotiation => {
                unreachable!("these have headers of their own")
            }
        };
        if !self.versions.admits(header.kind, header.version) {
            return Err(Discard::VersionUnexpected);
        }
        // req 9000-7.2-087, 9000-7.2-090
        if !self.handshake.accepts_scid(header.scid) {
            return Err(Discard::SourceConnectionIdChanged);
        }
        match (space, self.side) {
            // req 9000-14.1-351, 9000-14-347
            (SpaceId::Initial, Side::Server) if datagram_size < MIN_INITIAL_DATAGRAM => {
                Err(Discard::InitialTooSmall)
            }
            // req 9000-17.2.2-391
            (SpaceId::Initial, Side::Client) if !header.token.is_empty() => {
                Err(Discard::TokenFromServer)
            }
            _ => Ok(space),
        }
    }

    /// Keeps a packet whose keys may still come; 1-RTT packets wait for the end of the handshake.
    // req 9001-4.1.4-008, 9001-5.7-056, 9001-5.7-057, 9001-5.7-060
    fn keep_undecryptable(
        &mut self,
        now: Instant,
        space: SpaceId,
        meta: &DatagramMeta,
        header: &PartialHeader,
        packet: &[u8],
    ) -> Result<(), Discard> {
        if self.space(space).is_none() {
            return Err(Discard::KeysDiscarded);
        }
        if header.kind == PacketType::ZeroRtt {
            self.may_accept_early_data()?;
        }
        let kept: usize = self.undecryptable.iter().map(|(.., packet)| packet.len()).sum();
        if !self.state.is_handshaking()
            || self.undecryptable.len() >= MAX_UNDECRYPTABLE
            || kept + packet.len() > MAX_UNDECRYPTABLE_BYTES
        {
            return Err(Discard::KeysMissing);
        }
        // A copy: what waits must not pin a receive buffer.
        let (packet_type, len) = (header.kind, packet.len());
        self.observers.emit(now, || Event::PacketBuffered { packet_type, len });
        self.undecryptable.push((*meta, packet_type, packet.to_vec()));
        Ok(())
    }

    /// Tries kept packets again when keys appeared since.
    fn retry_undecryptable(&mut self, now: Instant) {
        if self.undecryptable.is_empty() {
            return;
        }
        let has_data_keys = self.keys.can_open(SpaceId::Data);
        let has_handshake_keys = self.keys.can_open(SpaceId::Handshake);
        // Ready as well if they can be dropped.
        let early_is_decided = self.may_accept_early_data().is_err();
        let is_ready = |kind: PacketType| match kind {
            PacketType::ZeroRtt => early_is_decided,
            PacketType::OneRtt => has_data_keys,
            _ => has_handshake_keys,
        };
        if !self.undecryptable.iter().any(|(_, kind, _)| is_ready(*kind)) {
            return;
        }
        let kept = std::mem::take(&mut self.undecryptable);
        let (ready, waiting): (Undecryptable, Undecryptable) =
            kept.into_iter().partition(|(_, kind, _)| is_ready(*kind));
        self.undecryptable = waiting;
        for (meta, _, mut packet) in ready {
            self.recv_packets(now, &meta, &mut packet);
        }
    }

    /// The packet is authentic: it counts from here on, whatever its frames hold.
    fn process_packet(
        &mut self,
        now: Instant,
        header: &PartialHeader,
        opened: &Opened<'_>,
        len: usize,
        lender: &mut Lender<'_>,
    ) {
        match opened.space {
            SpaceId::Initial => {
                self.on_first_initial(now, header.scid);
                self.on_initial_version(now, header.version);
            }
            SpaceId::Handshake if self.side == Side::Server => {
                // req 9001-4.9.1-031
                self.path.on_address_validated();
                self.discard_space(now, SpaceId::Initial);
            }
            SpaceId::Data if opened.packet_type == PacketType::ZeroRtt => {
                self.observers.stats.early_packets_received += 1;
            }
            SpaceId::Data => self.on_one_rtt_packet(now),
            SpaceId::Handshake => {}
        }
        self.observers.packet_received(now, opened.packet_number, header, len, opened.payload);
        let is_newest = self.note_path(now, opened);
        match self.process_payload(now, opened, lender) {
            Ok(done) => {
                let close = self.probe_timeout(SpaceId::Data);
                self.deadlines.on_packet_processed(now, done.ack_eliciting, close);
                let (number, ecn) = (opened.packet_number, opened.from.ecn);
                if let Some(space) = self.space_mut(opened.space) {
                    space.on_packet_processed(now, number, done.ack_eliciting, ecn);
                }
                if is_newest && !done.probing {
                    self.on_peer_moved(now, opened);
                }
            }
            Err(error) => self.close_with_error(now, error),
        }
    }

    /// Drops a packet that could not be opened, unless its datagram turns out to be a stateless
    /// reset by its `token`.
    // req 9000-10.3.1-256, 9000-10.3.1-257, 9000-10.3.1-260, 9000-10.3-254
    pub(super) fn drop_unopened(
        &mut self,
        now: Instant,
        discard: Discard,
        len: usize,
        token: Option<ResetToken>,
    ) {
        if token.is_some_and(|token| self.remote_ids.is_reset_token(&token)) {
            return self.on_stateless_reset(now);
        }
        self.drop_packet(now, discard, len);
    }

    fn drop_packet(&mut self, now: Instant, reason: Discard, len: usize) {
        self.observers.stats.on_packet_dropped(reason);
        self.observers.emit(now, || Event::PacketDropped { reason, len });
    }
}

/// The last 16 bytes of a datagram: what a stateless reset is recognised by. Taken before
/// decryption in place could change them.
pub(super) fn trailing_token(datagram: &[u8]) -> Option<ResetToken> {
    let (_, token) = datagram.split_last_chunk::<{ ResetToken::LEN }>()?;
    Some(ResetToken::new(*token))
}
