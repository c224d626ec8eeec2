//! What the tests of the program share: it, running, under a deadline.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

/// No program of a test lives longer than this.
const SECONDS: &str = "60";

/// The program with these arguments; it is killed if it takes far too long.
pub(crate) fn interop<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", SECONDS, env!("CARGO_BIN_EXE_interop")]);
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("QLOGDIR").env_remove("SSLKEYLOGFILE");
    command
}

/// A directory with a folder to serve.
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("www")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into the folder that is served.
    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path("www").join(name), content).unwrap();
    }
}

/// A running server, which is ended with the value.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// Its certificate.
    pub(crate) certificate: PathBuf,
}

impl Server {
    pub(crate) fn start(site: &Site, more: &[&str]) -> Self {
        Self::spawn(site, |command| command.args(more))
    }

    pub(crate) fn spawn(site: &Site, set_up: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let (www, certificate) = (site.path("www"), site.path("certificate.pem"));
        let mut command = interop(&[Path::new("serve"), &www]);
        command.args(["--listen", "127.0.0.1:0", "--write-cert"]).arg(&certificate);
        let mut child = set_up(&mut command).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").expect(&line).trim().to_owned();
        Self { child, stdout, address, certificate }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Fetches from this server, trusting it.
    pub(crate) fn get(&self, paths: &[&str], more: &[&str]) -> Output {
        let mut command = interop(&["get"]);
        command.args(paths.iter().map(|path| self.url(path)));
        command.arg("--cacert").arg(&self.certificate).args(more);
        command.output().unwrap()
    }

    /// Asks the server to end, and returns how it did.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        self.signal();
        self.child.wait().unwrap()
    }

    /// `timeout` hands the signal on to the server.
    fn signal(&self) {
        // Each shell has `kill`; not each system has it as a program.
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

/// Standard output as lines.
pub(crate) fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(String::from).collect()
}

/// The one line that a failed program wrote to standard error.
pub(crate) fn failure(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success(), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// The SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes in which nothing repeats soon.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0u32..).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()).take(length).collect()
}
