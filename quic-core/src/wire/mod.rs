//! The byte formats of QUIC version 1, and nothing that remembers anything.
//!
//! What lives here turns bytes into values and values into bytes: variable-length integers,
//! packet numbers, connection IDs, packet headers, frames and transport parameters, together with
//! the code points that name them. Decoding borrows from its input, allocates nothing, and answers
//! every input with a value or an error. Encoding first tells its `size`, then writes into room
//! that the caller has checked.
//!
//! What never lives here: keys, connection state, time, and decisions about what to send.
//!
//! A received datagram goes through [`header::Header::decode`]; once `crypto` has opened the packet
//! in place, [`frame::Frames`] walks over its payload.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::cast_possible_truncation
    )
)]

pub mod cid;
pub mod cursor;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod packet_number;
pub mod packet_type;
pub mod space;
pub mod stream_id;
pub mod transport_params;
pub mod varint;
pub mod version;

pub use cid::{ConnectionId, ResetToken};
pub use cursor::{Reader, UnexpectedEnd, Writer};
pub use error_code::{ApplicationErrorCode, TransportErrorCode};
pub use frame::{Frame, FrameType, Frames};
pub use packet_number::{PacketNumber, Truncated};
pub use packet_type::PacketType;
pub use space::SpaceId;
pub use stream_id::{Dir, Side, StreamId};
pub use transport_params::TransportParameters;
pub use varint::VarInt;
pub use version::Version;

#[cfg(test)]
mod test_support;
