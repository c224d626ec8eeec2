//! quinn as an endpoint of the interop runner.
//!
//! The environment is that of the runner's contract: `ROLE`, `TESTCASE`, `REQUESTS`,
//! `SSLKEYLOGFILE`; `WWW`, `DOWNLOADS`, `CERTS` and `PORT` may stand in for the runner's folders and
//! port. The exit status is 127 for a test case that quinn does not have: it knows only version 1,
//! and a server has only one socket, so none for a preferred address.

#![forbid(unsafe_code)]

mod client;
mod hq;
mod http3;
mod server;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use quinn::TransportConfig;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, crypto::ring};

pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

const UNSUPPORTED: u8 = 127;

/// What a test case asks for beyond the transfer of files.
#[derive(Clone, Copy, PartialEq)]
pub enum Case {
    Transfer,
    Multiconnect,
    Retry,
    Resumption,
    ZeroRtt,
    KeyUpdate,
    ChaCha20,
    Http3,
}

impl Case {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "handshake" | "transfer" | "ecn" => Self::Transfer,
            "multiconnect" => Self::Multiconnect,
            "retry" => Self::Retry,
            "resumption" => Self::Resumption,
            "zerortt" => Self::ZeroRtt,
            "keyupdate" => Self::KeyUpdate,
            "chacha20" => Self::ChaCha20,
            "http3" => Self::Http3,
            _ => return None,
        })
    }

    pub fn alpn(self) -> Vec<Vec<u8>> {
        let name: &[u8] = if self == Self::Http3 { b"h3" } else { b"hq-interop" };
        vec![name.to_vec()]
    }

    pub fn provider(self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        if self == Self::ChaCha20 {
            let wanted = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
            provider.cipher_suites.retain(|suite| suite.suite() == wanted);
        }
        provider.into()
    }

    pub fn transport(self) -> Result<Arc<TransportConfig>, AnyError> {
        let patience = if self == Self::Multiconnect { 240 } else { 60 };
        let mut config = TransportConfig::default();
        config.max_idle_timeout(Some(Duration::from_secs(patience).try_into()?));
        if self == Self::ZeroRtt {
            // Its probes would count as late data.
            config.mtu_discovery_config(None);
        }
        Ok(config.into())
    }
}

/// The suite of Initial packets, whatever the handshake agrees on.
pub fn initial_suite() -> Result<rustls::quic::Suite, AnyError> {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    suite.and_then(|suite| suite.quic_suite()).ok_or("no suite for Initial packets".into())
}

pub fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.into())
}

pub fn certs(file: &str) -> PathBuf {
    PathBuf::from(variable("CERTS", "/certs")).join(file)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(case) = Case::from_name(&variable("TESTCASE", "")) else {
        return ExitCode::from(UNSUPPORTED);
    };
    let outcome = match variable("ROLE", "").as_str() {
        "client" => client::run(case).await,
        "server" if case == Case::KeyUpdate => return ExitCode::from(UNSUPPORTED),
        "server" => server::run(case).await,
        _ => Err("ROLE must be client or server".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quinn: {error}");
            ExitCode::FAILURE
        }
    }
}
