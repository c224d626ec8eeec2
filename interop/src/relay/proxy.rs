//! The relay for those who may make neither namespaces nor devices: clients send to one address, and a
//! simulated network forwards to the server. UDP only; ECN marks pass, packets that would not fit into
//! an Ethernet frame do not.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::carrier::Carrier;
use super::impair::Direction;
use super::packet::{End, Packet};
use super::port::Port;
use super::timer::Timer;
use crate::failure::Failure;

/// As long as packets of the link may be.
const MTU: usize = 1500;
/// More clients than anybody has; packets of others are lost.
const MAX_CLIENTS: usize = 256;
/// Packets that were received and not yet taken into the network.
const BACKLOG: usize = 256;

/// A relay between clients and one server.
#[derive(Debug)]
pub(crate) struct Proxy {
    front: Port,
    server: SocketAddr,
    /// What the server takes for a client, by the address that the network gives the client.
    upstream: HashMap<SocketAddr, Upstream>,
    answers: mpsc::Sender<Packet>,
    answered: mpsc::Receiver<Packet>,
}

/// A socket of its own for each client, as a NAT would have a port.
#[derive(Debug)]
struct Upstream {
    port: Arc<Port>,
    reader: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // With it the socket closes: what is on its way to it is lost.
        self.reader.abort();
    }
}

impl Proxy {
    /// Listens for clients at `listen`, which has the family of `server`.
    pub(crate) fn bind(listen: SocketAddr, server: SocketAddr) -> Result<Self, Failure> {
        if listen.is_ipv4() != server.is_ipv4() {
            return Err(Failure::new(format!("{listen} and {server} are of different families")));
        }
        let front = Port::bind(listen)
            .map_err(|error| Failure::new(format!("cannot listen at {listen}: {error}")))?;
        let (answers, answered) = mpsc::channel(BACKLOG);
        Ok(Self { front, server, upstream: HashMap::new(), answers, answered })
    }

    /// Where clients send to.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.front.address()
    }

    /// Carries packets for ever.
    pub(crate) async fn carry(&mut self, carrier: &mut Carrier) -> io::Result<()> {
        let timer = Timer::new()?;
        loop {
            let now = Instant::now();
            while let Some((direction, packet)) = carrier.poll_delivery(now)? {
                self.deliver(direction, &packet)?;
            }
            if carrier.take_rebound() {
                self.upstream.clear();
            }
            tokio::select! {
                expired = timer.sleep_until(carrier.next_event()) => expired?,
                received = self.front.recv() => {
                    for datagram in received? {
                        let (from, ecn) = (datagram.from, datagram.ecn);
                        let packet = Packet::udp(from, self.server, ecn, &datagram.payload);
                        enter(carrier, Direction::ToServer, packet)?;
                    }
                }
                Some(packet) = self.answered.recv() => {
                    enter(carrier, Direction::ToClient, Some(packet))?;
                }
            }
        }
    }

    fn deliver(&mut self, direction: Direction, packet: &Packet) -> io::Result<()> {
        let payload = packet.udp_payload().unwrap_or_default();
        match direction {
            Direction::ToClient => {
                let client = packet.address(End::Destination);
                self.front.send(client, packet.ecn(), payload);
            }
            Direction::ToServer => {
                let server = self.server;
                if let Some(port) = self.upstream(packet.address(End::Source))? {
                    port.send(server, packet.ecn(), payload);
                }
            }
        }
        Ok(())
    }

    /// The socket that stands for an address of the network.
    fn upstream(&mut self, client: SocketAddr) -> io::Result<Option<&Port>> {
        if !self.upstream.contains_key(&client) {
            if self.upstream.len() >= MAX_CLIENTS {
                return Ok(None);
            }
            let port = Arc::new(Port::bind(local_address(client.ip(), self.server.ip()))?);
            let answers = self.answers.clone();
            let reader = tokio::spawn(read(port.clone(), self.server, client, answers));
            self.upstream.insert(client, Upstream { port, reader });
        }
        Ok(self.upstream.get(&client).map(|upstream| &*upstream.port))
    }
}

/// Hands on what the server sends to a client.
async fn read(
    port: Arc<Port>,
    server: SocketAddr,
    client: SocketAddr,
    answers: mpsc::Sender<Packet>,
) {
    while let Ok(datagrams) = port.recv().await {
        for datagram in datagrams.into_iter().filter(|datagram| datagram.from == server) {
            let packet = Packet::udp(server, client, datagram.ecn, &datagram.payload);
            // A full backlog loses packets, as any socket does.
            let _ = packet.map(|packet| answers.try_send(packet));
        }
    }
}

fn enter(carrier: &mut Carrier, direction: Direction, packet: Option<Packet>) -> io::Result<()> {
    match packet.filter(|packet| packet.len() <= MTU) {
        Some(packet) => carrier.enter(Instant::now(), direction, packet),
        None => Ok(()),
    }
}

/// Where a client's packets leave from. On loopback all addresses of 127.0.0.0/8 are ours, and a
/// server sees it when a client changes its own; elsewhere there is one.
fn local_address(client: IpAddr, server: IpAddr) -> SocketAddr {
    let ip = match (client, server) {
        (IpAddr::V4(client), IpAddr::V4(server))
            if client.is_loopback() && server.is_loopback() =>
        {
            client.into()
        }
        (_, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (_, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}
