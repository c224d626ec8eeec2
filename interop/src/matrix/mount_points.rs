//! The directories in the root of the file system that endpoints expect. They are empty, and there
//! only while a matrix runs: endpoints have other directories mounted over them, which nobody else
//! sees.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::failure::Failure;

const DIRECTORIES: [&str; 4] = ["/www", "/downloads", "/certs", "/logs"];
/// Held by every matrix that runs; says which directories were made for one.
const LOCK: &str = "/run/lock/quic-interop-matrix";

/// The directories, as long as somebody needs them.
#[derive(Debug)]
pub(crate) struct MountPoints {
    lock: File,
}

impl MountPoints {
    /// Makes the directories that are not there.
    pub(crate) fn create() -> Result<Self, Failure> {
        let failed = |error| Failure::with_file("write", Path::new(LOCK), &error);
        let mut lock =
            File::options().read(true).append(true).create(true).open(LOCK).map_err(failed)?;
        lock.lock_shared().map_err(failed)?;
        for directory in DIRECTORIES {
            let path = Path::new(directory);
            if !path.exists() {
                fs::create_dir(path).map_err(|error| Failure::with_file("make", path, &error))?;
                writeln!(lock, "{directory}").map_err(failed)?;
            }
        }
        Ok(Self { lock })
    }

    /// Removes what was made, unless another matrix runs.
    fn remove(&mut self) -> std::io::Result<()> {
        self.lock.unlock()?;
        if self.lock.try_lock().is_err() {
            return Ok(());
        }
        let mut made = String::new();
        self.lock.rewind()?;
        self.lock.read_to_string(&mut made)?;
        for directory in made.lines().filter(|made| DIRECTORIES.contains(made)) {
            // Only if it is empty, which it is unless somebody found a use for it.
            let _ = fs::remove_dir(directory);
        }
        self.lock.set_len(0)
    }
}

impl Drop for MountPoints {
    fn drop(&mut self) {
        // Empty directories are all that may stay.
        let _ = self.remove();
    }
}
