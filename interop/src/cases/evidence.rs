//! What a run leaves behind.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::dissect::{Capture, Connection, Dissection, KeyLog, dissect};
use crate::failure::Failure;

/// A key log is of use only if it has this secret.
const NEEDED_SECRET: &str = "SERVER_HANDSHAKE_TRAFFIC_SECRET";

/// The folder of a run, read and taken apart.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Next to the client.
    pub(crate) left: Capture,
    /// Next to the server.
    pub(crate) right: Capture,
    /// In the order in which they began.
    pub(crate) connections: Vec<Connection>,
    /// An endpoint has logged the secrets of its connections.
    pub(crate) has_keys: bool,
    /// The files of the server, all of which were asked for.
    pub(crate) www: PathBuf,
    /// Where the client put what it fetched.
    pub(crate) downloads: PathBuf,
}

impl Evidence {
    /// Reads a folder; see the [module](super) for what is in it. Key logs and the folders of
    /// files may be missing.
    ///
    /// # Errors
    ///
    /// A capture is missing or is none, or a file cannot be read.
    pub(crate) fn read(run: &Path) -> Result<Self, Failure> {
        let left = read(&run.join("sim/trace_node_left.pcap"))?;
        let right = read(&run.join("sim/trace_node_right.pcap"))?;
        let mut keys = KeyLog::default();
        let mut has_keys = false;
        for endpoint in ["client", "server"] {
            let log = read_if_there(&run.join(endpoint).join("keys.log"))?.unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            has_keys |= log.lines().any(|line| line.starts_with(NEEDED_SECRET));
            keys.add(&log);
        }
        let captures = [&left[..], &right].into_iter();
        let dissection = dissect(captures, &keys)
            .map_err(|error| Failure::new(format!("{}: {error}", run.display())))?;
        let Dissection { captures, connections } = dissection;
        let mut captures = captures.into_iter();
        Ok(Self {
            left: captures.next().unwrap_or_default(),
            right: captures.next().unwrap_or_default(),
            connections,
            has_keys,
            www: run.join("server/www"),
            downloads: run.join("client/downloads"),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::with_file("read", path, &error))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::with_file("read", path, &error)),
    }
}

/// The files in a folder by name; none if there is no folder.
pub(super) fn files_in(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let named = entries.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    });
    named.collect()
}
