//! Buffers of byte streams, for STREAM and CRYPTO data alike: putting received pieces into order,
//! and keeping sent bytes until they are acknowledged.
//!
//! What lives here knows offsets and bytes. It never knows of frames, flow control, stream states
//! or the end of a stream.

mod assembler;
mod send_buffer;
mod slab_ring;

pub use assembler::Assembler;
pub use send_buffer::SendBuffer;
pub use slab_ring::{Slab, SlabRing};

/// Whether received data may go on living in the memory of the datagram that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Slices of the datagram may be kept for as long as they are needed.
    Share,
    /// The memory of the datagram is wanted back at once: whatever is kept must be copied.
    Copy,
}
