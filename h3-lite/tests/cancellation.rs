//! Requests that are given up, at every stage that they can be at.

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use h3_lite::{RecvBody, service_fn};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use support::{Pair, noise, post, read, within_limits};
use tokio::task::JoinSet;

/// Several times as many as may be open at a time.
const REQUESTS: usize = 300;
/// Turns of the client's driver, which are mostly enough for a whole request.
const STAGES: usize = 5;

async fn echo(request: Request<RecvBody>) -> Result<Response<RecvBody>, Infallible> {
    Ok(Response::new(request.into_body()))
}

/// Answers without a look at the body.
async fn ignore(_: Request<RecvBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(noise(100_000))))
}

/// Answers when all of the body is there, if it ever is.
async fn collect(request: Request<RecvBody>) -> Result<Response<Full<Bytes>>, h3_lite::BodyError> {
    Ok(Response::new(Full::new(request.into_body().collect().await?.to_bytes())))
}

/// Gives up requests at each stage. Then as many as may be open at a time get their answers, so that
/// no stream was lost.
async fn no_stream_is_lost<S: h3_lite::server::Handler>(service: S) {
    within_limits(async {
        let pair = Pair::new(service).await;
        let upload = noise(100_000);
        let mut completed = 0;
        for number in 0..REQUESTS {
            let exchange = async {
                let response = pair.client.send(post("/", upload.clone())).await.unwrap();
                let body = response.into_body();
                // Some are dropped between the header section and the body.
                if number % 2 == 0 {
                    read(body).await;
                }
            };
            let turns = async {
                for _ in 0..number / 2 % STAGES {
                    // Takes a turn of the driver.
                    pair.client.quic().stats().await;
                }
            };
            tokio::select! {
                biased;
                () = exchange => completed += 1,
                () = turns => {}
            }
        }
        assert!(completed < REQUESTS, "some were given up");
        let mut requests = JoinSet::new();
        for _ in 0..100 {
            let client = pair.client.clone();
            requests.spawn(async move {
                let response = client.send(post("/", Bytes::from_static(b"x"))).await.unwrap();
                assert_eq!(response.status(), 200);
                read(response.into_body()).await
            });
        }
        requests.join_all().await;
    })
    .await;
}

#[tokio::test]
async fn an_echo_that_is_given_up_at_any_stage_loses_no_stream() {
    no_stream_is_lost(service_fn(echo)).await;
}

#[tokio::test]
async fn an_unwanted_upload_that_is_given_up_at_any_stage_loses_no_stream() {
    no_stream_is_lost(service_fn(ignore)).await;
}

#[tokio::test]
async fn an_upload_that_is_given_up_at_any_stage_loses_no_stream() {
    no_stream_is_lost(service_fn(collect)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_while_the_driver_runs_elsewhere_loses_no_stream() {
    no_stream_is_lost(service_fn(echo)).await;
}
