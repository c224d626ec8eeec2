//! HTTP/0.9 on QUIC streams, which test cases call `hq-interop`: a request is `GET /path` and a line
//! end, the answer is the bytes of the file, and there is nothing else.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use quic_tokio::{Connection, OpenError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::task::JoinSet;

use crate::file_body::FileBody;
use crate::serve::Site;

/// The application protocol (ALPN).
pub(super) const ALPN: &[u8] = b"hq-interop";
/// The longest request that is read.
const MAX_REQUEST: usize = 8192;

/// Why a request gets no answer, as the code of the reset that it gets in place of one. HTTP/0.9
/// has no codes: these are for those who read captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Malformed = 400,
    NotFound = 404,
    /// The file could not be read to its end.
    Broken = 500,
}

impl Refused {
    fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// What a client sends for a file.
fn request(path: &str) -> Bytes {
    format!("GET {path}\r\n").into()
}

/// The path that a request asks for. What follows the first line does not count, and the line end
/// may be missing, since the end of the stream is one, too.
fn requested(request: &[u8]) -> Result<&str, Refused> {
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let path = line.strip_prefix(b"GET ").and_then(|path| str::from_utf8(path).ok());
    let is_path = |path: &&str| {
        path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    path.filter(is_path).ok_or(Refused::Malformed)
}

/// Asks for a file; its bytes come on the stream that is returned.
///
/// Waits for as long as the server allows no more streams.
pub(super) async fn get(connection: &Connection, path: &str) -> Result<RecvStream, GetError> {
    let (mut send, recv) = connection.open_bi().await.map_err(GetError::Open)?;
    send.write_chunk(request(path)).await.map_err(GetError::Write)?;
    send.finish().map_err(GetError::Write)?;
    Ok(recv)
}

/// Why a request was not sent.
#[derive(Debug)]
pub(super) enum GetError {
    Open(OpenError),
    Write(WriteError),
}

impl std::fmt::Display for GetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
        }
    }
}

/// Answers the requests of a connection until it is over. There are never more of them at a time
/// than the client may have streams.
pub(super) async fn serve(connection: Connection, site: Arc<Site>) {
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => drop(answers.spawn(answer(Arc::clone(&site), send, recv))),
                // Nobody would get the rest of the answers.
                Err(_) => return,
            },
            Some(_) = answers.join_next() => {}
        }
    }
}

async fn answer(site: Arc<Site>, mut send: SendStream, mut recv: RecvStream) {
    let file = match receive_request(&mut recv).await {
        Ok(Ok(request)) => open(&site, &request).await,
        Ok(Err(refused)) => Err(refused),
        // The client has given up.
        Err(_) => return,
    };
    let sent = match file {
        Ok(file) => send_file(&mut send, file).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = sent {
        recv.stop(refused.code());
        send.reset(refused.code());
    }
}

/// Reads up to the end of the line or of the stream, whichever comes first.
async fn receive_request(recv: &mut RecvStream) -> Result<Result<Vec<u8>, Refused>, ReadError> {
    let mut request = Vec::new();
    while !request.contains(&b'\n') {
        let Some(chunk) = recv.read_chunk().await? else { break };
        if request.len() + chunk.len() > MAX_REQUEST {
            return Ok(Err(Refused::Malformed));
        }
        request.extend_from_slice(&chunk);
    }
    Ok(Ok(request))
}

async fn open(site: &Site, request: &[u8]) -> Result<FileBody, Refused> {
    let path = requested(request)?;
    site.open(path).await.map_err(|_| Refused::NotFound)
}

/// Sends a file while it is read.
async fn send_file(send: &mut SendStream, mut file: FileBody) -> Result<(), Refused> {
    while let Some(frame) = file.frame().await {
        let Ok(chunk) = frame.map_err(|_| Refused::Broken)?.into_data() else { continue };
        if send.write_chunk(chunk).await.is_err() {
            // The client wants no more of it.
            return Ok(());
        }
    }
    // Fails only for a client that wants no more of it.
    let _ = send.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_understood_as_it_is_sent() {
        assert_eq!(&request("/name")[..], b"GET /name\r\n");
        assert_eq!(requested(&request("/name")), Ok("/name"));
    }

    #[test]
    fn line_ends_are_of_any_kind() {
        for text in ["GET /a", "GET /a\n", "GET /a\r\n", "GET /a\r", "GET /a\r\nGET /b\r\n"] {
            assert_eq!(requested(text.as_bytes()), Ok("/a"), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b""[..],
            b"\r\n",
            b"GET",
            b"GET ",
            b"GET a\r\n",
            b"get /a\r\n",
            b"PUT /a\r\n",
            b" GET /a\r\n",
            b"GET  /a\r\n",
            b"GET /a HTTP/1.1\r\n",
            b"GET /a\0b\r\n",
            b"GET /a\rb\r\n",
            b"GET /a\tb",
            b"GET /\xff\xfe\r\n",
            b"GET https://server/a\r\n",
            b"\nGET /a\r\n",
        ] {
            assert_eq!(requested(bytes), Err(Refused::Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_clean_path_or_refused(bytes: Vec<u8>, path in "/[!-~]{0,300}") {
            if let Ok(path) = requested(&bytes) {
                prop_assert!(path.starts_with('/') && !path.contains(char::is_control));
            }
            let line = request(&path);
            prop_assert_eq!(requested(&line), Ok(path.as_str()));
            let prefixed = [b"GET /", &bytes[..]].concat();
            if let Ok(path) = requested(&prefixed) {
                prop_assert!(!path.contains(char::is_whitespace));
            }
        }
    }
}
