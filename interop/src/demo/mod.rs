//! `interop demo`: a server and a client in one process, which show what the stack does and check
//! that all of it is right.

mod client;
mod server;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use h3_lite::server::{Server, service_fn};
use indicatif::HumanCount;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::measure::{self, MIB};
use crate::table::print_row;
use crate::tls::Identity;
use crate::{net, tls};
use client::Client;

const ABOUT: &str = "\
The exit status is 0 only if every row was right: hashes equal, responses complete, memory below its
limit.

Environment:
  SSLKEYLOGFILE  append the TLS secrets to this file, for Wireshark
  QLOGDIR        write a qlog file of each connection into this directory";

/// Run a server and a client over loopback, and measure and check what they do.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Options {
    /// Do a hundredth of everything.
    #[arg(long)]
    quick: bool,
}

/// The process may use so much memory, however much it transfers.
const MEMORY_LIMIT: u64 = 300 * MIB;
/// A row that takes longer is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much is done.
struct Scale {
    bulk: u64,
    small: usize,
    cancelled: usize,
}

const FULL: Scale = Scale { bulk: 256 * MIB, small: 10_000, cancelled: 1_000 };
const QUICK: Scale = Scale { bulk: 3 * MIB, small: 100, cancelled: 10 };

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let scale = if options.quick { QUICK } else { FULL };
    let identity = Identity::self_signed()?;
    let any_port = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let endpoint = net::server(identity.server_config()?, any_port)?;
    let server = Server::new(service_fn(server::respond));
    let shutdown = server.shutdown_handle();
    let address = endpoint.local_addr();
    let serving = tokio::spawn({
        let endpoint = endpoint.clone();
        async move { server.run(&endpoint).await }
    });

    let mut report = Report { failed: 0 };
    let client = measure_all(&mut report, &scale, address, identity.as_trust()).await;
    shutdown.start();
    report.row("graceful shutdown", || ended(serving, client)).await;
    net::close(&endpoint).await;
    report.row("peak memory", || async { peak_memory() }).await;
    Ok(report.verdict())
}

/// Fills the rows of the client, which is returned if it could connect.
async fn measure_all(
    report: &mut Report,
    scale: &Scale,
    address: SocketAddr,
    trust: tls::Trust,
) -> Option<Client> {
    let mut connected = None;
    report
        .row("handshake", || async {
            let started = Instant::now();
            let client = Client::connect(trust, address).await?;
            let elapsed = started.elapsed();
            connected = Some(client);
            Ok(vec![measure::duration(elapsed), format!("with {address}")])
        })
        .await;
    let client = connected?;
    let bulk = scale.bulk / MIB;
    report.row(&format!("{bulk} MiB down"), || client.download(scale.bulk)).await;
    report.row(&format!("{bulk} MiB up"), || client.upload(scale.bulk)).await;
    let small = HumanCount(scale.small as u64);
    report.row(&format!("{small} GETs of 1 KiB"), || client.many_small(scale.small)).await;
    let cancelled = HumanCount(scale.cancelled as u64);
    let title = format!("{cancelled} downloads cancelled half-way");
    report.row(&title, || client.cancelled(scale.cancelled)).await;
    Some(client)
}

/// The server says that it goes away, and the client takes it for an orderly end.
async fn ended(serving: JoinHandle<()>, client: Option<Client>) -> Result<Vec<String>, Failure> {
    let started = Instant::now();
    serving.await.map_err(Failure::new)?;
    if let Some(client) = client {
        client.ended().await?;
    }
    Ok(vec![measure::duration(started.elapsed())])
}

fn peak_memory() -> Result<Vec<String>, Failure> {
    let limit = format!("limit {} MiB", MEMORY_LIMIT / MIB);
    match measure::peak_memory() {
        None => Ok(vec!["unknown".into(), "this system does not tell".into()]),
        Some(peak) if peak > MEMORY_LIMIT => {
            Err(Failure::new(format!("{} MiB, {limit}", peak.div_ceil(MIB))))
        }
        Some(peak) => Ok(vec![format!("{} MiB", peak.div_ceil(MIB)), limit]),
    }
}

/// The table, and whether anything in it was wrong.
struct Report {
    failed: usize,
}

impl Report {
    /// Does what the row is about, and prints what came of it.
    async fn row<F>(&mut self, title: &str, task: impl FnOnce() -> F)
    where
        F: Future<Output = Result<Vec<String>, Failure>>,
    {
        let result = tokio::time::timeout(PATIENCE, task()).await.unwrap_or_else(|_| {
            Err(Failure::new(format!("not done within {} s", PATIENCE.as_secs())))
        });
        match result {
            Ok(cells) => print_row(title, &cells),
            Err(failure) => {
                self.failed += 1;
                print_row(title, &["FAILED".into(), failure.to_string()]);
            }
        }
    }

    fn verdict(&self) -> ExitCode {
        match self.failed {
            0 => {
                print_row("all right", &[]);
                ExitCode::SUCCESS
            }
            failed => {
                print_row(&format!("{failed} FAILED"), &[]);
                ExitCode::FAILURE
            }
        }
    }
}
