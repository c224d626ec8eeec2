//! A network address translation in front of the client that changes its mappings now and then.
//! IPv4 only: other packets pass as they are.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use quic_core::util::Rng;

use super::packet::{End, Packet};
use super::scenario::Rebinds;

/// More flows than a client under test has; those beyond have no way through.
const MAX_FLOWS: usize = 256;
/// Ports that a NAT hands out.
const PORTS: std::ops::Range<u64> = 1024..65536;

/// The mappings of the client's flows, and when they change.
#[derive(Debug)]
pub(crate) struct Nat {
    rebinds: Rebinds,
    next: Option<Duration>,
    flows: Vec<Flow>,
    rng: Rng,
}

/// What the client calls itself, and what the world calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) inside: SocketAddrV4,
    pub(crate) outside: SocketAddrV4,
    is_udp: bool,
}

/// Nobody knows whom the packet is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoMapping;

impl Nat {
    pub(crate) fn new(rebinds: Rebinds, rng: Rng) -> Self {
        Self { rebinds, next: Some(rebinds.first), flows: Vec::new(), rng }
    }

    /// Changes all mappings if it is time to. Returns the new ones then.
    pub(crate) fn advance(&mut self, elapsed: Duration) -> Option<&[Flow]> {
        let at = self.next.filter(|at| *at <= elapsed)?;
        self.next = self.rebinds.every.filter(|every| !every.is_zero()).map(|every| at + every);
        for index in 0..self.flows.len() {
            let outside = self.unused_address(index);
            if let (Some(flow), Some(outside)) = (self.flows.get_mut(index), outside) {
                flow.outside = outside;
            }
        }
        Some(&self.flows)
    }

    /// When mappings change next.
    pub(crate) fn next_change(&self) -> Option<Duration> {
        self.next
    }

    /// Gives a packet of the client the source that the world shall see.
    pub(crate) fn outbound(&mut self, packet: &mut Packet) -> Result<(), NoMapping> {
        let SocketAddr::V4(inside) = packet.address(End::Source) else { return Ok(()) };
        let is_udp = packet.is_udp();
        let known = self.flows.iter().find(|flow| flow.is_udp == is_udp && flow.inside == inside);
        let flow = match known {
            Some(flow) => *flow,
            None if self.flows.len() < MAX_FLOWS => {
                let flow = Flow { inside, outside: inside, is_udp };
                self.flows.push(flow);
                flow
            }
            None => return Err(NoMapping),
        };
        packet.set_address(End::Source, flow.outside);
        Ok(())
    }

    /// Gives a packet to the client the destination that the client knows.
    pub(crate) fn inbound(&self, packet: &mut Packet) -> Result<(), NoMapping> {
        let SocketAddr::V4(outside) = packet.address(End::Destination) else { return Ok(()) };
        let is_udp = packet.is_udp();
        let flow = self.flows.iter().find(|flow| flow.is_udp == is_udp && flow.outside == outside);
        packet.set_address(End::Destination, flow.ok_or(NoMapping)?.inside);
        Ok(())
    }

    /// A port that no flow has, and never had before the change; with it another host of the
    /// client's network, if addresses change.
    fn unused_address(&mut self, index: usize) -> Option<SocketAddrV4> {
        let flow = *self.flows.get(index)?;
        // There are far more ports than flows.
        loop {
            let port = self.rng.range(PORTS) as u16;
            let is_used = |flow: &Flow| flow.outside.port() == port || flow.inside.port() == port;
            if !self.flows.iter().any(is_used) {
                let address = if self.rebinds.address {
                    self.another_host(*flow.inside.ip(), *flow.outside.ip())
                } else {
                    *flow.outside.ip()
                };
                return Some(SocketAddrV4::new(address, port));
            }
        }
    }

    /// A host of the /24 of `real`, neither that nor `current`.
    fn another_host(&mut self, real: Ipv4Addr, current: Ipv4Addr) -> Ipv4Addr {
        let [a, b, c, _] = real.octets();
        loop {
            // Not the network, not the router, not the broadcast address.
            let host = self.rng.range(3..255) as u8;
            let address = Ipv4Addr::new(a, b, c, host);
            if address != real && address != current {
                return address;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::{assert_checksums_are_right, datagram};
    use super::*;

    const SEED: [u8; 32] = [3; 32];

    fn nat(address: bool) -> Nat {
        let [first, every] = [1, 5].map(Duration::from_secs);
        Nat::new(Rebinds { first, every: Some(every), address }, Rng::from_seed(SEED))
    }

    /// The source of the client's packet as the world sees it.
    fn outside(nat: &mut Nat) -> SocketAddr {
        let mut packet = datagram(b"hello");
        nat.outbound(&mut packet).unwrap();
        assert_checksums_are_right(&packet);
        packet.address(End::Source)
    }

    /// Where a packet for `address` comes out.
    fn inside(nat: &Nat, address: SocketAddr) -> Result<SocketAddr, NoMapping> {
        let server = "193.167.100.100:443".parse().unwrap();
        let mut packet = Packet::udp(server, address, 0, b"hi").unwrap();
        nat.inbound(&mut packet)?;
        assert_checksums_are_right(&packet);
        Ok(packet.address(End::Destination))
    }

    fn client() -> SocketAddr {
        datagram(b"").address(End::Source)
    }

    #[test]
    fn before_the_first_change_addresses_are_their_own() {
        let mut nat = nat(true);
        assert_eq!(outside(&mut nat), client());
        assert_eq!(inside(&nat, client()), Ok(client()));
        assert_eq!(nat.advance(Duration::from_millis(999)), None);
        assert_eq!(nat.next_change(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_rebind_changes_the_port_and_forgets_the_old_one() {
        let mut nat = nat(false);
        let mut before = outside(&mut nat);
        for change in [1, 6, 11] {
            assert_eq!(nat.advance(Duration::from_secs(change)).map(<[Flow]>::len), Some(1));
            let after = outside(&mut nat);
            assert_eq!(after.ip(), before.ip());
            assert_ne!(after.port(), before.port());
            assert_eq!(inside(&nat, after), Ok(client()));
            assert_eq!(inside(&nat, before), Err(NoMapping));
            before = after;
        }
    }

    #[test]
    fn a_rebind_of_the_address_changes_both_within_the_network() {
        let mut nat = nat(true);
        outside(&mut nat);
        let mut seen = std::collections::HashSet::from([client()]);
        for change in 0..50 {
            nat.advance(Duration::from_secs(1 + 5 * change)).unwrap();
            let SocketAddr::V4(after) = outside(&mut nat) else { panic!("IPv6") };
            assert_eq!(after.ip().octets()[..3], [193, 167, 0]);
            assert_ne!(SocketAddr::V4(after).ip(), client().ip());
            assert_eq!(inside(&nat, after.into()), Ok(client()));
            assert!(seen.insert(after.into()), "seed {SEED:?}");
        }
    }

    #[test]
    fn without_a_frequency_there_is_one_rebind() {
        let first = Duration::from_secs(1);
        let rebinds = Rebinds { first, every: None, address: false };
        let mut nat = Nat::new(rebinds, Rng::from_seed(SEED));
        assert!(nat.advance(first).is_some());
        assert_eq!(nat.next_change(), None);
        assert_eq!(nat.advance(first * 100), None);
    }

    #[test]
    fn strangers_and_too_many_flows_have_no_way_through() {
        let mut nat = nat(false);
        assert_eq!(inside(&nat, client()), Err(NoMapping));
        let server = "193.167.100.100:443".parse().unwrap();
        for port in 0..=MAX_FLOWS {
            let from = SocketAddr::new(client().ip(), 2000 + port as u16);
            let mut packet = Packet::udp(from, server, 0, b"").unwrap();
            let expected = if port < MAX_FLOWS { Ok(()) } else { Err(NoMapping) };
            assert_eq!(nat.outbound(&mut packet), expected);
        }
    }

    #[test]
    fn ipv6_passes_as_it_is() {
        let mut nat = nat(true);
        let [client, server] = ["[fd00::1]:1", "[fd00::2]:2"].map(|a| a.parse().unwrap());
        let mut packet = Packet::udp(client, server, 0, b"x").unwrap();
        let original = packet.clone();
        nat.advance(Duration::from_secs(1));
        nat.outbound(&mut packet).unwrap();
        nat.inbound(&mut packet).unwrap();
        assert_eq!(packet, original);
    }
}
