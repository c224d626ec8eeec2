//! 1-RTT keys and their updates (RFC 9001, section 6).
//!
//! Keys come in generations; the Key Phase bit is the lowest bit of the generation. Both sides
//! move to the next generation together: one starts, the other follows when it opens a packet of
//! the new generation. To read, three generations are at hand: the current one, the one before it
//! for packets that were delayed, and the one after it, made ahead of time so that the first
//! packet of an update takes no longer to open than any other.

use std::fmt;
use std::time::{Duration, Instant};

use rustls::quic::{HeaderProtectionKey, PacketKey, PacketKeySet};

use super::keys::{CountedKey, LevelKeys, NextKeys, SealKeys};
use super::open::{OpenError, Opened, Plain, Protected, Unprotected};
use super::seal::seal;
use crate::error::{Discard, TransportError, Violation};
use crate::wire::header::KeyPhase;
use crate::wire::{PacketNumber, SpaceId};

/// Where a short header carries the key phase.
const KEY_PHASE_BIT: u8 = 0x04;

/// How many probe timeouts the previous keys are kept, and a new update has to wait.
const PTOS_BETWEEN_UPDATES: u32 = 3;

/// How long previous keys are kept if nobody tells how long three probe timeouts are; that of a
/// path whose round-trip time is not known.
const DEFAULT_RETENTION: Duration = Duration::from_secs(3);

/// What a packet did to a key update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUpdateProgress {
    /// Nothing.
    None,
    /// The peer has started an update; what is sent from now on uses the new keys. The old ones
    /// wait to be discarded, see [`Keyring::discard_previous_at`](super::Keyring).
    StartedByPeer,
    /// The peer has followed an update of ours. The old keys wait to be discarded.
    FollowedByPeer,
}

/// Why a key update cannot be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUpdateRefused {
    /// The handshake is not confirmed.
    HandshakeNotConfirmed,
    /// The peer has not acknowledged a packet that was protected with the current keys.
    NotAcknowledged,
    /// The last update is less than three probe timeouts ago.
    TooSoon,
    /// The connection is over, or about to be.
    ConnectionClosed,
}

impl fmt::Display for KeyUpdateRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandshakeNotConfirmed => "the handshake is not confirmed",
            Self::NotAcknowledged => "no packet under the current keys was acknowledged",
            Self::ConnectionClosed => "the connection is closed",
            Self::TooSoon => "the last key update is less than three probe timeouts ago",
        })
    }
}

impl std::error::Error for KeyUpdateRefused {}

/// All 1-RTT keys of a connection.
pub(super) struct OneRttKeys {
    generation: u64,
    local: SealKeys,
    /// The first packet that was sealed in this generation.
    first_sealed: Option<PacketNumber>,
    /// When the peer first acknowledged a packet of this generation.
    acknowledged: Option<Instant>,
    remote_header: Box<dyn HeaderProtectionKey>,
    previous: Option<Previous>,
    current: ReceiveKey,
    next: PacketKeySet,
    secrets: NextKeys,
    /// A packet as it was before the first attempt to open it; reused.
    untouched: Vec<u8>,
}

/// A key to open packets with, and which packet numbers it has opened.
struct ReceiveKey {
    key: Box<dyn PacketKey>,
    lowest: Option<PacketNumber>,
    highest: Option<PacketNumber>,
}

impl ReceiveKey {
    fn new(key: Box<dyn PacketKey>) -> Self {
        Self { key, lowest: None, highest: None }
    }

    fn on_opened(&mut self, number: PacketNumber) {
        self.lowest = Some(self.lowest.map_or(number, |lowest| lowest.min(number)));
        self.highest = self.highest.max(Some(number));
    }

    /// True if a packet with a lower number than `number` was opened.
    fn opened_below(&self, number: PacketNumber) -> bool {
        self.lowest.is_some_and(|lowest| lowest < number)
    }

    /// True if a packet with a higher number than `number` was opened.
    fn opened_above(&self, number: PacketNumber) -> bool {
        self.highest.is_some_and(|highest| highest > number)
    }
}

/// The keys of the generation before, kept for packets that were delayed.
struct Previous {
    keys: ReceiveKey,
    /// `None` until the peer has used the current keys.
    discard_at: Option<Instant>,
}

/// The generations that can be opened, as seen from the current one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    Previous,
    Current,
    Next,
}

impl OneRttKeys {
    pub(super) fn new(keys: LevelKeys, mut secrets: NextKeys) -> Self {
        Self {
            generation: 0,
            local: keys.local,
            first_sealed: None,
            acknowledged: None,
            remote_header: keys.remote.header,
            previous: None,
            current: ReceiveKey::new(keys.remote.packet),
            // req 9001-6.3-076
            next: secrets.next_packet_keys(),
            secrets,
            untouched: Vec::new(),
        }
    }

    pub(super) fn key_phase(&self) -> KeyPhase {
        if self.generation & 1 == 0 { KeyPhase::Zero } else { KeyPhase::One }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The largest number of packets that may fail to be opened.
    pub(super) fn integrity_limit(&self) -> u64 {
        self.current.key.integrity_limit()
    }

    /// Opens a packet with whichever generation of keys it was protected with.
    pub(super) fn open(
        &mut self,
        now: Instant,
        packet: Protected<'_>,
        largest_received: Option<PacketNumber>,
    ) -> Result<Opened, OpenError> {
        self.discard_expired(now);
        let mut packet = packet.unprotect(&*self.remote_header, largest_received)?;
        let (generation, plain) = self.decrypt(&mut packet)?;
        let progress = self.on_opened(now, generation, plain.packet_number)?;
        let opened_with = match generation {
            Generation::Previous => self.generation.saturating_sub(1),
            Generation::Current | Generation::Next => self.generation,
        };
        Ok(plain.check(SpaceId::Data, opened_with, progress)?)
    }

    /// Tries the keys that the Key Phase bit and the packet number call for. While the previous
    /// keys are kept, whatever fails is tried again with those, whichever keys were first: that
    /// finds the packets whose numbers are too high for their keys, and the time it takes says
    /// nothing about the Key Phase bit.
    // req 9001-5.5-047, 9001-5.5-048, 9001-6.3-072, 9001-9.5-117
    fn decrypt(&mut self, packet: &mut Unprotected<'_>) -> Result<(Generation, Plain), Discard> {
        let number = packet.packet_number();
        let generation = self.generation_of(packet);
        let Some(previous) = &self.previous else {
            let plain = packet.decrypt(self.key_of(generation))?;
            return Ok((generation, plain));
        };
        if generation == Generation::Previous || !self.current.opened_below(number) {
            let plain = packet.decrypt(self.key_of(generation))?;
            return Ok((generation, plain));
        }
        self.untouched.clear();
        self.untouched.extend_from_slice(packet.bytes());
        if let Ok(plain) = packet.decrypt(self.key_of(generation)) {
            return Ok((generation, plain));
        }
        packet.restore(&self.untouched);
        let plain = packet.decrypt(&*previous.keys.key)?;
        Ok((Generation::Previous, plain))
    }

    fn generation_of(&self, packet: &Unprotected<'_>) -> Generation {
        if packet.key_phase() == self.key_phase() {
            Generation::Current
        } else if self.previous.is_some() && !self.current.opened_below(packet.packet_number()) {
            Generation::Previous
        } else {
            Generation::Next
        }
    }

    fn key_of(&self, generation: Generation) -> &dyn PacketKey {
        match (generation, &self.previous) {
            (Generation::Previous, Some(previous)) => &*previous.keys.key,
            (Generation::Previous | Generation::Current, _) => &*self.current.key,
            (Generation::Next, _) => &*self.next.remote,
        }
    }

    /// An authentic packet: checks that keys only move forward with packet numbers, and follows
    /// the peer into the next generation.
    fn on_opened(
        &mut self,
        now: Instant,
        generation: Generation,
        number: PacketNumber,
    ) -> Result<KeyUpdateProgress, Violation> {
        match generation {
            Generation::Previous => {
                // req 9001-6.4-078
                if self.current.opened_below(number) {
                    return Err(Violation::KeyUpdateBackwards);
                }
                if let Some(previous) = &mut self.previous {
                    previous.keys.on_opened(number);
                }
                Ok(KeyUpdateProgress::None)
            }
            Generation::Current => {
                // req 9001-6.4-078
                if self.previous.as_ref().is_some_and(|p| p.keys.opened_above(number)) {
                    return Err(Violation::KeyUpdateBackwards);
                }
                let is_first = self.current.highest.is_none();
                self.current.on_opened(number);
                match &mut self.previous {
                    // req 9001-6.1-066
                    Some(previous) if is_first => {
                        previous.discard_at = Some(now + DEFAULT_RETENTION);
                        Ok(KeyUpdateProgress::FollowedByPeer)
                    }
                    _ => Ok(KeyUpdateProgress::None),
                }
            }
            Generation::Next => {
                // req 9001-6.4-078
                if self.current.opened_above(number) {
                    return Err(Violation::KeyUpdateBackwards);
                }
                // req 9001-6.2-070: nothing of ours can have confirmed the current keys.
                if self.first_sealed.is_none() {
                    return Err(Violation::KeyUpdateTooEarly);
                }
                // req 9001-6.2-068, 9001-6.2-069
                self.advance();
                self.current.on_opened(number);
                self.discard_previous_at(now + DEFAULT_RETENTION);
                Ok(KeyUpdateProgress::StartedByPeer)
            }
        }
    }

    /// Moves to the next generation and makes the one after it.
    // req 9001-6.1-066, 9001-6.1-067, 9001-9.5-119, 9001-6.3-073, 9001-6.3-075
    fn advance(&mut self) {
        let PacketKeySet { local, remote } =
            std::mem::replace(&mut self.next, self.secrets.next_packet_keys());
        self.local.packet = CountedKey::new(local);
        let old = std::mem::replace(&mut self.current, ReceiveKey::new(remote));
        self.previous = Some(Previous { keys: old, discard_at: None });
        self.generation += 1;
        self.first_sealed = None;
        self.acknowledged = None;
    }

    /// Sets when the previous keys go, unless the peer still has to follow our update.
    pub(super) fn discard_previous_at(&mut self, at: Instant) {
        let peer_has_followed = self.current.highest.is_some();
        if let Some(previous) = self.previous.as_mut().filter(|_| peer_has_followed) {
            previous.discard_at = Some(at);
        }
    }

    // req 9001-6.5-082, 9001-6.5-083
    fn discard_expired(&mut self, now: Instant) {
        let due = self.previous.as_ref().and_then(|previous| previous.discard_at);
        if due.is_some_and(|at| at <= now) {
            self.previous = None;
        }
    }

    /// Seals a packet with the current keys and puts their Key Phase bit into it. If the keys are
    /// worn enough and may be updated, they are updated first.
    // req 9001-6.4-077, 9001-6.6-086, 9001-5.3-044, 9001-6.1-064
    pub(super) fn seal(
        &mut self,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
        is_confirmed: bool,
    ) -> Result<(), TransportError> {
        if self.is_worn() && self.acknowledged.is_some() && is_confirmed {
            self.advance();
        }
        if let Some(first) = packet.first_mut() {
            match self.key_phase() {
                KeyPhase::Zero => *first &= !KEY_PHASE_BIT,
                KeyPhase::One => *first |= KEY_PHASE_BIT,
            }
        }
        seal(&mut self.local, number, packet, header_len)?;
        self.first_sealed.get_or_insert(number);
        Ok(())
    }

    /// How many packets the current keys have protected, and their bytes.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.local.packet.sealed, self.local.packet.bytes)
    }

    /// True once seven eighths of the packets that the current keys may protect are sent.
    fn is_worn(&self) -> bool {
        let limit = self.local.packet.key.confidentiality_limit();
        self.local.packet.sealed >= limit - limit / 8
    }

    /// The peer acknowledged packets up to `largest` in a packet that was opened with the keys of
    /// generation `opened_with`.
    // req 9001-6.1-065, 9001-6.2-071
    pub(super) fn on_acked(
        &mut self,
        now: Instant,
        largest: PacketNumber,
        opened_with: u64,
    ) -> Result<(), Violation> {
        if self.first_sealed.is_none_or(|first| largest < first) {
            return Ok(());
        }
        if opened_with < self.generation {
            return Err(Violation::KeyUpdateNotFollowed);
        }
        self.acknowledged.get_or_insert(now);
        Ok(())
    }

    /// Starts a key update; the next packet is sealed with new keys.
    // req 9001-6.1-065, 9001-6.5-081
    pub(super) fn initiate(&mut self, now: Instant, pto: Duration) -> Result<(), KeyUpdateRefused> {
        let Some(acknowledged) = self.acknowledged else {
            return Err(KeyUpdateRefused::NotAcknowledged);
        };
        if self.generation > 0 && now < acknowledged + pto * PTOS_BETWEEN_UPDATES {
            return Err(KeyUpdateRefused::TooSoon);
        }
        self.advance();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn pretend_sealed(&mut self, packets: u64) {
        self.local.packet.sealed = packets;
    }
}
