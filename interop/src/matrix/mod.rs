//! `interop matrix`: the QUIC interop runner without containers and without its simulator.
//!
//! Clients × servers × test cases, each a run of two programs with the [relay](crate::relay) between
//! them, judged by [`cases`](crate::cases).
//!
//! * [`implementation`] is who can be an endpoint; [`process`] is one at work.
//! * [`folder`], [`certificates`] and [`mount_points`] are what endpoints find.
//! * [`mod@run`] is one run, with [`cross_traffic`] beside it where the case says so.
//! * [`results`] is what was found, [`report`] how it is shown, and [`mod@schedule`] what is run when.

mod certificates;
mod cross_traffic;
mod folder;
mod implementation;
mod mount_points;
mod process;
mod report;
mod results;
mod run;
mod schedule;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cases::{ALL, Case};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::relay::namespace::remove_abandoned;
use crate::relay::scenario::Corruption;
use implementation::{Implementation, OURS};
use mount_points::MountPoints;
use results::{Mark, Results};
use schedule::Schedule;

const ABOUT: &str = "\
Run it as root at the root of the repository, after `interop/peers/install`. Everything about one run is
in LOG_DIR/SERVER_CLIENT/CASE: what the endpoints printed (client/output.txt, server/output.txt), their
key logs and qlog files, the captures of both ends of the link (sim/), and the verdict. Captures and files
of what succeeded are removed, unless --keep is given.

Examples:
  interop matrix                           all pairs of which one side is ours, all cases
  interop matrix -c ours -s ours           ours with itself
  interop matrix -c ours -s ngtcp2 -t S,Z --keep

The exit status is 0 if nothing failed but what is a known fault of the other side, and ours with itself
has everything.";

/// Run the test cases of the QUIC interop runner between implementations.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Options {
    /// The clients.
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',')]
    clients: Vec<String>,
    /// The servers.
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',')]
    servers: Vec<String>,
    /// The test cases and measurements, by name or abbreviation.
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',')]
    tests: Vec<String>,
    /// Run only pairs with this implementation in them; "any" for all pairs.
    #[arg(short = 'i', long, value_name = "NAME", default_value = OURS)]
    must_include: String,
    /// Run ours from this container image (see interop/containers).
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Where runs leave what they leave.
    #[arg(short, long, value_name = "DIR", default_value = "target/matrix")]
    log_dir: PathBuf,
    /// Write the results in the runner's format.
    #[arg(short, long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the matrix as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the matrix as a table in Markdown.
    #[arg(short, long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// How often measurements are repeated.
    #[arg(long, value_name = "N")]
    repeat: Option<u32>,
    /// How many runs go on at a time; measurements are always alone.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    jobs: u32,
    /// What becomes of a corrupted datagram.
    #[arg(long, value_enum, default_value_t = Corruption::Deliver)]
    corruption: Corruption,
    /// Decides about files and about what the network does.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Keep captures and files of runs that succeeded.
    #[arg(long)]
    keep: bool,
    /// A case that is not supported has failed.
    #[arg(long)]
    strict: bool,
    /// The folder of the implementations.
    #[arg(long, value_name = "DIR", default_value = "interop/peers/matrix")]
    peers: PathBuf,
}

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let mut interrupts = Interrupts::new()?;
    let schedule = schedule(&options)?;
    remove_abandoned();
    let mount_points = MountPoints::create()?;
    let results = tokio::select! {
        results = schedule.run() => Some(results?),
        () = interrupts.next() => None,
    };
    drop(mount_points);
    let Some(mut results) = results else {
        return Err(Failure::new("interrupted; nothing is left running"));
    };
    results.forgive();
    print!("\n{}\n{}", report::text(&results), report::reasons(&results));
    write_reports(&options, &results)?;
    let failed = results.cells.iter().any(|(position, cell)| {
        // Ours has all cases.
        let (client, server, _) = results.names(*position);
        let is_strict = options.strict || client == OURS && server == OURS;
        let is_theirs = results.known_fault(*position).is_some();
        cell.mark == Mark::Failed && !is_theirs || is_strict && cell.mark == Mark::Unsupported
    });
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn schedule(options: &Options) -> Result<Schedule, Failure> {
    let mut all = Implementation::find_all(&options.peers)?;
    if let Some(image) = &options.image {
        let starter = Path::new("interop/containers")
            .canonicalize()
            .map_err(|error| Failure::with_file("find", Path::new("interop/containers"), &error))?;
        for ours in all.iter_mut().filter(|implementation| implementation.name == OURS) {
            *ours = ours.in_image(&starter, image);
        }
    }
    Ok(Schedule {
        clients: chosen(&all, &options.clients)?,
        servers: chosen(&all, &options.servers)?,
        cases: chosen_cases(&options.tests)?,
        must_include: Some(options.must_include.clone()).filter(|name| name != "any"),
        log_directory: options.log_dir.clone(),
        repeat: options.repeat,
        jobs: options.jobs,
        corruption: options.corruption,
        seed: options.seed,
        keep: options.keep,
    })
}

/// The implementations of these names, all if there are none.
fn chosen(all: &[Implementation], names: &[String]) -> Result<Vec<Implementation>, Failure> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |name: &String| {
        all.iter().find(|found| found.name == *name).cloned().ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
            Failure::new(format!("there is no '{name}'; there are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

fn chosen_cases(names: &[String]) -> Result<Vec<&'static Case>, Failure> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        Case::find(name).ok_or_else(|| {
            Failure::new(format!("there is no case {name}: interop check --list prints all"))
        })
    };
    names.iter().map(find).collect()
}

fn write_reports(options: &Options, results: &Results) -> Result<(), Failure> {
    let json = || format!("{:#}\n", report::json(results));
    let reports: [(&Option<PathBuf>, &dyn Fn() -> String); 3] = [
        (&options.json, &json),
        (&options.html, &|| report::html(results)),
        (&options.markdown, &|| report::markdown(results)),
    ];
    for (file, content) in reports {
        if let Some(file) = file {
            std::fs::write(file, content())
                .map_err(|error| Failure::with_file("write", file, &error))?;
        }
    }
    Ok(())
}
