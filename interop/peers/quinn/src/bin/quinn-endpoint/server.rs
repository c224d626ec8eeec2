//! The server: one task per connection, until SIGTERM.

use std::net::Ipv6Addr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::signal::unix::{SignalKind, signal};

use crate::{AnyError, Case, certs, hq, http3, initial_suite, variable};

pub async fn run(case: Case) -> Result<(), AnyError> {
    let mut end = signal(SignalKind::terminate())?;
    let port = variable("PORT", "443").parse()?;
    let endpoint = quinn::Endpoint::server(config(case)?, (Ipv6Addr::UNSPECIFIED, port).into())?;
    eprintln!("listening on {}", endpoint.local_addr()?);
    loop {
        tokio::select! {
            _ = end.recv() => break,
            Some(incoming) = endpoint.accept() => {
                if case == Case::Retry && !incoming.remote_address_validated() {
                    // Fails only for clients that were validated.
                    let _ = incoming.retry();
                    continue;
                }
                tokio::spawn(async move {
                    if let Err(error) = serve(case, incoming).await {
                        eprintln!("connection: {error}");
                    }
                });
            }
        }
    }
    endpoint.close(0u8.into(), b"");
    Ok(())
}

async fn serve(case: Case, incoming: quinn::Incoming) -> Result<(), AnyError> {
    // With 0-RTT, requests are there before the handshake is complete.
    let connection = match incoming.accept()?.into_0rtt() {
        Ok((connection, _)) => connection,
        Err(connecting) => connecting.await?,
    };
    let www = Arc::new(PathBuf::from(variable("WWW", "/www")));
    match case {
        Case::Http3 => http3::serve(connection, www).await,
        _ => hq::serve(connection, www).await,
    }
}

fn config(case: Case) -> Result<quinn::ServerConfig, AnyError> {
    let chain = CertificateDer::pem_file_iter(certs("cert.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(case.provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(certs("priv.key"))?)?;
    tls.alpn_protocols = case.alpn();
    tls.max_early_data_size = if case == Case::ZeroRtt { u32::MAX } else { 0 };
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    let crypto = QuicServerConfig::with_initial(tls.into(), initial_suite()?)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(case.transport()?);
    Ok(config)
}

/// The file that a URL path names, or nothing if the path would lead out of the folder.
pub fn file_below(folder: &Path, url_path: &str) -> Option<PathBuf> {
    let relative = Path::new(url_path.trim_start_matches('/'));
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| folder.join(relative))
}
