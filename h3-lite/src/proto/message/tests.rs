use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Version, header};
use proptest::prelude::*;

use super::*;
use crate::proto::error::Code;
use crate::qpack::decoder::{SectionLimits, decode};

type Fields<'a> = &'a [(&'a str, &'a str)];

const GET: Fields<'_> =
    &[(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

fn lines(fields: Fields<'_>) -> Vec<FieldLine> {
    fields.iter().map(|(name, value)| FieldLine::new(name.to_string(), value.to_string())).collect()
}

fn request(fields: Fields<'_>) -> Result<Request<()>, StreamFault> {
    decode_request(lines(fields))
}

/// GET with more fields.
fn get_with(fields: Fields<'_>) -> Result<Request<()>, StreamFault> {
    request(&[GET, fields].concat())
}

/// GET with one pseudo-header field replaced, or removed.
fn get_but(name: &str, value: Option<&str>) -> Result<Request<()>, StreamFault> {
    let keep = GET.iter().copied().filter(|field| field.0 != name);
    let mut fields: Vec<_> = keep.collect();
    if let Some(value) = value {
        fields.insert(0, (name, value));
    }
    request(&fields)
}

fn response(fields: Fields<'_>) -> Result<Response<()>, StreamFault> {
    decode_response(lines(fields))
}

#[track_caller]
fn malformed<T: std::fmt::Debug>(result: Result<T, StreamFault>, reason: Violation) {
    let fault = result.expect_err("the message should be malformed");
    assert_eq!(fault.reason, reason);
    // req-test 9114-4.1.2-050
    assert_eq!(fault.code, Code::MESSAGE_ERROR);
}

#[test]
fn a_request_becomes_method_uri_and_headers() {
    let request = get_with(&[("accept", "*/*"), ("te", "trailers")]).unwrap();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.uri(), "https://a.example/x?y");
    assert_eq!(request.version(), Version::HTTP_3);
    assert_eq!(request.headers()[header::ACCEPT], "*/*");
}

// req-test 9114-4.3.1-073
#[test]
fn a_request_needs_method_scheme_and_path() {
    for name in [":method", ":scheme", ":path"] {
        malformed(get_but(name, None), Violation::MissingPseudo);
    }
}

// req-test 9114-4.3.1-073, 9114-4.3-065
#[test]
fn pseudo_header_fields_occur_once_and_only_defined_ones() {
    for field in GET {
        malformed(request(&[&[*field], GET].concat()), Violation::DuplicatePseudo);
    }
    malformed(request(&[&[(":protocol", "websocket")], GET].concat()), Violation::UnknownPseudo);
    malformed(request(&[&[(":", "x")], GET].concat()), Violation::UnknownPseudo);
    malformed(response(&[(":status", "200"), (":status", "200")]), Violation::DuplicatePseudo);
}

// req-test 9114-4.3-063
#[test]
fn pseudo_header_fields_of_the_other_direction_are_refused() {
    malformed(request(&[&[(":status", "200")], GET].concat()), Violation::UnknownPseudo);
    malformed(response(&[(":status", "200"), (":path", "/")]), Violation::UnknownPseudo);
}

// req-test 9114-4.3-066, 9114-4.3-067
#[test]
fn pseudo_header_fields_come_first() {
    let mut fields = GET.to_vec();
    fields.insert(2, ("accept", "*/*"));
    malformed(request(&fields), Violation::PseudoAfterField);
    malformed(response(&[("a", "b"), (":status", "200")]), Violation::PseudoAfterField);
}

// req-test 9114-4.3-064
#[test]
fn trailers_have_no_pseudo_header_fields() {
    let result = decode_trailers(lines(&[(":status", "200")]));
    malformed(result, Violation::PseudoInTrailers);
    let trailers = decode_trailers(lines(&[("checksum", "1")])).unwrap();
    assert_eq!(trailers["checksum"], "1");
}

#[test]
fn values_of_pseudo_header_fields_must_be_what_they_claim() {
    malformed(get_but(":method", Some("")), Violation::Method);
    malformed(get_but(":method", Some("A B")), Violation::Method);
    malformed(get_but(":scheme", Some("")), Violation::Scheme);
    malformed(get_but(":scheme", Some("a b")), Violation::Scheme);
    malformed(get_but(":authority", Some("a b")), Violation::Authority);
    malformed(get_but(":path", Some("x")), Violation::Path);
    malformed(get_but(":path", Some("/x#fragment")), Violation::Path);
    malformed(get_but(":path", Some("/a b")), Violation::Path);
    malformed(get_but(":path", Some("*")), Violation::Path);
}

// req-test 9114-4.3.1-072
#[test]
fn the_path_is_not_empty() {
    malformed(get_but(":path", Some("")), Violation::Path);
}

#[test]
fn options_may_ask_about_the_whole_server() {
    let fields =
        [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a"), (":path", "*")];
    assert_eq!(request(&fields).unwrap().uri().path(), "*");
}

// req-test 9114-4.3.1-074
#[test]
fn a_request_names_its_authority_in_either_place() {
    malformed(get_but(":authority", None), Violation::Authority);
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "b.example:1")];
    let request = request(&fields).unwrap();
    assert_eq!(request.uri(), "https://b.example:1/");
    assert_eq!(request.headers()[header::HOST], "b.example:1");
}

// req-test 9114-4.3.1-075
#[test]
fn an_authority_is_not_empty() {
    malformed(get_but(":authority", Some("")), Violation::Authority);
    malformed(get_with(&[("host", "")]), Violation::Authority);
}

// req-test 9114-4.3.1-076
#[test]
fn host_and_authority_agree() {
    assert!(get_with(&[("host", "a.example")]).is_ok());
    malformed(get_with(&[("host", "b.example")]), Violation::HostMismatch);
    malformed(get_with(&[("host", "a.example"), ("host", "a.example")]), Violation::HostMismatch);
}

// req-test 9114-4.3.1-068
#[test]
fn the_authority_has_no_user_part() {
    malformed(get_but(":authority", Some("me@a.example")), Violation::Authority);
}

// req-test 9114-4.4-079
#[test]
fn connect_has_an_authority_with_a_port_and_nothing_more() {
    let connect = [(":method", "CONNECT"), (":authority", "a.example:443")];
    assert_eq!(request(&connect).unwrap().uri(), "a.example:443");
    for extra in [(":scheme", "https"), (":path", "/")] {
        malformed(request(&[&connect[..], &[extra]].concat()), Violation::ConnectTarget);
    }
    malformed(request(&connect[..1]), Violation::ConnectTarget);
    for authority in ["a.example", "a.example:", "me@a.example:1"] {
        let fields = [(":method", "CONNECT"), (":authority", authority)];
        malformed(request(&fields), Violation::ConnectTarget);
    }
}

// req-test 9114-4.3.2-078
#[test]
fn a_response_has_one_status_of_three_digits() {
    let found = response(&[(":status", "204"), ("server", "x")]).unwrap();
    assert_eq!(found.status(), StatusCode::NO_CONTENT);
    malformed(response(&[("server", "x")]), Violation::MissingPseudo);
    for status in ["", "20", "0200", "2xx", "099", " 200"] {
        malformed(response(&[(":status", status)]), Violation::Status);
    }
}

#[test]
fn switching_protocols_does_not_exist() {
    malformed(response(&[(":status", "101")]), Violation::SwitchingProtocols);
}

// req-test 9114-4.2-054, 9114-10.3-213
#[test]
fn field_names_are_lower_case_tokens() {
    for name in ["Accept", "x-Y", "", "a b", "a:b", "é", "a\0"] {
        malformed(get_with(&[(name, "x")]), Violation::FieldName);
    }
}

// req-test 9114-10.3-214
#[test]
fn field_values_have_no_control_characters_and_no_outer_space() {
    for value in ["a\0b", "a\rb", "a\nb", "\u{7f}", " a", "a\t"] {
        malformed(get_with(&[("x", value)]), Violation::FieldValue);
    }
    assert!(get_with(&[("x", "a \t b"), ("y", ""), ("z", "é")]).is_ok());
}

// req-test 9114-4.2-055, 9114-4.1-026
#[test]
fn fields_about_one_connection_are_refused_in_every_section() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        let field = (name, "x");
        malformed(get_with(&[field]), Violation::ConnectionSpecificField);
        malformed(response(&[(":status", "200"), field]), Violation::ConnectionSpecificField);
        malformed(decode_trailers(lines(&[field])), Violation::ConnectionSpecificField);
    }
}

// req-test 9114-4.2-056
#[test]
fn te_asks_for_trailers_in_a_request_and_nothing_else() {
    assert!(get_with(&[("te", "trailers")]).is_ok());
    malformed(get_with(&[("te", "gzip")]), Violation::TeNotTrailers);
    malformed(get_with(&[("te", "trailers, gzip")]), Violation::TeNotTrailers);
    malformed(response(&[(":status", "200"), ("te", "trailers")]), Violation::TeNotTrailers);
}

// req-test 9114-4.2.1-059
#[test]
fn cookie_crumbs_become_one_cookie() {
    let request = get_with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")]).unwrap();
    let cookies: Vec<_> = request.headers().get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

// req-test 9204-7.1.3-040, 9204-7.1.3-041
#[test]
fn a_never_indexed_value_is_sensitive_and_is_sent_on_as_never_indexed() {
    let mut fields = lines(GET);
    fields.push(FieldLine::new("x-token", "1").never_indexed());
    fields.push(FieldLine::new("cookie", "a=1").never_indexed());
    fields.push(FieldLine::new("cookie", "b=1"));
    let (head, ()) = decode_request(fields).unwrap().into_parts();
    assert!(head.headers["x-token"].is_sensitive());
    assert!(head.headers["cookie"].is_sensitive());
    let section = encode_request(&head, None).unwrap();
    let sent = decode(Bytes::from(section), &SectionLimits::default()).unwrap();
    for name in ["x-token", "cookie"] {
        let line = sent.iter().find(|line| line.name == name).unwrap();
        assert_eq!(*line, line.clone().never_indexed());
    }
}

#[test]
fn content_length_is_one_plain_number() {
    for bad in ["", "-1", "+1", "1x", "1, 1", "18446744073709551616"] {
        let (head, ()) = get_with(&[("content-length", bad)]).unwrap().into_parts();
        malformed(Content::declared(&head.headers), Violation::ContentLength);
    }
    let twice = get_with(&[("content-length", "1"), ("content-length", "1")]).unwrap();
    malformed(Content::declared(twice.headers()), Violation::ContentLength);
    let fine = get_with(&[("content-length", "007")]).unwrap();
    assert_eq!(Content::declared(fine.headers()), Ok(Content::Left(7)));
}

fn sent_request(request: http::request::Builder) -> Result<Vec<FieldLine>, EncodeError> {
    let (head, ()) = request.body(()).unwrap().into_parts();
    let section = encode_request(&head, None)?;
    Ok(decode(Bytes::from(section), &SectionLimits::default()).unwrap())
}

// req-test 9114-4.3.1-070, 9114-4.3-062, 9114-4.3-066
#[test]
fn a_request_is_sent_with_authority_instead_of_host() {
    let sent = sent_request(Request::get("https://a.example/x").header("Host", "a.example"));
    assert_eq!(
        sent.unwrap(),
        lines(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", "/x")
        ])
    );
    let sent = sent_request(Request::get("/x").header("Host", "b.example")).unwrap();
    assert_eq!(sent[2], FieldLine::new(":authority", "b.example"));
    let sent = sent_request(Request::get("https://a.example?q")).unwrap();
    assert_eq!(sent[3], FieldLine::new(":path", "/?q"));
}

// req-test 9114-4.2-053, 9114-4.2-055, 9114-4.2-056, 9114-4.2-057
#[test]
fn what_belongs_to_an_http1_connection_is_not_sent() {
    let request = Request::get("https://a.example/")
        .header("Connection", "close")
        .header("Keep-Alive", "1")
        .header("Transfer-Encoding", "chunked")
        .header("TE", "gzip")
        .header("Upgrade", "x")
        .header("X-Kept", " value ");
    assert_eq!(sent_request(request).unwrap()[4..], lines(&[("x-kept", "value")]));
}

// req-test 9114-4.3.1-074, 9114-4.3.1-068, 9114-4.4-079
#[test]
fn a_request_that_http3_cannot_carry_is_refused_before_it_is_sent() {
    assert_eq!(sent_request(Request::get("/")), Err(EncodeError::NoAuthority));
    assert_eq!(sent_request(Request::get("https://me@a.example/")), Err(EncodeError::Authority));
    let connect = Request::builder().method("CONNECT");
    let tunnel = sent_request(connect.uri("a.example:443")).unwrap();
    assert_eq!(tunnel, lines(&[(":method", "CONNECT"), (":authority", "a.example:443")]));
    let connect = Request::builder().method("CONNECT").uri("a.example");
    assert_eq!(sent_request(connect), Err(EncodeError::ConnectTarget));
    let (head, ()) = Response::builder().status(101).body(()).unwrap().into_parts();
    assert_eq!(encode_response(&head, None), Err(EncodeError::SwitchingProtocols));
}

// req-test 9114-4.2.2-061
#[test]
fn a_section_larger_than_the_peer_takes_is_not_sent() {
    let (head, ()) = Response::new(()).into_parts();
    assert!(encode_response(&head, Some(42)).is_ok());
    assert_eq!(encode_response(&head, Some(41)), Err(EncodeError::TooLargeForPeer));
    let mut trailers = HeaderMap::new();
    trailers.insert("a", HeaderValue::from_static("b"));
    assert!(encode_trailers(&trailers, Some(34)).is_ok());
    assert_eq!(encode_trailers(&trailers, Some(33)), Err(EncodeError::TooLargeForPeer));
}

#[test]
fn credentials_are_never_indexed() {
    let request = Request::get("https://a.example/").header("authorization", "Basic eDp5");
    let sent = sent_request(request).unwrap();
    assert_eq!(sent[4], FieldLine::new("authorization", "Basic eDp5").never_indexed());
}

proptest! {
    #[test]
    fn any_response_survives_a_round_trip(
        status in (100_u16..600).prop_filter("101 is not for HTTP/3", |status| *status != 101),
        fields in proptest::collection::vec(("x-[a-z0-9]{0,8}", "[!-~]([ -~]{0,20}[!-~])?"), 0..10),
    ) {
        let mut builder = Response::builder().status(status).version(Version::HTTP_3);
        for (name, value) in &fields {
            builder = builder.header(name, value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let section = encode_response(&head, None).unwrap();
        let lines = decode(Bytes::from(section), &SectionLimits::default()).unwrap();
        let (back, ()) = decode_response(lines).unwrap().into_parts();
        prop_assert_eq!(back.status, head.status);
        prop_assert_eq!(back.version, head.version);
        prop_assert_eq!(back.headers, head.headers);
    }

    #[test]
    fn no_field_lines_make_the_reader_panic(
        fields in proptest::collection::vec(
            ("(:(method|scheme|path|authority|status))|[a-z]{0,3}|content-length|host", "\\PC{0,8}"),
            0..8,
        ),
    ) {
        let lines: Vec<_> =
            fields.iter().map(|(name, value)| FieldLine::new(name.clone(), value.clone())).collect();
        let _ = decode_response(lines.clone());
        let _ = decode_trailers(lines.clone());
        if let Ok(request) = decode_request(lines) {
            let (head, ()) = request.into_parts();
            prop_assert!(encode_request(&head, None).is_ok());
        }
    }
}
