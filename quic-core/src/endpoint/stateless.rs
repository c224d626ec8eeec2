//! Packets on behalf of no connection: Version Negotiation, Retry, stateless resets, refusals.
//!
//! Whatever provokes them can be forged, so each is smaller than what it answers, they leave at a
//! limited rate, and only so many wait to be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::crypto::{self, Keyring, ResetKey, TAG_LEN};
use crate::error::Violation;
use crate::path::{DatagramMeta, Transmit};
use crate::util::Rng;
use crate::wire::frame::ConnectionClose;
use crate::wire::header::{
    LongHeader, LongType, RetryPacket, UnknownVersionHeader, VersionNegotiationPacket,
};
use crate::wire::{
    ConnectionId, PacketNumber, ResetToken, Side, SpaceId, Truncated, Version, Writer,
};

/// The smallest datagram that could be a packet with a short header: anything smaller cannot come
/// from a connection (RFC 9000 section 10.3).
// req 9000-10.3-252
pub(super) const MIN_RESET: usize = 21;
/// From here on, the answer to a packet need not be just one byte smaller to look like any other.
const AMBIGUOUS_RESET: usize = 43;
/// Resets of larger packets vary by so many bytes in size.
const RESET_SIZE_VARIATION: u64 = 16;
/// Datagrams that wait to be sent; each is below 600 bytes.
const MAX_QUEUED: usize = 256;

/// Datagrams that are ready to be sent.
#[derive(Debug)]
pub(super) struct StatelessQueue {
    queue: VecDeque<(Transmit, Vec<u8>)>,
    budget: Budget,
}

impl StatelessQueue {
    pub(super) fn new(per_second: u32) -> Self {
        Self { queue: VecDeque::new(), budget: Budget::new(per_second) }
    }

    /// Asks for leave to answer one datagram. With `true` it is used up.
    // req 9000-6.1-077, 9000-5.2.2-066
    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        self.queue.len() < MAX_QUEUED && self.budget.take(now)
    }

    /// Sends `packet` back to where `meta` came from.
    pub(super) fn push(&mut self, meta: &DatagramMeta, packet: Vec<u8>) {
        let transmit = Transmit {
            socket: meta.socket,
            remote: meta.remote,
            local_ip: meta.local_ip,
            ecn: None,
            segment_size: None,
            len: packet.len(),
        };
        self.queue.push_back((transmit, packet));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<(Transmit, Vec<u8>)> {
        self.queue.pop_front()
    }
}

/// How many answers may leave: so many a second, and so many at once.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    left: u32,
    refilled: Option<Instant>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, refilled: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Duration::from_secs(1) {
            self.left = self.per_second;
            self.refilled = Some(now);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// The answer to a packet of a version that we do not speak (RFC 9000 section 6.1), with one more
/// version that nobody speaks, so that clients stay used to unknown ones.
// req 9000-17.2.1-387, 9000-17.2.1-388, 9000-6.3-081, 8999-6-003, 8999-6-004
pub(super) fn version_negotiation(
    header: &UnknownVersionHeader<'_>,
    supported: &[Version],
    rng: &mut Rng,
) -> Vec<u8> {
    let [unused, bits @ ..] = rng.array::<5>();
    let grease = Version::reserved(u32::from_be_bytes(bits));
    // The client must not find the version it has sent.
    let grease = Some(grease).filter(|grease| *grease != header.version);
    let versions: Vec<_> = supported.iter().copied().chain(grease).collect();
    let packet = VersionNegotiationPacket {
        dcid: header.scid,
        scid: header.dcid,
        versions: &versions,
        unused: unused & 0x3f,
    };
    let mut out = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut out));
    out
}

/// The answer to a packet of `len` bytes for a connection that does not exist here (RFC 9000
/// section 10.3); `None` if the packet is too small to have a smaller answer.
// req 9000-10.3-246, 9000-10.3-248, 9000-10.3-250, 9000-10.3-251, 9000-10.3-253, 9000-10.3.3-267
pub(super) fn stateless_reset(token: &ResetToken, len: usize, rng: &mut Rng) -> Option<Vec<u8>> {
    let size = match len {
        0..=MIN_RESET => return None,
        _ if len <= AMBIGUOUS_RESET => len - 1,
        _ => {
            let variation = rng.range(0..RESET_SIZE_VARIATION) as usize;
            (AMBIGUOUS_RESET + variation).min(len - 1)
        }
    };
    let mut out = vec![0; size];
    rng.fill(&mut out);
    let (first, end) = (0, size - ResetToken::LEN);
    out[first] = (out[first] & 0x3f) | 0x40;
    out[end..].copy_from_slice(token.as_bytes());
    Some(out)
}

/// The token for the connection ID that an unknown packet was sent to, if it can be one of ours.
pub(super) fn token_for(reset_key: &ResetKey, dcid: &[u8]) -> Option<ResetToken> {
    ConnectionId::new(dcid).map(|id| reset_key.token(&id))
}

/// Asks the client that sent a packet to `client_dcid` to come again with the token of `packet`.
// req 9000-17.2.5.1-401
pub(super) fn retry(client_dcid: &ConnectionId, packet: &RetryPacket<'_>) -> Vec<u8> {
    debug_assert_ne!(packet.scid, *client_dcid);
    let mut out = vec![0; packet.size()];
    packet.encode(&mut Writer::new(&mut out));
    let tag = crypto::retry::integrity_tag(packet.version, client_dcid, &out);
    out.extend_from_slice(&tag);
    out
}

/// The answer to a client that is not wanted: an Initial packet that closes the connection with
/// `reason` (RFC 9000 section 5.2.2).
// req 9000-5.2.2-069
pub(super) fn refusal(
    version: Version,
    client_dcid: &ConnectionId,
    client_scid: ConnectionId,
    our_scid: ConnectionId,
    reason: Violation,
) -> Vec<u8> {
    const ROOM: usize = 256;
    let mut out = vec![0; ROOM];
    let mut writer = Writer::new(&mut out[..ROOM - TAG_LEN]);
    let number = PacketNumber::new(0);
    let header = LongHeader {
        ty: LongType::Initial { token: &[] },
        version,
        dcid: client_scid,
        scid: our_scid,
        packet_number: Truncated::shorten(number, None),
    }
    .encode(&mut writer);
    let close = ConnectionClose::Transport {
        error_code: reason.code(),
        frame_type: None,
        reason: reason.sentence().as_bytes(),
    };
    close.fitted(writer.remaining()).encode(&mut writer);
    let end = writer.position() + TAG_LEN;
    header.finish_length(&mut out, end);
    out.truncate(end);
    Keyring::new(version, client_dcid, Side::Server)
        .seal(SpaceId::Initial, number, &mut out, header.payload_offset())
        .expect("fresh Initial keys seal a packet");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::Header;

    fn rng() -> Rng {
        Rng::from_seed([5; 32])
    }

    // req-test 9000-6.1-077, 9000-5.2.2-066
    #[test]
    fn answers_leave_at_a_limited_rate() {
        let now = Instant::now();
        let mut budget = Budget::new(10);
        assert_eq!((0..1000).filter(|_| budget.take(now)).count(), 10);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| budget.take(later)).count(), 10);
        assert!(!Budget::new(0).take(now));
    }

    #[test]
    fn answers_that_nobody_sends_do_not_pile_up() {
        let now = Instant::now();
        let mut queue = StatelessQueue::new(u32::MAX);
        let meta = DatagramMeta::new("192.0.2.1:1".parse().unwrap());
        let queued = (0..10_000)
            .filter(|_| {
                let leave = queue.may_answer(now);
                if leave {
                    queue.push(&meta, vec![0; 40]);
                }
                leave
            })
            .count();
        assert_eq!(queued, MAX_QUEUED);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), MAX_QUEUED);
    }

    // req-test 9000-17.2.1-387, 9000-17.2.1-388, 9000-6.3-081, 8999-6-003, 8999-6-004
    // req-test 9000-17.2.1-386, 9000-17.2.1-385
    #[test]
    fn version_negotiation_echoes_connection_ids_of_any_length_and_offers_our_versions() {
        let (dcid, scid) = ([1; 255], [2; 30]);
        let header = UnknownVersionHeader { version: Version(77), dcid: &dcid, scid: &scid };
        let packet = version_negotiation(&header, &[Version::V1], &mut rng());
        assert_eq!(packet[0] & 0xc0, 0xc0);
        let Ok(Header::VersionNegotiation(answer)) = Header::decode(&packet, 8) else {
            panic!("not a Version Negotiation packet");
        };
        assert_eq!((answer.dcid, answer.scid), (&scid[..], &dcid[..]));
        let versions: Vec<_> = answer.versions.collect();
        assert_eq!(versions[0], Version::V1);
        assert!(versions[1].is_reserved());
        assert!(packet.len() < 1200, "smaller than what it answers");
    }

    // req-test 9000-10.3-250, 9000-10.3-251, 9000-10.3-253, 9000-10.3.3-267, 9000-10.3-248
    #[test]
    fn resets_are_smaller_than_what_they_answer_and_look_like_short_headers() {
        let mut rng = rng();
        let token = ResetToken::new([7; 16]);
        for len in 0..1500 {
            let Some(reset) = stateless_reset(&token, len, &mut rng) else {
                assert!(len <= MIN_RESET);
                continue;
            };
            assert!(reset.len() < len && reset.len() >= MIN_RESET);
            assert!(len > AMBIGUOUS_RESET || reset.len() == len - 1);
            assert_eq!(reset[0] & 0xc0, 0x40);
            assert_eq!(&reset[reset.len() - 16..], token.as_bytes());
        }
        let [one, other] = [(); 2].map(|()| stateless_reset(&token, 40, &mut rng).unwrap());
        assert_ne!(one[..24], other[..24], "the bits before the token are random");
    }

    // req-test 9000-10.3.3-267
    #[test]
    fn two_endpoints_that_reset_each_other_fall_silent() {
        let mut rng = rng();
        let token = ResetToken::new([7; 16]);
        let mut size = 1400;
        let mut rounds = 0;
        while let Some(reset) = stateless_reset(&token, size, &mut rng) {
            size = reset.len();
            rounds += 1;
        }
        assert!(rounds < 60, "{rounds} packets");
    }
}
