//! The server of all test cases.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use h3_lite::server::{Config, serve_connection, service_fn};
use quic_tokio::{Connection, Endpoint, Incoming};
use tokio::task::JoinSet;

use super::case::Case;
use super::contract::Contract;
use super::preferred::Preferred;
use super::{close, hq, say, settings};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::net;
use crate::serve::{Echo, Site};

/// Serves until a signal asks for the end.
pub(super) async fn run(contract: &Contract) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let site = Arc::new(Site::new(&contract.www, Echo::Off)?);
    let endpoint = bind(contract)?;
    for address in endpoint.local_addrs() {
        say(format_args!("listening on {address}"));
    }
    tokio::select! {
        () = serve(&endpoint, site) => {}
        () = interrupts.next() => {}
    }
    close(&endpoint).await;
    Ok(())
}

/// Listens to both families of addresses, or to IPv4 where there is no IPv6.
fn bind(contract: &Contract) -> Result<Endpoint, Failure> {
    let port = contract.port;
    let mut config = settings::server(contract)?;
    let mut builder = net::builder()?.endpoint_config(settings::endpoint(contract.case)?);
    if contract.case == Case::ConnectionMigration {
        let Preferred { socket, addresses } = Preferred::bind()
            .map_err(|error| Failure::new(format!("cannot listen on a second port: {error}")))?;
        config = config.with_preferred_addresses(addresses);
        builder = builder.also_listen_on(socket);
    }
    let builder = builder.server_config(config);
    let bind = |address: SocketAddr| builder.clone().bind(address);
    let bound = match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind((Ipv4Addr::UNSPECIFIED, port).into())
        }
        bound => bound,
    };
    bound.map_err(|error| Failure::new(format!("cannot listen on port {port}: {error}")))
}

async fn serve(endpoint: &Endpoint, site: Arc<Site>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => drop(connections.spawn(serve_one(incoming, Arc::clone(&site)))),
                None => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_one(incoming: Incoming, site: Arc<Site>) {
    let client = incoming.remote_address();
    // Nothing of what is served does harm if it is served twice.
    match incoming.accept_early().await {
        Ok(connection) => {
            say(format_args!("{client}: connected"));
            match connection.alpn() {
                Some(h3_lite::ALPN) => serve_h3(connection, site).await,
                _ => hq::serve(connection, site).await,
            }
        }
        Err(error) => say(format_args!("{client}: {error}")),
    }
}

async fn serve_h3(connection: Connection, site: Arc<Site>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.respond(request).await) }
    });
    let client = connection.remote_address();
    if let Err(error) = serve_connection(connection, service, Config::default()).await {
        say(format_args!("{client}: {error}"));
    }
}
