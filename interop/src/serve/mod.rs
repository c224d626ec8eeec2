//! `interop serve`: serves the files of a directory over HTTP/3.

mod hints;
mod path;
mod site;

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use h3_lite::ALPN;
use h3_lite::server::{Server, service_fn};
use quic_tokio::{
    AddressValidation, EndpointConfig, KeyUse, RetryPolicy, ServerConfig, TransportConfig,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::net;
use crate::tls::Identity;
use crate::wishes;
pub(crate) use site::{Echo, Site};

/// How long answers under way may still take once the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  interop serve .
  interop serve public/ --listen '[::]:443' --cert chain.pem --key key.pem
  interop serve . --listen 127.0.0.1:0 --write-cert server.pem --echo

Ends on Ctrl-C or SIGTERM, after the answers that are under way; a second Ctrl-C does not wait.

Environment:
  SSLKEYLOGFILE  append the TLS secrets to this file, for Wireshark
  QLOGDIR        write a qlog file of each connection into this directory";

/// Serve the files of a directory.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Address and UDP port; port 0 is any free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
    /// The certificate chain (PEM), the server's own certificate first. Default: a new one for
    /// localhost, 127.0.0.1 and ::1, signed by itself.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Write the server's certificate (PEM) to this file, for clients to trust it.
    #[arg(long, value_name = "FILE")]
    write_cert: Option<PathBuf>,
    /// Answer POST /echo with the body of the request.
    #[arg(long)]
    echo: bool,
    /// The versions of QUIC to speak, v1 and v2, the preferred one first: clients that offer it are
    /// moved to it.
    #[arg(long, value_name = "VERSION,...", value_parser = wishes::versions)]
    version: Option<wishes::Versions>,
    /// Nothing but these cipher suites: aes128, aes256, chacha20.
    #[arg(long, value_name = "SUITE,...", value_parser = wishes::ciphers)]
    ciphers: Option<wishes::Ciphers>,
    /// Update keys each time that so many bytes were sent with them.
    #[arg(long, value_name = "BYTES")]
    key_update: Option<u64>,
    /// Have each new client prove its address first, with a Retry packet.
    #[arg(long)]
    retry: bool,
    /// Take early data (0-RTT) of clients that were here before; requests that are not safe are
    /// answered with 425 then.
    #[arg(long)]
    early: bool,
}

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let identity = match (&options.cert, &options.key) {
        (Some(chain), Some(key)) => Identity::from_files(chain, key)?,
        _ => Identity::self_signed()?,
    };
    let echo = if options.echo { Echo::On } else { Echo::Off };
    let site = Arc::new(Site::new(&options.directory, echo)?);
    if let Some(file) = &options.write_cert {
        std::fs::write(file, identity.certificate_pem())
            .map_err(|error| Failure::with_file("write", file, &error))?;
    }
    let mut signals = Signals::new()?;
    let policy = if options.retry { RetryPolicy::Always } else { RetryPolicy::default() };
    let validation = AddressValidation::new().retry(policy);
    let tls = identity.tls_config(wishes::provider(options.ciphers.as_ref()), &[ALPN])?;
    let transport = TransportConfig::builder()
        .key_update_after(KeyUse { packets: None, bytes: options.key_update })
        .build()
        .map_err(Failure::new)?;
    let mut config = ServerConfig::new(Arc::new(tls), Arc::new(transport))
        .map_err(Failure::new)?
        .with_address_validation(validation);
    if options.early {
        let context = h3_lite::server::Config::default().early_data_context();
        config = config.with_early_data(&context).map_err(Failure::new)?;
    }
    let mut builder = net::builder()?.server_config(config);
    if let Some(versions) = options.version {
        let settings = EndpointConfig::builder().supported_versions(versions.0);
        builder = builder.endpoint_config(settings.build().map_err(Failure::new)?);
    }
    let endpoint = net::bind_server(builder, options.listen)?;
    let hints = hints::lines(&hints::Facts {
        address: endpoint.local_addr(),
        pin: identity.public_key_pin()?,
        written: options.write_cert,
        self_signed: options.cert.is_none(),
    });
    print(&hints);

    let server = Server::new(service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.respond(request).await) }
    }));
    let shutdown = server.shutdown_handle();
    let mut serving = pin!(server.run(&endpoint));
    tokio::select! {
        () = &mut serving => {}
        () = signals.next() => {
            shutdown.start();
            tokio::select! {
                () = &mut serving => {}
                () = signals.next() => {}
                () = tokio::time::sleep(GRACE) => {}
            }
        }
    }
    net::close(&endpoint).await;
    Ok(ExitCode::SUCCESS)
}

/// Prints at once, also into a pipe. A reader that is gone does not end the server.
fn print(lines: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}

/// The signals that ask the program to end. They do so only through this once it exists.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("cannot wait for signals: {error}")))
        };
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: listen(interrupt)?, terminate: listen(terminate)? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
