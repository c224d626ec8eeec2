//! quinn and h3 as a peer to test against.
//!
//! The command line is that of this project's own `interop` program, so that either can stand on
//! either side of a test: `serve` prints `listening on ADDRESS`, `get` prints one line
//! `STATUS BYTES SHA256 URL` for each URL.

#![forbid(unsafe_code)]

mod client;
mod server;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
enum Command {
    /// Serve the files of a folder over HTTP/3.
    Serve(ServeArgs),
    /// Fetch URLs of one origin over one HTTP/3 connection.
    Get(GetArgs),
}

#[derive(clap::Args)]
struct ServeArgs {
    /// The folder whose files are served.
    dir: PathBuf,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Private key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Answer `POST /echo` with the body of the request.
    #[arg(long)]
    echo: bool,
}

#[derive(clap::Args)]
struct GetArgs {
    #[arg(required = true)]
    urls: Vec<http::Uri>,
    /// Certificate authority to trust, PEM.
    #[arg(long)]
    cacert: PathBuf,
    /// Write each body to this folder, under the last segment of its URL.
    #[arg(short)]
    output: Option<PathBuf>,
    #[arg(long, default_value = "GET")]
    method: http::Method,
    /// A file to send as the body of each request.
    #[arg(long)]
    body: Option<PathBuf>,
    /// How many requests may be under way at once.
    #[arg(long, default_value_t = 1)]
    parallel: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Serve(args) => server::serve(args).await,
        Command::Get(args) => client::get(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
