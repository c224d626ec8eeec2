//! A request stream.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| h3_lite::fuzz::request_stream(data));
