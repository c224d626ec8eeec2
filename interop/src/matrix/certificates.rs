//! Certificates of servers: a root, and a chain of some length up to a leaf.

use std::path::Path;
use std::time::{Duration, SystemTime};

use quic_core::util::Rng;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::folder::letters;
use crate::cases::Chain;
use crate::failure::Failure;

/// The names of every server.
const NAMES: [&str; 4] = ["server", "server4", "server6", "server46"];
/// Letters of a name that only makes the certificate long.
const EXTRA_NAME_LENGTH: usize = 250;
const VALIDITY: Duration = Duration::from_secs(10 * 24 * 3600);

/// Writes `cert.pem` (leaf first), `priv.key` and `ca.pem`.
pub(crate) fn write(directory: &Path, chain: Chain, rng: &mut Rng) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("cannot make a certificate: {error}"));
    let Pem { chain, key, root } = make(chain, rng).map_err(failed)?;
    for (name, content) in [("cert.pem", chain), ("priv.key", key), ("ca.pem", root)] {
        let file = directory.join(name);
        std::fs::write(&file, content)
            .map_err(|error| Failure::with_file("write", &file, &error))?;
    }
    Ok(())
}

struct Pem {
    chain: String,
    key: String,
    root: String,
}

fn make(chain: Chain, rng: &mut Rng) -> Result<Pem, rcgen::Error> {
    // Keys are P-256 and signatures are with SHA-256.
    let key = KeyPair::generate()?;
    let params = authority("interop root")?;
    let root = params.self_signed(&key)?;
    let mut issuer = Issuer::new(params, key);

    let mut certificates: Vec<Certificate> = Vec::new();
    for level in 1..chain.length {
        let key = KeyPair::generate()?;
        let params = authority(&format!("interop intermediate {level}"))?;
        certificates.push(params.signed_by(&key, &issuer)?);
        issuer = Issuer::new(params, key);
    }

    let key = KeyPair::generate()?;
    let extra = (0..chain.extra_names).map(|_| letters(rng, EXTRA_NAME_LENGTH));
    let names: Vec<String> = NAMES.map(String::from).into_iter().chain(extra).collect();
    let mut params = valid(CertificateParams::new(names)?);
    params.distinguished_name.push(DnType::CommonName, "server");
    certificates.push(params.signed_by(&key, &issuer)?);

    let chain = certificates.iter().rev().map(Certificate::pem).collect();
    Ok(Pem { chain, key: key.serialize_pem(), root: root.pem() })
}

fn authority(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid(CertificateParams::new([])?);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

fn valid(mut params: CertificateParams) -> CertificateParams {
    // The certificates of one run need no margin for clocks: there is only one.
    let start = SystemTime::now() - Duration::from_secs(60);
    params.not_before = start.into();
    params.not_after = (start + VALIDITY).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    /// As many certificates between a leaf and its anchor as the verifier follows.
    const FOLLOWED: usize = 6;

    /// The certificates of a chain, after a client has found them good for `name`: all of them, or
    /// of a long chain those next to the leaf.
    fn verified(chain: Chain, name: &'static str) -> Vec<CertificateDer<'static>> {
        let pem = make(chain, &mut Rng::from_seed([1; 32])).unwrap();
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(pem.chain.as_bytes()).map(Result::unwrap).collect();
        let (leaf, above) = certificates.split_first().unwrap();
        let root = CertificateDer::from_pem_slice(pem.root.as_bytes()).unwrap();
        let anchor = above.get(FOLLOWED).unwrap_or(&root);
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let followed = &above[..above.len().min(FOLLOWED)];
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(leaf, followed, &name, &[], UnixTime::now()).unwrap();
        certificates
    }

    #[test]
    fn a_plain_chain_is_a_leaf_for_all_names_of_the_server() {
        for name in NAMES {
            assert_eq!(verified(Chain { length: 1, extra_names: 0 }, name).len(), 1);
        }
    }

    #[test]
    fn a_long_chain_is_too_long_for_an_unproven_client() {
        let chain = verified(Chain { length: 9, extra_names: 20 }, "server4");
        assert_eq!(chain.len(), 9);
        let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
        assert!(bytes >= 7500, "{bytes}");
    }
}
