//! HTTP/3 frames, cut anywhere.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| h3_lite::fuzz::frames(data));
