//! The folder of one run: what both endpoints find in it, and what they leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use quic_core::util::Rng;

use super::certificates;
use super::implementation::Role;
use crate::cases::Case;
use crate::failure::Failure;

/// The port of every server.
const PORT: u16 = 443;

/// The folder, laid out as [`Evidence`](crate::cases::Evidence) reads it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Begins an empty folder in place of what was there.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            fs::remove_dir_all(path).map_err(|error| Failure::with_file("empty", path, &error))?;
        }
        let folders =
            ["client/qlog", "client/downloads", "server/qlog", "server/www", "sim", "certs"];
        for folder in folders {
            let folder = path.join(folder);
            fs::create_dir_all(&folder)
                .map_err(|error| Failure::with_file("make", &folder, &error))?;
        }
        let path = path.canonicalize().map_err(|error| Failure::with_file("read", path, &error))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what a case needs, files and certificates. Returns the URLs of the files.
    pub(crate) fn fill(&self, case: &Case, rng: &mut Rng) -> Result<String, Failure> {
        certificates::write(&self.path.join("certs"), case.chain, rng)?;
        let mut urls = Vec::new();
        for (size, name_length) in case.files.sizes_and_name_lens() {
            let name = letters(rng, name_length);
            let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
            rng.fill(&mut content);
            self.write(&format!("server/www/{name}"), &content)?;
            urls.push(format!("https://{}:{PORT}/{name}", case.host));
        }
        Ok(urls.join(" "))
    }

    /// Certificates alone, for an endpoint that has nothing to transfer.
    pub(crate) fn fill_certificates(&self, case: &Case, rng: &mut Rng) -> Result<(), Failure> {
        certificates::write(&self.path.join("certs"), case.chain, rng)
    }

    /// Which directories an endpoint sees under which names.
    pub(crate) fn mounts(&self, role: Role) -> Vec<(PathBuf, &'static str)> {
        let files = match role {
            Role::Client => ("client/downloads", "/downloads"),
            Role::Server => ("server/www", "/www"),
        };
        let logs = match role {
            Role::Client => ("client", "/logs"),
            Role::Server => ("server", "/logs"),
        };
        let mounts = [files, logs, ("certs", "/certs")];
        mounts.map(|(outside, inside)| (self.path.join(outside), inside)).into()
    }

    /// Where captures and the relay's log go.
    pub(crate) fn sim(&self) -> PathBuf {
        self.path.join("sim")
    }

    /// Where an endpoint's standard output and standard error go.
    pub(crate) fn output(&self, role: Role) -> PathBuf {
        self.path.join(role.to_string()).join("output.txt")
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let file = self.path.join(name);
        fs::write(&file, content).map_err(|error| Failure::with_file("write", &file, &error))
    }

    /// Removes what is large, of a run that nobody will look at.
    pub(crate) fn shrink(path: &Path) {
        for folder in ["server/www", "client/downloads"] {
            // What stays takes room, and does no harm.
            let _ = fs::remove_dir_all(path.join(folder));
        }
        for side in ["left", "right"] {
            let _ = fs::remove_file(path.join(format!("sim/trace_node_{side}.pcap")));
        }
    }
}

/// So many random letters.
pub(crate) fn letters(rng: &mut Rng, count: usize) -> String {
    (0..count).map(|_| char::from(b'a' + rng.range(0..26) as u8)).collect()
}
