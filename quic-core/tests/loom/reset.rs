//! RESET_STREAM and STOP_SENDING on a network that loses packets.

use loom::thread::spawn;
use quic_core::shared::SendPhase;
use quic_core::stream::SentStreamFrame;

use crate::harness::{Model, saw};
use crate::rig::{Leases, Rig, code, outcome, stopped, try_write};

#[test]
fn reset_loss_and_retransmission_vs_ack() {
    let model = Model {
        name: "reset_loss_and_retransmission_vs_ack",
        invariants: "I2 I3 I5 I8 I10",
        at_least: 50,
        outcomes: &["sent again at once", "sent again later"],
    };
    model.check(|| {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, 3)), Some(Ok(3)));
        rig.settle();
        let resetter = spawn({
            let cell = cell.clone();
            move || cell.reset(code(7))
        });
        let dropper = spawn(move || cell.release(code(0)));
        rig.work();
        rig.pack();
        rig.lose();
        rig.pack();
        let reset = resetter.join().unwrap();
        dropper.join().unwrap();
        rig.settle();
        let again_at_once = rig.wire(id).resets.len() == 2;
        // However it went, the peer has not told that it knows.
        let reset_frame = SentStreamFrame::ResetStream(id);
        assert!(rig.in_flight.contains(&reset_frame), "nobody tells the peer");
        rig.lose();
        rig.settle();
        assert!(rig.in_flight.contains(&reset_frame), "a lost reset is not sent again");
        assert_eq!(rig.streams.audit().streams, 1, "forgotten before the peer knows");
        let why = if reset { code(7) } else { code(0) };
        assert!(rig.wire(id).resets.iter().all(|sent| *sent == why));
        saw(if again_at_once { "sent again at once" } else { "sent again later" });
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
    });
}

/// All data and the end of the stream are in flight when STOP_SENDING arrives.
fn stop_in_data_sent(name: &'static str, lost: bool, outcomes: &'static [&'static str]) {
    let model = Model { name, invariants: "I2 I5 I6 I7 I10", at_least: 50, outcomes };
    model.check(move || {
        let mut rig = Rig::new();
        let (id, cell) = rig.open_sender();
        let leases = Leases::default();
        assert_eq!(try_write(&cell, leases.chunk(0, 3)), Some(Ok(3)));
        cell.finish().unwrap();
        rig.settle();
        let watcher = spawn({
            let cell = cell.clone();
            move || (stopped(&cell), outcome(&cell))
        });
        let resetter = spawn({
            let cell = cell.clone();
            move || cell.reset(code(7))
        });
        rig.stop_sending(id, 9);
        if lost {
            rig.lose();
        } else {
            rig.ack();
        }
        rig.work();
        rig.pack();
        rig.ack();
        let reset = resetter.join().unwrap();
        let (stop, phase) = watcher.join().unwrap();
        match phase {
            SendPhase::Reset { code: why, by_peer: true } if lost && why == code(9) => {
                assert!(!reset);
                assert_eq!(rig.wire(id).resets, [code(9)]);
                assert_eq!(rig.wire(id).data_frames, 1, "data that nobody wants is sent again");
                saw("reset by peer");
            }
            SendPhase::Acked if !lost => {
                assert!(!reset);
                assert!(rig.wire(id).resets.is_empty());
                saw("acked");
            }
            SendPhase::Reset { code: why, by_peer: false } if why == code(7) => {
                assert!(reset);
                saw("reset by us");
            }
            other => panic!("{other:?}"),
        }
        match stop {
            Ok(why) => assert_eq!(why, code(9)),
            // The outcome came first.
            Err(first) => assert!(reset && first == phase),
        }
        cell.release(code(0));
        rig.assert_at_rest();
        assert_eq!(leases.outstanding(), 0);
    });
}

#[test]
fn deferred_stop_then_loss() {
    stop_in_data_sent("deferred_stop_then_loss", true, &["reset by peer", "reset by us"]);
}

#[test]
fn deferred_stop_then_ack() {
    stop_in_data_sent("deferred_stop_then_ack", false, &["acked", "reset by us"]);
}
