//! Which path the connection uses: how a peer that moves is followed, when a path is trusted, and
//! where to go when it is not (RFC 9000 sections 8.2 and 9).
//!
//! A server follows its client to whatever address the newest packet with something to say came
//! from, challenges that address in the very first packet it sends there, and goes back if nobody
//! answers. A client stays where the server is, and moves by itself only when it is told to.

use std::time::{Duration, Instant};

use super::recv::Opened;
use super::{Connection, RouteChange};
use crate::error::{ConnectionError, TransportError, Violation};
use crate::observe::{Event, PathState};
use crate::path::{DatagramMeta, OtherPath, Path, PathEnds, Purpose, generation};
use crate::recovery::{INITIAL_RTT, PathRecovery, RttEstimator};
use crate::wire::{Side, SpaceId};

/// A validation is given up after this many probe timeouts.
const VALIDATION_PTOS: u32 = 3;
/// What was sent before a path was left is expected to arrive within this many probe timeouts.
const LEFT_PTOS: u32 = 3;
/// How long a path is kept on which the peer was seen and to which it did not move.
const KNOWN_LIFETIME: Duration = Duration::from_secs(10);

impl Connection {
    /// True if a datagram that came this way may be for this connection. Only an authentic packet
    /// makes a path known, so nothing is kept yet.
    // req 9000-9-172, 9000-9-176, 9000-9.6-199
    #[inline]
    pub(super) fn admits(&self, datagram: &DatagramMeta) -> bool {
        self.path.carries(datagram) || self.admits_elsewhere(datagram)
    }

    fn admits_elsewhere(&self, datagram: &DatagramMeta) -> bool {
        if self.others.position(datagram).is_some() {
            return true;
        }
        let mut known = std::iter::once(&self.path).chain(self.others.iter().map(|o| &o.path));
        match self.side {
            // It may have come to an address of ours that was left.
            Side::Client => known.any(|path| path.is_at(datagram.remote)),
            Side::Server => {
                let here = known.any(|path| path.is_from(datagram.socket, datagram.local_ip));
                let allowed = match here {
                    // Whoever is at the preferred address may move from there.
                    true => self.config.allows_migration() || self.left_address.is_some(),
                    false => self.handshake.offers_preferred_address,
                };
                allowed && self.state.is_confirmed()
            }
        }
    }

    /// Counts a datagram of `len` bytes that was admitted.
    #[inline]
    pub(super) fn count_received(&mut self, datagram: &DatagramMeta, len: usize) {
        if self.path.carries(datagram) {
            self.path.on_datagram_received(len);
        } else if let Some(other) = self.others.at(datagram) {
            other.path.on_datagram_received(len);
        }
    }

    /// An authentic packet came this way: the path is known from here on, if there is room for it.
    ///
    /// True if the packet is the newest so far of those that can move the connection.
    pub(super) fn note_path(&mut self, now: Instant, packet: &Opened<'_>) -> bool {
        let Some(space) = self.space(SpaceId::Data) else { return false };
        if packet.space != SpaceId::Data {
            return false;
        }
        let is_newest = space.received.largest() < Some(packet.packet_number);
        self.open_path(now, packet);
        is_newest
    }

    fn open_path(&mut self, now: Instant, packet: &Opened<'_>) {
        let datagram = &packet.from;
        if self.path.carries(datagram) {
            self.local_ids.note_used(packet.dcid);
            return;
        }
        if self.side == Side::Client
            || self.others.position(datagram).is_some()
            || !self.others.may_follow(now)
        {
            return;
        }
        let mut path = self.new_path(now, PathEnds::from(datagram));
        path.on_datagram_received(packet.datagram_size);
        // A peer that has changed the connection ID as well does not want the two paths linked.
        // req 9000-9.5-194, 9000-9.5-195
        if self.local_ids.is_fresh(packet.dcid) && !self.remote_ids.is_empty() {
            match self.remote_ids.use_spare() {
                Some(sequence) => path.remote_id = Some(sequence),
                // There will be one soon, and the peer will try again.
                None => return,
            }
        }
        // req 9000-9.6.3-214
        path.own_validation.begin(now, now + self.validation_period());
        self.add_path(now, path, Purpose::Kept(now + KNOWN_LIFETIME));
    }

    /// A path that nobody has used. Behind a NAT that has changed the port only, the way is as
    /// long and as wide as before.
    // req 9000-9.4-188, 9000-9.4-189, 9000-9.4-190
    pub(super) fn new_path(&mut self, now: Instant, ends: PathEnds) -> Path {
        let id = self.others.new_id();
        let recovery = match self.path.differs_in_port_only(&ends) {
            true => self.path.recovery.continued(generation(id)),
            false => {
                let mut fresh = PathRecovery::new(now, self.config.recovery(), generation(id));
                if let Some(limit) = self.handshake.peer_max_udp_payload_size() {
                    fresh.on_peer_max_udp_payload_size(limit);
                }
                fresh
            }
        };
        Path::beside(id, ends, recovery)
    }

    /// Keeps a path beside the one in use.
    pub(super) fn add_path(&mut self, now: Instant, path: Path, purpose: Purpose) {
        let (id, remote) = (path.id(), path.remote());
        self.observers.emit(now, || Event::PathAssigned { path: id, local: None, remote });
        if let Some(evicted) = self.others.add(path, purpose) {
            self.drop_path(evicted.path);
        }
        self.sync_reset_tokens();
    }

    /// The newest packet so far came this way, and not only to probe: the peer is there now.
    // req 9000-9.3-179, 9000-9.3-180
    pub(super) fn on_peer_moved(&mut self, now: Instant, packet: &Opened<'_>) {
        let datagram = &packet.from;
        if self.side == Side::Client || self.path.carries(datagram) {
            return;
        }
        let Some(index) = self.others.position(datagram) else { return };
        let ends = self.path.ends();
        let Some(other) = self.others.get_mut(index) else { return };
        if !other.path.is_from(ends.socket, ends.local_ip) && !other.path.is_address_validated() {
            // The client is at our preferred address; we follow once it has proved that it is.
            // req 9000-9.6.2-205, 9000-9.6.3-213
            other.purpose = Purpose::MoveTo;
            return;
        }
        let left = self.path.id();
        self.move_to_path(now, index);
        self.local_ids.note_used(packet.dcid);
        // Whoever copies packets from elsewhere loses against the next packet from the real peer,
        // which this makes it send.
        // req 9000-9.3.3-186
        let give_up_at = now + self.validation_period();
        if let Some(old) = self.others.by_id(left) {
            old.path.own_validation.begin(now, give_up_at);
        }
    }

    /// Sends over the other path at `index` from now on.
    pub(super) fn move_to_path(&mut self, now: Instant, index: usize) {
        let OtherPath { path: mut new, .. } = self.others.remove(index);
        self.use_remote_id_of(now, &mut new);
        if !new.is_address_validated() {
            // req 9000-9-173
            new.own_validation.begin(now, now + self.validation_period());
        }
        let until = self.left_until(now);
        let is_sound = new.is_address_validated();
        let old = std::mem::replace(&mut self.path, new);
        let purpose = match !is_sound && old.is_address_validated() {
            true => Purpose::Fallback,
            false => Purpose::Kept(until),
        };
        if is_sound || purpose == Purpose::Fallback {
            self.others.leave_fallback(until);
        }
        if self.side == Side::Server {
            let left = old.ends();
            if !self.path.is_from(left.socket, left.local_ip) {
                self.note_left_address(left);
            }
        } else {
            // The server follows the first packet that does more than probe.
            self.ping();
        }
        let evicted = self.others.add(old, purpose);
        debug_assert!(evicted.is_none(), "the one that was taken out has left room");
        self.on_path_changed(now);
    }

    /// Takes the connection ID of `path` into use, which is about to become the path in use. Those
    /// that share the present one keep it.
    // req 9000-9.5-194
    fn use_remote_id_of(&mut self, now: Instant, path: &mut Path) {
        let Some(sequence) = path.remote_id.take() else { return };
        let before = self.remote_ids.active();
        let shared = self.remote_ids.active_sequence();
        self.path.remote_id = Some(shared);
        self.others.pin_remote_id(shared);
        self.remote_ids.activate(sequence);
        self.tell_remote_id(now, before);
    }

    fn on_path_changed(&mut self, now: Instant) {
        self.recovery.on_path_changed(now);
        self.deadlines.pacing = None;
        self.observers.stats.migrations += 1;
        self.tell_path(now, self.path.id(), PathState::InUse);
        self.sync_reset_tokens();
        let event = super::PathEvent::Moved { remote: self.path.remote() };
        self.events.push_back(super::ConnectionEvent::Path(event));
    }

    fn left_until(&self, now: Instant) -> Instant {
        now + self.probe_timeout(SpaceId::Data) * LEFT_PTOS
    }

    // req 9000-8.2.1-158, 9000-8.2.2-161
    pub(super) fn on_path_challenge(&mut self, packet: &Opened<'_>, data: [u8; 8]) {
        if self.path.carries(&packet.from) {
            self.path.on_challenge(data);
        } else if let Some(other) = self.others.at(&packet.from) {
            other.path.on_challenge(data);
        }
    }

    /// PATH_RESPONSE arrived, over whichever path. What matches no challenge is ignored: its
    /// validation may have ended before.
    // req 9000-8.2.2-162, 9000-8.2.3-166
    pub(super) fn on_path_response(&mut self, now: Instant, data: [u8; 8]) {
        let give_up_at = now + self.validation_period();
        if let Some(answered) = self.path.own_validation.on_response(now, data) {
            self.path.on_challenge_answered(now, answered, give_up_at);
            if answered.full_size {
                self.others.leave_fallback(self.left_until(now));
                if self.side == Side::Server {
                    // req 9000-9.3-182
                    self.tokens.request();
                }
                self.tell_path(now, self.path.id(), PathState::Validated);
            }
            return;
        }
        let answered = self.others.iter_mut().enumerate().find_map(|(index, other)| {
            Some((index, other.path.own_validation.on_response(now, data)?))
        });
        let Some((index, answered)) = answered else { return };
        let Some(other) = self.others.get_mut(index) else { return };
        other.path.on_challenge_answered(now, answered, give_up_at);
        if !answered.full_size {
            return;
        }
        let (id, purpose) = (other.path.id(), other.purpose);
        self.tell_path(now, id, PathState::Validated);
        if purpose == Purpose::MoveTo {
            self.move_to_path(now, index);
        }
    }

    /// The peer issued connection IDs or wants some back: paths that have lost theirs get new ones.
    pub(super) fn on_remote_ids_changed(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(other) = self.others.get_mut(index) {
            let lost = other.path.remote_id.filter(|id| self.remote_ids.get(Some(*id)).is_none());
            if let Some(lost) = lost {
                match self.remote_ids.use_spare() {
                    Some(sequence) => self.others.replace_remote_id(lost, sequence),
                    None => {
                        let OtherPath { path, purpose } = self.others.remove(index);
                        self.on_path_over(now, path, purpose);
                        continue;
                    }
                }
            }
            index += 1;
        }
        self.sync_reset_tokens();
    }

    /// When something about a path has to be done.
    pub(super) fn path_deadline(&self) -> Option<Instant> {
        [self.path.validation_deadline(), self.others.deadline()].into_iter().flatten().min()
    }

    /// Does what is due about paths.
    pub(super) fn on_path_timeout(&mut self, now: Instant) {
        if self.path.own_validation.give_up_if_due(now) {
            self.on_active_path_failed(now);
        }
        let mut index = 0;
        while let Some(other) = self.others.get_mut(index) {
            let failed = other.path.own_validation.give_up_if_due(now);
            let over = match other.purpose {
                Purpose::MoveTo => failed,
                // It is the best that there is.
                Purpose::Fallback => false,
                Purpose::Kept(until) => {
                    failed || (until <= now && !other.path.own_validation.is_running())
                }
            };
            match over {
                true => {
                    let OtherPath { path, purpose } = self.others.remove(index);
                    self.on_path_over(now, path, purpose);
                }
                false => index += 1,
            }
        }
    }

    /// Nobody answers where the peer seemed to be: back to where it was last known to be. That is
    /// forgotten only if the peer has taken back the connection ID that belongs to it.
    // req 9000-9.3.2-183, 9000-9.3.2-184, 9000-9-174
    fn on_active_path_failed(&mut self, now: Instant) {
        self.observers.stats.path_validations_failed += 1;
        self.tell_path(now, self.path.id(), PathState::Failed);
        let Some(mut back) = self.others.take(Purpose::Fallback) else {
            if !self.path.is_address_validated() {
                let nowhere = TransportError::new(Violation::NoViablePath);
                self.abandon(now, ConnectionError::Transport(nowhere));
            }
            return;
        };
        self.use_remote_id_of(now, &mut back);
        let failed = std::mem::replace(&mut self.path, back);
        self.drop_path(failed);
        self.on_path_changed(now);
    }

    fn on_path_over(&mut self, now: Instant, path: Path, purpose: Purpose) {
        let state = match path.own_validation.has_failed() {
            true => PathState::Failed,
            false => PathState::Left,
        };
        if state == PathState::Failed {
            self.observers.stats.path_validations_failed += 1;
        }
        self.tell_path(now, path.id(), state);
        if purpose == Purpose::MoveTo {
            // Data goes where it has gone all the time.
            // req 9000-9.6.1-203
            let event = super::PathEvent::MoveFailed { remote: path.remote() };
            self.events.push_back(super::ConnectionEvent::Path(event));
        }
        self.drop_path(path);
    }

    /// Forgets a path, and gives its connection ID back if no other path uses it.
    // req 9000-5.1.2-053
    pub(super) fn drop_path(&mut self, path: Path) {
        if let Some(sequence) = path.remote_id
            && !self.others.iter().any(|other| other.path.remote_id == Some(sequence))
        {
            self.remote_ids.give_back(sequence);
        }
        self.sync_reset_tokens();
    }

    /// Three times the probe timeout, of the path in use or of one without any measurement.
    // req 9000-8.2.4-168
    pub(super) fn validation_period(&self) -> Duration {
        let unmeasured = RttEstimator::new(INITIAL_RTT).pto_base();
        self.probe_timeout(SpaceId::Data).max(unmeasured) * VALIDATION_PTOS
    }

    /// Stateless resets are recognised by connection ID in use and address: the endpoint is told
    /// of those pairs that came or went.
    pub(super) fn sync_reset_tokens(&mut self) {
        let paths = std::iter::once(&self.path).chain(self.others.iter().map(|o| &o.path));
        let wanted: Vec<_> = paths
            .filter_map(|path| Some((self.remote_ids.reset_token(path.remote_id)?, path.remote())))
            .collect();
        for (token, remote) in &self.reset_tokens {
            if !wanted.contains(&(*token, *remote)) {
                let (token, remote) = (*token, *remote);
                self.routes.push_back(RouteChange::PeerResetTokenRetired { token, remote });
            }
        }
        for (token, remote) in &wanted {
            if !self.reset_tokens.contains(&(*token, *remote)) {
                let (token, remote) = (*token, *remote);
                self.routes.push_back(RouteChange::PeerResetToken { token, remote });
            }
        }
        self.reset_tokens = wanted;
    }

    fn tell_path(&mut self, now: Instant, path: u64, new: PathState) {
        self.observers.emit(now, || Event::PathStateUpdated { path, new });
    }
}
