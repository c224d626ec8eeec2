//! Control streams last as long as their connection (RFC 9114 section 6.2.1).

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use h3_lite::RecvBody;
use h3_lite::server::service_fn;
use http::{Request, Response};
use http_body_util::Empty;
use quic_tokio::{Connection, ReadError, RecvStream, SendStream, VarInt};
use support::{RawClient, RawServer, get, within_limits};

/// The type of a control stream, and SETTINGS without content.
const CONTROL: [u8; 3] = [0x00, 0x04, 0x00];
/// HEADERS of `GET https://localhost/`, in static references and one literal.
const REQUEST: &[u8] = b"\x01\x10\0\0\xd1\xd7\xc1\x50\x09localhost";
/// HEADERS of a response with status 200.
const RESPONSE: &[u8] = b"\x01\x03\0\0\xd9";

/// Opens a control stream, and takes that of the peer up to its SETTINGS.
async fn control_streams(quic: &Connection) -> (SendStream, RecvStream) {
    let mut own = quic.open_uni().await.unwrap();
    own.write_all(&CONTROL).await.unwrap();
    let mut theirs = quic.accept_uni().await.unwrap();
    let first = theirs.read_chunk().await.unwrap().expect("settings");
    assert_eq!(first[..2], [0x00, 0x04]);
    (own, theirs)
}

async fn are_open((own, theirs): &mut (SendStream, RecvStream)) {
    tokio::select! {
        biased;
        end = theirs.read_chunk() => panic!("the peer's control stream has {end:?}"),
        stopped = own.stopped() => panic!("our control stream was stopped with {stopped:?}"),
        () = std::future::ready(()) => {}
    }
}

/// The connection is over, and that is all that has ended the streams.
async fn ended_with_the_connection((own, mut theirs): (SendStream, RecvStream)) {
    assert!(matches!(theirs.read_chunk().await, Err(ReadError::ConnectionLost(_))));
    assert_eq!(own.stopped().await, None);
}

// req-test 9114-6.2.1-135
#[tokio::test]
async fn a_client_keeps_both_control_streams_open() {
    within_limits(async {
        let RawServer { quic, client, .. } = RawServer::new().await;
        let mut control = control_streams(&quic).await;
        for _ in 0..3 {
            let answer = async {
                let (mut send, recv) = quic.accept_bi().await.unwrap();
                send.write_all(RESPONSE).await.unwrap();
                send.finish().unwrap();
                recv
            };
            let (response, _recv) = tokio::join!(client.send(get("/")), answer);
            assert_eq!(response.unwrap().status(), 200);
            are_open(&mut control).await;
        }
        drop(client);
        ended_with_the_connection(control).await;
    })
    .await;
}

// req-test 9114-6.2.1-135
#[tokio::test]
async fn a_server_keeps_both_control_streams_open() {
    within_limits(async {
        let service = service_fn(|_: Request<RecvBody>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let client = RawClient::new(service).await;
        let mut control = control_streams(&client.quic).await;
        for _ in 0..3 {
            let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
            send.write_all(REQUEST).await.unwrap();
            send.finish().unwrap();
            assert!(recv.read_chunk().await.unwrap().is_some(), "a response");
            are_open(&mut control).await;
        }
        client.quic.close(VarInt::new(0x100).unwrap(), b"");
        ended_with_the_connection(control).await;
    })
    .await;
}
