//! The client of all test cases.

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quic_tokio::{ClientConfig, Connection, EarlyData, Endpoint, KeyUpdateRefused};
use tokio::task::JoinSet;

use super::case::Case;
use super::contract::{Contract, Request};
use super::fetch::Fetcher;
use super::{close, probe, say, settings};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::net;

/// Connections at a time, where each file has its own: as many first flights as the shortest queue
/// of the runner's networks takes.
const CONNECTIONS: usize = 10;

/// How long a session ticket may take.
const TICKET: Duration = Duration::from_secs(10);
/// How often it is looked for.
const TICKET_INTERVAL: Duration = Duration::from_millis(10);

/// How often a key update is tried.
const KEY_UPDATE_INTERVAL: Duration = Duration::from_millis(2);

/// Does what the test case asks for, unless a signal asks for the end.
pub(super) async fn run(contract: &Contract) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        result = carry_out(contract) => result,
        () = interrupts.next() => Err(Failure::new("ended by a signal")),
    }
}

async fn carry_out(contract: &Contract) -> Result<(), Failure> {
    let client = Arc::new(Client::new(contract).await?);
    let requests = contract.requests.clone();
    let result = match contract.case {
        Case::Transfer
        | Case::Http3
        | Case::ChaCha20
        | Case::Retry
        | Case::ConnectionMigration
        | Case::Version2 => client.fetch(requests).await,
        Case::KeyUpdate => client.fetch_with_new_keys(requests).await,
        Case::Resumption => client.a_session(requests, Begin::Complete).await,
        Case::ZeroRtt => client.a_session(requests, Begin::Early).await,
        Case::Multiconnect => client.a_connection_each(requests).await,
        Case::VersionNegotiation => probe::run(client.server).await,
    };
    close(&client.endpoint).await;
    result
}

/// When a connection is there.
#[derive(Clone, Copy)]
enum Begin {
    /// When its handshake is complete.
    Complete,
    /// At once, if it resumes a session that allows early data.
    Early,
}

struct Client {
    endpoint: Endpoint,
    config: Arc<ClientConfig>,
    server: SocketAddr,
    name: String,
    downloads: Arc<std::path::PathBuf>,
}

impl Client {
    async fn new(contract: &Contract) -> Result<Self, Failure> {
        let config = Arc::new(settings::client(contract)?);
        let server = resolve(contract).await?;
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let endpoint = net::builder()?
            .client_config(Arc::clone(&config))
            .bind(SocketAddr::new(any, 0))
            .map_err(|error| Failure::new(format!("cannot make a UDP socket: {error}")))?;
        let name = host(contract).to_owned();
        Ok(Self { endpoint, config, server, name, downloads: contract.downloads.clone().into() })
    }

    async fn connect(&self, begin: Begin) -> Result<Connection, Failure> {
        let (server, start) = (self.server, Instant::now());
        let connection = match begin {
            Begin::Complete => self.endpoint.connect(server, &self.name).await,
            Begin::Early => self.endpoint.connect_early(server, &self.name).await,
        };
        let connection = connection
            .map_err(|error| Failure::new(format!("cannot connect to {server}: {error}")))?;
        let how = match connection.early_data() {
            EarlyData::Offered => ", not yet complete",
            _ if connection.was_resumed() => ", resumed",
            _ => "",
        };
        let ms = start.elapsed().as_millis();
        say(format_args!("connected to {server} in {ms} ms{how}"));
        Ok(connection)
    }

    /// Fetches everything over one connection.
    async fn fetch(&self, requests: Vec<Request>) -> Result<(), Failure> {
        let connection = self.connect(Begin::Complete).await?;
        Fetcher::new(connection, Arc::clone(&self.downloads)).all(requests).await
    }

    /// The same, with a key update as soon as there may be one.
    async fn fetch_with_new_keys(&self, requests: Vec<Request>) -> Result<(), Failure> {
        let connection = self.connect(Begin::Complete).await?;
        let fetcher = Fetcher::new(connection.clone(), Arc::clone(&self.downloads));
        tokio::select! {
            result = fetcher.all(requests) => result,
            never = update_keys(&connection) => match never {},
        }
    }

    /// Fetches the first file over one connection, and the others over a second one, which resumes
    /// the session of the first.
    async fn a_session(&self, mut requests: Vec<Request>, begin: Begin) -> Result<(), Failure> {
        let others = requests.split_off(1);
        let first = self.connect(Begin::Complete).await?;
        let fetcher = Fetcher::new(first, Arc::clone(&self.downloads));
        fetcher.all(requests).await?;
        self.ticket().await?;
        let fetcher = fetcher.over(self.connect(begin).await?);
        fetcher.all(others).await
    }

    /// Waits until the session can be resumed.
    async fn ticket(&self) -> Result<(), Failure> {
        let tickets = || self.config.sessions().map_or(0, |sessions| sessions.tickets(&self.name));
        let arrives = async {
            while tickets() == 0 {
                tokio::time::sleep(TICKET_INTERVAL).await;
            }
        };
        let given_up = |_| Failure::new("the server sends no session ticket");
        tokio::time::timeout(TICKET, arrives).await.map_err(given_up)
    }

    /// Fetches each file over a connection of its own, several at a time.
    async fn a_connection_each(self: &Arc<Self>, requests: Vec<Request>) -> Result<(), Failure> {
        let count = requests.len();
        let mut waiting = requests.into_iter();
        let mut running = JoinSet::new();
        let mut failures = 0;
        loop {
            while running.len() < CONNECTIONS
                && let Some(request) = waiting.next()
            {
                let client = Arc::clone(self);
                running.spawn(async move { client.fetch(vec![request]).await });
            }
            let Some(result) = running.join_next().await else { break };
            if let Err(failure) = result.unwrap_or_else(|error| Err(Failure::new(error))) {
                say(format_args!("{failure}"));
                failures += 1;
            }
        }
        match failures {
            0 => Ok(()),
            _ => Err(Failure::new(format!("{failures} of {count} connections failed"))),
        }
    }
}

/// Changes the keys once, as soon as the peer allows it.
async fn update_keys(connection: &Connection) -> Infallible {
    while let Err(refused) = connection.update_keys().await {
        if refused == KeyUpdateRefused::ConnectionClosed {
            return pending().await;
        }
        tokio::time::sleep(KEY_UPDATE_INTERVAL).await;
    }
    say(format_args!("keys updated"));
    pending().await
}

fn host(contract: &Contract) -> &str {
    &contract.requests[0].host
}

/// The first address of the server: only one is tried, so that there is only one handshake.
async fn resolve(contract: &Contract) -> Result<SocketAddr, Failure> {
    let (name, port) = (host(contract), contract.requests[0].port);
    let failed = |error| Failure::new(format!("cannot find the address of {name}: {error}"));
    let mut addresses = tokio::net::lookup_host((name, port)).await.map_err(failed)?;
    addresses.next().ok_or_else(|| Failure::new(format!("{name} has no address")))
}
