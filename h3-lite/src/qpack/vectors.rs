//! Field sections that other encoders produced, and the example of RFC 9204 Appendix B.

use bytes::{Buf, Bytes};

use super::decoder::{SectionLimits, decode};
use super::instructions::EncoderStream;
use super::{FieldLine, decoder};

pub(super) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Blocks of an offline-interop file: stream id, length, bytes.
fn blocks(file: &[u8]) -> Vec<(u64, Bytes)> {
    let mut file = Bytes::copy_from_slice(file);
    let mut blocks = Vec::new();
    while file.has_remaining() {
        let id = file.get_u64();
        let length = file.get_u32() as usize;
        blocks.push((id, file.split_to(length)));
    }
    blocks
}

/// The field lists of a QIF text.
fn qif(text: &str) -> Vec<Vec<FieldLine>> {
    let mut lists = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once('\t') {
            Some((name, value)) => {
                lists.last_mut().unwrap().push(FieldLine::new(name.to_owned(), value.to_owned()))
            }
            None if line.is_empty() => lists.push(Vec::new()),
            None => panic!("not a QIF line: {line}"),
        }
    }
    lists.retain(|list| !list.is_empty());
    lists
}

#[test]
fn sections_of_other_encoders_decode_to_their_qif() {
    let lists = qif(include_str!("../../../tests/vectors/qpack/netbsd.qif"));
    assert_eq!(lists.len(), 18);
    let files: [&[u8]; 2] = [
        include_bytes!("../../../tests/vectors/qpack/ls-qpack_netbsd_0_0_0.bin"),
        include_bytes!("../../../tests/vectors/qpack/quinn_netbsd_0_0_0.bin"),
    ];
    for file in files {
        let mut blocks = blocks(file);
        blocks.sort_by_key(|(id, _)| *id);
        let mut sections = Vec::new();
        for (id, bytes) in blocks {
            if id == 0 {
                EncoderStream::default().read(&bytes).unwrap();
                continue;
            }
            let mut lines = decode(bytes, &SectionLimits::default()).unwrap();
            for line in &mut lines {
                // A QIF does not say which values are sensitive.
                line.sensitivity = super::Sensitivity::Public;
            }
            sections.push(lines);
        }
        assert_eq!(sections, lists);
    }
}

#[test]
fn published_bad_files_are_refused_and_good_ones_are_not() {
    let text = include_str!("../../../tests/vectors/qpack/qifs_errors.json");
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = json["errors"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let mut refused = false;
        for (id, bytes) in blocks(&unhex(case["hex"].as_str().unwrap())) {
            refused |= match id {
                0 => EncoderStream::default().read(&bytes).is_err(),
                _ => decoder::decode(bytes, &SectionLimits::default()).is_err(),
            };
        }
        assert_eq!(refused, case["expect"] == "error", "{case}");
    }
}

#[test]
fn the_example_of_the_rfc_decodes_up_to_its_first_use_of_the_dynamic_table() {
    let text = include_str!("../../../tests/vectors/qpack/rfc9204_appendix_b.json");
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut decoded = 0;
    for step in json["steps"].as_array().unwrap() {
        let bytes = Bytes::from(unhex(step["hex"].as_str().unwrap()));
        match step["stream"].as_str().unwrap() {
            "request" if step["required_insert_count"] == 0 => {
                let lines = decode(bytes, &SectionLimits::default()).unwrap();
                let fields = step["fields"].as_array().unwrap();
                assert_eq!(lines.len(), fields.len());
                for (line, field) in lines.iter().zip(fields) {
                    assert_eq!(line.name, field[0].as_str().unwrap());
                    assert_eq!(line.value, field[1].as_str().unwrap());
                }
                decoded += 1;
            }
            "request" => assert!(decode(bytes, &SectionLimits::default()).is_err()),
            "encoder" => assert!(EncoderStream::default().read(&bytes).is_err()),
            _ => {}
        }
    }
    assert_eq!(decoded, 1);
}
