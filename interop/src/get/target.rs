//! What is to be fetched, from where, and into which file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use http::Uri;

use crate::failure::Failure;

/// The port of https.
const DEFAULT_PORT: u16 = 443;
/// The name of a file whose URL names none.
const INDEX: &str = "index.html";

/// One URL.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    /// As it was given.
    pub(super) url: String,
    pub(super) uri: Uri,
    /// Where the body goes; nowhere by default.
    pub(super) file: Option<PathBuf>,
}

/// A server, with what is wanted of it.
#[derive(Debug, PartialEq)]
pub(super) struct Server {
    /// DNS name, or IP address without brackets.
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) targets: Vec<Target>,
}

/// Sorts URLs by server, in the order in which the servers are named first. With `output`, each
/// body gets a file: `output` itself if it is one URL and not a directory, a file in it otherwise.
pub(super) fn by_server(urls: Vec<String>, output: Option<&Path>) -> Result<Vec<Server>, Failure> {
    let mut files = Files::new(output, urls.len());
    let mut servers: Vec<Server> = Vec::new();
    for url in urls {
        let (name, port, uri) = parse(&url)?;
        let target = Target { file: files.next(&url, &uri)?, url, uri };
        match servers.iter_mut().find(|server| server.name == name && server.port == port) {
            Some(server) => server.targets.push(target),
            None => servers.push(Server { name, port, targets: vec![target] }),
        }
    }
    Ok(servers)
}

fn parse(url: &str) -> Result<(String, u16, Uri), Failure> {
    let failed = |why| Failure::new(format!("cannot get {url}: {why}"));
    let uri: Uri = url.parse().map_err(|_| failed("it is not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(failed("HTTP/3 is for https:// URLs"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| failed("no host"))?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Ok((name, uri.port_u16().unwrap_or(DEFAULT_PORT), uri))
}

/// Gives out file names.
struct Files<'a> {
    place: Place<'a>,
    given: HashSet<PathBuf>,
}

enum Place<'a> {
    Nowhere,
    File(&'a Path),
    Directory(&'a Path),
}

impl<'a> Files<'a> {
    fn new(output: Option<&'a Path>, count: usize) -> Self {
        let place = match output {
            None => Place::Nowhere,
            Some(path) if count > 1 || path.is_dir() || ends_with_slash(path) => {
                Place::Directory(path)
            }
            Some(path) => Place::File(path),
        };
        Self { place, given: HashSet::new() }
    }

    fn next(&mut self, url: &str, uri: &Uri) -> Result<Option<PathBuf>, Failure> {
        let file = match self.place {
            Place::Nowhere => return Ok(None),
            Place::File(file) => file.to_owned(),
            Place::Directory(directory) => directory.join(file_name(uri)),
        };
        if !self.given.insert(file.clone()) {
            let file = file.display();
            let text = format!("two URLs would be stored as {file}: get {url} on its own");
            return Err(Failure::new(text));
        }
        Ok(Some(file))
    }
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// The last segment of the path. It is not decoded, so that it is always one plain name.
fn file_name(uri: &Uri) -> &str {
    match uri.path().rsplit('/').next() {
        None | Some("" | "." | "..") => INDEX,
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| url.to_string()).collect()
    }

    #[test]
    fn urls_of_one_server_are_together_and_stay_as_given() {
        let given = ["https://LOCALHOST/a", "https://[::1]:4433/?q#f", "https://localhost:443/b"];
        let servers = by_server(urls(&given), None).unwrap();
        let names: Vec<_> = servers.iter().map(|s| (s.name.as_str(), s.port)).collect();
        assert_eq!(names, [("localhost", 443), ("::1", 4433)]);
        let of_first: Vec<_> = servers[0].targets.iter().map(|t| t.url.as_str()).collect();
        assert_eq!(of_first, ["https://LOCALHOST/a", "https://localhost:443/b"]);
        assert_eq!(servers[1].targets[0].url, given[1]);
    }

    #[test]
    fn what_is_not_https_is_refused() {
        for url in ["http://localhost/", "localhost/a", "/a", "https://", "https://a b/", ""] {
            assert!(by_server(urls(&[url]), None).is_err(), "{url}");
        }
    }

    #[test]
    fn one_url_goes_into_the_file_and_several_into_the_directory() {
        let scratch = tempfile::TempDir::new().unwrap();
        let file_of = |given: &[&str], output: &Path| {
            let mut servers = by_server(urls(given), Some(output)).unwrap();
            servers.remove(0).targets.remove(0).file.unwrap()
        };
        let new = scratch.path().join("new");
        assert_eq!(file_of(&["https://h/a"], &new), new);
        assert_eq!(file_of(&["https://h/a"], &scratch.path().join("new/")), new.join("a"));
        assert_eq!(file_of(&["https://h/a"], scratch.path()), scratch.path().join("a"));
        assert_eq!(file_of(&["https://h/d/%2f", "https://h/a"], &new), new.join("%2f"));
        assert_eq!(file_of(&["https://h/d/..", "https://h/a"], &new), new.join("index.html"));
        assert_eq!(file_of(&["https://h?q", "https://h/a"], &new), new.join("index.html"));
    }

    #[test]
    fn two_bodies_never_share_a_file() {
        let failure = by_server(urls(&["https://h/a/x", "https://h/b/x"]), Some(Path::new("d/")));
        assert!(failure.unwrap_err().to_string().contains("d/x"));
    }
}
