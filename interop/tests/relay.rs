//! `interop relay` as a process, between two real network namespaces. Needs root.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::interop;
use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

const SERVER: &str = "193.167.100.100:4433";
const SERVER_IPV6: &str = "[fd00:cafe:cafe:100::100]:4433";
const CLIENT: &str = "193.167.0.100";
const ROUND_TRIP: Duration = Duration::from_millis(30);

/// A running relay and what it writes.
struct Relay {
    child: Child,
    /// The first line that it printed.
    ready: String,
    name: String,
    logs: TempDir,
}

impl Relay {
    fn start(name: &str, scenario: &str) -> Self {
        let name = format!("{name}{}", std::process::id());
        let mut relay = Self::spawn(&["--name", &name], scenario);
        assert!(relay.ready.starts_with("ready"), "root and network namespaces are needed");
        relay.name = name;
        relay
    }

    fn spawn(options: &[&str], scenario: &str) -> Self {
        let logs = TempDir::new().unwrap();
        let mut command = interop(&["relay", "--log-dir"]);
        command.arg(logs.path()).args(options).args(scenario.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        Self { child, ready, name: String::new(), logs }
    }

    /// A socket in the namespace of one side, which gives up after a second.
    fn socket(&self, side: &str, address: &str) -> UdpSocket {
        let namespace = File::open(format!("/run/netns/{}-{side}", self.name)).unwrap();
        let inside = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            UdpSocket::bind(address).unwrap()
        };
        let socket = std::thread::scope(|scope| scope.spawn(inside).join().unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket
    }

    fn interrupt(&mut self) {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    fn log(&self) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.logs.path().join("relay.json")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn capture(&self, side: &str) -> Vec<u8> {
        std::fs::read(self.logs.path().join(format!("trace_node_{side}.pcap"))).unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.interrupt();
        }
    }
}

/// Sends to the server, which answers to where it came from. Returns that, and how long it took.
fn echo(client: &UdpSocket, server: &UdpSocket, to: &str) -> Option<(SocketAddr, Duration)> {
    let mut buffer = [0; 2000];
    let start = Instant::now();
    client.send_to(b"question", to).unwrap();
    let (length, from) = server.recv_from(&mut buffer).ok()?;
    assert_eq!(&buffer[..length], b"question");
    server.send_to(b"the answer", from).unwrap();
    let (length, _) = client.recv_from(&mut buffer).ok()?;
    assert_eq!(&buffer[..length], b"the answer");
    Some((from, start.elapsed()))
}

#[test]
fn datagrams_of_both_families_take_their_time_and_nothing_is_left_behind() {
    let mut relay = Relay::start("r", "simple-p2p --delay=15ms --bandwidth=10Mbps --queue=25");
    for (any, to) in [("0.0.0.0", SERVER), ("[::]", SERVER_IPV6)] {
        let server = relay.socket("server", &format!("{any}:4433"));
        let client = relay.socket("client", &format!("{any}:0"));
        let (from, round_trip) = echo(&client, &server, to).expect("nothing is lost");
        assert!(round_trip >= ROUND_TRIP, "{round_trip:?}");
        assert_eq!(from.port(), client.local_addr().unwrap().port());
    }
    relay.interrupt();

    for capture in [relay.capture("left"), relay.capture("right")] {
        for text in [&b"question"[..], b"the answer"] {
            let found = capture.windows(text.len()).filter(|window| *window == text).count();
            assert_eq!(found, 2, "one of each family");
        }
    }
    let end = relay.log().pop().unwrap();
    assert_eq!((&end["event"], &end["lost"]), (&"end".into(), &0.into()), "{end}");
    for place in ["/run/netns", "/etc/netns"] {
        for side in ["client", "server"] {
            let left_behind = Path::new(place).join(format!("{}-{side}", relay.name));
            assert!(!left_behind.exists(), "{}", left_behind.display());
        }
    }
}

#[test]
fn a_rebind_of_the_address_is_seen_by_the_server_alone() {
    let scenario = "rebind --delay=15ms --bandwidth=10Mbps --queue=25 --first-rebind=200ms \
                    --rebind-freq=200ms --rebind-addr";
    let mut relay = Relay::start("b", scenario);
    let server = relay.socket("server", "0.0.0.0:4433");
    let client = relay.socket("client", "0.0.0.0:0");
    let mut places = std::collections::HashSet::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while places.len() < 3 {
        assert!(Instant::now() < deadline, "only {places:?}");
        // An answer to a mapping that is forgotten is lost.
        if let Some((from, _)) = echo(&client, &server, SERVER) {
            places.insert(from);
        }
    }
    let elsewhere = places.iter().filter(|place| place.ip().to_string() != CLIENT);
    assert!(elsewhere.count() >= 2, "{places:?}");
    relay.interrupt();
    assert!(relay.log().iter().any(|line| line["event"] == "rebind"));
}

#[test]
fn without_root_datagrams_go_through_the_same_network() {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket
    };
    let [server, client] = [socket(), socket()];
    let server_address = server.local_addr().unwrap().to_string();
    let options = ["--listen", "127.0.0.1:0", "--server", &server_address];
    let scenario = "rebind --delay=15ms --bandwidth=10Mbps --queue=25 --first-rebind=200ms \
                    --rebind-addr";
    let mut relay = Relay::spawn(&options, scenario);
    let front = relay.ready.trim().rsplit(' ').next().unwrap().to_owned();
    let mut places = std::collections::HashSet::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !places.iter().any(|place: &SocketAddr| place.ip().to_string() != "127.0.0.1") {
        assert!(Instant::now() < deadline, "only {places:?}");
        if let Some((from, round_trip)) = echo(&client, &server, &front) {
            assert!(round_trip >= ROUND_TRIP, "{round_trip:?}");
            places.insert(from);
        }
    }
    relay.interrupt();
    assert!(!relay.capture("right").is_empty());
}

#[test]
fn what_is_no_scenario_is_refused_before_anything_is_made() {
    let output = interop(&["relay", "--name", "none", "pigeons"]).output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("'pigeons' is no scenario"), "{error}");
    assert!(!Path::new("/run/netns/none-client").exists());
}
