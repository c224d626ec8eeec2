//! Serving HTTP/3: any `tower` service that takes [`RecvBody`], or a plain async function.
//!
//! [`Server`] accepts the connections of an endpoint; [`serve_connection`] serves a single one.

mod connection;
mod request;
mod service;
mod shutdown;

use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use quic_core::wire::Side;
use tokio::task::JoinSet;
use tower_service::Service;

pub use service::{ServiceFn, service_fn};
pub use shutdown::Shutdown;

use crate::body::RecvBody;
use crate::error::{BoxError, ConnectionError};
use crate::proto::connection::Connection;
use crate::qpack::decoder::SectionLimits;

/// How connections are served. The default suits a server on the open internet.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The largest header or trailer section that is taken; a larger one is answered with 431.
    pub limits: SectionLimits,
    /// How long the header section of a request may take, from the first byte of its stream. A
    /// slower one is answered with 408. 10 s by default.
    pub header_timeout: Duration,
    /// How long a request body that is waited for may make no progress, before it fails with
    /// [`BodyError::TimedOut`](crate::BodyError::TimedOut); and how long the client may take
    /// nothing of a response, before it is given up. `None` is for ever; 30 s by default. What is
    /// measured is between this time and twice as much.
    pub progress_timeout: Option<Duration>,
    /// What happens to requests that came before the handshake was complete; see [`EarlyRequests`].
    pub early: EarlyRequests,
}

/// What a server does with requests that came as early data (0-RTT): somebody may have copied them
/// from the connection of another client, to have them done again (RFC 8470). There are none unless
/// the transport's configuration [takes early
/// data](quic_tokio::ServerConfig::with_early_data).
///
/// Whatever is chosen, such a request carries [`EarlyData`] in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyRequests {
    /// Those with a safe method (RFC 9110 section 9.2.1) go to the handler, others are answered with
    /// 425 (Too Early), upon which clients send them again after the handshake.
    #[default]
    Safe,
    /// Those with a safe method go to the handler at once, others when the handshake is complete.
    Wait,
    /// All go to the handler, which looks after itself.
    All,
}

/// In the extensions of a request that came before the handshake was complete.
#[derive(Debug, Clone)]
pub struct EarlyData {
    quic: quic_tokio::Connection,
}

impl EarlyData {
    /// Waits until the handshake is complete: the request is no replay then. An error means that it
    /// never will be, and that nobody waits for an answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn handshake_complete(&self) -> Result<(), quic_tokio::ConnectionError> {
        self.quic.handshake_complete().await
    }
}

impl Config {
    /// What early data of clients relies on, for [`quic_tokio::ServerConfig::with_early_data`]: a
    /// server whose settings have changed since then rejects it.
    // req 9114-7.2.4.2-179, 9114-7.2.4.2-181
    pub fn early_data_context(&self) -> Vec<u8> {
        Connection::new(Side::Server, self.limits).settings().to_kept().to_vec()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: SectionLimits::default(),
            header_timeout: Duration::from_secs(10),
            progress_timeout: Some(Duration::from_secs(30)),
            early: EarlyRequests::default(),
        }
    }
}

/// A service that [`Server`] can run: implemented for every matching [`tower_service::Service`],
/// for instance an axum `Router`, and for [`service_fn`].
///
/// Each request gets a clone of the service. The future of a request is dropped when the client
/// cancels it.
pub trait Handler:
    Service<Request<RecvBody>, Response = Response<Self::Body>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + 'static
{
    /// What responses have as their body.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send;
}

impl<S, B> Handler for S
where
    S: Service<Request<RecvBody>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send,
{
    type Body = B;
}

/// Serves one connection until it ends. The handlers that still run then are dropped.
///
/// Each request runs on its own, so that a slow one holds up no other. No more of them run at a
/// time than the transport configuration allows bidirectional streams (`max_bidi_streams`), since
/// a client gets the credit for a new one only when a handler has ended, even if it resets its
/// requests.
///
/// # Errors
///
/// If the connection did not end in an orderly way.
///
/// # Cancel safety
///
/// Dropping the future drops the handlers that still run, and their requests are reset.
pub async fn serve_connection<S: Handler>(
    quic: quic_tokio::Connection,
    service: S,
    config: Config,
) -> Result<(), ConnectionError> {
    connection::serve(quic, service, config, std::future::pending()).await
}

/// Serves one connection as [`serve_connection`] does, and shuts it down in an orderly way once
/// `shutdown` is asked for: the client is told (GOAWAY), what was accepted is answered and
/// delivered, then the connection is closed.
///
/// # Errors
///
/// If the connection did not end in an orderly way.
///
/// # Cancel safety
///
/// As for [`serve_connection`].
pub async fn serve_connection_until<S: Handler>(
    quic: quic_tokio::Connection,
    service: S,
    config: Config,
    shutdown: &Shutdown,
) -> Result<(), ConnectionError> {
    connection::serve(quic, service, config, shutdown.asked()).await
}

/// Serves all connections of an endpoint.
#[derive(Debug, Clone)]
pub struct Server<S> {
    service: S,
    config: Config,
    shutdown: Shutdown,
}

impl<S: Handler> Server<S> {
    /// A server with the default configuration.
    pub fn new(service: S) -> Self {
        Self { service, config: Config::default(), shutdown: Shutdown::new() }
    }

    /// The same with another configuration.
    #[must_use]
    pub fn with_config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// What shuts the server down. May be asked for before [`run`](Self::run) consumes the server.
    pub fn shutdown_handle(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Accepts and serves connections until the endpoint is closed, or until all connections have
    /// ended after [`Shutdown::start`]. A connection that fails ends alone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops all connections.
    pub async fn run(self, endpoint: &quic_tokio::Endpoint) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => drop(connections.spawn(self.clone().connection(incoming))),
                    None => break,
                },
                Some(_) = connections.join_next() => {}
                () = self.shutdown.asked() => break,
            }
        }
        // Clients that come while others are served to their end go elsewhere.
        loop {
            tokio::select! {
                ended = connections.join_next() => if ended.is_none() { break },
                Some(incoming) = endpoint.accept() => incoming.refuse(),
            }
        }
    }

    async fn connection(self, incoming: quic_tokio::Incoming) {
        let quic = match incoming.accept_early().await {
            Ok(quic) => quic,
            Err(error) => return tracing::debug!(%error, "handshake failed"),
        };
        let asked = self.shutdown.asked();
        if let Err(error) = connection::serve(quic, self.service, self.config, asked).await {
            tracing::debug!(%error, "connection failed");
        }
    }
}
