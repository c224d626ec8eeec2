//! A QPACK field section.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| h3_lite::fuzz::qpack(data));
