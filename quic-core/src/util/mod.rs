//! Small data structures and the random generator. Nothing here knows QUIC.

pub mod min_max;
pub mod range_set;
pub mod rng;
pub(crate) mod sync;

pub use min_max::{WindowedMax, WindowedMin};
pub use range_set::RangeSet;
pub use rng::Rng;
