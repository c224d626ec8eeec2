//! The handle of an endpoint: one UDP socket with all its connections.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quic_core::config::{ClientConfig, ServerConfig};
use quic_core::endpoint::IncomingId;
use quic_core::error::ConnectionError;
use quic_core::path::AddressProof;
use quic_core::shared::{Ready, ReadyList};
use quic_core::wire::VarInt;
use tokio::sync::{Notify, oneshot};

use crate::builder::EndpointBuilder;
use crate::connect_error::ConnectError;
use crate::connection::{Connection, ConnectionRef, lock};
use crate::incoming::Incoming;
use crate::stats::{Counters, EndpointStats};

/// What tasks and the driver share about an endpoint.
#[derive(Debug)]
pub(crate) struct EndpointShared {
    pub(crate) ready: Arc<ReadyList>,
    pub(crate) counters: Counters,
    /// Of all sockets that the endpoint was made with, the one that connections leave from first.
    local_addrs: Mutex<Vec<SocketAddr>>,
    state: Mutex<State>,
    /// Somebody may accept the next connection, or learn that there will be none.
    incoming: Notify,
    /// There may be no connection left.
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    incoming: VecDeque<Arrival>,
    /// The driver has taken commands and not yet told what came of them.
    working: bool,
    connections: usize,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Closed by the application; connections may still be saying goodbye.
    Closed,
    /// The driver is gone.
    Gone,
}

/// A client wants to connect.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: IncomingId,
    pub(crate) remote: SocketAddr,
    pub(crate) proof: AddressProof,
}

/// The answer to a wish for a connection.
pub(crate) type Reply = oneshot::Sender<Result<ConnectionRef, ConnectError>>;

/// What tasks want from the driver, beside what they do with connections.
#[derive(Debug)]
pub(crate) enum Command {
    Connect {
        config: Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: String,
        reply: Reply,
    },
    Accept {
        id: IncomingId,
        reply: Reply,
    },
    Refuse(IncomingId),
    Ignore(IncomingId),
    Retry(IncomingId),
    Close {
        code: VarInt,
        reason: Bytes,
    },
    Rebind {
        socket: UdpSocket,
        reply: oneshot::Sender<io::Result<SocketAddr>>,
    },
    /// The last handle is gone.
    Release,
}

impl Command {
    fn makes_connection(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Accept { .. } => true,
            Self::Refuse(_)
            | Self::Ignore(_)
            | Self::Retry(_)
            | Self::Close { .. }
            | Self::Rebind { .. }
            | Self::Release => false,
        }
    }
}

impl EndpointShared {
    pub(crate) fn new(local_addrs: Vec<SocketAddr>) -> Self {
        Self {
            ready: Arc::new(ReadyList::new()),
            counters: Counters::default(),
            local_addrs: Mutex::new(local_addrs),
            state: Mutex::default(),
            incoming: Notify::new(),
            idle: Notify::new(),
        }
    }

    /// Leaves a command for the driver. False if it is gone, or if the endpoint is closed and the
    /// command would make a connection.
    pub(crate) fn send(&self, command: Command) -> bool {
        {
            let mut state = lock(&self.state);
            match state.phase {
                Phase::Open => {}
                Phase::Closed if !command.makes_connection() => {}
                Phase::Closed | Phase::Gone => return false,
            }
            state.commands.push(command);
        }
        self.ready.push(Ready::Endpoint);
        true
    }

    // ---- for the driver

    pub(crate) fn take_commands(&self) -> Vec<Command> {
        let mut state = lock(&self.state);
        state.working = true;
        std::mem::take(&mut state.commands)
    }

    /// Hands an incoming connection to whoever accepts. False if nobody will any more.
    ///
    /// No more than `max` wait: the core keeps no more itself, and has forgotten the older ones.
    pub(crate) fn push_incoming(&self, arrival: Arrival, max: usize) -> bool {
        {
            let mut state = lock(&self.state);
            if state.phase != Phase::Open {
                return false;
            }
            while state.incoming.len() >= max.max(1) {
                state.incoming.pop_front();
            }
            state.incoming.push_back(arrival);
        }
        self.incoming.notify_one();
        true
    }

    /// Nobody will accept any more: returns the clients that wait.
    pub(crate) fn stop_accepting(&self) -> Vec<IncomingId> {
        let mut state = lock(&self.state);
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        state.incoming.drain(..).map(|arrival| arrival.id).collect()
    }

    /// Called after commands were carried out and when connections are gone.
    pub(crate) fn set_connections(&self, connections: usize) {
        let idle = {
            let mut state = lock(&self.state);
            state.connections = connections;
            state.working = false;
            state.is_idle()
        };
        if idle {
            self.idle.notify_waiters();
        }
    }

    /// The driver ends: nothing waits for it any more.
    pub(crate) fn on_driver_gone(&self) {
        let (_commands, _incoming) = {
            let mut state = lock(&self.state);
            state.phase = Phase::Gone;
            state.connections = 0;
            state.working = false;
            (std::mem::take(&mut state.commands), std::mem::take(&mut state.incoming))
        };
        self.incoming.notify_waiters();
        self.incoming.notify_one();
        self.idle.notify_waiters();
    }
}

/// One UDP socket with all its connections, as client, server or both. Clones are handles of the
/// same endpoint.
///
/// When the last handle is dropped, no more connections are accepted, those that exist live on
/// until they close, and then the socket is closed.
///
/// ```no_run
/// # async fn example(config: quic_core::config::ServerConfig) -> std::io::Result<()> {
/// let endpoint = quic_tokio::Endpoint::server(config, "[::]:4433".parse().unwrap())?;
/// while let Some(incoming) = endpoint.accept().await {
///     tokio::spawn(async move {
///         let connection = incoming.accept().await?;
///         while let Ok((mut send, mut recv)) = connection.accept_bi().await {
///             while let Ok(Some(chunk)) = recv.read_chunk().await {
///                 if send.write_chunk(chunk).await.is_err() {
///                     break;
///                 }
///             }
///             let _ = send.finish();
///         }
///         Ok::<_, quic_tokio::ConnectError>(())
///     });
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<EndpointShared>,
    client_config: Option<Arc<ClientConfig>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.send(Command::Release);
    }
}

impl Endpoint {
    pub(crate) fn new(
        shared: Arc<EndpointShared>,
        client_config: Option<Arc<ClientConfig>>,
    ) -> Self {
        Self { inner: Arc::new(Handle { shared, client_config }) }
    }

    /// An endpoint at `addr` (for instance `[::]:0`) that connects as `config` says.
    ///
    /// # Errors
    ///
    /// If the socket cannot be made.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn client(config: ClientConfig, addr: SocketAddr) -> io::Result<Self> {
        Self::builder().client_config(config).bind(addr)
    }

    /// An endpoint at `addr` that accepts connections as `config` says.
    ///
    /// # Errors
    ///
    /// If the socket cannot be made.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn server(config: ServerConfig, addr: SocketAddr) -> io::Result<Self> {
        Self::builder().server_config(config).bind(addr)
    }

    /// Begins with the default of each setting.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::new()
    }

    /// Connects to the server at `remote`, which must prove that it is `server_name` (a DNS name or
    /// an IP address), with the endpoint's client configuration.
    ///
    /// Waits until the handshake is complete.
    ///
    /// # Errors
    ///
    /// If the connection cannot be begun, or the handshake fails.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, the connection is closed.
    pub async fn connect(
        &self,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, ConnectError> {
        let config = self.inner.client_config.clone().ok_or(ConnectError::NoClientConfig)?;
        self.connect_with(config, remote, server_name).await
    }

    /// As [`connect`](Self::connect), with a configuration of its own.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, the connection is closed.
    pub async fn connect_with(
        &self,
        config: Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, ConnectError> {
        let server_name = server_name.to_owned();
        self.inner.shared.ask(|reply| Command::Connect { config, remote, server_name, reply }).await
    }

    /// As [`connect`](Self::connect), but if a session of the server is resumed and early data may be
    /// sent, the connection is there at once: what is written to its streams is sent before the
    /// handshake is complete (0-RTT; RFC 9001, section 4.6). Else waits as `connect` does. Needs a
    /// configuration [with early data](ClientConfig::with_early_data).
    ///
    /// Others may replay early data to the server: send nothing early that does harm if it is done
    /// twice. The server may also reject it, see
    /// [`Connection::early_data_accepted`]; then everything is to be done again.
    ///
    /// ```no_run
    /// # async fn example(endpoint: quic_tokio::Endpoint) -> Result<(), Box<dyn std::error::Error>> {
    /// let connection = endpoint.connect_early("192.0.2.1:443".parse()?, "example.org").await?;
    /// loop {
    ///     let (mut send, mut recv) = connection.open_bi().await?;
    ///     if send.write_all(b"what time is it?").await.is_ok() && send.finish().is_ok() {
    ///         if let Ok(answer) = recv.read_to_end(1 << 10).await {
    ///             break println!("{answer:?}");
    ///         }
    ///     }
    ///     if connection.early_data_accepted().await? {
    ///         return Err("it was not for early data that it failed".into());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect), but for what goes wrong after the connection was handed out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, the connection is closed.
    pub async fn connect_early(
        &self,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, ConnectError> {
        let config = self.inner.client_config.clone().ok_or(ConnectError::NoClientConfig)?;
        self.connect_early_with(config, remote, server_name).await
    }

    /// As [`connect_early`](Self::connect_early), with a configuration of its own.
    ///
    /// # Errors
    ///
    /// As for [`connect_early`](Self::connect_early).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, the connection is closed.
    pub async fn connect_early_with(
        &self,
        config: Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, ConnectError> {
        let server_name = server_name.to_owned();
        let shared = &self.inner.shared;
        shared.ask_early(|reply| Command::Connect { config, remote, server_name, reply }).await
    }

    /// Waits for the next client that wants to connect; `None` once the endpoint is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, no connection was taken.
    pub async fn accept(&self) -> Option<Incoming> {
        let shared = &self.inner.shared;
        loop {
            let arrived = shared.incoming.notified();
            {
                let mut state = lock(&shared.state);
                if let Some(arrival) = state.incoming.pop_front() {
                    let more = !state.incoming.is_empty();
                    drop(state);
                    if more {
                        shared.incoming.notify_one();
                    }
                    return Some(Incoming::new(Arc::clone(shared), arrival));
                }
                if state.phase != Phase::Open {
                    drop(state);
                    // The next one who waits learns it too.
                    shared.incoming.notify_one();
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Closes all connections with this code and reason, and makes and accepts no more. To let the peers
    /// learn of it, wait for [`wait_idle`](Self::wait_idle) before the program ends.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        let shared = &self.inner.shared;
        // In this order: what comes too late to be closed with the others does not begin at all.
        let waiting = shared.stop_accepting();
        shared.send(Command::Close { code, reason: Bytes::copy_from_slice(reason) });
        for id in waiting {
            shared.send(Command::Refuse(id));
        }
        shared.incoming.notify_one();
    }

    /// Waits until no connection is left, not even one that is still saying goodbye: for about
    /// three round trips after the last was closed (RFC 9000, section 10.2).
    ///
    /// Does not close anything itself.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_idle(&self) {
        let shared = &self.inner.shared;
        loop {
            let idle = shared.idle.notified();
            if lock(&shared.state).is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// The address of the socket, the first one if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        lock(&self.inner.shared.local_addrs)[0]
    }

    /// The addresses of all sockets, see [`EndpointBuilder::also_listen`].
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        lock(&self.inner.shared.local_addrs).clone()
    }

    /// Goes on with another socket, for instance because this host has another address now.
    ///
    /// Connections that this endpoint began move there as [`Connection::migrate`] says, and new ones
    /// leave from there. Those that cannot move stay on the old socket, which is closed when none is
    /// left. Waits until the moves have begun.
    ///
    /// # Errors
    ///
    /// If the socket lacks what is needed, or the endpoint is closed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, the endpoint may go on with the new socket.
    pub async fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the endpoint is closed");
        let (reply, answer) = oneshot::channel();
        let shared = &self.inner.shared;
        if !shared.send(Command::Rebind { socket, reply }) {
            return Err(gone());
        }
        let local_addr = answer.await.unwrap_or_else(|_| Err(gone()))?;
        lock(&shared.local_addrs)[0] = local_addr;
        Ok(())
    }

    /// Counters of the socket.
    pub fn stats(&self) -> EndpointStats {
        let shared = &self.inner.shared;
        let connections = lock(&shared.state).connections;
        shared.counters.snapshot(connections)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        // A command that was not looked at may make a connection.
        self.connections == 0
            && !self.working
            && !self.commands.iter().any(Command::makes_connection)
    }
}

impl EndpointShared {
    /// Has the driver make a connection, and waits for the end of its handshake.
    pub(crate) async fn ask(
        &self,
        command: impl FnOnce(Reply) -> Command,
    ) -> Result<Connection, ConnectError> {
        let connection = self.begin(command).await?;
        connection.connected().await?;
        Ok(connection)
    }

    /// Has the driver make a connection, and waits until its streams can be used.
    pub(crate) async fn ask_early(
        &self,
        command: impl FnOnce(Reply) -> Command,
    ) -> Result<Connection, ConnectError> {
        let connection = self.begin(command).await?;
        connection.usable().await?;
        Ok(connection)
    }

    async fn begin(
        &self,
        command: impl FnOnce(Reply) -> Command,
    ) -> Result<Connection, ConnectError> {
        let gone = || ConnectError::Connection(ConnectionError::EndpointClosed);
        let (reply, answer) = oneshot::channel();
        if !self.send(command(reply)) {
            return Err(gone());
        }
        Ok(Connection::new(answer.await.unwrap_or_else(|_| Err(gone()))?))
    }
}
