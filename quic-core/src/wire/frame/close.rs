//! The frame that ends a connection (RFC 9000, section 19.19).

use super::FrameType;
use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint::{self, VarInt};
use crate::wire::{ApplicationErrorCode, TransportErrorCode};

/// CONNECTION_CLOSE: the sender will send nothing more, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionClose<'a> {
    /// The transport ends the connection (type 0x1c).
    Transport {
        /// Why.
        error_code: TransportErrorCode,
        /// The frame that was wrong, if it was a frame and is known.
        frame_type: Option<FrameType>,
        /// More about it for a human, if possible in UTF-8.
        reason: &'a [u8],
    },
    /// The application ends the connection (type 0x1d).
    Application {
        /// Why.
        error_code: ApplicationErrorCode,
        /// More about it for a human, if possible in UTF-8.
        reason: &'a [u8],
    },
}

impl<'a> ConnectionClose<'a> {
    /// Stands for an application's close in Initial and Handshake packets, where its code and
    /// reason would be readable by others.
    // req 9000-10.2.3-244
    pub const APPLICATION_BEFORE_ONE_RTT: ConnectionClose<'static> = ConnectionClose::Transport {
        error_code: TransportErrorCode::APPLICATION_ERROR,
        frame_type: None,
        reason: &[],
    };

    pub(super) fn decode_transport(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let error_code = TransportErrorCode(reader.varint()?);
        // The number of PADDING means that no frame is to blame.
        let frame_type = Some(FrameType(reader.varint()?)).filter(|ty| *ty != FrameType::PADDING);
        Ok(Self::Transport { error_code, frame_type, reason: reader.length_prefixed()? })
    }

    pub(super) fn decode_application(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let error_code = ApplicationErrorCode(VarInt::decode(reader)?);
        Ok(Self::Application { error_code, reason: reader.length_prefixed()? })
    }

    /// The number of this form of the frame.
    pub const fn ty(&self) -> FrameType {
        match self {
            Self::Transport { .. } => FrameType::CONNECTION_CLOSE,
            Self::Application { .. } => FrameType::APPLICATION_CLOSE,
        }
    }

    /// The explanation for a human.
    pub const fn reason(&self) -> &'a [u8] {
        match self {
            Self::Transport { reason, .. } | Self::Application { reason, .. } => reason,
        }
    }

    /// The same frame with its reason cut so that the frame is at most `room` bytes long, if the
    /// rest of it fits at all. UTF-8 may be cut inside a character.
    pub fn fitted(self, room: usize) -> Self {
        let reason = self.reason();
        let fixed = 1 + self.codes_size();
        let keep = varint::fit_with_length(room.saturating_sub(fixed)).unwrap_or(0);
        let cut = reason.get(..keep).unwrap_or(reason);
        match self {
            Self::Transport { error_code, frame_type, .. } => {
                Self::Transport { error_code, frame_type, reason: cut }
            }
            Self::Application { error_code, .. } => Self::Application { error_code, reason: cut },
        }
    }

    fn codes_size(&self) -> usize {
        match self {
            Self::Transport { error_code, frame_type, .. } => {
                varint::size(error_code.0) + varint::size(frame_type.map_or(0, |ty| ty.0))
            }
            Self::Application { error_code, .. } => error_code.0.size(),
        }
    }

    /// Length of the whole frame in bytes.
    pub fn size(&self) -> usize {
        let reason = self.reason().len();
        1 + self.codes_size() + varint::size(reason as u64) + reason
    }

    /// Writes the whole frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(self.ty().0);
        match self {
            Self::Transport { error_code, frame_type, .. } => {
                writer.varint(error_code.0);
                writer.varint(frame_type.map_or(0, |ty| ty.0));
            }
            Self::Application { error_code, .. } => error_code.0.encode(writer),
        }
        writer.length_prefixed(self.reason());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_to_the_room() {
        let close = ConnectionClose::Application {
            error_code: ApplicationErrorCode::from(7),
            reason: &[b'x'; 200],
        };
        for room in 3..220 {
            let fitted = close.fitted(room);
            assert!(fitted.size() <= room);
            assert!(fitted.size() + 2 >= room.min(close.size()), "{room}");
        }
        assert_eq!(close.fitted(1000), close);
    }

    // req-test 9000-10.2.3-244
    #[test]
    fn an_early_application_close_tells_nothing() {
        let close = ConnectionClose::APPLICATION_BEFORE_ONE_RTT;
        let mut buf = [0; 4];
        close.encode(&mut Writer::new(&mut buf));
        assert_eq!(buf, [0x1c, 0x0c, 0, 0]);
    }
}
