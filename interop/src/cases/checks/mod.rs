//! The checks: each looks at the evidence for one thing.
//!
//! They ask what the checks of the QUIC interop runner ask, and on the same side of the link. What
//! is wrong is said with the datagram that shows it: its number among the UDP datagrams of its
//! capture, and its time since the first one of the run.

pub(super) mod amplification;
pub(super) mod chacha;
pub(super) mod ecn;
pub(super) mod files;
pub(super) mod goodput;
pub(super) mod handshakes;
pub(super) mod ipv6;
pub(super) mod key_phases;
pub(super) mod long_rtt;
pub(super) mod migration;
pub(super) mod resumption;
pub(super) mod retry;
pub(super) mod stream_limit;
pub(super) mod versions;
pub(super) mod zero_rtt;

use super::{Evidence, Objection};
use crate::dissect::Datagram;

type Outcome = Result<String, Objection>;

/// Where a datagram is found in its capture.
fn place(datagram: &Datagram) -> String {
    format!("datagram {} at {:.3} s", datagram.number, datagram.time.as_secs_f64())
}
