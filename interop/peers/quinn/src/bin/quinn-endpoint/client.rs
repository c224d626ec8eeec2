//! The client: everything over one connection, unless the test case is about more of them.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use quinn::Connection;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::task::JoinSet;

use crate::trust::ShortChains;
use crate::{AnyError, Case, certs, hq, http3, initial_suite, variable};

/// Connections at a time, where each file has its own.
const CONNECTIONS: usize = 10;
/// How long a session ticket may take after the first file.
const TICKET: std::time::Duration = std::time::Duration::from_millis(200);

#[derive(Clone)]
struct Client {
    endpoint: quinn::Endpoint,
    case: Case,
    server: SocketAddr,
    name: String,
}

pub async fn run(case: Case) -> Result<(), AnyError> {
    let text = variable("REQUESTS", "");
    let urls: Vec<Uri> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let first = urls.first().ok_or("no requests")?;
    let name = first.host().ok_or("no host")?.to_owned();
    let port = first.port_u16().unwrap_or(443);
    let server = tokio::net::lookup_host((name.as_str(), port)).await?.next();
    let server = server.ok_or("the server has no address")?;
    let client = Client { endpoint: endpoint(case)?, case, server, name };
    match case {
        Case::Multiconnect => client.a_connection_each(urls).await?,
        Case::Resumption | Case::ZeroRtt => {
            let (first, rest) = urls.split_at(1);
            client.fetch(client.connect().await?, first).await?;
            tokio::time::sleep(TICKET).await;
            client.again(rest).await?;
        }
        _ => {
            let connection = client.connect().await?;
            if case == Case::KeyUpdate {
                connection.force_key_update();
            }
            client.fetch(connection, &urls).await?;
        }
    }
    client.endpoint.wait_idle().await;
    Ok(())
}

fn endpoint(case: Case) -> Result<quinn::Endpoint, AnyError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certs("ca.pem"))? {
        roots.add(certificate?)?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), case.provider()).build()?;
    let mut tls = rustls::ClientConfig::builder_with_provider(case.provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ShortChains(verifier)))
        .with_no_client_auth();
    tls.alpn_protocols = case.alpn();
    tls.enable_early_data = case == Case::ZeroRtt;
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    let crypto = QuicClientConfig::with_initial(tls.into(), initial_suite()?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(case.transport()?);
    let mut endpoint = quinn::Endpoint::client((Ipv6Addr::UNSPECIFIED, 0).into())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

impl Client {
    async fn connect(&self) -> Result<Connection, AnyError> {
        Ok(self.endpoint.connect(self.server, &self.name)?.await?)
    }

    /// Fetches everything at once, then closes the connection.
    async fn fetch(&self, connection: Connection, urls: &[Uri]) -> Result<(), AnyError> {
        let downloads = PathBuf::from(variable("DOWNLOADS", "/downloads"));
        if self.case == Case::Http3 {
            return http3::fetch(connection, urls, &downloads).await;
        }
        let mut files = JoinSet::new();
        for url in urls {
            let file = downloads.join(url.path().rsplit('/').next().unwrap_or_default());
            files.spawn(hq::get(connection.clone(), url.path().to_owned(), file));
        }
        while let Some(result) = files.join_next().await {
            result??;
        }
        connection.close(0u8.into(), b"");
        Ok(())
    }

    /// The second connection of a session.
    async fn again(&self, urls: &[Uri]) -> Result<(), AnyError> {
        if self.case != Case::ZeroRtt {
            return self.fetch(self.connect().await?, urls).await;
        }
        let connecting = self.endpoint.connect(self.server, &self.name)?;
        let (connection, accepted) = connecting.into_0rtt().map_err(|_| "no 0-RTT")?;
        self.fetch(connection, urls).await?;
        if accepted.await { Ok(()) } else { Err("0-RTT was rejected".into()) }
    }

    async fn a_connection_each(&self, urls: Vec<Uri>) -> Result<(), AnyError> {
        let mut waiting = urls.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < CONNECTIONS
                && let Some(url) = waiting.next()
            {
                let client = self.clone();
                running.spawn(async move { client.fetch(client.connect().await?, &[url]).await });
            }
            match running.join_next().await {
                Some(result) => result??,
                None => return Ok(()),
            }
        }
    }
}
