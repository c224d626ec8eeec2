//! What the client of the demonstration does, and whether it came out right.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3_lite::{BoxError, RecvBody};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use indicatif::HumanCount;
use quic_tokio::Endpoint;
use tokio::task::JoinSet;

use super::server::{HASH_PATH, noise_path};
use crate::content::{Hasher, Noise, Sha256};
use crate::failure::Failure;
use crate::measure::{self, Percentiles};
use crate::net::{self, Start};
use crate::tls::Trust;

/// Requests under way at a time.
const PARALLEL: usize = 50;
const SMALL: u64 = 1 << 10;
/// Bytes of a download that is cancelled: more than fits into what is sent unasked.
const CANCELLED: u64 = 1 << 20;
/// Bytes of the downloads beside the cancelled ones.
const UNTOUCHED: u64 = 256 << 10;

/// One connection.
#[derive(Clone)]
pub(super) struct Client {
    requests: h3_lite::Client,
    authority: String,
    endpoint: Endpoint,
}

impl Client {
    pub(super) async fn connect(trust: Trust, address: SocketAddr) -> Result<Self, Failure> {
        let config = trust.client_config()?.into();
        let name = address.ip().to_string();
        let (endpoint, connection) =
            net::connect(config, &name, address.port(), Start::Complete).await?;
        let requests = h3_lite::Client::new(connection);
        Ok(Self { requests, authority: address.to_string(), endpoint })
    }

    /// A large download: the rate, and whether it was the right bytes.
    pub(super) async fn download(&self, length: u64) -> Result<Vec<String>, Failure> {
        let started = Instant::now();
        let response = self.get(1, length).await?;
        let sha256 = sha256(response.into_body()).await?;
        let elapsed = started.elapsed();
        let expected = Noise::new(1, length).sha256();
        bulk_cells(length, elapsed, &sha256.to_string(), &expected.to_string())
    }

    /// A large upload: the rate, and whether the server got the right bytes.
    pub(super) async fn upload(&self, length: u64) -> Result<Vec<String>, Failure> {
        let started = Instant::now();
        let uri = format!("https://{}{HASH_PATH}", self.authority);
        let request = Request::post(uri).body(Noise::new(2, length)).map_err(Failure::new)?;
        let response = self.send(request).await?;
        let answer = response.into_body().collect().await.map_err(Failure::new)?.to_bytes();
        let elapsed = started.elapsed();
        let expected = Noise::new(2, length).sha256().to_string();
        bulk_cells(length, elapsed, &String::from_utf8_lossy(&answer), &expected)
    }

    /// Small downloads, many at a time: their rate, and how long single ones took.
    pub(super) async fn many_small(&self, count: usize) -> Result<Vec<String>, Failure> {
        let started = Instant::now();
        let times = in_parallel(count, |index| self.clone().small(index)).await?;
        let elapsed = started.elapsed();
        let times = Percentiles::new(times);
        Ok(vec![
            measure::count_rate(count, elapsed),
            format!("p50 {}", measure::duration(times.at(50))),
            format!("p99 {}", measure::duration(times.at(99))),
        ])
    }

    async fn small(self, index: usize) -> Result<Duration, Failure> {
        let started = Instant::now();
        self.complete(index as u64, SMALL).await?;
        Ok(started.elapsed())
    }

    /// Downloads that are cancelled half-way, and as many among them that are not.
    pub(super) async fn cancelled(&self, count: usize) -> Result<Vec<String>, Failure> {
        let started = Instant::now();
        let both = in_parallel(2 * count, |index| {
            let client = self.clone();
            async move {
                match index % 2 {
                    0 => client.cancel_half_way(index as u64).await,
                    _ => client.complete(index as u64, UNTOUCHED).await,
                }
            }
        });
        both.await?;
        let complete = format!("{} others complete", HumanCount(count as u64));
        Ok(vec![measure::duration(started.elapsed()), complete])
    }

    async fn cancel_half_way(&self, seed: u64) -> Result<(), Failure> {
        let mut body = self.get(seed, CANCELLED).await?.into_body();
        let mut received = 0;
        while received < CANCELLED / 2 {
            match body.frame().await {
                Some(frame) => {
                    let chunk = frame.map_err(Failure::new)?.into_data().unwrap_or_default();
                    received += chunk.len() as u64;
                }
                None => return Err(Failure::new(format!("download {seed} is too short"))),
            }
        }
        // Dropped here, which cancels it.
        Ok(())
    }

    async fn complete(&self, seed: u64, length: u64) -> Result<(), Failure> {
        let received = sha256(self.get(seed, length).await?.into_body()).await?;
        if received != Noise::new(seed, length).sha256() {
            return Err(Failure::new(format!("download {seed} has other bytes")));
        }
        Ok(())
    }

    /// Waits until the server has closed the connection, then closes the socket.
    pub(super) async fn ended(self) -> Result<(), Failure> {
        let end = self.requests.closed().await;
        net::close(&self.endpoint).await;
        if end.is_orderly() { Ok(()) } else { Err(Failure::new(end)) }
    }

    async fn get(&self, seed: u64, length: u64) -> Result<Response<RecvBody>, Failure> {
        let uri = format!("https://{}{}", self.authority, noise_path(seed, length));
        let request = Request::get(uri).body(Empty::<Bytes>::new()).map_err(Failure::new)?;
        self.send(request).await
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Response<RecvBody>, Failure>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let response = self.requests.send(request).await.map_err(Failure::new)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            other => Err(Failure::new(format!("status {other}"))),
        }
    }
}

fn bulk_cells(
    length: u64,
    elapsed: Duration,
    sha256: &str,
    expected: &str,
) -> Result<Vec<String>, Failure> {
    if sha256 != expected {
        return Err(Failure::new("SHA-256 differs"));
    }
    let rate = measure::byte_rate(length, elapsed);
    Ok(vec![rate, measure::duration(elapsed), "SHA-256 equal".into()])
}

async fn sha256(mut body: RecvBody) -> Result<Sha256, Failure> {
    let mut hasher = Hasher::new();
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame.map_err(Failure::new)?.into_data() {
            hasher.update(&chunk);
        }
    }
    Ok(hasher.finish())
}

/// Runs `task` for each index below `count`, [`PARALLEL`] at a time.
async fn in_parallel<F, T>(count: usize, task: impl Fn(usize) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Send + 'static,
{
    let mut results = Vec::with_capacity(count);
    let mut running = JoinSet::new();
    let mut indices = 0..count;
    loop {
        while running.len() < PARALLEL
            && let Some(index) = indices.next()
        {
            running.spawn(task(index));
        }
        match running.join_next().await {
            None => return Ok(results),
            Some(result) => results.push(result.map_err(Failure::new)??),
        }
    }
}
