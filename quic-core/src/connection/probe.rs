//! Datagrams that try out a path: challenges, and answers to those of the peer
//! (RFC 9000 section 8.2).

use std::time::Instant;

use super::Connection;
use super::send::{grow, pad_datagram};
use crate::crypto::TAG_LEN;
use crate::observe::{Event, PathState};
use crate::path::{MIN_MAX_DATAGRAM, Transmit};
use crate::recovery::PacketKind;
use crate::wire::SpaceId;
use crate::wire::cursor::Writer;
use crate::wire::frame::PathChallenge;

impl Connection {
    /// The next challenge or answer that has to leave before anything else on its path, or that has
    /// a path of its own.
    // req 9000-8.2.2-160
    pub(super) fn transmit_path_probe(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if !self.state.is_confirmed() {
            return None;
        }
        if self.path.wants_probe(now, true) {
            return self.write_probe(now, buf, true);
        }
        let index = self.others.iter().position(|other| other.path.wants_probe(now, false))?;
        self.swap_path(index);
        let transmit = self.write_probe(now, buf, false);
        self.swap_path(index);
        transmit
    }

    /// Exchanges the path in use with another one, to write a datagram for that.
    fn swap_path(&mut self, index: usize) {
        if let Some(other) = self.others.get_mut(index) {
            std::mem::swap(&mut other.path, &mut self.path);
        }
    }

    /// Writes one datagram for the path in `self.path`. Only if that is the path `in_use`, it
    /// carries an acknowledgement, which says that this side is at home there.
    // req 9000-8.2-151, 9000-8.2.1-153, 9000-8.2.1-156, 9000-8.2.2-163, 9000-8.2.2-164
    // req 9000-9.3.3-187, 9000-9.6.2-206
    fn write_probe(&mut self, now: Instant, buf: &mut Vec<u8>, in_use: bool) -> Option<Transmit> {
        self.path.begin_probe();
        let room = usize::from(MIN_MAX_DATAGRAM).min(self.path.amplification_room());
        grow(buf, room);
        let out = &mut buf[..room];
        let number = self.next_packet_number(now, SpaceId::Data)?;
        let mut draft = self.write_header(out, 0, SpaceId::Data, number);
        let mut writer = Writer::new(out.get_mut(draft.end..room - TAG_LEN)?);
        let challenge = self.write_challenge(now, &mut writer);
        while let Some(response) = self.path.next_response(writer.remaining()) {
            response.encode(&mut writer);
        }
        if in_use {
            self.write_ack(now, SpaceId::Data, &mut writer, &mut draft);
        }
        draft.end += writer.position();
        draft.kind = PacketKind::AckEliciting;
        pad_datagram(&mut draft, out);
        let len = self.seal_packet(now, draft, out);
        self.path.on_datagram_sent(len);
        if let Some(data) = challenge {
            let interval = self.probe_timeout(SpaceId::Data);
            let full_size = len >= usize::from(MIN_MAX_DATAGRAM);
            self.path.own_validation.on_sent(now, data, full_size, interval);
        }
        (len > 0).then(|| self.path.transmit(len, None))
    }

    /// PATH_CHALLENGE, if one is due on the path in `self.path`.
    // req 9000-8.2.1-155
    fn write_challenge(&mut self, now: Instant, writer: &mut Writer<'_>) -> Option<[u8; 8]> {
        if !self.path.own_validation.is_due(now) || writer.remaining() < PathChallenge::SIZE {
            return None;
        }
        let challenge = PathChallenge { data: self.rng.array() };
        challenge.encode(writer);
        if !self.path.own_validation.was_sent() {
            let path = self.path.id();
            self.observers.emit(now, || Event::PathStateUpdated { path, new: PathState::Probing });
        }
        Some(challenge.data)
    }
}
