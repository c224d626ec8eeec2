//! What the tests of several crates share: a deterministic network simulator and misbehaving peers.

#![forbid(unsafe_code)]
