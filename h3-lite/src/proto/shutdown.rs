//! GOAWAY in both directions (RFC 9114 section 5.2): which requests still count.

use super::error::{ConnectionFault, Violation};
use super::id::{self, Side, StreamId};
use super::varint;

/// What each side has announced. Identifiers only ever go down.
#[derive(Debug)]
pub(super) struct Shutdown {
    side: Side,
    sent: Option<u64>,
    received: Option<u64>,
}

impl Shutdown {
    pub(super) fn new(side: Side) -> Self {
        Self { side, sent: None, received: None }
    }

    /// Takes the identifier of a GOAWAY frame, a push ID from a client. From a server it is the
    /// stream of the first request that will not be processed, which is returned.
    // req 9114-5.2-113, 9114-7.2.6-196
    pub(super) fn on_goaway(&mut self, id: u64) -> Result<Option<StreamId>, ConnectionFault> {
        let first_unprocessed = match self.side {
            Side::Client => Some(request(id)?),
            Side::Server => None,
        };
        if self.received.is_some_and(|before| id > before) {
            return Err(Violation::GoawayIncreased.into());
        }
        self.received = Some(id);
        Ok(first_unprocessed)
    }

    /// The identifier to announce: the wanted one, or what was announced before if that is lower.
    // req 9114-5.2-112
    pub(super) fn announce(&mut self, wanted: u64) -> u64 {
        let id = self.sent.map_or(wanted, |before| before.min(wanted));
        self.sent = Some(id);
        id
    }

    /// The identifier that announces a shutdown without naming the last request yet.
    pub(super) fn notice(&self) -> u64 {
        match self.side {
            Side::Client => varint::MAX,
            Side::Server => varint::MAX - 3,
        }
    }

    // req 9114-5.2-108
    pub(super) fn may_open_requests(&self) -> bool {
        self.received.is_none()
    }

    /// Whether the server said that it will not process the request on `id`.
    pub(super) fn is_unprocessed(&self, id: StreamId) -> bool {
        self.side == Side::Client && self.received.is_some_and(|limit| u64::from(id) >= limit)
    }

    /// Whether we said that we will not process the request on `id`.
    // req 9114-5.2-106, 9114-5.2-107
    pub(super) fn refuses(&self, id: StreamId) -> bool {
        self.side == Side::Server && self.sent.is_some_and(|limit| u64::from(id) >= limit)
    }
}

fn request(id: u64) -> Result<StreamId, ConnectionFault> {
    let stream = StreamId::from_u64(id).filter(|stream| id::is_request(*stream));
    stream.ok_or(Violation::GoawayNotARequest.into())
}
