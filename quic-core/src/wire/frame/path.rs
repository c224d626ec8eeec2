//! Frames that find out whether a path works (RFC 9000, sections 19.17 and 19.18).

use crate::error::Violation;
use crate::wire::FrameType;
use crate::wire::cursor::{Reader, Writer};

macro_rules! path_frame {
    ($(#[$attribute:meta])* $name:ident = $ty:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// Eight bytes that only someone on the path can know.
            pub data: [u8; 8],
        }

        impl $name {
            /// Length of the whole frame in bytes.
            pub const SIZE: usize = 9;

            pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation> {
                Ok(Self { data: reader.array()? })
            }

            /// Length of the whole frame in bytes.
            pub const fn size(&self) -> usize {
                Self::SIZE
            }

            /// Writes the whole frame.
            pub fn encode(&self, writer: &mut Writer<'_>) {
                writer.varint(FrameType::$ty.0);
                writer.bytes(&self.data);
            }
        }
    };
}

path_frame! {
    /// PATH_CHALLENGE: asks for the same bytes back.
    PathChallenge = PATH_CHALLENGE
}

path_frame! {
    /// PATH_RESPONSE: gives the bytes of a challenge back.
    PathResponse = PATH_RESPONSE
}
