//! Writing against everything that ends a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use loom::thread::spawn;
use quic_core::buffer::{Occupancy, SlabRing};
use quic_core::link::FIRST_GRANT;
use quic_core::shared::{SendPhase, WriteRefused};

use crate::harness::{Model, saw};
use crate::rig::{Leases, Rig, bytes_at, code, outcome, try_write};

const RESET_BY_US: SendPhase = SendPhase::Reset { code: code_7(), by_peer: false };

const fn code_7() -> quic_core::wire::VarInt {
    quic_core::wire::VarInt::from_u32(7)
}

#[test]
fn write_vs_reset_vs_driver() {
    let model = Model {
        name: "write_vs_reset_vs_driver",
        invariants: "I2 I3 I4 I5 I10",
        at_least: 100,
        outcomes: &["write refused", "data dropped unsent", "data sent, then reset"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        let leases = Leases::default();
        let was_reset = Arc::new(AtomicBool::new(false));
        let writer = spawn({
            let (cell, was_reset) = (cell.clone(), Arc::clone(&was_reset));
            let chunk = leases.chunk(0, 3);
            move || {
                let late = was_reset.load(Ordering::SeqCst);
                let result = try_write(&cell, chunk).expect("granted or refused");
                assert!(!late || result.is_err(), "accepted after the reset");
                result
            }
        });
        let resetter = spawn({
            let cell = cell.clone();
            move || {
                assert!(cell.reset(code_7()));
                was_reset.store(true, Ordering::SeqCst);
            }
        });
        for _ in 0..2 {
            rig.work();
            rig.pack();
        }
        let written = writer.join().unwrap();
        resetter.join().unwrap();
        rig.settle();
        assert_eq!(outcome(&cell), RESET_BY_US);
        assert_eq!(rig.wire(id).resets, [code_7()]);
        match (written, rig.wire(id).data_frames) {
            (Err(WriteRefused::Reset(code)), 0) if code == code_7() => saw("write refused"),
            (Ok(3), 0) => saw("data dropped unsent"),
            (Ok(3), 1) => saw("data sent, then reset"),
            other => panic!("{other:?}"),
        }
        cell.release(code(0));
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
    });
}

#[test]
fn lease_vs_cancel_vs_ack_vs_kernel() {
    let model = Model {
        name: "lease_vs_cancel_vs_ack_vs_kernel",
        invariants: "I1 I2 I5 I9 I10",
        at_least: 100,
        outcomes: &[
            "sent again",
            "cancelled before it was sent again",
            "in use",
            "used again",
            "outlived everything",
        ],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        // What was received is sent on from where it lies.
        let mut ring = SlabRing::new(40, 1, Occupancy::default());
        let mut slab = ring.checkout();
        slab.begin().expect("nobody reads it").copy_from_slice(&bytes_at(0, 40));
        let in_kernel = slab.lease().expect("not scratch");
        let chunk = Bytes::from_owner(slab.lease().expect("not scratch"));
        ring.put_back(slab);
        assert_eq!(try_write(&cell, chunk), Some(Ok(40)));
        rig.settle();
        let all_gone = Arc::new(AtomicBool::new(false));
        let kernel = spawn({
            let all_gone = Arc::clone(&all_gone);
            move || {
                for _ in 0..2 {
                    assert_eq!(in_kernel.generation(), 1, "used again while it is read");
                    assert_eq!(in_kernel.as_ref(), bytes_at(0, 40), "written while it is read");
                }
                if all_gone.load(Ordering::SeqCst) {
                    saw("outlived everything");
                }
                assert_eq!(in_kernel.as_ref(), bytes_at(0, 40), "written while it is read");
            }
        });
        let canceller = spawn(move || {
            cell.reset(code_7());
            cell.release(code(0));
        });
        rig.lose();
        rig.work();
        rig.pack();
        rig.ack();
        canceller.join().unwrap();
        rig.assert_at_rest();
        match rig.wire(id).data_frames {
            1 => saw("cancelled before it was sent again"),
            2 => saw("sent again"),
            other => panic!("sent {other} times"),
        }
        drop(rig);
        let mut slab = ring.checkout();
        saw(if slab.is_scratch() { "in use" } else { "used again" });
        slab.begin().expect("nobody reads it").fill(0);
        ring.put_back(slab);
        let occupancy = ring.occupancy().clone();
        drop(ring);
        all_gone.store(true, Ordering::SeqCst);
        kernel.join().unwrap();
        assert_eq!((occupancy.total(), occupancy.free()), (1, 1));
    });
}

#[test]
fn stop_vs_finish_vs_reset() {
    let model = Model {
        name: "stop_vs_finish_vs_reset",
        invariants: "I3 I5 I6 I10",
        at_least: 100,
        outcomes: &["acked", "reset by us", "reset by peer", "finish refused"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, 3)), Some(Ok(3)));
        let finisher = spawn({
            let cell = cell.clone();
            move || cell.finish()
        });
        let resetter = spawn({
            let cell = cell.clone();
            move || cell.reset(code_7())
        });
        rig.work();
        rig.pack();
        rig.stop_sending(id, 9);
        rig.work();
        rig.pack();
        rig.ack();
        let finished = finisher.join().unwrap();
        let reset = resetter.join().unwrap();
        rig.settle();
        rig.ack();
        let phase = cell.phase();
        match phase {
            SendPhase::Acked => {
                assert_eq!((finished, reset), (Ok(()), false));
                let wire = rig.wire(id);
                assert!(wire.fins > 0 && wire.resets.is_empty());
                saw("acked");
            }
            RESET_BY_US => {
                assert!(reset);
                saw("reset by us");
            }
            SendPhase::Reset { code: why, by_peer: true } if why == code(9) => {
                assert!(!reset);
                assert_eq!(rig.wire(id).resets, [code(9)]);
                saw("reset by peer");
            }
            other => panic!("{other:?}"),
        }
        if let Err(refused) = finished {
            saw("finish refused");
            let by_peer = refused == WriteRefused::Stopped(code(9));
            assert!(by_peer || refused == WriteRefused::Reset(code_7()));
        }
        assert_eq!(outcome(&cell), phase);
        cell.release(code(0));
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
    });
}

/// The transport says that all is acknowledged, or that the connection is over, or one after the
/// other, while the application resets.
fn acked_vs_reset_vs_lost(name: &'static str, acked: bool, outcomes: &'static [&'static str]) {
    let model = Model { name, invariants: "I4 I6 I7 I10", at_least: 50, outcomes };
    model.check(move || {
        let mut rig = Rig::new();
        let (_, cell) = rig.open_sender();
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, 3)), Some(Ok(3)));
        cell.finish().unwrap();
        rig.settle();
        let watcher = spawn({
            let cell = cell.clone();
            move || outcome(&cell)
        });
        let resetter = spawn({
            let cell = cell.clone();
            move || cell.reset(code_7())
        });
        if acked {
            rig.ack();
        }
        rig.work();
        rig.lose_connection();
        let reset = resetter.join().unwrap();
        let phase = watcher.join().unwrap();
        assert_eq!(cell.phase(), phase, "the outcome changed after somebody saw it");
        assert_eq!(reset, phase == RESET_BY_US);
        match phase {
            SendPhase::Acked => saw("acked"),
            SendPhase::Lost => saw("lost"),
            RESET_BY_US => saw("reset"),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.links.promised(), 0);
        rig.work();
        assert_eq!(leases.outstanding(), 0);
    });
}

#[test]
fn acked_vs_reset() {
    acked_vs_reset_vs_lost("acked_vs_reset", true, &["acked", "reset"]);
}

#[test]
fn lost_vs_reset() {
    acked_vs_reset_vs_lost("lost_vs_reset", false, &["lost", "reset"]);
}

/// A task writes a second chunk, does not wait for it if it has to wait, and drops its handle.
fn drop_vs_driver(name: &'static str, finish: bool, outcomes: &'static [&'static str]) {
    let model = Model { name, invariants: "I2 I4 I5 I8 I10", at_least: 20, outcomes };
    model.check(move || {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, FIRST_GRANT)), Some(Ok(FIRST_GRANT as usize)));
        let task = spawn({
            let leases = leases.clone();
            move || {
                let written = try_write(&cell, leases.chunk(FIRST_GRANT, 3));
                if finish {
                    cell.finish().unwrap();
                }
                cell.release(code(0));
                written
            }
        });
        rig.work();
        rig.pack();
        rig.work();
        rig.pack();
        let written = match task.join().unwrap() {
            Some(result) => {
                saw("written");
                result.unwrap() as u64
            }
            None => {
                saw("never written");
                0
            }
        };
        rig.assert_at_rest();
        let sent = rig.streams.audit().data_sent;
        let wire = rig.wire(id);
        match (finish, wire.resets.as_slice()) {
            (true, []) => {
                assert!(wire.fins > 0);
                assert_eq!(sent, FIRST_GRANT + written, "all of it and nothing else");
            }
            (false, [why]) if *why == code(0) => {
                assert_eq!(wire.fins, 0);
                assert!(sent <= FIRST_GRANT + written);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(leases.outstanding(), 0);
    });
}

#[test]
fn drop_of_an_open_stream_vs_driver() {
    let outcomes = &["written", "never written"];
    drop_vs_driver("drop_of_an_open_stream_vs_driver", false, outcomes);
}

#[test]
fn drop_of_a_finished_stream_vs_driver() {
    let outcomes = &["written", "never written"];
    drop_vs_driver("drop_of_a_finished_stream_vs_driver", true, outcomes);
}
