//! What the program says when it cannot do what it should: one line, and what to do.

mod common;

use std::sync::Arc;

use common::{Server, Site, failure, interop};

#[test]
fn a_missing_certificate_is_named() {
    let site = Site::new();
    let (www, missing) = (site.path("www"), site.path("missing.pem"));
    let (www, missing) = (www.to_str().unwrap(), missing.to_str().unwrap());
    let serve = interop(&["serve", www, "--cert", missing, "--key", missing]).output().unwrap();
    assert!(failure(&serve).contains("missing.pem: it does not exist"));
    let get = interop(&["get", "https://localhost/", "--cacert", missing]).output().unwrap();
    assert!(failure(&get).contains("missing.pem: it does not exist"));
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let site = Site::new();
    site.file("text", b"hello");
    let text = site.path("www/text");
    let get = interop(&["get", "https://localhost/", "--cacert", text.to_str().unwrap()]);
    let failure = failure(&{ get }.output().unwrap());
    assert!(failure.contains("no certificate in"), "{failure}");
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let site = Site::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let www = site.path("www");
    let serve = interop(&["serve", www.to_str().unwrap(), "--listen", &address]).output().unwrap();
    let failure = failure(&serve);
    assert!(failure.contains(&address) && failure.contains("in use"), "{failure}");
    assert!(failure.contains("--listen"), "{failure}");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    // A socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let get = interop(&["get", &url, "--insecure", "--timeout", "0.5"]).output().unwrap();
    let failure = failure(&get);
    assert!(failure.contains("given up after 0.5 s"), "{failure}");
}

#[test]
fn an_untrusted_server_is_told_with_the_way_out() {
    let (site, other) = (Site::new(), Site::new());
    let (server, stranger) = (Server::start(&site, &[]), Server::start(&other, &[]));
    let cacert = stranger.certificate.to_str().unwrap();
    let get = interop(&["get", &server.url("/"), "--cacert", cacert]).output().unwrap();
    let failure = failure(&get);
    assert!(failure.contains(&server.address), "{failure}");
    assert!(failure.contains("--cacert") && failure.contains("--insecure"), "{failure}");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_told() {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let chain = vec![certificate.cert.der().clone()];
    let config =
        quic_tokio::ServerConfig::with_certificate(chain, key.into(), &[b"other"]).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let endpoint =
        quic_tokio::Endpoint::builder().server_config(Arc::new(config)).bind(address).unwrap();
    let url = format!("https://{}/", endpoint.local_addr());
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            // It fails, which is what the client is to notice.
            let _ = incoming.accept().await;
        }
    });
    let get = tokio::task::spawn_blocking(move || interop(&["get", &url, "--insecure"]).output());
    let failure = failure(&get.await.unwrap().unwrap());
    accepting.abort();
    assert!(failure.contains("ALPN") && failure.contains("no HTTP/3 server"), "{failure}");
}

#[test]
fn wrong_arguments_are_refused_with_a_reason() {
    for (arguments, reason) in [
        (&["get"][..], "<URL>"),
        (&["get", "http://localhost/"], "https://"),
        (&["get", "https://localhost/", "--parallel", "0"], "--parallel"),
        (&["get", "https://localhost/", "--timeout", "0"], "--timeout"),
        (&["get", "https://localhost/", "--body", "x"], "--method POST"),
        (&["get", "https://localhost/", "--insecure", "--cacert", "x"], "--cacert"),
        (&["serve"], "<DIR>"),
        (&["serve", ".", "--cert", "x"], "--key"),
        (&["serve", ".", "--listen", "localhost"], "--listen"),
        (&["serve", "/no/such/directory"], "does not exist"),
        (&["dance"], "dance"),
    ] {
        let output = interop(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text.contains(reason), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn help_shows_examples() {
    for command in ["demo", "serve", "get", "endpoint"] {
        let output = interop(&[command, "--help"]).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("QLOGDIR") && text.contains("SSLKEYLOGFILE"), "{text}");
    }
}
