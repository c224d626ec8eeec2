//! The control stream of a peer.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| h3_lite::fuzz::control_stream(data));
