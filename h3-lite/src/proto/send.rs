//! The sending half of a request stream: the order in which a message may be sent, and the frames
//! around it (RFC 9114 section 4.1).

use bytes::Bytes;
use http::{HeaderMap, Method, request, response};

use super::frame;
use super::message::{Content, EncodeError, encode_request, encode_response, encode_trailers};

/// A call out of order, or a message that HTTP/3 cannot carry. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The message cannot be encoded.
    Encode(EncodeError),
    /// The header section was sent before.
    HeadersSent,
    /// Content or trailers before the header section, or a stream that ends without one.
    NoHeaders,
    /// The trailer section was sent, or the message is over.
    MessageOver,
    /// A tunnel has no trailers.
    Tunnel,
    /// The content is shorter or longer than its Content-Length.
    ContentLength,
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::HeadersSent => f.write_str("the header section was sent before"),
            Self::NoHeaders => f.write_str("the header section was not sent yet"),
            Self::MessageOver => f.write_str("the message is over"),
            Self::Tunnel => f.write_str("a tunnel has no trailers"),
            Self::ContentLength => f.write_str("the content does not fit its Content-Length"),
        }
    }
}

impl std::error::Error for SendError {}

/// Orders one outgoing message. Every method returns the bytes to write next.
#[derive(Debug, Default)]
pub struct MessageSender {
    phase: Phase,
    /// What the receiver said it takes, in bytes; `None` is no limit.
    max_field_section_size: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Head,
    Body(Content),
    Tunnel,
    Over,
}

impl MessageSender {
    /// A sender towards a peer with this setting (`Settings::max_field_section_size`).
    // req 9114-7.2.4.2-172
    pub fn new(max_field_section_size: Option<u64>) -> Self {
        Self { phase: Phase::Head, max_field_section_size }
    }

    /// The HEADERS frame of a request.
    // req 9114-4.1-020
    pub fn request(&mut self, head: &request::Parts) -> Result<Bytes, SendError> {
        self.expect_head()?;
        let section = encode_request(head, self.max_field_section_size)?;
        self.phase = if head.method == Method::CONNECT {
            Phase::Tunnel
        } else {
            Phase::Body(declared(&head.headers)?)
        };
        Ok(frame::headers(&section))
    }

    /// The HEADERS frame of a response to a request with `method`; an interim one (1xx) leaves the
    /// final response to come.
    // req 9114-4.1-027
    pub fn response(
        &mut self,
        head: &response::Parts,
        method: &Method,
    ) -> Result<Bytes, SendError> {
        self.expect_head()?;
        let section = encode_response(head, self.max_field_section_size)?;
        if head.status.is_informational() {
            return Ok(frame::headers(&section));
        }
        self.phase = if *method == Method::CONNECT && head.status.is_success() {
            Phase::Tunnel
        } else {
            let to_head = *method == Method::HEAD;
            let content = Content::of_response(&head.headers, head.status, to_head);
            Phase::Body(content.map_err(|_| SendError::ContentLength)?)
        };
        Ok(frame::headers(&section))
    }

    /// What goes before `length` bytes of content. Empty content needs no frame: for a length of
    /// zero, nothing is to be written.
    // req 9114-7.2.1-150
    pub fn data(&mut self, length: u64) -> Result<Bytes, SendError> {
        match &mut self.phase {
            Phase::Head => return Err(SendError::NoHeaders),
            Phase::Over => return Err(SendError::MessageOver),
            Phase::Body(content) => content.take(length).map_err(|_| SendError::ContentLength)?,
            Phase::Tunnel => {}
        }
        Ok(if length == 0 { Bytes::new() } else { frame::data_header(length) })
    }

    /// The HEADERS frame of the trailer section, after which the stream is to be finished.
    pub fn trailers(&mut self, trailers: &HeaderMap) -> Result<Bytes, SendError> {
        match self.phase {
            Phase::Head => return Err(SendError::NoHeaders),
            Phase::Over => return Err(SendError::MessageOver),
            Phase::Tunnel => return Err(SendError::Tunnel),
            Phase::Body(content) => content.finish().map_err(|_| SendError::ContentLength)?,
        }
        let section = encode_trailers(trailers, self.max_field_section_size)?;
        self.phase = Phase::Over;
        Ok(frame::headers(&section))
    }

    /// Call before finishing the stream. After an error it must be reset instead, so that a short
    /// message does not look whole.
    pub fn finish(&mut self) -> Result<(), SendError> {
        match self.phase {
            Phase::Head => return Err(SendError::NoHeaders),
            Phase::Body(content) => content.finish().map_err(|_| SendError::ContentLength)?,
            Phase::Tunnel | Phase::Over => {}
        }
        self.phase = Phase::Over;
        Ok(())
    }

    fn expect_head(&self) -> Result<(), SendError> {
        match self.phase {
            Phase::Head => Ok(()),
            Phase::Body(_) | Phase::Tunnel | Phase::Over => Err(SendError::HeadersSent),
        }
    }
}

fn declared(headers: &HeaderMap) -> Result<Content, SendError> {
    Content::declared(headers).map_err(|_| SendError::ContentLength)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, Response};

    use super::*;
    use crate::proto::receive::{Event, RequestReceiver, ResponseReceiver};
    use crate::qpack::decoder::SectionLimits;

    fn post(length: &str) -> request::Parts {
        let request = Request::post("https://a.example/").header("content-length", length);
        request.body(()).unwrap().into_parts().0
    }

    fn response(status: u16) -> response::Parts {
        Response::builder().status(status).body(()).unwrap().into_parts().0
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))])
    }

    // req-test 9114-7.2.4-164
    #[test]
    fn what_is_sent_is_received() {
        let mut sender = MessageSender::new(None);
        let mut receiver = RequestReceiver::new(SectionLimits::default());
        receiver.feed(sender.request(&post("3")).unwrap());
        receiver.feed(sender.data(3).unwrap());
        receiver.feed(Bytes::from_static(b"abc"));
        receiver.feed(sender.data(0).unwrap());
        receiver.feed(sender.trailers(&trailers()).unwrap());
        sender.finish().unwrap();
        receiver.finish();
        assert!(matches!(receiver.next(), Ok(Some(Event::Headers(r))) if r.method() == "POST"));
        assert!(matches!(receiver.next(), Ok(Some(Event::Data(data))) if data == "abc"));
        assert!(matches!(receiver.next(), Ok(Some(Event::Trailers(map))) if map == trailers()));
        assert!(matches!(receiver.next(), Ok(Some(Event::End))));
        assert!(matches!(receiver.next(), Ok(None)));
    }

    // req-test 9114-4.1-027
    #[test]
    fn interim_responses_may_precede_the_final_one() {
        let mut sender = MessageSender::new(None);
        let mut receiver = ResponseReceiver::new(Method::GET, SectionLimits::default());
        for status in [103, 200] {
            receiver.feed(sender.response(&response(status), &Method::GET).unwrap());
        }
        assert_eq!(sender.response(&response(200), &Method::GET), Err(SendError::HeadersSent));
        assert!(matches!(receiver.next(), Ok(Some(Event::Informational(_)))));
        assert!(matches!(receiver.next(), Ok(Some(Event::Headers(_)))));
    }

    // req-test 9114-4.1-020, 9114-7.2.1-150
    #[test]
    fn the_order_of_a_message_is_kept() {
        let mut sender = MessageSender::new(None);
        assert_eq!(sender.data(1), Err(SendError::NoHeaders));
        assert_eq!(sender.trailers(&trailers()), Err(SendError::NoHeaders));
        assert_eq!(sender.finish(), Err(SendError::NoHeaders));
        sender.request(&post("0")).unwrap();
        assert_eq!(sender.request(&post("0")), Err(SendError::HeadersSent));
        sender.trailers(&trailers()).unwrap();
        assert_eq!(sender.data(1), Err(SendError::MessageOver));
        assert_eq!(sender.trailers(&trailers()), Err(SendError::MessageOver));
    }

    #[test]
    fn a_message_that_breaks_its_content_length_is_not_finished() {
        let mut sender = MessageSender::new(None);
        sender.request(&post("3")).unwrap();
        assert_eq!(sender.data(4), Err(SendError::ContentLength));
        sender.data(2).unwrap();
        assert_eq!(sender.finish(), Err(SendError::ContentLength));
        assert_eq!(sender.trailers(&trailers()), Err(SendError::ContentLength));
    }

    #[test]
    fn a_tunnel_takes_any_content_and_no_trailers() {
        let mut sender = MessageSender::new(None);
        sender.response(&response(200), &Method::CONNECT).unwrap();
        sender.data(100).unwrap();
        assert_eq!(sender.trailers(&trailers()), Err(SendError::Tunnel));
        assert_eq!(sender.finish(), Ok(()));
    }

    // req-test 9114-7.2.4.2-172
    #[test]
    fn the_limit_of_the_peer_is_kept_and_the_message_can_be_tried_again() {
        let mut sender = MessageSender::new(Some(42));
        let mut large = response(200);
        large.headers.insert("x", HeaderValue::from_static("y"));
        let error = SendError::Encode(EncodeError::TooLargeForPeer);
        assert_eq!(sender.response(&large, &Method::GET), Err(error));
        assert!(sender.response(&response(431), &Method::GET).is_ok());
    }
}
