//! Takes captured QUIC packets apart, as a witness that has nothing to do with the endpoints.
//!
//! Captures and key logs go in; every datagram comes out with its packets, opened wherever the
//! keys are known, and every connection with what its handshake said. Only the formats of
//! `quic_core::wire` are shared with our endpoints: headers, keys and packet protection are done
//! here a second time.
//!
//! * [`pcap`] and [`ip`] get datagrams out of a capture file;
//! * [`header`], [`keys`] and [`key_log`] get the payload out of a packet;
//! * [`tls`] reads handshake messages;
//! * [`connection`] is what is known of one connection: its connection IDs and keys;
//! * [`witness`] walks over all captures of a run at once, in the order of time, so that what was
//!   lost on the link is known from the capture in front of the loss;
//! * [`describe`] prints one line per packet.

mod connection;
mod describe;
mod header;
mod ip;
mod key_log;
pub(crate) mod keys;
mod packet;
pub(crate) mod pcap;
mod tls;
mod witness;

#[cfg(test)]
pub(crate) mod forge;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

pub(crate) use connection::Connection;
pub(crate) use describe::hex;
pub(crate) use header::V2;
pub(crate) use key_log::KeyLog;
pub(crate) use packet::{Capture, Datagram};
pub(crate) use witness::{Dissection, dissect};

use crate::failure::Failure;

/// Print a line for each QUIC packet of a capture.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The capture (pcap). Of several captures of the same traffic, each packet is printed once
    /// per capture.
    #[arg(required = true, value_name = "PCAP")]
    captures: Vec<PathBuf>,
    /// The TLS secrets, as SSLKEYLOGFILE makes the endpoints write them. May be given repeatedly.
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| Failure::with_file("read", path, &error))
    };
    let mut keys = KeyLog::default();
    for path in &options.keys {
        keys.add(&String::from_utf8_lossy(&read(path)?));
    }
    let files = options.captures.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let dissection = dissect(files.iter().map(Vec::as_slice), &keys).map_err(Failure::new)?;
    describe::print(&dissection);
    Ok(ExitCode::SUCCESS)
}
