//! HTTP/3 (RFC 9114) with QPACK (RFC 9204) over QUIC streams, for `http` types.
//!
//! The crate has two halves.
//!
//! **The protocol half** is sans-IO: bytes in, values out, no socket, task or clock. Every rule of
//! the RFCs lives here, and every fault has a type that says how far it reaches.
//!
//! | module | what |
//! |---|---|
//! | [`proto::connection`] | the connection: the peer's unidirectional streams, settings, GOAWAY |
//! | [`proto::receive`] | the receiving half of a request stream: bytes to message events |
//! | [`proto::send`] | the sending half: messages to bytes, in the right order |
//! | [`proto::message`] | field lines to `http` types and back |
//! | [`proto::frame`], [`proto::settings`] | frames and their payloads |
//! | [`proto::error`] | codes, violations, and what they end |
//! | [`qpack`] | field compression, static table only |
//!
//! **The asynchronous half** moves bytes between those machines and QUIC streams and hands
//! requests and responses to the program. It holds no rule of the protocol.
//!
//! | module | what |
//! |---|---|
//! | [`server`] | [`Server`] and [`serve_connection`] run a `tower` service or an async function |
//! | [`client`] | [`Client`] sends requests |
//! | [`RecvBody`] | the body of what was received: streamed, with back-pressure and trailers |
//! | [`RequestError`], [`BodyError`], [`ConnectionError`] | what can go wrong, one type for each reach |
//!
//! Limits are on by default: the size and number of fields
//! ([`SectionLimits`](qpack::decoder::SectionLimits)), frames that carry nothing, streams that do
//! not say what they are, the time for headers and for progress ([`server::Config`]).
//!
//! # A server
//!
//! An axum `Router` goes where `service_fn(hello)` stands.
//!
//! ```no_run
//! use h3_lite::{RecvBody, Server, service_fn};
//! use http::{Request, Response};
//! use quic_tokio::{Endpoint, ServerConfig};
//! use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
//!
//! async fn hello(request: Request<RecvBody>) -> Result<Response<String>, std::convert::Infallible> {
//!     Ok(Response::new(format!("hello from {}\n", request.uri().path())))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let certs = CertificateDer::pem_file_iter("cert.pem")?.collect::<Result<Vec<_>, _>>()?;
//!     let key = PrivateKeyDer::from_pem_file("key.pem")?;
//!     let config = ServerConfig::with_certificate(certs, key, &[h3_lite::ALPN])?;
//!     let endpoint = Endpoint::server(config, "[::]:4433".parse()?)?;
//!     Server::new(service_fn(hello)).run(&endpoint).await;
//!     Ok(())
//! }
//! ```
//!
//! # A client
//!
//! ```no_run
//! use h3_lite::Client;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use quic_tokio::{ClientConfig, Endpoint};
//! use rustls::RootCertStore;
//! use rustls::pki_types::{CertificateDer, pem::PemObject};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut roots = RootCertStore::empty();
//!     roots.add(CertificateDer::from_pem_file("ca.pem")?)?;
//!     let config = ClientConfig::with_roots(roots, &[h3_lite::ALPN])?;
//!     let endpoint = Endpoint::client(config, "[::]:0".parse()?)?;
//!     let client = Client::new(endpoint.connect("[::1]:4433".parse()?, "localhost").await?);
//!     let request = Request::get("https://localhost/hello").body(Empty::<&[u8]>::new())?;
//!     let response = client.send(request).await?;
//!     println!("{} {:?}", response.status(), response.into_body().collect().await?.to_bytes());
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

/// The examples of the README, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod body;
pub mod client;
mod control;
mod error;
pub mod fuzz;
mod message;
pub mod proto;
pub mod qpack;
pub mod server;
mod shared;
mod watchdog;

pub use body::RecvBody;
pub use client::Client;
pub use error::{BodyError, BoxError, ConnectionError, RequestError};
pub use proto::error::Code;
pub use server::{Server, Shutdown, serve_connection, service_fn};

/// The application protocol of HTTP/3, for the TLS configuration (RFC 9114 section 3.1).
pub const ALPN: &[u8] = b"h3";
