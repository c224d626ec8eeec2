//! Replays the corpus of every fuzz target, so that what a fuzzer once found stays found.
//!
//! The targets themselves are in `fuzz/`; `fuzz/README.md` says how to run them.

use std::path::{Path, PathBuf};

/// A folder of the corpus, and the function that its target calls.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("assembler", quic_core::fuzz::assembler),
    ("connection", |data| quic_core::fuzz::connection(std::time::Instant::now(), data)),
    ("frames", quic_core::fuzz::frames),
    ("h3_control_stream", h3_lite::fuzz::control_stream),
    ("h3_frames", h3_lite::fuzz::frames),
    ("h3_request_stream", h3_lite::fuzz::request_stream),
    ("header", quic_core::fuzz::header),
    ("qpack", h3_lite::fuzz::qpack),
    ("streams", quic_core::fuzz::streams),
    ("transport_parameters", quic_core::fuzz::transport_parameters),
];

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace root").join("fuzz")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn every_input_of_the_corpus_is_harmless() {
    for (target, run) in TARGETS {
        let folder = fuzz_folder().join("corpus").join(target);
        let inputs = names(&folder);
        assert!(!inputs.is_empty(), "no corpus for {target}");
        for input in inputs {
            println!("{target}/{input}");
            run(&std::fs::read(folder.join(&input)).expect("a readable input"));
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let targets: Vec<_> = names(&fuzz_folder().join("fuzz_targets"))
        .into_iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    let replayed: Vec<_> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(targets, replayed);
}
