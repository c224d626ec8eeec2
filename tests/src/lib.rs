//! What the tests of several crates share: a deterministic network in virtual time, a pair of
//! endpoints joined by it, and peers that say whatever a test wants.

#![forbid(unsafe_code)]

pub mod app;

pub mod arena;

pub mod host;

pub mod net;

pub mod pair;

pub mod raw_peer;

pub mod seed;

pub mod tap;
pub mod tls;

pub mod wiretap;
