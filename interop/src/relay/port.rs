//! A UDP socket that tells and sets ECN marks.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The kernel may join datagrams up to this length.
const BUFFER: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// What was received.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    /// The two bits of the IP header.
    pub(crate) ecn: u8,
    pub(crate) payload: Vec<u8>,
}

impl Port {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        let state = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for datagrams, which are of one sender. May be dropped and called again.
    pub(crate) async fn recv(&self) -> io::Result<Vec<Datagram>> {
        let mut buffer = vec![0; BUFFER];
        let mut meta = [RecvMeta::default()];
        loop {
            let received = self.socket.async_io(Interest::READABLE, || {
                let mut buffers = [IoSliceMut::new(&mut buffer)];
                self.state.recv((&self.socket).into(), &mut buffers, &mut meta)
            });
            match received.await {
                // What the other side's host says about earlier datagrams.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        let [RecvMeta { addr, len, stride, ecn, .. }] = meta;
        let datagram = |payload: &[u8]| Datagram {
            from: addr,
            ecn: ecn.map_or(0, |ecn| ecn as u8),
            payload: payload.into(),
        };
        let all = buffer.get(..len).unwrap_or_default();
        if all.is_empty() {
            return Ok(vec![datagram(all)]);
        }
        Ok(all.chunks(stride.max(1)).map(datagram).collect())
    }

    /// Sends a datagram, or loses it.
    pub(crate) fn send(&self, to: SocketAddr, ecn: u8, payload: &[u8]) {
        let transmit = Transmit {
            destination: to,
            ecn: EcnCodepoint::from_bits(ecn),
            contents: payload,
            segment_size: None,
            src_ip: None,
        };
        let sent = self
            .socket
            .try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit));
        // A link loses what cannot be sent.
        drop(sent);
    }
}
