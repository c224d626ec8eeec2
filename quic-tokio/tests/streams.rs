//! Streams between two endpoints on the loopback interface.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use quic_core::observe::{Event, Observer};
use quic_core::wire::frame::{Frame, Frames};
use quic_tokio::{Connection, Delivery, ReadError, ReadToEndError, TransportConfig, WriteError};
use ring::digest::{Context, SHA256};
use support::{Net, code, noise, within_limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers each stream in both directions with what came in.
async fn echo(connection: Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Some(chunk) = recv.read_chunk().await.unwrap() {
                send.write_chunk(chunk).await.unwrap();
            }
            send.finish().unwrap();
            send.delivered().await
        });
    }
}

#[tokio::test]
async fn an_echo_comes_back_whole() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        assert_eq!(client.alpn(), Some(support::ALPN));
        assert_eq!(server.alpn(), Some(support::ALPN));
        assert_eq!(server.server_name(), Some("localhost"));
        assert_eq!(client.remote_address(), net.server.local_addr());
        tokio::spawn(echo(server));
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), "hello");
        assert_eq!(send.delivered().await, Delivery::Acknowledged);
        assert_eq!(send.outcome(), Some(Delivery::Acknowledged), "it can be asked for again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_are_all_answered() {
    const STREAMS: usize = 1000;
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        tokio::spawn(echo(server));
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..STREAMS {
            let client = client.clone();
            tasks.spawn(async move {
                let (mut send, mut recv) = client.open_bi().await.unwrap();
                let question = noise(index % 3000 + 1);
                send.write_chunk(question.clone().into()).await.unwrap();
                send.finish().unwrap();
                assert_eq!(recv.read_to_end(5000).await.unwrap(), question);
            });
        }
        let mut answered = 0;
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
            answered += 1;
        }
        assert_eq!(answered, STREAMS);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_arrives_unchanged_in_few_system_calls() {
    const CHUNK: usize = 1 << 16;
    const CHUNKS: usize = 320;
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let chunk = Bytes::from(noise(CHUNK));
        let sender = async {
            let mut send = client.open_uni().await.unwrap();
            let mut hash = Context::new(&SHA256);
            for index in 0..CHUNKS {
                let piece = chunk.slice(index..);
                hash.update(&piece);
                send.write_chunk(piece).await.unwrap();
            }
            send.finish().unwrap();
            assert_eq!(send.delivered().await, Delivery::Acknowledged);
            hash.finish()
        };
        let receiver = async {
            let mut recv = server.accept_uni().await.unwrap();
            let mut hash = Context::new(&SHA256);
            let mut total = 0;
            while let Some(chunk) = recv.read_chunk().await.unwrap() {
                hash.update(&chunk);
                total += chunk.len();
            }
            (hash.finish(), total)
        };
        let (sent, (received, total)) = tokio::join!(sender, receiver);
        assert_eq!(total, CHUNKS * CHUNK - CHUNKS * (CHUNKS - 1) / 2);
        assert_eq!(sent.as_ref(), received.as_ref());
        let stats = net.client.stats();
        assert!(stats.bytes_sent > total as u64);
        let peer = net.server.stats();
        // Trains go out in one call each.
        assert!(stats.send_calls < stats.datagrams_sent / 4, "{stats:?}, peer: {peer:?}");
        assert_eq!(stats.send_errors, 0, "{stats:?}");
    })
    .await;
}

#[tokio::test]
async fn a_dropped_stream_that_was_not_finished_is_reset() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.write_all(b"half of it").await.unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_chunk().await.unwrap().unwrap(), "half of it");
        drop(send);
        assert_eq!(recv.read_chunk().await, Err(ReadError::Reset(code(0))));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_stream_that_was_finished_is_delivered() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        let data = noise(3 << 20);
        send.write_chunk(data.clone().into()).await.unwrap();
        send.finish().unwrap();
        drop(send);
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_to_end(4 << 20).await.unwrap(), data);
    })
    .await;
}

#[tokio::test]
async fn a_reset_carries_its_code_and_is_the_outcome() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.write_all(b"x").await.unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert!(recv.read_chunk().await.unwrap().is_some());
        send.reset(code(7));
        assert_eq!(send.delivered().await, Delivery::ResetByUs(code(7)));
        assert_eq!(send.write(b"y").await, Err(WriteError::Reset(code(7))));
        assert_eq!(recv.read_chunk().await, Err(ReadError::Reset(code(7))));
    })
    .await;
}

#[tokio::test]
async fn a_stop_reaches_the_writer_with_its_code() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.write_all(b"x").await.unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        recv.stop(code(9));
        assert_eq!(recv.read_chunk().await, Err(ReadError::Stopped));
        assert_eq!(send.stopped().await, Some(code(9)));
        assert_eq!(send.write(b"y").await, Err(WriteError::Stopped(code(9))));
        assert_eq!(send.finish(), Err(WriteError::Stopped(code(9))));
        assert_eq!(send.delivered().await, Delivery::StoppedByPeer(code(9)));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_reader_stops_a_writer_that_waits_for_room() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.write_all(b"x").await.unwrap();
        let recv = server.accept_uni().await.unwrap();
        let writer = async {
            let chunk = Bytes::from(noise(1 << 20));
            loop {
                if let Err(error) = send.write_chunk(chunk.clone()).await {
                    return error;
                }
            }
        };
        let dropper = async {
            // Well within the window that the reader has opened.
            while net.client.stats().bytes_sent < 500_000 {
                tokio::task::yield_now().await;
            }
            drop(recv);
        };
        let (error, ()) = tokio::join!(writer, dropper);
        assert_eq!(error, WriteError::Stopped(code(0)));
    })
    .await;
}

#[tokio::test]
async fn readers_that_hold_on_to_data_pin_bounded_memory_and_lose_nothing() {
    const TOTAL: usize = 12 << 20;
    within_limits(async {
        let net = Net::with(TransportConfig::default(), |builder| builder.receive_memory(0));
        let (client, server) = net.connect().await;
        let data = Bytes::from(noise(TOTAL));
        let mut send = client.open_uni().await.unwrap();
        let writer = async {
            for start in (0..TOTAL).step_by(50_000) {
                send.write_chunk(data.slice(start..TOTAL.min(start + 50_000))).await.unwrap();
            }
            send.finish().unwrap();
        };
        let reader = async {
            let mut recv = server.accept_uni().await.unwrap();
            let mut held = Vec::new();
            while let Some(chunk) = recv.read_chunk().await.unwrap() {
                held.push(chunk);
            }
            held
        };
        let ((), held) = tokio::join!(writer, reader);
        assert!(held.concat() == data);
        let stats = net.server.stats();
        assert!(stats.scratch_receives > 0, "the slabs were all pinned: {stats:?}");
    })
    .await;
}

#[tokio::test]
async fn both_directions_of_many_streams_are_busy_at_once() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        tokio::spawn(echo(server));
        let data = noise(1 << 20);
        let exchange = async || {
            let (mut send, mut recv) = client.open_bi().await.unwrap();
            let write = async {
                send.write_all(&data).await.unwrap();
                send.finish().unwrap();
            };
            let ((), answer) = tokio::join!(write, recv.read_to_end(2 << 20));
            assert!(answer.unwrap() == data);
        };
        tokio::join!(exchange(), exchange(), exchange(), exchange());
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_longer_than_the_limit_is_refused() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let mut send = client.open_uni().await.unwrap();
        send.write_all(&noise(5000)).await.unwrap();
        send.finish().unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_to_end(4999).await, Err(ReadToEndError::TooLong));
    })
    .await;
}

#[tokio::test]
async fn the_traits_of_tokio_work_on_streams() {
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        tokio::spawn(echo(server));
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        let data = noise(300_000);
        let writer = async {
            AsyncWriteExt::write_all(&mut send, &data).await.unwrap();
            send.flush().await.unwrap();
            send.shutdown().await.unwrap();
            let error = AsyncWriteExt::write(&mut send, b"late").await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        };
        let reader = async {
            let mut all = Vec::new();
            AsyncReadExt::read_to_end(&mut recv, &mut all).await.unwrap();
            all
        };
        let ((), all) = tokio::join!(writer, reader);
        assert_eq!(all, data);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_reads_and_writes_lose_nothing_and_repeat_nothing() {
    const TOTAL: usize = 2 << 20;
    within_limits(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let data = Bytes::from(noise(TOTAL));
        let expected = data.clone();
        let writer = tokio::spawn(async move {
            let mut send = client.open_uni().await.unwrap();
            let (mut written, mut cancelled, mut turn) = (0, 0, 0);
            while written < TOTAL {
                turn += 1;
                let piece = data.slice(written..TOTAL.min(written + 10_007));
                tokio::select! {
                    biased;
                    result = async {
                        match turn % 2 {
                            0 => send.write(&piece).await,
                            _ => send.write_chunk(piece.clone()).await.map(|()| piece.len()),
                        }
                    } => written += result.unwrap(),
                    () = std::future::ready(()) => {
                        cancelled += 1;
                        tokio::task::yield_now().await;
                    }
                }
            }
            send.finish().unwrap();
            assert_eq!(send.delivered().await, Delivery::Acknowledged);
            cancelled
        });
        let mut recv = server.accept_uni().await.unwrap();
        let (mut all, mut cancelled) = (Vec::new(), 0);
        let mut buf = vec![0; 7001];
        loop {
            let chunks = all.len() % 2 == 0;
            tokio::select! {
                biased;
                result = async {
                    match chunks {
                        true => recv.read_chunk().await,
                        false => recv
                            .read(&mut buf)
                            .await
                            .map(|n| n.map(|n| Bytes::copy_from_slice(&buf[..n]))),
                    }
                } => match result.unwrap() {
                    Some(chunk) => all.extend_from_slice(&chunk),
                    None => break,
                },
                () = std::future::ready(()) => {
                    cancelled += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
        assert!(writer.await.unwrap() > 0, "some write was cancelled");
        assert!(cancelled > 0, "some read was cancelled");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_open_or_accept_takes_no_stream() {
    within_limits(async {
        let transport = TransportConfig::builder().max_uni_streams(1).build().unwrap();
        let net = Net::with(transport, |builder| builder);
        let (client, server) = net.connect().await;
        let mut first = client.open_uni().await.unwrap();
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = client.open_uni() => panic!("the limit is one stream"),
                () = tokio::task::yield_now() => {}
            }
        }
        first.write_all(b"first").await.unwrap();
        first.finish().unwrap();
        let mut recv = loop {
            tokio::select! {
                biased;
                recv = server.accept_uni() => break recv.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        };
        assert_eq!(recv.read_to_end(100).await.unwrap(), "first");
        drop(recv);
        let mut second = client.open_uni().await.unwrap();
        assert_eq!(second.id().index(), 1, "no number was used up");
        second.write_all(b"second").await.unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(recv.read_chunk().await.unwrap().unwrap(), "second");
    })
    .await;
}

/// Counts STREAMS_BLOCKED frames that arrive.
struct CountBlocked(Arc<AtomicUsize>);

impl Observer for CountBlocked {
    fn on_event(&mut self, _now: Instant, event: &Event<'_>) {
        let Event::PacketReceived(packet) = event else { return };
        let blocked = Frames::new(packet.payload, packet.packet_type)
            .filter(|frame| matches!(frame, Ok(Frame::StreamsBlocked(_))))
            .count();
        self.0.fetch_add(blocked, Ordering::Relaxed);
    }
}

// req-test 9000-4.6-037
#[tokio::test]
async fn the_peer_learns_that_its_limit_on_streams_holds_us_back() {
    within_limits(async {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let transport = TransportConfig::builder()
            .max_uni_streams(1)
            .observer(Arc::new(move |_| Some(Box::new(CountBlocked(Arc::clone(&counter))))))
            .build()
            .unwrap();
        let net = Net::with(transport, |builder| builder);
        let (client, _server) = net.connect().await;
        let _first = client.open_uni().await.unwrap();
        let mut second = std::pin::pin!(client.open_uni());
        while count.load(Ordering::Relaxed) == 0 {
            tokio::select! {
                biased;
                _ = &mut second => panic!("the limit is one stream"),
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_peer_opens_another_stream_only_when_the_handles_of_one_are_gone() {
    within_limits(async {
        let transport = TransportConfig::builder().max_bidi_streams(1).build().unwrap();
        let net = Net::with(transport, |builder| builder);
        let (client, server) = net.connect().await;
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.finish().unwrap();
        let (mut answer, mut question) = server.accept_bi().await.unwrap();
        assert_eq!(question.read_chunk().await.unwrap(), None);
        answer.finish().unwrap();
        assert_eq!(answer.delivered().await, Delivery::Acknowledged);
        assert_eq!(recv.read_chunk().await.unwrap(), None);
        let mut opening = std::pin::pin!(client.open_bi());
        for _ in 0..50 {
            tokio::select! {
                biased;
                _ = &mut opening => panic!("the server holds handles of the first stream"),
                _ = client.stats() => {}
            }
        }
        drop((answer, question));
        let (second, _recv) = opening.await.unwrap();
        assert_eq!(second.id().index(), 1);
    })
    .await;
}
