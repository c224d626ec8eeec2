//! Copies a file over QUIC, from a client to a server thread, with nothing but blocking sockets:
//! `cargo run --release --example blocking_transfer -- FROM TO`.

use std::{error::Error, io::Write as _, net::UdpSocket, sync::Arc, time::Duration, time::Instant};

use bytes::{Buf as _, Bytes};
use quic_core::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_core::connection::{Connection, ConnectionEvent as Event};
use quic_core::endpoint::{Endpoint, EndpointEvent};
use quic_core::stream::{Read, StreamEvent};
use quic_core::{DatagramMeta, Train, util::Rng, wire::Dir};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn endpoint(server: Option<Arc<ServerConfig>>) -> Outcome<Endpoint> {
    let seed = ring::rand::generate(&ring::rand::SystemRandom::new()).map_err(|_| "no entropy")?;
    Ok(Endpoint::new(EndpointConfig::default(), server, Rng::from_seed(seed.expose())))
}

/// Drives `endpoint` until its connection is gone; `on_event` hears what happens on that.
fn drive<F>(socket: &UdpSocket, mut endpoint: Endpoint, mut on_event: F) -> Outcome
where
    F: FnMut(&mut Connection, Event) -> Outcome,
{
    let (mut out, mut inbox) = (Vec::new(), vec![0; 65_536]);
    loop {
        while let Some(event) = endpoint.poll_event() {
            match event {
                EndpointEvent::Incoming { id, .. } => drop(endpoint.accept(Instant::now(), id)?),
                EndpointEvent::Connection(handle) => {
                    let connection = endpoint.connection_mut(handle).ok_or("gone too early")?;
                    while let Some(event) = connection.poll_event() {
                        on_event(connection, event)?;
                    }
                }
                EndpointEvent::ConnectionGone(_) => return Ok(()),
            }
        }
        while let Some(transmit) = endpoint.poll_transmit(Instant::now(), &mut out, 1) {
            socket.send_to(&out[..transmit.len], transmit.remote)?;
        }
        let wait = endpoint.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        socket.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        if let Ok((len, from)) = socket.recv_from(&mut inbox) {
            let meta = DatagramMeta::new(from);
            endpoint.recv(Instant::now(), meta, Train::single(&mut inbox[..len]));
        }
        endpoint.handle_timeout(Instant::now());
    }
}

fn main() -> Outcome {
    let mut paths = std::env::args_os().skip(1);
    let (from, to) = paths.next().zip(paths.next()).ok_or("two paths, please: FROM TO")?;
    let (mut rest, mut copy) = (Bytes::from(std::fs::read(from)?), std::fs::File::create(to)?);
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (cert, key) = (certified.cert.der(), certified.signing_key.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.clone())?;
    let client = Arc::new(ClientConfig::with_roots(roots, &[b"copy"])?);
    let server = ServerConfig::with_certificate(vec![cert.clone()], key.try_into()?, &[b"copy"])?;
    let (server, socket) = (endpoint(Some(Arc::new(server)))?, UdpSocket::bind("127.0.0.1:0")?);
    let address = socket.local_addr()?;
    let receive = move |connection: &mut Connection, event| {
        let streams = connection.streams();
        streams.accept(Dir::Uni);
        if let Event::Stream(StreamEvent::Readable(id)) = event {
            while let Ok(Read::Chunk(data)) = streams.read(id) {
                copy.write_all(&data)?;
                streams.release_credit(id, data.len() as u64);
            }
        }
        Ok(())
    };
    let server = std::thread::spawn(move || drive(&socket, server, receive));
    let mut endpoint = endpoint(None)?;
    endpoint.connect(Instant::now(), &client, address, "localhost")?;
    let send = move |connection: &mut Connection, event| {
        let streams = connection.streams();
        let id = match event {
            Event::Connected => streams.open(Dir::Uni).ok_or("no stream allowed")?,
            Event::Stream(StreamEvent::Writable(id)) => id,
            Event::Stream(StreamEvent::SendClosed { .. }) => {
                connection.close(Instant::now(), 0.into(), Bytes::new());
                return Ok(());
            }
            _ => return Ok(()),
        };
        while let Ok(accepted @ 1..) = streams.write(id, rest.clone()) {
            rest.advance(accepted);
        }
        if rest.is_empty() {
            streams.finish(id).map_err(|error| format!("{error:?}"))?;
        }
        Ok(())
    };
    drive(&UdpSocket::bind("127.0.0.1:0")?, endpoint, send)?;
    server.join().map_err(|_| "the server panicked")?
}
