//! Our server and our client as processes: what comes through, and how they end.

mod common;

use common::{Server, Site, bytes, interop, lines, sha256};

#[test]
fn files_come_with_their_hashes_over_one_connection() {
    let site = Site::new();
    let sizes = [0, 1, 100_000, 3 << 20];
    let mut paths = Vec::new();
    for size in sizes {
        site.file(&size.to_string(), &bytes(size));
        paths.push(format!("/{size}"));
    }
    let qlog = site.path("qlog");
    let server = Server::spawn(&site, |command| command.env("QLOGDIR", &qlog));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let output = server.get(&paths, &[]);
    assert!(output.status.success(), "{output:?}");
    let mut got = lines(&output);
    got.sort();
    let expect = |size: usize| {
        let url = server.url(&format!("/{size}"));
        format!("200 {size} {} {url}", sha256(&bytes(size)))
    };
    let mut expected = sizes.map(expect);
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!(std::fs::read_dir(qlog).unwrap().count(), 1, "one connection, one qlog file");
}

#[test]
fn bodies_are_stored_where_they_should_be() {
    let site = Site::new();
    site.file("a", b"first");
    site.file("b", b"second");
    let server = Server::start(&site, &[]);
    let directory = site.path("new/directory");
    let output = server.get(&["/a", "/b"], &["-o", directory.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(directory.join("a")).unwrap(), b"first");
    assert_eq!(std::fs::read(directory.join("b")).unwrap(), b"second");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2, "no partial files");
    let file = site.path("one");
    assert!(server.get(&["/a"], &["-o", file.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read(file).unwrap(), b"first");
}

#[test]
fn statuses_other_than_200_are_responses_too() {
    let site = Site::new();
    site.file("data", b"12345");
    let server = Server::start(&site, &[]);
    let missing = server.get(&["/missing"], &[]);
    assert!(missing.status.success());
    assert!(lines(&missing)[0].starts_with("404 "), "{missing:?}");
    let head = server.get(&["/data"], &["--method", "HEAD"]);
    let nothing = sha256(b"");
    assert_eq!(lines(&head), [format!("200 0 {nothing} {}", server.url("/data"))]);
    let post = server.get(&["/data"], &["--method", "POST"]);
    assert!(lines(&post)[0].starts_with("405 "), "{post:?}");
}

#[test]
fn a_posted_body_is_echoed() {
    let site = Site::new();
    let server = Server::start(&site, &["--echo"]);
    let (file, content) = (site.path("body"), bytes(2 << 20));
    std::fs::write(&file, &content).unwrap();
    let more = ["--method", "POST", "--body", file.to_str().unwrap()];
    let output = server.get(&["/echo"], &more);
    assert!(output.status.success(), "{output:?}");
    let url = server.url("/echo");
    assert_eq!(lines(&output), [format!("200 {} {} {url}", content.len(), sha256(&content))]);
}

#[test]
fn a_certificate_from_files_serves_and_anyone_may_be_trusted() {
    let site = Site::new();
    site.file("data", b"12345");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let (chain_file, key_file) = (site.path("chain.pem"), site.path("key.pem"));
    std::fs::write(&chain_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let server = Server::spawn(&site, |command| {
        command.arg("--cert").arg(&chain_file).arg("--key").arg(&key_file)
    });
    assert!(server.get(&["/data"], &[]).status.success());
    assert_eq!(
        std::fs::read_to_string(&server.certificate).unwrap().split_whitespace().last(),
        certificate.pem().split_whitespace().last(),
    );
    let output = interop(&["get", &server.url("/data"), "--insecure"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn key_logs_and_qlog_files_of_both_sides_are_complete() {
    let site = Site::new();
    site.file("data", &bytes(10_000));
    let (server_keys, client_keys) = (site.path("server.keys"), site.path("client.keys"));
    let (server_qlog, client_qlog) = (site.path("server-qlog"), site.path("client-qlog"));
    let server = Server::spawn(&site, |command| {
        command.env("SSLKEYLOGFILE", &server_keys).env("QLOGDIR", &server_qlog)
    });
    let mut get = interop(&["get", &server.url("/data"), "--insecure"]);
    get.env("SSLKEYLOGFILE", &client_keys).env("QLOGDIR", &client_qlog);
    assert!(get.status().unwrap().success());
    assert!(server.terminate().success());
    for (keys, qlog) in [(server_keys, server_qlog), (client_keys, client_qlog)] {
        let keys = std::fs::read_to_string(keys).unwrap();
        assert!(keys.contains("CLIENT_TRAFFIC_SECRET_0"), "{keys}");
        let files: Vec<_> = std::fs::read_dir(qlog).unwrap().collect();
        assert_eq!(files.len(), 1);
        let text = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
        assert!(text.contains("connection_closed"), "{text}");
        assert!(text.ends_with('\n'), "the last record is cut off");
    }
}

#[test]
fn the_server_ends_cleanly_when_asked_to() {
    let site = Site::new();
    let status = Server::start(&site, &[]).terminate();
    assert_eq!(status.code(), Some(0));
}
