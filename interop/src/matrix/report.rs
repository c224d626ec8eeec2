//! Results for people and for programs: the runner's matrix as text, as Markdown and as a page, and
//! the runner's JSON.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::results::{Cell, Mark, Results};
use crate::cases::Case;

/// Columns of the text are about as wide as this.
const WIDTH: usize = 44;

/// The lines of one cell of the matrix, such as "✓(H,DC)": tests by their mark, then measurements.
fn cell_lines(results: &Results, client: usize, server: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for mark in Mark::ALL {
        let cases = results.marked(client, server, mark);
        let has_number = |case: &Case| case.measures.is_some() && mark == Mark::Succeeded;
        let names: Vec<&str> = cases
            .filter(|(case, _)| !has_number(case))
            .map(|(case, _)| case.abbreviation)
            .collect();
        if !names.is_empty() {
            lines.push(format!("{}({})", mark.sign(), names.join(",")));
        }
    }
    let measured = results.marked(client, server, Mark::Succeeded);
    lines.extend(measured.filter_map(|(case, cell)| {
        Some(format!("{}: {}", case.abbreviation, cell.measurement()?))
    }));
    lines
}

/// The matrix for a terminal: a line for each client, a column for each server.
pub(crate) fn text(results: &Results) -> String {
    let mut text = String::new();
    let row = |cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:<WIDTH$}")).collect();
        cells.trim_end().to_owned()
    };
    let mut header = vec!["client \\ server"];
    header.extend(results.servers.iter().map(|server| server.name.as_str()));
    // A formatted string takes whatever is written.
    let _ = writeln!(text, "{}", row(header));
    for (client, implementation) in results.clients.iter().enumerate() {
        let mut columns = vec![vec![implementation.name.clone()]];
        for server in 0..results.servers.len() {
            let lines = cell_lines(results, client, server);
            columns.push(lines.iter().flat_map(|line| wrapped(line)).collect());
        }
        let height = columns.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let cells = columns.iter().map(|column| column.get(line).map_or("", |cell| cell));
            let _ = writeln!(text, "{}", row(cells.collect()));
        }
    }
    text
}

/// A list in pieces that fit into a column.
fn wrapped(line: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in line.split_inclusive(',') {
        let last = pieces.last().map_or(0, |piece| piece.chars().count());
        if last + word.chars().count() > WIDTH - 4 {
            pieces.push("  ".into());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(word);
        }
    }
    pieces
}

/// Everything that did not succeed, with the reason.
pub(crate) fn reasons(results: &Results) -> String {
    let mut text = String::new();
    for (position, cell) in &results.cells {
        if cell.mark != Mark::Succeeded {
            let (client, server, case) = results.names(*position);
            let Cell { mark, detail, .. } = cell;
            let word = mark.word();
            let _ = writeln!(text, "{client} → {server}, {case}: {word}: {detail}");
            let fault = results.known_fault(*position).filter(|_| *mark == Mark::Failed);
            if let Some(fault) = fault {
                let _ = writeln!(text, "    known fault of {fault}");
            }
        }
    }
    text
}

/// The matrix as a table in Markdown, with the date and the versions.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::from("| client \\ server |");
    for server in &results.servers {
        let _ = write!(text, " {} |", server.name);
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(results.servers.len()));
    for (client, implementation) in results.clients.iter().enumerate() {
        let _ = write!(text, "| **{}** |", implementation.name);
        for server in 0..results.servers.len() {
            let _ = write!(text, " {} |", cell_lines(results, client, server).join("<br>"));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n{}; {}.", date(results.start), versions(results));
    let _ = writeln!(text, "\n{}", legend(results));
    text
}

fn versions(results: &Results) -> String {
    let mut all: Vec<String> = Vec::new();
    for implementation in results.clients.iter().chain(&results.servers) {
        let entry = format!("{} {}", implementation.name, implementation.version);
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    all.join(", ")
}

fn legend(results: &Results) -> String {
    let entries = results.cases.iter().map(|case| format!("{} {}", case.abbreviation, case.name));
    entries.collect::<Vec<_>>().join(", ")
}

/// The matrix as a page of its own; reasons appear when one points at a case.
pub(crate) fn html(results: &Results) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>QUIC interop</title>\n\
         <style>\nbody { font: 15px sans-serif; margin: 2em }\ntable { border-collapse: collapse }\n\
         th, td { border: 1px solid #bbb; padding: .5em; vertical-align: top; max-width: 24em }\n\
         span { display: inline-block; margin: 1px; padding: 0 .4em; border-radius: 3px }\n\
         .succeeded { background: #bfe8bf } .failed { background: #f5b5b5 }\n\
         .unsupported { background: #e4e4e4 }\n</style>\n<h1>QUIC interop</h1>\n",
    );
    let _ = writeln!(page, "<p>{}; {}</p>", date(results.start), escaped(&versions(results)));
    let _ = write!(page, "<table>\n<tr><th>client \\ server");
    for server in &results.servers {
        let _ = write!(page, "<th>{}", escaped(&server.name));
    }
    for (client, implementation) in results.clients.iter().enumerate() {
        let _ = write!(page, "\n<tr><th>{}", escaped(&implementation.name));
        for server in 0..results.servers.len() {
            let _ = write!(page, "<td>");
            for (index, case) in results.cases.iter().enumerate() {
                if let Some(cell) = results.cell(client, server, index) {
                    let _ = write!(page, "{}", html_cell(case, cell));
                }
            }
        }
    }
    let _ = writeln!(page, "\n</table>\n<p>{}</p>\n</html>", escaped(&legend(results)));
    page
}

fn html_cell(case: &Case, cell: &Cell) -> String {
    let number = cell.measurement().map(|number| format!(" {number}")).unwrap_or_default();
    format!(
        "<span class=\"{}\" title=\"{}: {}\">{}{number}</span> ",
        cell.mark.word(),
        case.name,
        escaped(&cell.detail),
        case.abbreviation
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The runner's JSON: results ordered by client, then by server.
pub(crate) fn json(results: &Results) -> Value {
    let mut tests = Vec::new();
    let mut measurements = Vec::new();
    for client in 0..results.clients.len() {
        for server in 0..results.servers.len() {
            let (mut of_tests, mut of_measurements) = (Vec::new(), Vec::new());
            for (index, case) in results.cases.iter().enumerate() {
                let Some(cell) = results.cell(client, server, index) else { continue };
                let mut entry = json!({
                    "abbr": case.abbreviation, "name": case.name, "result": cell.mark.word(),
                });
                if case.measures.is_some() {
                    insert(&mut entry, "details", cell.measurement().unwrap_or_default());
                    of_measurements.push(entry);
                } else {
                    // Not in the runner's format; readers of it pass over what they do not know.
                    insert(&mut entry, "reason", cell.detail.clone());
                    of_tests.push(entry);
                }
            }
            tests.push(of_tests);
            measurements.push(of_measurements);
        }
    }
    let descriptions = results.cases.iter().map(|case| {
        (case.abbreviation.to_owned(), json!({ "name": case.name, "desc": case.about }))
    });
    let both = results.clients.iter().chain(&results.servers);
    let names = |list: &[super::implementation::Implementation]| -> Vec<String> {
        list.iter().map(|implementation| implementation.name.clone()).collect()
    };
    json!({
        "start_time": seconds(results.start),
        "end_time": seconds(results.end),
        "log_dir": results.log_directory,
        "servers": names(&results.servers),
        "clients": names(&results.clients),
        "urls": both.clone().map(|i| (i.name.clone(), json!(""))).collect::<serde_json::Map<_, _>>(),
        "versions": both.map(|i| (i.name.clone(), json!(i.version))).collect::<serde_json::Map<_, _>>(),
        "tests": descriptions.collect::<serde_json::Map<_, _>>(),
        "quic_version": "0x1",
        "results": tests,
        "measurements": measurements,
    })
}

fn insert(entry: &mut Value, key: &str, value: String) {
    if let Some(entry) = entry.as_object_mut() {
        entry.insert(key.into(), value.into());
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// "2026-05-04 12:30 UTC".
fn date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = time.to_calendar_date();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;
    use super::*;

    fn mixed() -> Results {
        results(|position| match position {
            (0, 1, 0) => Mark::Failed,
            (1, 0, 1) => Mark::Unsupported,
            _ => Mark::Succeeded,
        })
    }

    #[test]
    fn the_matrix_has_clients_down_and_servers_across() {
        let text = text(&mixed());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("client \\ server") && lines[0].ends_with("other"));
        assert!(lines[1].starts_with("ours"), "{text}");
        assert!(lines[1].contains("✓(H)") && lines[1].ends_with("✕(H)"), "{text}");
        assert!(lines[2].contains("G: 9350 (± 71) kbps"), "{text}");
        let markdown = markdown(&mixed());
        assert!(markdown.contains("| **other** | ✓(H)<br>?(G) |"), "{markdown}");
        assert!(markdown.contains("1970-01-02 00:00 UTC; ours 1, other 1"), "{markdown}");
    }

    #[test]
    fn reasons_name_both_sides_and_the_case() {
        let reasons = reasons(&mixed());
        assert_eq!(
            reasons.lines().collect::<Vec<_>>(),
            [
                "ours → other, handshake: failed: <why>",
                "    known fault of other as server: it others",
                "other → ours, goodput: unsupported: <why>"
            ]
        );
    }

    #[test]
    fn json_is_that_of_the_runner() {
        let json = json(&mixed());
        assert_eq!(json["clients"], json!(["ours", "other"]));
        assert_eq!(json["start_time"], 86_400.0);
        assert_eq!(json["tests"]["H"]["name"], "handshake");
        // Client-major: ours to ours, ours to other, other to ours, other to other.
        assert_eq!(json["results"].as_array().unwrap().len(), 4);
        assert_eq!(json["results"][1][0]["result"], "failed");
        assert_eq!(json["measurements"][2][0]["result"], "unsupported");
        assert_eq!(json["measurements"][0][0]["details"], "9350 (± 71) kbps");
        assert_eq!(json["measurements"][0][0]["abbr"], "G");
    }

    #[test]
    fn pages_show_reasons_as_text() {
        let page = html(&mixed());
        assert!(page.contains("title=\"handshake: &lt;why&gt;\""), "{page}");
        assert!(!page.contains("<why>"));
    }

    #[test]
    fn long_lists_are_wrapped() {
        let long = format!("✓({})", ["LONG"; 20].join(","));
        let pieces = wrapped(&long);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.chars().count() < WIDTH));
        assert_eq!(pieces.concat().replace(' ', ""), long);
    }
}
