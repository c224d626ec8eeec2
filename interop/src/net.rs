//! Sockets and connections, with errors that a person can act on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use h3_lite::Code;
use quic_tokio::{
    ClientConfig, ConnectError, Connection, ConnectionError, Endpoint, EndpointBuilder,
    ServerConfig, VarInt,
};
use tokio::task::JoinSet;

use crate::failure::Failure;

/// Names the directory for qlog files.
const QLOG_DIR: &str = "QLOGDIR";
/// How long an address of a server has for its answer before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long the peers of a closed endpoint may take to notice.
const GOODBYE: Duration = Duration::from_millis(300);
/// The TLS alert of a server that does not speak what is asked for.
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// An endpoint that accepts connections at `addr`.
pub(crate) fn server(config: ServerConfig, addr: SocketAddr) -> Result<Endpoint, Failure> {
    bind_server(builder()?.server_config(config), addr)
}

/// The same with further settings.
pub(crate) fn bind_server(builder: EndpointBuilder, addr: SocketAddr) -> Result<Endpoint, Failure> {
    builder.bind(addr).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "the port is in use: choose another one with --listen (port 0 is any free one)"
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            io::ErrorKind::PermissionDenied => "permission denied: choose a port above 1023",
            _ => return Failure::new(format!("cannot listen on {addr}: {error}")),
        };
        Failure::new(format!("cannot listen on {addr}: {remedy}"))
    })
}

/// An endpoint to be, with qlog if the environment wants it.
pub(crate) fn builder() -> Result<EndpointBuilder, Failure> {
    let builder = Endpoint::builder();
    let Some(directory) = std::env::var_os(QLOG_DIR).filter(|name| !name.is_empty()) else {
        return Ok(builder);
    };
    let directory = PathBuf::from(directory);
    std::fs::create_dir_all(&directory)
        .map_err(|error| Failure::with_file("write qlog files to", &directory, &error))?;
    Ok(builder.qlog_dir(directory))
}

/// When a connection is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// When the handshake is complete.
    Complete,
    /// At once, if early data can be sent.
    Early,
}

/// Connects to a server by its name or address. If it has several addresses, one that does not
/// answer does not hold up the others, unless early data is sent: that goes to the first one.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    name: &str,
    port: u16,
    start: Start,
) -> Result<(Endpoint, Connection), Failure> {
    let failed = |error| Failure::new(format!("cannot find the address of {name}: {error}"));
    let addresses: Vec<_> = tokio::net::lookup_host((name, port)).await.map_err(failed)?.collect();
    let mut attempts = JoinSet::new();
    for (address, number) in addresses.into_iter().zip(0..) {
        let (config, name) = (Arc::clone(&config), name.to_owned());
        attempts.spawn(async move {
            tokio::time::sleep(HEAD_START * number).await;
            attempt(config, address, &name, start).await
        });
    }
    let mut failure = None;
    while let Some(result) = attempts.join_next().await {
        match result {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => failure = failure.or(Some(error)),
            Err(error) => failure = failure.or(Some(Failure::new(error))),
        }
    }
    Err(failure.unwrap_or_else(|| Failure::new(format!("{name} has no address"))))
}

async fn attempt(
    config: Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
    start: Start,
) -> Result<(Endpoint, Connection), Failure> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let endpoint = builder()?
        .client_config(config)
        .bind(SocketAddr::new(any, 0))
        .map_err(|error| Failure::new(format!("cannot make a UDP socket: {error}")))?;
    let connected = match start {
        Start::Complete => endpoint.connect(address, name).await,
        Start::Early => endpoint.connect_early(address, name).await,
    };
    match connected {
        Ok(connection) => Ok((endpoint, connection)),
        Err(error) => Err(explain(address, &error)),
    }
}

/// What a failed connection means for the person who wanted it.
fn explain(server: SocketAddr, error: &ConnectError) -> Failure {
    let ConnectError::Connection(reason) = error else {
        return Failure::new(format!("cannot connect to {server}: {error}"));
    };
    let remedy = match (reason, reason.tls_alert()) {
        (ConnectionError::HandshakeTimedOut | ConnectionError::TimedOut, _) => {
            "no answer: is a server listening on that UDP port?"
        }
        (_, Some(NO_APPLICATION_PROTOCOL)) => "it is no HTTP/3 server",
        (ConnectionError::HandshakeFailed { .. }, Some(alert)) if is_about_certificate(alert) => {
            "choose whom to trust with --cacert, or trust anyone with --insecure"
        }
        _ => return Failure::new(format!("cannot connect to {server}: {reason}")),
    };
    Failure::new(format!("cannot connect to {server}: {reason}: {remedy}"))
}

/// Whether a TLS alert (RFC 8446 section 6.2) says that a certificate is not good enough.
fn is_about_certificate(alert: u8) -> bool {
    // From bad_certificate to certificate_unknown, unknown_ca, and decrypt_error: the signature of
    // another authority of the same name.
    matches!(alert, 42..=46 | 48 | 51)
}

/// Closes an endpoint, and waits for a moment so that peers and qlog files learn of it.
pub(crate) async fn close(endpoint: &Endpoint) {
    let code = VarInt::try_from(Code::NO_ERROR.value()).expect("codes are below 2^62");
    endpoint.close(code, b"");
    // Nothing is lost if they do not.
    let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
}
