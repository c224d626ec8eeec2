//! Keeps the tags true that say which normative sentence of the RFCs is obeyed where, and shown by
//! which test.
//!
//! Code carries `// req <id>[, <id>…]`, tests carry `// req-test <id>[, <id>…]`. Sentences that put
//! no duty on this software, or not yet, are listed with their reason in
//! `docs/rfc-not-applicable/*.tsv` (`id<TAB>reason`). Ids are those of
//! `tests/requirements/rfc-requirements.csv`: RFC, section, running number.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SOURCES: [&str; 5] = ["quic-core", "quic-tokio", "h3-lite", "interop", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace root").to_path_buf()
}

/// The ids of all requirements, the first column of the table.
fn requirements() -> BTreeSet<String> {
    include_str!("../requirements/rfc-requirements.csv")
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').next().map(str::to_owned))
        .collect()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Complaints about tags that name no requirement.
fn unknown_tags() -> Vec<String> {
    let known = requirements();
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    for source in SOURCES {
        rust_files(&root().join(source), &mut files);
    }
    files.sort();
    for file in files {
        let name = file.strip_prefix(root()).expect("below the root").display().to_string();
        for line in std::fs::read_to_string(&file).expect("UTF-8 source").lines() {
            for id in ids(line) {
                if !known.contains(id) {
                    complaints.push(format!("{name}: unknown requirement {id:?}"));
                }
            }
        }
    }
    check_not_applicable(&known, &mut complaints);
    complaints
}

/// The ids of a line of code, if it is a tag; words after a colon explain the tag.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_start();
    let tag = line.strip_prefix("// req-test ").or_else(|| line.strip_prefix("// req "));
    let ids = tag.and_then(|tag| tag.split(':').next());
    ids.into_iter().flat_map(|ids| ids.split(',').map(str::trim))
}

fn check_not_applicable(known: &BTreeSet<String>, complaints: &mut Vec<String>) {
    let Ok(folder) = std::fs::read_dir(root().join("docs/rfc-not-applicable")) else { return };
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a readable entry").path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8 text");
        for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            match line.split_once('\t') {
                Some((id, reason)) if known.contains(id) && !reason.trim().is_empty() => {}
                _ => complaints.push(format!("{}: cannot read {line:?}", file.display())),
            }
        }
    }
}

#[test]
fn every_tag_names_a_requirement() {
    let complaints = unknown_tags();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn tags_are_found_with_and_without_words() {
    let found: Vec<_> = ids("    // req 9000-2.1-001, 9000-2.2-002: in our own words").collect();
    assert_eq!(found, ["9000-2.1-001", "9000-2.2-002"]);
    assert_eq!(ids("let request = 1;").count(), 0);
}
