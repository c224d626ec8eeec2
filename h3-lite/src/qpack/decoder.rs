//! From an encoded field section to field lines (RFC 9204 section 4.5), within limits that count
//! what comes out, not what came in.

use bytes::{Buf, Bytes};

use super::prefix_int::{self, Step};
use super::{FieldLine, Sensitivity, huffman, static_table};
use crate::proto::error::{ConnectionFault, Fault, StreamFault, Violation};

/// How much one field section may hold. Stops header bombs: short input that decodes to a lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionLimits {
    /// Bytes of all names and values plus 32 for each field (RFC 9114 section 4.2.2).
    pub max_size: u64,
    /// Number of fields.
    pub max_fields: usize,
}

impl Default for SectionLimits {
    /// 64 KiB and 512 fields.
    fn default() -> Self {
        Self { max_size: 64 * 1024, max_fields: 512 }
    }
}

/// Decodes one field section. Values that are not Huffman coded share the memory of `section`.
///
/// A section that cannot be decoded ends the connection; one that is only too large for `limits`
/// ends its stream.
// req 9204-2.2-007, 9114-4.2.2-060
pub fn decode(section: Bytes, limits: &SectionLimits) -> Result<Vec<FieldLine>, Fault> {
    let mut input = Input(section);
    read_prefix(&mut input)?;
    let mut lines = Vec::new();
    let mut size: u64 = 0;
    while input.0.has_remaining() {
        let line = read_line(&mut input)?;
        size = size.saturating_add(line.size());
        if size > limits.max_size {
            return Err(stream(Violation::FieldSectionTooLarge));
        }
        if lines.len() >= limits.max_fields {
            return Err(stream(Violation::TooManyFields));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Required Insert Count and Base. With no dynamic table the count must be zero, and any Base that
/// is not negative will do.
// req 9204-4.5.1.1-035, 9204-4.5.1.2-037, 9204-2.2.1-009, 9204-2.2.1-010, 9204-2.1.2-005
fn read_prefix(input: &mut Input) -> Result<(), Fault> {
    let first = input.byte()?;
    if input.integer(first, 8)? != 0 {
        return Err(connection(Violation::DynamicReference));
    }
    let first = input.byte()?;
    input.integer(first, 7)?;
    if first & 0x80 != 0 {
        return Err(connection(Violation::NegativeBase));
    }
    Ok(())
}

fn read_line(input: &mut Input) -> Result<FieldLine, Fault> {
    let first = input.byte()?;
    match first {
        // Indexed: 1 T index(6)
        0x80..=0xff => {
            require_static(first & 0x40 != 0)?;
            let (name, value) = static_entry(input.integer(first, 6)?)?;
            Ok(FieldLine::new(name, value))
        }
        // Literal with name reference: 0 1 N T index(4)
        0x40..=0x7f => {
            require_static(first & 0x10 != 0)?;
            let (name, _) = static_entry(input.integer(first, 4)?)?;
            let value = input.value()?;
            let sensitivity = sensitivity(first & 0x20 != 0);
            Ok(FieldLine { name: Bytes::from_static(name.as_bytes()), value, sensitivity })
        }
        // Literal with literal name: 0 0 1 N H length(3)
        0x20..=0x3f => {
            let name = input.string(first, 3)?;
            let value = input.value()?;
            Ok(FieldLine { name, value, sensitivity: sensitivity(first & 0x10 != 0) })
        }
        // Both post-Base forms refer to the dynamic table.
        0x00..=0x1f => Err(connection(Violation::DynamicReference)),
    }
}

fn sensitivity(never_indexed: bool) -> Sensitivity {
    if never_indexed { Sensitivity::NeverIndexed } else { Sensitivity::Public }
}

// req 9204-2.2.1-009
fn require_static(is_static: bool) -> Result<(), Fault> {
    if is_static { Ok(()) } else { Err(connection(Violation::DynamicReference)) }
}

// req 9204-3.1-013
fn static_entry(index: u64) -> Result<(&'static str, &'static str), Fault> {
    static_table::get(index).ok_or(connection(Violation::StaticIndex))
}

/// What is left of the section.
struct Input(Bytes);

impl Input {
    fn byte(&mut self) -> Result<u8, Fault> {
        if !self.0.has_remaining() {
            return Err(connection(Violation::SectionTruncated));
        }
        Ok(self.0.get_u8())
    }

    // req 9204-7.4-044
    fn integer(&mut self, first: u8, prefix_bits: u32) -> Result<u64, Fault> {
        let mut step = prefix_int::start(first, prefix_bits);
        loop {
            match step {
                Step::Done(value) => return Ok(value),
                Step::More(partial) => {
                    let byte = self.byte()?;
                    step = partial.push(byte).map_err(|_| stream(Violation::IntegerTooLarge))?;
                }
            }
        }
    }

    fn value(&mut self) -> Result<Bytes, Fault> {
        let first = self.byte()?;
        self.string(first, 7)
    }

    /// A string whose length has `prefix_bits` in `first`, below the Huffman flag.
    fn string(&mut self, first: u8, prefix_bits: u32) -> Result<Bytes, Fault> {
        let length = self.integer(first, prefix_bits)?;
        let length = usize::try_from(length).map_err(|_| stream(Violation::StringTooLong))?;
        if length > self.0.remaining() {
            return Err(connection(Violation::SectionTruncated));
        }
        let raw = self.0.split_to(length);
        if first & (1 << prefix_bits) == 0 {
            return Ok(raw);
        }
        huffman::decode(&raw).map(Bytes::from).map_err(|_| connection(Violation::HuffmanCoding))
    }
}

fn connection(reason: Violation) -> Fault {
    Fault::Connection(ConnectionFault::from(reason))
}

fn stream(reason: Violation) -> Fault {
    Fault::Stream(StreamFault::from(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::error::Code;
    use crate::qpack::vectors::unhex;

    fn decoded(hex: &str) -> Result<Vec<FieldLine>, Fault> {
        decode(Bytes::from(unhex(hex)), &SectionLimits::default())
    }

    fn fault(hex: &str) -> Violation {
        let fault = decoded(hex).expect_err("the section should be refused");
        assert_eq!(fault, connection(fault.reason()), "{hex} should end the connection");
        assert_eq!(fault.reason().code(), Code::QPACK_DECOMPRESSION_FAILED);
        fault.reason()
    }

    // req-test 9204-4.5.1.1-035, 9204-2.2.1-009, 9204-2.2.1-010, 9204-2.1.2-005
    #[test]
    fn a_section_that_requires_inserts_is_refused() {
        assert_eq!(fault("0100"), Violation::DynamicReference);
        assert_eq!(fault("03811011"), Violation::DynamicReference);
    }

    // req-test 9204-4.5.1.2-037
    #[test]
    fn a_negative_base_is_refused_and_a_positive_one_is_not_used() {
        assert_eq!(fault("0080"), Violation::NegativeBase);
        assert_eq!(fault("0081"), Violation::NegativeBase);
        assert_eq!(decoded("0005d1").unwrap(), [FieldLine::new(":method", "GET")]);
    }

    // req-test 9204-2.2.1-009
    #[test]
    fn every_form_of_dynamic_reference_is_refused() {
        for hex in ["000080", "00004001", "000010", "00000001"] {
            assert_eq!(fault(hex), Violation::DynamicReference, "{hex}");
        }
    }

    // req-test 9204-3.1-013
    #[test]
    fn an_index_past_the_static_table_is_refused() {
        assert_eq!(fault("0000ff24"), Violation::StaticIndex);
        assert_eq!(fault("00005f5400"), Violation::StaticIndex);
        assert_eq!(decoded("0000ff23").unwrap(), [FieldLine::new("x-frame-options", "sameorigin")]);
    }

    #[test]
    fn wrong_huffman_code_is_refused() {
        assert_eq!(fault("00005181ff"), Violation::HuffmanCoding);
    }

    // req-test 9204-7.4-044
    #[test]
    fn an_integer_past_62_bits_ends_only_the_stream() {
        let fault = decoded("0000ffffffffffffffffffffff7f").unwrap_err();
        assert_eq!(fault, stream(Violation::IntegerTooLarge));
        assert_eq!(fault.reason().code(), Code::QPACK_DECOMPRESSION_FAILED);
    }

    #[test]
    fn the_never_indexed_bit_is_kept() {
        let lines = decoded("000071017831780178").unwrap();
        assert_eq!(lines[0], FieldLine::new(":path", "x").never_indexed());
        assert_eq!(lines[1], FieldLine::new("x", "x").never_indexed());
        let public = decoded("000051017821780178").unwrap();
        assert_eq!(public, [FieldLine::new(":path", "x"), FieldLine::new("x", "x")]);
    }

    // req-test 9114-4.2.2-060
    #[test]
    fn the_limits_count_decoded_size_and_fields() {
        // Two static fields of 42 bytes each from two bytes of input.
        let section = Bytes::from(unhex("0000d1d1"));
        let exact = SectionLimits { max_size: 84, max_fields: 2 };
        assert_eq!(decode(section.clone(), &exact).unwrap().len(), 2);
        let size = SectionLimits { max_size: 83, ..exact };
        assert_eq!(
            decode(section.clone(), &size).unwrap_err(),
            stream(Violation::FieldSectionTooLarge)
        );
        let count = SectionLimits { max_fields: 1, ..exact };
        assert_eq!(decode(section, &count).unwrap_err(), stream(Violation::TooManyFields));
    }

    #[test]
    fn a_section_cut_anywhere_is_refused_or_a_prefix_of_the_whole() {
        let whole = unhex("0000510b2f696e6465782e68746d6cd1318378787885f1e3c2e5ff");
        let whole = &whole[..whole.len() - 1];
        let lines = decode(Bytes::copy_from_slice(whole), &SectionLimits::default());
        let lines = lines.unwrap_or_default();
        for end in 0..whole.len() {
            match decode(Bytes::copy_from_slice(&whole[..end]), &SectionLimits::default()) {
                Ok(part) => assert!(lines.starts_with(&part) || lines.is_empty()),
                Err(fault) => assert!(matches!(
                    fault.reason(),
                    Violation::SectionTruncated | Violation::HuffmanCoding
                )),
            }
        }
    }
}
