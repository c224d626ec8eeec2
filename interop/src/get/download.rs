//! The file that a body is stored in. It has its name only once it is complete.

use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

/// A file that is being written. Dropped before it is [kept](Self::keep), nothing is left of it.
pub(crate) struct Download {
    file: File,
    path: PathBuf,
    /// The file's name until it is complete; none if it is written in place.
    partial: Option<Partial>,
}

impl Download {
    /// Begins to write what `path` shall name, in a directory that is made if it is missing. What
    /// is not a regular file, `/dev/null` for instance, is not replaced but written to.
    pub(crate) async fn create(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        if fs::metadata(&path).await.is_ok_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).open(&path).await?;
            return Ok(Self { file, path, partial: None });
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(directory).await?;
        let partial = directory.join(partial_name());
        let file = OpenOptions::new().write(true).create_new(true).open(&partial).await?;
        Ok(Self { file, path, partial: Some(Partial(partial)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// The file is complete.
    pub(crate) async fn keep(mut self) -> io::Result<()> {
        self.file.flush().await?;
        if let Some(partial) = &self.partial {
            fs::rename(&partial.0, &self.path).await?;
        }
        // There is nothing of that name to remove any more.
        Ok(())
    }
}

/// A name that no other download has, in this process or another, and no URL is likely to have.
fn partial_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".interop-{}-{}.part", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the file of this name when it is dropped.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone already if the download was kept.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn downloads_with_related_names_do_not_disturb_each_other() {
        let scratch = TempDir::new().unwrap();
        let [a, part] = ["a", "a.part"].map(|name| scratch.path().join(name));
        let mut first = Download::create(&a).await.unwrap();
        let mut second = Download::create(&part).await.unwrap();
        first.write(b"first").await.unwrap();
        second.write(b"second").await.unwrap();
        second.keep().await.unwrap();
        first.keep().await.unwrap();
        assert_eq!(std::fs::read(a).unwrap(), b"first");
        assert_eq!(std::fs::read(part).unwrap(), b"second");
        assert_eq!(names(&scratch), ["a", "a.part"]);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_download_that_is_dropped() {
        let scratch = TempDir::new().unwrap();
        std::fs::write(scratch.path().join("a"), b"old").unwrap();
        let mut download = Download::create(&scratch.path().join("a")).await.unwrap();
        download.write(b"new").await.unwrap();
        drop(download);
        assert_eq!(names(&scratch), ["a"]);
        assert_eq!(std::fs::read(scratch.path().join("a")).unwrap(), b"old");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_not_a_regular_file_is_written_to_and_stays_what_it_is() {
        use std::io::Read;
        use std::os::unix::net::UnixListener;

        let scratch = TempDir::new().unwrap();
        let null = scratch.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        let mut download = Download::create(&null).await.unwrap();
        download.write(b"nobody reads this").await.unwrap();
        download.keep().await.unwrap();
        assert!(null.is_symlink());
        assert_eq!(std::fs::File::open(&null).unwrap().read(&mut [0]).unwrap(), 0);
        // A socket cannot be written to like a file, and is not replaced either.
        let socket = scratch.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(Download::create(&socket).await.is_err());
        assert_eq!(names(&scratch), ["null", "socket"]);
    }
}
