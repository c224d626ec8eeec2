//! A server against clients that do not keep to the rules: bytes made by hand on QUIC streams.

mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use h3_lite::proto::receive::{Event, ResponseReceiver};
use h3_lite::qpack::decoder::SectionLimits;
use h3_lite::server::Config;
use h3_lite::{BodyError, Code, ConnectionError, RecvBody, service_fn};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use quic_tokio::{ReadError, RecvStream, SendStream};
use support::{RawClient, close_code, code, within_limits};
use tokio::sync::mpsc;

/// The type of a control stream, empty SETTINGS.
const CONTROL: &[u8] = b"\x00\x04\x00";
/// HEADERS of `GET https://a/`.
const GET: &[u8] = b"\x01\x08\0\0\xd1\xd7\xc1\x50\x01a";
/// HEADERS of `POST https://a/`.
const POST: &[u8] = b"\x01\x08\0\0\xd4\xd7\xc1\x50\x01a";

async fn answer(request: Request<RecvBody>) -> Result<Response<Full<Bytes>>, BodyError> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

async fn raw() -> RawClient {
    RawClient::new(service_fn(answer)).await
}

/// What the server closes the connection with after these bytes on unidirectional streams.
async fn after_uni(streams: &[&[u8]]) -> (Code, String) {
    let raw = raw().await;
    let mut open = Vec::new();
    for bytes in streams {
        let mut stream = raw.quic.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        open.push(stream);
    }
    let closed = close_code(&raw.quic).await;
    let error = raw.server.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectionError::Violation(fault) if fault.code == closed.0));
    closed
}

/// What the server closes the connection with after these bytes on a request stream.
async fn after_request(bytes: &[u8]) -> Code {
    let raw = raw().await;
    let (mut send, _recv) = raw.quic.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let (code, _) = close_code(&raw.quic).await;
    raw.server.await.unwrap().unwrap_err();
    code
}

async fn request(raw: &RawClient, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = raw.quic.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    (send, recv)
}

/// Reads a whole response.
async fn status(recv: &mut RecvStream) -> StatusCode {
    let mut response = ResponseReceiver::new(Method::GET, SectionLimits::default());
    response.feed(recv.read_to_end(1 << 20).await.unwrap());
    response.finish();
    match response.next() {
        Ok(Some(Event::Headers(head))) => head.status(),
        other => panic!("{other:?}"),
    }
}

// req-test 9114-6.2.1-134
#[tokio::test]
async fn a_second_control_stream_ends_the_connection_and_says_why() {
    within_limits(async {
        let (code, reason) = after_uni(&[CONTROL, CONTROL]).await;
        assert_eq!(code, Code::STREAM_CREATION_ERROR);
        assert_eq!(reason, "a second stream of a type that exists once");
    })
    .await;
}

// req-test 9114-6.2.1-136
#[tokio::test]
async fn a_control_stream_that_is_finished_or_reset_ends_the_connection() {
    within_limits(async {
        let client = raw().await;
        let mut control = client.quic.open_uni().await.unwrap();
        control.write_all(CONTROL).await.unwrap();
        control.finish().unwrap();
        assert_eq!(close_code(&client.quic).await.0, Code::CLOSED_CRITICAL_STREAM);

        // Its type must have arrived: a stream that never said what it is may be reset.
        let client = raw().await;
        let mut control = client.quic.open_uni().await.unwrap();
        control.write_all(CONTROL).await.unwrap();
        let (mut send, mut recv) = request(&client, GET).await;
        send.finish().unwrap();
        assert_eq!(status(&mut recv).await, 200);
        control.reset(code(Code::NO_ERROR));
        assert_eq!(close_code(&client.quic).await.0, Code::CLOSED_CRITICAL_STREAM);
    })
    .await;
}

// req-test 9114-6.2.1-135, 9114-6.2.1-136, 9114-6.2.1-132, 9114-6.2-124, 9114-3.2-012
#[tokio::test]
async fn a_server_opens_its_control_stream_first_and_is_not_told_to_stop_it() {
    within_limits(async {
        let client = raw().await;
        let mut control = client.quic.accept_uni().await.unwrap();
        let beginning = control.read_chunk().await.unwrap().unwrap();
        assert_eq!(beginning[..2], [0x00, 0x04], "a control stream that begins with SETTINGS");
        control.stop(code(Code::NO_ERROR));
        assert_eq!(close_code(&client.quic).await.0, Code::CLOSED_CRITICAL_STREAM);
    })
    .await;
}

// req-test 9114-6.2.1-133
#[tokio::test]
async fn a_control_stream_without_settings_ends_the_connection() {
    within_limits(async {
        let (code, _) = after_uni(&[b"\x00\x07\x01\x00"]).await;
        assert_eq!(code, Code::MISSING_SETTINGS);
    })
    .await;
}

// req-test 9114-7.2.4.1-170
#[tokio::test]
async fn wrong_settings_end_the_connection() {
    within_limits(async {
        assert_eq!(after_uni(&[b"\x00\x04\x02\x02\x01"]).await.0, Code::SETTINGS_ERROR);
        assert_eq!(after_uni(&[b"\x00\x04\x04\x06\x01\x06\x01"]).await.0, Code::SETTINGS_ERROR);
        assert_eq!(after_uni(&[b"\x00\x04\x00\x04\x00"]).await.0, Code::FRAME_UNEXPECTED);
    })
    .await;
}

#[tokio::test]
async fn frames_of_http2_end_the_connection_wherever_they_are() {
    within_limits(async {
        for frame in [b"\x02\x00", b"\x06\x00", b"\x08\x00", b"\x09\x00"] {
            assert_eq!(after_request(&[GET, frame].concat()).await, Code::FRAME_UNEXPECTED);
            let (code, _) = after_uni(&[&[CONTROL, frame].concat()]).await;
            assert_eq!(code, Code::FRAME_UNEXPECTED);
        }
    })
    .await;
}

// req-test 9114-4.1-022
#[tokio::test]
async fn data_before_headers_ends_the_connection() {
    within_limits(async {
        assert_eq!(after_request(b"\x00\x01a").await, Code::FRAME_UNEXPECTED);
    })
    .await;
}

#[tokio::test]
async fn frames_that_break_their_layout_end_the_connection() {
    within_limits(async {
        let client = raw().await;
        let (mut send, _recv) = request(&client, b"\x01\x08\0\0").await;
        send.finish().unwrap();
        assert_eq!(close_code(&client.quic).await.0, Code::FRAME_ERROR);
        // A field section that refers to a dynamic table.
        let section = b"\x01\x03\x02\x00\x80";
        assert_eq!(after_request(section).await, Code::QPACK_DECOMPRESSION_FAILED);
    })
    .await;
}

// req-test 9114-6.2.2-138
#[tokio::test]
async fn a_push_stream_of_a_client_ends_the_connection() {
    within_limits(async {
        assert_eq!(after_uni(&[b"\x01\x00"]).await.0, Code::STREAM_CREATION_ERROR);
    })
    .await;
}

// req-test 9114-6.2-125, 9114-6.2-126, 9114-6.2-127
#[tokio::test]
async fn a_stream_of_an_unknown_type_is_stopped_and_nothing_else_happens() {
    within_limits(async {
        let client = raw().await;
        let mut stream = client.quic.open_uni().await.unwrap();
        stream.write_all(b"\x21unknown").await.unwrap();
        assert_eq!(stream.stopped().await, Some(code(Code::STREAM_CREATION_ERROR)));
        let (mut send, mut recv) = request(&client, GET).await;
        send.finish().unwrap();
        assert_eq!(status(&mut recv).await, 200);
    })
    .await;
}

/// HEADERS with `fields` as literals.
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        assert!(name.len() < 7 && value.len() < 127);
        section.push(0x20 | name.len() as u8);
        section.extend_from_slice(name.as_bytes());
        section.push(value.len() as u8);
        section.extend_from_slice(value.as_bytes());
    }
    let mut frame = vec![0x01, section.len() as u8];
    frame.append(&mut section);
    frame
}

// req-test 9114-4.1.2-050, 9114-4.1.2-051, 9114-4.1.1-038
#[tokio::test]
async fn a_malformed_request_is_answered_with_400_and_stopped_with_its_code() {
    within_limits(async {
        let client = raw().await;
        let pseudo = [(":path", "/"), ("a", "b"), (":x", "y")];
        for malformed in [&pseudo[..1], &pseudo[1..2], &pseudo[2..]] {
            let (send, mut recv) = request(&client, &headers(malformed)).await;
            assert_eq!(status(&mut recv).await, StatusCode::BAD_REQUEST);
            assert_eq!(send.stopped().await, Some(code(Code::MESSAGE_ERROR)));
        }
        let (mut send, mut recv) = request(&client, GET).await;
        send.finish().unwrap();
        assert_eq!(status(&mut recv).await, 200);
    })
    .await;
}

#[tokio::test]
async fn a_header_section_that_is_too_large_is_answered_with_431() {
    within_limits(async {
        let client = raw().await;
        // Only announced: nothing of it is waited for.
        let (send, mut recv) = request(&client, b"\x01\x80\x10\x00\x00").await;
        assert_eq!(status(&mut recv).await, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(send.stopped().await, Some(code(Code::MESSAGE_ERROR)));
    })
    .await;
}

// req-test 9114-4.1.2-050
#[tokio::test]
async fn a_body_longer_than_its_content_length_is_a_malformed_request() {
    within_limits(async {
        let client = raw().await;
        // POST with content-length 0 of the static table.
        let head = b"\x01\x09\0\0\xd4\xd7\xc1\x50\x01a\xc4";
        let (send, mut recv) = request(&client, &[&head[..], b"\x00\x01x"].concat()).await;
        assert_eq!(status(&mut recv).await, StatusCode::BAD_REQUEST);
        assert_eq!(send.stopped().await, Some(code(Code::MESSAGE_ERROR)));
    })
    .await;
}

// req-test 9114-4.1-032
#[tokio::test]
async fn a_stream_that_ends_without_a_request_is_reset() {
    within_limits(async {
        let client = raw().await;
        let (mut send, mut recv) = request(&client, b"").await;
        send.finish().unwrap();
        let error = recv.read_chunk().await.unwrap_err();
        assert_eq!(error, ReadError::Reset(code(Code::REQUEST_INCOMPLETE)));
    })
    .await;
}

// req-test 9114-4.1-033, 9114-4.1-034
#[tokio::test]
async fn a_request_that_is_not_needed_to_its_end_is_stopped_after_the_answer() {
    within_limits(async {
        let client = RawClient::new(service_fn(|_: Request<RecvBody>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"enough"))))
        }))
        .await;
        let (send, mut recv) = request(&client, &[POST, b"\x00\x05begin"].concat()).await;
        assert_eq!(status(&mut recv).await, 200);
        assert_eq!(send.stopped().await, Some(code(Code::NO_ERROR)));
    })
    .await;
}

// req-test 9114-4.1.1-042
#[tokio::test]
async fn a_response_to_a_request_that_was_reset_is_given_up_as_cancelled() {
    within_limits(async {
        let client = raw().await;
        let (mut send, mut recv) = request(&client, POST).await;
        send.reset(code(Code::REQUEST_CANCELLED));
        let error = recv.read_chunk().await.unwrap_err();
        assert_eq!(error, ReadError::Reset(code(Code::REQUEST_CANCELLED)));
    })
    .await;
}

#[tokio::test]
async fn headers_that_do_not_arrive_in_time_are_answered_with_408() {
    within_limits(async {
        let config = Config { header_timeout: Duration::from_millis(20), ..Config::default() };
        let client = RawClient::with_config(service_fn(answer), config).await;
        let (send, mut recv) = request(&client, &GET[..3]).await;
        assert_eq!(status(&mut recv).await, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(send.stopped().await, Some(code(Code::REQUEST_INCOMPLETE)));
    })
    .await;
}

#[tokio::test]
async fn a_body_without_progress_times_out() {
    within_limits(async {
        let (seen, mut outcome) = mpsc::unbounded_channel();
        let config =
            Config { progress_timeout: Some(Duration::from_millis(20)), ..Config::default() };
        let service = service_fn(move |request: Request<RecvBody>| {
            let seen = seen.clone();
            async move {
                seen.send(request.into_body().collect().await.unwrap_err()).unwrap();
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        });
        let client = RawClient::with_config(service, config).await;
        let (_send, mut recv) = request(&client, &[POST, b"\x00\x05beg"].concat()).await;
        assert_eq!(outcome.recv().await.unwrap(), BodyError::TimedOut);
        assert_eq!(status(&mut recv).await, 200);
    })
    .await;
}

/// The client opens and cancels requests as fast as it can: no more handlers run than it may have
/// streams.
#[tokio::test]
async fn rapid_resets_run_no_more_handlers_than_streams_are_allowed() {
    within_limits(async {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        struct Running(Arc<AtomicUsize>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
        let client = RawClient::new(service_fn(move |_: Request<RecvBody>| {
            peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let guard = Running(Arc::clone(&now));
            async move {
                let _guard = guard;
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
            }
        }))
        .await;
        for _ in 0..1000 {
            let (mut send, mut recv) = request(&client, GET).await;
            // A reset would take the request back before it is sent.
            send.finish().unwrap();
            recv.stop(code(Code::REQUEST_CANCELLED));
        }
        let most = most.load(Ordering::Relaxed);
        assert!((1..=100).contains(&most), "{most} handlers at once");
    })
    .await;
}
