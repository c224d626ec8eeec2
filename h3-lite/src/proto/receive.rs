//! The receiving half of a request stream: chunks of bytes in, HTTP message events out
//! (RFC 9114 section 4.1).
//!
//! A [`RequestReceiver`] is the server's side, a [`ResponseReceiver`] the client's. Both are fed
//! with the bytes of one stream and asked for events until there are none:
//!
//! ```
//! use h3_lite::proto::receive::{Event, RequestReceiver};
//! use h3_lite::qpack::decoder::SectionLimits;
//!
//! let mut stream = RequestReceiver::new(SectionLimits::default());
//! stream.feed(bytes::Bytes::from_static(b"\x01\x08\0\0\xd1\xd7\xc1\x50\x01a"));
//! stream.finish();
//! while let Some(event) = stream.next()? {
//!     if let Event::Headers(request) = event {
//!         assert_eq!(request.uri(), "https://a/");
//!     }
//! }
//! # Ok::<(), h3_lite::proto::error::Fault>(())
//! ```

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};

use super::budget::Budget;
use super::error::{Fault, StreamFault, Violation};
use super::frame::{FrameDecoder, FrameEvent, FrameHeader, FrameKind};
use super::message::{Content, decode_request, decode_response, decode_trailers};
use crate::qpack::FieldLine;
use crate::qpack::decoder::{self, SectionLimits};

/// Frames without effect that one message may hold beyond what its content pays for. Stops floods
/// of padding, empty DATA and interim responses.
const IDLE_FRAMES: u32 = 1000;

/// What a peer's message is made of, in this order: any number of `Informational`, `Headers`, any
/// number of `Data`, perhaps `Trailers`, `End`.
#[derive(Debug)]
pub enum Event<M> {
    /// An interim response (1xx); never a request.
    Informational(M),
    /// The header section.
    Headers(M),
    /// A piece of content, never empty; shares the memory it arrived in.
    Data(Bytes),
    /// The trailer section.
    Trailers(HeaderMap),
    /// The message is complete and consistent. Nothing follows.
    End,
}

/// Receives a request.
pub type RequestReceiver = MessageReceiver<RequestRules>;
/// Receives a response.
pub type ResponseReceiver = MessageReceiver<ResponseRules>;

/// The receiving half of a request stream; see the [module](self).
#[derive(Debug)]
pub struct MessageReceiver<R> {
    rules: R,
    frames: FrameDecoder,
    limits: SectionLimits,
    phase: Phase,
    budget: Budget,
    unread: Bytes,
    input: InputEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The header section is still to come.
    Head,
    Body(Content),
    /// After the trailer section.
    Trailed,
    /// After CONNECT: DATA without end.
    Tunnel,
    /// `End` was reported, or an error.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    Open,
    Finished,
}

impl RequestReceiver {
    /// The server's side of a new request stream.
    pub fn new(limits: SectionLimits) -> Self {
        Self::with_rules(RequestRules, limits)
    }
}

impl ResponseReceiver {
    /// The client's side of a stream on which it sends a request with `method`.
    pub fn new(method: Method, limits: SectionLimits) -> Self {
        Self::with_rules(ResponseRules { method }, limits)
    }
}

impl<R: Rules> MessageReceiver<R> {
    fn with_rules(rules: R, limits: SectionLimits) -> Self {
        Self {
            rules,
            frames: FrameDecoder::new(limits.max_size),
            limits,
            phase: Phase::Head,
            budget: Budget::new(IDLE_FRAMES),
            unread: Bytes::new(),
            input: InputEnd::Open,
        }
    }

    /// Adds the next bytes of the stream. Without a copy if all events of the bytes before have
    /// been taken.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.input == InputEnd::Open || chunk.is_empty(), "bytes after the end");
        if self.unread.is_empty() {
            self.unread = chunk;
            return;
        }
        let mut joined = BytesMut::from(self.unread.chunk());
        joined.extend_from_slice(&chunk);
        self.unread = joined.freeze();
    }

    /// Says that the stream ended cleanly after the bytes fed so far.
    pub fn finish(&mut self) {
        self.input = InputEnd::Finished;
    }

    /// The next event; `None` asks for more bytes, or follows [`Event::End`].
    ///
    /// # Errors
    ///
    /// A [`Fault::Stream`] ends this stream: reset and stop it with the code of the fault, after an
    /// answer if [`StreamFault::status`] has one. A [`Fault::Connection`] ends the connection.
    /// After either there are no more events.
    #[expect(clippy::should_implement_trait, reason = "it may give events again after `None`")]
    pub fn next(&mut self) -> Result<Option<Event<R::Message>>, Fault> {
        let result = self.advance();
        if result.is_err() {
            self.phase = Phase::Over;
        }
        result
    }

    fn advance(&mut self) -> Result<Option<Event<R::Message>>, Fault> {
        while self.phase != Phase::Over {
            let Some(event) = self.frames.next(&mut self.unread)? else {
                return self.at_end_of_input();
            };
            if let Some(event) = self.on_frame(event)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn on_frame(&mut self, event: FrameEvent) -> Result<Option<Event<R::Message>>, Fault> {
        match event {
            FrameEvent::Start(header) => self.on_start(header).map(|()| None),
            FrameEvent::Data(piece) => self.on_data(piece).map(Some),
            FrameEvent::Headers(section) => self.on_section(section).map(Some),
            FrameEvent::HeadersTooLarge => Err(stream(Violation::FieldSectionTooLarge)),
            // `on_start` has refused these frames.
            FrameEvent::Settings(_)
            | FrameEvent::Goaway(_)
            | FrameEvent::CancelPush(_)
            | FrameEvent::MaxPushId(_) => Err(connection(Violation::FrameOnRequestStream)),
        }
    }

    /// Refuses what may not come now, before any of its payload is kept.
    // req 9114-4.1-022, 9114-4.1-025, 9114-4.4-081, 9114-7.2.3-159, 9114-7.2.4-165
    // req 9114-7.2.6-197, 9114-7.2.7-198
    fn on_start(&mut self, header: FrameHeader) -> Result<(), Fault> {
        match (header.kind, self.phase) {
            (FrameKind::Data, Phase::Head) => Err(connection(Violation::DataBeforeHeaders)),
            (FrameKind::Headers, Phase::Tunnel) => Err(connection(Violation::FrameInTunnel)),
            (FrameKind::Data | FrameKind::Headers, Phase::Trailed | Phase::Over) => {
                Err(connection(Violation::FrameAfterTrailers))
            }
            (FrameKind::Data, Phase::Body(_) | Phase::Tunnel) if header.length == 0 => {
                Ok(self.budget.spend()?)
            }
            (FrameKind::Data, Phase::Body(_) | Phase::Tunnel) => {
                self.budget.earn(1);
                Ok(())
            }
            (FrameKind::Headers, Phase::Head | Phase::Body(_)) => Ok(()),
            (FrameKind::Unknown, _) => Ok(self.budget.spend()?),
            (FrameKind::PushPromise, Phase::Tunnel) => Err(connection(Violation::FrameInTunnel)),
            (FrameKind::PushPromise, _) => Err(connection(self.rules.on_push_promise())),
            (
                FrameKind::Settings
                | FrameKind::Goaway
                | FrameKind::CancelPush
                | FrameKind::MaxPushId,
                _,
            ) => Err(connection(Violation::FrameOnRequestStream)),
        }
    }

    fn on_data(&mut self, piece: Bytes) -> Result<Event<R::Message>, Fault> {
        if let Phase::Body(content) = &mut self.phase {
            content.take(piece.len() as u64)?;
        }
        Ok(Event::Data(piece))
    }

    /// A whole field section: headers first, trailers after them.
    // req 9114-4.1-021
    fn on_section(&mut self, section: Bytes) -> Result<Event<R::Message>, Fault> {
        let lines = decoder::decode(section, &self.limits)?;
        if let Phase::Body(content) = self.phase {
            let trailers = decode_trailers(lines)?;
            content.finish()?;
            self.phase = Phase::Trailed;
            return Ok(Event::Trailers(trailers));
        }
        match self.rules.head(lines)? {
            Head::Informational(message) => {
                self.budget.spend()?;
                Ok(Event::Informational(message))
            }
            Head::Message(message, content) => {
                self.phase = Phase::Body(content);
                Ok(Event::Headers(message))
            }
            Head::Tunnel(message) => {
                self.phase = Phase::Tunnel;
                Ok(Event::Headers(message))
            }
        }
    }

    fn at_end_of_input(&mut self) -> Result<Option<Event<R::Message>>, Fault> {
        if self.input == InputEnd::Open {
            return Ok(None);
        }
        self.frames.finish()?;
        match self.phase {
            Phase::Head => return Err(stream(self.rules.incomplete())),
            Phase::Body(content) => content.finish()?,
            Phase::Trailed | Phase::Tunnel => {}
            Phase::Over => return Ok(None),
        }
        self.phase = Phase::Over;
        Ok(Some(Event::End))
    }
}

fn connection(reason: Violation) -> Fault {
    Fault::Connection(reason.into())
}

fn stream(reason: Violation) -> Fault {
    Fault::Stream(reason.into())
}

/// A header section, and what may follow it.
#[derive(Debug)]
#[doc(hidden)]
pub enum Head<M> {
    Informational(M),
    Message(M, Content),
    Tunnel(M),
}

mod sealed {
    pub trait Sealed {}
}

/// What differs between receiving requests and responses. Sealed: there are these two.
pub trait Rules: sealed::Sealed {
    /// What a header section becomes.
    type Message;
    #[doc(hidden)]
    fn head(&self, lines: Vec<FieldLine>) -> Result<Head<Self::Message>, StreamFault>;
    #[doc(hidden)]
    fn on_push_promise(&self) -> Violation;
    #[doc(hidden)]
    fn incomplete(&self) -> Violation;
}

/// How a server reads what a client sends.
#[derive(Debug)]
pub struct RequestRules;

impl sealed::Sealed for RequestRules {}

impl Rules for RequestRules {
    type Message = Request<()>;

    fn head(&self, lines: Vec<FieldLine>) -> Result<Head<Request<()>>, StreamFault> {
        let request = decode_request(lines)?;
        if request.method() == Method::CONNECT {
            return Ok(Head::Tunnel(request));
        }
        let content = Content::declared(request.headers())?;
        Ok(Head::Message(request, content))
    }

    // req 9114-7.2.5-195
    fn on_push_promise(&self) -> Violation {
        Violation::PushPromiseFromClient
    }

    // req 9114-4.1-032
    fn incomplete(&self) -> Violation {
        Violation::RequestIncomplete
    }
}

/// How a client reads what a server sends.
#[derive(Debug)]
pub struct ResponseRules {
    /// The method of the request, which decides whether the response has content.
    method: Method,
}

impl sealed::Sealed for ResponseRules {}

impl Rules for ResponseRules {
    type Message = Response<()>;

    // req 9114-4.1-027, 9114-4.1.2-052
    fn head(&self, lines: Vec<FieldLine>) -> Result<Head<Response<()>>, StreamFault> {
        let response = decode_response(lines)?;
        let status = response.status();
        if status.is_informational() {
            return Ok(Head::Informational(response));
        }
        if self.method == Method::CONNECT && status.is_success() {
            return Ok(Head::Tunnel(response));
        }
        let to_head = self.method == Method::HEAD;
        let content = Content::of_response(response.headers(), status, to_head)?;
        Ok(Head::Message(response, content))
    }

    /// No MAX_PUSH_ID is ever sent, so every push ID is too large.
    // req 9114-7.2.5-186
    fn on_push_promise(&self) -> Violation {
        Violation::PushNotAllowed
    }

    fn incomplete(&self) -> Violation {
        Violation::NoFinalResponse
    }
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
