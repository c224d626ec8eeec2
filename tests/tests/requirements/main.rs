//! Rules of the RFCs that show in what one connection sends: a [`subject::Subject`] under test and
//! a raw peer, without a network between them. Each test says which sentences it stands for.

mod acknowledging;
mod closing;
mod endpoint;
mod handshake;
mod keys;
mod packets;
mod streams;
mod subject;
mod trains;
