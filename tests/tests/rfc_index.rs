//! Keeps `docs/rfc-index.md` true: which normative sentence of the RFCs is obeyed where, and shown
//! by which test.
//!
//! Code carries `// req <id>[, <id>…]`, tests carry `// req-test <id>[, <id>…]`. Sentences that put
//! no duty on this software, or not yet, are listed with their reason in
//! `docs/rfc-not-applicable/*.tsv` (`id<TAB>reason`). Ids are those of
//! `tests/requirements/rfc-requirements.csv`: RFC, section, running number.
//!
//! `UPDATE_RFC_INDEX=1 cargo test -p quic-testkit --test rfc_index` writes the index anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// RFCs whose every MUST and MUST NOT wants code and a test, or a reason.
const IN_SCOPE: [&str; 5] = ["9000", "9001", "9002", "9114", "9204"];
const SOURCES: [&str; 5] = ["quic-core", "quic-tokio", "h3-lite", "interop", "tests"];

struct Requirement {
    id: String,
    rfc: String,
    section: String,
    level: String,
}

#[derive(Default)]
struct Evidence {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
    not_applicable: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace root").to_path_buf()
}

fn requirements() -> Vec<Requirement> {
    include_str!("../requirements/rfc-requirements.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split(',').map(str::to_owned);
            let mut next = || fields.next().expect("four fields");
            Requirement { id: next(), rfc: next(), section: next(), level: next() }
        })
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Code,
    Test,
}

/// The ids of a line, if it is a tag; words after a colon explain the tag.
fn tag(line: &str) -> Option<(Tag, impl Iterator<Item = &str>)> {
    let line = line.trim_start();
    let (tag, rest) = match line.strip_prefix("// req-test ") {
        Some(rest) => (Tag::Test, rest),
        None => (Tag::Code, line.strip_prefix("// req ")?),
    };
    let (ids, _words) = rest.split_once(':').unwrap_or((rest, ""));
    Some((tag, ids.split(',').map(str::trim)))
}

/// All tags of the tree, and complaints about those that name no requirement.
fn collect() -> (Vec<Requirement>, BTreeMap<String, Evidence>, Vec<String>) {
    let requirements = requirements();
    let known: BTreeSet<_> = requirements.iter().map(|r| r.id.clone()).collect();
    let mut evidence: BTreeMap<String, Evidence> = BTreeMap::new();
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    for source in SOURCES {
        rust_files(&root().join(source), &mut files);
    }
    files.sort();
    for file in files {
        let name = file.strip_prefix(root()).expect("below the root").display().to_string();
        for line in std::fs::read_to_string(&file).expect("UTF-8 source").lines() {
            let Some((tag, ids)) = tag(line) else { continue };
            for id in ids {
                if !known.contains(id) {
                    complaints.push(format!("{name}: unknown requirement {id:?}"));
                    continue;
                }
                let entry = evidence.entry(id.to_owned()).or_default();
                let places = match tag {
                    Tag::Code => &mut entry.code,
                    Tag::Test => &mut entry.tests,
                };
                places.insert(name.clone());
            }
        }
    }
    collect_not_applicable(&known, &mut evidence, &mut complaints);
    for (id, found) in &evidence {
        if found.not_applicable.is_some() && !found.code.is_empty() && !found.tests.is_empty() {
            complaints.push(format!("{id} has code and a test: its reason is out of date"));
        }
    }
    (requirements, evidence, complaints)
}

fn collect_not_applicable(
    known: &BTreeSet<String>,
    evidence: &mut BTreeMap<String, Evidence>,
    complaints: &mut Vec<String>,
) {
    let Ok(folder) = std::fs::read_dir(root().join("docs/rfc-not-applicable")) else { return };
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a readable entry").path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8 text");
        for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            match line.split_once('\t') {
                Some((id, reason)) if known.contains(id) && !reason.trim().is_empty() => {
                    evidence.entry(id.to_owned()).or_default().not_applicable =
                        Some(reason.trim().to_owned());
                }
                _ => complaints.push(format!("{}: cannot read {line:?}", file.display())),
            }
        }
    }
}

fn places(set: &BTreeSet<String>) -> String {
    set.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn render(requirements: &[Requirement], evidence: &BTreeMap<String, Evidence>) -> String {
    let mut out = String::from(
        "# Where the RFCs' requirements are kept\n\n\
         Made by `UPDATE_RFC_INDEX=1 cargo test -p quic-testkit --test rfc_index`; not edited by hand.\n\
         A row per normative sentence: its id (RFC, section, running number), its level, the code that\n\
         obeys it, the tests that show it, or the reason why it puts no duty on this software.\n",
    );
    for rfc in IN_SCOPE {
        let rows: Vec<_> = requirements.iter().filter(|r| r.rfc == rfc).collect();
        let _ = write!(
            out,
            "\n## RFC {rfc}\n\n| id | section | level | code | test |\n|---|---|---|---|---|\n"
        );
        for row in rows {
            let empty = Evidence::default();
            let found = evidence.get(&row.id).unwrap_or(&empty);
            let (code, test) = match &found.not_applicable {
                Some(reason) if found.code.is_empty() => {
                    (format!("not applicable: {reason}"), places(&found.tests))
                }
                Some(reason) if found.tests.is_empty() => {
                    (places(&found.code), format!("none: {reason}"))
                }
                Some(_) | None => (places(&found.code), places(&found.tests)),
            };
            let _ =
                writeln!(out, "| {} | {} | {} | {code} | {test} |", row.id, row.section, row.level);
        }
    }
    out
}

#[test]
fn every_tag_names_a_requirement_and_every_reason_is_needed() {
    let (_, _, complaints) = collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_index_is_current() {
    let (requirements, evidence, _) = collect();
    let rendered = render(&requirements, &evidence);
    let path = root().join("docs/rfc-index.md");
    if std::env::var_os("UPDATE_RFC_INDEX").is_some() {
        std::fs::write(&path, rendered).expect("docs/rfc-index.md can be written");
        return;
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        present == rendered,
        "docs/rfc-index.md is out of date: UPDATE_RFC_INDEX=1 cargo test -p quic-testkit --test rfc_index"
    );
}

#[test]
fn every_must_has_code_and_a_test_or_a_reason() {
    let (requirements, evidence, _) = collect();
    let missing: Vec<_> = requirements
        .iter()
        .filter(|r| IN_SCOPE.contains(&r.rfc.as_str()) && r.level.starts_with("MUST"))
        .filter(|r| {
            evidence.get(&r.id).is_none_or(|found| {
                found.not_applicable.is_none() && (found.code.is_empty() || found.tests.is_empty())
            })
        })
        .map(|r| {
            let found = evidence.get(&r.id);
            let what = match found {
                Some(found) if !found.code.is_empty() => "no test",
                Some(found) if !found.tests.is_empty() => "no code",
                _ => "nothing",
            };
            format!("{} ({}): {what}", r.id, r.level)
        })
        .collect();
    assert!(missing.is_empty(), "{} requirements:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn tags_are_found_with_and_without_words() {
    let (kind, ids) =
        tag("    // req 9000-2.1-001, 9000-2.2-002: in our own words").expect("a tag");
    assert_eq!(kind, Tag::Code);
    assert_eq!(ids.collect::<Vec<_>>(), ["9000-2.1-001", "9000-2.2-002"]);
    let (kind, ids) = tag("// req-test 9000-2.1-001").expect("a tag");
    assert_eq!((kind, ids.count()), (Tag::Test, 1));
    assert!(tag("let request = 1;").is_none());
}
