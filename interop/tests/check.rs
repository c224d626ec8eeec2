//! A real connection of the program is captured, taken apart and judged by the program.

mod common;

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use common::{Server, Site, bytes, interop, lines};

/// Carries datagrams between a client and a server, and writes down each one.
struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tap {
    fn to(server: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(file_header()));
        let is_over = Arc::new(AtomicBool::new(false));
        let client = Arc::new(Mutex::new(None));
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        }
        let carry = |from: &Arc<UdpSocket>, to: &Arc<UdpSocket>, to_server: bool| {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let (seen, is_over) = (Arc::clone(&seen), Arc::clone(&is_over));
            let client = Arc::clone(&client);
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while !is_over.load(Ordering::Relaxed) {
                    let Ok((len, source)) = from.recv_from(&mut buffer) else { continue };
                    let payload = &buffer[..len];
                    let mut client = client.lock().unwrap();
                    // An end that is gone answers with an error, which is none of the tap's.
                    if to_server {
                        *client = Some(source);
                        record(&seen, source, server, payload);
                        let _ = to.send(payload);
                    } else if let Some(client) = *client {
                        record(&seen, server, client, payload);
                        let _ = to.send_to(payload, client);
                    }
                }
            })
        };
        let threads = vec![carry(&front, &back, true), carry(&back, &front, false)];
        Self { address, seen, is_over, threads }
    }

    /// What was carried, as a capture.
    fn end(self) -> Vec<u8> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.seen.lock().unwrap().clone()
    }
}

fn file_header() -> Vec<u8> {
    [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65535, 101].map(u32::to_le_bytes).concat()
}

fn record(seen: &Mutex<Vec<u8>>, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (source, destination) else {
        panic!("all is IPv4 here");
    };
    let packet = packet(source, destination, payload);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let len = packet.len() as u32;
    let header = [now.as_secs() as u32, now.subsec_micros(), len, len].map(u32::to_le_bytes);
    let mut seen = seen.lock().unwrap();
    seen.extend(header.concat());
    seen.extend(packet);
}

fn packet(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let udp_len = 8 + payload.len() as u16;
    let [high, low] = (20 + udp_len).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    let header = [source.port(), destination.port(), udp_len, 0];
    packet.extend(header.map(u16::to_be_bytes).concat());
    packet.extend(payload);
    packet
}

/// Fetches `files` through a tap; leaves the folder of a run below the site.
fn run(site: &Site, files: &[(&str, usize)]) -> io::Result<()> {
    for folder in ["client/downloads", "server", "sim"] {
        std::fs::create_dir_all(site.path(folder))?;
    }
    files.iter().for_each(|(name, len)| site.file(name, &bytes(*len)));
    let server = Server::start(site, &[]);
    let tap = Tap::to(server.address.parse().unwrap());
    let mut get = interop(&["get"]);
    get.args(files.iter().map(|(name, _)| format!("https://{}/{name}", tap.address)));
    get.arg("--cacert").arg(&server.certificate);
    get.arg("--output").arg(site.path("client/downloads"));
    get.env("SSLKEYLOGFILE", site.path("client/keys.log"));
    let output = get.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let capture = tap.end();
    std::fs::write(site.path("sim/trace_node_left.pcap"), &capture)?;
    std::fs::write(site.path("sim/trace_node_right.pcap"), &capture)?;
    std::fs::rename(site.path("www"), site.path("server/www"))
}

fn check(case: &str, run: &Path) -> Output {
    interop(&["check", case]).arg(run).output().unwrap()
}

#[test]
fn a_real_connection_is_read_to_the_last_packet_and_judged() {
    let site = Site::new();
    run(&site, &[("small", 5_000), ("large", 500_000)]).unwrap();

    let mut dissect = interop(&["dissect"]);
    dissect.arg(site.path("sim/trace_node_left.pcap"));
    dissect.arg("--keys").arg(site.path("client/keys.log"));
    let packets = lines(&dissect.output().unwrap());
    let unread = packets.iter().find(|line| line.contains("not opened") || line.contains("MALF"));
    assert_eq!(unread, None);
    assert!(packets[0].contains("client") && packets[0].contains("CRYPTO(0+"), "{}", packets[0]);
    assert!(packets.iter().any(|line| line.contains("server") && line.contains("HANDSHAKE_DONE")));

    // The folder of the site is that of the run.
    let folder = site.path("");
    let success = check("http3", &folder);
    assert!(success.status.success(), "{}", lines(&success)[0]);
    assert_eq!(lines(&success), ["http3: succeeded: 1 handshake; version 1; 2 files"]);
    let failure = check("rebind-port", &folder);
    assert_eq!(failure.status.code(), Some(1));
    assert_eq!(lines(&failure), ["rebind-port: failed: the server used a single path"]);
    std::fs::remove_file(site.path("client/keys.log")).unwrap();
    assert_eq!(check("keyupdate", &folder).status.code(), Some(127));
}
