//! The objects of HTTP/3 and the streams beneath them end together.

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use h3_lite::server::{Config, serve_connection, service_fn};
use h3_lite::{Client, RecvBody};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use support::{Net, get, noise, post, read, within_limits};

const LARGE: usize = 1 << 20;

/// Answers small requests, large ones and none at all, as the path says.
async fn answer(request: Request<RecvBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/never" => std::future::pending().await,
        "/large" => Ok(Response::new(Full::new(noise(LARGE)))),
        "/unread" => Ok(Response::new(Full::new(Bytes::new()))),
        _ => {
            // Half an upload is an error of its request alone.
            let body = request.into_body().collect().await.map(|all| all.to_bytes());
            Ok(Response::new(Full::new(body.unwrap_or_default())))
        }
    }
}

// lesson 26
#[tokio::test]
async fn requests_that_end_in_every_way_leave_no_stream_and_no_credit_behind() {
    within_limits(async {
        let net = Net::new();
        let (ours, theirs) = net.connect().await;
        let serving =
            tokio::spawn(serve_connection(theirs.clone(), service_fn(answer), Config::default()));
        let client = Client::new(ours);
        for round in 0..300 {
            match round % 6 {
                0 => drop(client.send(get("/")).await.unwrap()),
                1 => {
                    tokio::select! {
                        biased;
                        _ = client.send(get("/never")) => panic!("it is never answered"),
                        () = tokio::task::yield_now() => {}
                    }
                }
                // Response bodies that are not read, or read in part.
                2 => drop(client.send(get("/large")).await.unwrap()),
                3 => {
                    let mut body = client.send(get("/large")).await.unwrap().into_body();
                    assert!(body.frame().await.unwrap().is_ok());
                }
                // The answer comes before the end of the upload.
                4 => drop(client.send(post("/unread", noise(LARGE))).await.unwrap()),
                _ => {
                    tokio::select! {
                        biased;
                        _ = client.send(post("/", noise(LARGE))) => {}
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
        }
        while theirs.stats().await.peer_streams_open > 0 {
            tokio::task::yield_now().await;
        }
        // All windows are whole again.
        for _ in 0..8 {
            let body = client.send(post("/", noise(LARGE))).await.unwrap().into_body();
            assert!(read(body).await == noise(LARGE));
        }
        drop(client);
        serving.await.unwrap().unwrap();
    })
    .await;
}
