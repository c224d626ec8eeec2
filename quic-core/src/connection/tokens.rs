//! NEW_TOKEN: what lets a client skip address validation next time (RFC 9000 section 8.1.3).

use bytes::Bytes;

use super::Connection;
use crate::cid::Delivery;
use crate::config::MAX_TOKEN_LEN;
use crate::wire::Side;
use crate::wire::frame::NewToken;

/// Tokens that a server gives on one connection.
const MAX_SENT: usize = 16;
/// Tokens that a client takes on one connection; more are dropped.
const MAX_RECEIVED: usize = 8;

/// The tokens of a connection, in both directions; each side uses one.
#[derive(Debug, Default)]
pub(super) struct NewTokens {
    /// A server's owner should make some.
    requested: bool,
    /// In the order of their sending: none is ever taken out.
    sent: Vec<Sent>,
    /// In the order of their arrival: none is taken out, so that repetitions are recognised.
    received: Vec<Bytes>,
    /// So many of them were handed over.
    handed_over: usize,
}

#[derive(Debug)]
struct Sent {
    /// Empty once the client has it.
    token: Bytes,
    delivery: Delivery,
}

impl NewTokens {
    /// The address of the client is worth a token.
    pub(super) fn request(&mut self) {
        self.requested = true;
    }

    fn push(&mut self, token: Bytes) {
        debug_assert!(!token.is_empty());
        // req 9000-19.7-442
        if self.sent.len() < MAX_SENT && !token.is_empty() {
            self.sent.push(Sent { token, delivery: Delivery::Unsent });
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        self.sent.iter().any(|sent| sent.delivery.is_pending())
    }

    /// The next frame that should be sent and fits into `room`, and its number.
    pub(super) fn next_frame(&mut self, room: usize) -> Option<(u8, NewToken<'_>)> {
        let fits = |sent: &Sent| NewToken { token: &sent.token }.size() <= room;
        let next = self.sent.iter().position(|sent| sent.delivery.is_pending() && fits(sent))?;
        let sent = self.sent.get_mut(next)?;
        sent.delivery.on_sent();
        Some((u8::try_from(next).ok()?, NewToken { token: &sent.token }))
    }

    pub(super) fn on_acked(&mut self, index: u8) {
        if let Some(sent) = self.sent.get_mut(usize::from(index)) {
            *sent = Sent { token: Bytes::new(), delivery: Delivery::Acknowledged };
        }
    }

    pub(super) fn on_lost(&mut self, index: u8) {
        if let Some(sent) = self.sent.get_mut(usize::from(index)) {
            sent.delivery.on_lost();
        }
    }

    /// The server gave a token, perhaps again: its packet may have been taken for lost. One that
    /// could not be used is not kept.
    pub(super) fn on_received(&mut self, token: &[u8]) {
        let is_known = self.received.iter().any(|known| known == token);
        if self.received.len() < MAX_RECEIVED && token.len() <= MAX_TOKEN_LEN && !is_known {
            self.received.push(Bytes::copy_from_slice(token));
        }
    }
}

impl Connection {
    /// True once for each time that a server wants tokens to give to the client: hand them to
    /// [`Connection::give_token`].
    pub fn take_token_request(&mut self) -> bool {
        std::mem::take(&mut self.tokens.requested)
    }

    /// Gives the client a token for a later connection, which it gets in a NEW_TOKEN frame. Beyond
    /// 16 on one connection they are dropped. A client has none to give.
    // req 9000-19.7-444
    pub fn give_token(&mut self, token: Bytes) {
        if self.side == Side::Server {
            self.tokens.push(token);
        }
    }

    /// The next token that the server gave for a later connection.
    pub fn poll_token(&mut self) -> Option<Bytes> {
        let token = self.tokens.received.get(self.tokens.handed_over)?;
        self.tokens.handed_over += 1;
        Some(token.clone())
    }
}
