//! Connection IDs: those that the peer may send to, and those that we may send to
//! (RFC 9000 sections 5.1, 19.15 and 19.16).
//!
//! Each side issues the connection IDs that its peer uses. [`LocalIds`] are the ones we issued,
//! until the peer gives them back; [`RemoteIds`] are the ones the peer issued, one of which is in
//! use. Both hand out the frames that the peer must receive and remember how far each has come.
//! Which connection an ID leads to is the business of `endpoint`.

mod delivery;
mod generator;
mod local;
mod remote;

pub(crate) use delivery::Delivery;
pub use generator::{Generator, InvalidLength};
pub use local::LocalIds;
pub use remote::RemoteIds;
