//! The Huffman code of RFC 7541 section 5.2 and Appendix B.
//!
//! Decoding walks a table computed at compile time: one row per inner node of the code tree, one
//! column per value of the next four bits. The shortest code has five bits, so four bits complete
//! at most one symbol.

use super::huffman_codes::CODES;

/// The bytes are not a valid string: padding that is too long or not all ones, or the end-of-string
/// symbol inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

const END_OF_STRING: usize = 256;
/// A binary tree with 257 leaves has one inner node less.
const INNER_NODES: usize = END_OF_STRING;

/// What four more bits do at an inner node.
#[derive(Clone, Copy)]
enum Move {
    /// They lead to another inner node.
    To(u8),
    /// They complete a symbol and lead on to an inner node.
    Emit(u8, u8),
    /// They complete the end-of-string symbol, which is never sent.
    Fail,
}

/// A child of a tree node during construction.
#[derive(Clone, Copy)]
enum Child {
    None,
    Inner(u8),
    Leaf(u16),
}

const TREE: [[Child; 2]; INNER_NODES] = build_tree();
static MOVES: [[Move; 16]; INNER_NODES] = build_moves();
/// Inner nodes that a run of at most seven ones leads to: where a string may end.
static MAY_END: [bool; INNER_NODES] = build_may_end();

const fn build_tree() -> [[Child; 2]; INNER_NODES] {
    let mut tree = [[Child::None; 2]; INNER_NODES];
    let mut nodes: usize = 1;
    let mut symbol = 0;
    while symbol < CODES.len() {
        let (code, length) = CODES[symbol];
        let mut node = 0;
        let mut left = length;
        while left > 0 {
            left -= 1;
            let bit = (code >> left & 1) as usize;
            if left == 0 {
                tree[node][bit] = Child::Leaf(symbol as u16);
            } else if let Child::Inner(next) = tree[node][bit] {
                node = next as usize;
            } else {
                tree[node][bit] = Child::Inner(nodes as u8);
                node = nodes;
                nodes += 1;
            }
        }
        symbol += 1;
    }
    assert!(nodes == INNER_NODES);
    tree
}

const fn build_moves() -> [[Move; 16]; INNER_NODES] {
    let mut moves = [[Move::Fail; 16]; INNER_NODES];
    let mut node = 0;
    while node < INNER_NODES {
        let mut bits = 0;
        while bits < 16 {
            moves[node][bits] = walk(node as u8, bits as u8);
            bits += 1;
        }
        node += 1;
    }
    moves
}

const fn walk(from: u8, bits: u8) -> Move {
    let mut at = from;
    let mut emitted: Option<u8> = None;
    let mut left = 4;
    while left > 0 {
        left -= 1;
        match TREE[at as usize][(bits >> left & 1) as usize] {
            Child::Inner(next) => at = next,
            Child::Leaf(symbol) => {
                if symbol as usize == END_OF_STRING {
                    return Move::Fail;
                }
                emitted = Some(symbol as u8);
                at = 0;
            }
            Child::None => return Move::Fail,
        }
    }
    match emitted {
        Some(symbol) => Move::Emit(symbol, at),
        None => Move::To(at),
    }
}

const fn build_may_end() -> [bool; INNER_NODES] {
    let mut may_end = [false; INNER_NODES];
    may_end[0] = true;
    let mut node = 0;
    let mut ones = 0;
    while ones < 7 {
        if let Child::Inner(next) = TREE[node][1] {
            node = next as usize;
            may_end[node] = true;
        }
        ones += 1;
    }
    may_end
}

/// Decodes `input`, or says that it is no valid string. The result has at most 8/5 of its length.
pub fn decode(input: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::with_capacity(input.len() + input.len() / 2);
    let mut node: u8 = 0;
    for byte in input {
        for bits in [byte >> 4, byte & 0xf] {
            let row = MOVES.get(usize::from(node)).ok_or(Invalid)?;
            node = match row.get(usize::from(bits)).ok_or(Invalid)? {
                Move::To(next) => *next,
                Move::Emit(symbol, next) => {
                    out.push(*symbol);
                    *next
                }
                Move::Fail => return Err(Invalid),
            };
        }
    }
    match MAY_END.get(usize::from(node)) {
        Some(true) => Ok(out),
        _ => Err(Invalid),
    }
}

/// The length of `input` once encoded, in bytes.
pub fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input.iter().map(|byte| usize::from(CODES[usize::from(*byte)].1)).sum();
    bits.div_ceil(8)
}

/// Appends `input` encoded, padded with ones to a whole byte.
pub fn encode(input: &[u8], out: &mut Vec<u8>) {
    // At most 7 bits wait while a code of at most 30 is added.
    let mut waiting: u64 = 0;
    let mut count = 0;
    for byte in input {
        let (code, length) = CODES[usize::from(*byte)];
        waiting = waiting << length | u64::from(code);
        count += u32::from(length);
        while count >= 8 {
            count -= 8;
            out.push((waiting >> count).to_le_bytes()[0]);
        }
        waiting &= (1 << count) - 1;
    }
    if count > 0 {
        let padded = waiting << (8 - count) | ((1 << (8 - count)) - 1);
        out.push(padded.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::qpack::vectors::unhex;

    #[test]
    fn the_code_is_the_published_one() {
        let table = include_str!("../../../tests/vectors/qpack/huffman_table.csv");
        let mut rows = 0;
        for (symbol, line) in table.lines().skip(1).enumerate() {
            // A symbol may itself be a comma or a quote: the code is in the last columns.
            let columns: Vec<&str> = line.rsplit(',').collect();
            let code = u32::from_str_radix(columns[1], 16).unwrap();
            assert_eq!(CODES[symbol], (code, columns[0].parse().unwrap()), "{line}");
            rows += 1;
        }
        assert_eq!(rows, CODES.len());
    }

    fn vectors() -> serde_json::Value {
        let text = include_str!("../../../tests/vectors/qpack/huffman_strings.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn published_strings_decode_and_encode() {
        let json = vectors();
        let cases = json["valid"].as_array().unwrap();
        assert!(cases.len() >= 12);
        for case in cases {
            let plain = match case["text"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => unhex(case["text_hex"].as_str().unwrap()),
            };
            let coded = unhex(case["hex"].as_str().unwrap());
            assert_eq!(decode(&coded), Ok(plain.clone()));
            let mut out = Vec::new();
            encode(&plain, &mut out);
            assert_eq!(out, coded);
            assert_eq!(encoded_len(&plain), coded.len());
        }
    }

    #[test]
    fn wrong_padding_and_end_of_string_are_refused() {
        let json = vectors();
        let cases = json["invalid"].as_array().unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            assert_eq!(decode(&unhex(case["hex"].as_str().unwrap())), Err(Invalid), "{case}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_a_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            encode(&bytes, &mut out);
            prop_assert_eq!(out.len(), encoded_len(&bytes));
            prop_assert_eq!(decode(&out), Ok(bytes));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(plain) = decode(&bytes) {
                let mut out = Vec::new();
                encode(&plain, &mut out);
                prop_assert_eq!(out, bytes);
            }
        }
    }
}
