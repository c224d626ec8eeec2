//! A file as the body of a message, read while it is sent.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that are read at once.
const CHUNK: usize = 128 << 10;

/// As many bytes of a file as it had when it was opened.
pub(crate) struct FileBody {
    file: tokio::fs::File,
    left: u64,
}

impl FileBody {
    /// The contents of a regular file. This call blocks for as long as the file system takes.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is not a regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Asked before, because merely opening a pipe can wait for ever.
        require_file(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        require_file(&metadata)?;
        Ok(Self { file: tokio::fs::File::from_std(file), left: metadata.len() })
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}

fn require_file(metadata: &Metadata) -> io::Result<()> {
    match metadata {
        _ if metadata.is_file() => Ok(()),
        _ if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let length = usize::try_from(this.left).unwrap_or(usize::MAX).min(CHUNK);
        if length == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = BytesMut::zeroed(length);
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut this.file).poll_read(cx, &mut buffer))?;
        let filled = buffer.filled().len();
        if filled == 0 {
            // The file is shorter now than the length that was announced.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        chunk.truncate(filled);
        this.left -= filled as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
