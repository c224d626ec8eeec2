//! `interop check`: the verdict on a run, for people.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{ALL, Case, Evidence, Verdict};
use crate::failure::Failure;

const LAYOUT: &str = "\
RUN_DIR is what a run of a case leaves behind:
  client/keys.log  client/downloads/     server/keys.log  server/www/
  sim/trace_node_left.pcap               sim/trace_node_right.pcap

The exit status is 0 if the case succeeded, 1 if it failed, 127 if that cannot be told.";

/// Judge a run of a test case by its captures, key logs and files.
#[derive(Debug, Args)]
#[command(after_help = LAYOUT)]
pub(crate) struct Options {
    /// Name or abbreviation of the case.
    #[arg(required_unless_present = "list")]
    case: Option<String>,
    /// The folder of the run.
    #[arg(value_name = "RUN_DIR", required_unless_present = "list")]
    run: Option<PathBuf>,
    /// Print all cases and end.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (Some(name), Some(folder)) = (&options.case, &options.run) else {
        for case in &ALL {
            println!("{:<4} {:<20} {}", case.abbreviation, case.name, case.about);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let case = Case::find(name).ok_or_else(|| {
        Failure::new(format!("there is no case {name}: interop check --list prints all"))
    })?;
    let verdict = case.check(&Evidence::read(folder)?);
    println!("{}: {verdict}", case.name);
    Ok(match verdict {
        Verdict::Succeeded(_) => ExitCode::SUCCESS,
        Verdict::Failed(_) => ExitCode::FAILURE,
        Verdict::Unsupported(_) => ExitCode::from(127),
    })
}
