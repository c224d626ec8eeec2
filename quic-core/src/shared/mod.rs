//! The only types that application tasks and a driver both touch.
//!
//! The transport itself has one owner, the driver, and no synchronisation at all. Between it and
//! the tasks that use streams stand small cells, each with one lock of its own: [`SendCell`] and
//! [`RecvCell`] for the halves of a stream, [`ConnectionCell`] for a connection, and the
//! [`ReadyList`] by which tasks tell the driver which cells have work for it.
//!
//! All locks are leaves: under one of them no other is taken, nobody is woken, no chunk is dropped
//! and nothing is encrypted or sent. Wakers lie under the same lock as what they wait for, and are
//! called after it is released, by the driver once for a batch ([`Wakes`]).
//!
//! A program without tasks drives the transport directly and needs nothing of this.

mod connection_cell;
mod ready;
mod recv_cell;
mod send_cell;
mod wakes;

#[cfg(all(test, not(loom)))]
mod test_support;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(loom)]
#[doc(hidden)]
pub use crate::util::sync::assert_no_lock_is_held;
pub use connection_cell::{ConnectionCell, ConnectionWork, OpenRefused, StreamCells};
pub use ready::{Ready, ReadyList};
pub use recv_cell::{ReadRefused, RecvCell, RecvWork};
pub use send_cell::{SendCell, SendPhase, SendWork, WriteRefused};
pub use wakes::{WaitKey, Wakes};
