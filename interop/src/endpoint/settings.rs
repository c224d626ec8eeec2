//! TLS and transport settings of each test case.

use std::sync::Arc;
use std::time::Duration;

use h3_lite::server::Config;
use quic_core::config::{AddressValidation, RetryPolicy, TransportConfigBuilder};
use quic_core::crypto::provider_with_suites;
use quic_core::wire::Version;
use quic_tokio::{ClientConfig, ConfigError, EndpointConfig, ServerConfig, TransportConfig};
use rustls::CipherSuite;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};

use super::case::Case;
use super::contract::Contract;
use super::trust::LongChains;
use crate::failure::Failure;
use crate::tls::{Identity, Trust};

/// How long a handshake, and then silence, may last.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where a third of all packets is lost.
const LONG_PATIENCE: Duration = Duration::from_secs(240);
/// Bytes that a server may send at first on a stream: so few that it needs more soon.
const STREAM_WINDOW: u64 = 64 << 10;
/// The same for the connection.
const CONNECTION_WINDOW: u64 = 96 << 10;
/// What every path carries: with this, a larger one is not searched for.
const SMALLEST_MTU: u16 = 1200;
/// Bidirectional streams that a client may have open: one that needs more has to wait until it gets
/// more. The runner wants no more than 1000.
const STREAMS: u64 = 100;

/// How the client connects.
pub(super) fn client(contract: &Contract) -> Result<ClientConfig, Failure> {
    let trust = Trust::from_file(&contract.certs.join("ca.pem"))?;
    let mut tls = trust.tls_config(provider(contract.case), &alpn(contract))?;
    let verifier = LongChains::new(trust.roots()?, Arc::clone(tls.crypto_provider()));
    let verifier = verifier.map_err(|error| unusable(&error))?;
    tls.dangerous().set_certificate_verifier(Arc::new(verifier));
    // Where it is not the matter of the case, each handshake is a whole one.
    tls.resumption = Resumption::disabled();
    let mut transport = patient(contract.case);
    if contract.case == Case::ZeroRtt {
        // What the client sends later than in the first flight is counted, and padding with it.
        transport = transport.initial_mtu(SMALLEST_MTU).mtu_upper_bound(SMALLEST_MTU);
    }
    let config = transport
        .initial_stream_window(STREAM_WINDOW)
        .initial_connection_window(CONNECTION_WINDOW)
        .build()
        .and_then(|transport| ClientConfig::new(tls.into(), transport.into()))
        .and_then(|config| for_case(config, contract.case));
    config.map_err(|error| unusable(&error))
}

fn for_case(config: ClientConfig, case: Case) -> Result<ClientConfig, ConfigError> {
    match case {
        Case::Resumption => Ok(config.with_sessions(Arc::default())),
        Case::ZeroRtt => Ok(config.with_sessions(Arc::default()).with_early_data()),
        Case::Version2 => config.with_versions(Version::V1, &[Version::V2, Version::V1]),
        Case::Transfer
        | Case::Multiconnect
        | Case::Http3
        | Case::ChaCha20
        | Case::Retry
        | Case::KeyUpdate
        | Case::ConnectionMigration
        | Case::VersionNegotiation => Ok(config),
    }
}

/// How the server accepts clients.
pub(super) fn server(contract: &Contract) -> Result<ServerConfig, Failure> {
    let certs = &contract.certs;
    let identity = Identity::from_files(&certs.join("cert.pem"), &certs.join("priv.key"))?;
    let tls = identity.tls_config(provider(contract.case), &alpn(contract))?;
    let retry = match contract.case {
        Case::Retry => RetryPolicy::Always,
        _ => RetryPolicy::Never,
    };
    let config = patient(contract.case)
        .max_bidi_streams(STREAMS)
        .build()
        .and_then(|transport| ServerConfig::new(tls.into(), transport.into()))
        .map(|config| config.with_address_validation(AddressValidation::new().retry(retry)))
        .and_then(|config| match contract.case {
            Case::ZeroRtt => config.with_early_data(&Config::default().early_data_context()),
            _ => Ok(config),
        });
    config.map_err(|error| unusable(&error))
}

/// What is for all connections of the server.
pub(super) fn endpoint(case: Case) -> Result<EndpointConfig, Failure> {
    let config = match case {
        Case::Version2 => {
            EndpointConfig::builder().supported_versions([Version::V2, Version::V1]).build()
        }
        _ => EndpointConfig::builder().build(),
    };
    config.map_err(|error| unusable(&error))
}

fn provider(case: Case) -> CryptoProvider {
    match case {
        Case::ChaCha20 => provider_with_suites(&[CipherSuite::TLS13_CHACHA20_POLY1305_SHA256])
            .expect("it is one of the suites that there are"),
        _ => ring::default_provider(),
    }
}

fn alpn(contract: &Contract) -> Vec<&'static [u8]> {
    contract.protocols.iter().map(|protocol| protocol.alpn()).collect()
}

fn patient(case: Case) -> TransportConfigBuilder {
    let patience = match case {
        Case::Multiconnect => LONG_PATIENCE,
        _ => PATIENCE,
    };
    TransportConfig::builder().handshake_timeout(patience).max_idle_timeout(Some(patience))
}

fn unusable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot use the settings of the test case: {error}"))
}
