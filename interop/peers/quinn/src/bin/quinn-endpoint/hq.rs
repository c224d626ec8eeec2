//! HTTP/0.9 on streams.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::AnyError;
use crate::server::file_below;

/// The code of the reset in place of a file that is not there.
const NOT_FOUND: u32 = 404;
const MAX_REQUEST: usize = 8192;

pub async fn get(connection: Connection, path: String, file: PathBuf) -> Result<(), AnyError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(format!("GET {path}\r\n").as_bytes()).await?;
    send.finish()?;
    let mut file = File::create(file).await?;
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        file.write_all(&chunk.bytes).await?;
    }
    file.flush().await?;
    Ok(())
}

pub async fn serve(connection: Connection, www: Arc<PathBuf>) -> Result<(), AnyError> {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let www = Arc::clone(&www);
        tokio::spawn(async move {
            if let Err(error) = answer(send, recv, &www).await {
                eprintln!("request: {error}");
            }
        });
    }
    Ok(())
}

async fn answer(mut send: SendStream, mut recv: RecvStream, www: &Path) -> Result<(), AnyError> {
    let request = String::from_utf8(recv.read_to_end(MAX_REQUEST).await?)?;
    let path = request.trim_end().strip_prefix("GET ").ok_or("no request")?;
    let Some(file) = file_below(www, path) else {
        send.reset(NOT_FOUND.into())?;
        return Ok(());
    };
    match File::open(file).await {
        Ok(mut file) => {
            tokio::io::copy(&mut file, &mut send).await?;
            send.finish()?;
        }
        Err(_) => send.reset(NOT_FOUND.into())?,
    }
    Ok(())
}
