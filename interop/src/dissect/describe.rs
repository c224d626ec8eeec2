//! One line per packet.

use std::fmt::Write as _;
use std::io::Write as _;

use quic_core::Ecn;
use quic_core::wire::frame::EcnCounts;
use quic_core::wire::header::KeyPhase;
use quic_core::wire::{Dir, Frame, PacketType, Side, Version};

use super::header::V2;
use super::packet::{Datagram, Opened, Packet};
use super::witness::Dissection;

/// Prints every packet of every capture, in the order of time.
pub(super) fn print(dissection: &Dissection) {
    let several = dissection.captures.len() > 1;
    let mut datagrams: Vec<_> = dissection
        .captures
        .iter()
        .enumerate()
        .flat_map(|(at, capture)| capture.datagrams.iter().map(move |datagram| (at, datagram)))
        .collect();
    datagrams.sort_by_key(|(_, datagram)| datagram.time);
    let mut out = std::io::stdout().lock();
    for (at, datagram) in datagrams {
        let capture = if several { format!("[{}] ", at + 1) } else { String::new() };
        for packet in &datagram.packets {
            let line = format!("{capture}{}", describe_packet(datagram, packet));
            // Whoever does not read on does not want the rest.
            if writeln!(out, "{line}").is_err() {
                return;
            }
        }
    }
}

/// When it was sent, by whom, and what it says.
fn describe_packet(datagram: &Datagram, packet: &Packet) -> String {
    let sender = match datagram.sender {
        Some(Side::Client) => "client",
        Some(Side::Server) => "server",
        None => "?",
    };
    let mut line = format!(
        "{:.6} #{} {sender} {}>{} {}B{}",
        datagram.time.as_secs_f64(),
        datagram.number,
        datagram.source,
        datagram.destination,
        packet.len,
        match datagram.ecn {
            None => "",
            Some(Ecn::Ect0) => " ECT(0)",
            Some(Ecn::Ect1) => " ECT(1)",
            Some(Ecn::Ce) => " CE",
        },
    );
    if let Some(connection) = packet.connection {
        // Writing to a String does not fail.
        let _ = write!(line, " conn {connection}");
    }
    describe_header(&mut line, packet);
    match &packet.opened {
        Some(opened) => describe_inside(&mut line, packet, opened),
        None if packet.kind.space().is_some() => line.push_str(" not opened"),
        None => {}
    }
    line
}

fn describe_header(line: &mut String, packet: &Packet) {
    let _ = write!(line, " {}", packet.kind);
    match packet.version {
        None => {}
        Some(Version::V1) => line.push_str(" v1"),
        Some(V2) => line.push_str(" v2"),
        Some(version) => {
            let _ = write!(line, " {version:?}");
        }
    }
    let _ = write!(line, " dcid={}", packet.dcid);
    if packet.kind.has_long_header() {
        let _ = write!(line, " scid={}", packet.scid);
    }
    if !packet.token.is_empty() {
        let _ = write!(line, " token={}B", packet.token.len());
    }
    if !packet.versions.is_empty() {
        let _ = write!(line, " {:?}", packet.versions);
    }
}

fn describe_inside(line: &mut String, packet: &Packet, opened: &Opened) {
    let phase = match (packet.kind, opened.key_phase) {
        (PacketType::OneRtt, KeyPhase::Zero) => " phase=0",
        (PacketType::OneRtt, KeyPhase::One) => " phase=1",
        _ => "",
    };
    let _ = write!(line, " pn={}{phase}:", opened.number);
    for frame in opened.frames() {
        line.push(' ');
        describe_frame(line, &frame);
    }
    if !opened.is_well_formed() {
        line.push_str(" MALFORMED");
    }
}

fn describe_frame(line: &mut String, frame: &Frame<'_>) {
    // Writing to a String does not fail.
    let _ = match frame {
        Frame::Padding(len) => write!(line, "PADDING({len})"),
        Frame::Ack(ack) => {
            line.push_str("ACK(");
            for (at, range) in ack.iter().enumerate() {
                let gap = if at == 0 { "" } else { " " };
                let _ = match (*range.start(), *range.end()) {
                    (start, end) if start == end => write!(line, "{gap}{end}"),
                    (start, end) => write!(line, "{gap}{start}-{end}"),
                };
            }
            match ack.ecn {
                Some(EcnCounts { ect0, ect1, ce }) => write!(line, "; ecn {ect0} {ect1} {ce})"),
                None => write!(line, ")"),
            }
        }
        Frame::Crypto(f) => write!(line, "CRYPTO({}+{})", f.offset, f.data.len()),
        Frame::Stream(f) => {
            let fin = if f.fin { " fin" } else { "" };
            write!(line, "STREAM({} {}+{}{fin})", f.stream_id, f.offset, f.data.len())
        }
        Frame::ResetStream(f) => {
            write!(line, "RESET_STREAM({} {:?} at {})", f.stream_id, f.error_code, f.final_size)
        }
        Frame::StopSending(f) => write!(line, "STOP_SENDING({} {:?})", f.stream_id, f.error_code),
        Frame::NewToken(f) => write!(line, "NEW_TOKEN({}B)", f.token.len()),
        Frame::MaxData(f) => write!(line, "MAX_DATA({})", f.maximum_data),
        Frame::MaxStreamData(f) => {
            write!(line, "MAX_STREAM_DATA({} {})", f.stream_id, f.maximum_stream_data)
        }
        Frame::MaxStreams(f) => write!(line, "MAX_STREAMS({} {})", dir(f.dir), f.maximum_streams),
        Frame::StreamsBlocked(f) => {
            write!(line, "STREAMS_BLOCKED({} {})", dir(f.dir), f.maximum_streams)
        }
        Frame::NewConnectionId(f) => write!(
            line,
            "NEW_CONNECTION_ID({} {} retire<{})",
            f.sequence_number, f.connection_id, f.retire_prior_to
        ),
        Frame::RetireConnectionId(f) => {
            write!(line, "RETIRE_CONNECTION_ID({})", f.sequence_number)
        }
        Frame::PathChallenge(f) => write!(line, "PATH_CHALLENGE({})", hex(&f.data)),
        Frame::PathResponse(f) => write!(line, "PATH_RESPONSE({})", hex(&f.data)),
        Frame::ConnectionClose(close) => {
            write!(line, "{close:?}")
        }
        Frame::Ping
        | Frame::DataBlocked(_)
        | Frame::StreamDataBlocked(_)
        | Frame::HandshakeDone => write!(line, "{}", frame.ty()),
    };
}

const fn dir(dir: Dir) -> &'static str {
    match dir {
        Dir::Bi => "bidi",
        Dir::Uni => "uni",
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
