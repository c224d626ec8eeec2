//! The numbers of frames, and the table of where each may appear (RFC 9000, table 3).

use std::fmt;

use crate::wire::PacketType;

/// The number that a frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameType(pub u64);

impl FrameType {
    /// Does nothing but take room.
    pub const PADDING: Self = Self(0x00);
    /// Asks for an acknowledgement.
    pub const PING: Self = Self(0x01);
    /// Acknowledges packets.
    pub const ACK: Self = Self(0x02);
    /// Acknowledges packets and reports ECN counts.
    pub const ACK_ECN: Self = Self(0x03);
    /// Ends the sending part of a stream early.
    pub const RESET_STREAM: Self = Self(0x04);
    /// Asks for the sending part of a stream to end early.
    pub const STOP_SENDING: Self = Self(0x05);
    /// Carries handshake data.
    pub const CRYPTO: Self = Self(0x06);
    /// Gives a client a token for a later connection.
    pub const NEW_TOKEN: Self = Self(0x07);
    /// Carries stream data; the first of eight numbers whose low bits are flags.
    pub const STREAM: Self = Self(0x08);
    /// Raises the amount of data allowed on the connection.
    pub const MAX_DATA: Self = Self(0x10);
    /// Raises the amount of data allowed on a stream.
    pub const MAX_STREAM_DATA: Self = Self(0x11);
    /// Raises the number of bidirectional streams.
    pub const MAX_STREAMS_BIDI: Self = Self(0x12);
    /// Raises the number of unidirectional streams.
    pub const MAX_STREAMS_UNI: Self = Self(0x13);
    /// Tells that the connection's limit holds data back.
    pub const DATA_BLOCKED: Self = Self(0x14);
    /// Tells that a stream's limit holds data back.
    pub const STREAM_DATA_BLOCKED: Self = Self(0x15);
    /// Tells that the limit on bidirectional streams holds one back.
    pub const STREAMS_BLOCKED_BIDI: Self = Self(0x16);
    /// Tells that the limit on unidirectional streams holds one back.
    pub const STREAMS_BLOCKED_UNI: Self = Self(0x17);
    /// Issues a connection ID.
    pub const NEW_CONNECTION_ID: Self = Self(0x18);
    /// Gives a connection ID back.
    pub const RETIRE_CONNECTION_ID: Self = Self(0x19);
    /// Asks whether the peer can be reached on a path.
    pub const PATH_CHALLENGE: Self = Self(0x1a);
    /// Answers that the peer can be reached on a path.
    pub const PATH_RESPONSE: Self = Self(0x1b);
    /// Closes the connection with a transport error.
    pub const CONNECTION_CLOSE: Self = Self(0x1c);
    /// Closes the connection with an application error.
    pub const APPLICATION_CLOSE: Self = Self(0x1d);
    /// Tells a client that the handshake is confirmed.
    pub const HANDSHAKE_DONE: Self = Self(0x1e);

    /// Flag of STREAM: this is the end of the stream.
    pub(super) const STREAM_FIN: u64 = 0x01;
    /// Flag of STREAM: there is a length field.
    pub(super) const STREAM_LEN: u64 = 0x02;
    /// Flag of STREAM: there is an offset field.
    pub(super) const STREAM_OFF: u64 = 0x04;
    pub(super) const STREAM_LAST: u64 = 0x0f;

    /// The name in the RFCs, `None` for frames that this crate does not know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "PADDING",
            0x01 => "PING",
            0x02 | 0x03 => "ACK",
            0x04 => "RESET_STREAM",
            0x05 => "STOP_SENDING",
            0x06 => "CRYPTO",
            0x07 => "NEW_TOKEN",
            0x08..=Self::STREAM_LAST => "STREAM",
            0x10 => "MAX_DATA",
            0x11 => "MAX_STREAM_DATA",
            0x12 | 0x13 => "MAX_STREAMS",
            0x14 => "DATA_BLOCKED",
            0x15 => "STREAM_DATA_BLOCKED",
            0x16 | 0x17 => "STREAMS_BLOCKED",
            0x18 => "NEW_CONNECTION_ID",
            0x19 => "RETIRE_CONNECTION_ID",
            0x1a => "PATH_CHALLENGE",
            0x1b => "PATH_RESPONSE",
            0x1c | 0x1d => "CONNECTION_CLOSE",
            0x1e => "HANDSHAKE_DONE",
            _ => return None,
        })
    }

    /// True if this crate can decode the frame.
    #[inline]
    pub const fn is_known(self) -> bool {
        self.0 <= Self::HANDSHAKE_DONE.0
    }

    /// True if a packet with this frame must be acknowledged (RFC 9000, section 13.2).
    #[inline]
    pub const fn is_ack_eliciting(self) -> bool {
        !matches!(self.0, 0x00 | 0x02 | 0x03 | 0x1c | 0x1d)
    }

    /// True if a packet with this frame counts towards the bytes in flight (RFC 9002, section 2).
    #[inline]
    pub const fn counts_in_flight(self) -> bool {
        !matches!(self.0, 0x02 | 0x03)
    }

    /// True if a packet of only such frames probes a path without moving the connection to it
    /// (RFC 9000, section 9.1).
    #[inline]
    pub const fn is_probing(self) -> bool {
        matches!(self.0, 0x00 | 0x18 | 0x1a | 0x1b)
    }

    /// True if the data of the frame counts against flow control.
    #[inline]
    pub const fn is_flow_controlled(self) -> bool {
        matches!(self.0, 0x08..=Self::STREAM_LAST)
    }

    /// True if packets of this type may carry the frame.
    ///
    /// Unknown frames are allowed nowhere.
    #[inline]
    pub const fn is_allowed_in(self, packet: PacketType) -> bool {
        match packet {
            PacketType::OneRtt => self.is_known(),
            // req 9000-12.5-295, 9000-12.5-296, 9000-12.5-297, 9000-12.5-298, 9000-12.5-299
            // req 9000-17.2.4-398, 9000-17.2.4-399
            PacketType::Initial | PacketType::Handshake => {
                matches!(self.0, 0x00..=0x03 | 0x06 | 0x1c)
            }
            // req 9001-8.3-107
            // req 9000-12.5-300: frames that answer something cannot be in early data, and that
            // includes RETIRE_CONNECTION_ID although table 3 lists it.
            PacketType::ZeroRtt => {
                self.is_known() && !matches!(self.0, 0x02 | 0x03 | 0x06 | 0x07 | 0x19 | 0x1b | 0x1e)
            }
            PacketType::Retry | PacketType::VersionNegotiation => false,
        }
    }
}

impl fmt::Debug for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "frame type {:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::test_support::csv_rows;

    // req-test 9000-12.5-295, 9000-12.5-296, 9000-12.5-297, 9000-12.5-298, 9000-12.5-299
    // req-test 9000-12.5-300, 9000-17.2.4-398, 9000-17.2.4-399
    #[test]
    fn names_packets_and_flags_match_the_registry() {
        let table = include_str!("../../../../tests/vectors/frame_types.csv");
        let rows: Vec<_> = csv_rows(table).collect();
        let base: Vec<_> = rows.iter().filter(|row| row[2].starts_with("RFC 9000")).collect();
        assert_eq!(base.len(), 0x1f);
        for row in base {
            let ty = FrameType(u64::from_str_radix(&row[0][2..], 16).unwrap());
            let (name, packets, flags) = (&row[1], &row[3], &row[4]);
            assert!(name.starts_with(ty.name().unwrap()), "{row:?}");
            let allowed = |packet| ty.is_allowed_in(packet);
            let transport_close = ty == FrameType::CONNECTION_CLOSE;
            let early_only_in_table = ty == FrameType::RETIRE_CONNECTION_ID;
            let handshake = packets.contains('H') || (packets.contains('h') && transport_close);
            assert_eq!(allowed(PacketType::Initial), handshake, "{row:?}");
            assert_eq!(allowed(PacketType::Handshake), handshake, "{row:?}");
            let early = packets.contains('0') && !early_only_in_table;
            assert_eq!(allowed(PacketType::ZeroRtt), early, "{row:?}");
            assert_eq!(allowed(PacketType::OneRtt), packets.contains('1'), "{row:?}");
            assert!(!allowed(PacketType::Retry) && !allowed(PacketType::VersionNegotiation));
            assert_eq!(!ty.is_ack_eliciting(), flags.contains('N'), "{row:?}");
            assert_eq!(!ty.counts_in_flight(), flags.contains('C'), "{row:?}");
            assert_eq!(ty.is_probing(), flags.contains('P'), "{row:?}");
            assert_eq!(ty.is_flow_controlled(), flags.contains('F'), "{row:?}");
        }
        for row in rows.iter().filter(|row| !row[2].starts_with("RFC 9000")) {
            let ty = FrameType(u64::from_str_radix(&row[0][2..], 16).unwrap());
            assert!(!ty.is_known() && !ty.is_allowed_in(PacketType::OneRtt), "{row:?}");
        }
    }
}
