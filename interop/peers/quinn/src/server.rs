//! The server: one task per connection, one per request.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, Bytes, BytesMut};
use h3::server::{Connection, RequestResolver, RequestStream};
use h3_quinn::BidiStream;
use http::{Method, Request, Response, StatusCode};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{AnyError, ServeArgs};

struct Site {
    dir: PathBuf,
    echo: bool,
}

/// Serves until the process is ended.
pub async fn serve(args: ServeArgs) -> Result<(), AnyError> {
    let endpoint = quinn::Endpoint::server(tls_config(&args)?, args.listen)?;
    println!("listening on {}", endpoint.local_addr()?);

    let site = Arc::new(Site { dir: args.dir, echo: args.echo });
    while let Some(incoming) = endpoint.accept().await {
        let site = site.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_connection(incoming, site).await {
                eprintln!("connection: {error}");
            }
        });
    }
    Ok(())
}

fn tls_config(args: &ServeArgs) -> Result<quinn::ServerConfig, AnyError> {
    let chain = CertificateDer::pem_file_iter(&args.cert)?.collect::<Result<Vec<_>, _>>()?;
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&args.key)?)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    Ok(quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)))
}

async fn serve_connection(incoming: quinn::Incoming, site: Arc<Site>) -> Result<(), AnyError> {
    let mut connection = Connection::new(h3_quinn::Connection::new(incoming.await?)).await?;
    while let Some(resolver) = connection.accept().await? {
        let site = site.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(resolver, &site).await {
                eprintln!("request: {error}");
            }
        });
    }
    Ok(())
}

async fn answer(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    site: &Site,
) -> Result<(), AnyError> {
    let (request, mut stream) = resolver.resolve_request().await?;
    let (status, body) = respond(&request, &mut stream, site).await?;
    eprintln!("{} {} {} {}", request.method(), request.uri().path(), status, body.len());

    let head = Response::builder().status(status).header("content-length", body.len()).body(())?;
    stream.send_response(head).await?;
    if request.method() != Method::HEAD && !body.is_empty() {
        stream.send_data(body).await?;
    }
    stream.finish().await?;
    Ok(())
}

async fn respond(
    request: &Request<()>,
    stream: &mut RequestStream<BidiStream<Bytes>, Bytes>,
    site: &Site,
) -> Result<(StatusCode, Bytes), AnyError> {
    let path = request.uri().path();
    if site.echo && path == "/echo" && request.method() == Method::POST {
        return Ok((StatusCode::OK, read_body(stream).await?));
    }
    match file_below(&site.dir, path) {
        Some(file) => match tokio::fs::read(file).await {
            Ok(content) => Ok((StatusCode::OK, content.into())),
            Err(_) => Ok((StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n"))),
        },
        None => Ok((StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n"))),
    }
}

async fn read_body(
    stream: &mut RequestStream<BidiStream<Bytes>, Bytes>,
) -> Result<Bytes, AnyError> {
    let mut body = BytesMut::new();
    while let Some(mut chunk) = stream.recv_data().await? {
        body.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Ok(body.freeze())
}

/// The file that a URL path names, or nothing if the path would lead out of the folder.
fn file_below(dir: &Path, url_path: &str) -> Option<PathBuf> {
    let relative = Path::new(url_path.trim_start_matches('/'));
    relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| dir.join(relative))
}
