//! Requests before the handshake is complete (0-RTT): what is sent, what is answered, and what
//! becomes of them when the server does not take early data.

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h3_lite::client::{self, EarlyRequests as Send};
use h3_lite::proto::error::Violation;
use h3_lite::server::{self, EarlyData as Marked, EarlyRequests as Take};
use h3_lite::{Client, Code, ConnectionError, RecvBody, RequestError, Server, service_fn};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use quic_tokio::{Connection, EarlyData, Endpoint};
use support::{LOCALHOST, Net, get, post, read, within_limits};

/// Says whether a request came early, and counts what it is given.
#[derive(Clone, Default)]
struct Handled(Arc<AtomicUsize>);

impl Handled {
    fn service(&self) -> impl h3_lite::server::Handler + use<> {
        let count = Arc::clone(&self.0);
        service_fn(move |request: Request<RecvBody>| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                let early = match request.extensions().get::<Marked>() {
                    None => "late",
                    Some(marked) => {
                        marked.handshake_complete().await.unwrap();
                        "early"
                    }
                };
                read(request.into_body()).await;
                Ok::<_, Infallible>(Response::new(early.to_owned()))
            }
        })
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A server, and tickets of it at the client.
struct Site {
    net: Net,
    handled: Handled,
}

impl Site {
    async fn new(take: Take) -> Self {
        let config = server::Config { early: take, ..server::Config::default() };
        let net = Net::early(&config);
        let handled = Handled::default();
        let server = Server::new(handled.service()).with_config(config);
        let endpoint = net.server.clone();
        tokio::spawn(async move { server.run(&endpoint).await });
        let site = Self { net, handled };
        site.visit().await;
        site
    }

    async fn visit(&self) {
        let client = self.connect(Send::Safe).await;
        assert_eq!(client.quic().early_data(), EarlyData::None);
        let response = client.send(get("/")).await.unwrap();
        assert_eq!(read(response.into_body()).await, "late");
        client.quic().handshake_confirmed().await.unwrap();
        client.quic().stats().await;
    }

    async fn connect(&self, early: Send) -> Client {
        self.connect_to(&self.net.server, early).await
    }

    async fn connect_to(&self, server: &Endpoint, early: Send) -> Client {
        let addr = server.local_addr();
        let quic = self.net.client.connect_early(addr, "localhost").await.unwrap();
        Client::with_config(quic, client::Config { early, ..client::Config::default() })
    }
}

async fn status_and_text(response: Response<RecvBody>) -> (StatusCode, bytes::Bytes) {
    (response.status(), read(response.into_body()).await)
}

fn post_without_body() -> Request<Empty<bytes::Bytes>> {
    Request::post("https://localhost/").body(Empty::new()).unwrap()
}

// req-test 9114-10.9-223
#[tokio::test]
async fn a_get_may_be_early_and_a_post_waits() {
    within_limits(async {
        let site = Site::new(Take::Safe).await;
        let client = site.connect(Send::Safe).await;
        assert_eq!(client.quic().early_data(), EarlyData::Offered);
        let (got, posted) =
            tokio::join!(client.send(get("/")), client.send(post("/", "something to do")));
        assert_eq!(status_and_text(got.unwrap()).await, (StatusCode::OK, "early".into()));
        assert_eq!(status_and_text(posted.unwrap()).await, (StatusCode::OK, "late".into()));
        assert_eq!(client.quic().early_data(), EarlyData::Accepted);
    })
    .await;
}

// req-test 9114-10.9-223
#[tokio::test]
async fn an_early_post_is_too_early_for_a_server_that_was_not_told_otherwise() {
    within_limits(async {
        let site = Site::new(Take::Safe).await;
        let before = site.handled.count();
        let client = site.connect(Send::All).await;
        let response = client.send(post("/", "something to do")).await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_EARLY);
        assert_eq!(site.handled.count(), before, "no handler has seen it");
        let again = client.send(post("/", "something to do")).await.unwrap();
        assert_eq!(status_and_text(again).await, (StatusCode::OK, "late".into()));
    })
    .await;
}

#[tokio::test]
async fn a_request_without_a_body_that_came_too_early_is_sent_again_by_itself() {
    within_limits(async {
        let site = Site::new(Take::Safe).await;
        let before = site.handled.count();
        let client = site.connect(Send::All).await;
        let response = client.send(post_without_body()).await.unwrap();
        assert_eq!(status_and_text(response).await, (StatusCode::OK, "late".into()));
        assert_eq!(site.handled.count(), before + 1);
    })
    .await;
}

#[tokio::test]
async fn a_server_can_let_early_requests_wait_or_pass() {
    within_limits(async {
        for take in [Take::Wait, Take::All] {
            let site = Site::new(take).await;
            let client = site.connect(Send::All).await;
            let response = client.send(post("/", "something to do")).await.unwrap();
            assert_eq!(status_and_text(response).await, (StatusCode::OK, "early".into()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_can_do_without_early_requests() {
    within_limits(async {
        let site = Site::new(Take::Safe).await;
        let client = site.connect(Send::None).await;
        let response = client.send(get("/")).await.unwrap();
        assert_eq!(status_and_text(response).await, (StatusCode::OK, "late".into()));
    })
    .await;
}

// ---- rejected

#[tokio::test]
async fn requests_that_were_rejected_are_sent_again_if_they_can_be() {
    within_limits(async {
        let site = Site::new(Take::Safe).await;
        // It has no session of the first server.
        let another = Endpoint::server(site.net.another.clone(), LOCALHOST).unwrap();
        let handled = Handled::default();
        let server = Server::new(handled.service());
        let endpoint = another.clone();
        tokio::spawn(async move { server.run(&endpoint).await });

        let client = site.connect_to(&another, Send::All).await;
        assert_eq!(client.quic().early_data(), EarlyData::Offered);
        let (got, posted) =
            tokio::join!(client.send(get("/")), client.send(post("/", "something to do")));
        assert_eq!(status_and_text(got.unwrap()).await, (StatusCode::OK, "late".into()));
        let error = posted.unwrap_err();
        assert!(matches!(error, RequestError::EarlyDataRejected), "{error}");
        assert!(error.may_retry());
        assert_eq!(client.quic().early_data(), EarlyData::Rejected);
        let again = client.send(post("/", "something to do")).await.unwrap();
        assert_eq!(status_and_text(again).await, (StatusCode::OK, "late".into()));
        assert_eq!(handled.count(), 2, "nothing was done twice");
    })
    .await;
}

// ---- settings

/// A server of the test's own: SETTINGS that allow field sections of `size` bytes, and 200 for
/// everything.
async fn serve_raw(quic: Connection, size: u8) {
    let mut control = quic.open_uni().await.unwrap();
    control.write_all(&[0x00, 0x04, 0x02, 0x06, size]).await.unwrap();
    while let Ok((mut send, _recv)) = quic.accept_bi().await {
        send.write_all(b"\x01\x03\0\0\xd9").await.unwrap();
        send.finish().unwrap();
    }
}

fn long() -> Request<Empty<bytes::Bytes>> {
    let mut request = get("/");
    request.headers_mut().insert("x-long", "x".repeat(100).parse().unwrap());
    request
}

/// Two connections to such a server, the second one with early data and with other settings.
async fn connect_twice(first: u8, second: u8) -> (Net, Client) {
    let net = Net::early(&server::Config::default());
    let server = net.server.clone();
    tokio::spawn(async move {
        for size in [first, second] {
            let quic = server.accept().await.unwrap().accept_early().await.unwrap();
            tokio::spawn(serve_raw(quic, size));
        }
    });
    let addr = net.server.local_addr();
    let client = Client::new(net.client.connect(addr, "localhost").await.unwrap());
    client.quic().handshake_confirmed().await.unwrap();
    // Until the settings have arrived, requests of any size are sent.
    while client.send(long()).await.is_ok() {}
    client.quic().stats().await;
    let early = net.client.connect_early(addr, "localhost").await.unwrap();
    assert_eq!(early.early_data(), EarlyData::Offered);
    (net, Client::new(early))
}

// req-test 9114-7.2.4.2-177, 9114-7.2.4.2-176
#[tokio::test]
async fn early_requests_keep_to_the_settings_of_the_session() {
    within_limits(async {
        let (_net, client) = connect_twice(60, 63).await;
        let error = client.send(long()).await.unwrap_err();
        assert!(matches!(error, RequestError::Unsendable(_)), "{error}");
        assert!(client.quic().early_data_accepted().await.unwrap());
        assert_eq!(client.quic().close_reason(), None);
    })
    .await;
}

// req-test 9114-7.2.4.2-183
#[tokio::test]
async fn a_server_that_takes_early_data_and_lowers_a_setting_is_refused() {
    within_limits(async {
        let (_net, client) = connect_twice(63, 60).await;
        let closed = client.closed().await;
        let ConnectionError::Violation(fault) = closed else { panic!("{closed}") };
        assert_eq!((fault.code, fault.reason), (Code::SETTINGS_ERROR, Violation::SettingsReduced));
    })
    .await;
}
