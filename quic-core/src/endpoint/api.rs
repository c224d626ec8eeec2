//! What the owner of an endpoint calls, beside moving datagrams and time.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;

use super::connections::TokenSink;
use super::route::Target;
use super::{Connection, ConnectionHandle, Endpoint, EndpointStats, IncomingId};
use crate::buffer::Train;
use crate::config::{ClientConfig, MAX_TOKEN_LEN, ServerConfig, TokenScope};
use crate::connection::{ConnectionSetup, Role};
use crate::path::{AddressProof, SocketId};
use crate::wire::{ApplicationErrorCode, ConnectionId};

/// Why a connection attempt could not even begin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the server is neither a host name nor an IP address.
    InvalidServerName,
    /// Nothing can be sent to this address: it is unspecified or has port 0.
    InvalidRemoteAddress,
    /// The endpoint has as many connections as it may have.
    TooManyConnections,
    /// The TLS configuration cannot be used.
    Tls(rustls::Error),
}

/// Why an incoming connection could not be accepted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AcceptError {
    /// It has waited for too long, or was decided about before.
    Gone,
    /// The endpoint does not accept connections.
    NotAServer,
    /// The endpoint has as many connections as it may have; this one still waits.
    TooManyConnections,
    /// The TLS configuration cannot be used.
    Tls(rustls::Error),
}

/// Why a client could not be asked to prove its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError {
    /// It has waited for too long, or was decided about before.
    Gone,
    /// It has followed a Retry already, and would not follow another; it still waits.
    AlreadyRetried,
}

impl Endpoint {
    /// Begins a connection to the server at `remote`, which must prove to be `server_name`.
    ///
    /// # Errors
    ///
    /// If the attempt cannot begin. What goes wrong later is an event of the connection.
    pub fn connect(
        &mut self,
        now: Instant,
        config: &Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionHandle, ConnectError> {
        self.connect_from(now, SocketId::FIRST, config, remote, server_name)
    }

    /// As [`Endpoint::connect`], by another socket than the first.
    ///
    /// # Errors
    ///
    /// If the attempt cannot begin. What goes wrong later is an event of the connection.
    pub fn connect_from(
        &mut self,
        now: Instant,
        socket: SocketId,
        config: &Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionHandle, ConnectError> {
        let server_name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| ConnectError::InvalidServerName)?;
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(ConnectError::InvalidRemoteAddress);
        }
        if self.connections.len() + self.incoming.len() >= self.config.max_connections() {
            return Err(ConnectError::TooManyConnections);
        }
        let local_cid = self.new_connection_id();
        let version = config.versions().first();
        let sink = config.token_store().map(|store| TokenSink {
            scope: TokenScope {
                server_name: server_name.to_str().into_owned(),
                port: remote.port(),
                version,
            },
            store: Arc::clone(store),
        });
        // req 9000-8.1.3-133, 9000-8.1.3-134, 9000-8.1.3-135, 9000-8.1.3-137, 9000-8.1.3-141
        let token = sink.as_ref().and_then(|sink| sink.store.take(&sink.scope));
        let token = token.filter(|token| token.len() <= MAX_TOKEN_LEN).unwrap_or_default();
        let (tls, sessions) = config.for_connection(version);
        let setup = ConnectionSetup {
            role: Role::Client { tls, server_name, token },
            version,
            versions: Arc::clone(config.versions().offered()),
            // req 9000-7.2-085
            original_dcid: self.config.connection_ids().generate(&mut self.rng),
            local_cid,
            remote,
            socket,
            local_ip: None,
            config: Arc::clone(config.transport()),
            cid_generator: self.config.connection_ids(),
            reset_key: Arc::clone(&self.reset_key),
            rng: self.rng.fork(),
        };
        self.latest = Some(now);
        let mut connection = Connection::new(now, setup).map_err(ConnectError::Tls)?;
        connection.keep_sessions(sessions);
        let handle = self.add(connection, &[local_cid]);
        if let Some(entry) = self.connections.get_mut(handle) {
            entry.tokens = sink;
        }
        Ok(handle)
    }

    /// Accepts a client that waits, with the endpoint's own configuration.
    ///
    /// # Errors
    ///
    /// If it is gone, or there is no room for it.
    pub fn accept(
        &mut self,
        now: Instant,
        id: IncomingId,
    ) -> Result<ConnectionHandle, AcceptError> {
        let server = self.server.clone().ok_or(AcceptError::NotAServer)?;
        self.accept_with(now, id, &server)
    }

    /// Accepts a client that waits, with another configuration than the endpoint's own.
    ///
    /// # Errors
    ///
    /// If it is gone, or there is no room for it.
    pub fn accept_with(
        &mut self,
        now: Instant,
        id: IncomingId,
        server: &ServerConfig,
    ) -> Result<ConnectionHandle, AcceptError> {
        if self.connections.len() >= self.config.max_connections() {
            return Err(AcceptError::TooManyConnections);
        }
        let incoming = self.incoming.remove(id).ok_or(AcceptError::Gone)?;
        let local_cid = self.new_connection_id();
        let setup = ConnectionSetup {
            role: Role::Server {
                tls: Arc::clone(server.tls()),
                peer_initial_scid: incoming.scid,
                proof: incoming.proof,
                retry_source: match incoming.proof {
                    AddressProof::Retry => Some(incoming.dcid),
                    AddressProof::None | AddressProof::NewToken => None,
                },
                preferred: server.preferred_addresses(),
            },
            version: incoming.version,
            versions: Arc::clone(self.config.supported_versions()),
            original_dcid: incoming.original_dcid,
            local_cid,
            remote: incoming.meta.remote,
            socket: incoming.meta.socket,
            local_ip: incoming.meta.local_ip,
            config: Arc::clone(server.transport()),
            cid_generator: self.config.connection_ids(),
            reset_key: Arc::clone(&self.reset_key),
            rng: self.rng.fork(),
        };
        let connection = Connection::new(now, setup).map_err(|error| {
            self.routes.remove(&incoming.dcid);
            AcceptError::Tls(error)
        })?;
        let handle = self.add(connection, &[incoming.dcid, local_cid]);
        for (meta, mut datagram) in incoming.datagrams {
            self.deliver(now, handle, &meta, Train::single(&mut datagram));
        }
        Ok(handle)
    }

    /// Tells a client that waits that it is not wanted: CONNECTION_REFUSED, and nothing is kept.
    pub fn refuse(&mut self, now: Instant, id: IncomingId) {
        if let Some(incoming) = self.incoming.remove(id) {
            self.routes.remove(&incoming.dcid);
            self.refuse_incoming(now, &incoming);
        }
    }

    /// Asks a client that waits to prove its address with a Retry packet. It is forgotten, and
    /// reported anew when it comes back. Beyond the rate of
    /// [`stateless_rate`](crate::config::EndpointConfigBuilder::stateless_rate) nothing is sent, and
    /// the client tries again.
    ///
    /// # Errors
    ///
    /// If it is gone, or has proved its address this way before.
    pub fn retry(&mut self, now: Instant, id: IncomingId) -> Result<(), RetryError> {
        let waiting = self.incoming.get(id).ok_or(RetryError::Gone)?;
        if waiting.proof == AddressProof::Retry {
            return Err(RetryError::AlreadyRetried);
        }
        let incoming = self.incoming.remove(id).ok_or(RetryError::Gone)?;
        self.routes.remove(&incoming.dcid);
        self.latest = Some(now);
        self.retry_incoming(now, &incoming);
        Ok(())
    }

    /// Forgets a client that waits without an answer. It will try again for a while.
    pub fn ignore(&mut self, id: IncomingId) {
        if let Some(incoming) = self.incoming.remove(id) {
            self.routes.remove(&incoming.dcid);
        }
    }

    /// The connection, to look at.
    pub fn connection(&self, handle: ConnectionHandle) -> Option<&Connection> {
        self.connections.get(handle).map(|entry| &entry.connection)
    }

    /// The connection, to do something with it. Poll for transmits and events afterwards.
    pub fn connection_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        let entry = self.connections.get_mut(handle)?;
        self.dirty.push(handle);
        Some(&mut entry.connection)
    }

    /// Accepts connections as `server` says from now on, or none any more.
    pub fn set_server_config(&mut self, server: Option<Arc<ServerConfig>>) {
        self.server = server;
    }

    /// Tells what time it is: at `now`, so much time has passed since 1970. Needed only where servers
    /// accept each other's tokens, or a restarted one those of before; without it, time begins with
    /// the first token.
    pub fn set_wall_clock(&mut self, now: Instant, since_epoch: Duration) {
        self.tokens.set_clock(now, since_epoch);
    }

    /// Closes all connections with the application's error `code` and `reason`, and refuses all
    /// clients that wait.
    pub fn close_all(&mut self, now: Instant, code: ApplicationErrorCode, reason: &Bytes) {
        for id in self.incoming.ids().collect::<Vec<_>>() {
            self.refuse(now, id);
        }
        for handle in self.connections.handles().collect::<Vec<_>>() {
            if let Some(entry) = self.connections.get_mut(handle) {
                entry.connection.close(now, code, reason.clone());
                self.touch(handle);
            }
        }
    }

    /// How many connections there are, with those that are closing.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// How many clients wait to be accepted.
    pub fn incoming_count(&self) -> usize {
        self.incoming.len()
    }

    /// Bytes of datagrams of clients that wait to be accepted.
    pub fn incoming_bytes(&self) -> usize {
        self.incoming.buffered()
    }

    /// What the endpoint has done so far.
    pub fn stats(&self) -> EndpointStats {
        self.stats
    }

    // req 9000-5.1-040
    pub(super) fn new_connection_id(&mut self) -> ConnectionId {
        loop {
            let id = self.config.connection_ids().generate(&mut self.rng);
            if !self.routes.contains(&id) {
                return id;
            }
        }
    }

    fn add(&mut self, connection: Connection, ids: &[ConnectionId]) -> ConnectionHandle {
        let handle = self.connections.insert(connection);
        for id in ids {
            self.routes.insert(*id, Target::Connection(handle));
        }
        if let Some(entry) = self.connections.get_mut(handle) {
            entry.ids.extend_from_slice(ids);
        }
        self.touch(handle);
        handle
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidServerName => f.write_str("the server name is no host name or address"),
            Self::InvalidRemoteAddress => f.write_str("nothing can be sent to the remote address"),
            Self::TooManyConnections => f.write_str("the endpoint has too many connections"),
            Self::Tls(error) => write!(f, "TLS cannot begin: {error}"),
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the client is gone or was decided about before"),
            Self::NotAServer => f.write_str("the endpoint does not accept connections"),
            Self::TooManyConnections => f.write_str("the endpoint has too many connections"),
            Self::Tls(error) => write!(f, "TLS cannot begin: {error}"),
        }
    }
}

impl fmt::Display for RetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the client is gone or was decided about before",
            Self::AlreadyRetried => "the client has followed a Retry already",
        })
    }
}

impl std::error::Error for ConnectError {}

impl std::error::Error for RetryError {}

impl std::error::Error for AcceptError {}
