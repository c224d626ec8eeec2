//! What concerns an HTTP/3 connection as a whole (RFC 9114 sections 5 and 6): the unidirectional
//! streams of the peer, settings, and shutdown. Requests have their own machines, in
//! [`receive`](super::receive) and [`send`](super::send).

use bytes::{Bytes, BytesMut};

use super::budget::Budget;
use super::control::{ControlEvent, ControlStream};
use super::error::{Code, ConnectionFault, StreamFault, Violation};
use super::frame;
use super::id::{Side, StreamId};
use super::settings::Settings;
use super::shutdown::Shutdown;
use super::varint::{self, Partial};
use crate::qpack::decoder::SectionLimits;
use crate::qpack::instructions::{DecoderStream, EncoderStream};

const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const QPACK_ENCODER: u64 = 0x02;
const QPACK_DECODER: u64 = 0x03;

/// Unidirectional streams that may be open without having said what they are. Stops a peer from
/// making us remember streams that never speak.
const MAX_UNTYPED_STREAMS: usize = 128;
/// Control frames, QPACK instructions and strange streams beyond what requests pay for. Stops
/// floods of GOAWAY, MAX_PUSH_ID, reserved frames and the like; a connection that now and then pads
/// its control stream never comes near it.
const IDLE_ITEMS: u32 = 10_000;
/// What each request pays back: a client may cancel its field section and pad its control stream.
const ITEMS_PER_REQUEST: u32 = 4;

/// What the caller has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer's settings arrived; they hold from now on.
    Settings(Settings),
    /// The server shuts down. Requests on `first_unprocessed` and later streams were not processed
    /// and can be sent again elsewhere; no new ones may be sent here.
    ServerGoesAway {
        /// The lowest stream the server will not process.
        first_unprocessed: StreamId,
    },
    /// The client takes no more pushes. None are ever sent, so nothing needs to happen.
    ClientGoesAway,
    /// Ask the peer to stop sending on this stream; nothing more of it needs to be reported.
    StopStream {
        /// The stream.
        id: StreamId,
        /// The code for STOP_SENDING.
        code: Code,
    },
}

/// A unidirectional stream of the peer.
#[derive(Debug)]
enum UniStream {
    Untyped(Partial),
    Control(ControlStream),
    QpackEncoder(EncoderStream),
    QpackDecoder(DecoderStream),
}

impl UniStream {
    /// Whether the connection cannot go on without the stream.
    fn is_critical(&self) -> bool {
        match self {
            Self::Untyped(_) => false,
            Self::Control(_) | Self::QpackEncoder(_) | Self::QpackDecoder(_) => true,
        }
    }
}

/// The state machine of one HTTP/3 connection.
///
/// Tell it every unidirectional stream the peer opens and what happens on it, and every request
/// stream; do what its [`Outcome`]s say. A [`ConnectionFault`] means: close the QUIC connection with
/// its code.
#[derive(Debug)]
pub struct Connection {
    side: Side,
    limits: SectionLimits,
    streams: Vec<(StreamId, UniStream)>,
    peer_settings: PeerSettings,
    shutdown: Shutdown,
    budget: Budget,
    /// One past the last request stream that was accepted (server).
    next_request: u64,
}

/// What the peer takes, and how we know.
#[derive(Debug)]
enum PeerSettings {
    /// Not arrived yet: the defaults hold.
    Default(Settings),
    /// Not arrived yet: early data keeps to those of an earlier connection.
    Remembered(Settings),
    Received(Settings),
}

impl Connection {
    /// A new connection. `limits` are what this endpoint accepts and announces.
    pub fn new(side: Side, limits: SectionLimits) -> Self {
        Self {
            side,
            limits,
            streams: Vec::new(),
            peer_settings: PeerSettings::Default(Settings::default()),
            shutdown: Shutdown::new(side),
            budget: Budget::new(IDLE_ITEMS),
            next_request: 0,
        }
    }

    /// A client that sends early data and must keep to the settings of the earlier connection.
    // req 9114-7.2.4.2-177
    pub fn resume(remembered: Settings, limits: SectionLimits) -> Self {
        let peer_settings = PeerSettings::Remembered(remembered);
        Self { peer_settings, ..Self::new(Side::Client, limits) }
    }

    /// The server did not take the early data, so what was remembered does not hold.
    pub fn early_data_rejected(&mut self) {
        if let PeerSettings::Remembered(_) = self.peer_settings {
            self.peer_settings = PeerSettings::Default(Settings::default());
        }
    }

    /// The first bytes of our control stream, which is to be opened before anything is received and
    /// never to be closed: its type and our SETTINGS. `seed` picks the reserved setting. Our QPACK
    /// streams need not exist, since there is no dynamic table.
    // req 9114-7.2.4-162, 9114-3.2-012, 9114-6.2.1-132, 9114-7.2.4.2-174, 9204-4.2-027, 9204-4.2-028
    // req 9114-7.2.4-164
    pub fn control_stream_preface(&self, seed: u64) -> Bytes {
        let mut out = BytesMut::new();
        varint::put(CONTROL, &mut out);
        self.settings().encode(seed, &mut out);
        out.freeze()
    }

    /// What this endpoint tells its peer in SETTINGS.
    pub fn settings(&self) -> Settings {
        Settings { max_field_section_size: Some(self.limits.max_size), ..Settings::default() }
    }

    /// What this endpoint accepts: for the receivers of its request streams.
    pub fn limits(&self) -> SectionLimits {
        self.limits
    }

    /// The settings to keep to when sending: the peer's, or what is assumed until they arrive.
    // req 9114-7.2.4.2-173, 9114-7.2.4.2-178
    pub fn peer_settings(&self) -> &Settings {
        match &self.peer_settings {
            PeerSettings::Default(settings)
            | PeerSettings::Remembered(settings)
            | PeerSettings::Received(settings) => settings,
        }
    }

    /// The peer opened a unidirectional stream.
    pub fn uni_stream_opened(&mut self, id: StreamId) -> Result<(), ConnectionFault> {
        let untyped = self.streams.iter().filter(|(_, stream)| !stream.is_critical()).count();
        if untyped >= MAX_UNTYPED_STREAMS {
            return Err(Violation::TooManyUntypedStreams.into());
        }
        self.streams.push((id, UniStream::Untyped(Partial::default())));
        Ok(())
    }

    /// Bytes arrived on a unidirectional stream of the peer; bytes of a stream that was not opened,
    /// or is to be stopped, are ignored.
    // req 9114-6.2-128
    pub fn uni_stream_data(
        &mut self,
        id: StreamId,
        mut chunk: Bytes,
    ) -> Result<Vec<Outcome>, ConnectionFault> {
        let mut outcomes = Vec::new();
        let Some(at) = self.streams.iter().position(|(open, _)| *open == id) else {
            return Ok(outcomes);
        };
        let (_, mut stream) = self.streams.swap_remove(at);
        if let UniStream::Untyped(partial) = &mut stream
            && let Some(kind) = partial.read(&mut chunk)
        {
            let Some(typed) = self.typed(kind)? else {
                let code = Violation::UnknownStreamType.code();
                outcomes.push(Outcome::StopStream { id, code });
                return Ok(outcomes);
            };
            stream = typed;
        }
        self.read(&mut stream, chunk, &mut outcomes)?;
        self.streams.push((id, stream));
        Ok(outcomes)
    }

    /// A unidirectional stream of the peer ended, cleanly or by a reset; its bytes before that have
    /// been reported.
    // req 9114-6.2.1-136, 9204-4.2-026, 9114-6.2-131
    pub fn uni_stream_closed(&mut self, id: StreamId) -> Result<(), ConnectionFault> {
        let Some(at) = self.streams.iter().position(|(open, _)| *open == id) else {
            return Ok(());
        };
        let (_, stream) = self.streams.swap_remove(at);
        if stream.is_critical() { Err(Violation::CriticalStreamClosed.into()) } else { Ok(()) }
    }

    /// The peer asked us to stop sending on our control stream: it may not.
    // req 9114-6.2.1-136
    pub fn own_control_stream_stopped(&self) -> ConnectionFault {
        Violation::CriticalStreamClosed.into()
    }

    /// The peer opened a bidirectional stream.
    ///
    /// On a server the stream is a request to process, or to refuse with the code of the inner
    /// [`StreamFault`] if it came after GOAWAY. On a client it ends the connection.
    // req 9114-6.1-121, 9114-4.1.1-040
    pub fn bidi_stream_opened(
        &mut self,
        id: StreamId,
    ) -> Result<Result<(), StreamFault>, ConnectionFault> {
        if self.side == Side::Client {
            return Err(Violation::ServerOpenedBidirectional.into());
        }
        self.budget.earn(ITEMS_PER_REQUEST);
        if self.shutdown.refuses(id) {
            return Ok(Err(Violation::RequestAfterGoaway.into()));
        }
        self.next_request = self.next_request.max(u64::from(id).saturating_add(4));
        Ok(Ok(()))
    }

    /// A client sent a request.
    pub fn request_sent(&mut self) {
        self.budget.earn(ITEMS_PER_REQUEST);
    }

    /// Whether a client may send a new request: not after GOAWAY.
    pub fn may_send_request(&self) -> bool {
        self.shutdown.may_open_requests()
    }

    /// Whether the server said that it did not process the request on `id`, so that any request may
    /// be sent again elsewhere. If false, the request might have been processed.
    // req 9114-5.4-118
    pub fn may_retry(&self, id: StreamId) -> bool {
        self.shutdown.is_unprocessed(id)
    }

    /// The GOAWAY frame that announces a shutdown without refusing anything yet, for the control
    /// stream. A server sends it at least a round trip before [`Connection::goaway`], so that
    /// requests on their way are not lost.
    pub fn shutdown_notice(&mut self) -> Bytes {
        let id = self.shutdown.notice();
        frame::goaway(self.shutdown.announce(id))
    }

    /// The GOAWAY frame that ends the acceptance of requests (server) or pushes (client), for the
    /// control stream: a server processes what it has accepted so far, and nothing later.
    // req 9114-5.2-112
    pub fn goaway(&mut self) -> Bytes {
        frame::goaway(self.shutdown.announce(self.next_request))
    }

    /// What a stream of type `kind` is to us; `None` if its type is not known.
    // req 9114-6.2-125, 9114-6.2-126, 9114-6.2-127, 9114-6.2.3-143, 9114-9-209, 9204-4.2-029
    // req 9204-4.2-025
    fn typed(&mut self, kind: u64) -> Result<Option<UniStream>, ConnectionFault> {
        match kind {
            CONTROL => {
                self.only_one(|stream| matches!(stream, UniStream::Control(_)))?;
                Ok(Some(UniStream::Control(ControlStream::new())))
            }
            QPACK_ENCODER => {
                self.only_one(|stream| matches!(stream, UniStream::QpackEncoder(_)))?;
                Ok(Some(UniStream::QpackEncoder(EncoderStream::default())))
            }
            QPACK_DECODER => {
                self.only_one(|stream| matches!(stream, UniStream::QpackDecoder(_)))?;
                Ok(Some(UniStream::QpackDecoder(DecoderStream::default())))
            }
            PUSH => Err(self.push_stream()),
            _ => self.budget.spend().map(|()| None),
        }
    }

    // req 9114-6.2.1-134, 9204-4.2-024
    fn only_one(&self, is_same: fn(&UniStream) -> bool) -> Result<(), ConnectionFault> {
        match self.streams.iter().any(|(_, stream)| is_same(stream)) {
            true => Err(Violation::DuplicateCriticalStream.into()),
            false => Ok(()),
        }
    }

    // req 9114-6.2.2-138, 9114-4.6-089
    fn push_stream(&self) -> ConnectionFault {
        match self.side {
            Side::Server => Violation::PushStreamFromClient.into(),
            Side::Client => Violation::PushNotAllowed.into(),
        }
    }

    fn read(
        &mut self,
        stream: &mut UniStream,
        mut chunk: Bytes,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), ConnectionFault> {
        match stream {
            UniStream::Untyped(_) => Ok(()),
            UniStream::QpackEncoder(encoder) => self.budget.spend_many(encoder.read(&chunk)?),
            UniStream::QpackDecoder(decoder) => self.budget.spend_many(decoder.read(&chunk)?),
            UniStream::Control(control) => {
                while let Some(event) = control.next(self.side, &mut chunk, &mut self.budget)? {
                    outcomes.push(self.on_control(event)?);
                }
                Ok(())
            }
        }
    }

    fn on_control(&mut self, event: ControlEvent) -> Result<Outcome, ConnectionFault> {
        match event {
            ControlEvent::Settings(settings) => {
                if let PeerSettings::Remembered(remembered) = &self.peer_settings {
                    settings.check_resumed(remembered)?;
                }
                self.peer_settings = PeerSettings::Received(settings.clone());
                Ok(Outcome::Settings(settings))
            }
            ControlEvent::Goaway(id) => Ok(match self.shutdown.on_goaway(id)? {
                Some(first_unprocessed) => Outcome::ServerGoesAway { first_unprocessed },
                None => Outcome::ClientGoesAway,
            }),
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
