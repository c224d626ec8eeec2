//! One request: its head is read, the handler called, its response sent.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use http::{Method, Request, Response, StatusCode, header, response};
use http_body::Body;
use quic_tokio::{RecvStream, SendStream};
use tokio::sync::oneshot;

use super::{Config, EarlyData, EarlyRequests, Handler};
use crate::body::{Owner, RecvBody, RequestEnd};
use crate::error::{BodyError, BoxError};
use crate::message::{Incoming, Outgoing, Rest, Unsent, content_length, declare_length};
use crate::proto::error::{Code, Violation};
use crate::proto::receive::{Event, RequestReceiver, RequestRules};
use crate::proto::send::MessageSender;
use crate::shared::Shared;

/// Both halves of a request stream, as they are accepted.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    incoming: Incoming<RequestRules>,
    outgoing: Outgoing,
    config: Config,
}

impl Exchange {
    pub(super) fn new(
        shared: Arc<Shared>,
        send: SendStream,
        recv: RecvStream,
        config: Config,
    ) -> Self {
        let (limits, peer_limit) = {
            let proto = shared.proto();
            (proto.limits(), proto.peer_settings().max_field_section_size)
        };
        let receiver = RequestReceiver::new(limits);
        // req 9114-4.1-034
        let incoming = Incoming::new(Arc::clone(&shared), recv, receiver, Code::NO_ERROR);
        let sender = MessageSender::new(peer_limit);
        let outgoing = Outgoing::new(Arc::clone(&shared), send, sender, Code::INTERNAL_ERROR)
            .with_patience(config.progress_timeout);
        Self { shared, incoming, outgoing, config }
    }
}

/// Serves a request to its end. Dropped early it resets the stream.
pub(super) async fn serve<S: Handler>(exchange: Exchange, service: S) {
    let Exchange { shared, mut incoming, mut outgoing, config } = exchange;
    let head = tokio::time::timeout(config.header_timeout, read_head(&mut incoming)).await;
    match head {
        Ok(Ok((mut request, end))) => {
            if incoming.is_early() {
                match admit_early(&shared.quic, &mut request, config.early).await {
                    Early::Go => {}
                    Early::Refuse => {
                        incoming.stop(Code::NO_ERROR);
                        let _ = answer(StatusCode::TOO_EARLY, &mut outgoing).await;
                        return;
                    }
                    Early::Lost => return,
                }
            }
            let rest = match end {
                AfterHead::End => None,
                AfterHead::Open => Some(Box::new(incoming) as Box<dyn Rest>),
            };
            handle(request, rest, &mut outgoing, service, config).await;
        }
        Ok(Err(BodyError::Malformed(reason))) => {
            refuse(reason, &mut incoming, &mut outgoing).await;
        }
        Ok(Err(_)) => outgoing.reset(Code::REQUEST_CANCELLED),
        Err(_) => {
            // An answer helps more than a reset, and nothing was processed.
            incoming.stop(Code::REQUEST_INCOMPLETE);
            let _ = answer(StatusCode::REQUEST_TIMEOUT, &mut outgoing).await;
        }
    }
}

/// What is to become of a request that came before the handshake was complete.
enum Early {
    Go,
    Refuse,
    /// The handshake failed: whoever sent the request was not who it seemed.
    Lost,
}

/// Decides about a request that may be a replay, and marks it.
// req 9114-10.9-223
async fn admit_early(
    quic: &quic_tokio::Connection,
    request: &mut Request<()>,
    policy: EarlyRequests,
) -> Early {
    request.extensions_mut().insert(EarlyData { quic: quic.clone() });
    match policy {
        _ if request.method().is_safe() => Early::Go,
        EarlyRequests::All => Early::Go,
        EarlyRequests::Safe => Early::Refuse,
        EarlyRequests::Wait => match quic.handshake_complete().await {
            Ok(()) => Early::Go,
            Err(_) => Early::Lost,
        },
    }
}

enum AfterHead {
    /// The request has nothing else.
    End,
    /// The end was not seen yet.
    Open,
}

async fn read_head(
    incoming: &mut Incoming<RequestRules>,
) -> Result<(Request<()>, AfterHead), BodyError> {
    poll_fn(|cx| {
        while let Poll::Ready(event) = incoming.poll_event(cx) {
            if let Event::Headers(request) = event? {
                let after = if incoming.is_over(cx) { AfterHead::End } else { AfterHead::Open };
                return Poll::Ready(Ok((request, after)));
            }
        }
        Poll::Pending
    })
    .await
}

/// Answers a malformed request, or one that is too large, and takes no more of it (RFC 9114 section
/// 4.1.2). A request that never became one gets no answer.
// req 9114-4.1.1-038, 9114-4.1.2-051
async fn refuse(reason: Violation, incoming: &mut Incoming<RequestRules>, outgoing: &mut Outgoing) {
    incoming.stop(reason.code());
    // An answer that does not arrive helps nobody.
    let _ = answer_malformed(reason, outgoing).await;
}

async fn answer_malformed(reason: Violation, outgoing: &mut Outgoing) -> Result<(), Unsent> {
    if let Some(status) = reason.status() {
        return answer(status, outgoing).await;
    }
    outgoing.reset(reason.code());
    Ok(())
}

/// A response without content.
async fn answer(status: StatusCode, outgoing: &mut Outgoing) -> Result<(), Unsent> {
    let head = Response::builder().status(status).header(header::CONTENT_LENGTH, 0);
    let (head, ()) = head.body(()).expect("a valid response").into_parts();
    let head = outgoing.response(&head, &Method::GET)?;
    outgoing.end(BytesMut::from(head)).await
}

/// What interests the handler's task about the request while the handler runs.
struct Signals {
    end: oneshot::Receiver<RequestEnd>,
    /// What `end` has said.
    ended: Option<RequestEnd>,
    wanted: Option<oneshot::Receiver<()>>,
}

impl Signals {
    /// How the handler left the body, if it is done with it and has not seen its end.
    fn end(&mut self) -> Option<&RequestEnd> {
        if self.ended.is_none() {
            self.ended = self.end.try_recv().ok();
        }
        self.ended.as_ref()
    }
}

/// Calls the handler and sends what it answers.
async fn handle<S: Handler>(
    head: Request<()>,
    rest: Option<Box<dyn Rest>>,
    outgoing: &mut Outgoing,
    service: S,
    config: Config,
) {
    let method = head.method().clone();
    let (request, mut signals) = request(head, rest, config);
    let mut outcome = respond(request, &mut signals, outgoing, service).await.map(Some);
    if let Some(RequestEnd::Broken(BodyError::Malformed(reason))) = signals.end() {
        // Whatever the handler made of it.
        outcome = answer_malformed(*reason, outgoing).await.map(|()| None).map_err(Abandoned::from);
    }
    let outcome = match outcome {
        Ok(Some(response)) => send(response, &method, outgoing).await,
        Ok(None) => Ok(()),
        Err(abandoned) => Err(abandoned),
    };
    end(outcome, signals, outgoing);
}

/// Ends what is left of the exchange.
// req 9114-4.1-033, 9114-4.1-034
fn end(outcome: Result<(), Abandoned>, mut signals: Signals, outgoing: &mut Outgoing) {
    let code = match (&outcome, signals.end()) {
        (Ok(()), _) => Code::NO_ERROR,
        (Err(_), Some(RequestEnd::Broken(error))) => consequence(error),
        (Err(abandoned), _) => abandoned.code(),
    };
    if let Err(abandoned) = outcome {
        tracing::debug!(%code, %abandoned, "response given up");
        outgoing.reset(code);
    }
    if let Some(RequestEnd::Unread(mut rest)) = signals.ended {
        rest.stop(code);
    }
}

/// The code with which a response is given up because the request is broken.
// req 9114-4.1.1-042
fn consequence(error: &BodyError) -> Code {
    match error {
        BodyError::Malformed(reason) => reason.code(),
        BodyError::Reset(_)
        | BodyError::TimedOut
        | BodyError::EarlyDataRejected
        | BodyError::Connection(_) => Code::REQUEST_CANCELLED,
    }
}

fn request(
    head: Request<()>,
    rest: Option<Box<dyn Rest>>,
    config: Config,
) -> (Request<RecvBody>, Signals) {
    let (end, ended) = oneshot::channel();
    let (wanted, is_wanted) = match waits_for_consent(&head) && rest.is_some() {
        true => {
            let (wanted, is_wanted) = oneshot::channel();
            (Some(wanted), Some(is_wanted))
        }
        false => (None, None),
    };
    let owner = Owner::Server { end: rest.is_some().then_some(end), wanted };
    let length = content_length(head.headers());
    let body = RecvBody::new(rest, length, config.progress_timeout, owner);
    (head.map(|()| body), Signals { end: ended, ended: None, wanted: is_wanted })
}

/// Whether the client sends the body only after an interim response (RFC 9110 section 10.1.1).
fn waits_for_consent(head: &Request<()>) -> bool {
    let expect = head.headers().get(header::EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Why there is no response, or not a whole one.
#[derive(Debug)]
enum Abandoned {
    /// The handler failed.
    Handler(BoxError),
    /// The client does not want it, or is gone.
    Cancelled,
    Unsent(Unsent),
}

impl Abandoned {
    // req 9114-4.1.1-039, 9114-4.1.1-041, 9114-4.1.1-042
    fn code(&self) -> Code {
        match self {
            Self::Handler(_) => Code::INTERNAL_ERROR,
            Self::Cancelled => Code::REQUEST_CANCELLED,
            Self::Unsent(unsent) => match unsent {
                Unsent::Stopped(_)
                | Unsent::TimedOut
                | Unsent::EarlyDataRejected
                | Unsent::Lost(_) => Code::REQUEST_CANCELLED,
                Unsent::Body(_) | Unsent::Message(_) => Code::INTERNAL_ERROR,
            },
        }
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::Cancelled => f.write_str("the client cancelled the request"),
            Self::Unsent(unsent) => unsent.fmt(f),
        }
    }
}

impl From<Unsent> for Abandoned {
    fn from(unsent: Unsent) -> Self {
        Self::Unsent(unsent)
    }
}

/// Runs the handler until it has a response. It is dropped if the client cancels the request, or if
/// the request turns out to be malformed.
// req 9114-4.1.1-037
async fn respond<S: Handler>(
    request: Request<RecvBody>,
    signals: &mut Signals,
    outgoing: &mut Outgoing,
    mut service: S,
) -> Result<Response<S::Body>, Abandoned> {
    let call = async move {
        let ready = poll_fn(|cx| service.poll_ready(cx).map_err(handler_failed));
        ready.await?;
        service.call(request).await.map_err(handler_failed)
    };
    let mut call = pin!(call);
    loop {
        tokio::select! {
            biased;
            response = &mut call => return response,
            _ = outgoing.stopped() => return Err(Abandoned::Cancelled),
            () = wanted(&mut signals.wanted) => {
                signals.wanted = None;
                consent(outgoing).await?;
            }
        }
    }
}

/// Ready when the handler reads a body that the client holds back.
async fn wanted(signal: &mut Option<oneshot::Receiver<()>>) {
    match signal {
        None => std::future::pending().await,
        // The body was dropped unread.
        Some(signal) => {
            if signal.await.is_err() {
                std::future::pending().await
            }
        }
    }
}

fn handler_failed(error: impl Into<BoxError>) -> Abandoned {
    Abandoned::Handler(error.into())
}

/// Asks for the body.
async fn consent(outgoing: &mut Outgoing) -> Result<(), Unsent> {
    let (head, ()) = Response::builder()
        .status(StatusCode::CONTINUE)
        .body(())
        .expect("a valid response")
        .into_parts();
    let head = outgoing.response(&head, &Method::GET)?;
    outgoing.write(head).await
}

/// Sends the whole response.
// req 9114-4.1-031
async fn send<B>(
    response: Response<B>,
    method: &Method,
    outgoing: &mut Outgoing,
) -> Result<(), Abandoned>
where
    B: Body<Error: Into<BoxError>>,
{
    let (mut head, body) = response.into_parts();
    if may_have_content(&head, method) {
        declare_length(&mut head.headers, body.size_hint().exact());
    }
    let front = outgoing.response(&head, method)?;
    if *method == Method::HEAD {
        return Ok(outgoing.end(BytesMut::from(front)).await?);
    }
    Ok(outgoing.send(front, body).await?)
}

/// Whether the length of the body at hand is what Content-Length would say.
fn may_have_content(head: &response::Parts, method: &Method) -> bool {
    let without = head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !without && *method != Method::HEAD && *method != Method::CONNECT
}
