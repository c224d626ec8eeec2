//! What the client fetched is what the server has.

use std::io;
use std::path::Path;

use super::super::evidence::files_in;
use super::{Evidence, Objection, Outcome};

/// The client has exactly the files of the server, byte for byte.
pub(crate) fn arrived(evidence: &Evidence) -> Outcome {
    let compared = compare(&evidence.www, &evidence.downloads);
    compared.unwrap_or_else(|error| Objection::failed(format!("cannot compare files: {error}")))
}

fn compare(www: &Path, downloads: &Path) -> io::Result<Outcome> {
    let (wanted, found) = (files_in(www)?, files_in(downloads)?);
    if wanted.is_empty() {
        return Ok(Objection::failed("the server has no files"));
    }
    let missing = wanted.keys().filter(|name| !found.contains_key(*name)).count();
    if missing > 0 {
        let all = wanted.len();
        return Ok(Objection::failed(format!("{missing} of {all} files were not downloaded")));
    }
    if let Some(name) = found.keys().find(|name| !wanted.contains_key(*name)) {
        return Ok(Objection::failed(format!("{name} was downloaded, but not asked for")));
    }
    for ((name, original), copy) in wanted.iter().zip(found.values()) {
        let (original, copy) = (std::fs::read(original)?, std::fs::read(copy)?);
        if original.len() != copy.len() {
            let (is, should) = (copy.len(), original.len());
            let why = format!("{name} has {is} bytes in place of {should}");
            return Ok(Objection::failed(why));
        }
        if let Some(at) = original.iter().zip(&copy).position(|(a, b)| a != b) {
            return Ok(Objection::failed(format!("{name} differs from byte {at} on")));
        }
    }
    Ok(Ok(format!("{} files", wanted.len())))
}
