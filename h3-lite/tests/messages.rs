//! Requests and responses over loopback sockets.

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use h3_lite::{BodyError, Code, RecvBody, RequestError, service_fn};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use support::{Pair, get, noise, post, read, within_limits};
use tokio::sync::{Notify, mpsc};

type Answer<B> = Result<Response<B>, Infallible>;

fn full(text: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(text.into())
}

async fn echo(request: Request<RecvBody>) -> Answer<RecvBody> {
    Ok(Response::new(request.into_body()))
}

/// Says what it was asked.
async fn describe(request: Request<RecvBody>) -> Answer<Full<Bytes>> {
    if request.uri().path() == "/missing" {
        let response = Response::builder().status(StatusCode::NOT_FOUND);
        return Ok(response.body(full("nothing here")).unwrap());
    }
    let text = format!("{} {}", request.method(), request.uri());
    Ok(Response::builder().header("x-served-by", "test").body(full(text)).unwrap())
}

// req-test 9114-4.1-028, 9114-4.1-030
#[tokio::test]
async fn a_get_is_answered() {
    within_limits(async {
        let pair = Pair::new(service_fn(describe)).await;
        let response = pair.client.send(get("/a?b=c")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), Version::HTTP_3);
        assert_eq!(response.headers()["x-served-by"], "test");
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "27");
        assert_eq!(response.body().size_hint().exact(), Some(27));
        assert_eq!(read(response.into_body()).await, "GET https://localhost/a?b=c");
    })
    .await;
}

// req-test 9114-3.3-013
#[tokio::test]
async fn one_connection_carries_requests_for_several_authorities() {
    within_limits(async {
        let pair = Pair::new(service_fn(describe)).await;
        for authority in ["localhost", "other.example:444"] {
            let request = Request::get(format!("https://{authority}/")).body(Empty::<Bytes>::new());
            let response = pair.client.send(request.unwrap()).await.unwrap();
            assert_eq!(read(response.into_body()).await, format!("GET https://{authority}/"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_status_of_the_handler_arrives() {
    within_limits(async {
        let pair = Pair::new(service_fn(describe)).await;
        let response = pair.client.send(get("/missing")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(read(response.into_body()).await, "nothing here");
    })
    .await;
}

#[tokio::test]
async fn a_response_to_head_has_fields_and_no_content() {
    within_limits(async {
        let pair = Pair::new(service_fn(|_: Request<RecvBody>| async {
            let response = Response::builder().header(header::CONTENT_LENGTH, "4");
            Ok::<_, Infallible>(response.body(full("text")).unwrap())
        }))
        .await;
        let mut request = get("/");
        *request.method_mut() = Method::HEAD;
        let response = pair.client.send(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "4");
        assert_eq!(read(response.into_body()).await, "");
        let response = pair.client.send(get("/")).await.unwrap();
        assert_eq!(read(response.into_body()).await, "text");
    })
    .await;
}

/// A body of many pieces, each given when the one before is taken.
fn pieces(data: Bytes, size: usize) -> impl Body<Data = Bytes, Error = Infallible> + Send {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut rest = data;
        while !rest.is_empty() {
            let piece = rest.split_to(size.min(rest.len()));
            if sender.send(Frame::data(piece)).await.is_err() {
                return;
            }
        }
    });
    channel_body(receiver)
}

fn channel_body<E: Send>(
    mut receiver: mpsc::Receiver<Frame<Bytes>>,
) -> impl Body<Data = Bytes, Error = E> + Send {
    StreamBody::new(Poller(move |cx: &mut std::task::Context<'_>| {
        receiver.poll_recv(cx).map(|frame| frame.map(Ok))
    }))
}

/// A stream from a function that is polled.
struct Poller<F>(F);

impl<F, T> futures_core::Stream for Poller<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
{
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        (self.0)(cx)
    }
}

// req-test 9114-4.1-029, 9114-4.1-031, 9114-4.1-036
#[tokio::test]
async fn a_mebibyte_is_echoed_while_it_is_sent() {
    within_limits(async {
        let pair = Pair::new(service_fn(echo)).await;
        let data = noise(1 << 20);
        for size in [1000, 100_000] {
            let request = Request::post("https://localhost/").body(pieces(data.clone(), size));
            let response = pair.client.send(request.unwrap()).await.unwrap();
            assert_eq!(read(response.into_body()).await, data);
        }
        let response = pair.client.send(post("/", data.clone())).await.unwrap();
        assert_eq!(read(response.into_body()).await, data);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_all_answered() {
    within_limits(async {
        let pair = Pair::new(service_fn(echo)).await;
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..100_u32 {
            let client = pair.client.clone();
            requests.spawn(async move {
                let body = number.to_string().repeat(1000);
                let response = client.send(post("/", body.clone())).await.unwrap();
                assert_eq!(read(response.into_body()).await, body);
            });
        }
        requests.join_all().await;
    })
    .await;
}

/// More requests than the server allows streams wait for their turn.
#[tokio::test]
async fn requests_beyond_the_stream_limit_wait_for_credit() {
    within_limits(async {
        let pair = Pair::new(service_fn(describe)).await;
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let client = pair.client.clone();
            requests.spawn(async move { client.send(get("/")).await.unwrap().status() });
        }
        assert!(requests.join_all().await.iter().all(|status| *status == 200));
    })
    .await;
}

#[tokio::test]
async fn a_slow_request_does_not_hold_up_others() {
    within_limits(async {
        let release = Arc::new(Notify::new());
        let wait = Arc::clone(&release);
        let pair = Pair::new(service_fn(move |request: Request<RecvBody>| {
            let wait = Arc::clone(&wait);
            async move {
                if request.uri().path() == "/slow" {
                    wait.notified().await;
                }
                describe(request).await
            }
        }))
        .await;
        let client = pair.client.clone();
        let slow = tokio::spawn(async move { client.send(get("/slow")).await });
        assert_eq!(pair.client.send(get("/fast")).await.unwrap().status(), 200);
        release.notify_one();
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    })
    .await;
}

fn checksum() -> HeaderMap {
    HeaderMap::from_iter([("x-checksum".parse().unwrap(), HeaderValue::from_static("1234"))])
}

#[tokio::test]
async fn trailers_travel_both_ways() {
    within_limits(async {
        let pair = Pair::new(service_fn(echo)).await;
        let body = full("content").with_trailers(async { Some(Ok(checksum())) });
        let request = Request::post("https://localhost/").body(body).unwrap();
        let response = pair.client.send(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&checksum()));
        assert_eq!(body.to_bytes(), "content");
    })
    .await;
}

#[tokio::test]
async fn a_request_larger_than_the_server_takes_is_not_sent_or_answered_with_431() {
    within_limits(async {
        let pair = Pair::new(service_fn(describe)).await;
        let large = || {
            let mut request = get("/");
            let value = HeaderValue::from_str(&"x".repeat(100_000)).unwrap();
            request.headers_mut().insert("x-large", value);
            request
        };
        // Before the settings of the server are known, and then.
        match pair.client.send(large()).await {
            Ok(response) => assert_eq!(response.status(), 431),
            Err(error) => assert!(matches!(error, RequestError::Unsendable(_)), "{error}"),
        }
        assert_eq!(pair.client.send(get("/")).await.unwrap().status(), 200);
        let error = pair.client.send(large()).await.unwrap_err();
        assert!(matches!(error, RequestError::Unsendable(_)), "{error}");
        assert_eq!(pair.client.send(get("/")).await.unwrap().status(), 200);
    })
    .await;
}

#[tokio::test]
async fn a_request_body_that_is_not_as_long_as_it_says_is_no_request() {
    within_limits(async {
        let pair = Pair::new(service_fn(|request: Request<RecvBody>| async {
            let error = request.into_body().collect().await.unwrap_err();
            assert_eq!(error, BodyError::Reset(Code::REQUEST_CANCELLED));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }))
        .await;
        for length in ["6", "8"] {
            let request = Request::post("https://localhost/").header("content-length", length);
            let error = pair.client.send(request.body(full("content")).unwrap()).await.unwrap_err();
            assert!(matches!(error, RequestError::Body(_)), "{error}");
            assert!(!error.may_retry());
        }
    })
    .await;
}

#[tokio::test]
async fn a_response_body_that_is_not_as_long_as_it_says_is_an_error() {
    within_limits(async {
        let pair = Pair::new(service_fn(|_: Request<RecvBody>| async {
            let response = Response::builder().header("content-length", "8");
            Ok::<_, Infallible>(response.body(pieces("content".into(), 2)).unwrap())
        }))
        .await;
        let error = match pair.client.send(get("/")).await {
            Ok(response) => response.into_body().collect().await.unwrap_err(),
            Err(RequestError::Reset(code)) => BodyError::Reset(code),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(error, BodyError::Reset(Code::INTERNAL_ERROR));
    })
    .await;
}

/// A body that gives one piece and then waits for ever.
fn endless() -> impl Body<Data = Bytes, Error = Infallible> + Send {
    let mut given = false;
    StreamBody::new(Poller(move |_: &mut std::task::Context<'_>| {
        if std::mem::replace(&mut given, true) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"beginning")))))
    }))
}

/// Tells when it is dropped.
struct OnDrop(mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

// req-test 9114-4.1.1-037, 9114-4.1.1-039
#[tokio::test]
async fn a_cancelled_request_drops_the_handler_and_leaves_others_alone() {
    within_limits(async {
        let (dropped, mut is_dropped) = mpsc::unbounded_channel();
        let (entered, mut is_entered) = mpsc::unbounded_channel();
        let pair = Pair::new(service_fn(move |request: Request<RecvBody>| {
            let (dropped, entered) = (dropped.clone(), entered.clone());
            async move {
                if request.uri().path() == "/never" {
                    let _guard = OnDrop(dropped);
                    entered.send(()).unwrap();
                    std::future::pending::<()>().await;
                }
                describe(request).await
            }
        }))
        .await;
        let client = pair.client.clone();
        let cancelled = tokio::spawn(async move { client.send(get("/never")).await });
        is_entered.recv().await.unwrap();
        cancelled.abort();
        is_dropped.recv().await.unwrap();
        assert_eq!(pair.client.send(get("/")).await.unwrap().status(), 200);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_download_stops_the_server_and_leaves_others_alone() {
    within_limits(async {
        let (dropped, mut is_dropped) = mpsc::unbounded_channel();
        let pair = Pair::new(service_fn(move |request: Request<RecvBody>| {
            let guard = OnDrop(dropped.clone());
            async move {
                if request.uri().path() != "/endless" {
                    return Ok::<_, Infallible>(Response::new(full("whole").boxed_unsync()));
                }
                let body = endless().map_frame(move |frame| {
                    let _ = &guard;
                    frame
                });
                Ok(Response::new(body.boxed_unsync()))
            }
        }))
        .await;
        let mut download = pair.client.send(get("/endless")).await.unwrap().into_body();
        let piece = download.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, "beginning");
        let other = pair.client.send(get("/")).await.unwrap();
        drop(download);
        is_dropped.recv().await.unwrap();
        assert_eq!(read(other.into_body()).await, "whole");
        let after = pair.client.send(get("/")).await.unwrap();
        assert_eq!(read(after.into_body()).await, "whole");
    })
    .await;
}

// req-test 9114-4.1.1-043, 9114-4.1.1-045
#[tokio::test]
async fn a_dropped_upload_is_a_reset_for_the_handler_and_not_an_end() {
    within_limits(async {
        let (seen, mut outcome) = mpsc::unbounded_channel();
        let (begun, mut has_begun) = mpsc::unbounded_channel();
        let pair = Pair::new(service_fn(move |request: Request<RecvBody>| {
            let (seen, begun) = (seen.clone(), begun.clone());
            async move {
                // In a task of its own, which outlives the handler.
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    assert_eq!(
                        body.frame().await.unwrap().unwrap().into_data().unwrap(),
                        "beginning"
                    );
                    begun.send(()).unwrap();
                    let error = body.frame().await.unwrap().unwrap_err();
                    let again = body.frame().await.unwrap().unwrap_err();
                    assert_eq!(error, again);
                    assert!(!body.is_end_stream());
                    seen.send(error).unwrap();
                });
                std::future::pending::<Answer<Empty<Bytes>>>().await
            }
        }))
        .await;
        let client = pair.client.clone();
        let request = Request::post("https://localhost/").body(endless()).unwrap();
        let upload = tokio::spawn(async move { client.send(request).await });
        has_begun.recv().await.unwrap();
        upload.abort();
        let error = outcome.recv().await.unwrap();
        assert_eq!(error, BodyError::Reset(Code::REQUEST_CANCELLED));
    })
    .await;
}

#[tokio::test]
async fn an_upload_whose_body_fails_is_a_reset_for_the_handler() {
    within_limits(async {
        let (seen, mut outcome) = mpsc::unbounded_channel();
        let pair = Pair::new(service_fn(move |request: Request<RecvBody>| {
            let seen = seen.clone();
            async move {
                let result = request.into_body().collect().await;
                seen.send(result.map(|body| body.to_bytes())).unwrap();
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        }))
        .await;
        let mut frames = vec![Err("broken"), Ok(Frame::data(Bytes::from_static(b"half")))];
        let body = StreamBody::new(Poller(move |_: &mut std::task::Context<'_>| {
            std::task::Poll::Ready(frames.pop())
        }));
        let request = Request::post("https://localhost/").body(body).unwrap();
        let error = pair.client.send(request).await.unwrap_err();
        assert!(matches!(error, RequestError::Body(_)), "{error}");
        // Cancelled so early that the handler may not even have been called.
        drop(pair.client);
        if let Some(result) = outcome.recv().await {
            assert!(result.is_err());
        }
    })
    .await;
}

/// Counts what the handler was given of a body, and answers without its end.
// req-test 9114-4.1-033, 9114-4.1-034, 9114-4.1-035
#[tokio::test]
async fn an_answer_that_does_not_need_the_request_stops_it_and_is_kept() {
    within_limits(async {
        let pair = Pair::new(service_fn(|_: Request<RecvBody>| async {
            Ok::<_, Infallible>(Response::new(full("enough")))
        }))
        .await;
        let request = Request::post("https://localhost/").body(pieces(noise(30 << 20), 1 << 20));
        let response = pair.client.send(request.unwrap()).await.unwrap();
        assert_eq!(read(response.into_body()).await, "enough");
    })
    .await;
}

// req-test 9114-4.1.1-041
#[tokio::test]
async fn a_handler_that_panics_or_fails_resets_its_request_only() {
    within_limits(async {
        let pair = Pair::new(service_fn(|request: Request<RecvBody>| async move {
            match request.uri().path() {
                "/panic" => panic!("on purpose"),
                "/panic-later" => {
                    tokio::task::yield_now().await;
                    panic!("on purpose")
                }
                "/error" => Err("on purpose"),
                _ => Ok(Response::new(full("fine"))),
            }
        }))
        .await;
        for path in ["/panic", "/panic-later", "/error"] {
            let error = pair.client.send(get(path)).await.unwrap_err();
            assert!(matches!(error, RequestError::Reset(Code::INTERNAL_ERROR)), "{path}: {error}");
            assert!(!error.may_retry());
            let response = pair.client.send(get("/")).await.unwrap();
            assert_eq!(read(response.into_body()).await, "fine");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_held_back_is_sent_when_the_handler_reads_it() {
    within_limits(async {
        let pair = Pair::new(service_fn(|request: Request<RecvBody>| async move {
            if request.uri().path() == "/unwanted" {
                let response = Response::builder().status(StatusCode::EXPECTATION_FAILED);
                return Ok(response.body(full("no")).unwrap());
            }
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(full(body)))
        }))
        .await;
        let expecting = |path: &str| {
            let mut request = post(path, "content");
            request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
            request
        };
        let response = pair.client.send(expecting("/")).await.unwrap();
        assert_eq!(read(response.into_body()).await, "content");
        let response = pair.client.send(expecting("/unwanted")).await.unwrap();
        assert_eq!(response.status(), StatusCode::EXPECTATION_FAILED);
        assert_eq!(read(response.into_body()).await, "no");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_dropped_closes_in_order() {
    within_limits(async {
        let pair = Pair::new(service_fn(describe)).await;
        let response = pair.client.send(get("/")).await.unwrap();
        drop(pair.client);
        assert_eq!(read(response.into_body()).await, "GET https://localhost/");
        pair.server.await.unwrap().unwrap();
    })
    .await;
}
