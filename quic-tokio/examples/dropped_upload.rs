//! An upload that is given up half-way is never mistaken for a whole one.
//!
//! The client uploads three times the same: once to the end, once with an error in between that
//! drops the stream, and once with a reset that says why. The server gets the end of the stream, the
//! code 0 of a dropped handle, and the code of the reset.
//!
//! `cargo run -p quic-tokio --example dropped_upload`

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use quic_tokio::{
    ClientConfig, Connection, Endpoint, ReadError, RecvStream, SendStream, ServerConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What the uploads consist of.
const HALF: &[u8] = b"half of what was to be said";
/// A code of the application: the user has pressed the button.
const CANCELLED: u32 = 42;

/// What the server has got of an upload.
#[derive(Debug, PartialEq, Eq)]
enum Upload {
    /// All of it, this many bytes.
    Whole(usize),
    /// Not all of it; the peer's code says why.
    CutShort(VarInt),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let (server, client) = endpoints()?;
    let connect = client.connect(server.local_addr(), "localhost");
    let accept = async { Some(server.accept().await?.accept().await) };
    let (client, server) = tokio::join!(connect, accept);
    let (client, server) = (client?, server.ok_or("the endpoint is closed")??);

    let mut upload = begin(&client).await?;
    upload.write_all(HALF).await?;
    upload.finish()?;
    expect(&server, Upload::Whole(2 * HALF.len())).await?;

    // The handle is dropped on the way out of the function that fails.
    if fails_in_between(&client).await.is_ok() {
        return Err("it was to fail".into());
    }
    expect(&server, Upload::CutShort(VarInt::from_u32(0))).await?;

    let mut upload = begin(&client).await?;
    upload.reset(VarInt::from_u32(CANCELLED));
    expect(&server, Upload::CutShort(VarInt::from_u32(CANCELLED))).await?;
    Ok(())
}

/// Opens a stream and writes half of the upload.
async fn begin(client: &Connection) -> Result<SendStream, Box<dyn Error>> {
    let mut upload = client.open_uni().await?;
    upload.write_all(HALF).await?;
    Ok(upload)
}

async fn fails_in_between(client: &Connection) -> Result<(), Box<dyn Error>> {
    let mut upload = begin(client).await?;
    let rest = Err::<Vec<u8>, _>(io::Error::other("the disk is broken"))?;
    upload.write_all(&rest).await?;
    upload.finish()?;
    Ok(())
}

/// Takes the next upload, which must be as expected.
async fn expect(server: &Connection, expected: Upload) -> Result<(), Box<dyn Error>> {
    let upload = receive(server.accept_uni().await?).await?;
    println!("the server got {upload:?}");
    if upload == expected { Ok(()) } else { Err(format!("expected {expected:?}").into()) }
}

async fn receive(mut upload: RecvStream) -> Result<Upload, ReadError> {
    let mut len = 0;
    loop {
        match upload.read_chunk().await {
            Ok(Some(chunk)) => len += chunk.len(),
            Ok(None) => return Ok(Upload::Whole(len)),
            Err(ReadError::Reset(code)) => return Ok(Upload::CutShort(code)),
            Err(other) => return Err(other),
        }
    }
}

/// Two endpoints on the loopback interface, with a certificate made on the spot.
fn endpoints() -> Result<(Endpoint, Endpoint), Box<dyn Error>> {
    let alpn: &[&[u8]] = &[b"upload"];
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let cert = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone())?;
    let server = Endpoint::server(ServerConfig::with_certificate(vec![cert], key, alpn)?, addr)?;
    let client = Endpoint::client(ClientConfig::with_roots(roots, alpn)?, addr)?;
    Ok((server, client))
}
