//! A client against servers that do not keep to the rules: bytes made by hand on QUIC streams.

mod support;

use h3_lite::proto::error::Violation;
use h3_lite::{BodyError, Code, ConnectionError, RequestError};
use http_body_util::BodyExt;
use quic_tokio::{RecvStream, SendStream};
use support::{RawServer, close_code, code, get, read, within_limits};

/// The type of a control stream, empty SETTINGS.
const CONTROL: &[u8] = b"\x00\x04\x00";
/// HEADERS with status 200 of the static table.
const OK: &[u8] = b"\x01\x03\0\0\xd9";

type Sent = tokio::task::JoinHandle<Result<http::Response<h3_lite::RecvBody>, RequestError>>;

/// A request on its way, and the stream it arrived on.
async fn request(raw: &RawServer) -> (Sent, SendStream, RecvStream) {
    let client = raw.client.clone();
    let request = tokio::spawn(async move { client.send(get("/")).await });
    let (send, recv) = raw.quic.accept_bi().await.unwrap();
    (request, send, recv)
}

async fn after_uni(streams: &[&[u8]]) -> Code {
    let raw = RawServer::new().await;
    let mut open = Vec::new();
    for bytes in streams {
        let mut stream = raw.quic.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        open.push(stream);
    }
    let (code, reason) = close_code(&raw.quic).await;
    assert!(!reason.is_empty());
    let closed = raw.client.closed().await;
    assert!(matches!(closed, ConnectionError::Violation(fault) if fault.code == code), "{closed}");
    code
}

async fn after_response(bytes: &[u8]) -> Code {
    let raw = RawServer::new().await;
    let (_request, mut send, _recv) = request(&raw).await;
    send.write_all(bytes).await.unwrap();
    close_code(&raw.quic).await.0
}

#[tokio::test]
async fn faults_of_the_connection_close_it_with_their_code() {
    within_limits(async {
        assert_eq!(after_uni(&[CONTROL, CONTROL]).await, Code::STREAM_CREATION_ERROR);
        assert_eq!(after_uni(&[b"\x00\x00\x01x"]).await, Code::MISSING_SETTINGS);
        assert_eq!(after_uni(&[b"\x01\x00"]).await, Code::ID_ERROR);
        // GOAWAY whose identifier is no request, and one that goes up.
        assert_eq!(after_uni(&[&[CONTROL, b"\x07\x01\x02"].concat()]).await, Code::ID_ERROR);
        let rising = [CONTROL, b"\x07\x01\x00\x07\x01\x04"].concat();
        assert_eq!(after_uni(&[&rising]).await, Code::ID_ERROR);
        assert_eq!(after_response(b"\x00\x01a").await, Code::FRAME_UNEXPECTED);
        assert_eq!(after_response(&[OK, b"\x02\x00"].concat()).await, Code::FRAME_UNEXPECTED);
        assert_eq!(after_response(b"\x05\x03\x00\x00\x00").await, Code::ID_ERROR);
    })
    .await;
}

// req-test 9114-6.1-121
#[tokio::test]
async fn a_request_stream_of_the_server_ends_the_connection() {
    within_limits(async {
        let raw = RawServer::new().await;
        let (mut send, _recv) = raw.quic.open_bi().await.unwrap();
        send.write_all(OK).await.unwrap();
        assert_eq!(close_code(&raw.quic).await.0, Code::STREAM_CREATION_ERROR);
    })
    .await;
}

// req-test 9114-6.2.1-132, 9114-6.2-124
#[tokio::test]
async fn a_client_opens_its_control_stream_and_keeps_it_open() {
    within_limits(async {
        let raw = RawServer::new().await;
        let mut control = raw.quic.accept_uni().await.unwrap();
        let beginning = control.read_chunk().await.unwrap().unwrap();
        assert_eq!(beginning[..2], [0x00, 0x04]);
        control.stop(code(Code::NO_ERROR));
        assert_eq!(close_code(&raw.quic).await.0, Code::CLOSED_CRITICAL_STREAM);
    })
    .await;
}

// req-test 9114-4.1.2-052
#[tokio::test]
async fn a_malformed_response_is_an_error_of_its_request() {
    within_limits(async {
        let raw = RawServer::new().await;
        // No :status at all.
        let (sent, mut send, _recv) = request(&raw).await;
        send.write_all(b"\x01\x02\0\0").await.unwrap();
        let error = sent.await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::Malformed(Violation::MissingPseudo)), "{error}");
        assert_eq!(send.stopped().await, Some(code(Code::MESSAGE_ERROR)));
        // The connection lives on.
        let (sent, mut send, _recv) = request(&raw).await;
        send.write_all(OK).await.unwrap();
        send.finish().unwrap();
        assert_eq!(read(sent.await.unwrap().unwrap().into_body()).await, "");
    })
    .await;
}

// req-test 9114-4.1.1-047
#[tokio::test]
async fn a_response_that_breaks_off_is_an_error_of_its_body() {
    within_limits(async {
        let raw = RawServer::new().await;
        let (sent, mut send, _recv) = request(&raw).await;
        send.write_all(&[OK, b"\x00\x05begin"].concat()).await.unwrap();
        let mut body = sent.await.unwrap().unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begin");
        send.reset(code(Code::INTERNAL_ERROR));
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error, BodyError::Reset(Code::INTERNAL_ERROR));
        assert_eq!(body.frame().await.unwrap().unwrap_err(), error);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ends_within_a_response_is_an_error_of_its_body() {
    within_limits(async {
        let raw = RawServer::new().await;
        let (sent, mut send, _recv) = request(&raw).await;
        send.write_all(OK).await.unwrap();
        let body = sent.await.unwrap().unwrap().into_body();
        raw.quic.close(code(Code::NO_ERROR), b"");
        let error = body.collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Connection(_)), "{error}");
    })
    .await;
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    within_limits(async {
        let raw = RawServer::new().await;
        let (sent, mut send, _recv) = request(&raw).await;
        // 103 of the static table, twice.
        send.write_all(b"\x01\x03\0\0\xd8\x01\x03\0\0\xd8").await.unwrap();
        send.write_all(OK).await.unwrap();
        send.finish().unwrap();
        assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    })
    .await;
}

// req-test 9114-4.1-028, 9114-4.1-029, 9114-4.1.1-043, 9114-7.2.4.2-175
#[tokio::test]
async fn a_request_is_finished_before_its_response_and_cancelled_by_dropping_it() {
    within_limits(async {
        let raw = RawServer::new().await;
        let (sent, mut send, mut recv) = request(&raw).await;
        assert!(!recv.read_to_end(1 << 20).await.unwrap().is_empty());
        send.write_all(OK).await.unwrap();
        drop(sent.await.unwrap().unwrap());
        assert_eq!(send.stopped().await, Some(code(Code::REQUEST_CANCELLED)));
    })
    .await;
}
