//! What the cells between tasks and the driver cost when nobody else is at them:
//! `cargo run --release -p quic-core --example cell_cost`.
//!
//! Prints nanoseconds per operation, the median of several rounds.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use quic_core::shared::{Ready, ReadyList, RecvCell, SendCell, SendWork, Wakes};
use quic_core::wire::{Dir, Side, StreamId};

const ROUNDS: usize = 11;
const OPERATIONS: usize = 200_000;
/// Chunks between two visits of the driver.
const BATCH: usize = 50;
/// Data in a datagram of 1,200 bytes.
const PACKET: usize = 1_170;

fn median_ns(mut round: impl FnMut() -> usize) -> f64 {
    let mut results: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let operations = round();
            start.elapsed().as_nanos() as f64 / operations as f64
        })
        .collect();
    results.sort_by(f64::total_cmp);
    results[ROUNDS / 2]
}

/// Writes of `len` bytes; the driver takes them in batches and grants more.
fn writes(len: usize) -> f64 {
    let ready = Arc::new(ReadyList::new());
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    let cell = SendCell::new(Arc::clone(&ready), 0, id, u64::MAX >> 1);
    let data = Bytes::from(vec![0; len]);
    let (mut work, mut wakes, mut items) = (SendWork::default(), Wakes::new(), Vec::new());
    let mut limit = u64::MAX >> 1;
    median_ns(|| {
        for _ in 0..OPERATIONS / BATCH {
            for _ in 0..BATCH {
                let mut chunk = data.clone();
                let written = cell.poll_write_chunk(&mut chunk, Waker::noop());
                assert!(matches!(written, Poll::Ready(Ok(_))));
            }
            ready.drain(&mut items);
            items.clear();
            cell.take(&mut work);
            black_box(&work.chunks);
            work.chunks.clear();
            limit += 1;
            cell.grant(limit, &mut wakes);
        }
        OPERATIONS
    })
}

/// Reads of packets that the driver hands over in batches; the credit goes back with the next one.
fn reads(len: usize) -> f64 {
    let ready = Arc::new(ReadyList::new());
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    let cell = RecvCell::new(Arc::clone(&ready), 0, id);
    let data = Bytes::from(vec![0; len]);
    let (mut chunks, mut wakes) = (Vec::new(), Wakes::new());
    let mut items: Vec<Ready> = Vec::new();
    median_ns(|| {
        for _ in 0..OPERATIONS / BATCH {
            chunks.extend((0..BATCH).map(|_| data.clone()));
            black_box(cell.push(&mut chunks, false, 1 << 20, &mut wakes));
            for _ in 0..BATCH {
                let read = cell.poll_read(usize::MAX, Waker::noop());
                assert!(matches!(read, Poll::Ready(Ok(Some(_)))));
            }
            ready.drain(&mut items);
            if !items.is_empty() {
                items.clear();
                black_box(cell.take());
            }
        }
        OPERATIONS
    })
}

/// The same chunks through the lock-free queue of the standard library, which carries no phase, no
/// limit and no waker: the least that a design without locks would cost.
fn queue(len: usize) -> f64 {
    let (sender, receiver) = std::sync::mpsc::channel();
    let data = Bytes::from(vec![0; len]);
    let mut taken = Vec::new();
    median_ns(|| {
        for _ in 0..OPERATIONS / BATCH {
            for _ in 0..BATCH {
                assert!(sender.send(data.clone()).is_ok());
            }
            taken.extend(receiver.try_iter());
            black_box(&taken);
            taken.clear();
        }
        OPERATIONS
    })
}

fn main() {
    println!("a lock-free queue alone: {:.1} ns a chunk", queue(PACKET));
    for (what, len) in [("a packet (1,170 bytes)", PACKET), ("64 KiB", 65_536)] {
        let per_packet = PACKET as f64 / len as f64;
        let (write, read) = (writes(len), reads(len));
        println!("chunks of {what}: write {write:.1} ns, read {read:.1} ns;");
        let (write, read) = (write * per_packet, read * per_packet);
        println!("    for each 1,200-byte datagram: {write:.1} ns sending, {read:.1} ns receiving");
    }
}
