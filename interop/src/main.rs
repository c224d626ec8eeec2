//! The command line program: serve files, fetch URLs, and show the whole stack at work.

#![forbid(unsafe_code)]

mod cases;
mod content;
mod demo;
mod dissect;
mod endpoint;
mod failure;
mod file_body;
mod get;
mod interrupts;
mod matrix;
mod measure;
mod net;
mod relay;
mod serve;
mod table;
mod tls;
mod wishes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// HTTP/3 over QUIC: a server, a client, and a demonstration of both.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Options),
    Serve(serve::Options),
    Get(get::Options),
    Endpoint(endpoint::Options),
    Check(cases::Options),
    Dissect(dissect::Options),
    Relay(relay::Options),
    Matrix(matrix::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Program::parse().command {
        Command::Demo(options) => demo::run(options).await,
        Command::Serve(options) => serve::run(options).await,
        Command::Get(options) => get::run(options).await,
        Command::Endpoint(options) => endpoint::run(options).await,
        Command::Check(options) => cases::run(&options),
        Command::Dissect(options) => dissect::run(&options),
        Command::Relay(options) => relay::run(options).await,
        Command::Matrix(options) => matrix::run(options).await,
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("interop: {failure}");
        ExitCode::FAILURE
    })
}
