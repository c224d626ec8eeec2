//! Certificates of servers, and whom clients trust.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use h3_lite::ALPN;
use quic_tokio::{ClientConfig, ServerConfig};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, KeyLogFile, RootCertStore, SignatureScheme};

use crate::content::Hasher;
use crate::failure::Failure;

/// Names of the machine itself, for which a self-signed certificate is made.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Browsers accept no longer validity where a certificate is named by its hash.
const VALIDITY: Duration = Duration::from_secs(13 * 24 * 3600);
/// The clocks of clients may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// What a server authenticates itself with.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new key with a certificate for this machine, signed by itself.
    pub(crate) fn self_signed() -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("cannot make a certificate: {error}"));
        // ECDSA with P-256, which every browser takes.
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(NAMES.map(String::from)).map_err(failed)?;
        let start = SystemTime::now() - CLOCK_SKEW;
        params.not_before = start.into();
        params.not_after = (start + VALIDITY).into();
        let certificate = params.self_signed(&key).map_err(failed)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { chain: vec![certificate.der().clone()], key: key.into() })
    }

    /// The chain and the key in two PEM files.
    pub(crate) fn from_files(chain: &Path, key: &Path) -> Result<Self, Failure> {
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| pem_failure(key, "private key", &error))?;
        Ok(Self { chain: read_certificates(chain)?, key: private })
    }

    /// The server's own certificate as PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        let der = self.chain.first().expect("a chain has a first certificate");
        let base64 = base64::engine::general_purpose::STANDARD.encode(der);
        let lines = base64.as_bytes().chunks(64).map(String::from_utf8_lossy);
        let body: String = lines.map(|line| format!("{line}\n")).collect();
        format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
    }

    /// The SHA-256 of the public key, in Base64: what Chrome calls the SPKI hash.
    pub(crate) fn public_key_pin(&self) -> Result<String, Failure> {
        let failed = || Failure::new("the private key is of a kind that is not supported");
        let key = ring::sign::any_supported_type(&self.key).map_err(|_| failed())?;
        let public_key = key.public_key().ok_or_else(failed)?;
        let mut hasher = Hasher::new();
        hasher.update(&public_key);
        Ok(base64::engine::general_purpose::STANDARD.encode(hasher.finish().as_bytes()))
    }

    /// A configuration of HTTP/3 servers, which logs its secrets if `SSLKEYLOGFILE` says where.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, Failure> {
        let tls = self.tls_config(ring::default_provider(), &[ALPN])?;
        ServerConfig::new(Arc::new(tls), Arc::default()).map_err(|error| bad_identity(&error))
    }

    /// The TLS part of a server's configuration, for any cipher suites and application protocols.
    /// Logs its secrets if `SSLKEYLOGFILE` says where.
    pub(crate) fn tls_config(
        &self,
        provider: CryptoProvider,
        alpn: &[&[u8]],
    ) -> Result<rustls::ServerConfig, Failure> {
        let (chain, key) = (self.chain.clone(), self.key.clone_key());
        let mut tls = quic_core::crypto::server_config_with(provider, chain, key, alpn)
            .map_err(|error| bad_identity(&error))?;
        tls.key_log = Arc::new(KeyLogFile::new());
        Ok(tls)
    }

    /// Trust in exactly this identity.
    pub(crate) fn as_trust(&self) -> Trust {
        Trust::Certificates(self.chain.clone())
    }
}

/// Which servers a client takes for what they say they are.
pub(crate) enum Trust {
    /// Those that an authority of Mozilla's list vouches for.
    PublicAuthorities,
    /// Those that one of these certificates vouches for.
    Certificates(Vec<CertificateDer<'static>>),
    /// Any.
    Anyone,
}

impl Trust {
    /// Trust in the certificates of a PEM file.
    pub(crate) fn from_file(file: &Path) -> Result<Self, Failure> {
        read_certificates(file).map(Self::Certificates)
    }

    /// A configuration of HTTP/3 clients, which logs its secrets if `SSLKEYLOGFILE` says where.
    pub(crate) fn client_config(self) -> Result<ClientConfig, Failure> {
        let tls = self.tls_config(ring::default_provider(), &[ALPN])?;
        ClientConfig::new(Arc::new(tls), Arc::default()).map_err(|error| bad_trust(&error))
    }

    /// The TLS part of a client's configuration, for any cipher suites and application protocols.
    /// Logs its secrets if `SSLKEYLOGFILE` says where.
    pub(crate) fn tls_config(
        &self,
        provider: CryptoProvider,
        alpn: &[&[u8]],
    ) -> Result<rustls::ClientConfig, Failure> {
        let roots = self.roots()?;
        let mut tls = quic_core::crypto::client_config_with(provider, roots, alpn)
            .map_err(|error| bad_trust(&error))?;
        tls.key_log = Arc::new(KeyLogFile::new());
        if let Self::Anyone = self {
            let provider = Arc::clone(tls.crypto_provider());
            tls.dangerous().set_certificate_verifier(Arc::new(TrustAnyone { provider }));
        }
        Ok(tls)
    }

    /// The certificates that vouch for servers; none if that does not matter.
    pub(crate) fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::PublicAuthorities => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Self::Certificates(certificates) => {
                for certificate in certificates {
                    roots.add(certificate.clone()).map_err(|error| bad_trust(&error))?;
                }
            }
            Self::Anyone => {}
        }
        Ok(roots)
    }
}

fn bad_identity(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot use certificate and key: {error}"))
}

fn bad_trust(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot use the trusted certificates: {error}"))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = |error: &pem::Error| pem_failure(file, "certificate", error);
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&error))?;
    if certificates.is_empty() {
        return Err(failed(&pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn pem_failure(file: &Path, what: &str, error: &pem::Error) -> Failure {
    match error {
        pem::Error::Io(error) => Failure::with_file("read", file, error),
        pem::Error::NoItemsFound => {
            Failure::new(format!("there is no {what} in {}: PEM is expected", file.display()))
        }
        error => Failure::new(format!("cannot read the {what} in {}: {error}", file.display())),
    }
}

/// Takes every certificate; whoever shows it must still have its key.
#[derive(Debug)]
struct TrustAnyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_identity_makes_both_configurations() {
        let identity = Identity::self_signed().unwrap();
        identity.server_config().unwrap();
        identity.as_trust().client_config().unwrap();
        Trust::PublicAuthorities.client_config().unwrap();
        Trust::Anyone.client_config().unwrap();
    }

    #[test]
    fn the_pem_of_a_certificate_is_read_back() {
        let identity = Identity::self_signed().unwrap();
        let pem = identity.certificate_pem();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(der, identity.chain[0]);
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    }

    #[test]
    fn the_pin_is_the_hash_of_the_public_key_in_the_certificate() {
        let identity = Identity::self_signed().unwrap();
        let pin = identity.public_key_pin().unwrap();
        let key = PrivatePkcs8KeyDer::from(identity.key.secret_der());
        let key = KeyPair::try_from(&key).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let mut hasher = Hasher::new();
        hasher.update(&spki);
        let expected = base64::engine::general_purpose::STANDARD.encode(hasher.finish().as_bytes());
        assert_eq!(pin, expected);
    }
}
