//! The handle of the receiving half of a stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use quic_core::shared::RecvCell;
use quic_core::wire::{StreamId, VarInt};
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::ConnectionRef;
use crate::error::{ReadError, ReadToEndError};

/// The receiving half of a stream (RFC 9000, section 3.2).
///
/// Data comes in order, and the peer may send more as it is read. Dropping the handle before the
/// end of the stream has arrived tells the peer to stop sending, with code 0.
///
/// If the connection ends first, data that has arrived before can still be read.
#[derive(Debug)]
pub struct RecvStream {
    cell: Arc<RecvCell>,
    connection: ConnectionRef,
}

impl RecvStream {
    pub(crate) fn new(cell: Arc<RecvCell>, connection: ConnectionRef) -> Self {
        Self { cell, connection }
    }

    /// The number of the stream.
    pub fn id(&self) -> StreamId {
        self.cell.id()
    }

    /// True if some of the data that has arrived came before the handshake was complete: it may be a
    /// replay, that is a copy of what a client has sent before, sent again by somebody else (RFC
    /// 9001, section 9.2). Once [`Connection::handshake_complete`](crate::Connection::handshake_complete)
    /// is ready it is known that it is not.
    ///
    /// The answer covers everything that was read so far, and can change to true as data arrives
    /// before the handshake is complete; never to false.
    pub fn is_early(&self) -> bool {
        self.cell.is_early()
    }

    /// Takes the next piece of the stream, without copying it; `None` at the end.
    ///
    /// A piece is what arrived at once, and not what the peer wrote at once. It may pin receive
    /// memory that is larger than itself, so do not keep pieces for long.
    ///
    /// # Errors
    ///
    /// If the peer has reset the stream, this side has stopped it, or the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was taken.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_read_chunk(cx)).await
    }

    /// Polls [`read_chunk`](Self::read_chunk).
    pub fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.poll_piece(cx, usize::MAX)
    }

    /// Copies what is there into `buf` and returns how much that was: at least one byte unless
    /// `buf` is empty; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// As for [`read_chunk`](Self::read_chunk).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was taken.
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if buf.is_empty() {
            return Ok(Some(0));
        }
        let filled = poll_fn(|cx| self.poll_fill(cx, &mut ReadBuf::new(buf))).await?;
        Ok((filled > 0).then_some(filled))
    }

    /// Reads the rest of the stream into one buffer, up to `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`ReadToEndError::TooLong`] if there are more bytes than `limit`; those read so far are
    /// lost. Else as for [`read_chunk`](Self::read_chunk).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was read is lost with the future.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Bytes, ReadToEndError> {
        let Some(first) = self.read_chunk().await? else { return Ok(Bytes::new()) };
        if first.len() > limit {
            return Err(ReadToEndError::TooLong);
        }
        let Some(second) = self.read_chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(&first[..]);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if chunk.len() > limit - all.len() {
                return Err(ReadToEndError::TooLong);
            }
            all.extend_from_slice(&chunk);
            next = self.read_chunk().await?;
        }
        Ok(all.freeze())
    }

    /// Tells the peer to send no more, for the reason `code` of the application protocol. What was
    /// not read is dropped. Has no effect if the stream is over.
    pub fn stop(&mut self, code: VarInt) {
        self.cell.stop(code);
    }

    fn poll_piece(
        &self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.cell
            .poll_read(max, cx.waker())
            .map(|result| result.map_err(|why| ReadError::new(why, &self.connection)))
    }

    /// Copies what is there; `Ready(Ok(0))` at the end of the stream, unless `buf` is full.
    fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<usize, ReadError>> {
        let start = buf.filled().len();
        while buf.remaining() > 0 {
            match self.poll_piece(cx, buf.remaining()) {
                Poll::Ready(Ok(Some(piece))) => buf.put_slice(&piece),
                Poll::Ready(Ok(None)) => break,
                // Reported by the next call, after what is there.
                Poll::Ready(Err(_)) | Poll::Pending if buf.filled().len() > start => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(buf.filled().len() - start))
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.cell.release(VarInt::from_u32(0));
    }
}

/// Reading as [`RecvStream::read`] does.
impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx, buf)).map_err(io::Error::from)?;
        Poll::Ready(Ok(()))
    }
}
