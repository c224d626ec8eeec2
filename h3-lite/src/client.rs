//! Requests over HTTP/3.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use quic_core::wire::{Side, StreamId};
use quic_tokio::{EarlyData, RecvStream, SendStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::body::{Companion, Owner, RecvBody};
use crate::control::{self, Control};
use crate::error::{BodyError, BoxError, ConnectionError, RequestError};
use crate::message::{Incoming, Outgoing, Unsent, content_length, declare_length};
use crate::proto::error::Code;
use crate::proto::receive::{Event, ResponseReceiver, ResponseRules};
use crate::proto::send::MessageSender;
use crate::qpack::decoder::SectionLimits;
use crate::shared::{Shared, seed};

/// How a client speaks.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The largest header or trailer section that is taken.
    pub limits: SectionLimits,
    /// How long the body of a response may make no progress while it is waited for, before it fails
    /// with [`BodyError::TimedOut`]; what is measured is between this
    /// time and twice as much. `None`, the default, is for ever.
    pub progress_timeout: Option<Duration>,
    /// How long the body of a request with `Expect: 100-continue` is held back if the server does
    /// not say anything (RFC 9110 section 10.1.1). 1 s by default.
    pub continue_timeout: Duration,
    /// Which requests may be sent before the handshake is complete, on a connection from
    /// [`Endpoint::connect_early`](quic_tokio::Endpoint::connect_early).
    pub early: EarlyRequests,
}

/// Which requests a client sends as early data (0-RTT), where others can replay them to the server
/// (RFC 8470). Those that may not wait for the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyRequests {
    /// Those with a method that is safe (RFC 9110 section 9.2.1): GET, HEAD, OPTIONS, TRACE.
    #[default]
    Safe,
    /// All. A server should refuse those that do harm when they are done twice, with 425.
    All,
    /// None.
    None,
}

impl EarlyRequests {
    // req 9114-10.9-223
    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Safe => method.is_safe(),
            Self::All => true,
            Self::None => false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: SectionLimits::default(),
            progress_timeout: None,
            continue_timeout: Duration::from_secs(1),
            early: EarlyRequests::default(),
        }
    }
}

/// A client on one connection. Clones share it.
///
/// The connection is closed with `H3_NO_ERROR` when the last clone and the last body of a response
/// are dropped. All requests go to the peer of the connection, whatever their URI says: it is for
/// the program to send only those for whose origin the certificate of the server holds (RFC 9114
/// section 3.3).
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    config: Config,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(done(seed()));
    }
}

/// The code of a client that is done: one in sixteen times a reserved one, which means the same, so
/// that servers do not forget that they must not care.
// req 9114-8.1-207
fn done(seed: u64) -> Code {
    if seed.is_multiple_of(16) { Code::reserved(seed / 16) } else { Code::NO_ERROR }
}

impl Client {
    /// A client on `quic`, with the default configuration. Starts the task of the connection.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(quic: quic_tokio::Connection) -> Self {
        Self::with_config(quic, Config::default())
    }

    /// As [`new`](Self::new), with another configuration.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn with_config(quic: quic_tokio::Connection, config: Config) -> Self {
        let shared = Arc::new(Shared::new(quic, Side::Client, config.limits));
        tokio::spawn(drive(Arc::clone(&shared)));
        Self { handle: Arc::new(Handle { shared, config }) }
    }

    /// Sends a request, and waits for the header section of its response. Waits first for as long
    /// as the server allows no more requests at a time.
    ///
    /// The body is sent while the response is awaited, and further on while it is read. A body that
    /// is not at hand in one piece goes on in a task if the response comes earlier. Interim
    /// responses are passed over.
    ///
    /// Before the handshake is complete only requests are sent that
    /// [`Config::early`](Config) allows. If the server does not take early data, or answers an early
    /// request with 425 (Too Early), a request without a body is sent once more after the
    /// handshake: nothing was processed. One with a body fails with
    /// [`RequestError::EarlyDataRejected`], or has that response.
    ///
    /// # Errors
    ///
    /// [`RequestError::may_retry`] says whether the request can be sent again elsewhere.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request (`H3_REQUEST_CANCELLED`).
    // req 9114-3.3-013, 9114-7.2.4.2-175
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<RecvBody>, RequestError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        if head.method != Method::CONNECT {
            declare_length(
                &mut head.headers,
                body.size_hint().exact().filter(|length| *length > 0),
            );
        }
        let has_body = !body.is_end_stream();
        let early = self.may_be_early(&head.method).await?;
        let result = self.attempt(&head, has_body.then_some(body)).await;
        let was_refused = match &result {
            Ok(response) => response.status() == StatusCode::TOO_EARLY,
            Err(error) => matches!(error, RequestError::EarlyDataRejected),
        };
        if !early || !was_refused || has_body {
            return result;
        }
        self.handle.shared.handshake().await.map_err(RequestError::NotSent)?;
        self.attempt(&head, None::<B>).await
    }

    /// Waits for the end of the handshake unless a request with `method` may be sent before; true
    /// if it is sent before.
    // req 9114-10.9-223
    async fn may_be_early(&self, method: &Method) -> Result<bool, RequestError> {
        let shared = &self.handle.shared;
        match shared.quic.early_data() {
            EarlyData::Offered if self.handle.config.early.allows(method) => Ok(true),
            // Accepted is said before the handshake is complete: until then the keys are those of
            // early data.
            EarlyData::Offered | EarlyData::Accepted => {
                shared.handshake().await.map_err(RequestError::NotSent)?;
                Ok(false)
            }
            EarlyData::None | EarlyData::Rejected => Ok(false),
        }
    }

    /// Sends a request once.
    async fn attempt<B>(
        &self,
        head: &http::request::Parts,
        body: Option<B>,
    ) -> Result<Response<RecvBody>, RequestError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let shared = &self.handle.shared;
        let limit = shared.proto().peer_settings().max_field_section_size;
        let mut message = MessageSender::new(limit);
        let front = message.request(head)?;
        let consent = waits_for_consent(head);

        let (send, recv) = self.open().await?;
        let id = recv.id();
        let cancelled = Code::REQUEST_CANCELLED;
        let receiver = ResponseReceiver::new(head.method.clone(), self.handle.config.limits);
        let mut exchange = Exchange {
            handle: &self.handle,
            id,
            method: head.method.clone(),
            incoming: Incoming::new(Arc::clone(shared), recv, receiver, cancelled),
            upload: None,
            consent: None,
        };
        let outgoing = Outgoing::new(Arc::clone(shared), send, message, cancelled);
        exchange.begin(outgoing, front, body, consent).await?;
        exchange.response().await
    }

    /// Waits until the connection is over, and says why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        let shared = &self.handle.shared;
        shared.error(shared.quic.closed().await)
    }

    /// Closes the connection at once; requests that are under way fail.
    pub fn close(&self) {
        self.handle.shared.close(Code::NO_ERROR);
    }

    /// The QUIC connection below.
    pub fn quic(&self) -> &quic_tokio::Connection {
        &self.handle.shared.quic
    }

    // req 9114-5.2-108
    async fn open(&self) -> Result<(SendStream, RecvStream), RequestError> {
        let shared = &self.handle.shared;
        let goaway = shared.goaway.notified();
        {
            let mut proto = shared.proto();
            if !proto.may_send_request() {
                return Err(RequestError::GoingAway);
            }
            proto.request_sent();
        }
        tokio::select! {
            biased;
            () = goaway => Err(RequestError::GoingAway),
            opened = shared.quic.open_bi() => match opened {
                Ok(streams) => Ok(streams),
                Err(_) => Err(RequestError::NotSent(self.closed().await)),
            },
        }
    }
}

/// The task of a connection: its unidirectional streams, and what a server must not open.
async fn drive(shared: Arc<Shared>) {
    let control = match open_control(&shared).await {
        Ok(control) => control,
        Err(error) => return tracing::debug!(%error, "connection failed"),
    };
    let error = tokio::select! {
        error = control::read_peer(&shared) => error,
        error = control.until_lost() => error,
        Ok((send, _recv)) = shared.quic.accept_bi() => {
            let opened = shared.proto().bidi_stream_opened(send.id());
            match opened {
                Err(fault) => shared.fail(fault),
                Ok(_) => return,
            }
        }
    };
    tracing::debug!(%error, "connection over");
}

/// Opens the control stream, with the first data if there is early data, and a second time if the
/// server does not take that. The server says nothing before.
async fn open_control(shared: &Arc<Shared>) -> Result<Control, ConnectionError> {
    let control = Control::open(Arc::clone(shared)).await;
    shared.handshake().await?;
    match shared.quic.early_data() {
        EarlyData::Rejected => Control::open(Arc::clone(shared)).await,
        EarlyData::None | EarlyData::Offered | EarlyData::Accepted => control,
    }
}

/// Whether the body is to be held back until the server asks for it.
fn waits_for_consent(head: &http::request::Parts) -> bool {
    let expect = head.headers.get(header::EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

type Upload = Pin<Box<dyn Future<Output = Result<(), Unsent>> + Send>>;

/// A request on its way, until the header section of the response is there. Dropped before that it
/// cancels the request.
// req 9114-4.1.1-037, 9114-4.1.1-039, 9114-4.1.1-043, 9114-4.1.1-045
struct Exchange<'a> {
    handle: &'a Arc<Handle>,
    id: StreamId,
    method: Method,
    incoming: Incoming<ResponseRules>,
    /// What is still to be sent.
    upload: Option<Upload>,
    /// Lets a body go that is held back; dropped to say that it is not wanted.
    consent: Option<oneshot::Sender<()>>,
}

impl Exchange<'_> {
    /// Sends a request without a body at once. Any other one is sent while the response is awaited.
    async fn begin<B>(
        &mut self,
        mut outgoing: Outgoing,
        front: Bytes,
        body: Option<B>,
        consent: bool,
    ) -> Result<(), RequestError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Some(body) = body else {
            return match outgoing.end(BytesMut::from(front)).await {
                Ok(()) => Ok(()),
                Err(unsent) => self.on_unsent(unsent),
            };
        };
        let patience = self.handle.config.continue_timeout;
        let go = consent.then(|| {
            let (consent, go) = oneshot::channel();
            self.consent = Some(consent);
            go
        });
        self.upload = Some(Box::pin(async move {
            match go {
                None => outgoing.send(front, body).await,
                Some(go) => {
                    outgoing.write(front).await?;
                    match tokio::time::timeout(patience, go).await {
                        Ok(Ok(())) | Err(_) => outgoing.send(Bytes::new(), body).await,
                        Ok(Err(_)) => Ok(()),
                    }
                }
            }
        }));
        Ok(())
    }

    /// Waits for the header section of the response.
    // req 9114-4.1-029, 9114-4.1-035, 9114-4.1-036
    async fn response(mut self) -> Result<Response<RecvBody>, RequestError> {
        let handle = self.handle;
        let mut goaway = pin!(handle.shared.goaway.notified());
        self.check_goaway()?;
        let head = poll_fn(|cx| {
            while goaway.as_mut().poll(cx).is_ready() {
                goaway.set(handle.shared.goaway.notified());
                self.check_goaway()?;
            }
            if let Some(upload) = &mut self.upload
                && let Poll::Ready(sent) = upload.as_mut().poll(cx)
            {
                self.upload = None;
                if let Err(unsent) = sent {
                    self.on_unsent(unsent)?;
                }
            }
            while let Poll::Ready(event) = self.incoming.poll_event(cx) {
                match event.map_err(|error| self.failed(error))? {
                    Event::Headers(head) => {
                        let is_over = self.incoming.is_over(cx);
                        return Poll::Ready(Ok::<_, RequestError>((head, is_over)));
                    }
                    Event::Informational(head) => self.on_informational(head.status()),
                    // The receiver gives none of these before the header section.
                    Event::Data(_) | Event::Trailers(_) | Event::End => {}
                }
            }
            Poll::Pending
        })
        .await;
        let (head, is_over) = head?;
        Ok(self.finish(head, is_over))
    }

    fn check_goaway(&self) -> Result<(), RequestError> {
        if self.is_unprocessed() { Err(RequestError::Rejected) } else { Ok(()) }
    }

    fn is_unprocessed(&self) -> bool {
        self.handle.shared.proto().may_retry(self.id)
    }

    fn on_informational(&mut self, status: StatusCode) {
        if status == StatusCode::CONTINUE
            && let Some(consent) = self.consent.take()
        {
            // It may be too late, and the body under way.
            let _ = consent.send(());
        }
    }

    /// A request that is not wanted to its end may have a response all the same, and what becomes
    /// of a lost connection is read from the stream.
    // req 9114-4.1-035
    fn on_unsent(&self, unsent: Unsent) -> Result<(), RequestError> {
        match unsent {
            Unsent::Stopped(_) | Unsent::Lost(_) | Unsent::TimedOut => Ok(()),
            Unsent::EarlyDataRejected => Err(RequestError::EarlyDataRejected),
            Unsent::Body(error) => Err(RequestError::Body(error)),
            Unsent::Message(error) => Err(RequestError::Body(error.into())),
        }
    }

    // req 9114-4.1.2-052
    fn failed(&self, error: BodyError) -> RequestError {
        match error {
            BodyError::Malformed(reason) => RequestError::Malformed(reason),
            BodyError::Reset(Code::REQUEST_REJECTED) => RequestError::Rejected,
            BodyError::EarlyDataRejected => RequestError::EarlyDataRejected,
            BodyError::Reset(_) | BodyError::Connection(_) if self.is_unprocessed() => {
                RequestError::Rejected
            }
            BodyError::Reset(code) => RequestError::Reset(code),
            BodyError::Connection(error) => RequestError::Connection(error),
            BodyError::TimedOut => RequestError::Reset(Code::REQUEST_CANCELLED),
        }
    }

    fn finish(self, head: Response<()>, is_over: bool) -> Response<RecvBody> {
        let Self { handle, method, incoming, upload, consent, .. } = self;
        drop(consent);
        let upload = upload.map(|upload| {
            let handle = Arc::clone(handle);
            let task = tokio::spawn(async move {
                if let Err(unsent) = upload.await {
                    tracing::debug!(%unsent, "request not sent to its end");
                }
                drop(handle);
            });
            task.abort_handle()
        });
        let length =
            if has_content(&head, &method) { content_length(head.headers()) } else { None };
        let patience = handle.config.progress_timeout;
        let body = if is_over {
            RecvBody::new(None, length, patience, Owner::Client(None))
        } else {
            let companion = Reading { _handle: Arc::clone(handle), upload };
            let owner = Owner::Client(Some(Box::new(companion)));
            RecvBody::new(Some(Box::new(incoming)), length, patience, owner)
        };
        head.map(|()| body)
    }
}

fn has_content(head: &Response<()>, method: &Method) -> bool {
    let without = matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !without && *method != Method::HEAD && *method != Method::CONNECT
}

/// A response that is being read: keeps the connection open, and cancels the rest of the request if
/// it is dropped early.
struct Reading {
    _handle: Arc<Handle>,
    upload: Option<AbortHandle>,
}

impl Companion for Reading {
    fn complete(mut self: Box<Self>) {
        self.upload = None;
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9114-8.1-207
    #[test]
    fn a_client_that_is_done_says_so_with_a_reserved_code_now_and_then() {
        let codes: Vec<_> = (0..16).map(done).collect();
        let strange: Vec<_> = codes.iter().filter(|code| **code != Code::NO_ERROR).collect();
        assert_eq!(strange.len(), 1);
        assert_eq!(Code::from_peer(strange[0].value()), Code::NO_ERROR);
    }
}
