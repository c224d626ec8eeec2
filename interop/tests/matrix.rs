//! `interop matrix` as a process: real endpoints, real namespaces. Needs root.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::interop;
use serde_json::Value;
use tempfile::TempDir;

/// A folder of implementations: ours, and what a test adds.
struct Peers {
    directory: TempDir,
}

impl Peers {
    fn new() -> Self {
        let peers = Self { directory: TempDir::new().unwrap() };
        peers.add("ours", "exec \"$INTEROP\" endpoint");
        peers
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds an implementation that is a shell script.
    fn add(&self, name: &str, script: &str) {
        let folder = self.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        for (file, content) in [("run", script), ("version", "echo 7")] {
            let file = folder.join(file);
            std::fs::write(&file, format!("#!/bin/sh\n{content}\n")).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = interop(&["matrix", "--peers"]);
        command.arg(self.path()).arg("--log-dir").arg(self.logs()).arg("--json").arg(self.json());
        command.args(arguments);
        command
    }

    fn matrix(&self, arguments: &[&str]) -> (Output, Value) {
        let output = self.command(arguments).output().unwrap();
        let json = std::fs::read(self.json()).unwrap_or_else(|_| panic!("{output:?}"));
        (output, serde_json::from_slice(&json).unwrap())
    }

    fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    fn json(&self) -> PathBuf {
        self.path().join("results.json")
    }
}

/// Namespaces of a process of this id.
fn namespaces_of(id: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("q{id}x"))).collect()
}

#[test]
fn our_client_and_our_server_succeed_and_the_run_can_be_checked_again() {
    let peers = Peers::new();
    let (output, json) = peers.matrix(&["-t", "handshake", "--keep", "--strict"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("✓(H)"), "{text}");
    assert_eq!(json["clients"], serde_json::json!(["ours"]));
    assert_eq!(json["versions"]["ours"], "7");
    assert_eq!(json["results"][0][0]["result"], "succeeded");

    let run = peers.logs().join("ours_ours/handshake");
    let check = interop(&["check", "handshake", run.to_str().unwrap()]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    assert_eq!(std::fs::read_to_string(run.join("client/exit")).unwrap(), "exit status: 0\n");
}

#[test]
fn clients_fail_or_lack_a_case_or_are_left_out() {
    let peers = Peers::new();
    peers.add("failing", "[ \"$TESTCASE\" = handshake ] && exit 1; exit 127");
    peers.add("lazy", "exit 127");
    peers.add("careless", "exit 0");
    let (output, json) =
        peers.matrix(&["-c", "failing,lazy,careless", "-s", "ours", "-t", "H", "--jobs", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("careless as client is left out"), "{text}");
    assert_eq!(json["clients"], serde_json::json!(["failing", "lazy"]));
    let result = |client: usize| &json["results"][client][0]["result"];
    assert_eq!((result(0), result(1)), (&"failed".into(), &"unsupported".into()), "{text}");
    assert!(text.contains("failing → ours, handshake: failed: the client ended with"), "{text}");
}

#[test]
fn an_interrupted_matrix_leaves_nothing_behind() {
    let peers = Peers::new();
    // A server that does not answer is waited for.
    peers.add("silent", "case $TESTCASE in handshake) exec sleep 1000;; esac; exit 127");
    let mut command = peers.command(&["-c", "ours", "-s", "silent", "-t", "H"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let run = peers.logs().join("silent_ours/handshake/server/output.txt");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !run.exists() {
        assert!(Instant::now() < deadline, "the server was not started");
        std::thread::yield_now();
    }
    // `timeout` hands the signal on; the matrix is its only child.
    let id = child.id();
    let matrix = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    assert_eq!(namespaces_of(matrix.trim()).len(), 2);
    assert!(Command::new("sh").args(["-c", &format!("kill {id}")]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("interrupted"), "{error}");
    assert_eq!(namespaces_of(matrix.trim()), Vec::<String>::new());
}

#[test]
fn unknown_names_are_refused_with_those_that_there_are() {
    let peers = Peers::new();
    for (arguments, reason) in
        [(["-c", "theirs"], "there is no 'theirs'; there are ours"), (["-t", "X"], "no case X")]
    {
        let output = peers.command(&arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(reason), "{error}");
    }
}
