//! Buffers of byte streams, for STREAM and CRYPTO data alike: putting received pieces into order,
//! and keeping sent bytes until they are acknowledged.
//!
//! What lives here knows offsets and bytes. It never knows of frames, flow control, stream states
//! or the end of a stream.

mod assembler;
mod send_buffer;
mod slab_ring;
mod train;

pub use assembler::Assembler;
pub use send_buffer::SendBuffer;
pub use slab_ring::{Lease, Occupancy, Slab, SlabRing};
pub use train::{Arrival, Lender, Train};
