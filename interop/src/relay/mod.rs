//! `interop relay`: the link of the interop runner's network simulator, in user space.
//!
//! Packets of two network namespaces pass through a model of a link, as whole IP packets: what runs
//! in the namespaces sees an ordinary device with ordinary addresses, and ECN, path MTU, ports and
//! both families are real.
//!
//! * [`packet`] is as much of IP and UDP as is needed.
//! * [`link`], [`impair`] and [`nat`] are the parts of the model, [`network`] is the whole; none of
//!   them knows a clock or a device.
//! * [`scenario`] reads the simulator's way to name a network.
//! * [`record`] writes captures and a log.
//! * [`carrier`] is both together.
//! * [`namespace`], [`carry`], [`timer`] and [`mod@run`] bring the model to life.
//! * [`proxy`] does so over UDP sockets ([`port`]), for those who may not make namespaces.

mod carrier;
mod carry;
mod impair;
mod link;
pub(crate) mod namespace;
mod nat;
mod network;
mod packet;
mod port;
mod proxy;
mod record;
pub(crate) mod run;
pub(crate) mod scenario;
mod timer;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use crate::failure::Failure;
use crate::interrupts::Interrupts;
use namespace::Rooms;
use proxy::Proxy;
use record::Counts;
use run::{Plan, Relay, Stage};
use scenario::Scenario;

const ABOUT: &str = "\
Makes two network namespaces, NAME-client and NAME-server, connects them, and carries packets
between them until it is interrupted. Run anything in them:

  ip netns exec NAME-server COMMAND
  ip netns exec NAME-client COMMAND

The server is server4 (193.167.100.100), server6 (fd00:cafe:cafe:100::100), or server46 in the
client's namespace. Needs root. Scenarios are those of the QUIC network simulator, for instance:

  interop relay drop-rate --delay=15ms --bandwidth=10Mbps --queue=25 \\
      --rate_to_client=30 --rate_to_server=30 --burst_to_client=3 --burst_to_server=3

The default is simple-p2p with a delay of 15 ms, 10 Mbit/s and a queue of 25 packets.

Without root, datagrams of clients go through the same network to a server:

  interop relay --listen 127.0.0.1:4443 --server 127.0.0.1:443 SCENARIO...";

/// Connect two network namespaces by a simulated link.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Options {
    /// What the namespaces are called, before "-client" and "-server".
    #[arg(long, default_value = "quic")]
    name: String,
    /// The same seed makes the same choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write captures of both ends and a log into this directory.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Make no namespaces: take datagrams of clients at this address, and need no root.
    #[arg(long, value_name = "ADDR", requires = "server")]
    listen: Option<SocketAddr>,
    /// Forward the datagrams to this address.
    #[arg(long, value_name = "ADDR", requires = "listen")]
    server: Option<SocketAddr>,
    /// What the link is like and what it does to packets.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    scenario: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let scenario = match options.scenario.as_slice() {
        [] => scenario::DEFAULT.to_owned(),
        words => words.join(" "),
    };
    // Before anything is made.
    scenario.parse::<Scenario>()?;
    if let Some(directory) = &options.log_dir {
        std::fs::create_dir_all(directory)
            .map_err(|error| Failure::with_file("make", directory, &error))?;
    }
    let plan =
        Plan { scenario, seed: options.seed, directory: options.log_dir, server_patience: None };
    let counts = match (options.listen, options.server) {
        (Some(listen), Some(server)) => between_sockets(&plan, listen, server).await?,
        _ => between_namespaces(plan, &options.name).await?,
    };
    let Counts { delivered, corrupted, lost, rebinds } = counts;
    say(format_args!(
        "{} packets delivered, {corrupted} of them corrupted; {lost} lost; {rebinds} rebinds",
        delivered + corrupted
    ));
    Ok(ExitCode::SUCCESS)
}

/// Connects two namespaces until it is interrupted.
async fn between_namespaces(plan: Plan, name: &str) -> Result<Counts, Failure> {
    let mut interrupts = Interrupts::new()?;
    let rooms = Arc::new(Rooms::create(name)?);
    let mut relay = Relay::start(&format!("q{}", std::process::id()), &rooms, plan);
    relay.reach(Stage::LinkUp).await?;
    let [server, client] = [rooms.server.name(), rooms.client.name()];
    say(format_args!("ready: ip netns exec {server} COMMAND, ip netns exec {client} COMMAND"));
    tokio::select! {
        () = interrupts.next() => relay.stop(),
        failure = relay.failure() => Err(failure),
    }
}

/// Forwards datagrams until it is interrupted.
async fn between_sockets(
    plan: &Plan,
    listen: SocketAddr,
    server: SocketAddr,
) -> Result<Counts, Failure> {
    let mut interrupts = Interrupts::new()?;
    let failed = |error| Failure::new(format!("the relay cannot go on: {error}"));
    let mut proxy = Proxy::bind(listen, server)?;
    let address = proxy.address().map_err(failed)?;
    say(format_args!("ready: clients of {server} connect to {address}"));
    let mut carrier = plan.carrier(Instant::now())?;
    tokio::select! {
        () = interrupts.next() => {}
        carried = proxy.carry(&mut carrier) => carried.map_err(failed)?,
    }
    carrier.finish(Instant::now()).map_err(failed)
}

/// One line on standard output. Nobody has to read it.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
