//! A sans-IO QUIC version 1 transport: no clock, no sockets, no tasks.

#![forbid(unsafe_code)]
