//! What can be wrong with what a peer sends, and how far the damage reaches.
//!
//! Every rule a peer can break is one unit variant of [`Violation`]; one table gives each its wire
//! code and its sentence. How far a fault reaches is a type: a [`ConnectionFault`] ends the
//! connection, a [`StreamFault`] ends one request (RFC 9114 section 8).

use std::fmt;

use http::StatusCode;

use super::varint;

/// An HTTP/3 or QPACK error code as it travels in QUIC frames (RFC 9114 section 8.1, RFC 9204
/// section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $wire:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The registered name, if this is a registered code.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($wire),)*
                    _ => None,
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// Nothing is wrong; used when something has to carry a code.
    NO_ERROR = 0x100, "H3_NO_ERROR";
    /// The peer broke the protocol in a way no other code names.
    GENERAL_PROTOCOL_ERROR = 0x101, "H3_GENERAL_PROTOCOL_ERROR";
    /// Something failed inside this endpoint.
    INTERNAL_ERROR = 0x102, "H3_INTERNAL_ERROR";
    /// The peer created a stream that will not be accepted.
    STREAM_CREATION_ERROR = 0x103, "H3_STREAM_CREATION_ERROR";
    /// A stream the connection cannot live without was closed.
    CLOSED_CRITICAL_STREAM = 0x104, "H3_CLOSED_CRITICAL_STREAM";
    /// A frame arrived where or when it is not allowed.
    FRAME_UNEXPECTED = 0x105, "H3_FRAME_UNEXPECTED";
    /// A frame breaks its own layout, or has a length it cannot have.
    FRAME_ERROR = 0x106, "H3_FRAME_ERROR";
    /// The peer behaves in a way that only makes work.
    EXCESSIVE_LOAD = 0x107, "H3_EXCESSIVE_LOAD";
    /// A stream or push identifier was used wrongly.
    ID_ERROR = 0x108, "H3_ID_ERROR";
    /// The payload of a SETTINGS frame is wrong.
    SETTINGS_ERROR = 0x109, "H3_SETTINGS_ERROR";
    /// The control stream does not begin with SETTINGS.
    MISSING_SETTINGS = 0x10a, "H3_MISSING_SETTINGS";
    /// The server did not process the request; it may be sent again elsewhere.
    REQUEST_REJECTED = 0x10b, "H3_REQUEST_REJECTED";
    /// The request, or its response, is no longer wanted.
    REQUEST_CANCELLED = 0x10c, "H3_REQUEST_CANCELLED";
    /// The client's stream ended before the request was whole.
    REQUEST_INCOMPLETE = 0x10d, "H3_REQUEST_INCOMPLETE";
    /// The HTTP message is malformed.
    MESSAGE_ERROR = 0x10e, "H3_MESSAGE_ERROR";
    /// The connection behind a CONNECT tunnel failed.
    CONNECT_ERROR = 0x10f, "H3_CONNECT_ERROR";
    /// The request cannot be served over HTTP/3; use HTTP/1.1.
    VERSION_FALLBACK = 0x110, "H3_VERSION_FALLBACK";
    /// A field section could not be decoded.
    QPACK_DECOMPRESSION_FAILED = 0x200, "QPACK_DECOMPRESSION_FAILED";
    /// An instruction on the encoder stream is wrong.
    QPACK_ENCODER_STREAM_ERROR = 0x201, "QPACK_ENCODER_STREAM_ERROR";
    /// An instruction on the decoder stream is wrong.
    QPACK_DECODER_STREAM_ERROR = 0x202, "QPACK_DECODER_STREAM_ERROR";
}

impl Code {
    /// What a received code means to us: one that is not known reads as [`Code::NO_ERROR`].
    // req 9114-8-206
    pub fn from_peer(value: u64) -> Self {
        let code = Self(value);
        if code.name().is_some() { code } else { Self::NO_ERROR }
    }

    /// A code of the range that receivers must read as [`Code::NO_ERROR`], chosen by `seed`. Using
    /// one now and then instead of `NO_ERROR` keeps peers honest (RFC 9114 section 8.1).
    pub fn reserved(seed: u64) -> Self {
        Self(varint::reserved(seed))
    }

    /// The number on the wire.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

macro_rules! violations {
    ($($name:ident => $code:ident, $sentence:literal;)*) => {
        /// A rule the peer broke. The variant's documentation is the sentence it prints.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Violation {
            $(#[doc = $sentence] $name,)*
        }

        impl Violation {
            const fn row(self) -> (Code, &'static str) {
                match self {
                    $(Self::$name => (Code::$code, $sentence),)*
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

violations! {
    // Frames
    FrameTruncated => FRAME_ERROR, "the stream ended inside a frame";
    FramePayloadLength => FRAME_ERROR, "the length of the frame does not fit the fields in it";
    Http2FrameType => FRAME_UNEXPECTED, "the frame type belongs to HTTP/2 and is reserved";
    FrameOnControlStream => FRAME_UNEXPECTED, "the frame is not allowed on the control stream";
    FrameOnRequestStream => FRAME_UNEXPECTED, "the frame is not allowed on a request stream";
    SecondSettings => FRAME_UNEXPECTED, "SETTINGS arrived a second time";
    MaxPushIdFromServer => FRAME_UNEXPECTED, "a server sent MAX_PUSH_ID";
    PushPromiseFromClient => FRAME_UNEXPECTED, "a client sent PUSH_PROMISE";
    DataBeforeHeaders => FRAME_UNEXPECTED, "DATA arrived before the header section";
    FrameAfterTrailers => FRAME_UNEXPECTED, "HEADERS or DATA arrived after the trailer section";
    FrameInTunnel => FRAME_UNEXPECTED, "a CONNECT tunnel carries nothing but DATA";

    // The connection
    MissingSettings => MISSING_SETTINGS, "the control stream does not begin with SETTINGS";
    DuplicateSetting => SETTINGS_ERROR, "a setting occurs twice";
    Http2Setting => SETTINGS_ERROR, "the setting belongs to HTTP/2 and is reserved";
    SettingsReduced => SETTINGS_ERROR, "SETTINGS take back what early data relied on";
    DuplicateCriticalStream => STREAM_CREATION_ERROR, "a second stream of a type that exists once";
    ServerOpenedBidirectional => STREAM_CREATION_ERROR, "the server opened a bidirectional stream";
    PushStreamFromClient => STREAM_CREATION_ERROR, "a client opened a push stream";
    CriticalStreamClosed => CLOSED_CRITICAL_STREAM, "a critical stream was closed";
    PushNotAllowed => ID_ERROR, "a push ID was used that the client never allowed";
    UnknownPushId => ID_ERROR, "CANCEL_PUSH names a push that was never promised";
    MaxPushIdReduced => ID_ERROR, "MAX_PUSH_ID went down";
    GoawayIncreased => ID_ERROR, "the identifier in GOAWAY went up";
    GoawayNotARequest => ID_ERROR, "GOAWAY from a server names a stream that is no request";

    // Floods
    TooManyIdleFrames => EXCESSIVE_LOAD, "too many frames that carry nothing";
    TooManyUntypedStreams => EXCESSIVE_LOAD, "too many streams that do not say what they are";
    ControlFrameTooLarge => EXCESSIVE_LOAD, "a frame on the control stream is too large";

    // QPACK
    SectionTruncated => QPACK_DECOMPRESSION_FAILED, "the encoded field section ends too early";
    DynamicReference => QPACK_DECOMPRESSION_FAILED, "a reference to a dynamic table that has no room";
    NegativeBase => QPACK_DECOMPRESSION_FAILED, "the Base of the field section is negative";
    StaticIndex => QPACK_DECOMPRESSION_FAILED, "the static table has no such entry";
    HuffmanCoding => QPACK_DECOMPRESSION_FAILED, "a string is not valid Huffman code";
    IntegerTooLarge => QPACK_DECOMPRESSION_FAILED, "an integer is larger than can be decoded";
    StringTooLong => QPACK_DECOMPRESSION_FAILED, "a string is longer than can be decoded";
    CapacityOverLimit => QPACK_ENCODER_STREAM_ERROR, "the dynamic table is set larger than allowed";
    InsertWithoutRoom => QPACK_ENCODER_STREAM_ERROR, "an insertion into a dynamic table without room";
    EncoderInteger => QPACK_ENCODER_STREAM_ERROR, "an integer is larger than can be decoded";
    NothingToAcknowledge => QPACK_DECODER_STREAM_ERROR, "an acknowledgement of a section that needs none";
    CapacityNotKept => QPACK_DECODER_STREAM_ERROR, "the table capacity differs from what early data relied on";
    IncrementBeyondInserts => QPACK_DECODER_STREAM_ERROR, "the insert count exceeds what was inserted";
    DecoderInteger => QPACK_DECODER_STREAM_ERROR, "an integer is larger than can be decoded";

    // Messages
    FieldSectionTooLarge => MESSAGE_ERROR, "the field section is larger than the limit";
    TooManyFields => MESSAGE_ERROR, "the field section has too many fields";
    FieldName => MESSAGE_ERROR, "a field name has characters that are not allowed";
    FieldValue => MESSAGE_ERROR, "a field value has characters that are not allowed";
    ConnectionSpecificField => MESSAGE_ERROR, "a field that speaks about one HTTP/1.1 connection";
    TeNotTrailers => MESSAGE_ERROR, "the TE field asks for more than trailers";
    PseudoAfterField => MESSAGE_ERROR, "a pseudo-header field comes after a regular field";
    UnknownPseudo => MESSAGE_ERROR, "a pseudo-header field that is not defined here";
    DuplicatePseudo => MESSAGE_ERROR, "a pseudo-header field occurs twice";
    MissingPseudo => MESSAGE_ERROR, "a mandatory pseudo-header field is missing";
    PseudoInTrailers => MESSAGE_ERROR, "a pseudo-header field in the trailer section";
    Method => MESSAGE_ERROR, "the :method is not a method";
    Scheme => MESSAGE_ERROR, "the :scheme is not a URI scheme";
    Authority => MESSAGE_ERROR, "the :authority is empty, missing or not an authority";
    Path => MESSAGE_ERROR, "the :path is empty or not a path";
    HostMismatch => MESSAGE_ERROR, "Host and :authority differ, or Host occurs twice";
    ConnectTarget => MESSAGE_ERROR, "CONNECT takes :authority with a port, and no :scheme or :path";
    Status => MESSAGE_ERROR, "the :status is not a status code";
    SwitchingProtocols => MESSAGE_ERROR, "101 does not exist in HTTP/3";
    ContentLength => MESSAGE_ERROR, "the Content-Length is not one number";
    ContentLengthMismatch => MESSAGE_ERROR, "Content-Length and the length of the content differ";
    UnexpectedContent => MESSAGE_ERROR, "content in a message that has none";
    NoFinalResponse => MESSAGE_ERROR, "the stream ended without a final response";
    RequestIncomplete => REQUEST_INCOMPLETE, "the stream ended without a request";

    // What this endpoint refuses, without a rule being broken
    RequestAfterGoaway => REQUEST_REJECTED, "the request came after GOAWAY and was not processed";
    UnknownStreamType => STREAM_CREATION_ERROR, "the type of the unidirectional stream is not known";
}

impl Violation {
    /// The code to send.
    pub const fn code(self) -> Code {
        self.row().0
    }

    /// The status with which a server may answer before it ends the stream (RFC 9114 section
    /// 4.1.2); `None` where the fault leaves no request to answer.
    // req 9114-4.1.2-051
    pub fn status(self) -> Option<StatusCode> {
        match self {
            Self::FieldSectionTooLarge | Self::TooManyFields => {
                Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            other if other.code() == Code::MESSAGE_ERROR => Some(StatusCode::BAD_REQUEST),
            _ => None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// Ends the connection: close it with `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionFault {
    /// The code for CONNECTION_CLOSE.
    pub code: Code,
    /// The rule that was broken.
    pub reason: Violation,
}

/// Ends one request: reset and stop its stream with `code`, the connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFault {
    /// The code for RESET_STREAM and STOP_SENDING.
    pub code: Code,
    /// The rule that was broken.
    pub reason: Violation,
}

impl StreamFault {
    /// See [`Violation::status`].
    pub fn status(&self) -> Option<StatusCode> {
        self.reason.status()
    }
}

/// Either fate, where a request stream can meet both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Close the connection.
    Connection(ConnectionFault),
    /// End this stream only.
    Stream(StreamFault),
}

impl Fault {
    /// The rule that was broken.
    pub fn reason(&self) -> Violation {
        match self {
            Self::Connection(fault) => fault.reason,
            Self::Stream(fault) => fault.reason,
        }
    }
}

impl From<Violation> for ConnectionFault {
    fn from(reason: Violation) -> Self {
        Self { code: reason.code(), reason }
    }
}

impl From<Violation> for StreamFault {
    fn from(reason: Violation) -> Self {
        Self { code: reason.code(), reason }
    }
}

impl From<ConnectionFault> for Fault {
    fn from(fault: ConnectionFault) -> Self {
        Self::Connection(fault)
    }
}

impl From<StreamFault> for Fault {
    fn from(fault: StreamFault) -> Self {
        Self::Stream(fault)
    }
}

impl fmt::Display for ConnectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(fault) => write!(f, "connection error {fault}"),
            Self::Stream(fault) => write!(f, "stream error {fault}"),
        }
    }
}

impl std::error::Error for ConnectionFault {}
impl std::error::Error for StreamFault {}
impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9114-8-206
    #[test]
    fn unknown_and_reserved_codes_from_the_peer_read_as_no_error() {
        assert_eq!(Code::from_peer(0x10e), Code::MESSAGE_ERROR);
        assert_eq!(Code::from_peer(0x202), Code::QPACK_DECODER_STREAM_ERROR);
        assert_eq!(Code::from_peer(0), Code::NO_ERROR);
        assert_eq!(Code::from_peer(Code::reserved(77).value()), Code::NO_ERROR);
    }

    #[test]
    fn reserved_codes_have_the_reserved_form_for_any_seed() {
        for seed in [0, 1, 7, u64::MAX / 3, u64::MAX] {
            let value = Code::reserved(seed).value();
            assert_eq!((value - 0x21) % 0x1f, 0);
            assert!(value < 1 << 62);
        }
    }

    #[test]
    fn codes_have_the_registered_values() {
        let values: Vec<u64> = Code::ALL.iter().map(|code| code.value()).collect();
        let expected: Vec<u64> = (0x100..=0x110).chain(0x200..=0x202).collect();
        assert_eq!(values, expected);
        assert_eq!(Code::CONNECT_ERROR.to_string(), "H3_CONNECT_ERROR");
    }

    #[test]
    fn every_violation_has_a_sentence_of_its_own_within_its_code() {
        for (at, one) in Violation::ALL.iter().enumerate() {
            assert!(!one.to_string().is_empty());
            for other in &Violation::ALL[..at] {
                assert_ne!((one.code(), one.to_string()), (other.code(), other.to_string()));
            }
        }
    }

    // req-test 9114-4.1.2-051
    #[test]
    fn a_malformed_request_can_be_answered_and_a_broken_connection_cannot() {
        assert_eq!(Violation::Path.status(), Some(StatusCode::BAD_REQUEST));
        assert_eq!(
            Violation::FieldSectionTooLarge.status(),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        assert_eq!(Violation::FrameTruncated.status(), None);
        assert_eq!(Violation::RequestIncomplete.status(), None);
    }
}
