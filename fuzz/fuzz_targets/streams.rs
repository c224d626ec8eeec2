//! Two stream islands and a lossy channel, driven by the input.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quic_core::fuzz::streams(data));
