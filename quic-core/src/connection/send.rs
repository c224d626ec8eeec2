//! A datagram out: decide what may be sent, build packets, protect them, book them. Mirror of `recv`.

use std::time::Instant;

use super::Connection;
use super::recv::MIN_INITIAL_DATAGRAM;
use super::sent_frame::SentFrames;
use super::state::State;
use crate::config::SpinBit;
use crate::crypto::TAG_LEN;
use crate::error::ConnectionError;
use crate::observe::Event;
use crate::path::Transmit;
use crate::recovery::{PacketKind, SendBudget, SentPacket};
use crate::space::AckToSend;
use crate::wire::cursor::Writer;
use crate::wire::frame::Frame;
use crate::wire::header::{EncodedHeader, FirstByte, LongHeader, LongType, ShortHeader};
use crate::wire::{PacketNumber, Side, SpaceId, Truncated};

/// A train is one UDP datagram for the kernel until it is cut: with an IPv4 header it has at most
/// this many bytes.
const MAX_TRAIN: usize = 65_507;
/// A further packet is only begun in a datagram with at least this much room, beside its token.
const MIN_PACKET_ROOM: usize = 96;
/// Header protection samples 16 bytes from 4 bytes behind the start of the packet number
/// (RFC 9001 section 5.4.2); with a tag of 16 bytes, number and payload make up at least 4.
const MIN_NUMBER_AND_PAYLOAD: usize = 4;

/// What the congestion controller and the pacer let the next datagram carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permit {
    /// Anything.
    Data,
    /// Only what is not congestion controlled: acknowledgements and probes.
    AckOnly,
}

/// One packet under construction inside a datagram.
pub(super) struct Draft {
    space: SpaceId,
    /// It is a 0-RTT packet.
    pub(super) early: bool,
    number: PacketNumber,
    /// Where the packet begins in the datagram.
    start: usize,
    /// Positions of the header's fields, counted from `start`.
    header: EncodedHeader,
    /// Where its payload ends so far.
    pub(super) end: usize,
    pub(super) kind: PacketKind,
    pub(super) frames: SentFrames,
    /// It carries PATH_RESPONSE.
    pub(super) answers_challenge: bool,
}

impl Connection {
    /// Writes the next datagrams to `buf` and says where they go, or returns `None` if there is
    /// nothing to send now.
    ///
    /// Up to `max_datagrams` datagrams of equal size (the last may be shorter) stand one after the
    /// other in the first [`Transmit::len`] bytes, ready for one send call with segmentation
    /// offload. `buf` grows as needed and is meant to be reused without clearing it.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        max_datagrams: usize,
    ) -> Option<Transmit> {
        self.tell_stream_states(now);
        self.update_used_keys(now);
        let transmit = match self.state {
            // req 9000-10.2.2-234, 9000-10.2.2-236
            State::Drained | State::Draining { .. } => None,
            State::Closing(_) => self.transmit_close(now, buf),
            State::Handshaking | State::Established | State::Confirmed => self
                .transmit_path_probe(now, buf)
                .or_else(|| self.transmit_mtu_probe(now, buf))
                .or_else(|| self.transmit_train(now, buf, max_datagrams)),
        }?;
        let count = transmit.segment_size.map_or(1, |size| transmit.len.div_ceil(size));
        self.observers.stats.on_datagrams_sent(count, transmit.len);
        self.observers.emit(now, || Event::DatagramsSent { count, len: transmit.len });
        Some(transmit)
    }

    fn transmit_train(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        max_datagrams: usize,
    ) -> Option<Transmit> {
        self.path.begin_train();
        let segment = usize::from(self.path.recovery.max_datagram_size());
        let mut len = 0;
        let mut datagrams = 0;
        let mut allowance = 0;
        while datagrams < max_datagrams && (len == 0 || len + segment <= MAX_TRAIN) {
            // Less than a whole datagram could not carry what the handshake needs.
            // req 9000-8.1-117
            if self.path.is_amplification_blocked() {
                break;
            }
            let room = segment.min(self.path.amplification_room());
            // Asked for a whole train at once, and again only at its end.
            if allowance < segment {
                allowance = self.allowance(now);
            }
            let permit = if allowance < segment { Permit::AckOnly } else { Permit::Data };
            if !self.has_anything_to_send(now, permit) {
                break;
            }
            grow(buf, len + segment);
            let written = self.write_datagram(now, &mut buf[len..len + room], permit);
            if written == 0 {
                break;
            }
            self.path.on_datagram_sent(written);
            allowance = allowance.saturating_sub(written);
            len += written;
            datagrams += 1;
            if written < segment {
                break;
            }
        }
        self.note_demand(now);
        (len > 0).then(|| self.path.transmit(len, (datagrams > 1).then_some(segment)))
    }

    /// How many bytes may be sent now. When only the pacer stands in the way, its release becomes a
    /// deadline.
    fn allowance(&mut self, now: Instant) -> usize {
        self.deadlines.pacing = None;
        match self.path.recovery.send_budget(now) {
            SendBudget::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            SendBudget::Blocked => 0,
            SendBudget::Paced(until) => {
                if self.has_anything_to_send(now, Permit::Data) {
                    self.deadlines.pacing = Some(until);
                }
                0
            }
        }
    }

    /// The controller must not grow a window that the application does not fill.
    fn note_demand(&mut self, now: Instant) {
        if self.has_anything_to_send(now, Permit::Data) {
            self.path.recovery.on_send_limited();
        } else {
            self.path.recovery.on_send_exhausted();
        }
    }

    fn has_anything_to_send(&self, now: Instant, permit: Permit) -> bool {
        SpaceId::ALL.into_iter().any(|space| self.wants_packet(now, space, permit))
    }

    /// True if a packet in `space` would have a reason to exist.
    fn wants_packet(&self, now: Instant, id: SpaceId, permit: Permit) -> bool {
        let Some(space) = self.space(id) else { return false };
        if id == SpaceId::Data && self.sends_early() {
            return space.probes > 0
                || (permit == Permit::Data && (space.ping || self.has_stream_frames()));
        }
        if !self.keys.has(id) {
            return false;
        }
        let unsure = !self.path.is_address_validated() && !self.state.is_confirmed();
        if id == SpaceId::Data && unsure && !self.may_answer_early() {
            return false;
        }
        if space.probes > 0
            || (space.acks.to_send(now) == AckToSend::Now
                && self.recovery.has_room_for_ack_only(id))
        {
            return true;
        }
        permit == Permit::Data
            && (space.ping
                || space.crypto.has_pending()
                || (id == SpaceId::Data && self.has_data_frames()))
    }

    /// Early data is acknowledged in 1-RTT packets, for which a server has keys by then.
    ///
    /// What may be sent to an address that could be forged is for the handshake: data would use it
    /// up, and the window with it, and then a lost handshake could not be repeated. So data waits,
    /// but for the answers to early data, as long as they leave enough for a repetition.
    // req 9000-13.2.6-328
    fn may_answer_early(&self) -> bool {
        let datagram = usize::from(self.path.recovery.max_datagram_size());
        self.keys.can_open_early()
            && self.path.amplification_room() >= datagram + MIN_INITIAL_DATAGRAM
    }

    /// Fills one datagram with a packet from each space that has something to say, and returns its
    /// length.
    // req 9001-4-002
    fn write_datagram(&mut self, now: Instant, out: &mut [u8], permit: Permit) -> usize {
        let mut end = 0;
        let mut must_fill = false;
        for (index, space) in SpaceId::ALL.into_iter().enumerate() {
            if out.len() - end < self.least_room(space) || !self.wants_packet(now, space, permit) {
                continue;
            }
            let Some(mut draft) = self.draft_packet(now, out, end, space, permit) else { continue };
            must_fill |= self.must_fill_datagram(&draft);
            let is_last = out.len() - (draft.end + TAG_LEN) < MIN_PACKET_ROOM
                || !SpaceId::ALL[index + 1..].iter().any(|s| self.wants_packet(now, *s, permit));
            if must_fill && is_last {
                pad_datagram(&mut draft, out);
            }
            end = self.seal_packet(now, draft, out);
            if is_last {
                break;
            }
        }
        end
    }

    /// The room that a packet in `space` is worth beginning in.
    fn least_room(&self, space: SpaceId) -> usize {
        match space {
            SpaceId::Initial => MIN_PACKET_ROOM + self.admission.token().len(),
            SpaceId::Handshake | SpaceId::Data => MIN_PACKET_ROOM,
        }
    }

    /// Datagrams with Initial packets, or with the answer to a path challenge, are filled up to the
    /// least size that QUIC demands of a path.
    // req 9000-8.1-119, 9000-14.1-348, 9000-14.1-349, 9000-8.2.2-163, 9000-8.2.2-164
    // req 9000-14-344, 9001-9.3-115
    fn must_fill_datagram(&self, draft: &Draft) -> bool {
        match draft.space {
            SpaceId::Initial => self.side == Side::Client || draft.kind.is_ack_eliciting(),
            SpaceId::Handshake => false,
            SpaceId::Data => draft.answers_challenge,
        }
    }

    /// A datagram larger than any sent so far, to learn whether the path carries it
    /// (RFC 9000 section 14.3). Its loss is no sign of congestion.
    fn transmit_mtu_probe(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if !self.state.is_confirmed() {
            return None;
        }
        let size = self.path.recovery.poll_mtu_probe(now)?;
        let len = usize::from(size);
        if self.allowance(now) < len || self.path.amplification_room() < len {
            return None;
        }
        grow(buf, len);
        self.path.begin_train();
        let number = self.next_packet_number(now, SpaceId::Data)?;
        let mut draft = self.write_header(buf, 0, SpaceId::Data, number);
        let mut writer = Writer::new(&mut buf[draft.end..len - TAG_LEN]);
        Frame::Ping.encode(&mut writer);
        writer.zeros(writer.remaining());
        draft.end = len - TAG_LEN;
        draft.kind = PacketKind::MtuProbe;
        let sent = self.seal_packet(now, draft, buf);
        self.path.on_datagram_sent(sent);
        (sent > 0).then(|| self.path.transmit(sent, None))
    }

    /// CONNECTION_CLOSE in every space that the peer may be able to read.
    // req 9000-10.2.3-238, 9000-10.2.3-240, 9000-10.2.3-241, 9000-10.2.3-242, 9000-11.1-273
    fn transmit_close(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if !self.state.take_close() {
            return None;
        }
        self.path.begin_train();
        let segment = usize::from(self.path.recovery.max_datagram_size());
        // req 9000-10.2.1-231, 9000-10.2.1-233
        let room = segment.min(self.path.amplification_room());
        grow(buf, segment);
        let mut end = 0;
        let spaces = SpaceId::ALL.map(|id| (id, self.space(id).is_some() && self.keys.has(id)));
        for (index, (id, usable)) in spaces.into_iter().enumerate() {
            if !usable || room - end < self.least_room(id) {
                continue;
            }
            let number = self.recovery.next_packet_number(id, &mut self.rng)?;
            let mut draft = self.write_header(&mut buf[..room], end, id, number);
            let mut writer = Writer::new(&mut buf[draft.end..room - TAG_LEN]);
            self.write_close(id, &mut writer);
            draft.end += writer.position();
            let is_last = !spaces[index + 1..].iter().any(|(_, usable)| *usable);
            if is_last && self.side == Side::Client && spaces[0].1 {
                pad_datagram(&mut draft, &mut buf[..room]);
            }
            end = self.seal_packet(now, draft, &mut buf[..room]);
        }
        self.path.on_datagram_sent(end);
        (end > 0).then(|| self.path.transmit(end, None))
    }

    /// Writes header and frames of a packet at `start`; `None` if no frame came out of it.
    fn draft_packet(
        &mut self,
        now: Instant,
        out: &mut [u8],
        start: usize,
        space: SpaceId,
        permit: Permit,
    ) -> Option<Draft> {
        let number = self.next_packet_number(now, space)?;
        let mut draft = self.write_header(out, start, space, number);
        let limit = out.len() - TAG_LEN;
        let mut writer = Writer::new(out.get_mut(draft.end..limit)?);
        self.write_frames(now, space, permit == Permit::Data, &mut writer, &mut draft);
        let payload = writer.position();
        // req 9000-12.4-289
        if payload == 0 {
            return None;
        }
        let short = MIN_NUMBER_AND_PAYLOAD.saturating_sub(draft.header.pn_len + payload);
        writer.zeros(short);
        draft.end += payload + short;
        Some(draft)
    }

    /// The number of the next packet. When there are no more, the connection ends without a word.
    // req 9000-12.3-286
    pub(super) fn next_packet_number(
        &mut self,
        now: Instant,
        space: SpaceId,
    ) -> Option<PacketNumber> {
        let number = self.recovery.next_packet_number(space, &mut self.rng);
        if number.is_none() {
            self.abandon(now, ConnectionError::PacketNumbersExhausted);
        }
        number
    }

    pub(super) fn write_header(
        &mut self,
        out: &mut [u8],
        start: usize,
        space: SpaceId,
        number: PacketNumber,
    ) -> Draft {
        let packet_number = Truncated::shorten(number, self.recovery.largest_acked(space));
        // req 9000-7.2-086, 9000-12.2-280
        let dcid = self.remote_ids.get(self.path.remote_id).unwrap_or(self.remote_ids.active());
        let mut writer = Writer::new(&mut out[start..]);
        let ty = match space {
            // req 9000-8.1.2-123, 9000-8.1.3-126
            SpaceId::Initial => Some(LongType::Initial { token: self.admission.token() }),
            SpaceId::Handshake => Some(LongType::Handshake),
            SpaceId::Data => self.sends_early().then_some(LongType::ZeroRtt),
        };
        let header = match ty {
            Some(ty) => {
                let scid = self.local_ids.initial();
                let version = self.versions.of(ty.packet_type());
                LongHeader { ty, version, dcid, scid, packet_number }.encode(&mut writer)
            }
            None => {
                let key_phase = self.keys.key_phase();
                // req 9000-17.4-420, 9000-17.4-423
                let spin = self.config.spin_bit() == SpinBit::Random && self.rng.range(0..2) == 1;
                ShortHeader { dcid, packet_number, key_phase, spin }.encode(&mut writer)
            }
        };
        if self.handshake.peer_greases_quic_bit()
            && self.config.grease_quic_bit()
            && self.rng.range(0..2) == 1
        {
            FirstByte::clear_fixed_bit(&mut out[start..]);
        }
        Draft {
            space,
            early: space == SpaceId::Data && ty.is_some(),
            number,
            start,
            end: start + header.payload_offset(),
            header,
            kind: PacketKind::AckOnly,
            frames: SentFrames::new(),
            answers_challenge: false,
        }
    }

    /// Protects the packet in place and books it as sent. Returns where it ends.
    // req 9000-12.3-284, 9000-12.3-285
    pub(super) fn seal_packet(&mut self, now: Instant, draft: Draft, out: &mut [u8]) -> usize {
        let end = draft.end + TAG_LEN;
        let packet = &mut out[draft.start..end];
        draft.header.finish_length(packet, end - draft.start);
        let payload_end = draft.end - draft.start;
        self.observers.packet_sent(now, draft.number, &draft.header, payload_end, packet);
        let header_len = draft.header.payload_offset();
        let sealed = if draft.early {
            self.observers.stats.early_packets_sent += 1;
            self.keys.seal_early(draft.number, packet, header_len)
        } else {
            self.keys.seal(draft.space, draft.number, packet, header_len)
        };
        // Worn keys are updated on the way.
        self.note_key_generation(now);
        if let Err(error) = sealed {
            self.close_with_error(now, error);
            return draft.start;
        }
        let ect0 = self.path.is_marked();
        let size = (end - draft.start) as u16;
        let packet = SentPacket::new(now, size, draft.kind, ect0, draft.frames);
        self.recovery.on_packet_sent(draft.space, draft.number, packet, &mut self.path.recovery);
        self.after_packet_sent(now, draft.space, draft.kind.is_ack_eliciting());
        end
    }

    fn after_packet_sent(&mut self, now: Instant, id: SpaceId, ack_eliciting: bool) {
        if ack_eliciting {
            self.deadlines.on_ack_eliciting_sent(now);
        }
        if let Some(space) = self.space_mut(id) {
            if ack_eliciting {
                space.probes = space.probes.saturating_sub(1);
            }
            space.ping |= space.acks.on_packet_sent(ack_eliciting);
        }
        // req 9001-4.9.1-031, 9001-4.9.1-032
        if self.side == Side::Client && id == SpaceId::Handshake {
            self.discard_space(now, SpaceId::Initial);
        }
    }
}

/// Extends the last packet of a datagram with PADDING to the size that Initial packets need.
pub(super) fn pad_datagram(draft: &mut Draft, out: &mut [u8]) {
    let target = MIN_INITIAL_DATAGRAM.min(out.len()) - TAG_LEN;
    if draft.end < target {
        out[draft.end..target].fill(0);
        draft.end = target;
        if draft.kind == PacketKind::AckOnly {
            draft.kind = PacketKind::Padded;
        }
    }
}

/// Makes room without touching what is there: a reused buffer is not filled again.
pub(super) fn grow(buf: &mut Vec<u8>, len: usize) {
    if buf.len() < len {
        buf.resize(len, 0);
    }
}
