//! Asks a server for its versions by means of one that nobody has.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quic_core::wire::Version;
use quic_core::wire::header::{Header, VersionNegotiation};
use tokio::net::UdpSocket;
use tokio::time;

use super::say;
use crate::failure::Failure;

/// Of the versions that are kept free for this (RFC 9000 section 15).
const NOBODYS: Version = Version::reserved(0x51_c0_ff_ee);
/// Connection IDs longer than those of version 1, as other versions may have them.
const DCID: &[u8] = b"destination of this very probe";
const SCID: &[u8] = b"source";
/// Servers need not answer anything shorter.
const DATAGRAM: usize = 1200;
const INTERVAL: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 20;

/// Sends the probe until there is an answer, which must be one to the probe and name version 1.
pub(super) async fn run(server: SocketAddr) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot probe {server}: {error}"));
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    let probe = probe();
    for _ in 0..ATTEMPTS {
        // What is lost or not allowed now is tried again.
        let _ = socket.send(&probe).await;
        if let Ok(versions) = time::timeout(INTERVAL, answer(&socket)).await {
            say(format_args!("{server} has {versions:?}"));
            return match versions.contains(&Version::V1) {
                true => Ok(()),
                false => Err(Failure::new("version 1 is not among them")),
            };
        }
    }
    Err(Failure::new(format!("{server} does not answer unknown versions")))
}

/// The parts of a long header that all versions share (RFC 8999 section 5.1), and padding.
fn probe() -> Vec<u8> {
    let mut probe = vec![0xc0];
    probe.extend(NOBODYS.0.to_be_bytes());
    for id in [DCID, SCID] {
        probe.push(u8::try_from(id.len()).expect("chosen so"));
        probe.extend(id);
    }
    probe.resize(DATAGRAM, 0);
    probe
}

/// Waits for an answer to the probe, and returns the versions in it.
async fn answer(socket: &UdpSocket) -> Vec<Version> {
    let mut datagram = [0; 1500];
    loop {
        // Errors are those of earlier attempts.
        let Ok(length) = socket.recv(&mut datagram).await else { continue };
        if let Some(versions) = datagram.get(..length).and_then(versions) {
            return versions;
        }
    }
}

fn versions(datagram: &[u8]) -> Option<Vec<Version>> {
    match Header::decode(datagram, 0) {
        Ok(Header::VersionNegotiation(VersionNegotiation { dcid: SCID, scid: DCID, versions })) => {
            Some(versions.collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiation(dcid: &[u8], scid: &[u8], versions: &[u32]) -> Vec<u8> {
        let mut packet = vec![0x80, 0, 0, 0, 0];
        for id in [dcid, scid] {
            packet.push(id.len() as u8);
            packet.extend(id);
        }
        packet.extend(versions.iter().flat_map(|version| version.to_be_bytes()));
        packet
    }

    #[test]
    fn the_probe_is_a_full_datagram_of_an_unknown_version() {
        let probe = probe();
        assert_eq!(probe.len(), 1200);
        let Ok(Header::UnknownVersion(header)) = Header::decode(&probe, 0) else { panic!() };
        assert!(header.version.is_reserved());
        assert_eq!((header.dcid, header.scid), (DCID, SCID));
    }

    #[test]
    fn only_an_answer_with_the_ids_of_the_probe_counts() {
        let found = versions(&negotiation(SCID, DCID, &[1, 0x6b33_43cf]));
        assert_eq!(found, Some(vec![Version(1), Version(0x6b33_43cf)]));
        assert_eq!(versions(&negotiation(DCID, SCID, &[1])), None);
        assert_eq!(versions(&negotiation(SCID, DCID, &[])), None);
        assert_eq!(versions(&probe()), None);
        assert_eq!(versions(b""), None);
    }
}
