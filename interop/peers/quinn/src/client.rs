//! The client: one connection, one task per URL.

use std::{
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
};

use bytes::{Buf, Bytes};
use futures_util::future;
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use http::{Method, Request, Uri};
use quinn::crypto::rustls::QuicClientConfig;
use ring::digest;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    fs::File,
    io::AsyncWriteExt,
    sync::Semaphore,
    task::{JoinError, JoinHandle},
};

use crate::{AnyError, GetArgs};

/// What every request of one call has in common.
struct Plan {
    method: Method,
    body: Option<Bytes>,
    output: Option<PathBuf>,
    permits: Semaphore,
}

/// Fetches all URLs; an error if any response did not arrive completely.
pub async fn get(args: GetArgs) -> Result<(), AnyError> {
    let body = args.body.as_ref().map(std::fs::read).transpose()?.map(Bytes::from);
    let endpoint = endpoint(&args)?;
    let connection = connect(&endpoint, args.urls.first().ok_or("no URL")?).await?;
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let drive = tokio::spawn(async move { future::poll_fn(|cx| driver.poll_close(cx)).await });

    let plan = Arc::new(Plan {
        method: args.method,
        body,
        output: args.output,
        permits: Semaphore::new(args.parallel.max(1)),
    });
    let tasks: Vec<JoinHandle<Result<(), AnyError>>> = args
        .urls
        .into_iter()
        .map(|url| tokio::spawn(fetch(sender.clone(), url, plan.clone())))
        .collect();
    let outcome = all_of(tasks).await;

    drop(sender);
    drive.await?;
    endpoint.wait_idle().await;
    outcome?
}

/// Waits for every task, so that one failure does not cut the others off.
async fn all_of(
    tasks: Vec<JoinHandle<Result<(), AnyError>>>,
) -> Result<Result<(), AnyError>, JoinError> {
    let mut outcome = Ok(());
    for task in tasks {
        if let Err(error) = task.await? {
            eprintln!("request: {error}");
            outcome = Err("a response did not arrive completely".into());
        }
    }
    Ok(outcome)
}

fn endpoint(args: &GetArgs) -> Result<quinn::Endpoint, AnyError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&args.cacert)? {
        roots.add(certificate?)?;
    }
    let mut tls =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));

    let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

async fn connect(endpoint: &quinn::Endpoint, url: &Uri) -> Result<quinn::Connection, AnyError> {
    let host = url.host().ok_or("a URL without a host")?;
    let address = (host, url.port_u16().unwrap_or(443))
        .to_socket_addrs()?
        .find(SocketAddr::is_ipv4)
        .ok_or("no IPv4 address")?;
    Ok(endpoint.connect(address, host)?.await?)
}

async fn fetch(
    mut sender: SendRequest<OpenStreams, Bytes>,
    url: Uri,
    plan: Arc<Plan>,
) -> Result<(), AnyError> {
    let _permit = plan.permits.acquire().await?;
    let mut request = Request::builder().method(plan.method.clone()).uri(url.clone());
    if let Some(body) = &plan.body {
        request = request.header("content-length", body.len());
    }
    let mut stream = sender.send_request(request.body(())?).await?;
    if let Some(body) = &plan.body {
        stream.send_data(body.clone()).await?;
    }
    stream.finish().await?;

    let response = stream.recv_response().await?;
    let mut file = match &plan.output {
        Some(dir) => Some(File::create(dir.join(file_name(&url))).await?),
        None => None,
    };
    let (mut length, mut hash) = (0, digest::Context::new(&digest::SHA256));
    while let Some(mut chunk) = stream.recv_data().await? {
        let chunk = chunk.copy_to_bytes(chunk.remaining());
        length += chunk.len();
        hash.update(&chunk);
        if let Some(file) = &mut file {
            file.write_all(&chunk).await?;
        }
    }
    if let Some(file) = &mut file {
        file.flush().await?;
    }
    let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} {length} {hex} {url}", response.status().as_u16());
    Ok(())
}

fn file_name(url: &Uri) -> &str {
    url.path().rsplit('/').find(|segment| !segment.is_empty()).unwrap_or("index.html")
}
