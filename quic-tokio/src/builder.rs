//! Settings of an endpoint.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use quic_core::config::{ClientConfig, EndpointConfig, ServerConfig};

use crate::driver;
use crate::endpoint::{Endpoint, EndpointShared};
use crate::observers::Observing;
use crate::udp::Udp;

/// Builds an [`Endpoint`].
///
/// ```no_run
/// # fn example(config: quic_core::config::ClientConfig) -> std::io::Result<()> {
/// let endpoint = quic_tokio::Endpoint::builder()
///     .client_config(config)
///     .qlog_dir("/var/log/quic")
///     .bind("[::]:0".parse().unwrap())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "the endpoint is made by `bind`"]
pub struct EndpointBuilder {
    pub(crate) client: Option<Arc<ClientConfig>>,
    pub(crate) server: Option<Arc<ServerConfig>>,
    pub(crate) endpoint: EndpointConfig,
    pub(crate) socket_buffer: usize,
    pub(crate) gso: Gso,
    pub(crate) receive_memory: usize,
    pub(crate) observing: Observing,
    also: Vec<Further>,
}

/// A further socket.
#[derive(Clone, Debug)]
enum Further {
    At(SocketAddr),
    Is(Arc<UdpSocket>),
}

impl Further {
    fn socket(&self) -> io::Result<UdpSocket> {
        match self {
            Self::At(addr) => Udp::bind(*addr),
            Self::Is(socket) => socket.try_clone(),
        }
    }
}

/// Whether trains of datagrams go to the kernel in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gso {
    On,
    Off,
}

impl EndpointBuilder {
    pub(crate) fn new() -> Self {
        Self {
            client: None,
            server: None,
            endpoint: EndpointConfig::default(),
            socket_buffer: 8 << 20,
            gso: Gso::On,
            receive_memory: 8 << 20,
            observing: Observing::default(),
            also: Vec::new(),
        }
    }

    /// How to connect, for [`Endpoint::connect`]. Default: not at all.
    pub fn client_config(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.client = Some(config.into());
        self
    }

    /// How to accept connections. Default: not at all.
    pub fn server_config(mut self, config: impl Into<Arc<ServerConfig>>) -> Self {
        self.server = Some(config.into());
        self
    }

    /// What all connections share: connection IDs, and limits on what strangers can do.
    pub fn endpoint_config(mut self, config: EndpointConfig) -> Self {
        self.endpoint = config;
        self
    }

    /// Size in bytes to ask of the kernel for each of the socket's two buffers; what it gives is
    /// taken. Bursts that exceed the receive buffer are lost. Default 8 MiB; 0 leaves the kernel's
    /// default.
    pub fn socket_buffer_size(mut self, bytes: usize) -> Self {
        self.socket_buffer = bytes;
        self
    }

    /// Whether several datagrams may go to the kernel in one call (UDP segmentation offload).
    /// Without it sending costs a lot more; captures on the loopback interface show single
    /// datagrams only without it. Default true, where the kernel can.
    pub fn set_gso(mut self, enabled: bool) -> Self {
        self.gso = if enabled { Gso::On } else { Gso::Off };
        self
    }

    /// Bytes of receive memory of the endpoint: what applications that read slowly can pin beyond
    /// the windows of their streams, after which received data is copied. At least half a megabyte
    /// or so is used. Default 8 MiB.
    pub fn receive_memory(mut self, bytes: usize) -> Self {
        self.receive_memory = bytes;
        self
    }

    /// Receives at `addr` too, by a socket of its own; answers leave by the socket that was sent to.
    /// For servers with a preferred address (see
    /// [`ServerConfig::with_preferred_addresses`](quic_core::config::ServerConfig::with_preferred_addresses)),
    /// or with addresses that one socket cannot have.
    pub fn also_listen(mut self, addr: SocketAddr) -> Self {
        self.also.push(Further::At(addr));
        self
    }

    /// As [`also_listen`](Self::also_listen), with a socket that exists.
    pub fn also_listen_on(mut self, socket: UdpSocket) -> Self {
        self.also.push(Further::Is(Arc::new(socket)));
        self
    }

    /// Writes a qlog file of each connection into this directory, which must exist. The files are
    /// named after the original destination connection ID and the side, and end in `.sqlog`.
    ///
    /// A file that cannot be made is reported by a `tracing` event and otherwise ignored.
    pub fn qlog_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.observing.qlog_dir = Some(directory.into());
        self
    }

    /// Whether the happenings of each connection become `tracing` events. Default false.
    pub fn tracing(mut self, enabled: bool) -> Self {
        self.observing.tracing = enabled;
        self
    }

    /// Makes the socket at `addr` and starts the driver on the current runtime.
    ///
    /// # Errors
    ///
    /// If the socket cannot be made.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn bind(self, addr: SocketAddr) -> io::Result<Endpoint> {
        let socket = Udp::bind(addr)?;
        self.from_socket(socket)
    }

    /// Uses a socket that exists, and starts the driver on the current runtime.
    ///
    /// # Errors
    ///
    /// If the socket lacks what is needed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[allow(clippy::wrong_self_convention)]
    pub fn from_socket(self, socket: std::net::UdpSocket) -> io::Result<Endpoint> {
        let mut sockets = vec![Udp::new(socket, self.socket_buffer, self.gso)?];
        for further in &self.also {
            sockets.push(Udp::new(further.socket()?, self.socket_buffer, self.gso)?);
        }
        let addrs = sockets.iter().map(Udp::local_addr).collect();
        let shared = Arc::new(EndpointShared::new(addrs));
        let client = self.client.clone();
        driver::spawn(self, sockets, Arc::clone(&shared));
        Ok(Endpoint::new(shared, client))
    }
}
