//! UDP datagrams in IP packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use quic_core::Ecn;
use quic_core::wire::{Reader, UnexpectedEnd};

const UDP: u8 = 17;

/// A UDP datagram.
pub(super) struct Udp<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) ecn: Option<Ecn>,
    pub(super) payload: &'a [u8],
}

/// The datagram in an IP packet; `None` if it holds none, or part of one.
pub(super) fn udp(packet: &[u8]) -> Option<Udp<'_>> {
    let mut reader = Reader::new(packet);
    let (ecn, source, destination, mut body) = match packet.first()? >> 4 {
        4 => v4(&mut reader).ok()??,
        6 => v6(&mut reader).ok()??,
        _ => return None,
    };
    let (from, to) = (body.u16().ok()?, body.u16().ok()?);
    let len = usize::from(body.u16().ok()?).checked_sub(8)?;
    let _checksum = body.u16().ok()?;
    Some(Udp {
        source: (source, from).into(),
        destination: (destination, to).into(),
        ecn: Ecn::from_bits(ecn),
        payload: body.bytes(len).ok()?,
    })
}

type Parts<'a> = (u8, IpAddr, IpAddr, Reader<'a>);

fn v4<'a>(reader: &mut Reader<'a>) -> Result<Option<Parts<'a>>, UnexpectedEnd> {
    let header_len = usize::from(reader.u8()? & 0x0f) * 4;
    let traffic_class = reader.u8()?;
    let total_len = usize::from(reader.u16()?);
    let _identification = reader.u16()?;
    let is_fragment = reader.u16()? & 0x3fff != 0;
    let _time_to_live = reader.u8()?;
    let protocol = reader.u8()?;
    let _checksum = reader.u16()?;
    let addresses: [[u8; 4]; 2] = [reader.array()?, reader.array()?];
    reader.bytes(header_len.checked_sub(20).ok_or(UnexpectedEnd)?)?;
    let body = reader.bytes(total_len.checked_sub(header_len).ok_or(UnexpectedEnd)?)?;
    let [source, destination] = addresses.map(|bytes| Ipv4Addr::from(bytes).into());
    let parts = (traffic_class, source, destination, Reader::new(body));
    Ok((protocol == UDP && !is_fragment).then_some(parts))
}

fn v6<'a>(reader: &mut Reader<'a>) -> Result<Option<Parts<'a>>, UnexpectedEnd> {
    let first = reader.u32()?;
    let len = usize::from(reader.u16()?);
    let next_header = reader.u8()?;
    let _hop_limit = reader.u8()?;
    let addresses: [[u8; 16]; 2] = [reader.array()?, reader.array()?];
    let body = reader.bytes(len)?;
    let [source, destination] = addresses.map(|bytes| Ipv6Addr::from(bytes).into());
    let traffic_class = (first >> 20).to_be_bytes()[3];
    Ok((next_header == UDP).then_some((traffic_class, source, destination, Reader::new(body))))
}
