//! QPACK, the field compression of HTTP/3 (RFC 9204), with the static table only.
//!
//! Both sides start with a dynamic table of capacity zero, and this endpoint never asks for more:
//! field sections decode on their own, no stream ever blocks on another, and there is no table for
//! a peer to fill. The room for a dynamic table is marked by three seams: the Required Insert Count
//! in [`decoder`], the choice of representation in [`encoder`], and the two instruction readers in
//! [`instructions`].
//!
//! Nothing here knows frames or HTTP semantics: names and values are plain bytes.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

pub mod decoder;
pub mod encoder;
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tables built at compile time, and indexed by bytes where they have 256 rows"
)]
pub mod huffman;
mod huffman_codes;
pub mod instructions;
pub mod prefix_int;
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a table sorted at compile time, indexed by its own indices"
)]
pub mod static_table;

use bytes::Bytes;

/// What each field costs on top of its name and value when a section is measured against a limit
/// (RFC 9114 section 4.2.2).
pub const FIELD_OVERHEAD: u64 = 32;

/// One name and value, as a field section carries them: in order, not yet judged.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldLine {
    /// The field name.
    pub name: Bytes,
    /// The field value.
    pub value: Bytes,
    /// Whether the value must stay a literal on every hop (the N bit).
    pub sensitivity: Sensitivity,
}

/// Whether compression may put a value where later guesses can be compared with it (RFC 9204
/// section 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// Any representation will do.
    Public,
    /// Only ever a literal with the N bit.
    NeverIndexed,
}

impl FieldLine {
    /// A field that may be compressed in any way.
    pub fn new(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: value.into(), sensitivity: Sensitivity::Public }
    }

    /// The same field, never to be indexed.
    pub fn never_indexed(self) -> Self {
        Self { sensitivity: Sensitivity::NeverIndexed, ..self }
    }

    /// What the field counts against a limit, in bytes.
    pub fn size(&self) -> u64 {
        size(&self.name, &self.value)
    }
}

/// A value that must not be compressed is not printed either.
impl std::fmt::Debug for FieldLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sensitivity {
            Sensitivity::Public => write!(f, "{:?}: {:?}", self.name, self.value),
            Sensitivity::NeverIndexed => write!(f, "{:?}: <sensitive>", self.name),
        }
    }
}

pub(crate) fn size(name: &[u8], value: &[u8]) -> u64 {
    name.len() as u64 + value.len() as u64 + FIELD_OVERHEAD
}

#[cfg(test)]
mod vectors;
