//! Receive memory: the real ring, and leases of its slabs with readers.
//!
//! Loom knows the reference count of a slab. It hears of each time that a slab is written, and that
//! somebody reads a lease, or has read it for the last time: when two such accesses are not ordered,
//! the model fails.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use loom::sync::Arc;
use loom::thread::spawn;
use quic_core::buffer::{Lease, Occupancy, SlabRing};
use quic_core::shared::{ReadyList, RecvCell, Wakes};
use quic_core::wire::{Dir, Side, StreamId};

use crate::harness::{Model, saw};
use crate::rig::{code, read};

const SIZE: usize = 4;

fn ring(slabs: usize) -> SlabRing {
    SlabRing::new(SIZE, slabs, Occupancy::default())
}

/// Receives a slab full of bytes that tell its generation; a lease of it, if it can be lent.
fn receive(ring: &mut SlabRing) -> Option<Lease> {
    let mut slab = ring.checkout();
    slab.begin().expect("nobody reads it");
    let content = content(slab.generation());
    slab.bytes_mut().expect("nobody reads it").fill(content);
    let lease = slab.lease();
    ring.put_back(slab);
    lease
}

fn content(generation: u64) -> u8 {
    u8::try_from(generation).expect("few")
}

/// Reads a lease twice, so that others come in between.
fn read_twice(lease: &Lease) {
    let generation = lease.generation();
    for _ in 0..2 {
        assert!(lease.as_ref().iter().all(|byte| *byte == content(generation)), "written in use");
        assert_eq!(lease.generation(), generation, "used again while it is read");
    }
}

fn recv_cell(index: u64) -> Arc<RecvCell> {
    let id = StreamId::new(Side::Client, Dir::Bi, index);
    Arc::new(RecvCell::new(Arc::new(ReadyList::new()), 0, id))
}

#[test]
fn pool_vs_readers() {
    let model = Model {
        name: "pool_vs_readers",
        invariants: "I1 I2 I10",
        at_least: 60,
        outcomes: &["used again", "used for the first time", "all pinned"],
    };
    model.check(|| {
        let mut ring = ring(2);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let lease = receive(&mut ring).expect("a slab for each");
                spawn(move || read_twice(&lease))
            })
            .collect();
        for _ in 0..2 {
            match receive(&mut ring) {
                Some(lease) => {
                    read_twice(&lease);
                    saw(match lease.generation() {
                        1 => "used for the first time",
                        _ => "used again",
                    });
                }
                None => saw("all pinned"),
            }
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_at_rest(ring, 2);
    });
}

#[test]
fn one_slab_vs_two_readers() {
    let model = Model {
        name: "one_slab_vs_two_readers",
        invariants: "I1 I2 I10",
        at_least: 40,
        outcomes: &["used again", "all pinned"],
    };
    model.check(|| {
        let mut ring = ring(1);
        let mut slab = ring.checkout();
        slab.begin().expect("nobody reads it").fill(content(1));
        // What one train brings for two streams, under a lease each.
        let leases = [slab.lease().expect("not scratch"), slab.lease().expect("not scratch")];
        ring.put_back(slab);
        let readers = leases.map(|lease| spawn(move || read_twice(&lease)));
        saw(match receive(&mut ring) {
            Some(lease) => {
                assert_eq!(lease.generation(), 2);
                "used again"
            }
            None => "all pinned",
        });
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_at_rest(ring, 1);
    });
}

#[test]
fn lease_outlives_stream_driver_and_pool() {
    let model = Model {
        name: "lease_outlives_stream_driver_and_pool",
        invariants: "I1 I2 I9 I10",
        at_least: 50,
        outcomes: &["outlived everything", "released before"],
    };
    model.check(|| {
        let occupancy = Occupancy::default();
        let mut ring = SlabRing::new(SIZE, 2, occupancy.clone());
        let cell = recv_cell(0);
        let all_gone = std::sync::Arc::new(AtomicBool::new(false));
        let in_flight = receive(&mut ring).expect("a slab");
        let kernel = spawn({
            let all_gone = all_gone.clone();
            move || {
                read_twice(&in_flight);
                let outlived = all_gone.load(Ordering::SeqCst);
                read_twice(&in_flight);
                saw(if outlived { "outlived everything" } else { "released before" });
            }
        });
        let reader = spawn({
            let cell = cell.clone();
            move || {
                let held = read(&cell).expect("data").expect("not the end");
                cell.release(code(0));
                drop(cell);
                let first = held[0];
                assert!(held.iter().all(|byte| *byte == first), "written in use");
            }
        });
        let lease = receive(&mut ring).expect("another slab");
        cell.push(&mut vec![Bytes::from_owner(lease)], false, 1, &mut Wakes::new());
        drop(cell);
        drop(receive(&mut ring));
        drop(ring);
        all_gone.store(true, Ordering::SeqCst);
        kernel.join().unwrap();
        reader.join().unwrap();
        assert_eq!(occupancy.free(), occupancy.total(), "released once each");
    });
}

#[test]
fn pool_at_rest_is_free() {
    let model = Model {
        name: "pool_at_rest_is_free",
        invariants: "I1 I2 I10",
        at_least: 6,
        outcomes: &["dropped by the reader", "thrown away by the driver"],
    };
    model.check(|| {
        let mut ring = ring(2);
        let cell = recv_cell(0);
        let reader = spawn({
            let cell = cell.clone();
            move || cell.stop(code(0))
        });
        let mut thrown_away = 0;
        for _ in 0..3 {
            if let Some(lease) = receive(&mut ring) {
                let mut data = vec![Bytes::from_owner(lease)];
                thrown_away += cell.push(&mut data, false, 1, &mut Wakes::new());
            }
        }
        assert!(reader.join().unwrap());
        saw(match thrown_away {
            0 => "dropped by the reader",
            _ => "thrown away by the driver",
        });
        assert_at_rest(ring, 2);
    });
}

/// Nobody holds anything: each of all `slabs` can be had to be lent.
pub(crate) fn assert_at_rest(mut ring: SlabRing, slabs: usize) {
    let occupancy = ring.occupancy().clone();
    assert!(occupancy.total() <= slabs, "more slabs than there may be");
    assert_eq!(occupancy.free(), occupancy.total(), "a lease is counted wrong");
    let mut out: Vec<_> = (0..slabs).map(|_| ring.checkout()).collect();
    assert!(out.iter_mut().all(|slab| slab.begin().is_some() && slab.lease().is_some()));
}
