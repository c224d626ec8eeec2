//! Streams and handles of a connection that ends.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use loom::thread::spawn;
use quic_core::error::ConnectionError;
use quic_core::shared::{OpenRefused, ReadRefused, SendPhase, StreamCells, Wakes};
use quic_core::stream::StreamConfig;
use quic_core::wire::Dir;

use crate::harness::{Model, saw};
use crate::rig::{Rig, code, outcome, read};

#[test]
fn last_handle_drop_vs_connection_close() {
    let model = Model {
        name: "last_handle_drop_vs_connection_close",
        invariants: "I6 I7 I8 I10",
        at_least: 100,
        outcomes: &["closed with the code", "closed by the drop", "lost before"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let cells = rig.open(Dir::Bi);
        let (send, recv) = (cells.send.expect("it sends"), cells.recv.expect("it receives"));
        let dropper = spawn({
            let (cell, send) = (rig.cell.clone(), send.clone());
            move || {
                send.release(code(0));
                cell.release();
            }
        });
        let closer = spawn({
            let cell = rig.cell.clone();
            move || {
                cell.close(code(8), bytes::Bytes::new());
                let mut key = None;
                loom::future::block_on(poll_fn(|cx| cell.poll_closed(&mut key, cx.waker())))
            }
        });
        rig.work();
        let asked = rig.close;
        rig.lose_connection();
        assert_eq!(closer.join().unwrap(), ConnectionError::TimedOut);
        dropper.join().unwrap();
        rig.work();
        saw(match asked {
            Some(why) if why == code(8) => "closed with the code",
            Some(_) => "closed by the drop",
            None => "lost before",
        });
        let by_us = SendPhase::Reset { code: code(0), by_peer: false };
        assert!([by_us, SendPhase::Lost].contains(&outcome(&send)));
        assert_eq!(read(&recv), Err(ReadRefused::Lost));
        assert_eq!(rig.links.promised(), 0);
    });
}

#[test]
fn close_vs_close_vs_sleeping_driver() {
    let model = Model {
        name: "close_vs_close_vs_sleeping_driver",
        invariants: "I6 I7 I10",
        at_least: 50,
        outcomes: &["the one", "the other"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let closers = [8, 9].map(|value| {
            let cell = rig.cell.clone();
            spawn(move || cell.close(code(value), bytes::Bytes::new()))
        });
        rig.run(|rig| rig.close.is_some());
        closers.into_iter().for_each(|closer| closer.join().unwrap());
        saw(match rig.close {
            Some(why) if why == code(8) => "the one",
            _ => "the other",
        });
        rig.lose_connection();
    });
}

#[test]
fn open_vs_limit_vs_close() {
    let model = Model {
        name: "open_vs_limit_vs_close",
        invariants: "I6 I7 I8 I10",
        at_least: 100,
        outcomes: &["the waiter opened", "the other opened", "none was left"],
    };
    model.check(|| {
        let mut rig = Rig::with(StreamConfig::default(), 1);
        let waiter = spawn({
            let cell = rig.cell.clone();
            move || {
                let mut key = None;
                let opened = poll_fn(|cx| cell.poll_open(Dir::Uni, &mut key, cx.waker()));
                loom::future::block_on(opened)
            }
        });
        // A future that is polled once and dropped.
        let leaver = spawn({
            let cell = rig.cell.clone();
            move || {
                let mut key = None;
                let polled = cell.poll_open(Dir::Uni, &mut key, Waker::noop());
                key.into_iter().for_each(|key| cell.leave_open(Dir::Uni, key));
                polled
            }
        });
        rig.work();
        rig.lose_connection();
        rig.work();
        let waited = waiter.join().unwrap();
        let polled = leaver.join().unwrap();
        rig.work();
        // However late it was opened: it ends with the connection.
        let lost = |cells: &StreamCells| {
            let send = cells.send.as_ref().expect("it sends");
            assert_eq!(outcome(send), SendPhase::Lost);
        };
        match (waited, polled) {
            (Ok(cells), Poll::Pending | Poll::Ready(Err(OpenRefused::Closed(_)))) => {
                lost(&cells);
                saw("the waiter opened");
            }
            (Err(OpenRefused::Closed(_)), Poll::Ready(Ok(cells))) => {
                lost(&cells);
                saw("the other opened");
            }
            (Err(OpenRefused::Closed(_)), _) => saw("none was left"),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.links.promised(), 0);
    });
}

/// The turn of a future that is dropped after it was notified passes on to the next in line.
#[test]
fn the_turn_to_open_passes_on() {
    let model = Model {
        name: "the_turn_to_open_passes_on",
        invariants: "I7 I8 I10",
        at_least: 20,
        outcomes: &["left in time", "passed on"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let mut key = None;
        assert!(rig.cell.poll_open(Dir::Uni, &mut key, Waker::noop()).is_pending());
        let key = key.expect("it waits");
        let waiter = spawn({
            let cell = rig.cell.clone();
            move || {
                let mut key = None;
                let opened = poll_fn(|cx| cell.poll_open(Dir::Uni, &mut key, cx.waker()));
                loom::future::block_on(opened).is_ok()
            }
        });
        let leaver = spawn({
            let cell = rig.cell.clone();
            move || cell.leave_open(Dir::Uni, key)
        });
        let mut wakes = Wakes::new();
        rig.cell.set_stream_limit(Dir::Uni, 1, &mut wakes);
        saw(if wakes.is_empty() { "left in time" } else { "passed on" });
        wakes.wake_all();
        leaver.join().unwrap();
        assert!(waiter.join().unwrap());
        rig.work();
        rig.lose_connection();
    });
}
