//! Keeps the layers of quic-core: a module imports only what lies below it.
//!
//! The order is that of `docs/architecture.md`. Modules in the same layer do not know each other.
//! Test code inside a module may import anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the ground up; modules of one line are siblings.
const LAYERS: [&[&str]; 12] = [
    &["util"],
    // An error names code points, and decoders name errors: these two know each other.
    &["wire", "error"],
    &["buffer"],
    &["observe"],
    &["shared"],
    &["crypto", "congestion"],
    &["recovery"],
    &["stream", "cid", "path"],
    &["space", "link"],
    &["config"],
    &["connection"],
    &["endpoint"],
];
/// Stands beside the layers: calls everything, is called by nobody.
const OUTSIDE: [&str; 2] = ["fuzz", "lib"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("root").join("quic-core/src")
}

fn ranks() -> BTreeMap<&'static str, usize> {
    LAYERS
        .iter()
        .enumerate()
        .flat_map(|(rank, modules)| modules.iter().map(move |module| (*module, rank)))
        .collect()
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first path segment below the crate: the module a file belongs to.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(source()).expect("below src");
    let first = relative.components().next().expect("not empty").as_os_str();
    Path::new(first).with_extension("").display().to_string()
}

fn know_each_other(one: &str, other: &str) -> bool {
    [(one, other), (other, one)].contains(&("wire", "error"))
}

/// Modules named as `crate::module` in the part of a file that is not test code.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"))
        .inspect(|line| assert!(!line.contains("use crate::{"), "name one module per line: {line}"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn modules_import_only_lower_layers() {
    let ranks = ranks();
    let mut found = Vec::new();
    files(&source(), &mut found);
    let mut complaints = Vec::new();
    for file in &found {
        let module = module_of(file);
        let is_test_file = file.file_name().is_some_and(|n| n == "tests.rs")
            || file.components().any(|c| c.as_os_str() == "tests");
        if OUTSIDE.contains(&module.as_str()) || is_test_file {
            continue;
        }
        let Some(rank) = ranks.get(module.as_str()) else {
            complaints.push(format!("{module} has no layer"));
            continue;
        };
        for import in imports(&std::fs::read_to_string(file).expect("UTF-8 source")) {
            let Some(imported) = ranks.get(import.as_str()) else { continue };
            if import != module && imported >= rank && !know_each_other(&module, &import) {
                complaints.push(format!("{}: {module} imports {import}", file.display()));
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    assert!(!found.is_empty());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn an_upward_import_would_be_noticed() {
    assert_eq!(imports("use crate::connection::Connection;\n"), ["connection"]);
    assert_eq!(
        imports("// crate::connection\n#[cfg(test)]\nmod tests { use crate::endpoint; }"),
        Vec::<String>::new()
    );
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let root = source().parent().and_then(Path::parent).expect("root").to_path_buf();
    for file in [
        "quic-core/src/lib.rs",
        "quic-tokio/src/lib.rs",
        "h3-lite/src/lib.rs",
        "interop/src/main.rs",
        "tests/src/lib.rs",
    ] {
        let text = std::fs::read_to_string(root.join(file)).expect("the crate's root file");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}
