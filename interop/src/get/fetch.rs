//! Sends the requests and takes in the responses.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h3_lite::{BoxError, Client, RecvBody};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use quic_tokio::{ClientConfig, EarlyData};
use tokio::task::JoinSet;

use super::download::Download;
use super::progress::Progress;
use super::target::{Server, Target};
use crate::content::{Hasher, Sha256};
use crate::failure::Failure;
use crate::file_body::FileBody;
use crate::net::{self, Start};

/// How long a server may take for its session ticket after the first response.
const TICKET_PATIENCE: Duration = Duration::from_secs(1);
const TICKET_POLL: Duration = Duration::from_millis(5);

/// What all requests have in common.
pub(super) struct Job {
    pub(super) config: Arc<ClientConfig>,
    /// Whether to connect twice, the second time with early data.
    pub(super) early: bool,
    pub(super) method: Method,
    /// The file that each request brings.
    pub(super) body: Option<PathBuf>,
    /// Requests under way at a time on a connection.
    pub(super) parallel: usize,
}

/// A response that arrived completely.
struct Fetched {
    status: StatusCode,
    bytes: u64,
    sha256: Sha256,
}

/// Fetches everything from all servers at once, prints a line for each response, and tells of
/// failures on standard error.
pub(super) async fn all(job: Job, servers: Vec<Server>) -> Result<ExitCode, Failure> {
    let count = servers.iter().map(|server| server.targets.len()).sum();
    let progress = Arc::new(Progress::new(count));
    let job = Arc::new(job);
    let mut connections = JoinSet::new();
    for server in servers {
        connections.spawn(from_server(Arc::clone(&job), server, Arc::clone(&progress)));
    }
    while let Some(result) = connections.join_next().await {
        if let Err(failure) = result.unwrap_or_else(|error| Err(Failure::new(error))) {
            progress.fail(&failure);
        }
    }
    Ok(progress.finish())
}

async fn from_server(
    job: Arc<Job>,
    server: Server,
    progress: Arc<Progress>,
) -> Result<(), Failure> {
    let config = Arc::clone(&job.config);
    if job.early {
        visit(&config, &server).await?;
    }
    let start = if job.early { Start::Early } else { Start::Complete };
    let (endpoint, connection) = net::connect(config, &server.name, server.port, start).await?;
    let client = Client::new(connection);
    let mut waiting = VecDeque::from(server.targets);
    let mut requests = JoinSet::new();
    loop {
        while requests.len() < job.parallel
            && let Some(target) = waiting.pop_front()
        {
            let (job, client) = (Arc::clone(&job), client.clone());
            let progress = Arc::clone(&progress);
            requests.spawn(async move { one(&job, &client, &target, &progress).await });
        }
        match requests.join_next().await {
            None => break,
            Some(Ok(())) => {}
            Some(Err(error)) => progress.fail(&Failure::new(error)),
        }
    }
    let early_data = client.quic().early_data();
    client.close();
    net::close(&endpoint).await;
    match early_data {
        EarlyData::Accepted => Ok(()),
        _ if !job.early => Ok(()),
        EarlyData::Rejected | EarlyData::Offered => {
            Err(Failure::new(format!("{} rejected early data", server.name)))
        }
        EarlyData::None => {
            Err(Failure::new(format!("{} gave no ticket that allows early data", server.name)))
        }
    }
}

/// A first connection, for its session ticket.
async fn visit(config: &Arc<ClientConfig>, server: &Server) -> Result<(), Failure> {
    let connected = net::connect(Arc::clone(config), &server.name, server.port, Start::Complete);
    let (endpoint, connection) = connected.await?;
    let client = Client::new(connection);
    if let Some(target) = server.targets.first() {
        let request = Request::head(&target.uri).body(Empty::<Bytes>::new());
        client.send(request.map_err(Failure::new)?).await.map_err(Failure::new)?;
    }
    let sessions = config.sessions().expect("there is early data");
    let ticket = async {
        while sessions.tickets(&server.name) == 0 {
            tokio::time::sleep(TICKET_POLL).await;
        }
    };
    // Without one there is no early data, which is told in the end.
    let _ = tokio::time::timeout(TICKET_PATIENCE, ticket).await;
    client.close();
    net::close(&endpoint).await;
    Ok(())
}

/// Fetches one URL and says what came of it.
async fn one(job: &Job, client: &Client, target: &Target, progress: &Progress) {
    match fetch(job, client, target, progress).await {
        Ok(Fetched { status, bytes, sha256 }) => {
            let url = &target.url;
            progress.done(&format!("{} {bytes} {sha256} {url}", status.as_u16()));
        }
        Err(failure) => progress.fail(&Failure::new(format!("{}: {failure}", target.url))),
    }
}

async fn fetch(
    job: &Job,
    client: &Client,
    target: &Target,
    progress: &Progress,
) -> Result<Fetched, Failure> {
    let response = client.send(request(job, target)?).await.map_err(Failure::new)?;
    if job.method != Method::HEAD {
        progress.expect(response.headers().get(CONTENT_LENGTH));
    }
    match &target.file {
        None => receive(response, None, progress).await,
        Some(path) => store(response, path, progress).await,
    }
}

fn request(job: &Job, target: &Target) -> Result<Request<UnsyncBoxBody<Bytes, BoxError>>, Failure> {
    let mut request = Request::builder().method(&job.method).uri(&target.uri);
    let body = match &job.body {
        None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        Some(path) => {
            let body =
                FileBody::open(path).map_err(|error| Failure::with_file("read", path, &error))?;
            request = request.header(CONTENT_LENGTH, body.left());
            body.map_err(Into::into).boxed_unsync()
        }
    };
    request.body(body).map_err(Failure::new)
}

/// Receives into a file.
async fn store(
    response: Response<RecvBody>,
    path: &Path,
    progress: &Progress,
) -> Result<Fetched, Failure> {
    let failed = |error| Failure::with_file("write", path, &error);
    let mut download = Download::create(path).await.map_err(failed)?;
    let fetched = receive(response, Some(&mut download), progress).await?;
    download.keep().await.map_err(failed)?;
    Ok(fetched)
}

async fn receive(
    response: Response<RecvBody>,
    mut download: Option<&mut Download>,
    progress: &Progress,
) -> Result<Fetched, Failure> {
    let status = response.status();
    let mut body = response.into_body();
    let (mut bytes, mut hasher) = (0, Hasher::new());
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(Failure::new)?.into_data() else { continue };
        hasher.update(&chunk);
        bytes += chunk.len() as u64;
        progress.received(chunk.len());
        if let Some(download) = &mut download {
            let written = download.write(&chunk).await;
            written.map_err(|error| Failure::with_file("write", download.path(), &error))?;
        }
    }
    Ok(Fetched { status, bytes, sha256: hasher.finish() })
}
