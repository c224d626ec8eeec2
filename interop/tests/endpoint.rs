//! `interop endpoint` as a process: its exit status, and files from one side to the other.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use common::{bytes, interop};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// What the runner makes for a test.
struct Stage {
    directory: TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        for folder in ["www", "downloads", "certs"] {
            std::fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let stage = Self { directory };
        stage.make_certificates();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A root, and a leaf for this machine.
    fn make_certificates(&self) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(self.path("certs/ca.pem"), root.pem()).unwrap();
        std::fs::write(self.path("certs/cert.pem"), leaf.pem()).unwrap();
        std::fs::write(self.path("certs/priv.key"), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path("www").join(name), content).unwrap();
    }

    fn downloaded(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path("downloads").join(name)).unwrap()
    }

    fn downloads(&self) -> Vec<String> {
        names(&self.path("downloads"))
    }

    fn endpoint(&self, role: &str, case: &str) -> Command {
        let mut command = interop(&["endpoint"]);
        command.env("ROLE", role).env("TESTCASE", case).env("PORT", "0");
        command.env("WWW", self.path("www")).env("DOWNLOADS", self.path("downloads"));
        command.env("CERTS", self.path("certs"));
        command.env("QLOGDIR", self.path(&format!("{role} qlog")));
        command.env("SSLKEYLOGFILE", self.path(&format!("{role} keys")));
        command
    }

    fn client(&self, case: &str, server: &Server, names: &[&str]) -> Output {
        let urls: Vec<_> =
            names.iter().map(|name| format!("https://localhost:{}/{name}", server.port)).collect();
        self.endpoint("client", case).env("REQUESTS", urls.join(" ")).output().unwrap()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running server, which is ended with the value.
struct Server {
    child: Child,
    stderr: BufReader<ChildStderr>,
    port: u16,
}

impl Server {
    fn start(stage: &Stage, case: &str) -> Self {
        let mut child = stage.endpoint("server", case).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let (_, port) = line.trim().rsplit_once(':').expect(&line);
        Self { child, port: port.parse().expect(&line), stderr }
    }

    /// Asks it to end, and returns what else it had to say.
    fn terminate(mut self) -> String {
        self.signal();
        assert!(self.child.wait().unwrap().success());
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        rest
    }

    fn signal(&self) {
        let kill = format!("kill {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn an_unknown_case_is_unsupported_before_anything_else() {
    let stage = Stage::new();
    for role in ["client", "server", "nonsense"] {
        let mut command = stage.endpoint(role, "qzxwvtplm");
        command.env("CERTS", "/nowhere").env("WWW", "/nowhere").env("PORT", "nonsense");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(127), "{role}");
        assert_eq!(text(&output), "interop: test case \"qzxwvtplm\" is not supported\n");
        assert!(!stage.path(&format!("{role} qlog")).exists());
    }
}

#[test]
fn an_environment_without_sense_is_a_failure() {
    let stage = Stage::new();
    let client = stage.endpoint("client", "transfer").output().unwrap();
    assert_eq!(client.status.code(), Some(1));
    assert!(text(&client).contains("REQUESTS"), "{}", text(&client));
    let server = stage.endpoint("server", "transfer").env("CERTS", "/nowhere").output().unwrap();
    assert_eq!(server.status.code(), Some(1));
    assert!(text(&server).contains("cannot read /nowhere/"), "{}", text(&server));
    let role = stage.endpoint("both", "transfer").output().unwrap();
    assert_eq!(role.status.code(), Some(1));
}

#[test]
fn a_case_can_be_asked_for_without_running_it() {
    let stage = Stage::new();
    for (case, status) in [("transfer", 0), ("http3", 0), ("qzxwvtplm", 127), ("", 127)] {
        let mut check = stage.endpoint("server", case);
        let output = check.arg("--check").env("CERTS", "/nowhere").output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{case}");
    }
}

#[test]
fn files_come_over_one_connection_and_leave_their_traces() {
    let stage = Stage::new();
    let sizes = [0, 1, 65_536, 3 << 20];
    let files: Vec<_> = sizes.iter().map(usize::to_string).collect();
    for size in sizes {
        stage.file(&size.to_string(), &bytes(size));
    }
    let server = Server::start(&stage, "transfer");
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let output = stage.client("transfer", &server, &files);
    assert!(output.status.success(), "{}", text(&output));
    for size in sizes {
        assert_eq!(stage.downloaded(&size.to_string()), bytes(size), "{size}");
    }
    assert_eq!(stage.downloads().len(), sizes.len());
    assert_eq!(server.terminate().lines().count(), 1, "one line for the connection");
    for role in ["client", "server"] {
        assert_eq!(names(&stage.path(&format!("{role} qlog"))).len(), 1);
        let keys = std::fs::read_to_string(stage.path(&format!("{role} keys"))).unwrap();
        for label in [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET ",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET ",
            "CLIENT_TRAFFIC_SECRET_0 ",
            "SERVER_TRAFFIC_SECRET_0 ",
        ] {
            assert_eq!(keys.lines().filter(|line| line.starts_with(label)).count(), 1, "{role}");
        }
    }
}

#[test]
fn http3_is_spoken_where_it_is_asked_for() {
    let stage = Stage::new();
    let sizes = [5 << 10, 10 << 10, 500 << 10];
    for size in sizes {
        stage.file(&size.to_string(), &bytes(size));
    }
    let files = sizes.map(|size| size.to_string());
    let server = Server::start(&stage, "http3");
    let output = stage.client("http3", &server, &files.each_ref().map(String::as_str));
    assert!(output.status.success(), "{}", text(&output));
    for size in sizes {
        assert_eq!(stage.downloaded(&size.to_string()), bytes(size), "{size}");
    }
    let output = stage.client("transfer", &server, &["5120"]);
    assert_eq!(output.status.code(), Some(1), "a server of HTTP/3 has no HTTP/0.9");
}

#[test]
fn far_more_requests_than_streams_are_answered_over_one_connection() {
    let stage = Stage::new();
    let files: Vec<_> = (0..1999).map(|n| format!("{n:0>8}")).collect();
    for file in &files {
        stage.file(file, file.repeat(4).as_bytes());
    }
    let server = Server::start(&stage, "transfer");
    let names: Vec<_> = files.iter().map(String::as_str).collect();
    let output = stage.client("transfer", &server, &names);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(stage.downloads(), files);
    assert!(files.iter().all(|file| stage.downloaded(file) == file.repeat(4).as_bytes()));
    assert_eq!(server.terminate().lines().count(), 1);
}

#[test]
fn each_file_has_a_connection_of_its_own_where_that_is_the_case() {
    let stage = Stage::new();
    let files: Vec<_> = (0..50).map(|n| format!("file-{n:0>2}")).collect();
    for file in &files {
        stage.file(file, &bytes(1024));
    }
    let server = Server::start(&stage, "multiconnect");
    let names: Vec<_> = files.iter().map(String::as_str).collect();
    let output = stage.client("multiconnect", &server, &names);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(stage.downloads(), files);
    assert_eq!(server.terminate().lines().count(), 50);
}

#[test]
fn cases_of_the_handshake_fetch_their_files() {
    for (case, connections, traces) in [
        ("retry", 1, &[r#""packet_type":"retry""#][..]),
        ("chacha20", 1, &[]),
        ("resumption", 2, &[]),
        ("zerortt", 2, &[]),
        ("v2", 1, &["6b3343cf"]),
        ("keyupdate", 1, &["key_updated"]),
        ("connectionmigration", 1, &[]),
    ] {
        let stage = Stage::new();
        for file in ["a", "b", "c"] {
            stage.file(file, &bytes(10_000));
        }
        let server = Server::start(&stage, case);
        let output = stage.client(case, &server, &["a", "b", "c"]);
        assert!(output.status.success(), "{case}: {}", text(&output));
        assert_eq!(stage.downloads(), ["a", "b", "c"], "{case}");
        let said = server.terminate();
        let connected = said.lines().filter(|line| line.ends_with("connected")).count();
        assert_eq!(connected, connections, "{case}: {said}");
        let qlogs = stage.path("client qlog");
        let logs = names(&qlogs);
        assert_eq!(logs.len(), connections, "{case}");
        let read = |name| std::fs::read_to_string(qlogs.join(name)).unwrap();
        let qlog: String = logs.iter().map(read).collect();
        for trace in traces {
            assert!(qlog.contains(trace), "{case}: no {trace} in {qlog}");
        }
        let log = text(&output);
        assert_eq!(log.contains("resumed"), case == "resumption", "{log}");
        assert_eq!(log.contains("not yet complete"), case == "zerortt", "{log}");
    }
}

#[test]
fn a_file_that_is_missing_fails_the_client_and_no_other_file() {
    let stage = Stage::new();
    stage.file("there", b"content");
    std::fs::write(stage.path("secret"), b"secret").unwrap();
    for case in ["transfer", "http3"] {
        let server = Server::start(&stage, case);
        for missing in ["missing", "..%2fsecret", "x/..%2f..%2fsecret", "%2e%2e%2fsecret"] {
            let output = stage.client(case, &server, &["there", missing]);
            assert_eq!(output.status.code(), Some(1), "{missing}: {}", text(&output));
            assert!(text(&output).contains("404"), "{missing}: {}", text(&output));
            assert_eq!(stage.downloads(), ["there"], "{missing}");
        }
    }
}

#[test]
fn versions_are_named_to_those_who_ask_for_another() {
    let stage = Stage::new();
    let server = Server::start(&stage, "versionnegotiation");
    let output = stage.client("versionnegotiation", &server, &["unused"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_client_that_is_told_to_end_fails() {
    let stage = Stage::new();
    // A socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/name", silent.local_addr().unwrap());
    let mut client = stage.endpoint("client", "transfer");
    let child = client.env("REQUESTS", url).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1200];
    silent.recv(&mut first).unwrap();
    let kill = format!("kill {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output), "interop: ended by a signal\n");
    assert_eq!(names(&stage.path("client qlog")).len(), 1);
}
