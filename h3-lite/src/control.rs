//! The unidirectional streams of a connection: our control stream, and all that the peer opens
//! (RFC 9114 section 6.2).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use quic_core::wire::Dir;
use quic_tokio::{ReadError, RecvStream, SendStream};

use crate::error::ConnectionError;
use crate::proto::connection::Outcome;
use crate::proto::error::ConnectionFault;
use crate::shared::{Shared, seed, varint};

/// Our control stream, open for as long as the connection is.
// req 9114-6.2.1-135
#[derive(Debug)]
pub(crate) struct Control {
    shared: Arc<Shared>,
    stream: SendStream,
}

impl Control {
    /// Opens the stream and sends our settings: the first thing on every connection.
    // req 9114-6.2-124, 9114-6.2.1-132, 9114-3.2-012
    pub(crate) async fn open(shared: Arc<Shared>) -> Result<Self, ConnectionError> {
        let stream = match shared.quic.open_uni().await {
            Ok(stream) => stream,
            Err(_) => return Err(shared.error(shared.quic.closed().await)),
        };
        let preface = shared.proto().control_stream_preface(seed());
        let mut control = Self { shared, stream };
        control.send(preface).await?;
        Ok(control)
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: Bytes) -> Result<(), ConnectionError> {
        match self.stream.write_chunk(frame).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.until_lost().await),
        }
    }

    /// Waits until the stream cannot be used any more, which is the end of the connection.
    // req 9114-6.2.1-136
    pub(crate) async fn until_lost(&self) -> ConnectionError {
        if self.stream.stopped().await.is_some() {
            let fault = self.shared.proto().own_control_stream_stopped();
            return self.shared.fail(fault);
        }
        self.shared.error(self.shared.quic.closed().await)
    }
}

/// Reads the peer's unidirectional streams until the connection ends.
pub(crate) async fn read_peer(shared: &Shared) -> ConnectionError {
    let mut streams: Vec<RecvStream> = Vec::new();
    let mut accepted = pin!(shared.quic.accept_uni());
    let ended = poll_fn(|cx| {
        while let Poll::Ready(stream) = accepted.as_mut().poll(cx) {
            match stream {
                Ok(stream) => {
                    if let Err(fault) = shared.proto().uni_stream_opened(stream.id()) {
                        return Poll::Ready(Err(fault));
                    }
                    streams.push(stream);
                }
                // The error of the connection is reported below.
                Err(_) => return Poll::Ready(Ok(())),
            }
            accepted.set(shared.quic.accept_uni());
        }
        match poll_streams(shared, &mut streams, cx) {
            Err(fault) => Poll::Ready(Err(fault)),
            Ok(_) => Poll::Pending,
        }
    })
    .await;
    match ended {
        Err(fault) => shared.fail(fault),
        Ok(()) => shared.error(shared.quic.closed().await),
    }
}

/// Reads whatever has arrived.
fn poll_streams(
    shared: &Shared,
    streams: &mut Vec<RecvStream>,
    cx: &mut Context<'_>,
) -> Result<(), ConnectionFault> {
    let mut at = 0;
    while let Some(stream) = streams.get_mut(at) {
        match poll_stream(shared, stream, cx)? {
            After::Open => at += 1,
            After::Over => drop(streams.swap_remove(at)),
        }
    }
    Ok(())
}

/// What is left of a stream of the peer once all that arrived on it was read.
enum After {
    Open,
    Over,
}

fn poll_stream(
    shared: &Shared,
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Result<After, ConnectionFault> {
    let id = stream.id();
    debug_assert_eq!(id.dir(), Dir::Uni);
    while let Poll::Ready(read) = stream.poll_read_chunk(cx) {
        match read {
            Ok(Some(chunk)) => {
                let outcomes = shared.proto().uni_stream_data(id, chunk)?;
                if let After::Over = act(shared, stream, outcomes) {
                    return Ok(After::Over);
                }
            }
            Ok(None) | Err(ReadError::Reset(_)) => {
                shared.proto().uni_stream_closed(id)?;
                return Ok(After::Over);
            }
            Err(
                ReadError::Stopped | ReadError::EarlyDataRejected | ReadError::ConnectionLost(_),
            ) => return Ok(After::Over),
        }
    }
    Ok(After::Open)
}

fn act(shared: &Shared, stream: &mut RecvStream, outcomes: Vec<Outcome>) -> After {
    let mut after = After::Open;
    for outcome in outcomes {
        match outcome {
            // A later connection may want them before the server has said them again.
            // req 9114-7.2.4.2-176
            Outcome::Settings(settings) => shared.quic.set_session_state(settings.to_kept()),
            Outcome::ClientGoesAway => {}
            Outcome::ServerGoesAway { .. } => shared.goaway.notify_waiters(),
            Outcome::StopStream { code, .. } => {
                stream.stop(varint(code));
                after = After::Over;
            }
        }
    }
    after
}
