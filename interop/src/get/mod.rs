//! `interop get`: fetches URLs over HTTP/3.

mod download;
mod fetch;
mod progress;
mod target;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use h3_lite::ALPN;
use http::Method;
use quic_tokio::{ClientConfig, KeyUse, TransportConfig};

use crate::failure::Failure;
use crate::tls::Trust;
use crate::wishes;
pub(crate) use download::Download;

const EXAMPLES: &str = "\
Prints a line for each response that arrived completely: STATUS BYTES SHA256 URL.
The exit status is 0 if all did, whatever their status.

Examples:
  interop get https://localhost:4433/ --cacert server.pem
  interop get https://example.org/a https://example.org/b -o downloads/
  interop get https://localhost:4433/echo --insecure --method POST --body file

Environment:
  SSLKEYLOGFILE  append the TLS secrets to this file, for Wireshark
  QLOGDIR        write a qlog file of each connection into this directory";

/// Fetch URLs; all URLs of one server over one connection.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to fetch (https://...).
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Store the body in this file, or with several URLs the bodies in this directory.
    #[arg(short, long, value_name = "DIR|FILE")]
    output: Option<PathBuf>,
    /// Trust the servers that these certificates (PEM) vouch for, in place of the public
    /// authorities.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Trust any server.
    #[arg(long)]
    insecure: bool,
    /// How many requests to have under way at a time on a connection.
    #[arg(long, value_name = "N", default_value = "20")]
    parallel: NonZeroUsize,
    /// The method of the requests.
    #[arg(long, value_enum, default_value_t = Verb::Get, ignore_case = true)]
    method: Verb,
    /// Send this file with each request; needs --method POST.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Fetch over a second connection that resumes the session of a first one, with requests in
    /// early data (0-RTT). Fails if the server does not accept it.
    #[arg(long)]
    early: bool,
    /// The version of QUIC to begin with, v1 or v2, and after a comma one to rather move to.
    #[arg(long, value_name = "VERSION[,VERSION]", value_parser = wishes::versions)]
    version: Option<wishes::Versions>,
    /// Nothing but these cipher suites: aes128, aes256, chacha20.
    #[arg(long, value_name = "SUITE,...", value_parser = wishes::ciphers)]
    ciphers: Option<wishes::Ciphers>,
    /// Update keys each time that so many bytes were sent with them.
    #[arg(long, value_name = "BYTES")]
    key_update: Option<u64>,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Verb {
    Get,
    Head,
    Post,
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Head => Self::HEAD,
            Verb::Post => Self::POST,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a positive number of seconds".into()),
    }
}

/// The settings that the options ask for.
fn configure(trust: Trust, options: &Options) -> Result<ClientConfig, Failure> {
    let provider = wishes::provider(options.ciphers.as_ref());
    let tls = trust.tls_config(provider, &[ALPN])?;
    let bytes = options.key_update;
    let transport = TransportConfig::builder()
        .key_update_after(KeyUse { packets: None, bytes })
        .build()
        .map_err(Failure::new)?;
    let config = ClientConfig::new(Arc::new(tls), Arc::new(transport)).map_err(Failure::new)?;
    match options.version.as_ref().and_then(|versions| versions.0.split_first()) {
        Some((first, others)) => config.with_versions(*first, others).map_err(Failure::new),
        None => Ok(config),
    }
}

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    if options.body.is_some() && options.method != Verb::Post {
        return Err(Failure::new("--body needs --method POST"));
    }
    let trust = match (&options.cacert, options.insecure) {
        (Some(file), _) => Trust::from_file(file)?,
        (None, true) => Trust::Anyone,
        (None, false) => Trust::PublicAuthorities,
    };
    let config = configure(trust, &options)?;
    let servers = target::by_server(options.urls, options.output.as_deref())?;
    let job = fetch::Job {
        config: if options.early { config.with_early_data() } else { config }.into(),
        early: options.early,
        method: options.method.into(),
        body: options.body,
        parallel: options.parallel.get(),
    };
    let fetched = fetch::all(job, servers);
    match options.timeout {
        None => fetched.await,
        Some(timeout) => tokio::time::timeout(timeout, fetched).await.unwrap_or_else(|_| {
            let seconds = timeout.as_secs_f64();
            Err(Failure::new(format!("given up after {seconds} s (--timeout)")))
        }),
    }
}
