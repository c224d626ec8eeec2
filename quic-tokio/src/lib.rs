//! QUIC endpoints on tokio: UDP sockets, the driver task, and streams as async readers and writers.

#![forbid(unsafe_code)]
