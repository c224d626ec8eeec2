//! One message on one stream: [`Incoming`] reads it, [`Outgoing`] writes it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header, response};
use http_body::{Body, Frame};
use quic_tokio::{ReadError, RecvStream, SendStream, WriteError};

use crate::error::{BodyError, BoxError, ConnectionError};
use crate::proto::error::{Code, Fault};
use crate::proto::receive::{Event, MessageReceiver, Rules};
use crate::proto::send::{MessageSender, SendError};
use crate::shared::{Shared, varint};

/// Content up to this size is copied behind its frame header, larger content is passed on as it is.
const COPY: usize = 2048;
/// So much is gathered at most while the body has more to give at once.
const GATHER: usize = 8192;

/// The receiving half of a request stream. Dropped before the end it stops the peer.
#[derive(Debug)]
pub(crate) struct Incoming<R: Rules> {
    shared: Arc<Shared>,
    stream: RecvStream,
    message: MessageReceiver<R>,
    /// Why the peer is to stop if this is dropped early.
    abandon: Code,
    /// What a look ahead has found.
    ahead: Option<Result<Event<R::Message>, BodyError>>,
}

impl<R: Rules> Incoming<R> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        stream: RecvStream,
        message: MessageReceiver<R>,
        abandon: Code,
    ) -> Self {
        Self { shared, stream, message, abandon, ahead: None }
    }

    /// The next event. Not to be called after [`Event::End`] or an error.
    pub(crate) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event<R::Message>, BodyError>> {
        if let Some(event) = self.ahead.take() {
            return Poll::Ready(event);
        }
        loop {
            match self.message.next() {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(self.fail(fault))),
            }
            match ready!(self.stream.poll_read_chunk(cx)) {
                Ok(Some(chunk)) => self.message.feed(chunk),
                Ok(None) => self.message.finish(),
                Err(error) => return Poll::Ready(Err(self.lost(error))),
            }
        }
    }

    /// Whether the message is known to be over, without waiting for more of it.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        match self.poll_event(cx) {
            Poll::Ready(Ok(Event::End)) => true,
            Poll::Ready(event) => {
                self.ahead = Some(event);
                false
            }
            Poll::Pending => false,
        }
    }

    /// Whether some of what has arrived may be a replay.
    pub(crate) fn is_early(&self) -> bool {
        self.stream.is_early()
    }

    /// Tells the peer to stop, and why.
    pub(crate) fn stop(&mut self, code: Code) {
        self.stream.stop(varint(code));
    }

    fn fail(&mut self, fault: Fault) -> BodyError {
        match fault {
            Fault::Connection(fault) => BodyError::Connection(self.shared.fail(fault)),
            Fault::Stream(fault) => {
                self.stop(fault.code);
                BodyError::Malformed(fault.reason)
            }
        }
    }

    fn lost(&self, error: ReadError) -> BodyError {
        match error {
            ReadError::Reset(code) => BodyError::Reset(Code::from_peer(code.into_inner())),
            ReadError::Stopped => BodyError::Reset(self.abandon),
            ReadError::EarlyDataRejected => BodyError::EarlyDataRejected,
            ReadError::ConnectionLost(error) => BodyError::Connection(self.shared.error(error)),
        }
    }
}

impl<R: Rules> Drop for Incoming<R> {
    fn drop(&mut self) {
        self.stop(self.abandon);
    }
}

/// What comes after the header section.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// The rest of a message after its header section, a request or a response.
pub(crate) trait Rest: Send + Sync {
    /// Not to be called after [`Piece::End`] or an error.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>>;
    /// Tells the peer to stop, and why.
    fn stop(&mut self, code: Code);
}

impl<R: Rules<Message: Send + Sync> + Send + Sync> Rest for Incoming<R> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
        loop {
            match ready!(self.poll_event(cx))? {
                Event::Data(data) => return Poll::Ready(Ok(Piece::Data(data))),
                Event::Trailers(trailers) => return Poll::Ready(Ok(Piece::Trailers(trailers))),
                Event::End => return Poll::Ready(Ok(Piece::End)),
                // The receiver gives neither after the header section.
                Event::Informational(_) | Event::Headers(_) => {}
            }
        }
    }

    fn stop(&mut self, code: Code) {
        Incoming::stop(self, code);
    }
}

/// Why a message was not sent to its end.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The peer does not want it.
    Stopped(Code),
    /// Its body failed.
    Body(BoxError),
    /// It is not what it said it would be.
    Message(SendError),
    /// The peer took nothing for too long.
    TimedOut,
    /// It was early data, and the server did not take that.
    EarlyDataRejected,
    Lost(ConnectionError),
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(code) => write!(f, "the peer does not want it: {code}"),
            Self::Body(error) => write!(f, "its body failed: {error}"),
            Self::Message(error) => error.fmt(f),
            Self::TimedOut => f.write_str("the peer took nothing for too long"),
            Self::EarlyDataRejected => f.write_str("the server did not take early data"),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        Self::Message(error)
    }
}

/// The sending half of a request stream. Dropped before the end it is reset.
#[derive(Debug)]
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    stream: SendStream,
    message: MessageSender,
    /// Why the message is given up if this is dropped early.
    abandon: Code,
    /// How long the peer may take nothing.
    patience: Option<Duration>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The message is not whole.
    Missing,
    Sent,
}

impl Outgoing {
    pub(crate) fn new(
        shared: Arc<Shared>,
        stream: SendStream,
        message: MessageSender,
        abandon: Code,
    ) -> Self {
        Self { shared, stream, message, abandon, patience: None, ending: Ending::Missing }
    }

    /// The header section of a response to a request with `method`, to be written.
    pub(crate) fn response(
        &mut self,
        head: &response::Parts,
        method: &Method,
    ) -> Result<Bytes, Unsent> {
        Ok(self.message.response(head, method)?)
    }

    /// Lets the peer take nothing for so long.
    pub(crate) fn with_patience(self, patience: Option<Duration>) -> Self {
        let mut outgoing = self;
        outgoing.patience = patience;
        outgoing
    }

    /// Waits until the peer wants no more, or the connection is lost.
    pub(crate) async fn stopped(&self) -> Option<Code> {
        let code = self.stream.stopped().await;
        code.map(|code| Code::from_peer(code.into_inner()))
    }

    /// Gives up a message that is not sent to its end, also when this is dropped.
    pub(crate) fn reset(&mut self, code: Code) {
        if self.ending == Ending::Missing {
            self.stream.reset(varint(code));
        }
    }

    /// Writes `head`, which is encoded already, then `body`, and finishes the stream: in few large
    /// writes if the body has all of it at hand, piece by piece otherwise.
    pub(crate) async fn send<B>(&mut self, head: Bytes, body: B) -> Result<(), Unsent>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let mut body = pin!(body);
        let mut front = BytesMut::from(head);
        while let Some(frame) = self.next_frame(&mut front, body.as_mut()).await? {
            match frame.into_data() {
                Ok(data) => self.content(&mut front, data).await?,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        front.extend_from_slice(&self.message.trailers(&trailers)?);
                        break;
                    }
                }
            }
        }
        self.end(front).await
    }

    /// Finishes the stream after `last`.
    // req 9114-4.1-028, 9114-4.1-030
    pub(crate) async fn end(&mut self, mut last: BytesMut) -> Result<(), Unsent> {
        self.message.finish()?;
        self.flush(&mut last).await?;
        self.stream.finish().map_err(|error| self.unsent(error))?;
        self.ending = Ending::Sent;
        Ok(())
    }

    /// Writes what is encoded already.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Unsent> {
        let write = self.stream.write_chunk(chunk);
        let written = match self.patience {
            None => write.await,
            Some(patience) => {
                tokio::time::timeout(patience, write).await.map_err(|_| Unsent::TimedOut)?
            }
        };
        written.map_err(|error| self.unsent(error))
    }

    /// What the body gives next. Before waiting for it, what was gathered is written.
    async fn next_frame<B>(
        &mut self,
        front: &mut BytesMut,
        mut body: Pin<&mut B>,
    ) -> Result<Option<Frame<B::Data>>, Unsent>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Ok(None);
        }
        let at_once = poll_fn(|cx| Poll::Ready(poll_frame(body.as_mut(), cx))).await;
        let frame = match at_once {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                self.flush(front).await?;
                tokio::select! {
                    biased;
                    frame = poll_fn(|cx| poll_frame(body.as_mut(), cx)) => frame,
                    stopped = self.stopped() => return Err(self.given_up(stopped).await),
                }
            }
        };
        frame.transpose()
    }

    async fn content(&mut self, front: &mut BytesMut, mut data: impl Buf) -> Result<(), Unsent> {
        let length = data.remaining();
        front.extend_from_slice(&self.message.data(length as u64)?);
        if length <= COPY {
            front.put(data);
            if front.len() < GATHER { Ok(()) } else { self.flush(front).await }
        } else {
            self.flush(front).await?;
            self.write(data.copy_to_bytes(length)).await
        }
    }

    async fn flush(&mut self, front: &mut BytesMut) -> Result<(), Unsent> {
        if front.is_empty() { Ok(()) } else { self.write(front.split().freeze()).await }
    }

    async fn given_up(&self, stopped: Option<Code>) -> Unsent {
        match stopped {
            Some(code) => Unsent::Stopped(code),
            None => Unsent::Lost(self.shared.error(self.shared.quic.closed().await)),
        }
    }

    fn unsent(&self, error: WriteError) -> Unsent {
        match error {
            WriteError::Stopped(code) => Unsent::Stopped(Code::from_peer(code.into_inner())),
            // Only we finish and reset, and nothing is written after that.
            WriteError::Finished | WriteError::Reset(_) => Unsent::Message(SendError::MessageOver),
            WriteError::EarlyDataRejected => Unsent::EarlyDataRejected,
            WriteError::ConnectionLost(error) => Unsent::Lost(self.shared.error(error)),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.reset(self.abandon);
    }
}

type NextFrame<B> = Option<Result<Frame<<B as Body>::Data>, Unsent>>;

fn poll_frame<B>(body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<NextFrame<B>>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let frame = ready!(body.poll_frame(cx));
    Poll::Ready(frame.map(|frame| frame.map_err(|error| Unsent::Body(error.into()))))
}

/// What Content-Length says; the message was found to be well formed.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Says how long the content is, if that is known and was not said.
pub(crate) fn declare_length(headers: &mut HeaderMap, length: Option<u64>) {
    if let Some(length) = length {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}
