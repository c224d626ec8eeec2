//! Models of what application tasks and a driver share: all interleavings, within loom's bound, of
//! the types that run in production. See `docs/streams.md`; run them with `.ci/loom`.
//!
//! The driver of a model is [`rig::Rig`]: the real ready list, cells, links and streams, on a network
//! that the model acts out itself.

#![cfg(loom)]

#[path = "loom/harness.rs"]
mod harness;
#[path = "loom/rig.rs"]
mod rig;

#[path = "loom/connection.rs"]
mod connection;
#[path = "loom/pool.rs"]
mod pool;
#[path = "loom/receive.rs"]
mod receive;
#[path = "loom/reset.rs"]
mod reset;
#[path = "loom/send.rs"]
mod send;
#[path = "loom/wake.rs"]
mod wake;
