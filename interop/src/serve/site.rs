//! What the server answers: files of one directory, and an echo.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

use super::path::file_segments;
use crate::failure::Failure;
use crate::file_body::FileBody;

/// The body of an answer.
pub(crate) type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// Where bodies are echoed.
const ECHO_PATH: &str = "/echo";
const INDEX: &str = "index.html";

/// A directory that is served.
pub(crate) struct Site {
    /// Without symbolic links, so that what is below it can be told.
    root: PathBuf,
    echo: Echo,
}

/// Whether POST /echo is answered with the body of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    On,
    Off,
}

impl Site {
    pub(crate) fn new(directory: &Path, echo: Echo) -> Result<Self, Failure> {
        let failed = |error| Failure::with_file("serve", directory, &error);
        let root = directory.canonicalize().map_err(failed)?;
        if !root.is_dir() {
            let text = format!("cannot serve {}: it is not a directory", directory.display());
            return Err(Failure::new(text));
        }
        Ok(Self { root, echo })
    }

    /// Answers one request.
    pub(crate) async fn respond<B>(&self, request: Request<B>) -> Response<Answer>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if self.echo == Echo::On && head.uri.path() == ECHO_PATH {
            return match head.method {
                Method::POST => echo(&head.headers, body),
                _ => not_allowed("POST"),
            };
        }
        match head.method {
            Method::GET => self.file(head.uri.path()).await,
            Method::HEAD => self.file(head.uri.path()).await.map(|_| empty()),
            _ => not_allowed("GET, HEAD"),
        }
    }

    /// Opens the file that the path of a URL means.
    ///
    /// # Errors
    ///
    /// If there is no such file in the directory, or it cannot be read.
    pub(crate) async fn open(&self, path: &str) -> io::Result<FileBody> {
        self.find(path).await.map(|(body, _)| body)
    }

    async fn find(&self, path: &str) -> io::Result<(FileBody, HeaderValue)> {
        let segments = file_segments(path).ok_or(io::ErrorKind::NotFound)?;
        let root = self.root.clone();
        let opened = tokio::task::spawn_blocking(move || open(&root, segments));
        opened.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    async fn file(&self, path: &str) -> Response<Answer> {
        match self.find(path).await {
            Ok((body, content_type)) => {
                let mut response = Response::new(());
                let headers = response.headers_mut();
                headers.insert(CONTENT_LENGTH, body.left().into());
                headers.insert(CONTENT_TYPE, content_type);
                response.map(|()| body.boxed_unsync())
            }
            Err(error) => status(match error.kind() {
                io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
                _ => StatusCode::NOT_FOUND,
            }),
        }
    }
}

/// Opens the file that is meant, if it is in `root` also when symbolic links are followed.
fn open(root: &Path, segments: PathBuf) -> io::Result<(FileBody, HeaderValue)> {
    let mut file = root.join(segments).canonicalize()?;
    if file.is_dir() {
        file = file.join(INDEX).canonicalize()?;
    }
    if !file.starts_with(root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((FileBody::open(&file)?, content_type(&file)))
}

/// The media type that the extension of a file stands for.
fn content_type(file: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(file).first_raw();
    HeaderValue::from_static(match guess {
        // The standard lets a page say in itself how it is encoded, and few do.
        Some("text/html") => "text/html; charset=utf-8",
        Some("text/plain") => "text/plain; charset=utf-8",
        Some(other) => other,
        None => "application/octet-stream",
    })
}

/// The body of the request as answer, while it comes in.
fn echo<B>(headers: &http::HeaderMap, body: B) -> Response<Answer>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = Response::new(body.map_err(io::Error::other).boxed_unsync());
    for name in [CONTENT_LENGTH, CONTENT_TYPE] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn not_allowed(allowed: &'static str) -> Response<Answer> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// An answer that says its status to a person, too.
fn status(status: StatusCode) -> Response<Answer> {
    let text = format!("{status}\n");
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, text.len().into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.map(|()| Full::from(text).map_err(|never| match never {}).boxed_unsync())
}

fn empty() -> Answer {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const PAGE: &[u8] = b"<p>hello";

    /// A site with a page, and a secret beside it.
    fn site(echo: Echo) -> (TempDir, Site) {
        let scratch = TempDir::new().unwrap();
        let root = scratch.path().join("www");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/index.html"), PAGE).unwrap();
        std::fs::write(root.join("data"), b"\x00\x01").unwrap();
        std::fs::write(scratch.path().join("secret"), b"secret").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(scratch.path().join("secret"), root.join("link")).unwrap();
        let site = Site::new(&root, echo).unwrap();
        (scratch, site)
    }

    async fn ask(site: &Site, method: Method, path: &str, body: &'static [u8]) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).body(Full::from(body)).unwrap();
        let (head, body) = site.respond(request).await.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn a_file_comes_with_its_length_and_type() {
        let (_scratch, site) = site(Echo::Off);
        for path in ["/sub/index.html", "/sub/", "/sub", "/./sub/%69ndex.html"] {
            let response = ask(&site, Method::GET, path, b"").await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.body(), PAGE);
            assert_eq!(response.headers()[CONTENT_LENGTH], "8");
            assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        }
        let data = ask(&site, Method::GET, "/data", b"").await;
        assert_eq!(data.headers()[CONTENT_TYPE], "application/octet-stream");
    }

    #[tokio::test]
    async fn head_is_get_without_the_body() {
        let (_scratch, site) = site(Echo::Off);
        let response = ask(&site, Method::HEAD, "/data", b"").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        assert!(response.body().is_empty());
    }

    #[tokio::test]
    async fn what_is_not_in_the_directory_is_not_found() {
        let (_scratch, site) = site(Echo::Off);
        for path in ["/", "/no", "/data/", "/../secret", "/%2e%2e/secret", "/link", "/sub/no"] {
            let response = ask(&site, Method::GET, path, b"").await;
            // The slash at the end of a file's name is forgiven.
            let expected = if path == "/data/" { StatusCode::OK } else { StatusCode::NOT_FOUND };
            assert_eq!(response.status(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn other_methods_are_not_allowed() {
        let (_scratch, site) = site(Echo::On);
        for (method, path, allowed) in [
            (Method::PUT, "/data", "GET, HEAD"),
            (Method::POST, "/data", "GET, HEAD"),
            (Method::GET, "/echo", "POST"),
        ] {
            let response = ask(&site, method, path, b"").await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[ALLOW], allowed);
        }
    }

    #[tokio::test]
    async fn echo_is_there_only_if_it_was_asked_for() {
        let (_on, with_echo) = site(Echo::On);
        let response = ask(&with_echo, Method::POST, "/echo", b"abc").await;
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, &b"abc"[..]));
        let (_off, without) = site(Echo::Off);
        let response = ask(&without, Method::POST, "/echo", b"abc").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn only_a_directory_can_be_served() {
        let scratch = TempDir::new().unwrap();
        let file = scratch.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(Site::new(&file, Echo::Off).is_err());
        assert!(Site::new(&scratch.path().join("missing"), Echo::Off).is_err());
    }
}
