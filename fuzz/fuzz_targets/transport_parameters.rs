//! The transport parameters of a peer.
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quic_core::fuzz::transport_parameters(data));
