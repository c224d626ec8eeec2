//! Carries packets between the devices of two namespaces, through a simulated network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use tokio_tun::Tun;

use super::carrier::Carrier;
use super::impair::Direction;
use super::namespace::{CLIENT, RELAY, Rooms, SERVER, is_routed};
use super::packet::{End, Packet};
use super::timer::Timer;
use crate::failure::Failure;

/// No packet of a device is longer.
const BUFFER: usize = 1 << 16;
/// Between two questions whether the server answers.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// The port that the relay asks from.
const PROBE_PORT: u16 = 50_000;
/// The port of servers under test.
const SERVER_PORT: u16 = 443;
/// A version that nobody speaks: servers answer with those that they do (RFC 9000, section 6).
const RESERVED_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// The relay's ends of both devices.
pub(crate) struct Devices {
    left: Tun,
    right: Tun,
}

impl Devices {
    /// Makes the devices and gives one to each namespace. `name` is theirs until then.
    pub(crate) fn create(name: &str, rooms: &Rooms) -> Result<Self, Failure> {
        let left = device(&format!("{name}c"))?;
        let right = device(&format!("{name}s"))?;
        rooms.client.adopt(left.name(), CLIENT)?;
        rooms.server.adopt(right.name(), SERVER)?;
        Ok(Self { left, right })
    }

    /// Returns when a server answers on the usual port. What else there is to receive is lost.
    pub(crate) async fn await_server(&self) -> io::Result<()> {
        let probe = version_probe();
        let timer = Timer::new()?;
        let mut buffer = vec![0; BUFFER];
        let mut next_probe = Instant::now();
        loop {
            if Instant::now() >= next_probe {
                self.right.send(probe.bytes()).await?;
                next_probe = Instant::now() + PROBE_INTERVAL;
            }
            tokio::select! {
                expired = timer.sleep_until(Some(next_probe)) => expired?,
                length = self.right.recv(&mut buffer) => {
                    if received(&buffer, length?).is_some_and(|packet| is_negotiation(&packet)) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Carries packets for ever.
    pub(crate) async fn carry(&self, carrier: &mut Carrier) -> io::Result<()> {
        let timer = Timer::new()?;
        let mut from_left = vec![0; BUFFER];
        let mut from_right = vec![0; BUFFER];
        loop {
            let now = Instant::now();
            while let Some((direction, packet)) = carrier.poll_delivery(now)? {
                self.deliver(direction, &packet)?;
            }
            tokio::select! {
                expired = timer.sleep_until(carrier.next_event()) => expired?,
                length = self.left.recv(&mut from_left) => {
                    enter(carrier, Direction::ToServer, received(&from_left, length?))?;
                }
                length = self.right.recv(&mut from_right) => {
                    enter(carrier, Direction::ToClient, received(&from_right, length?))?;
                }
            }
        }
    }

    fn deliver(&self, direction: Direction, packet: &Packet) -> io::Result<()> {
        let device = match direction {
            Direction::ToServer => &self.right,
            Direction::ToClient => &self.left,
        };
        match device.try_send(packet.bytes()) {
            // A receiver that takes no more loses it, as on any wire.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop),
        }
    }
}

/// Moves a packet from a device into the network, if it is for the other side.
fn enter(carrier: &mut Carrier, direction: Direction, packet: Option<Packet>) -> io::Result<()> {
    match packet.filter(|packet| is_routed(packet.address(End::Destination).ip())) {
        Some(packet) => carrier.enter(Instant::now(), direction, packet),
        None => Ok(()),
    }
}

fn device(name: &str) -> Result<Tun, Failure> {
    let failed = |error| Failure::new(format!("cannot make the network device {name}: {error}"));
    let mut devices = Tun::builder().name(name).close_on_exec().build().map_err(failed)?;
    Ok(devices.remove(0))
}

fn received(buffer: &[u8], length: usize) -> Option<Packet> {
    Packet::parse(buffer.get(..length)?.to_vec())
}

/// A datagram to the server that asks which versions it speaks.
fn version_probe() -> Packet {
    let mut payload = vec![0xc0];
    payload.extend(RESERVED_VERSION);
    // Two connection IDs of eight bytes; a datagram that is too short is not answered.
    payload.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1]);
    payload.resize(1200, 0);
    let address = |ip: Ipv4Addr, port| SocketAddr::V4(SocketAddrV4::new(ip, port));
    let [from, to] = [address(RELAY, PROBE_PORT), address(SERVER.v4, SERVER_PORT)];
    Packet::udp(from, to, 0, &payload).expect("the addresses have one family")
}

/// Whether it is an answer to the probe.
fn is_negotiation(packet: &Packet) -> bool {
    let payload = packet.udp_payload().and_then(<[u8]>::first_chunk::<5>);
    packet.address(End::Destination).port() == PROBE_PORT
        && matches!(payload, Some([first, 0, 0, 0, 0]) if first & 0x80 != 0)
}
