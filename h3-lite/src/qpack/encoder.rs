//! From field lines to an encoded field section (RFC 9204 section 4.5): static entries where they
//! fit, literals otherwise, Huffman coded where that is shorter.

use super::prefix_int;
use super::static_table::{self, Match};
use super::{Sensitivity, huffman};

/// Writes one field section; each field goes out in the order it is given.
// req 9204-2.1-002
#[derive(Debug)]
pub struct SectionEncoder {
    out: Vec<u8>,
}

impl Default for SectionEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl SectionEncoder {
    /// Begins a section that refers to no dynamic table: Required Insert Count and Base are zero.
    // req 9204-3.2.3-021, 9204-4.5.1.2-036
    pub fn new() -> Self {
        Self { out: vec![0, 0] }
    }

    /// Appends a field. A [`Sensitivity::NeverIndexed`] value is written as a literal with the N
    /// bit, even if the static table has it.
    // req 9204-4.5.4-038, 9204-4.5.4-039
    pub fn field(&mut self, name: &[u8], value: &[u8], sensitivity: Sensitivity) {
        match (static_table::find(name, value), sensitivity) {
            (Match::Field(index), Sensitivity::Public) => {
                prefix_int::put(0xc0, 6, index, &mut self.out);
            }
            (Match::Field(index) | Match::Name(index), sensitivity) => {
                let never = flag(sensitivity, 0x20);
                prefix_int::put(0x50 | never, 4, index, &mut self.out);
                self.string(0, 7, value);
            }
            (Match::Nothing, sensitivity) => {
                self.string(0x20 | flag(sensitivity, 0x10), 3, name);
                self.string(0, 7, value);
            }
        }
    }

    /// The encoded section.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// A string literal below `flags`, its length in `prefix_bits` under the Huffman bit.
    fn string(&mut self, flags: u8, prefix_bits: u32, text: &[u8]) {
        let coded = huffman::encoded_len(text);
        if coded < text.len() {
            let huffman_bit = 1 << prefix_bits;
            prefix_int::put(flags | huffman_bit, prefix_bits, coded as u64, &mut self.out);
            huffman::encode(text, &mut self.out);
        } else {
            prefix_int::put(flags, prefix_bits, text.len() as u64, &mut self.out);
            self.out.extend_from_slice(text);
        }
    }
}

fn flag(sensitivity: Sensitivity, bit: u8) -> u8 {
    match sensitivity {
        Sensitivity::Public => 0,
        Sensitivity::NeverIndexed => bit,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::qpack::decoder::{SectionLimits, decode};
    use crate::qpack::{FieldLine, static_table};

    fn encoded(lines: &[FieldLine]) -> Vec<u8> {
        let mut encoder = SectionEncoder::new();
        for line in lines {
            encoder.field(&line.name, &line.value, line.sensitivity);
        }
        encoder.finish()
    }

    #[test]
    fn a_field_of_the_static_table_takes_one_or_two_bytes() {
        assert_eq!(encoded(&[FieldLine::new(":method", "GET")]), [0, 0, 0xd1]);
        let (name, value) = static_table::get(98).unwrap();
        assert_eq!(encoded(&[FieldLine::new(name, value)]), [0, 0, 0xff, 0x23]);
    }

    // req-test 9204-4.5.4-038, 9204-4.5.4-039
    #[test]
    fn a_sensitive_value_is_a_never_indexed_literal_even_if_the_table_has_it() {
        let wire = encoded(&[FieldLine::new(":method", "GET").never_indexed()]);
        assert_eq!(wire[2] & 0xe0, 0x60);
        let wire = encoded(&[FieldLine::new("x-token", "secret").never_indexed()]);
        assert_eq!(wire[2] & 0xf0, 0x30);
    }

    // req-test 9204-3.2.3-021, 9204-4.5.1.2-036
    #[test]
    fn every_section_begins_without_a_dynamic_table() {
        assert_eq!(encoded(&[]), [0, 0]);
    }

    #[test]
    fn huffman_is_used_only_where_it_is_shorter() {
        let plain = encoded(&[FieldLine::new("x", "\u{1}\u{2}")]);
        assert_eq!(plain, [0, 0, 0x21, b'x', 2, 1, 2]);
        let coded = encoded(&[FieldLine::new(":path", "/index.html")]);
        assert_eq!(coded[3] & 0x80, 0x80);
        assert!(coded.len() < 15);
    }

    fn line() -> impl Strategy<Value = FieldLine> {
        let text = || proptest::collection::vec(any::<u8>(), 0..40);
        let literal = (text(), text(), any::<bool>());
        let known = (0_u64..99, any::<bool>()).prop_map(|(index, sensitive)| {
            let (name, value) = static_table::get(index).unwrap();
            (name.as_bytes().to_vec(), value.as_bytes().to_vec(), sensitive)
        });
        prop_oneof![literal, known].prop_map(|(name, value, sensitive)| {
            let line = FieldLine::new(name, value);
            if sensitive { line.never_indexed() } else { line }
        })
    }

    proptest! {
        // req-test 9204-2.1-002, 9204-2.2-007
        #[test]
        fn any_fields_survive_a_round_trip_in_order(
            lines in proptest::collection::vec(line(), 0..20)
        ) {
            let wire = encoded(&lines);
            let back = decode(Bytes::from(wire), &SectionLimits::default());
            prop_assert_eq!(back, Ok(lines));
        }

        #[test]
        fn no_input_makes_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let limits = SectionLimits { max_size: 1000, max_fields: 10 };
            if let Ok(lines) = decode(Bytes::from(bytes), &limits) {
                prop_assert!(lines.iter().map(FieldLine::size).sum::<u64>() <= 1000);
            }
        }
    }
}
