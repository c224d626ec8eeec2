//! What a packet carried, in the form in which acknowledgement and loss need it.

use smallvec::SmallVec;

use crate::stream::SentStreamFrame;
use crate::wire::SpaceId;
use crate::wire::packet_number::PacketNumber;

/// One frame of a sent packet that somebody wants to hear of again.
///
/// PADDING, PING, CONNECTION_CLOSE and PATH_RESPONSE are not here: they are never sent again
/// (RFC 9000 section 13.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentFrame {
    /// A frame that a stream or its flow control sent.
    Stream(SentStreamFrame),
    /// An ACK frame, by its Largest Acknowledged; `space` is the one it acknowledges and was sent in.
    Ack {
        space: SpaceId,
        largest: PacketNumber,
    },
    Crypto {
        space: SpaceId,
        offset: u64,
        len: u16,
    },
    HandshakeDone,
    NewConnectionId {
        sequence: u64,
    },
    RetireConnectionId {
        sequence: u64,
    },
    NewToken {
        index: u8,
    },
}

/// The frames of one packet; the common case of one frame needs no allocation.
pub(super) type SentFrames = SmallVec<[SentFrame; 1]>;
