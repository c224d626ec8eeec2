//! The handle of the sending half of a stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quic_core::shared::SendCell;
use quic_core::stream::Priority;
use quic_core::wire::{StreamId, VarInt};
use tokio::io::AsyncWrite;

use crate::connection::ConnectionRef;
use crate::error::{Delivery, WriteError};
use crate::wait::wait;

/// The sending half of a stream (RFC 9000, section 3.1).
///
/// # The end of a stream
///
/// Only [`finish`](Self::finish) (or `shutdown` of [`AsyncWrite`]) ends a stream in an orderly way.
/// Dropping the handle of a stream that was not finished **resets** it with code 0, so that the
/// peer never takes half of the data for the whole. Dropping it after `finish` is fine: the
/// transport goes on until everything is delivered, for as long as the connection lives. To know
/// that it was, wait for [`delivered`](Self::delivered).
///
/// # Back-pressure
///
/// Writes wait while the connection holds more unacknowledged data than its send budget allows, or
/// the stream more than its share.
#[derive(Debug)]
pub struct SendStream {
    cell: Arc<SendCell>,
    connection: ConnectionRef,
}

impl SendStream {
    pub(crate) fn new(cell: Arc<SendCell>, connection: ConnectionRef) -> Self {
        Self { cell, connection }
    }

    /// The number of the stream.
    pub fn id(&self) -> StreamId {
        self.cell.id()
    }

    /// Writes a whole chunk, without copying it.
    ///
    /// Waits for room for at least a part of it.
    ///
    /// # Errors
    ///
    /// If the stream is over; the chunk is not written then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing of the chunk was written.
    pub async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let mut chunk = chunk;
        poll_fn(|cx| self.poll_write_chunk(cx, &mut chunk)).await
    }

    /// Polls [`write_chunk`](Self::write_chunk): when it returns `Ready(Ok(()))` all of `chunk` was
    /// taken, else none of it.
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        self.cell
            .poll_write_chunk(chunk, cx.waker())
            .map(|result| result.map(drop).map_err(|why| self.refused(why)))
    }

    /// Writes as much of the front of `data` as there is room for, at least one byte unless `data`
    /// is empty, and returns how much that was.
    ///
    /// # Errors
    ///
    /// If the stream is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was written.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.cell.poll_write_slice(data, cx.waker()))
            .await
            .map_err(|why| self.refused(why))
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    ///
    /// If the stream is over; a part of the data may be written then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped before it is ready, nobody knows how much was
    /// written. Use [`write`](Self::write) or [`write_chunk`](Self::write_chunk) in a `select!`.
    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let mut rest = data;
        while !rest.is_empty() {
            let written = self.write(rest).await?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Ends the stream after what was written to it. Does nothing if it was finished before.
    ///
    /// # Errors
    ///
    /// If the stream has ended early.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.cell.finish().map_err(|why| self.refused(why))
    }

    /// Gives up the stream at once, for the reason `code` of the application protocol. Data that
    /// was not delivered is dropped. Has no effect once the outcome is decided.
    pub fn reset(&mut self, code: VarInt) {
        self.cell.reset(code);
    }

    /// Waits until the peer says that it does not want the data, and returns its code; or until the
    /// outcome is decided otherwise, and returns `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn stopped(&self) -> Option<VarInt> {
        let cell = &*self.cell;
        wait(|key, waker| cell.poll_stopped(key, waker), |key| cell.leave(key)).await.ok()
    }

    /// Waits for the outcome of the stream. For a stream that is neither finished nor reset, this
    /// waits until the peer stops it or the connection ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the outcome can be asked for again.
    pub async fn delivered(&self) -> Delivery {
        let cell = &*self.cell;
        let phase = wait(|key, waker| cell.poll_outcome(key, waker), |key| cell.leave(key)).await;
        Delivery::new(phase, &self.connection)
    }

    /// The outcome of the stream, if it is decided.
    pub fn outcome(&self) -> Option<Delivery> {
        Delivery::of(&self.cell, &self.connection)
    }

    /// Sets how the stream shares the connection with others, from the next packet on.
    pub fn set_priority(&mut self, priority: Priority) {
        self.cell.set_priority(priority.urgency, priority.incremental);
    }

    fn refused(&self, why: quic_core::shared::WriteRefused) -> WriteError {
        WriteError::new(why, &self.connection)
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.cell.release(VarInt::from_u32(0));
    }
}

/// Writing as [`SendStream::write`] does; `flush` has nothing to do; `shutdown` is
/// [`SendStream::finish`], and does not wait for the delivery.
impl AsyncWrite for SendStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.cell.poll_write_slice(data, cx.waker()));
        Poll::Ready(written.map_err(|why| self.refused(why).into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.cell.finish().map_err(|why| self.refused(why).into()))
    }
}
