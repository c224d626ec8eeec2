//! Pieces of a stream in any order.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quic_core::fuzz::assembler(data));
