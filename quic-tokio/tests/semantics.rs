//! What a stream handle promises: each transition of RFC 9000 section 3 as an application sees it,
//! handles that are dropped, futures that are cancelled, and the outcome that is told.

#[allow(dead_code)]
#[path = "../examples/dropped_upload.rs"]
mod dropped_upload;
mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use quic_tokio::{
    Connection, ConnectionError, Delivery, ReadError, RecvStream, SendStream, TransportConfig,
    WriteError,
};
use support::{Net, code, noise, within_limits};

/// A window that a test fills up at once.
const WINDOW: u64 = 20_000;

/// Endpoints whose streams take little before somebody reads.
fn narrow() -> Net {
    let transport = TransportConfig::builder()
        .initial_stream_window(WINDOW)
        .max_stream_window(WINDOW)
        .initial_connection_window(4 * WINDOW)
        .max_connection_window(4 * WINDOW)
        .stream_send_window(WINDOW)
        .send_budget(4 * WINDOW)
        .build()
        .unwrap();
    Net::with(transport, |builder| builder)
}

/// A stream with data that both sides know, nothing of which was read.
async fn uni(client: &Connection, server: &Connection, data: &[u8]) -> (SendStream, RecvStream) {
    let mut send = client.open_uni().await.unwrap();
    send.write_all(data).await.unwrap();
    (send, server.accept_uni().await.unwrap())
}

/// A waker that is counted, and counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once with a waker of its own, and drops the future: the number of wakers left behind.
fn left_behind<T>(future: impl Future<Output = T>) -> usize {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    {
        let mut future = pin!(future);
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "nothing has happened yet");
        assert!(Arc::strong_count(&count) > 2, "it waits");
    }
    drop(waker);
    Arc::strong_count(&count) - 1
}

/// Polls once, and drops the future.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

// ---- sending: Ready, Send, Data Sent, Data Recvd

#[tokio::test]
async fn a_stream_that_is_finished_without_data_is_delivered() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        assert_eq!(send.outcome(), None);
        send.finish().unwrap();
        send.finish().unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_chunk().await, Ok(None));
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
        assert_eq!(send.write(b"late").await, Err(WriteError::Finished));
    })
    .await;
}

#[tokio::test]
async fn the_outcome_of_a_delivered_stream_is_not_changed_by_anything_later() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"all of it").await;
        send.finish().unwrap();
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
        send.reset(code(1));
        recv.stop(code(2));
        client.close(code(3), b"");
        client.closed().await;
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
        assert_eq!(send.stopped().await, None);
    })
    .await;
}

#[tokio::test]
async fn a_reset_before_any_data_reaches_the_peer() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.reset(code(7));
        assert_eq!(send.finish(), Err(WriteError::Reset(code(7))));
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_chunk().await, Err(ReadError::Reset(code(7))));
        assert_eq!(send.delivered().await, Delivery::ResetByUs(code(7)));
    })
    .await;
}

#[tokio::test]
async fn a_reset_of_a_finished_stream_overtakes_what_was_not_delivered() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        // More than the peer takes without reading.
        send.write_chunk(noise(3 * WINDOW as usize).into()).await.unwrap();
        send.finish().unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert!(recv.read_chunk().await.unwrap().is_some());
        send.reset(code(8));
        let end = loop {
            match recv.read_chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a stream that was reset has come to its end"),
                Err(end) => break end,
            }
        };
        assert_eq!(end, ReadError::Reset(code(8)));
        assert_eq!(send.delivered().await, Delivery::ResetByUs(code(8)));
    })
    .await;
}

// ---- STOP_SENDING in Ready, in Send, and after the end was written

#[tokio::test]
async fn a_stop_reaches_a_stream_on_which_nothing_was_written() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let (mut question, mut answer) = client.open_bi().await.unwrap();
        question.write_all(b"?").await.unwrap();
        answer.stop(code(5));
        let (mut send, _recv) = server.accept_bi().await.unwrap();
        assert_eq!(send.stopped().await, Some(code(5)));
        assert_eq!(send.write(b"!").await, Err(WriteError::Stopped(code(5))));
        assert_eq!(send.delivered().await, Delivery::StoppedByPeer(code(5)));
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_a_finished_stream_that_still_has_data_to_send() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.write_chunk(noise(3 * WINDOW as usize).into()).await.unwrap();
        send.finish().unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        recv.stop(code(6));
        assert_eq!(send.delivered().await, Delivery::StoppedByPeer(code(6)));
        assert_eq!(send.stopped().await, Some(code(6)));
    })
    .await;
}

#[tokio::test]
async fn a_stop_wakes_a_writer_that_waits_for_room() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        let writer = async {
            loop {
                if let Err(error) = send.write(&[1; 5000]).await {
                    return error;
                }
            }
        };
        let stopper = async {
            while net.client.stats().bytes_sent < WINDOW {
                tokio::task::yield_now().await;
            }
            recv.stop(code(4));
        };
        assert_eq!(tokio::join!(writer, stopper).0, WriteError::Stopped(code(4)));
    })
    .await;
}

// ---- receiving

// lesson 24
#[tokio::test]
async fn stopping_a_stream_while_a_read_waits_ends_the_read() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        assert!(recv.read_chunk().await.unwrap().is_some());
        assert!(poll_once(recv.read_chunk()).is_pending());
        assert!(poll_once(recv.read(&mut [0; 10])).is_pending());
        recv.stop(code(1));
        recv.stop(code(2));
        assert_eq!(recv.read_chunk().await, Err(ReadError::Stopped));
        assert_eq!(recv.read(&mut [0; 10]).await, Err(ReadError::Stopped));
        assert_eq!(send.delivered().await, Delivery::StoppedByPeer(code(1)), "the first counts");
        assert_eq!(send.finish(), Err(WriteError::Stopped(code(1))));
    })
    .await;
}

#[tokio::test]
async fn what_was_not_read_of_a_stream_that_ended_early_gives_its_credit_back() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        // Each round takes a quarter of the window of the connection.
        for round in 0..40_u32 {
            let (mut send, mut recv) = uni(&client, &server, &[7; WINDOW as usize / 2]).await;
            send.write_chunk(noise(WINDOW as usize).into()).await.unwrap();
            match round % 4 {
                0 => send.reset(code(round)),
                1 => recv.stop(code(round)),
                2 => drop(send),
                _ => drop(recv),
            }
        }
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        let data = noise(1 << 20);
        let write = async {
            send.write_all(&data).await.unwrap();
            send.finish().unwrap();
        };
        let ((), all) = tokio::join!(write, recv.read_to_end(2 << 20));
        assert!(all.unwrap()[1..] == data);
    })
    .await;
}

// ---- handles that are dropped

// lesson 23
#[tokio::test]
async fn a_dropped_upload_is_never_mistaken_for_a_whole_one() {
    within_limits(async { dropped_upload::run().await.unwrap() }).await;
}

// ---- the end of the connection

// lesson 22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_on_a_stream_learns_of_the_end_of_the_connection() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let (finished, _unread) = {
            let (mut send, recv) = uni(&client, &server, b"x").await;
            send.write_chunk(noise(3 * WINDOW as usize).into()).await.unwrap();
            send.finish().unwrap();
            (send, recv)
        };
        let (mut full, mut silent) = client.open_bi().await.unwrap();
        let open = client.open_uni().await.unwrap();
        let lost =
            |error: ConnectionError| assert!(error == ConnectionError::LocallyClosed(7.into()));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let Delivery::ConnectionLost(error) = finished.delivered().await else { panic!() };
            lost(error);
        });
        tasks.spawn(async move { assert_eq!(open.stopped().await, None) });
        tasks.spawn(async move {
            loop {
                match full.write(&[1; 1000]).await {
                    Ok(_) => {}
                    Err(WriteError::ConnectionLost(error)) => return lost(error),
                    Err(other) => panic!("{other}"),
                }
            }
        });
        tasks.spawn(async move {
            let Err(ReadError::ConnectionLost(error)) = silent.read_chunk().await else { panic!() };
            lost(error);
        });
        let waits = client.clone();
        tasks.spawn(async move { lost(waits.accept_uni().await.unwrap_err()) });
        let waits = client.clone();
        tasks.spawn(async move { lost(waits.accept_bi().await.unwrap_err()) });
        let waits = client.clone();
        tasks.spawn(async move { lost(waits.closed().await) });
        while net.client.stats().bytes_sent < 2 * WINDOW {
            tokio::task::yield_now().await;
        }
        client.close(code(7), b"");
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
    })
    .await;
}

// ---- futures that are cancelled

// lesson 22
#[tokio::test]
async fn futures_that_are_dropped_leave_no_waker_behind() {
    within_limits(async {
        let transport =
            TransportConfig::builder().max_bidi_streams(0).max_uni_streams(2).build().unwrap();
        let net = Net::with(transport, |builder| builder);
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        assert!(recv.read_chunk().await.unwrap().is_some());
        for _ in 0..100 {
            assert_eq!(left_behind(send.delivered()), 0);
            assert_eq!(left_behind(send.stopped()), 0);
            assert_eq!(left_behind(client.closed()), 0);
            assert_eq!(left_behind(client.open_bi()), 0);
            assert_eq!(left_behind(client.accept_bi()), 0);
            assert_eq!(left_behind(client.accept_uni()), 0);
            // A reader has one place for its waker, which the next one takes.
            assert!(left_behind(recv.read_chunk()) <= 1);
        }
        // And none of them has taken anything.
        send.write_all(b"y").await.unwrap();
        assert_eq!(recv.read_chunk().await.unwrap().unwrap(), "y");
        send.finish().unwrap();
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
    })
    .await;
}

#[tokio::test]
async fn a_write_that_was_cancelled_for_want_of_room_has_moved_no_byte() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        let mut expected = b"x".to_vec();
        // Until there is no room, for the peer does not read.
        for turn in 0_u32.. {
            let piece = vec![turn as u8; 3000];
            let taken = match turn % 2 {
                0 => poll_once(send.write_chunk(piece.clone().into())).map_ok(|()| piece.len()),
                _ => poll_once(send.write(&piece)),
            };
            match taken {
                Poll::Ready(taken) => expected.extend_from_slice(&piece[..taken.unwrap()]),
                Poll::Pending => break,
            }
            tokio::task::yield_now().await;
        }
        assert!(poll_once(send.write_chunk(Bytes::from_static(b"never"))).is_pending());
        assert!(poll_once(send.write(b"never")).is_pending());
        let read = async {
            let mut all = Vec::new();
            while all.len() < expected.len() {
                all.extend_from_slice(&recv.read_chunk().await.unwrap().unwrap());
            }
            all
        };
        assert!(read.await == expected);
        send.write_all(b"after").await.unwrap();
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), "after");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_write_of_everything_and_a_dropped_handle_are_a_reset() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        let data = noise(1 << 20);
        let upload = tokio::spawn(async move { send.write_all(&data).await });
        assert!(recv.read_chunk().await.unwrap().is_some());
        upload.abort();
        assert!(upload.await.unwrap_err().is_cancelled());
        let end = loop {
            match recv.read_chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("silently cut short"),
                Err(end) => break end,
            }
        };
        assert_eq!(end, ReadError::Reset(code(0)));
    })
    .await;
}

#[tokio::test]
async fn what_a_cancelled_read_to_the_end_had_taken_is_gone_and_its_credit_is_back() {
    within_limits(async {
        let net = narrow();
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = uni(&client, &server, b"x").await;
        for _ in 0..100 {
            let write = send.write_all(&[3; WINDOW as usize]);
            let read = async {
                tokio::select! {
                    biased;
                    all = recv.read_to_end(usize::MAX) => panic!("it does not end: {all:?}"),
                    write = write => write.unwrap(),
                }
            };
            read.await;
        }
        send.finish().unwrap();
        // What was on its way at the last cancellation.
        assert!(recv.read_to_end(usize::MAX).await.unwrap().len() < 20 * WINDOW as usize);
    })
    .await;
}

#[tokio::test]
async fn asking_again_after_a_cancelled_question_gives_the_same_answer() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let (send, mut recv) = uni(&client, &server, b"x").await;
        assert!(poll_once(send.delivered()).is_pending());
        assert!(poll_once(send.stopped()).is_pending());
        assert!(poll_once(client.stats()).is_pending());
        assert!(poll_once(client.closed()).is_pending());
        recv.stop(code(9));
        assert_eq!(send.stopped().await, Some(code(9)));
        for _ in 0..2 {
            assert_eq!(send.delivered().await, Delivery::StoppedByPeer(code(9)));
        }
        assert!(client.stats().await.packets_sent > 0);
        client.close(code(1), b"");
        for _ in 0..2 {
            assert_eq!(client.closed().await, ConnectionError::LocallyClosed(1.into()));
        }
        assert!(client.stats().await.packets_sent > 0);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_wait_for_a_client_takes_none() {
    within_limits(async {
        let net = Net::new();
        assert!(poll_once(net.server.accept()).is_pending());
        assert!(poll_once(net.client.wait_idle()).is_ready());
        let (client, server) = net.connect().await;
        assert!(poll_once(net.client.wait_idle()).is_pending());
        let (mut send, mut recv) = uni(&client, &server, b"it works").await;
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), "it works");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_decision_about_a_client_closes_its_connection() {
    within_limits(async {
        let net = Net::new();
        let connect = net.client.connect(net.server.local_addr(), "localhost");
        let decide = async {
            let incoming = net.server.accept().await.unwrap();
            assert!(poll_once(incoming.accept()).is_pending());
        };
        let (connected, ()) = tokio::join!(connect, decide);
        if let Ok(connection) = connected {
            connection.closed().await;
        }
        net.server.wait_idle().await;
    })
    .await;
}
