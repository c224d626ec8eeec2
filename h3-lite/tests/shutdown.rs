//! The end of connections: orderly shutdown, and what it tells about requests.

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use h3_lite::{Client, Code, ConnectionError, RecvBody, RequestError, Server, service_fn};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use support::{
    Net, Pair, RawClient, RawServer, close_code, code, get, noise, post, read, within_limits,
};
use tokio::sync::{Notify, mpsc};

/// The type of a control stream, empty SETTINGS.
const SETTINGS: &[u8] = b"\x00\x04\x00";

async fn empty(_: Request<RecvBody>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

// req-test 9114-5.2-111, 9114-5.2-115, 9114-5.2-116, 9114-3.3-019
#[tokio::test]
async fn a_shutdown_answers_what_was_accepted_and_takes_nothing_new() {
    within_limits(async {
        let release = Arc::new(Notify::new());
        let (entered, mut is_entered) = mpsc::unbounded_channel();
        let wait = Arc::clone(&release);
        let pair = Pair::new(service_fn(move |request: Request<RecvBody>| {
            let (wait, entered) = (Arc::clone(&wait), entered.clone());
            async move {
                if request.uri().path() == "/held" {
                    entered.send(()).unwrap();
                    wait.notified().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(noise(1 << 20))))
            }
        }))
        .await;
        let client = pair.client.clone();
        let running = tokio::spawn(async move {
            let response = client.send(get("/held")).await.unwrap();
            read(response.into_body()).await
        });
        is_entered.recv().await.unwrap();
        pair.shutdown.start();

        // Requests are taken until the client knows; whoever is refused may try elsewhere.
        let error = loop {
            match pair.client.send(get("/")).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, RequestError::GoingAway), "{error}");
        assert!(error.may_retry());
        release.notify_one();
        assert_eq!(running.await.unwrap(), noise(1 << 20));
        pair.server.await.unwrap().unwrap();
        let closed = pair.client.closed().await;
        assert!(matches!(closed, ConnectionError::Closed { code: Code::NO_ERROR, .. }), "{closed}");
        assert!(closed.is_orderly());
    })
    .await;
}

/// What was counted by the server was answered, and what was not answered was not counted, or its
/// error says that it may be tried again and it was not counted either.
// req-test 9114-4.1.1-040, 9114-4.1.1-041, 9114-5.2-106, 9114-5.2-107
#[tokio::test]
async fn a_shutdown_under_load_loses_no_request_and_runs_none_twice() {
    within_limits(async {
        let served = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&served);
        let pair = Pair::new(service_fn(move |_: Request<RecvBody>| {
            counter.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Response::new(Full::new(noise(10_000))))
            }
        }))
        .await;
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..300 {
            let client = pair.client.clone();
            requests.spawn(async move {
                match client.send(get("/")).await {
                    Ok(response) => {
                        assert_eq!(read(response.into_body()).await.len(), 10_000);
                        1
                    }
                    Err(error) => {
                        assert!(error.may_retry(), "{number}: {error}");
                        0
                    }
                }
            });
        }
        let answered = requests.join_next().await.unwrap().unwrap();
        pair.shutdown.start();
        let answered: u32 = answered + requests.join_all().await.into_iter().sum::<u32>();
        assert_eq!(answered, served.load(Ordering::Relaxed));
        pair.server.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_server_ends_when_its_connections_have_ended() {
    within_limits(async {
        let net = Net::new();
        let server = Server::new(service_fn(empty));
        let shutdown = server.shutdown_handle();
        let endpoint = net.server.clone();
        let running = tokio::spawn(async move { server.run(&endpoint).await });
        let connect = || net.client.connect(net.server.local_addr(), "localhost");
        let clients =
            [Client::new(connect().await.unwrap()), Client::new(connect().await.unwrap())];
        for client in &clients {
            assert_eq!(client.send(get("/")).await.unwrap().status(), 200);
        }
        shutdown.start();
        for client in &clients {
            assert!(client.closed().await.is_orderly());
        }
        running.await.unwrap();
    })
    .await;
}

// req-test 9114-5.2-108
#[tokio::test]
async fn after_goaway_a_client_sends_nothing_and_says_so() {
    within_limits(async {
        let raw = RawServer::new().await;
        let mut control = raw.quic.open_uni().await.unwrap();
        let request = tokio::spawn({
            let client = raw.client.clone();
            async move { client.send(get("/")).await }
        });
        let (_send, mut recv) = raw.quic.accept_bi().await.unwrap();
        assert!(recv.read_chunk().await.unwrap().is_some());
        // GOAWAY: nothing at or above stream 0 is processed.
        control.write_all(&[SETTINGS, b"\x07\x01\x00"].concat()).await.unwrap();
        let error = request.await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::Rejected), "{error}");
        assert!(error.may_retry());
        let error = raw.client.send(get("/")).await.unwrap_err();
        assert!(matches!(error, RequestError::GoingAway), "{error}");
        assert!(error.may_retry());
    })
    .await;
}

// req-test 9114-5.2-106
#[tokio::test]
async fn goaway_leaves_requests_below_its_identifier_alone() {
    within_limits(async {
        let raw = RawServer::new().await;
        let mut control = raw.quic.open_uni().await.unwrap();
        let send = |path: &'static str| {
            let client = raw.client.clone();
            tokio::spawn(async move { client.send(get(path)).await })
        };
        let first = send("/1");
        let (mut answer, _recv) = raw.quic.accept_bi().await.unwrap();
        let second = send("/2");
        let (_send, _recv) = raw.quic.accept_bi().await.unwrap();
        control.write_all(&[SETTINGS, b"\x07\x01\x04"].concat()).await.unwrap();
        assert!(second.await.unwrap().unwrap_err().may_retry());
        // HEADERS: status 200 of the static table.
        answer.write_all(b"\x01\x03\0\0\xd9").await.unwrap();
        answer.finish().unwrap();
        assert_eq!(first.await.unwrap().unwrap().status(), 200);
    })
    .await;
}

// req-test 9114-4.1.1-040, 9114-4.1.1-048, 9114-5.2-110
#[tokio::test]
async fn a_request_that_the_server_rejects_may_be_sent_again() {
    within_limits(async {
        let raw = RawServer::new().await;
        let request = tokio::spawn({
            let client = raw.client.clone();
            async move { client.send(post("/", "content")).await }
        });
        let (mut send, _recv) = raw.quic.accept_bi().await.unwrap();
        send.reset(code(Code::REQUEST_REJECTED));
        let error = request.await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::Rejected), "{error}");
        assert!(error.may_retry());
    })
    .await;
}

// req-test 9114-5.4-118
#[tokio::test]
async fn a_connection_that_ends_without_goaway_leaves_requests_in_doubt() {
    within_limits(async {
        let raw = RawServer::new().await;
        let request = tokio::spawn({
            let client = raw.client.clone();
            async move { client.send(get("/")).await }
        });
        let (_send, _recv) = raw.quic.accept_bi().await.unwrap();
        raw.quic.close(code(Code::INTERNAL_ERROR), b"no more");
        let error = request.await.unwrap().unwrap_err();
        assert!(!error.may_retry(), "{error}");
        assert!(error.to_string().contains("H3_INTERNAL_ERROR: \"no more\""), "{error}");
        // What was never sent is not in doubt.
        assert!(raw.client.send(get("/")).await.unwrap_err().may_retry());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_closes_tells_the_server_that_nothing_is_wrong() {
    within_limits(async {
        let raw = RawServer::new().await;
        raw.client.close();
        assert_eq!(close_code(&raw.quic).await, (Code::NO_ERROR, String::new()));
    })
    .await;
}

// req-test 9114-5.2-105, 9114-5.2-111, 9114-5.2-116, 9114-4.1.1-040
#[tokio::test]
async fn goaway_comes_as_a_notice_first_and_then_with_the_first_request_that_is_not_taken() {
    within_limits(async {
        let raw = RawClient::new(service_fn(empty)).await;
        let mut control = raw.quic.accept_uni().await.unwrap();
        raw.shutdown.start();
        let mut said = Vec::new();
        while let Ok(Some(chunk)) = control.read_chunk().await {
            said.extend_from_slice(&chunk);
        }
        // The largest request stream there can be, then none at all.
        let goaways = b"\x07\x08\xff\xff\xff\xff\xff\xff\xff\xfc\x07\x01\x00";
        assert!(said.ends_with(goaways), "{said:02x?}");
        assert_eq!(close_code(&raw.quic).await, (Code::NO_ERROR, String::new()));
        raw.server.await.unwrap().unwrap();
    })
    .await;
}
