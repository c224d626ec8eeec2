//! What a run leaves behind: a capture of each end, and a log of what the network did to packets.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::impair::Direction;
use super::nat::Flow;
use super::network::{Loss, Outcome};
use super::packet::{End, Packet};

/// The capture at the client's end of the link, as the interop runner names it.
pub(crate) const LEFT: &str = "trace_node_left.pcap";
/// The capture at the server's end.
pub(crate) const RIGHT: &str = "trace_node_right.pcap";
/// One JSON object per line: what was lost or changed, and a summary at the end.
pub(crate) const LOG: &str = "relay.json";

/// The first bytes of a pcap file with times in nanoseconds.
const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Packets in it begin with their IP header.
const LINKTYPE_RAW: u32 = 101;
/// No packet is cut.
const SNAPLEN: u32 = 65535;

/// Where packets are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Writes the files of one run into a directory.
#[derive(Debug)]
pub(crate) struct Recorder {
    clock: Clock,
    left: Capture,
    right: Capture,
    log: BufWriter<File>,
    counts: Counts,
}

/// How many packets a network carried and lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) corrupted: u64,
    pub(crate) lost: u64,
    pub(crate) rebinds: u64,
}

impl Recorder {
    /// Begins the files in `directory`, with the scenario in the first line of the log.
    pub(crate) fn create(
        directory: &Path,
        start: Instant,
        scenario: &str,
        seed: u64,
    ) -> io::Result<Self> {
        let mut recorder = Self {
            clock: Clock { start, wall: SystemTime::now() },
            left: Capture::create(&directory.join(LEFT))?,
            right: Capture::create(&directory.join(RIGHT))?,
            log: BufWriter::new(File::create(directory.join(LOG))?),
            counts: Counts::default(),
        };
        recorder.log(start, "start", json!({ "scenario": scenario, "seed": seed }))?;
        Ok(recorder)
    }

    /// A packet was seen at an end.
    pub(crate) fn packet(&mut self, now: Instant, side: Side, packet: &Packet) -> io::Result<()> {
        let time = self.clock.since_epoch(now);
        match side {
            Side::Left => self.left.write(time, packet.bytes()),
            Side::Right => self.right.write(time, packet.bytes()),
        }
    }

    /// What became of a packet.
    pub(crate) fn outcome(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &Packet,
        outcome: Outcome,
    ) -> io::Result<()> {
        match outcome {
            Outcome::Delivered => {
                self.counts.delivered += 1;
                Ok(())
            }
            Outcome::DeliveredCorrupted => {
                self.counts.corrupted += 1;
                self.log(now, "corrupted", about(direction, packet))
            }
            Outcome::Lost(loss) => {
                self.counts.lost += 1;
                let reason = match loss {
                    Loss::Queue => "lost in queue",
                    Loss::Mapping => "lost at NAT",
                    Loss::Scenario => "dropped",
                };
                self.log(now, reason, about(direction, packet))
            }
        }
    }

    /// The NAT has new mappings.
    pub(crate) fn rebind(&mut self, now: Instant, flows: &[Flow]) -> io::Result<()> {
        self.counts.rebinds += 1;
        let flow = |flow: &Flow| json!({ "inside": flow.inside, "outside": flow.outside });
        self.log(now, "rebind", json!({ "flows": flows.iter().map(flow).collect::<Vec<_>>() }))
    }

    /// Completes the files.
    pub(crate) fn finish(mut self, now: Instant) -> io::Result<Counts> {
        let Counts { delivered, corrupted, lost, rebinds } = self.counts;
        let counts = json!({
            "delivered": delivered, "corrupted": corrupted, "lost": lost, "rebinds": rebinds,
        });
        self.log(now, "end", counts)?;
        self.log.flush()?;
        self.left.0.flush()?;
        self.right.0.flush()?;
        Ok(self.counts)
    }

    fn log(&mut self, now: Instant, event: &str, mut fields: Value) -> io::Result<()> {
        let time = now.saturating_duration_since(self.clock.start).as_secs_f64();
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("time".into(), json!((time * 1e6).round() / 1e6));
            fields.insert("event".into(), json!(event));
        }
        writeln!(self.log, "{fields}")
    }
}

fn about(direction: Direction, packet: &Packet) -> Value {
    let direction = match direction {
        Direction::ToServer => "to_server",
        Direction::ToClient => "to_client",
    };
    json!({
        "direction": direction,
        "from": packet.address(End::Source),
        "to": packet.address(End::Destination),
        "length": packet.len(),
    })
}

/// Relates the clock of the run to the time of day.
#[derive(Debug)]
struct Clock {
    start: Instant,
    wall: SystemTime,
}

impl Clock {
    fn since_epoch(&self, now: Instant) -> Duration {
        let time = self.wall + now.saturating_duration_since(self.start);
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// A pcap file.
#[derive(Debug)]
struct Capture(BufWriter<File>);

impl Capture {
    fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let version = 2_u32 | 4 << 16;
        for field in [PCAP_NANOSECONDS, version, 0, 0, SNAPLEN, LINKTYPE_RAW] {
            file.write_all(&field.to_le_bytes())?;
        }
        Ok(Self(file))
    }

    fn write(&mut self, time: Duration, packet: &[u8]) -> io::Result<()> {
        let length = packet.len().min(SNAPLEN as usize) as u32;
        // Seconds of the format are 32 bits without a sign: good until 2106.
        for field in [time.as_secs() as u32, time.subsec_nanos(), length, length] {
            self.0.write_all(&field.to_le_bytes())?;
        }
        self.0.write_all(packet.get(..length as usize).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::datagram;
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
    }

    #[test]
    fn captures_have_the_header_and_the_records_of_the_format() {
        let directory = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut recorder = Recorder::create(directory.path(), start, "simple-p2p", 5).unwrap();
        let packet = datagram(b"hello");
        let later = start + Duration::from_micros(1_500_000);
        recorder.packet(start, Side::Left, &packet).unwrap();
        recorder.packet(later, Side::Left, &packet).unwrap();
        recorder.finish(later).unwrap();

        let left = std::fs::read(directory.path().join(LEFT)).unwrap();
        assert_eq!(word(&left, 0), 0xa1b2_3c4d);
        assert_eq!(left[4..8], [2, 0, 4, 0]);
        assert_eq!(word(&left, 20), 101);
        let record = 16 + packet.len();
        assert_eq!(left.len(), 24 + 2 * record);
        assert_eq!(word(&left, 24 + 8) as usize, packet.len());
        assert_eq!(&left[24 + 16..24 + record], packet.bytes());
        let time = |at| Duration::new(word(&left, at).into(), word(&left, at + 4));
        assert_eq!(time(24 + record) - time(24), later - start);
        assert_eq!(std::fs::metadata(directory.path().join(RIGHT)).unwrap().len(), 24);
    }

    #[test]
    fn the_log_tells_what_was_lost_and_counts_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut recorder = Recorder::create(directory.path(), start, "droplist", 5).unwrap();
        let packet = datagram(b"hello");
        let later = start + Duration::from_millis(1);
        for outcome in [
            Outcome::Delivered,
            Outcome::DeliveredCorrupted,
            Outcome::Lost(Loss::Queue),
            Outcome::Lost(Loss::Scenario),
        ] {
            recorder.outcome(later, Direction::ToServer, &packet, outcome).unwrap();
        }
        let counts = recorder.finish(later).unwrap();
        assert_eq!(counts, Counts { delivered: 1, corrupted: 1, lost: 2, rebinds: 0 });

        let log = std::fs::read_to_string(directory.path().join(LOG)).unwrap();
        let lines: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["start", "corrupted", "lost in queue", "dropped", "end"]);
        assert_eq!(lines[0]["seed"], 5);
        assert_eq!(lines[1]["time"], 0.001);
        assert_eq!(lines[1]["from"], "193.167.0.100:4000");
        assert_eq!(lines[4]["lost"], 2);
    }
}
