//! A short table on standard output, printed row by row while things happen.

use std::io::Write;

/// Width of the first column.
const NAME: usize = 36;
/// Width of each further column.
const CELL: usize = 14;

/// Prints one row at once: what it is about, and cells.
pub(crate) fn print_row(name: &str, cells: &[String]) {
    let mut out = std::io::stdout().lock();
    // Whoever does not read the table any more does not want the rest of it.
    let _ = writeln!(out, "{}", row(name, cells)).and_then(|()| out.flush());
}

fn row(name: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell:<CELL$}")).collect();
    format!("{name:<NAME$}{cells}").trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_below_each_other() {
        let first = row("handshake", &["1 ms".into(), "x".into()]);
        let second = row("down", &["412 MiB/s".into(), "y".into()]);
        assert_eq!(first.find('x'), second.find('y'));
        assert_eq!(first.find("1 ms"), second.find("412"));
        assert_eq!(row("alone", &[]), "alone");
    }
}
