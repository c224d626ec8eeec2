//! Keeps the indexes of tests true: what they name exists, and nothing is missing from them.
//!
//! `tests/lessons.tsv` goes from what hit other stacks to the tests here, `tests/semantics.tsv` from
//! what is promised about streams.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many lessons there are about streams.
const LESSONS: u32 = 28;
/// The parts of what is promised about streams.
const PARTS: [&str; 5] = ["sending", "receiving", "drop", "cancel", "outcome"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("root").to_path_buf()
}

/// A line of an index.
struct Entry {
    key: String,
    file: String,
    function: String,
}

fn parse(text: &str) -> Vec<Entry> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let [key, what, file, function] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("four columns: {line}");
            };
            assert!(!what.is_empty(), "{line}");
            Entry { key: key.into(), file: file.into(), function: function.into() }
        })
        .collect()
}

fn index(name: &str) -> Vec<Entry> {
    let path = root().join("tests").join(name);
    parse(&std::fs::read_to_string(&path).expect("an index"))
}

/// True if `source` has a test of this name: an attribute or a macro for tests comes before the
/// function, and no other function lies between.
fn has_test(source: &str, function: &str) -> bool {
    let needle = format!("fn {function}(");
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let named = |line: &str| {
        [needle.clone(), format!("async {needle}")].iter().any(|name| line.starts_with(name))
    };
    let Some(at) = lines.iter().position(|line| named(line)) else { return false };
    lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

/// What is named and is no test, or is named twice.
fn complaints(entries: &[Entry]) -> Vec<String> {
    let mut sources = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for Entry { key, file, function } in entries {
        let source = sources
            .entry(file.clone())
            .or_insert_with(|| std::fs::read_to_string(root().join(file)).unwrap_or_default());
        if !has_test(source, function) {
            wrong.push(format!("{file} has no test {function}"));
        }
        if !seen.insert((key, file, function)) {
            wrong.push(format!("{key} names {function} twice"));
        }
    }
    wrong
}

#[test]
fn every_lesson_about_streams_has_a_test_that_exists() {
    let entries = index("lessons.tsv");
    let numbers: BTreeSet<u32> =
        entries.iter().map(|entry| entry.key.parse().expect("a number")).collect();
    assert!(numbers.into_iter().eq(1..=LESSONS));
    assert_eq!(complaints(&entries), Vec::<String>::new());
}

#[test]
fn every_promise_about_streams_has_a_test_that_exists() {
    let entries = index("semantics.tsv");
    let parts: BTreeSet<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(parts, BTreeSet::from(PARTS));
    assert_eq!(complaints(&entries), Vec::<String>::new());
}

/// A tag in a test and the index must not contradict each other.
#[test]
fn the_tests_of_lessons_that_say_so_are_about_lessons_that_exist() {
    for Entry { key, file, function } in index("lessons.tsv") {
        let source = std::fs::read_to_string(root().join(&file)).expect("checked elsewhere");
        let Some(before) = source.split(&format!("fn {function}(")).next() else { continue };
        let Some(tag) = before.lines().rev().take(4).find(|line| line.starts_with("// lesson "))
        else {
            continue;
        };
        let tagged: Vec<_> = tag.split(|c: char| !c.is_ascii_digit()).collect();
        assert!(tagged.contains(&key.as_str()), "{function} says {tag}, the index {key}");
    }
}

#[test]
fn what_is_missing_would_be_noticed() {
    let source = "#[test]\nfn one() {}\nfn helper() {}\n#[tokio::test]\n// why\nasync fn two() {}";
    assert!(has_test(source, "one") && has_test(source, "two"));
    assert!(!has_test(source, "helper") && !has_test(source, "three") && !has_test(source, "on"));
    let entries = parse("# a comment\n1\tx\ttests/tests/lessons.rs\tno_such_test");
    assert_eq!(complaints(&entries), ["tests/tests/lessons.rs has no test no_such_test"]);
}
