//! What the server says at its start: where it listens, and how to look at it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What there is to say.
pub(super) struct Facts {
    pub(super) address: SocketAddr,
    /// The SHA-256 of the server's public key, in Base64.
    pub(super) pin: String,
    /// Where the certificate was written, if it was.
    pub(super) written: Option<PathBuf>,
    /// Nobody but the server itself vouches for the certificate.
    pub(super) self_signed: bool,
}

/// The first line is for programs, the others are for people to paste.
pub(super) fn lines(facts: &Facts) -> String {
    let Facts { address, pin, written, self_signed } = facts;
    let origin = match address.ip() {
        ip if ip.is_unspecified() => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    };
    let trust = match written {
        Some(file) => format!(" --cacert {}", quoted(file)),
        None if *self_signed => " --insecure".into(),
        None => String::new(),
    };
    let certificate = match written {
        Some(file) => format!("certificate:  {}\n", file.display()),
        None => String::new(),
    };
    format!(
        "listening on {address}\n\
         {certificate}\
         curl:         curl --http3-only{trust} https://{origin}/\n\
         Chrome:       google-chrome --user-data-dir=\"$(mktemp -d)\" \
         --origin-to-force-quic-on={origin} --ignore-certificate-errors-spki-list={pin} \
         https://{origin}/\n"
    )
}

/// A file name that a shell takes for one word.
fn quoted(file: &Path) -> String {
    format!("'{}'", file.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(address: &str) -> Facts {
        let address = address.parse().unwrap();
        Facts { address, pin: "cGlu".into(), written: None, self_signed: true }
    }

    #[test]
    fn the_first_line_is_the_address() {
        let text = lines(&facts("127.0.0.1:4433"));
        assert_eq!(text.lines().next(), Some("listening on 127.0.0.1:4433"));
        assert!(text.contains("--ignore-certificate-errors-spki-list=cGlu"));
        assert!(text.contains("--origin-to-force-quic-on=127.0.0.1:4433"));
        assert!(text.contains("curl --http3-only --insecure https://127.0.0.1:4433/\n"));
    }

    #[test]
    fn commands_name_an_address_that_can_be_reached() {
        let text = lines(&facts("[::]:4433"));
        assert!(text.contains("https://localhost:4433/\n"), "{text}");
    }

    #[test]
    fn curl_is_told_to_trust_what_was_written() {
        let written = Some("it's.pem".into());
        let text = lines(&Facts { written, ..facts("127.0.0.1:1") });
        assert!(text.contains("--cacert 'it'\\''s.pem' https"), "{text}");
    }
}
