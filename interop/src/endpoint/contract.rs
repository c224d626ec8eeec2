//! What the environment asks for.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use http::Uri;

use super::case::Case;
use super::hq;
use crate::failure::Failure;

const DEFAULT_PORT: u16 = 443;

/// Everything that a run is told.
#[derive(Debug, PartialEq)]
pub(super) struct Contract {
    pub(super) role: Role,
    pub(super) case: Case,
    /// What to speak, the preferred one first.
    pub(super) protocols: Vec<Protocol>,
    /// What the client fetches. At least one, if the case has files at all.
    pub(super) requests: Vec<Request>,
    pub(super) www: PathBuf,
    pub(super) downloads: PathBuf,
    pub(super) certs: PathBuf,
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// An application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Hq,
    H3,
}

impl Protocol {
    /// Its name in TLS (ALPN).
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Hq => hq::ALPN,
            Self::H3 => h3_lite::ALPN,
        }
    }
}

/// A URL to fetch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) uri: Uri,
    /// DNS name, or IP address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The name of the file that it becomes: always one plain name.
    pub(super) file: String,
}

/// Why nothing is done.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// There is no such test case.
    Unsupported(String),
    /// The environment makes no sense.
    Invalid(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Invalid(failure)
    }
}

impl Contract {
    /// Reads the variables that `var` gives. The test case is looked at before anything else.
    pub(super) fn read(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, Refusal> {
        let text = |name| var(name).unwrap_or_default().to_string_lossy().into_owned();
        let folder = |name, default: &str| {
            var(name).filter(|value| !value.is_empty()).map_or(default.into(), PathBuf::from)
        };
        let name = text("TESTCASE");
        let case = Case::from_name(&name).ok_or(Refusal::Unsupported(name))?;
        let role = match text("ROLE").as_str() {
            "client" => Role::Client,
            "server" => Role::Server,
            _ => return Err(Failure::new("ROLE must be client or server").into()),
        };
        let requests = match role {
            Role::Client => requests(&text("REQUESTS"))?,
            Role::Server => Vec::new(),
        };
        if role == Role::Client && requests.is_empty() {
            return Err(Failure::new("REQUESTS names no URL").into());
        }
        Ok(Self {
            role,
            case,
            protocols: protocols(case, &text("ALPN"))?,
            requests,
            www: folder("WWW", "/www"),
            downloads: folder("DOWNLOADS", "/downloads"),
            certs: folder("CERTS", "/certs"),
            port: port(&text("PORT"))?,
        })
    }
}

/// The protocol of the test case, unless others are named.
fn protocols(case: Case, text: &str) -> Result<Vec<Protocol>, Failure> {
    let named = text.split_whitespace().map(|name| match name.as_bytes() {
        hq::ALPN => Ok(Protocol::Hq),
        h3_lite::ALPN => Ok(Protocol::H3),
        _ => Err(Failure::new(format!("ALPN names what is not spoken here: {name}"))),
    });
    let named: Vec<_> = named.collect::<Result<_, _>>()?;
    Ok(if named.is_empty() { vec![case.protocol()] } else { named })
}

fn port(text: &str) -> Result<u16, Failure> {
    match text {
        "" => Ok(DEFAULT_PORT),
        _ => text.parse().map_err(|_| Failure::new(format!("PORT is no port: {text}"))),
    }
}

/// The URLs of REQUESTS, which all go to one server and into files of different names.
fn requests(text: &str) -> Result<Vec<Request>, Failure> {
    let requests: Vec<_> = text.split_whitespace().map(request).collect::<Result<_, _>>()?;
    let mut names = HashSet::new();
    for Request { uri, host, port, file } in &requests {
        let first = &requests[0];
        if (host, port) != (&first.host, &first.port) {
            let text = format!("cannot fetch {uri}: it is of another server than {}", first.uri);
            return Err(Failure::new(text));
        }
        if !names.insert(file) {
            return Err(Failure::new(format!("cannot fetch {uri}: {file} is there already")));
        }
    }
    Ok(requests)
}

fn request(url: &str) -> Result<Request, Failure> {
    let failed = |why| Failure::new(format!("cannot fetch {url}: {why}"));
    let uri: Uri = url.parse().map_err(|_| failed("it is not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(failed("it is no https:// URL"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| failed("no host"))?;
    let port = match uri.authority().and_then(|all| all.as_str().strip_prefix(host)) {
        Some("") => Some(DEFAULT_PORT),
        rest => rest.and_then(|rest| rest.strip_prefix(':')?.parse().ok()),
    };
    let port = port.ok_or_else(|| failed("it has no proper port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    // Not decoded, so that no part of it can mean a folder.
    let file = match uri.path().rsplit('/').next() {
        None | Some("" | "." | "..") => return Err(failed("it names no file")),
        Some(name) => name.to_owned(),
    };
    Ok(Request { uri, host, port, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://server4:443/name";

    fn read(variables: &[(&str, &str)]) -> Result<Contract, Refusal> {
        Contract::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn client(requests: &str) -> Result<Vec<Request>, Refusal> {
        let variables = [("ROLE", "client"), ("TESTCASE", "transfer"), ("REQUESTS", requests)];
        read(&variables).map(|contract| contract.requests)
    }

    #[test]
    fn the_runners_folders_and_port_are_the_default() {
        let contract = read(&[("ROLE", "server"), ("TESTCASE", "handshake")]).unwrap();
        assert_eq!((contract.role, contract.case), (Role::Server, Case::Transfer));
        assert_eq!(contract.www, PathBuf::from("/www"));
        assert_eq!(contract.downloads, PathBuf::from("/downloads"));
        assert_eq!(contract.certs, PathBuf::from("/certs"));
        assert_eq!((contract.port, contract.requests), (443, Vec::new()));
    }

    #[test]
    fn folders_and_port_can_be_chosen() {
        let role = [("ROLE", "server"), ("TESTCASE", "transfer")];
        let place = [("WWW", "w"), ("DOWNLOADS", "d"), ("CERTS", "c"), ("PORT", "4433")];
        let contract = read(&[&role[..], &place].concat()).unwrap();
        assert_eq!(contract.www, PathBuf::from("w"));
        assert_eq!(contract.downloads, PathBuf::from("d"));
        assert_eq!(contract.certs, PathBuf::from("c"));
        assert_eq!(contract.port, 4433);
        let empty = [("WWW", ""), ("PORT", "")];
        let contract = read(&[&role[..], &empty].concat()).unwrap();
        assert_eq!((contract.www, contract.port), (PathBuf::from("/www"), 443));
    }

    #[test]
    fn the_case_says_what_is_spoken_unless_the_environment_does() {
        let spoken = |case, alpn| {
            let variables = [("ROLE", "server"), ("TESTCASE", case), ("ALPN", alpn)];
            read(&variables).unwrap().protocols
        };
        assert_eq!(spoken("transfer", ""), [Protocol::Hq]);
        assert_eq!(spoken("http3", ""), [Protocol::H3]);
        assert_eq!(spoken("transfer", "h3"), [Protocol::H3]);
        assert_eq!(spoken("http3", "hq-interop h3"), [Protocol::Hq, Protocol::H3]);
    }

    #[test]
    fn an_unknown_case_is_told_before_anything_else() {
        for variables in [
            &[("TESTCASE", "xyzzy")][..],
            &[("TESTCASE", "xyzzy"), ("ROLE", "client"), ("REQUESTS", "nonsense")],
            &[("TESTCASE", "xyzzy"), ("ROLE", "nobody"), ("PORT", "nowhere")],
        ] {
            assert_eq!(read(variables), Err(Refusal::Unsupported("xyzzy".into())));
        }
        assert_eq!(read(&[("ROLE", "server")]), Err(Refusal::Unsupported(String::new())));
    }

    #[test]
    fn an_environment_without_sense_is_refused() {
        let case = ("TESTCASE", "transfer");
        for variables in [
            &[case][..],
            &[case, ("ROLE", "Client")],
            &[case, ("ROLE", "client")],
            &[case, ("ROLE", "client"), ("REQUESTS", "  ")],
            &[case, ("ROLE", "server"), ("PORT", "65536")],
            &[case, ("ROLE", "server"), ("PORT", "-1")],
            &[case, ("ROLE", "server"), ("ALPN", "h2")],
        ] {
            assert!(matches!(read(variables), Err(Refusal::Invalid(_))), "{variables:?}");
        }
    }

    #[test]
    fn urls_are_separated_by_any_space() {
        let requests = client(" https://server4:443/a\thttps://server4/b\n").unwrap();
        let files: Vec<_> = requests.iter().map(|request| request.file.as_str()).collect();
        assert_eq!(files, ["a", "b"]);
        assert!(requests.iter().all(|request| (&*request.host, request.port) == ("server4", 443)));
    }

    #[test]
    fn an_address_in_a_url_loses_its_brackets() {
        let request = client("https://[::1]:4433/a").unwrap().remove(0);
        assert_eq!((&*request.host, request.port), ("::1", 4433));
    }

    #[test]
    fn the_last_component_is_the_name_of_the_file() {
        for (url, file) in [
            (URL, "name"),
            ("https://s/a/b/c", "c"),
            ("https://s/..%2f..%2fetc", "..%2f..%2fetc"),
            ("https://s/%2e%2e", "%2e%2e"),
            ("https://s/a?query", "a"),
            ("https://s/...", "..."),
        ] {
            let request = client(url).unwrap().remove(0);
            assert_eq!(request.file, file);
            let path = PathBuf::from("/downloads").join(&request.file);
            assert_eq!(path.parent(), Some("/downloads".as_ref()), "{url}");
        }
    }

    #[test]
    fn urls_without_a_file_name_and_what_is_no_url_are_refused() {
        for url in [
            "https://s",
            "https://s/",
            "https://s/a/",
            "https://s/a/..",
            "https://s/.",
            "http://s/a",
            "s/a",
            "https:///a",
            "https://s:99999/a",
            "https://user@s/a",
        ] {
            assert!(matches!(client(url), Err(Refusal::Invalid(_))), "{url}");
        }
    }

    #[test]
    fn one_server_and_no_name_twice() {
        assert!(client("https://s/a https://t/b").is_err());
        assert!(client("https://s/a https://s:444/b").is_err());
        assert!(client("https://s/x/a https://s/y/a").is_err());
    }
}
