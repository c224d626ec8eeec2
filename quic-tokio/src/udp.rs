//! The socket: batches of datagrams in and out. Knows nothing of QUIC.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use quic_core::{Ecn, Transmit};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;

use crate::builder::Gso;

/// However it is segmented, what goes to the kernel in one call must fit into an IPv4 packet.
const MAX_TRAIN_LEN: usize = 65_535 - 20 - 8;

/// Whether a call that could receive more leaves nothing behind. Other systems than these give one
/// datagram at a time, however many wait.
const RECEIVES_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A UDP socket with offloads, ECN and the addresses of both ends of each datagram.
#[derive(Debug)]
pub(crate) struct Udp {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    gso: Gso,
    local_addr: SocketAddr,
}

/// What became of a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was handed to the kernel up to this many bytes.
    UpTo(usize),
    /// The kernel refused this many bytes at its front: they are lost.
    Refused(usize),
}

impl Udp {
    /// A socket at `addr`; one for IPv6 takes IPv4 as well where the system allows it.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // Systems that cannot do both do IPv6.
            let _ = socket.set_only_v6(false);
        }
        socket.bind(&addr.into())?;
        Ok(socket.into())
    }

    pub(crate) fn new(socket: std::net::UdpSocket, buffer: usize, gso: Gso) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        grow_buffers(&socket, buffer);
        // req 9000-14-345, 9000-14-346: this sets the Don't Fragment bit where the system can.
        let state = UdpSocketState::new((&socket).into())?;
        let local_addr = socket.local_addr()?;
        let io = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Self { io, state, gso, local_addr })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The form of `remote` that the socket uses; `None` if it cannot send there.
    pub(crate) fn reachable(&self, remote: SocketAddr) -> Option<SocketAddr> {
        if remote.port() == 0 {
            return None;
        }
        match (self.local_addr, remote) {
            (SocketAddr::V4(_), SocketAddr::V6(_)) => None,
            (SocketAddr::V6(_), SocketAddr::V4(remote)) => {
                Some((remote.ip().to_ipv6_mapped(), remote.port()).into())
            }
            _ => Some(remote),
        }
    }

    /// How many datagrams of `segment` bytes a train may have.
    pub(crate) fn max_train(&self, segment: usize) -> usize {
        match self.gso {
            Gso::On => (MAX_TRAIN_LEN / segment.max(1)).clamp(1, self.state.max_gso_segments()),
            Gso::Off => 1,
        }
    }

    /// Receives into `buffers`, as many as there are datagrams or trains of them, and returns how
    /// many buffers were filled.
    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let mut filled = None;
            let result = self.io.try_io(Interest::READABLE, || {
                let n = self.state.recv((&self.io).into(), buffers, metas)?;
                filled = Some(n);
                // The socket is empty, and need not be asked again for that.
                let empty = RECEIVES_ALL && n < buffers.len();
                if empty { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
            });
            match (filled, result) {
                (Some(n), _) | (None, Ok(n)) => return Poll::Ready(Ok(n)),
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends what `transmit` describes of `bytes`, from `offset` on, or as much of it as one call
    /// can take. Pending if the socket takes no more now.
    ///
    /// If the kernel refuses segmentation offload, it is turned off and one datagram is sent.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
        offset: usize,
    ) -> Poll<Sent> {
        let train = &bytes[..transmit.len];
        let segment = transmit.segment_size.unwrap_or(transmit.len);
        loop {
            let max = self.max_train(segment);
            let end = train.len().min(offset + max * segment);
            let part = quinn_udp::Transmit {
                destination: transmit.remote,
                ecn: transmit.ecn.map(to_codepoint),
                contents: &train[offset..end],
                segment_size: transmit.segment_size.filter(|segment| end - offset > *segment),
                src_ip: transmit.local_ip,
            };
            // An error of readiness is an error of the reactor, which the receiving side reports.
            let Ok(()) = ready!(self.io.poll_send_ready(cx)) else {
                return Poll::Ready(Sent::Refused(end));
            };
            let send = || self.state.try_send((&self.io).into(), &part);
            match self.io.try_io(Interest::WRITABLE, send) {
                Ok(()) => return Poll::Ready(Sent::UpTo(end)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Turned off meanwhile: what was a train goes out one by one.
                Err(_) if self.max_train(segment) < max => {}
                Err(error) => {
                    tracing::debug!(%error, remote = %transmit.remote, "datagrams not sent");
                    return Poll::Ready(Sent::Refused(end));
                }
            }
        }
    }
}

/// The ECN field of a received datagram.
pub(crate) fn from_codepoint(codepoint: EcnCodepoint) -> Ecn {
    match codepoint {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

fn to_codepoint(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

/// Asks for larger buffers, in smaller steps if the system refuses rather than limits.
fn grow_buffers(socket: &std::net::UdpSocket, wanted: usize) {
    let socket = SockRef::from(socket);
    let mut bytes = wanted;
    while bytes >= 64 * 1024 {
        let grown = socket.set_recv_buffer_size(bytes).is_ok()
            && socket.set_send_buffer_size(bytes).is_ok();
        if grown {
            break;
        }
        bytes /= 2;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use quic_core::SocketId;

    use super::*;

    const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn socket(gso: Gso) -> Udp {
        Udp::new(Udp::bind(LOCALHOST).unwrap(), 1 << 20, gso).unwrap()
    }

    // req-test 9000-14-345, 9000-14-346
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    #[tokio::test]
    async fn datagrams_are_not_fragmented() {
        assert!(!socket(Gso::On).state.may_fragment());
    }

    async fn send_all(from: &Udp, transmit: &Transmit, bytes: &[u8]) {
        let mut offset = 0;
        while offset < transmit.len {
            match poll_fn(|cx| from.poll_send(cx, transmit, bytes, offset)).await {
                Sent::UpTo(end) => offset = end,
                Sent::Refused(end) => panic!("refused up to {end}"),
            }
        }
    }

    /// Receives `count` datagrams.
    async fn receive(at: &Udp, count: usize) -> Vec<(Vec<u8>, RecvMeta)> {
        let mut all = Vec::new();
        while all.len() < count {
            let mut memory = vec![vec![0; 65_535]; 4];
            let mut metas = [RecvMeta::default(); 4];
            let n = poll_fn(|cx| {
                let mut memory = memory.iter_mut();
                let mut buffers: [IoSliceMut<'_>; 4] =
                    std::array::from_fn(|_| IoSliceMut::new(memory.next().unwrap()));
                at.poll_recv(cx, &mut buffers, &mut metas)
            })
            .await
            .unwrap();
            for (bytes, meta) in memory.iter().zip(metas).take(n) {
                for datagram in bytes[..meta.len].chunks(meta.stride) {
                    all.push((datagram.to_vec(), meta));
                }
            }
        }
        all
    }

    async fn a_train_arrives(gso: Gso, len: usize) {
        let (from, to) = (socket(gso), socket(gso));
        let bytes: Vec<u8> = (0..len).map(|byte| (byte % 251) as u8).collect();
        let transmit = Transmit {
            socket: SocketId::FIRST,
            remote: to.local_addr(),
            local_ip: None,
            ecn: Some(Ecn::Ect0),
            segment_size: Some(1200),
            len: bytes.len(),
        };
        let both = async {
            send_all(&from, &transmit, &bytes).await;
            receive(&to, len.div_ceil(1200)).await
        };
        let got = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
        let lengths: Vec<_> = got.iter().map(|(datagram, _)| datagram.len()).collect();
        let expected: Vec<_> = bytes.chunks(1200).map(<[u8]>::len).collect();
        assert_eq!(lengths, expected);
        let datagrams: Vec<_> = got.iter().map(|(datagram, _)| &datagram[..]).collect();
        assert_eq!(datagrams.concat(), bytes);
        for (_, meta) in &got {
            assert_eq!(meta.addr, from.local_addr());
            assert_eq!(meta.ecn.map(from_codepoint), Some(Ecn::Ect0));
            assert_eq!(meta.dst_ip, Some(Ipv4Addr::LOCALHOST.into()));
        }
    }

    #[tokio::test]
    async fn a_train_arrives_as_its_datagrams() {
        a_train_arrives(Gso::On, 3000).await;
    }

    #[tokio::test]
    async fn a_train_that_is_too_long_for_one_call_takes_two() {
        a_train_arrives(Gso::On, 64 * 1200 - 1).await;
        assert!(socket(Gso::On).max_train(1452) <= 45);
    }

    #[tokio::test]
    async fn a_train_can_be_sent_one_by_one() {
        a_train_arrives(Gso::Off, 3000).await;
        assert_eq!(socket(Gso::Off).max_train(1200), 1);
    }

    #[tokio::test]
    async fn addresses_take_the_form_of_the_socket() {
        let v4 = socket(Gso::On);
        let v4_peer: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let v6_peer: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(v4.reachable(v4_peer), Some(v4_peer));
        assert_eq!(v4.reachable(v6_peer), None);
        assert_eq!(v4.reachable(LOCALHOST), None, "port 0");
        let Ok(v6) = Udp::bind("[::]:0".parse().unwrap()) else { return };
        let v6 = Udp::new(v6, 0, Gso::On).unwrap();
        assert_eq!(v6.reachable(v4_peer), Some("[::ffff:192.0.2.1]:443".parse().unwrap()));
        assert_eq!(v6.reachable(v6_peer), Some(v6_peer));
    }
}
