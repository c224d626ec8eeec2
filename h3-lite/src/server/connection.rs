//! One connection of a server: accepts requests, starts them, and ends in an orderly way.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quic_core::wire::Side;
use quic_tokio::{RecvStream, SendStream};
use tokio::task::JoinSet;

use super::request::{self, Exchange};
use super::{Config, Handler};
use crate::control::{self, Control};
use crate::error::ConnectionError;
use crate::proto::error::Code;
use crate::shared::{Shared, varint};

/// A shutdown is announced at least so long before it names the last request.
const LEAST_NOTICE: Duration = Duration::from_millis(10);
/// And at most so long, however slow the path is.
const MOST_NOTICE: Duration = Duration::from_secs(3);

/// Serves a connection until it ends, or until it is shut down after `shutdown`.
pub(super) async fn serve<S: Handler>(
    quic: quic_tokio::Connection,
    service: S,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let shared = Arc::new(Shared::new(quic, Side::Server, config.limits));
    let control = Control::open(Arc::clone(&shared)).await;
    let requests = JoinSet::new();
    let mut connection = Connection { shared: Arc::clone(&shared), service, config, requests };
    let ended = match control {
        Ok(control) => {
            tokio::select! {
                error = control::read_peer(&shared) => error,
                error = connection.run(control, shutdown) => error,
            }
        }
        Err(error) => error,
    };
    if ended.is_orderly() { Ok(()) } else { Err(ended) }
}

struct Connection<S> {
    shared: Arc<Shared>,
    service: S,
    config: Config,
    /// Those that were not done at once.
    requests: JoinSet<()>,
}

impl<S: Handler> Connection<S> {
    async fn run(
        &mut self,
        mut control: Control,
        shutdown: impl Future<Output = ()>,
    ) -> ConnectionError {
        match self.shut_down_after(&mut control, shutdown).await {
            Ok(()) => {
                self.shared.close(Code::NO_ERROR);
                ConnectionError::LocallyClosed
            }
            Err(error) => error,
        }
    }

    /// A first GOAWAY stops the client without refusing what is on its way; the second, a round
    /// trip later, says what was accepted. Then all that was accepted is served to its end.
    // req 9114-5.2-105, 9114-5.2-111, 9114-5.2-115, 9114-5.2-116, 9114-3.3-019
    async fn shut_down_after(
        &mut self,
        control: &mut Control,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ConnectionError> {
        self.accept_until(control, shutdown).await?;
        let notice = self.shared.proto().shutdown_notice();
        control.send(notice).await?;
        let round_trip = self.shared.quic.stats().await.path.smoothed_rtt;
        let notice = (2 * round_trip).clamp(LEAST_NOTICE, MOST_NOTICE);
        self.accept_until(control, tokio::time::sleep(notice)).await?;
        let goaway = self.shared.proto().goaway();
        control.send(goaway).await?;
        self.drain(control).await
    }

    /// Nothing here keeps an idle connection open.
    // req 9114-5.1-104, 9114-5.2-110
    async fn accept_until(
        &mut self,
        control: &Control,
        until: impl Future<Output = ()>,
    ) -> Result<(), ConnectionError> {
        let shared = Arc::clone(&self.shared);
        let mut lost = pin!(control.until_lost());
        let mut until = pin!(until);
        loop {
            tokio::select! {
                streams = shared.quic.accept_bi() => match streams {
                    Ok((send, recv)) => self.on_request(send, recv)?,
                    Err(error) => return Err(shared.error(error)),
                },
                Some(_) = self.requests.join_next() => {}
                error = &mut lost => return Err(error),
                () = &mut until => return Ok(()),
            }
        }
    }

    /// Waits for the requests that run and for the delivery of what was sent; requests that come
    /// are refused.
    async fn drain(&mut self, control: &Control) -> Result<(), ConnectionError> {
        let shared = Arc::clone(&self.shared);
        let mut lost = pin!(control.until_lost());
        let mut delivered = pin!(delivered(&shared, self.config.progress_timeout));
        loop {
            tokio::select! {
                Some(_) = self.requests.join_next() => {}
                () = &mut delivered, if self.requests.is_empty() => return Ok(()),
                streams = shared.quic.accept_bi() => match streams {
                    Ok((send, recv)) => self.on_request(send, recv)?,
                    Err(error) => return Err(shared.error(error)),
                },
                error = &mut lost => return Err(error),
            }
        }
    }

    fn on_request(
        &mut self,
        mut send: SendStream,
        mut recv: RecvStream,
    ) -> Result<(), ConnectionError> {
        let opened = self.shared.proto().bidi_stream_opened(recv.id());
        match opened.map_err(|fault| self.shared.fail(fault))? {
            Ok(()) => {
                let shared = Arc::clone(&self.shared);
                let exchange = Exchange::new(shared, send, recv, self.config);
                self.start(request::serve(exchange, self.service.clone()));
            }
            Err(fault) => {
                send.reset(varint(fault.code));
                recv.stop(varint(fault.code));
            }
        }
        Ok(())
    }

    /// Runs a request as far as it goes at once, which is often its end. One that has to wait gets
    /// a task of its own, and is polled there again: nothing that happens in between is missed.
    fn start(&mut self, request: impl Future<Output = ()> + Send + 'static) {
        let mut request = Box::pin(request);
        if poll_once(request.as_mut()).is_pending() {
            self.requests.spawn(request);
        }
    }
}

/// Waits until the client has all responses and the last GOAWAY, but not for longer than it may take
/// nothing of a response.
async fn delivered(shared: &Shared, patience: Option<Duration>) {
    let all = async {
        loop {
            let round_trip = shared.quic.stats().await.path.smoothed_rtt;
            tokio::time::sleep(round_trip.clamp(LEAST_NOTICE, MOST_NOTICE)).await;
            let stats = shared.quic.stats().await;
            if stats.peer_streams_open == 0 && stats.path.bytes_in_flight == 0 {
                return;
            }
        }
    };
    match patience {
        None => all.await,
        // It had its time.
        Some(patience) => drop(tokio::time::timeout(patience, all).await),
    }
}

/// Polls a request for the first time. One that panics is over, as in a task of its own: its stream
/// is reset as it is dropped.
fn poll_once(request: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    catch_unwind(AssertUnwindSafe(|| request.poll(&mut cx))).unwrap_or(Poll::Ready(()))
}
