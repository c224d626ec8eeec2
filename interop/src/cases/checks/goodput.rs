//! How fast the file of a measurement arrived.

use quic_core::wire::{PacketType, Side};

use super::super::evidence::files_in;
use super::{Evidence, Objection};

/// The bits of all files over the time between the server's first and last 1-RTT packet next to
/// the client, in kbit/s.
pub(crate) fn of_file(evidence: &Evidence) -> Result<f64, Objection> {
    let files = files_in(&evidence.www)
        .map_err(|error| Objection::Failed(format!("cannot list the files: {error}")))?;
    let sizes = files.values().map(|file| file.metadata().map_or(0, |metadata| metadata.len()));
    let bits = 8.0 * sizes.sum::<u64>() as f64;
    let mut times =
        evidence.left.packets(Side::Server, PacketType::OneRtt).map(|(datagram, _)| datagram.time);
    let first = times.next().unwrap_or_default();
    let last = times.last().unwrap_or_default();
    let milliseconds = last.saturating_sub(first).as_secs_f64() * 1000.0;
    if milliseconds == 0.0 {
        return Objection::failed("the server sent too few 1-RTT packets to measure a time");
    }
    Ok(bits / milliseconds)
}
