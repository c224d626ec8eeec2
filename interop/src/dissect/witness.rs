//! The walk over all datagrams of all captures.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use quic_core::wire::{ConnectionId, PacketType, Side};

use super::connection::Connection;
use super::header::{Header, LongHeader};
use super::ip;
use super::key_log::KeyLog;
use super::packet::{Capture, Datagram, Packet};
use super::pcap::{self, PcapError};

/// The networks of the runner: `193.167.0.0/24` and `fd00:cafe:cafe:0::/64` are the client's.
const CLIENT_V4: [u8; 3] = [193, 167, 0];
const SERVER_V4: [u8; 3] = [193, 167, 100];
const CLIENT_V6: [u16; 4] = [0xfd00, 0xcafe, 0xcafe, 0];
const SERVER_V6: [u16; 4] = [0xfd00, 0xcafe, 0xcafe, 0x100];

/// Captures, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Dissection {
    /// In the order in which they were handed in.
    pub(crate) captures: Vec<Capture>,
    /// In the order in which they began.
    pub(crate) connections: Vec<Connection>,
}

/// Takes captures of the same traffic apart, as one: what is lost in one is known from another.
pub(crate) fn dissect<'a>(
    files: impl Iterator<Item = &'a [u8]>,
    keys: &KeyLog,
) -> Result<Dissection, PcapError> {
    let mut captures = Vec::new();
    let mut payloads = Vec::new();
    for (capture, file) in files.enumerate() {
        let datagrams: Vec<_> = datagrams(file)?;
        let places = datagrams.iter().enumerate();
        payloads.extend(
            places.map(|(place, (datagram, payload))| (datagram.time, capture, place, *payload)),
        );
        let datagrams = datagrams.into_iter().map(|(datagram, _)| datagram).collect();
        captures.push(Capture { datagrams });
    }
    // Stable: at the same time, a capture handed in first is the first to see a datagram.
    payloads.sort_by_key(|(time, ..)| *time);
    let start = payloads.first().map_or_else(Default::default, |(time, ..)| *time);
    let mut witness = Witness { keys, connections: Vec::new(), servers: HashSet::new() };
    for (_, capture, place, payload) in payloads {
        let datagram = captures.get_mut(capture).and_then(|c| c.datagrams.get_mut(place));
        if let Some(datagram) = datagram {
            datagram.time -= start;
            witness.take_apart(capture, datagram, payload);
        }
    }
    for datagram in captures.iter_mut().flat_map(|capture| &mut capture.datagrams) {
        let path = (datagram.source, datagram.destination);
        datagram.sender = datagram.sender.or_else(|| witness.sender(path));
    }
    for capture in &mut captures {
        capture.datagrams.retain(|datagram| witness.is_quic(datagram));
    }
    Ok(Dissection { captures, connections: witness.connections })
}

/// The datagrams of a capture, packets still missing, with their payloads.
fn datagrams(file: &[u8]) -> Result<Vec<(Datagram, &[u8])>, PcapError> {
    let records = pcap::read(file)?;
    let udp = records.iter().filter_map(|record| Some((record.time, ip::udp(record.ip)?)));
    let numbered = udp.enumerate().map(|(index, (time, udp))| {
        let datagram = Datagram {
            number: index + 1,
            time,
            source: udp.source,
            destination: udp.destination,
            ecn: udp.ecn,
            len: udp.payload.len(),
            sender: None,
            packets: Vec::new(),
        };
        (datagram, udp.payload)
    });
    Ok(numbered.collect())
}

type Path = (SocketAddr, SocketAddr);

struct Witness<'k> {
    keys: &'k KeyLog,
    connections: Vec<Connection>,
    /// Where clients sent packets to that could be opened.
    servers: HashSet<SocketAddr>,
}

impl Witness<'_> {
    fn take_apart(&mut self, capture: usize, datagram: &mut Datagram, payload: &[u8]) {
        let path = (datagram.source, datagram.destination);
        datagram.sender = self.sender(path);
        let mut rest = payload;
        while let Some(header) = Header::decode(rest) {
            let (packet, len) = self.packet(capture, path, datagram.sender, header, rest);
            let sender = packet.opened.as_ref().map(|opened| opened.sender);
            if sender == Some(Side::Client) {
                self.servers.insert(path.1);
            }
            datagram.sender = datagram.sender.or(sender);
            datagram.packets.push(packet);
            rest = rest.get(len..).unwrap_or_default();
        }
    }

    /// False for other protocols over UDP, in which anything can look like a short header.
    fn is_quic(&self, datagram: &Datagram) -> bool {
        let ends = [datagram.source, datagram.destination];
        let tells = |packet: &Packet| packet.kind.has_long_header() || packet.connection.is_some();
        datagram.packets.iter().any(tells) || ends.iter().any(|end| self.servers.contains(end))
    }

    /// Who sends from the first of these addresses to the second.
    fn sender(&self, (source, destination): Path) -> Option<Side> {
        match network_of(source.ip()) {
            Some(side) => Some(side),
            None if self.servers.contains(&destination) => Some(Side::Client),
            None if self.servers.contains(&source) => Some(Side::Server),
            None => None,
        }
    }

    /// The packet at the start of `bytes`, and how many of them it takes.
    fn packet(
        &mut self,
        capture: usize,
        path: Path,
        sender: Option<Side>,
        header: Header<'_>,
        bytes: &[u8],
    ) -> (Packet, usize) {
        let all = bytes.len();
        match header {
            Header::Long(header) => {
                let len = header.len;
                let packet = bytes.get(..len).unwrap_or_default();
                (self.long(capture, path, sender, &header, packet), len)
            }
            Header::Short => (self.short(capture, path, sender, bytes), all),
            Header::Retry { version, dcid, scid, token } => {
                let connection = self.owners([&dcid, &scid], path).first().copied();
                if let Some(connection) = connection.and_then(|c| self.connections.get_mut(c)) {
                    connection.on_retry(scid);
                }
                let token = token.to_vec();
                let version = Some(version);
                let kind = PacketType::Retry;
                (Packet { version, dcid, scid, token, connection, ..blank(kind, all) }, all)
            }
            Header::VersionNegotiation { dcid, scid, versions } => {
                let (dcid, scid) = (short_id(dcid), short_id(scid));
                let kind = PacketType::VersionNegotiation;
                (Packet { dcid, scid, versions, ..blank(kind, all) }, all)
            }
            Header::UnknownVersion { version, dcid, scid } => {
                // What the bits of its first byte mean is not known; it is a first flight, though.
                let (dcid, scid) = (short_id(dcid), short_id(scid));
                let version = Some(version);
                (Packet { version, dcid, scid, ..blank(PacketType::Initial, all) }, all)
            }
        }
    }

    /// The connections that a long header can belong to, the youngest first.
    fn owners(&self, cids: [&ConnectionId; 2], path: Path) -> Vec<usize> {
        let all = self.connections.iter().enumerate().rev();
        all.filter(|(_, connection)| connection.could_own(cids, path)).map(|(at, _)| at).collect()
    }

    fn long(
        &mut self,
        capture: usize,
        path: Path,
        sender: Option<Side>,
        header: &LongHeader<'_>,
        bytes: &[u8],
    ) -> Packet {
        let owners = self.owners([&header.dcid, &header.scid], path);
        let mut packet = Packet {
            version: Some(header.version),
            dcid: header.dcid,
            scid: header.scid,
            token: header.token.to_vec(),
            connection: owners.first().copied(),
            ..blank(header.kind, bytes.len())
        };
        for owner in owners {
            let Some(connection) = self.connections.get_mut(owner) else { continue };
            for side in sides(sender) {
                let opened = connection.open_long(self.keys, capture, side, header, bytes);
                if opened.is_some() {
                    connection.on_path(side, path.0, path.1);
                    return Packet { connection: Some(owner), opened, ..packet };
                }
            }
        }
        if header.kind == PacketType::Initial && sender != Some(Side::Server) {
            let mut connection = Connection::new(header.version, header.dcid);
            packet.opened = connection.open_long(self.keys, capture, Side::Client, header, bytes);
            if packet.opened.is_some() {
                connection.on_path(Side::Client, path.0, path.1);
                packet.connection = Some(self.connections.len());
                self.connections.push(connection);
            }
        }
        packet
    }

    fn short(&mut self, capture: usize, path: Path, sender: Option<Side>, bytes: &[u8]) -> Packet {
        let tries = self.tries(path, sender, bytes);
        let mut packet = blank(PacketType::OneRtt, bytes.len());
        if let Some(likeliest) = tries.first().filter(|first| first.likelihood == Likelihood::Named)
        {
            packet.connection = Some(likeliest.connection);
            packet.dcid = dcid_of(bytes, likeliest.cid_len);
        }
        for Try { connection: at, side, cid_len, .. } in tries {
            let Some(connection) = self.connections.get_mut(at) else { continue };
            let opened = connection.open_short(self.keys, capture, side, cid_len, bytes);
            if opened.is_some() {
                connection.on_path(side, path.0, path.1);
                let dcid = dcid_of(bytes, cid_len);
                return Packet { connection: Some(at), dcid, opened, ..packet };
            }
        }
        packet
    }

    /// Whose a short header may be: the likeliest first, then the youngest.
    fn tries(&self, path: Path, sender: Option<Side>, bytes: &[u8]) -> Vec<Try> {
        let after_first = bytes.get(1..).unwrap_or_default();
        let mut tries = Vec::new();
        for (at, connection) in self.connections.iter().enumerate().rev() {
            let on_path = connection.uses_path(path.0, path.1);
            for side in sides(sender) {
                for cid in connection.issued_by(!side) {
                    let likelihood = match on_path {
                        _ if !cid.is_empty() && after_first.starts_with(cid.as_slice()) => {
                            Likelihood::Named
                        }
                        true => Likelihood::OnPath,
                        false => Likelihood::Possible,
                    };
                    tries.push(Try { likelihood, connection: at, side, cid_len: cid.len() });
                }
            }
        }
        tries.sort_by_key(|a_try| a_try.likelihood);
        tries.dedup();
        tries
    }
}

/// An attempt to open a short-header packet.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Try {
    likelihood: Likelihood,
    connection: usize,
    side: Side,
    cid_len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    /// It begins with a connection ID of the connection.
    Named,
    /// It went between addresses of the connection.
    OnPath,
    Possible,
}

/// A packet of which nothing is known yet.
fn blank(kind: PacketType, len: usize) -> Packet {
    Packet {
        kind,
        version: None,
        dcid: ConnectionId::EMPTY,
        scid: ConnectionId::EMPTY,
        token: Vec::new(),
        versions: Vec::new(),
        len,
        connection: None,
        opened: None,
    }
}

/// The sides whose keys are to be tried.
fn sides(sender: Option<Side>) -> impl Iterator<Item = Side> {
    let all = [Side::Client, Side::Server].into_iter();
    all.filter(move |side| sender.is_none_or(|sender| sender == *side))
}

/// The connection IDs of other versions may be longer than ours can be.
fn short_id(bytes: &[u8]) -> ConnectionId {
    let len = bytes.len().min(ConnectionId::MAX_LEN);
    bytes.get(..len).and_then(ConnectionId::new).unwrap_or_default()
}

fn dcid_of(bytes: &[u8], len: usize) -> ConnectionId {
    bytes.get(1..1 + len).and_then(ConnectionId::new).unwrap_or_default()
}

/// Whose network of the runner an address is in.
fn network_of(address: IpAddr) -> Option<Side> {
    match address {
        IpAddr::V4(address) => v4_network_of(address),
        IpAddr::V6(address) => v6_network_of(address),
    }
}

fn v4_network_of(address: Ipv4Addr) -> Option<Side> {
    let [a, b, c, _] = address.octets();
    match [a, b, c] {
        CLIENT_V4 => Some(Side::Client),
        SERVER_V4 => Some(Side::Server),
        _ => None,
    }
}

fn v6_network_of(address: Ipv6Addr) -> Option<Side> {
    let [a, b, c, d, ..] = address.segments();
    match [a, b, c, d] {
        CLIENT_V6 => Some(Side::Client),
        SERVER_V6 => Some(Side::Server),
        _ => None,
    }
}
