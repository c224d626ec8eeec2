//! Reading against everything that ends a stream, and where its credit goes.

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::thread::spawn;
use quic_core::buffer::{Occupancy, SlabRing};
use quic_core::shared::{ReadRefused, RecvCell};
use quic_core::stream::StreamConfig;
use quic_core::wire::{Dir, Side, StreamId};

use crate::harness::{Model, saw};
use crate::pool::assert_at_rest;
use crate::rig::{Rig, bytes_at, code, read};

/// As much data as is lent to readers.
const LENT: u64 = 600;

/// A connection in which each byte of credit is told at once.
fn small_steps() -> Rig {
    Rig::with(StreamConfig { initial_max_stream_data_uni: 16, ..StreamConfig::default() }, 2)
}

/// Reads until there is nothing more, and checks the bytes; how many there were, and how it ended.
fn read_all(cell: &RecvCell) -> (u64, Result<(), ReadRefused>) {
    let mut offset = 0;
    loop {
        match read(cell) {
            Ok(Some(chunk)) => {
                assert_eq!(chunk, bytes_at(offset, chunk.len() as u64));
                offset += chunk.len() as u64;
            }
            Ok(None) => return (offset, Ok(())),
            Err(refused) => return (offset, Err(refused)),
        }
    }
}

fn reader(cell: &Arc<RecvCell>) -> loom::thread::JoinHandle<(u64, Result<(), ReadRefused>)> {
    let cell = cell.clone();
    spawn(move || read_all(&cell))
}

#[test]
fn read_vs_stop_vs_lost() {
    let model = Model {
        name: "read_vs_stop_vs_lost",
        invariants: "I3 I6 I7 I10",
        at_least: 100,
        outcomes: &["stopped", "lost"],
    };
    model.check(|| {
        let mut rig = small_steps();
        let (_, cell) = rig.accept_receiver(3, false);
        let reader = reader(&cell);
        let stopper = spawn({
            let cell = cell.clone();
            move || cell.stop(code(5))
        });
        rig.work();
        rig.lose_connection();
        let stopped = stopper.join().unwrap();
        match reader.join().unwrap() {
            (0 | 3, Err(ReadRefused::Stopped)) => {
                assert!(stopped);
                saw("stopped");
            }
            (3, Err(ReadRefused::Lost)) => {
                assert!(!stopped);
                saw("lost");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn blocked_reader_vs_data() {
    let model = Model {
        name: "blocked_reader_vs_data",
        invariants: "I4 I7 I8 I10",
        at_least: 20,
        outcomes: &["credit told on its own", "credit taken along"],
    };
    model.check(|| {
        let mut rig = small_steps();
        let (id, cell) = rig.accept_receiver(3, false);
        let reader = spawn(move || {
            let result = read_all(&cell);
            cell.release(code(0));
            result
        });
        rig.receive(id, 3, 2, false);
        let taken_along = rig.streams.audit().data_returned > 0;
        rig.receive(id, 5, 2, true);
        rig.work();
        assert_eq!(reader.join().unwrap(), (7, Ok(())));
        rig.assert_at_rest();
        assert!(rig.wire(id).stops.is_empty(), "it was read to its end");
        saw(if taken_along { "credit taken along" } else { "credit told on its own" });
    });
}

#[test]
fn blocked_reader_vs_data_vs_lost() {
    let model = Model {
        name: "blocked_reader_vs_data_vs_lost",
        invariants: "I7 I10",
        at_least: 20,
        outcomes: &["began before the end", "began after it"],
    };
    model.check(|| {
        let mut rig = small_steps();
        let (id, cell) = rig.accept_receiver(3, false);
        let end = std::sync::Arc::new(AtomicBool::new(false));
        let reader = spawn({
            let (cell, end) = (cell.clone(), end.clone());
            move || {
                let early = !end.load(Ordering::SeqCst);
                (early, read_all(&cell))
            }
        });
        rig.work();
        rig.receive(id, 3, 2, false);
        rig.lose_connection();
        end.store(true, Ordering::SeqCst);
        let (early, result) = reader.join().unwrap();
        assert_eq!(result, (5, Err(ReadRefused::Lost)), "what had arrived can still be read");
        saw(if early { "began before the end" } else { "began after it" });
    });
}

#[test]
fn read_vs_stop_vs_data() {
    let model = Model {
        name: "read_vs_stop_vs_data",
        invariants: "I3 I4 I7 I10",
        at_least: 100,
        outcomes: &["stopped on the wire", "all had arrived", "read to the end"],
    };
    model.check(|| {
        let mut rig = small_steps();
        let (id, cell) = rig.accept_receiver(3, false);
        let reader = reader(&cell);
        let stopper = spawn({
            let cell = cell.clone();
            move || cell.stop(code(5))
        });
        rig.work();
        rig.receive(id, 3, 2, true);
        rig.work();
        rig.pack();
        let stopped = stopper.join().unwrap();
        let (_, end) = reader.join().unwrap();
        rig.settle();
        assert_eq!(rig.streams.audit().data_returned, 5, "read, dropped or thrown away");
        assert!(stopped, "only the peer or the connection can end it before");
        match (end, rig.wire(id).stops.as_slice()) {
            (Err(ReadRefused::Stopped), [why]) if *why == code(5) => saw("stopped on the wire"),
            (Err(ReadRefused::Stopped), []) => saw("all had arrived"),
            (Ok(()), []) => saw("read to the end"),
            other => panic!("{other:?}"),
        }
        cell.release(code(0));
        rig.assert_at_rest();
    });
}

#[test]
fn credit_vs_push() {
    let model = Model {
        name: "credit_vs_push",
        invariants: "I4 I7 I10",
        at_least: 8,
        outcomes: &["taken along", "told on its own"],
    };
    model.check(|| {
        let mut rig = small_steps();
        let (id, cell) = rig.accept_receiver(3, false);
        let reader = spawn({
            let cell = cell.clone();
            move || read(&cell).unwrap().map(|chunk| chunk.len())
        });
        rig.receive(id, 3, 4, false);
        saw(match rig.streams.audit().data_returned {
            0 => "told on its own",
            3 => "taken along",
            other => panic!("{other} bytes of credit"),
        });
        rig.work();
        assert_eq!(reader.join().unwrap(), Some(3));
        rig.work();
        assert_eq!(rig.streams.audit().data_returned, 3, "each byte that was read, once");
        cell.release(code(0));
        rig.work();
        assert_eq!(rig.streams.audit().data_returned, 7);
        rig.receive_reset(id, 4, 10);
        rig.assert_at_rest();
        assert_eq!(rig.streams.audit().data_returned, 10);
    });
}

#[test]
fn read_vs_reset_stream_and_slot_reuse() {
    let model = Model {
        name: "read_vs_reset_stream_and_slot_reuse",
        invariants: "I1 I2 I4 I6 I7 I8 I10",
        at_least: 50,
        outcomes: &[
            "all read before the reset",
            "cut short by the reset",
            "nothing read",
            "slab used again",
            "slab pinned",
        ],
    };
    model.check(|| {
        let config = StreamConfig { initial_max_stream_data_uni: 4096, ..StreamConfig::default() };
        let mut rig = Rig::with(config, 2);
        let mut ring = SlabRing::new(LENT as usize, 1, Occupancy::default());
        let (id, cell) = rig.accept_receiver(0, false);
        rig.receive_into(&mut ring, id, 0, LENT);
        let reader = spawn(move || {
            let result = read_all(&cell);
            cell.release(code(0));
            result
        });
        rig.work();
        rig.receive_into(&mut ring, id, LENT, LENT);
        rig.work();
        rig.receive_reset(id, 4, 3 * LENT);
        // What it held is used for the next train, but what the reader has taken out is not.
        let mut slab = ring.checkout();
        slab.begin().expect("nobody reads it").fill(0);
        saw(if slab.is_scratch() { "slab pinned" } else { "slab used again" });
        ring.put_back(slab);
        rig.work();
        let (len, end) = reader.join().unwrap();
        assert_eq!(end, Err(ReadRefused::Reset(code(4))));
        saw(match len {
            0 => "nothing read",
            LENT => "cut short by the reset",
            _ => "all read before the reset",
        });
        assert_at_rest(ring, 1);
        // Its place is free for the next one, which has nothing to do with what was left of it.
        rig.assert_at_rest();
        assert_eq!(rig.streams.audit().data_returned, 3 * LENT);
        rig.receive(StreamId::new(Side::Server, Dir::Uni, 1), 0, 2, true);
        let accepted = rig.cell.poll_accept(Dir::Uni, &mut None, std::task::Waker::noop());
        let std::task::Poll::Ready(Ok(cells)) = accepted else { panic!("a stream has arrived") };
        let next = cells.recv.expect("it receives");
        assert_eq!(read_all(&next), (2, Ok(())));
        next.release(code(0));
        rig.assert_at_rest();
    });
}

#[test]
fn stop_vs_reset_stream() {
    let model = Model {
        name: "stop_vs_reset_stream",
        invariants: "I4 I6 I8 I10",
        at_least: 20,
        outcomes: &["stopped", "reset"],
    };
    model.check(|| {
        let mut rig = small_steps();
        let (id, cell) = rig.accept_receiver(3, false);
        let task = spawn(move || {
            let stopped = cell.stop(code(5));
            cell.release(code(0));
            stopped
        });
        rig.work();
        rig.pack();
        rig.receive_reset(id, 4, 10);
        rig.work();
        let stopped = task.join().unwrap();
        rig.assert_at_rest();
        assert_eq!(rig.streams.audit().data_returned, 10);
        assert!(rig.wire(id).stops.len() <= 1);
        saw(if stopped { "stopped" } else { "reset" });
    });
}
