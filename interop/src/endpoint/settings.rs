//! TLS and transport settings of each test case.

use std::sync::Arc;
use std::time::Duration;

use quic_core::config::TransportConfigBuilder;
use quic_tokio::{AddressValidation, ClientConfig, RetryPolicy, ServerConfig, TransportConfig};

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
/// Bidirectional streams that a client may have open: a client that needs more has to wait until it
/// gets more. The runner wants no more than 1000.
const STREAMS: u64 = 100;

pub(super) fn client(contract: &Contract) -> Result<Arc<ClientConfig>, Failure> {
    let trust = Trust::from_file(&contract.certs.join("ca.pem"))?;
    let mut tls = trust.tls_config(&alpn(contract))?;
    let verifier = LongChains::new(trust.roots()?, Arc::clone(tls.crypto_provider()));
    let verifier = verifier.map_err(|error| unusable(&error))?;
    tls.dangerous().set_certificate_verifier(Arc::new(verifier));
    let transport = patient(contract.case)
        .initial_stream_window(STREAM_WINDOW)
        .initial_connection_window(CONNECTION_WINDOW)
        .build();
    let config = transport.and_then(|transport| ClientConfig::new(tls.into(), transport.into()));
    config.map(Arc::new).map_err(|error| unusable(&error))
}

pub(super) fn server(contract: &Contract) -> Result<ServerConfig, Failure> {
    let certs = &contract.certs;
    let identity = Identity::from_files(&certs.join("cert.pem"), &certs.join("priv.key"))?;
    let tls = identity.tls_config(&alpn(contract))?;
    let transport = patient(contract.case).max_bidi_streams(STREAMS).build();
    let config = transport.and_then(|transport| ServerConfig::new(tls.into(), transport.into()));
    let config = config.map_err(|error| unusable(&error))?;
    Ok(match contract.case {
        Case::Retry => {
            config.with_address_validation(AddressValidation::new().retry(RetryPolicy::Always))
        }
        Case::Transfer | Case::Multiconnect | Case::Http3 | Case::VersionNegotiation => config,
    })
}

fn alpn(contract: &Contract) -> Vec<&'static [u8]> {
    contract.protocols.iter().map(|protocol| protocol.alpn()).collect()
}

fn patient(case: Case) -> TransportConfigBuilder {
    let patience = match case {
        Case::Multiconnect => LONG_PATIENCE,
        Case::Transfer | Case::Http3 | Case::Retry | Case::VersionNegotiation => PATIENCE,
    };
    TransportConfig::builder().handshake_timeout(patience).max_idle_timeout(Some(patience))
}

fn unusable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot use the settings of the test case: {error}"))
}
