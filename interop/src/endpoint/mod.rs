//! `interop endpoint`: one side of a test case of the QUIC interop runner.
//!
//! Everything comes from the environment, as the runner's contract has it, and the exit status is
//! the verdict: 0 success, 1 failure, 127 a test case that is not known. Nothing here knows of the
//! network between the two sides.

mod case;
mod client;
mod contract;
mod fetch;
mod hq;
mod preferred;
mod probe;
mod server;
mod settings;
mod trust;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use quic_tokio::{Endpoint, VarInt};

use crate::failure::Failure;
use contract::{Contract, Refusal, Role};

/// The exit status for a test case that is not known.
const UNSUPPORTED: u8 = 127;
/// How long the peers of a closed endpoint may take to notice.
const GOODBYE: Duration = Duration::from_millis(300);

const CONTRACT: &str = "\
The contract is that of the QUIC interop runner:
  ROLE           client or server
  TESTCASE       which test case; the exit status is 127 if it is not known
  REQUESTS       client: the URLs to fetch, separated by spaces, all of one server
  SSLKEYLOGFILE  append the TLS secrets to this file
  QLOGDIR        write a qlog file of each connection into this directory

and by hand, in place of the folders and the port that the runner uses:
  WWW            server: what is served (/www)
  DOWNLOADS      client: where files go (/downloads)
  CERTS          cert.pem and priv.key of the server, ca.pem for the client (/certs)
  PORT           server: the UDP port (443); 0 is any free one
  ALPN           what to speak, where that is not for the test case to say: hq-interop, h3

Example:
  ROLE=server TESTCASE=transfer PORT=4433 WWW=www CERTS=certs interop endpoint
  ROLE=client TESTCASE=transfer REQUESTS=https://localhost:4433/file \\
    DOWNLOADS=. CERTS=certs interop endpoint";

/// Be one side of a test case of the QUIC interop runner, as the environment says.
#[derive(Debug, Args)]
#[command(after_help = CONTRACT)]
pub(crate) struct Options {
    /// Only see whether the environment makes sense, and whether the test case is known.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let contract = match Contract::read(|name| std::env::var_os(name)) {
        Ok(_) if options.check => return Ok(ExitCode::SUCCESS),
        Ok(contract) => contract,
        Err(Refusal::Unsupported(name)) => {
            say(format_args!("test case {name:?} is not supported"));
            return Ok(ExitCode::from(UNSUPPORTED));
        }
        Err(Refusal::Invalid(failure)) => return Err(failure),
    };
    match contract.role {
        Role::Client => client::run(&contract).await?,
        Role::Server => server::run(&contract).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One line on standard error. Nobody has to read it.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "interop: {line}");
}

/// Closes an endpoint, and waits for a moment so that peers and qlog files learn of it.
async fn close(endpoint: &Endpoint) {
    endpoint.close(VarInt::from_u32(0), b"");
    // Nothing is lost if they do not.
    let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
}
