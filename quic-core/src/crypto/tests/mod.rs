//! Two sides that talk TLS to each other in memory, and what the tests of this module share.

mod handshake;
mod key_update;
mod packets;
mod vectors;
mod vectors_v2;

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::config::{client_config_with, provider, server_config_with};
use super::{Keyring, Session, TAG_LEN};
use crate::error::TransportError;
use crate::wire::header::{Header, ShortHeader};
use crate::wire::{ConnectionId, PacketNumber, Side, SpaceId, Truncated, Version, Writer};

const NAME: &str = "server.example";
/// Stands for encoded transport parameters; to TLS they are any bytes.
const CLIENT_PARAMS: &[u8] = b"parameters of the client";
const SERVER_PARAMS: &[u8] = b"parameters of the server";

/// One side: TLS, keys, and what is to be sent at each level.
struct Peer {
    session: Session,
    keys: Keyring,
    outbox: [Vec<u8>; 3],
}

impl Peer {
    fn new(session: Session) -> Self {
        let dcid = ConnectionId::new(b"\x83\x94\xc8\xf0").unwrap();
        let keys = Keyring::new(Version::V1, &dcid, session.side());
        let mut this = Self { session, keys, outbox: Default::default() };
        this.collect();
        this
    }

    /// Takes from TLS what it has to say, and its keys.
    fn collect(&mut self) {
        loop {
            let level = self.session.write_level();
            let mut out = Vec::new();
            let change = self.session.write(&mut out);
            let is_done = out.is_empty() && change.is_none();
            self.outbox[level as usize].append(&mut out);
            if let Some(change) = change {
                self.keys.install(change);
            }
            if is_done {
                break;
            }
        }
        if !self.session.is_handshaking() {
            self.keys.on_handshake_complete();
        }
    }

    fn read(&mut self, level: SpaceId, data: &[u8]) -> Result<(), TransportError> {
        self.session.read(level, data)?;
        self.collect();
        Ok(())
    }

    /// Gives what `self` has to say to `to`, in portions of at most `portion` bytes.
    fn deliver(&mut self, to: &mut Self, portion: usize) -> Result<(), TransportError> {
        for level in SpaceId::ALL {
            let data = std::mem::take(&mut self.outbox[level as usize]);
            data.chunks(portion).try_for_each(|chunk| to.read(level, chunk))?;
        }
        Ok(())
    }
}

/// A certificate for [`NAME`] that signs itself, with its key.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

fn configs(alpn: &[&[u8]]) -> (rustls::ClientConfig, rustls::ServerConfig) {
    configs_with(provider(), alpn)
}

fn configs_with(
    provider: CryptoProvider,
    alpn: &[&[u8]],
) -> (rustls::ClientConfig, rustls::ServerConfig) {
    let (cert, key) = certificate();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let client = client_config_with(provider.clone(), roots, alpn).unwrap();
    let server = server_config_with(provider, vec![cert], key, alpn).unwrap();
    (client, server)
}

fn pair_of(client: rustls::ClientConfig, server: rustls::ServerConfig) -> (Peer, Peer) {
    let name = ServerName::try_from(NAME).unwrap();
    let client =
        Session::client(Arc::new(client), Version::V1, name, CLIENT_PARAMS.to_vec()).unwrap();
    let server = Session::server(Arc::new(server), Version::V1, SERVER_PARAMS.to_vec()).unwrap();
    (Peer::new(client), Peer::new(server))
}

fn pair() -> (Peer, Peer) {
    let (client, server) = configs(&[b"h3"]);
    pair_of(client, server)
}

/// Lets both sides finish.
fn complete(client: &mut Peer, server: &mut Peer, portion: usize) -> Result<(), TransportError> {
    client.deliver(server, portion)?;
    server.deliver(client, portion)?;
    client.deliver(server, portion)?;
    server.deliver(client, portion)
}

/// Two sides after the handshake.
fn connected() -> (Peer, Peer) {
    let (mut client, mut server) = pair();
    complete(&mut client, &mut server, usize::MAX).unwrap();
    assert!(!client.session.is_handshaking() && !server.session.is_handshaking());
    for peer in [&mut client, &mut server] {
        peer.keys.on_handshake_confirmed();
    }
    (client, server)
}

/// A 1-RTT packet, sealed, with an empty connection ID and a packet number of four bytes.
fn sealed(keys: &mut Keyring, number: u64, payload: &[u8]) -> Vec<u8> {
    sealed_with(keys, number, payload, |_| {}).unwrap()
}

fn sealed_with(
    keys: &mut Keyring,
    number: u64,
    payload: &[u8],
    change: impl FnOnce(&mut [u8]),
) -> Result<Vec<u8>, TransportError> {
    let number = PacketNumber::new(number);
    let mut packet = vec![0; 64 + payload.len()];
    let mut writer = Writer::new(&mut packet);
    let header = ShortHeader {
        dcid: ConnectionId::EMPTY,
        packet_number: Truncated::with_len(number, 4),
        key_phase: keys.key_phase(),
        spin: false,
    };
    let header = header.encode(&mut writer);
    writer.bytes(payload);
    let len = writer.position() + TAG_LEN;
    packet.truncate(len);
    change(&mut packet);
    keys.seal(SpaceId::Data, number, &mut packet, header.payload_offset())?;
    Ok(packet)
}

fn header_of(packet: &[u8]) -> crate::wire::header::PartialHeader {
    match Header::decode(packet, 0) {
        Ok(Header::Protected(header)) => header,
        other => panic!("not a protected packet: {other:?}"),
    }
}
