//! IP packets: as much of them as a link, a NAT and a capture must understand, and no more.
//!
//! Changes keep the checksums right, so that the receiving kernel takes a changed packet for what
//! its sender sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Protocol number of TCP.
const TCP: u8 = 6;
/// Protocol number of UDP.
const UDP: u8 = 17;
/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;
/// Bytes of an IPv6 header, and of an IPv4 header without options.
const IPV6_HEADER: usize = 40;
const IPV4_HEADER: usize = 20;
/// Where an IPv4 header has its checksum, and its addresses.
const IPV4_CHECKSUM: usize = 10;
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
/// Time to live of packets that are made here.
const HOP_LIMIT: u8 = 64;

/// A whole IPv4 or IPv6 packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    transport: Transport,
}

/// What an IP packet carries, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp {
        at: usize,
    },
    Tcp {
        at: usize,
    },
    /// Anything else, and fragments that do not begin with the header of their protocol.
    Other,
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

impl Packet {
    /// Takes `bytes` for an IP packet, if they look like one.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let transport = match bytes.first()? >> 4 {
            4 => Transport::in_ipv4(&bytes)?,
            6 => Transport::in_ipv6(&bytes)?,
            _ => return None,
        };
        Some(Self { bytes, transport })
    }

    /// A UDP datagram between two addresses of one family; `None` if they are not, or if it would
    /// be too long.
    pub(crate) fn udp(from: SocketAddr, to: SocketAddr, ecn: u8, payload: &[u8]) -> Option<Self> {
        let udp_length = u16::try_from(UDP_HEADER + payload.len()).ok()?;
        let mut bytes = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ipv4_header(from, to, ecn, udp_length)?,
            (IpAddr::V6(from), IpAddr::V6(to)) => ipv6_header(from, to, ecn, udp_length),
            _ => return None,
        };
        let at = bytes.len();
        bytes.extend(from.port().to_be_bytes());
        bytes.extend(to.port().to_be_bytes());
        bytes.extend(udp_length.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(payload);
        let mut packet = Self { bytes, transport: Transport::Udp { at } };
        let checksum = match packet.transport_checksum() {
            0 => u16::MAX,
            checksum => checksum,
        };
        packet.store(at + 6, checksum);
        Some(packet)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.transport, Transport::Udp { .. })
    }

    /// The address, with the port where there is one (otherwise 0).
    pub(crate) fn address(&self, end: End) -> SocketAddr {
        let port = match self.transport.port_at(end) {
            Some(at) => self.word(at),
            None => 0,
        };
        SocketAddr::new(self.ip(end), port)
    }

    /// The payload of a UDP datagram.
    pub(crate) fn udp_payload(&self) -> Option<&[u8]> {
        match self.transport {
            Transport::Udp { at } => self.bytes.get(at + UDP_HEADER..),
            Transport::Tcp { .. } | Transport::Other => None,
        }
    }

    /// The two ECN bits of the IP header.
    pub(crate) fn ecn(&self) -> u8 {
        let traffic_class = if self.is_ipv4() { self.word(0) } else { self.word(0) >> 4 };
        (traffic_class & 0b11) as u8
    }

    /// Puts another byte into the payload of a UDP datagram; nothing happens beyond its end.
    pub(crate) fn set_udp_payload_byte(&mut self, offset: usize, value: u8) {
        let Transport::Udp { at } = self.transport else { return };
        let byte = at + UDP_HEADER + offset;
        // Checksums count words from the start of the UDP header.
        let word = byte - (offset & 1);
        let [high, low] = match self.bytes.get(word..) {
            Some([high, low, ..]) => [*high, *low],
            // The padding of an odd last byte is a zero.
            Some([high]) if word == byte => [*high, 0],
            Some(_) | None => return,
        };
        let old = u16::from_be_bytes([high, low]);
        let new = if word == byte { [value, low] } else { [high, value] };
        if let Some(place) = self.bytes.get_mut(byte) {
            *place = value;
        }
        self.adjust_transport_checksum(old, u16::from_be_bytes(new));
    }

    /// Rewrites an address and its port, as a NAT does. IPv4 only: others stay as they are.
    pub(crate) fn set_address(&mut self, end: End, address: SocketAddrV4) {
        if !self.is_ipv4() {
            return;
        }
        let at = match end {
            End::Source => IPV4_SOURCE,
            End::Destination => IPV4_DESTINATION,
        };
        let octets = address.ip().octets();
        for (at, new) in [(at, [octets[0], octets[1]]), (at + 2, [octets[2], octets[3]])] {
            let [old, new] = [self.word(at), u16::from_be_bytes(new)];
            self.store(at, new);
            let header = adjusted(self.word(IPV4_CHECKSUM), old, new);
            self.store(IPV4_CHECKSUM, header);
            // The addresses are in the pseudo header too.
            self.adjust_transport_checksum(old, new);
        }
        if let Some(at) = self.transport.port_at(end) {
            let old = self.word(at);
            self.store(at, address.port());
            self.adjust_transport_checksum(old, address.port());
        }
    }

    fn is_ipv4(&self) -> bool {
        self.bytes.first().is_some_and(|first| first >> 4 == 4)
    }

    fn ip(&self, end: End) -> IpAddr {
        match (self.is_ipv4(), end) {
            (true, End::Source) => Ipv4Addr::from(self.array(IPV4_SOURCE)).into(),
            (true, End::Destination) => Ipv4Addr::from(self.array(IPV4_DESTINATION)).into(),
            (false, End::Source) => Ipv6Addr::from(self.array::<16>(8)).into(),
            (false, End::Destination) => Ipv6Addr::from(self.array::<16>(24)).into(),
        }
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        *bytes.expect("the length of the header was checked when the packet was made")
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    fn store(&mut self, at: usize, value: u16) {
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    fn adjust_transport_checksum(&mut self, old: u16, new: u16) {
        let at = match self.transport {
            Transport::Udp { at } => at + 6,
            Transport::Tcp { at } => at + 16,
            Transport::Other => return,
        };
        let checksum = self.word(at);
        let is_udp = self.is_udp();
        // Zero says that a UDP sender made no checksum.
        if is_udp && checksum == 0 {
            return;
        }
        let adjusted = adjusted(checksum, old, new);
        self.store(at, if is_udp && adjusted == 0 { u16::MAX } else { adjusted });
    }

    /// The checksum over pseudo header and transport, whatever stands in the checksum's place; of a
    /// packet that is right, it is zero.
    fn transport_checksum(&self) -> u16 {
        let (at, protocol) = match self.transport {
            Transport::Udp { at } => (at, UDP),
            Transport::Tcp { at } => (at, TCP),
            Transport::Other => return 0,
        };
        let addresses = if self.is_ipv4() {
            self.bytes.get(IPV4_SOURCE..IPV4_HEADER)
        } else {
            self.bytes.get(8..IPV6_HEADER)
        };
        let transport = self.bytes.get(at..).unwrap_or_default();
        let length = u32::try_from(transport.len()).unwrap_or(0);
        let sum = sum(addresses.unwrap_or_default())
            + sum(&length.to_be_bytes())
            + u64::from(protocol)
            + sum(transport);
        !folded(sum)
    }
}

impl Transport {
    fn in_ipv4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<IPV4_HEADER>()?;
        let at = usize::from(header[0] & 0x0f) * 4;
        if at < IPV4_HEADER || at > packet.len() {
            return None;
        }
        let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        Some(if fragment_offset == 0 { Self::of(header[9], at, packet) } else { Self::Other })
    }

    fn in_ipv6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<IPV6_HEADER>()?;
        Some(Self::of(header[6], IPV6_HEADER, packet))
    }

    fn of(protocol: u8, at: usize, packet: &[u8]) -> Self {
        let available = packet.len().saturating_sub(at);
        match protocol {
            UDP if available >= UDP_HEADER => Self::Udp { at },
            TCP if available >= 20 => Self::Tcp { at },
            _ => Self::Other,
        }
    }

    fn port_at(self, end: End) -> Option<usize> {
        let (Self::Udp { at } | Self::Tcp { at }) = self else { return None };
        Some(match end {
            End::Source => at,
            End::Destination => at + 2,
        })
    }
}

fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, ecn: u8, udp_length: u16) -> Option<Vec<u8>> {
    let length = udp_length.checked_add(IPV4_HEADER as u16)?;
    let mut header = vec![0x45, ecn & 0b11];
    header.extend(length.to_be_bytes());
    // No identification; "don't fragment" is set; the checksum comes last.
    header.extend([0, 0, 0x40, 0, HOP_LIMIT, UDP, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let checksum = !folded(sum(&header));
    header.splice(IPV4_CHECKSUM..IPV4_CHECKSUM + 2, checksum.to_be_bytes());
    Some(header)
}

fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr, ecn: u8, udp_length: u16) -> Vec<u8> {
    let mut header = vec![0x60, (ecn & 0b11) << 4, 0, 0];
    header.extend(udp_length.to_be_bytes());
    header.extend([UDP, HOP_LIMIT]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

/// The sum of big-endian words (RFC 1071); an odd last byte is followed by a zero.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    words + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

/// The sum as a one's complement word.
fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum after a word of what it covers became another one (RFC 1624).
fn adjusted(checksum: u16, old: u16, new: u16) -> u16 {
    !folded(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A datagram of the client to the server.
    pub(crate) fn datagram(payload: &[u8]) -> Packet {
        let client = "193.167.0.100:4000".parse().unwrap();
        let server = "193.167.100.100:443".parse().unwrap();
        Packet::udp(client, server, 0b10, payload).unwrap()
    }

    fn datagram6(payload: &[u8]) -> Packet {
        let client = "[fd00:cafe:cafe:0::100]:4000".parse().unwrap();
        let server = "[fd00:cafe:cafe:100::100]:443".parse().unwrap();
        Packet::udp(client, server, 0b01, payload).unwrap()
    }

    pub(crate) fn assert_checksums_are_right(packet: &Packet) {
        assert_eq!(packet.transport_checksum(), 0, "transport");
        if packet.is_ipv4() {
            assert_eq!(!folded(sum(&packet.bytes()[..IPV4_HEADER])), 0, "IPv4 header");
        }
    }

    #[test]
    fn a_packet_that_is_made_here_is_parsed_again() {
        for packet in [datagram(b"hello"), datagram6(b"hello!")] {
            assert_checksums_are_right(&packet);
            let parsed = Packet::parse(packet.bytes().to_vec()).unwrap();
            assert_eq!(parsed, packet);
            assert!(parsed.udp_payload().unwrap().starts_with(b"hello"));
            assert_eq!(parsed.address(End::Source).port(), 4000);
            assert_eq!(parsed.address(End::Destination).port(), 443);
        }
        assert_eq!(datagram(b"").ecn(), 0b10);
        assert_eq!(datagram6(b"").ecn(), 0b01);
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_packet_or_no_datagram() {
        let whole = datagram(b"hello");
        for length in 0..IPV4_HEADER {
            assert_eq!(Packet::parse(whole.bytes()[..length].to_vec()), None);
        }
        for length in IPV4_HEADER..IPV4_HEADER + UDP_HEADER {
            assert!(!Packet::parse(whole.bytes()[..length].to_vec()).unwrap().is_udp());
        }
        assert_eq!(Packet::parse(vec![0; 100]), None);
        let mut second_fragment = whole.bytes().to_vec();
        second_fragment[7] = 10;
        assert!(!Packet::parse(second_fragment).unwrap().is_udp());
    }

    #[test]
    fn a_changed_byte_leaves_a_right_checksum() {
        for make in [datagram, datagram6] {
            for payload in [&b"1234567"[..], b"12345678"] {
                for offset in 0..payload.len() {
                    let mut packet = make(payload);
                    packet.set_udp_payload_byte(offset, 0xee);
                    assert_eq!(packet.udp_payload().unwrap()[offset], 0xee);
                    assert_checksums_are_right(&packet);
                }
            }
        }
        let mut packet = datagram(b"short");
        packet.set_udp_payload_byte(5, 1);
        assert_eq!(packet, datagram(b"short"));
    }

    #[test]
    fn a_rewritten_address_leaves_right_checksums() {
        let mut packet = datagram(b"hello");
        packet.set_address(End::Source, "193.167.0.17:60001".parse().unwrap());
        packet.set_address(End::Destination, "193.167.100.3:444".parse().unwrap());
        assert_eq!(packet.address(End::Source), "193.167.0.17:60001".parse().unwrap());
        assert_eq!(packet.address(End::Destination), "193.167.100.3:444".parse().unwrap());
        assert_eq!(packet.ecn(), 0b10);
        assert_checksums_are_right(&packet);
    }
}
