//! Two connections joined by nothing but function calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

use super::{Connection, ConnectionEvent, ConnectionSetup, Role};
use crate::buffer::Train;
use crate::cid::Generator;
use crate::config::TransportConfig;
use crate::crypto::{ResetKey, client_config, server_config};
use crate::error::ConnectionError;
use crate::path::{AddressProof, DatagramMeta};
use crate::stream::{Read, StreamEvent};
use crate::util::Rng;
use crate::wire::header::Header;
use crate::wire::{ConnectionId, Dir, PacketNumber, PacketType, SpaceId, Version};

mod adverse;

const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 1], 1000);
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 2], 443);

fn tls() -> (Arc<rustls::ClientConfig>, Arc<rustls::ServerConfig>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    (
        Arc::new(client_config(roots, &[b"test"]).unwrap()),
        Arc::new(server_config(vec![cert], key, &[b"test"]).unwrap()),
    )
}

/// A client and a server; each step moves all datagrams across and one millisecond on.
struct Two {
    now: Instant,
    client: Connection,
    server: Option<Connection>,
    server_tls: Arc<rustls::ServerConfig>,
    rng: Rng,
}

fn setup(rng: &mut Rng, role: Role, original_dcid: ConnectionId) -> ConnectionSetup {
    let generator = Generator::default();
    let remote: SocketAddr = match role {
        Role::Client { .. } => SERVER.into(),
        Role::Server { .. } => CLIENT.into(),
    };
    ConnectionSetup {
        role,
        version: Version::V1,
        versions: Arc::new([Version::V1]),
        original_dcid,
        local_cid: generator.generate(rng),
        remote,
        socket: crate::path::SocketId::FIRST,
        local_ip: None,
        config: Arc::new(TransportConfig::default()),
        cid_generator: generator,
        reset_key: Arc::new(ResetKey::new(&rng.array())),
        rng: rng.fork(),
    }
}

impl Two {
    fn new() -> Self {
        let (client_tls, server_tls) = tls();
        let mut rng = Rng::from_seed([1; 32]);
        let now = Instant::now();
        let dcid = ConnectionId::new(&rng.array::<8>()).unwrap();
        let server_name = ServerName::try_from("localhost").unwrap();
        let role = Role::Client { tls: client_tls, server_name, token: Bytes::new() };
        let client = Connection::new(now, setup(&mut rng, role, dcid)).unwrap();
        Self { now, client, server: None, server_tls, rng }
    }

    fn step(&mut self) -> usize {
        let up = datagrams(&mut self.client, self.now);
        for datagram in &up {
            let now = self.now;
            let server = self.accept(datagram).expect("a client begins with an Initial packet");
            let meta = DatagramMeta::new(CLIENT.into());
            server.recv(now, &meta, Train::single(&mut datagram.clone()));
        }
        let down = self.server.as_mut().map_or(Vec::new(), |s| datagrams(s, self.now));
        for datagram in &down {
            let meta = DatagramMeta::new(SERVER.into());
            self.client.recv(self.now, &meta, Train::single(&mut datagram.clone()));
        }
        self.now += Duration::from_millis(1);
        self.client.handle_timeout(self.now);
        if let Some(server) = &mut self.server {
            server.handle_timeout(self.now);
        }
        up.len() + down.len()
    }

    /// The server, made by the first datagram that can make one.
    fn accept(&mut self, datagram: &[u8]) -> Option<&mut Connection> {
        if self.server.is_none() {
            let Ok(Header::Protected(header)) = Header::decode(datagram, 8) else { return None };
            if header.kind != PacketType::Initial {
                return None;
            }
            let peer_initial_scid = header.scid;
            let role = Role::Server {
                tls: self.server_tls.clone(),
                peer_initial_scid,
                proof: AddressProof::None,
                retry_source: None,
                preferred: crate::config::PreferredAddresses::default(),
            };
            let setup = setup(&mut self.rng, role, header.dcid);
            self.server = Some(Connection::new(self.now, setup).unwrap());
        }
        self.server.as_mut()
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }
}

fn datagrams(connection: &mut Connection, now: Instant) -> Vec<Vec<u8>> {
    let mut buf = Vec::new();
    let mut all = Vec::new();
    while let Some(transmit) = connection.poll_transmit(now, &mut buf, 10) {
        let size = transmit.segment_size.unwrap_or(transmit.len);
        all.extend(buf[..transmit.len].chunks(size).map(<[u8]>::to_vec));
    }
    all
}

fn events(connection: &mut Connection) -> Vec<ConnectionEvent> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

// req-test 9114-3.2-009, 9114-3.2-010
#[test]
fn a_handshake_completes_and_is_confirmed_on_both_sides() {
    let mut two = Two::new();
    two.run(5);
    let server = two.server.as_mut().unwrap();
    assert!(two.client.is_confirmed(), "{:?}", two.client.close_reason());
    assert!(server.is_confirmed());
    assert_eq!(two.client.handshake_data().alpn.as_deref(), Some(&b"test"[..]));
    assert_eq!(server.handshake_data().server_name.as_deref(), Some("localhost"));
    assert!(events(&mut two.client).contains(&ConnectionEvent::Connected));
    assert!(events(server).contains(&ConnectionEvent::HandshakeConfirmed));
}

#[test]
fn an_idle_connection_falls_silent() {
    let mut two = Two::new();
    two.run(200);
    let packets: usize = (0..500).map(|_| two.step()).sum();
    assert_eq!(packets, 0);
}

#[test]
fn a_megabyte_arrives_in_order_and_is_acknowledged() {
    let mut two = Two::new();
    two.run(5);
    let id = two.client.streams().open(Dir::Bi).unwrap();
    let data: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
    let mut rest = Bytes::from(data.clone());
    let mut received = Vec::new();
    let mut finished = false;
    for _ in 0..10_000 {
        if !rest.is_empty() {
            if let Ok(n) = two.client.streams().write(id, rest.clone()) {
                bytes::Buf::advance(&mut rest, n);
            }
            if rest.is_empty() {
                two.client.streams().finish(id).unwrap();
            }
        }
        two.step();
        let server = two.server.as_mut().unwrap();
        while server.streams().accept(Dir::Bi).is_some() {}
        loop {
            match server.streams().read(id) {
                Ok(Read::Chunk(chunk)) => {
                    received.extend_from_slice(&chunk);
                    server.streams().release_credit(id, chunk.len() as u64);
                }
                Ok(Read::Finished) => {
                    finished = true;
                    break;
                }
                _ => break,
            }
        }
        if finished {
            break;
        }
    }
    assert!(finished, "{} of {} bytes", received.len(), data.len());
    assert!(received == data);
    two.run(50);
    let delivered = events(&mut two.client).into_iter().any(|event| {
        matches!(event, ConnectionEvent::Stream(StreamEvent::SendClosed { id: closed, .. }) if closed == id)
    });
    assert!(delivered);
}

// req-test 9000-12.3-286
#[test]
fn a_connection_without_packet_numbers_ends_without_a_word() {
    let mut two = Two::new();
    two.run(200);
    two.client.recovery.jump_to(SpaceId::Data, PacketNumber::MAX.into_inner() + 1);
    two.client.ping();
    assert_eq!(datagrams(&mut two.client, two.now), Vec::<Vec<u8>>::new());
    assert_eq!(two.client.close_reason(), Some(&ConnectionError::PacketNumbersExhausted));
    assert!(two.client.is_drained());
    let server = two.server.as_mut().unwrap();
    server.ping();
    assert!(two.step() > 0);
    assert_eq!(datagrams(&mut two.client, two.now), Vec::<Vec<u8>>::new());
}

#[test]
fn closing_tells_the_peer_code_and_reason() {
    let mut two = Two::new();
    two.run(5);
    two.client.close(two.now, 7u32.into(), Bytes::from_static(b"enough"));
    two.step();
    let server = two.server.as_mut().unwrap();
    let reason = server.close_reason().expect("closed").to_string();
    assert!(reason.contains("enough"), "{reason}");
    two.run(5_000);
    assert!(two.client.is_drained() && two.server.as_ref().unwrap().is_drained());
}

#[test]
fn a_train_is_never_longer_than_what_the_kernel_takes_at_once() {
    let mut two = Two::new();
    two.run(5);
    let id = two.client.streams().open(Dir::Uni).unwrap();
    let mut largest = 0;
    for _ in 0..200 {
        let _ = two.client.streams().write(id, Bytes::from(vec![0; 100_000]));
        let mut buf = Vec::new();
        while let Some(transmit) = two.client.poll_transmit(two.now, &mut buf, 64) {
            largest = largest.max(transmit.len);
            let size = transmit.segment_size.unwrap_or(transmit.len);
            for datagram in buf[..transmit.len].chunks(size) {
                let meta = DatagramMeta::new(CLIENT.into());
                let server = two.server.as_mut().unwrap();
                server.recv(two.now, &meta, Train::single(&mut datagram.to_vec()));
            }
        }
        two.step();
        let server = two.server.as_mut().unwrap();
        while server.streams().accept(Dir::Uni).is_some() {}
        while let Ok(Read::Chunk(chunk)) = server.streams().read(id) {
            server.streams().release_credit(id, chunk.len() as u64);
        }
    }
    assert!((50_000..=65_507).contains(&largest), "{largest}");
}

// req-test 9000-19.7-444
#[test]
fn a_client_gives_no_tokens() {
    let mut two = Two::new();
    two.run(20);
    two.client.give_token(Bytes::from_static(b"token"));
    assert!(!two.client.has_data_frames());
    let server = two.server.as_mut().unwrap();
    server.give_token(Bytes::from_static(b"token"));
    assert!(server.has_data_frames());
}
