//! Nobody waits in vain: loom finds a deadlock where a wake-up is lost.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use loom::sync::Arc;
use loom::thread::spawn;
use quic_core::link::FIRST_GRANT;
use quic_core::shared::{SendCell, SendPhase, WriteRefused};
use quic_core::stream::StreamConfig;
use quic_core::wire::{Dir, StreamId};

use crate::harness::{Model, saw};
use crate::rig::{Leases, Rig, code, outcome, stopped, try_write, write};

#[test]
fn blocked_writer_vs_grant() {
    let model = Model {
        name: "blocked_writer_vs_grant",
        invariants: "I4 I5 I7 I10",
        at_least: 50,
        outcomes: &["done"],
    };
    model.check(|| {
        // A transport that takes the data in parts, as it is acknowledged.
        let config = StreamConfig { stream_send_window: 6000, ..StreamConfig::default() };
        let mut rig = Rig::with(config, 2);
        let (id, cell) = rig.open_sender();
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, FIRST_GRANT)), Some(Ok(FIRST_GRANT as usize)));
        let writer = spawn({
            let (cell, leases) = (cell.clone(), leases.clone());
            move || {
                assert_eq!(write(&cell, leases.chunk(FIRST_GRANT, 3)), Ok(3));
                cell.finish().unwrap();
            }
        });
        rig.run(|rig| {
            while !rig.in_flight.is_empty() {
                rig.ack();
                rig.pack();
            }
            rig.wire(id).fins > 0
        });
        writer.join().unwrap();
        rig.ack();
        assert_eq!(rig.streams.audit().data_sent, FIRST_GRANT + 3);
        assert_eq!(cell.phase(), SendPhase::Acked);
        cell.release(code(0));
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
        saw("done");
    });
}

/// A stream whose transport has no room, so that nothing is granted.
fn stuck() -> (Rig, StreamId, Arc<SendCell>, Leases) {
    let mut rig =
        Rig::with(StreamConfig { stream_send_window: 1000, ..StreamConfig::default() }, 2);
    let (id, cell) = rig.open_sender();
    let leases = Leases::default();
    assert_eq!(try_write(&cell, leases.chunk(0, FIRST_GRANT)), Some(Ok(FIRST_GRANT as usize)));
    rig.settle();
    (rig, id, cell, leases)
}

#[test]
fn blocked_writer_vs_stop() {
    let model = Model {
        name: "blocked_writer_vs_stop",
        invariants: "I3 I4 I6 I7 I10",
        at_least: 50,
        outcomes: &["stopped"],
    };
    model.check(|| {
        let (mut rig, id, cell, leases) = stuck();
        let writer = spawn({
            let (cell, chunk) = (cell.clone(), leases.chunk(FIRST_GRANT, 3));
            move || write(&cell, chunk)
        });
        let watcher = spawn({
            let cell = cell.clone();
            move || stopped(&cell)
        });
        rig.stop_sending(id, 9);
        rig.settle();
        assert_eq!(writer.join().unwrap(), Err(WriteRefused::Stopped(code(9))));
        assert_eq!(watcher.join().unwrap(), Ok(code(9)));
        assert_eq!(cell.phase(), SendPhase::Reset { code: code(9), by_peer: true });
        cell.release(code(0));
        rig.assert_at_rest();
        assert_eq!(rig.wire(id).resets, [code(9)]);
        assert_eq!(leases.outstanding(), 0);
        saw("stopped");
    });
}

#[test]
fn blocked_writer_vs_reset_vs_lost() {
    let model = Model {
        name: "blocked_writer_vs_reset_vs_lost",
        invariants: "I3 I4 I6 I7 I10",
        at_least: 100,
        outcomes: &["reset", "lost"],
    };
    model.check(|| {
        let (mut rig, _, cell, leases) = stuck();
        let writer = spawn({
            let (cell, chunk) = (cell.clone(), leases.chunk(FIRST_GRANT, 3));
            move || write(&cell, chunk)
        });
        let resetter = spawn({
            let cell = cell.clone();
            move || cell.reset(code(7))
        });
        rig.work();
        rig.lose_connection();
        let reset = resetter.join().unwrap();
        match writer.join().unwrap() {
            Err(WriteRefused::Reset(why)) if why == code(7) => {
                assert!(reset);
                saw("reset");
            }
            Err(WriteRefused::Lost) => {
                assert!(!reset);
                saw("lost");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.links.promised(), 0);
        assert_eq!(leases.outstanding(), 0);
    });
}

#[test]
fn outcome_waiters_vs_lost() {
    let model = Model {
        name: "outcome_waiters_vs_lost",
        invariants: "I6 I7 I10",
        at_least: 50,
        outcomes: &["one left", "one had its answer"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let (_, cell) = rig.open_sender();
        let waiter = spawn({
            let cell = cell.clone();
            move || outcome(&cell)
        });
        // A future that is polled once and dropped.
        let leaver = spawn({
            let cell = cell.clone();
            move || {
                let mut key = None;
                let polled = cell.poll_stopped(&mut key, Waker::noop());
                key.into_iter().for_each(|key| cell.leave(key));
                polled
            }
        });
        rig.lose_connection();
        assert_eq!(waiter.join().unwrap(), SendPhase::Lost);
        match leaver.join().unwrap() {
            Poll::Pending => saw("one left"),
            Poll::Ready(answer) => {
                assert_eq!(answer, Err(SendPhase::Lost));
                saw("one had its answer");
            }
        }
    });
}

#[test]
fn two_streams_on_the_ready_list() {
    let model = Model {
        name: "two_streams_on_the_ready_list",
        invariants: "I5 I7 I10",
        at_least: 100,
        outcomes: &["done"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let senders = [rig.open_sender(), rig.open_sender()];
        let tasks = senders.clone().map(|(_, cell)| {
            spawn(move || {
                assert_eq!(write(&cell, Leases::default().chunk(0, 3)), Ok(3));
                cell.finish().unwrap();
            })
        });
        rig.run(|rig| senders.iter().all(|(id, _)| rig.wire(*id).fins > 0));
        tasks.into_iter().for_each(|task| task.join().unwrap());
        rig.ack();
        for (_, cell) in &senders {
            assert_eq!(cell.phase(), SendPhase::Acked);
            cell.release(code(0));
        }
        rig.assert_at_rest();
        saw("done");
    });
}

/// What is left in a cell while the driver empties it or goes to sleep is found nevertheless.
#[test]
fn sleeping_driver_vs_writes() {
    let model = Model {
        name: "sleeping_driver_vs_writes",
        invariants: "I5 I7 I10",
        at_least: 50,
        outcomes: &["taken at once", "taken in parts"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        let writer = spawn({
            let cell = cell.clone();
            move || {
                let leases = Leases::default();
                assert_eq!(try_write(&cell, leases.chunk(0, 2)), Some(Ok(2)));
                assert_eq!(try_write(&cell, leases.chunk(2, 3)), Some(Ok(3)));
                leases
            }
        });
        rig.run(|rig| rig.streams.audit().data_sent == 5);
        let leases = writer.join().unwrap();
        match rig.wire(id).data_frames {
            1 => saw("taken at once"),
            _ => saw("taken in parts"),
        }
        cell.finish().unwrap();
        cell.release(code(0));
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
    });
}

/// The task moves from one executor to another between two polls: the later waker counts.
#[test]
fn a_task_that_moves_vs_grant() {
    let model = Model {
        name: "a_task_that_moves_vs_grant",
        invariants: "I7 I8 I10",
        at_least: 20,
        outcomes: &["done"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let cells = rig.open(Dir::Uni);
        let cell = cells.send.expect("it sends");
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, FIRST_GRANT)), Some(Ok(FIRST_GRANT as usize)));
        let mut chunk = leases.chunk(FIRST_GRANT, 3);
        let first = cell.poll_write_chunk(&mut chunk, Waker::noop());
        assert!(first.is_pending());
        let writer = spawn({
            let cell = cell.clone();
            move || {
                let write = poll_fn(|cx| cell.poll_write_chunk(&mut chunk, cx.waker()));
                assert_eq!(loom::future::block_on(write), Ok(3));
                cell.release(code(0));
            }
        });
        rig.work();
        writer.join().unwrap();
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
        saw("done");
    });
}
