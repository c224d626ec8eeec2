//! Fetches files over one connection, with either protocol.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h3_lite::{Client, RecvBody};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use quic_tokio::{Connection, EarlyData, RecvStream};
use tokio::task::JoinSet;

use super::contract::Request;
use super::hq;
use super::say;
use crate::failure::Failure;
use crate::get::Download;

/// Requests under way at a time, if the server allows so many: each has a file open.
const PARALLEL: usize = 256;

/// A connection, and where files go.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    protocol: Protocol,
    downloads: Arc<PathBuf>,
}

#[derive(Clone, Debug)]
enum Protocol {
    Hq(Connection),
    H3(Client),
}

/// What comes of a request.
enum Content {
    Hq(RecvStream),
    H3(RecvBody),
}

impl Fetcher {
    /// Fetches with the protocol that the connection has agreed on.
    pub(super) fn new(connection: Connection, downloads: Arc<PathBuf>) -> Self {
        let protocol = match connection.alpn() {
            Some(h3_lite::ALPN) => Protocol::H3(Client::new(connection)),
            _ => Protocol::Hq(connection),
        };
        Self { protocol, downloads }
    }

    /// The same with the same protocol over another connection, whose handshake has not told yet.
    pub(super) fn over(self, connection: Connection) -> Self {
        let protocol = match self.protocol {
            Protocol::Hq(_) => Protocol::Hq(connection),
            Protocol::H3(_) => Protocol::H3(Client::new(connection)),
        };
        Self { protocol, ..self }
    }

    /// Fetches everything, as much at a time as the server allows. Tells of each failure.
    pub(super) async fn all(&self, requests: Vec<Request>) -> Result<(), Failure> {
        let count = requests.len();
        let mut waiting = VecDeque::from(requests);
        let mut running = JoinSet::new();
        let (mut bytes, mut failures) = (0, 0);
        loop {
            while running.len() < PARALLEL
                && let Some(request) = waiting.pop_front()
            {
                let fetcher = self.clone();
                running.spawn(async move { fetcher.one(&request).await });
            }
            let Some(result) = running.join_next().await else { break };
            match result.unwrap_or_else(|error| Err(Failure::new(error))) {
                Ok(length) => bytes += length,
                Err(failure) => {
                    say(format_args!("{failure}"));
                    failures += 1;
                }
            }
        }
        if failures > 0 {
            return Err(Failure::new(format!("{failures} of {count} files failed")));
        }
        say(format_args!("files: {count}, bytes: {bytes}"));
        Ok(())
    }

    /// Fetches one file, and returns its length. What a server does not take as early data is asked
    /// for again.
    async fn one(&self, request: &Request) -> Result<u64, Failure> {
        let early = self.quic().early_data() == EarlyData::Offered;
        let result = self.attempt(request).await;
        if early && result.is_err() && self.quic().early_data_accepted().await == Ok(false) {
            return self.attempt(request).await;
        }
        result
    }

    fn quic(&self) -> &Connection {
        match &self.protocol {
            Protocol::Hq(connection) => connection,
            Protocol::H3(client) => client.quic(),
        }
    }

    async fn attempt(&self, request: &Request) -> Result<u64, Failure> {
        let content = self.ask(request).await?;
        self.store(request, content).await
    }

    async fn ask(&self, request: &Request) -> Result<Content, Failure> {
        let failed = |error: &dyn std::fmt::Display| failed(request, error);
        match &self.protocol {
            Protocol::Hq(connection) => {
                let asked = hq::get(connection, request.uri.path()).await;
                asked.map(Content::Hq).map_err(|error| failed(&error))
            }
            Protocol::H3(client) => {
                let get = http::Request::get(&request.uri).body(Empty::<Bytes>::new());
                let response = client
                    .send(get.map_err(Failure::new)?)
                    .await
                    .map_err(|error| failed(&error))?;
                match response.status() {
                    StatusCode::OK => Ok(Content::H3(response.into_body())),
                    status => Err(failed(&status)),
                }
            }
        }
    }

    async fn store(&self, request: &Request, mut content: Content) -> Result<u64, Failure> {
        let path = self.downloads.join(&request.file);
        let unwritten = |error| Failure::with_file("write", &path, &error);
        let mut download = Download::create(&path).await.map_err(unwritten)?;
        let mut length = 0;
        while let Some(chunk) = content.chunk().await.map_err(|error| failed(request, &error))? {
            length += chunk.len() as u64;
            download.write(&chunk).await.map_err(unwritten)?;
        }
        download.keep().await.map_err(unwritten)?;
        Ok(length)
    }
}

impl Content {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Hq(stream) => stream.read_chunk().await.map_err(Failure::new),
            Self::H3(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                // Trailers are of no interest.
                if let Ok(chunk) = frame.map_err(Failure::new)?.into_data() {
                    return Ok(Some(chunk));
                }
            },
        }
    }
}

fn failed(request: &Request, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {why}", request.uri))
}
