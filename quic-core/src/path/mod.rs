//! A network path: where datagrams go, and how much may be sent before the peer has proved that it
//! can receive there.
//!
//! What a datagram looks like at the border of the crate lives here too: [`DatagramMeta`] on the
//! way in, [`Transmit`] on the way out. There is one path per connection: a peer that moves to
//! another address is not followed.

mod address;
mod challenge;
mod datagram;

pub use address::{AddressProof, AddressValidation};
pub use challenge::PendingResponses;
pub use datagram::{DatagramMeta, Ecn, Transmit};

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
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    validation: AddressValidation,
    responses: PendingResponses,
    /// Whether the datagrams that are being written carry an ECN mark.
    marked: bool,
    /// Round-trip time, congestion window, pacing, ECN and datagram size.
    pub recovery: PathRecovery,
}

/// A connection begins with the first path it has.
const FIRST_GENERATION: u8 = 0;

impl Path {
    /// The path that a connection begins on.
    ///
    /// A client has chosen the address it sends to. A server must not trust the source address of
    /// the client's first datagram, whose bytes count with [`Path::on_datagram_received`].
    pub fn new(
        now: Instant,
        side: Side,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        config: &RecoveryConfig,
    ) -> Self {
        let recovery = PathRecovery::new(now, config, FIRST_GENERATION);
        let validation = match side {
            Side::Client => AddressValidation::VALIDATED,
            Side::Server => AddressValidation::UNVALIDATED,
        };
        let (responses, marked) = (PendingResponses::default(), recovery.ecn.marks_ect0());
        Self { remote, local_ip, validation, responses, marked, recovery }
    }

    /// The address of the peer.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// True if a datagram came over this path. Others are dropped before they are counted or
    /// opened: a server never moves, and a client was told not to.
    // req 9000-9-172, 9000-9-176, 9000-9.6-199
    pub fn carries(&self, datagram: &DatagramMeta) -> bool {
        self.remote == datagram.remote
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

    /// PATH_CHALLENGE arrived. It must have come over this path, see [`Path::carries`].
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

    /// True if the datagrams that are being written will be marked ECT(0).
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// Where `len` bytes of datagrams go, each but the last of `segment_size` bytes.
    pub fn transmit(&self, len: usize, segment_size: Option<usize>) -> Transmit {
        let ecn = self.marked.then_some(Ecn::Ect0);
        Transmit { remote: self.remote, local_ip: self.local_ip, ecn, segment_size, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(side: Side) -> Path {
        let remote = "192.0.2.1:443".parse().unwrap();
        Path::new(Instant::now(), side, remote, None, &RecoveryConfig::default())
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

    // req-test 9000-9-172, 9000-9-176, 9000-9.6-199
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
        let path = Path::new(Instant::now(), Side::Server, remote, local_ip, &config);
        let transmit = path.transmit(2500, Some(1200));
        assert_eq!(transmit.remote, remote);
        assert_eq!(transmit.local_ip, local_ip);
        assert_eq!((transmit.len, transmit.segment_size), (2500, Some(1200)));
    }
}
