//! HTTP/3 and QPACK over QUIC streams, with a client and a server for `http` types.

#![forbid(unsafe_code)]

pub mod proto;
pub mod qpack;
