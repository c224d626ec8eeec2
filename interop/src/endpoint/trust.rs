//! Whom the client of a test case trusts: the runner's root.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// As many certificates between root and leaf as `webpki` follows.
const FOLLOWED: usize = 6;

/// Verifies as usual, as far as the chain is followed. One of the runner's chains is longer, to make
/// the server's first flight large; of such a chain the certificates next to the leaf are verified,
/// and the one above them is taken as it comes. That is no way to treat servers at large.
#[derive(Debug)]
pub(super) struct LongChains {
    usual: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl LongChains {
    /// Trust in what `roots` vouch for.
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let usual = verifier(roots, Arc::clone(&provider))?;
        Ok(Self { usual, provider })
    }

    fn anchored_at(&self, anchor: &CertificateDer<'_>) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        verifier(roots, Arc::clone(&self.provider))
    }
}

fn verifier(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

impl ServerCertVerifier for LongChains {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match chain.get(..FOLLOWED).zip(chain.get(FOLLOWED)) {
            Some((followed, anchor)) => {
                self.anchored_at(anchor)?.verify_server_cert(leaf, followed, name, ocsp, now)
            }
            None => self.usual.verify_server_cert(leaf, chain, name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::CertificateError;
    use rustls::crypto::ring;

    use super::*;

    /// A root, and a chain for `server` whose leaf is `length` signatures away from it, leaf first.
    fn chain(length: usize) -> (RootCertStore, Vec<CertificateDer<'static>>) {
        let (root, mut issuer) = authority("root", None);
        let mut chain = Vec::new();
        for number in 1..length {
            let (certificate, next) = authority(&format!("between {number}"), Some(&issuer));
            chain.insert(0, certificate.der().clone());
            issuer = next;
        }
        let params = CertificateParams::new(["server".into()]).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        chain.insert(0, leaf.der().clone());
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        (roots, chain)
    }

    fn authority(
        name: &str,
        issuer: Option<&Issuer<'static, KeyPair>>,
    ) -> (Certificate, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            None => params.self_signed(&key),
            Some(issuer) => params.signed_by(&key, issuer),
        };
        (certificate.unwrap(), Issuer::new(params, key))
    }

    fn verify(
        roots: RootCertStore,
        chain: &[CertificateDer<'_>],
        name: &'static str,
    ) -> Result<ServerCertVerified, Error> {
        let trust = LongChains::new(roots, Arc::new(ring::default_provider())).unwrap();
        let name = ServerName::try_from(name).unwrap();
        trust.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
    }

    #[test]
    fn chains_of_any_length_are_taken() {
        for length in [1, 2, 7, 8, 9, 20] {
            let (roots, chain) = chain(length);
            assert!(verify(roots, &chain, "server").is_ok(), "{length}");
        }
    }

    #[test]
    fn a_leaf_for_another_name_is_not_taken() {
        for length in [1, 9] {
            let (roots, chain) = chain(length);
            assert!(verify(roots, &chain, "another").is_err(), "{length}");
        }
    }

    #[test]
    fn a_chain_of_another_root_and_a_broken_one_are_not_taken() {
        let ((roots, _), (_, foreign)) = (chain(1), chain(3));
        let error = verify(roots.clone(), &foreign, "server").unwrap_err();
        // The roots have the same name, and different keys.
        assert_eq!(error, CertificateError::BadSignature.into());
        let mut broken = chain(9).1;
        broken.remove(1);
        assert!(verify(roots, &broken, "server").is_err());
    }
}
