//! Network paths: where datagrams go, how much may be sent before the peer has proved that it can
//! receive there, and what was measured on the way.
//!
//! A connection sends over one path at a time. [`OtherPaths`] are those that it may move to or come
//! from. Which path is used when is decided by `connection/paths`.
//!
//! What a datagram looks like at the border of the crate lives here too: [`DatagramMeta`] on the
//! way in, [`Transmit`] on the way out.

mod address;
mod challenge;
mod datagram;
mod others;
mod validation;

pub use address::{AddressProof, AddressValidation};
pub use challenge::PendingResponses;
pub use datagram::{DatagramMeta, Ecn, SocketId, Transmit};
pub use others::{OtherPath, OtherPaths, Purpose};
pub use validation::{Answered, PathValidation};

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::recovery::{PathRecovery, RecoveryConfig};
use crate::wire::Side;
use crate::wire::frame::PathResponse;

/// Every path that can carry QUIC carries datagrams with at least this many bytes of UDP payload
/// (RFC 9000 section 14).
pub const MIN_MAX_DATAGRAM: u16 = 1200;

/// The way between one address of ours and one of the peer, and all that is known about it.
#[derive(Debug)]
pub struct Path {
    id: u64,
    socket: SocketId,
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    validation: AddressValidation,
    /// Our challenges to the peer.
    pub own_validation: PathValidation,
    responses: PendingResponses,
    /// The number of the peer's connection ID that this path uses; `None` for the one of the path
    /// in use, which is right for the path in use itself and for those that a NAT made out of it.
    pub remote_id: Option<u64>,
    /// Whether the datagrams that are being written carry an ECN mark.
    marked: bool,
    /// Round-trip time, congestion window, pacing, ECN and datagram size.
    pub recovery: PathRecovery,
}

/// The least room that a challenge is begun with: a short header with the longest connection ID,
/// the challenge and the tag.
const MIN_PROBE: usize = 1 + 20 + 4 + 9 + 16;

/// A connection begins with the first path it has.
const FIRST_ID: u64 = 0;

/// Both ends of a path, as far as this side knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathEnds {
    /// The socket of ours.
    pub socket: SocketId,
    /// The address of ours, if it matters.
    pub local_ip: Option<IpAddr>,
    /// The address of the peer.
    pub remote: SocketAddr,
}

impl From<&DatagramMeta> for PathEnds {
    fn from(datagram: &DatagramMeta) -> Self {
        let DatagramMeta { socket, local_ip, remote, .. } = *datagram;
        Self { socket, local_ip, remote }
    }
}

impl Path {
    /// The path that a connection begins on.
    ///
    /// A client has chosen the address it sends to. A server must not trust the source address of
    /// the client's first datagram, whose bytes count with [`Path::on_datagram_received`].
    pub fn new(now: Instant, side: Side, ends: PathEnds, config: &RecoveryConfig) -> Self {
        let recovery = PathRecovery::new(now, config, generation(FIRST_ID));
        let mut path = Self::beside(FIRST_ID, ends, recovery);
        if side == Side::Client {
            path.on_address_validated();
        }
        path
    }

    /// Another path of a connection, which nobody has validated.
    ///
    /// `recovery` is what is known of the way there: nothing, or what is known of a path that
    /// differs in the port of the peer only.
    pub fn beside(id: u64, ends: PathEnds, recovery: PathRecovery) -> Self {
        Self {
            id,
            socket: ends.socket,
            remote: ends.remote,
            local_ip: ends.local_ip,
            validation: AddressValidation::UNVALIDATED,
            own_validation: PathValidation::default(),
            responses: PendingResponses::default(),
            remote_id: None,
            marked: false,
            recovery,
        }
    }

    /// Counts the paths of the connection from 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The address of the peer.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Both ends.
    pub fn ends(&self) -> PathEnds {
        PathEnds { socket: self.socket, local_ip: self.local_ip, remote: self.remote }
    }

    /// True if a datagram came over this path.
    #[inline]
    pub fn carries(&self, datagram: &DatagramMeta) -> bool {
        self.is_at(datagram.remote) && self.is_from(datagram.socket, datagram.local_ip)
    }

    /// True if the peer is at this address; an IPv4 address is the same in both of its forms.
    #[inline]
    pub fn is_at(&self, remote: SocketAddr) -> bool {
        self.remote == remote || same_address(self.remote, remote)
    }

    /// True if the path leaves from this address of ours.
    pub fn is_from(&self, socket: SocketId, local_ip: Option<IpAddr>) -> bool {
        let same_ip = match (self.local_ip, local_ip) {
            (Some(ours), Some(theirs)) => ours.to_canonical() == theirs.to_canonical(),
            (None, _) | (_, None) => true,
        };
        self.socket == socket && same_ip
    }

    /// True if nothing but the port of the peer is different, as behind a NAT that has forgotten
    /// the connection.
    pub fn differs_in_port_only(&self, ends: &PathEnds) -> bool {
        self.remote.ip().to_canonical() == ends.remote.ip().to_canonical()
            && self.is_from(ends.socket, ends.local_ip)
    }

    /// A datagram of `len` bytes arrived for this connection, whether or not anything in it was of
    /// use.
    pub fn on_datagram_received(&mut self, len: usize) {
        self.validation.on_received(len);
    }

    /// A datagram of `len` bytes is on its way.
    pub fn on_datagram_sent(&mut self, len: usize) {
        self.validation.on_sent(len);
    }

    /// The peer has proved that it receives what is sent to its address.
    pub fn on_address_validated(&mut self) {
        self.validation = AddressValidation::VALIDATED;
    }

    /// The peer has answered a challenge on this path. If that fitted into a small datagram only,
    /// another one must show that the path carries what every path must carry.
    // req 9000-8.2.1-157, 9000-8.2.3-166, 9002-6.2.2-032
    pub fn on_challenge_answered(&mut self, now: Instant, answered: Answered, give_up_at: Instant) {
        self.on_address_validated();
        self.recovery.rtt.set_initial(answered.elapsed);
        if !answered.full_size {
            self.own_validation.begin(now, give_up_at);
        }
    }

    /// True if the peer is known to receive what is sent to its address.
    pub fn is_address_validated(&self) -> bool {
        self.validation == AddressValidation::VALIDATED
    }

    /// How many bytes may be sent now without making an attack with a forged source address worth
    /// its while; `usize::MAX` once the address is validated.
    pub fn amplification_room(&self) -> usize {
        self.validation.room()
    }

    /// True if not even one datagram of the size that probes have may be sent.
    pub fn is_amplification_blocked(&self) -> bool {
        self.validation.room() < usize::from(MIN_MAX_DATAGRAM)
    }

    /// True if a datagram with a challenge, or with answers that cannot go with other packets,
    /// should leave now. Only the path in use has other packets, once its address is validated.
    pub fn wants_probe(&self, now: Instant, in_use: bool) -> bool {
        let answers = self.has_response() && !(in_use && self.is_address_validated());
        self.may_probe() && (answers || self.own_validation.is_due(now))
    }

    /// True if neither the address of the peer nor the window forbid a probe.
    fn may_probe(&self) -> bool {
        self.amplification_room() >= MIN_PROBE && self.recovery.has_room()
    }

    /// When something about our validation of the path has to be done.
    pub fn validation_deadline(&self) -> Option<Instant> {
        self.own_validation.deadline(self.may_probe())
    }

    /// PATH_CHALLENGE arrived. It must have come over this path, see [`Path::carries`].
    // req 9000-8.2.2-161
    pub fn on_challenge(&mut self, data: [u8; 8]) {
        self.responses.push(data);
    }

    /// True if a PATH_RESPONSE should be sent at once.
    pub fn has_response(&self) -> bool {
        !self.responses.is_empty()
    }

    /// The next answer to a PATH_CHALLENGE, if it fits into `room` bytes. It is sent once, never
    /// again; its datagram is filled up to [`MIN_MAX_DATAGRAM`] if [`Path::amplification_room`]
    /// allows that.
    pub fn next_response(&mut self, room: usize) -> Option<PathResponse> {
        self.responses.next(room)
    }

    /// Decides whether the datagrams that are written from here on carry an ECN mark. They leave in
    /// one send call, so that the answer is the same for all of them.
    pub fn begin_train(&mut self) {
        self.marked = self.recovery.ecn.marks_ect0();
    }

    /// A datagram with nothing but challenges and answers is written: it tests nothing else.
    pub fn begin_probe(&mut self) {
        self.marked = false;
    }

    /// True if the datagrams that are being written will be marked ECT(0).
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// Where `len` bytes of datagrams go, each but the last of `segment_size` bytes.
    pub fn transmit(&self, len: usize, segment_size: Option<usize>) -> Transmit {
        let ecn = self.marked.then_some(Ecn::Ect0);
        let Self { socket, remote, local_ip, .. } = *self;
        Transmit { socket, remote, local_ip, ecn, segment_size, len }
    }
}

/// The generation that recovery knows a path by. Packets live for seconds, and so many paths do
/// not come in that time that two of them are mixed up.
pub fn generation(id: u64) -> u8 {
    id.to_le_bytes()[0]
}

fn same_address(one: SocketAddr, other: SocketAddr) -> bool {
    let scope = |addr: SocketAddr| match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(addr) => addr.scope_id(),
    };
    one.port() == other.port()
        && one.ip().to_canonical() == other.ip().to_canonical()
        && scope(one) == scope(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(side: Side) -> Path {
        let remote = "192.0.2.1:443".parse().unwrap();
        let ends = PathEnds { socket: SocketId::FIRST, local_ip: None, remote };
        Path::new(Instant::now(), side, ends, &RecoveryConfig::default())
    }

    // req-test 9000-8-115, 9000-8.1-117, 9000-14.1-353
    #[test]
    fn a_server_sends_three_times_what_it_received_until_the_address_is_validated() {
        let mut path = path(Side::Server);
        assert!(path.is_amplification_blocked());
        path.on_datagram_received(1200);
        assert_eq!(path.amplification_room(), 3600);
        path.on_datagram_sent(1200);
        path.on_datagram_sent(1200);
        assert!(!path.is_amplification_blocked());
        path.on_datagram_sent(1100);
        assert!(path.is_amplification_blocked());
        assert_eq!(path.amplification_room(), 100);
        path.on_address_validated();
        assert_eq!(path.amplification_room(), usize::MAX);
    }

    #[test]
    fn a_client_is_not_limited_by_the_address_of_the_server_that_it_chose() {
        let mut path = path(Side::Client);
        path.on_datagram_sent(1 << 30);
        assert!(!path.is_amplification_blocked());
    }

    #[test]
    fn only_datagrams_from_the_known_address_belong_to_the_path() {
        let path = path(Side::Client);
        let meta = DatagramMeta::new(path.remote());
        let local_ip = Some("192.0.2.9".parse().unwrap());
        assert!(path.carries(&DatagramMeta { local_ip, ..meta }));
        assert!(!path.carries(&DatagramMeta::new("192.0.2.1:444".parse().unwrap())));
        assert!(!path.carries(&DatagramMeta::new("192.0.2.2:443".parse().unwrap())));
    }

    #[test]
    fn datagrams_leave_from_the_address_that_the_peer_sent_to() {
        let remote = "[2001:db8::1]:1".parse().unwrap();
        let local_ip = Some("2001:db8::2".parse().unwrap());
        let config = RecoveryConfig::default();
        let ends = PathEnds { socket: SocketId(3), local_ip, remote };
        let path = Path::new(Instant::now(), Side::Server, ends, &config);
        let transmit = path.transmit(2500, Some(1200));
        assert_eq!(transmit.remote, remote);
        assert_eq!((transmit.socket, transmit.local_ip), (SocketId(3), local_ip));
        assert_eq!((transmit.len, transmit.segment_size), (2500, Some(1200)));
    }

    #[test]
    fn a_mapped_ipv4_address_is_the_same_peer() {
        let path = path(Side::Server);
        let mapped = DatagramMeta::new("[::ffff:192.0.2.1]:443".parse().unwrap());
        assert!(path.carries(&mapped));
        let another_socket = DatagramMeta { socket: SocketId(1), ..mapped };
        assert!(!path.carries(&another_socket));
        let other_port = DatagramMeta::new("[::ffff:192.0.2.1]:444".parse().unwrap());
        assert!(path.differs_in_port_only(&PathEnds::from(&other_port)));
        let other_ip = DatagramMeta::new("192.0.2.2:443".parse().unwrap());
        assert!(!path.differs_in_port_only(&PathEnds::from(&other_ip)));
    }
}
