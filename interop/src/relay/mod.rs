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
//! * [`namespace`], [`carry`], [`timer`] and [`run`] bring the model to life.

mod carry;
mod impair;
mod link;
pub(crate) mod namespace;
mod nat;
mod network;
mod packet;
mod record;
pub(crate) mod run;
pub(crate) mod scenario;
mod timer;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::failure::Failure;
use crate::interrupts::Interrupts;
use namespace::Rooms;
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

The default is simple-p2p with a delay of 15 ms, 10 Mbit/s and a queue of 25 packets.";

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
    let mut interrupts = Interrupts::new()?;
    let rooms = Arc::new(Rooms::create(&options.name)?);
    let devices = format!("q{}", std::process::id());
    let plan =
        Plan { scenario, seed: options.seed, directory: options.log_dir, server_patience: None };
    let mut relay = Relay::start(&devices, &rooms, plan);
    relay.reach(Stage::LinkUp).await?;
    let [server, client] = [rooms.server.name(), rooms.client.name()];
    say(format_args!("ready: ip netns exec {server} COMMAND, ip netns exec {client} COMMAND"));
    tokio::select! {
        () = interrupts.next() => {}
        failure = relay.failure() => return Err(failure),
    }
    let Counts { delivered, corrupted, lost, rebinds } = relay.stop()?;
    say(format_args!(
        "{} packets delivered, {corrupted} of them corrupted; {lost} lost; {rebinds} rebinds",
        delivered + corrupted
    ));
    Ok(ExitCode::SUCCESS)
}

/// One line on standard output. Nobody has to read it.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
