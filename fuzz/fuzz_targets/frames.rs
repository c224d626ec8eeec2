//! The payload of a packet.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quic_core::fuzz::frames(data));
