//! HTTP/3.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::future;
use h3::client::SendRequest;
use h3::server::RequestResolver;
use h3_quinn::OpenStreams;
use http::{Request, Response, StatusCode, Uri};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::AnyError;
use crate::server::file_below;

/// Fetches everything at once.
pub async fn fetch(
    connection: quinn::Connection,
    urls: &[Uri],
    downloads: &Path,
) -> Result<(), AnyError> {
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let drive = tokio::spawn(async move { future::poll_fn(|cx| driver.poll_close(cx)).await });
    let mut files = JoinSet::new();
    for url in urls {
        let file = downloads.join(url.path().rsplit('/').next().unwrap_or_default());
        files.spawn(get(sender.clone(), url.clone(), file));
    }
    while let Some(result) = files.join_next().await {
        result??;
    }
    drop(sender);
    drive.await?;
    Ok(())
}

async fn get(
    mut sender: SendRequest<OpenStreams, Bytes>,
    url: Uri,
    file: PathBuf,
) -> Result<(), AnyError> {
    let mut stream = sender.send_request(Request::get(url).body(())?).await?;
    stream.finish().await?;
    let status = stream.recv_response().await?.status();
    if status != StatusCode::OK {
        return Err(status.to_string().into());
    }
    let mut file = File::create(file).await?;
    while let Some(mut chunk) = stream.recv_data().await? {
        file.write_all(&chunk.copy_to_bytes(chunk.remaining())).await?;
    }
    file.flush().await?;
    Ok(())
}

pub async fn serve(connection: quinn::Connection, www: Arc<PathBuf>) -> Result<(), AnyError> {
    let connection = h3_quinn::Connection::new(connection);
    let mut connection = h3::server::Connection::new(connection).await?;
    while let Some(resolver) = connection.accept().await? {
        let www = Arc::clone(&www);
        tokio::spawn(async move {
            if let Err(error) = answer(resolver, &www).await {
                eprintln!("request: {error}");
            }
        });
    }
    Ok(())
}

async fn answer(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    www: &Path,
) -> Result<(), AnyError> {
    let (request, mut stream) = resolver.resolve_request().await?;
    let content = match file_below(www, request.uri().path()) {
        Some(file) => tokio::fs::read(file).await.ok(),
        None => None,
    };
    let status = if content.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    stream.send_response(Response::builder().status(status).body(())?).await?;
    if let Some(content) = content {
        stream.send_data(content.into()).await?;
    }
    Ok(stream.finish().await?)
}
