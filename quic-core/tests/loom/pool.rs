//! Receive memory: the real ring, with readers that hold on to slices of it.
//!
//! The reference count of a slice is that of `bytes`, into which loom does not see: readers and ring
//! change places between the steps of the model, not within a step of `bytes`.

use std::collections::BTreeSet;

use bytes::Bytes;
use loom::sync::Arc;
use loom::thread::spawn;
use quic_core::buffer::{Retention, SlabRing};
use quic_core::shared::{ReadyList, RecvCell, Wakes};
use quic_core::wire::{Dir, Side, StreamId};

use crate::harness::{Model, saw};
use crate::rig::read;

const WINDOW: usize = 4;
const SLABS: usize = 2;

/// Receives a window full of `generation`; the slab's address, and a slice that may be kept.
fn receive(ring: &mut SlabRing, generation: u8) -> (usize, Option<Bytes>) {
    let mut slab = ring.checkout();
    let address = slab.buffer.as_ptr() as usize;
    slab.buffer[..WINDOW].fill(generation);
    let data = slab.buffer.split_to(WINDOW).freeze();
    let kept = (slab.retention == Retention::Share).then_some(data);
    ring.put_back(slab);
    (address, kept)
}

#[test]
fn pool_vs_readers() {
    let model = Model {
        name: "pool_vs_readers",
        invariants: "I1 I2 I9 I10",
        at_least: 100,
        outcomes: &["used again", "all pinned", "outlived the pool"],
    };
    model.check(|| {
        let mut ring = SlabRing::new(WINDOW, WINDOW, SLABS);
        let ready = Arc::new(ReadyList::new());
        let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (cells, readers): (Vec<_>, Vec<_>) = (0..2)
            .map(|index| {
                let id = StreamId::new(Side::Client, Dir::Bi, index);
                let cell = Arc::new(RecvCell::new(ready.clone(), 0, id));
                let (reader, gone) = (cell.clone(), gone.clone());
                let task = spawn(move || {
                    let held = read(&reader).expect("data").expect("not the end");
                    let generation = held[0];
                    // Others come in between while it is held.
                    reader.stop(crate::rig::code(0));
                    assert!(held.iter().all(|byte| *byte == generation), "written while in use");
                    if gone.load(std::sync::atomic::Ordering::SeqCst) {
                        saw("outlived the pool");
                    }
                });
                (cell, task)
            })
            .unzip();
        let mut shared = BTreeSet::new();
        for generation in 1..=4_u8 {
            let (address, slice) = receive(&mut ring, generation);
            let Some(slice) = slice else {
                saw("all pinned");
                continue;
            };
            if !shared.insert(address) {
                saw("used again");
            }
            let cell = &cells[usize::from(generation) % 2];
            cell.push(&mut vec![slice], false, 1, &mut Wakes::new());
        }
        assert!(shared.len() <= SLABS && ring.allocated() <= SLABS * WINDOW, "more than its limit");
        drop(ring);
        gone.store(true, std::sync::atomic::Ordering::SeqCst);
        drop(cells);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn pool_at_rest_is_free() {
    let model = Model {
        name: "pool_at_rest_is_free",
        invariants: "I1 I2 I10",
        at_least: 6,
        outcomes: &["free again"],
    };
    model.check(|| {
        let mut ring = SlabRing::new(WINDOW, WINDOW, SLABS);
        let cell = Arc::new(RecvCell::new(
            Arc::new(ReadyList::new()),
            0,
            StreamId::new(Side::Client, Dir::Bi, 0),
        ));
        let reader = spawn({
            let cell = cell.clone();
            move || cell.stop(crate::rig::code(0))
        });
        for generation in 1..=3_u8 {
            if let (_, Some(slice)) = receive(&mut ring, generation) {
                cell.push(&mut vec![slice], false, 1, &mut Wakes::new());
            }
        }
        assert!(reader.join().unwrap());
        // Nobody holds anything: each slab is handed out to be kept.
        let slabs: Vec<_> = (0..SLABS).map(|_| ring.checkout()).collect();
        assert!(slabs.iter().all(|slab| slab.retention == Retention::Share));
        saw("free again");
    });
}
