//! Two endpoints, and a network that does what the input says.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quic_core::fuzz::connection(
    std::time::Instant::now(),
    data
));
