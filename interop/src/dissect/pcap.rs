//! Capture files in the classic pcap format, with microseconds or nanoseconds.

use std::fmt;
use std::time::Duration;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// A captured packet from its IP header on.
pub(super) struct Record<'a> {
    /// When it was captured, since 1970.
    pub(super) time: Duration,
    pub(super) ip: &'a [u8],
}

/// Why a file cannot be read as a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PcapError {
    /// It does not begin like one.
    NotPcap,
    /// It was made on a kind of link that is not known here.
    LinkType(u32),
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPcap => f.write_str("a capture is not in the pcap format"),
            Self::LinkType(number) => write!(f, "a capture has the unknown link type {number}"),
        }
    }
}

/// Which numbers a file is written in.
#[derive(Clone, Copy)]
struct Format {
    little_endian: bool,
    nanoseconds: bool,
}

impl Format {
    fn of(magic: [u8; 4]) -> Option<Self> {
        [false, true].into_iter().find_map(|little_endian| {
            let value = u32_in(magic, little_endian);
            let nanoseconds = value == NANOSECONDS;
            (nanoseconds || value == MICROSECONDS).then_some(Self { little_endian, nanoseconds })
        })
    }

    fn u32(self, bytes: &mut &[u8]) -> Option<u32> {
        let (number, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(u32_in(*number, self.little_endian))
    }
}

fn u32_in(bytes: [u8; 4], little_endian: bool) -> u32 {
    if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
}

/// The packets of a capture. A record that the file ends in the middle of is left out: whoever
/// wrote it was stopped.
pub(super) fn read(file: &[u8]) -> Result<Vec<Record<'_>>, PcapError> {
    let (magic, mut rest) = file.split_first_chunk().ok_or(PcapError::NotPcap)?;
    let format = Format::of(*magic).ok_or(PcapError::NotPcap)?;
    // Version, time zone, accuracy and longest packet.
    rest = rest.get(16..).ok_or(PcapError::NotPcap)?;
    let link_type = format.u32(&mut rest).ok_or(PcapError::NotPcap)? & 0x0fff_ffff;
    let link = Link::of(link_type).ok_or(PcapError::LinkType(link_type))?;
    let mut records = Vec::new();
    while let Some((time, packet)) = record(format, &mut rest) {
        records.extend(link.ip(packet).map(|ip| Record { time, ip }));
    }
    Ok(records)
}

fn record<'a>(format: Format, rest: &mut &'a [u8]) -> Option<(Duration, &'a [u8])> {
    let seconds = format.u32(rest)?;
    let fraction = format.u32(rest)?;
    let captured = format.u32(rest)?;
    let _on_the_wire = format.u32(rest)?;
    let (packet, after) = rest.split_at_checked(usize::try_from(captured).ok()?)?;
    *rest = after;
    let scale = if format.nanoseconds { 1 } else { 1000 };
    let nanoseconds = Duration::from_nanos(u64::from(fraction) * scale);
    Some((Duration::from_secs(seconds.into()) + nanoseconds, packet))
}

/// What stands in front of the IP header.
#[derive(Clone, Copy)]
enum Link {
    Nothing,
    Ethernet,
    Ppp,
}

impl Link {
    fn of(number: u32) -> Option<Self> {
        match number {
            101 | 228 | 229 => Some(Self::Nothing),
            1 => Some(Self::Ethernet),
            9 => Some(Self::Ppp),
            _ => None,
        }
    }

    /// The packet from its IP header on, if it is an IP packet.
    fn ip(self, packet: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Nothing => Some(packet),
            Self::Ethernet => match packet.get(12..14)? {
                [0x08, 0x00] | [0x86, 0xdd] => packet.get(14..),
                _ => None,
            },
            Self::Ppp => match packet.first_chunk()? {
                [0x00, 0x21] | [0x00, 0x57] => packet.get(2..),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one record of the bytes 1, 2, 3 after `link`.
    fn file(little_endian: bool, magic: u32, link_type: u32, link: &[u8]) -> Vec<u8> {
        let packet = [link, &[1, 2, 3]].concat();
        let len = packet.len() as u32;
        let words = [magic, 0x0002_0004, 0, 0, 65535, link_type, 7, 500, len, len];
        let number =
            |word: u32| if little_endian { word.to_le_bytes() } else { word.to_be_bytes() };
        [words.map(number).concat(), packet].concat()
    }

    #[test]
    fn both_byte_orders_and_both_precisions_are_read() {
        for little_endian in [false, true] {
            for (magic, nanoseconds) in [(MICROSECONDS, 500_000), (NANOSECONDS, 500)] {
                let file = file(little_endian, magic, 101, &[]);
                let records = read(&file).unwrap();
                assert_eq!(records.len(), 1);
                assert_eq!(records[0].time, Duration::new(7, nanoseconds));
                assert_eq!(records[0].ip, [1, 2, 3]);
            }
        }
    }

    #[test]
    fn what_is_in_front_of_the_ip_header_is_left_out() {
        let ethernet = [[0; 12].as_slice(), &[0x86, 0xdd]].concat();
        for (link_type, link) in [(1, &ethernet[..]), (9, &[0x00, 0x21])] {
            let file = file(true, MICROSECONDS, link_type, link);
            assert_eq!(read(&file).unwrap()[0].ip, [1, 2, 3]);
        }
        let arp = [[0; 12].as_slice(), &[0x08, 0x06]].concat();
        assert!(read(&file(true, MICROSECONDS, 1, &arp)).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_ends_early_gives_what_is_complete() {
        let whole = file(true, MICROSECONDS, 101, &[]);
        let twice = [&whole[..], &whole[24..]].concat();
        assert_eq!(read(&twice).unwrap().len(), 2);
        for len in whole.len()..twice.len() {
            assert_eq!(read(&twice[..len]).unwrap().len(), 1);
        }
        for len in 0..24 {
            assert!(read(&whole[..len]).is_err());
        }
        assert!(read(&[0x0a; 100]).is_err());
    }
}
