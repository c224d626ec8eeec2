//! What a person can wish of QUIC on the command line: versions, cipher suites, key updates.

use quic_tokio::Version;
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

/// Reads `v1`, `v2`, `v1,v2` or `v2,v1`.
pub(crate) fn versions(text: &str) -> Result<Versions, String> {
    let one = |name: &str| match name {
        "v1" => Ok(Version::V1),
        "v2" => Ok(Version::V2),
        other => Err(format!("no version of QUIC: {other} (v1 or v2)")),
    };
    Ok(Versions(text.split(',').map(one).collect::<Result<_, _>>()?))
}

/// Versions in an order that the option explains; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Versions(pub(crate) Vec<Version>);

/// Reads names of cipher suites, separated by commas.
pub(crate) fn ciphers(text: &str) -> Result<Ciphers, String> {
    let one = |name: &str| match name {
        "aes128" => Ok(CipherSuite::TLS13_AES_128_GCM_SHA256),
        "aes256" => Ok(CipherSuite::TLS13_AES_256_GCM_SHA384),
        "chacha20" => Ok(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        other => Err(format!("no cipher suite of QUIC: {other} (aes128, aes256 or chacha20)")),
    };
    Ok(Ciphers(text.split(',').map(one).collect::<Result<_, _>>()?))
}

/// Cipher suites, the preferred one first; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Ciphers(Vec<CipherSuite>);

/// Cryptography with all suites, or with those that are wished for.
pub(crate) fn provider(ciphers: Option<&Ciphers>) -> CryptoProvider {
    ciphers
        .and_then(|wished| quic_core::crypto::provider_with_suites(&wished.0))
        .unwrap_or_else(rustls::crypto::ring::default_provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_in_their_order_and_nonsense_is_refused() {
        assert_eq!(versions("v2,v1").unwrap().0, [Version::V2, Version::V1]);
        assert!(versions("").is_err() && versions("v3").is_err());
        let suites = provider(Some(&ciphers("chacha20").unwrap())).cipher_suites;
        let names: Vec<_> = suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(names, [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256]);
        assert!(ciphers("rot13").is_err());
    }
}
