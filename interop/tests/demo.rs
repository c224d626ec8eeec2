//! The demonstration in small.

mod common;

use common::interop;

#[test]
fn the_demonstration_is_all_right() {
    let output = interop(&["demo", "--quick"]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{table}");
    let titles =
        ["handshake", "3 MiB down", "3 MiB up", "100 GETs of 1 KiB", "10 downloads", "peak"];
    for title in titles {
        assert!(table.lines().any(|line| line.starts_with(title)), "no {title} in:\n{table}");
    }
    assert!(!table.contains("FAILED"), "{table}");
}
