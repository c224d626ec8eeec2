//! The body of a received message, as a stream of pieces.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::error::BodyError;
use crate::message::{Piece, Rest};
use crate::proto::error::Code;
use crate::watchdog::Watchdog;

/// The body of a received request or response: content in the pieces in which it arrives, then
/// perhaps trailers.
///
/// The peer may send more as the body is read, so a reader that is slow slows the peer down. A body
/// that ends without an error is whole: its end was received, and its length is what Content-Length
/// said. After an error the body gives the same error again, and never an end.
///
/// Dropping the body before its end tells the peer that the rest is not wanted. For a response this
/// cancels the request.
pub struct RecvBody {
    state: State,
    /// What Content-Length says is still to come.
    left: Option<u64>,
    watchdog: Option<Watchdog>,
    owner: Owner,
}

enum State {
    Reading(Box<dyn Rest>),
    Complete,
    Failed(BodyError),
}

/// Whose body this is, and who wants to know what becomes of it.
pub(crate) enum Owner {
    /// A handler's. The task that serves the request learns how the body ended, and when it is
    /// wanted if the client waits for that.
    Server { end: Option<oneshot::Sender<RequestEnd>>, wanted: Option<oneshot::Sender<()>> },
    /// The body of a response: what goes on for as long as it is read, and perhaps longer.
    Client(Option<Box<dyn Companion>>),
}

/// What belongs to a response while it is read.
pub(crate) trait Companion: Send + Sync {
    /// The response is whole: nothing of the request is to be cancelled.
    fn complete(self: Box<Self>);
}

/// How a handler left the body of a request whose end it has not seen.
pub(crate) enum RequestEnd {
    /// Not read to its end.
    Unread(Box<dyn Rest>),
    /// Not to be read any further.
    Broken(BodyError),
}

impl RecvBody {
    pub(crate) fn new(
        rest: Option<Box<dyn Rest>>,
        length: Option<u64>,
        patience: Option<Duration>,
        owner: Owner,
    ) -> Self {
        let (state, left) = match rest {
            Some(rest) => (State::Reading(rest), length),
            None => (State::Complete, Some(0)),
        };
        let mut body = Self { state, left, watchdog: patience.map(Watchdog::new), owner };
        if matches!(body.state, State::Complete) {
            body.complete();
        }
        body
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
        let rest = match &mut self.state {
            State::Reading(rest) => rest,
            State::Complete => return Poll::Ready(Ok(Piece::End)),
            State::Failed(error) => return Poll::Ready(Err(error.clone())),
        };
        if let Owner::Server { wanted, .. } = &mut self.owner
            && let Some(wanted) = wanted.take()
        {
            // Nobody waits for it any more once there is a response.
            let _ = wanted.send(());
        }
        if let Poll::Ready(piece) = rest.poll_piece(cx) {
            if let Some(watchdog) = &mut self.watchdog {
                watchdog.feed();
            }
            return Poll::Ready(piece);
        }
        let Some(watchdog) = &mut self.watchdog else { return Poll::Pending };
        ready!(watchdog.poll_bark(cx));
        rest.stop(Code::REQUEST_CANCELLED);
        Poll::Ready(Err(BodyError::TimedOut))
    }

    fn complete(&mut self) {
        self.state = State::Complete;
        self.watchdog = None;
        match &mut self.owner {
            Owner::Server { end, .. } => *end = None,
            Owner::Client(companion) => {
                if let Some(companion) = companion.take() {
                    companion.complete();
                }
            }
        }
    }

    // req 9114-4.1.1-047
    fn fail(&mut self, error: &BodyError) {
        self.state = State::Failed(error.clone());
        self.watchdog = None;
        match &mut self.owner {
            Owner::Server { end, .. } => {
                if let Some(end) = end.take() {
                    // The response may be complete already.
                    let _ = end.send(RequestEnd::Broken(error.clone()));
                }
            }
            Owner::Client(companion) => *companion = None,
        }
    }
}

impl Body for RecvBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.poll_piece(cx)) {
            Ok(Piece::Data(data)) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(data.len() as u64);
                }
                Some(Ok(Frame::data(data)))
            }
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End) => {
                self.complete();
                None
            }
            Err(error) => {
                self.fail(&error);
                Some(Err(error))
            }
        })
    }

    /// True only once the end was received: an error may still follow the last byte.
    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Exact if there is a Content-Length.
    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for RecvBody {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Complete);
        if let (State::Reading(rest), Owner::Server { end, .. }) = (state, &mut self.owner)
            && let Some(end) = end.take()
        {
            // If the response is complete the peer is stopped right here.
            let _ = end.send(RequestEnd::Unread(rest));
        }
    }
}

impl fmt::Debug for RecvBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading(_) => "reading",
            State::Complete => "complete",
            State::Failed(_) => "failed",
        };
        f.debug_struct("RecvBody").field("state", &state).field("left", &self.left).finish()
    }
}
