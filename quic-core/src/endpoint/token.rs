//! Address-validation tokens: what is in them, which are good, which were used (RFC 9000 section
//! 8.1).
//!
//! A token is sealed, and nobody but the server reads it. Inside are its kind, the version, the
//! time of issue and the address of the client; in the token of a Retry packet also the port and
//! both connection IDs that the transport parameters must name. So the server need not remember
//! whom it has given a token. It does remember, within bounds, which tokens for later connections
//! were used.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::AddressValidation;
use crate::crypto::{TokenId, TokenKey};
use crate::wire::cursor::{Reader, UnexpectedEnd, Writer};
use crate::wire::{ConnectionId, Version};

/// The clocks of servers that share a key may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// So many used tokens are remembered. When there are more, the oldest is forgotten, and with it
/// everything that was issued before it is refused: rather a client too many that must prove its
/// address than a token accepted twice.
const MAX_SPENT: usize = 1 << 16;
/// Kind, version, time, address, port, two connection IDs with their lengths.
const MAX_CONTENT: usize = 1 + 4 + 8 + 16 + 2 + 2 * (1 + ConnectionId::MAX_LEN);

const KIND_RETRY: u8 = 1;
const KIND_NEW: u8 = 2;

/// Why a token was of no use. The client is treated as if it had sent none, unless the token is one
/// of a Retry packet: such a client cannot be asked again, and is told INVALID_TOKEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It does not open: forged, damaged, or of another server.
    Unreadable,
    /// It is too old, or from the future.
    Expired,
    /// It was given to a client at another address.
    OtherAddress,
    /// It was given out for another version, or for a packet to another connection ID.
    OtherConnection,
    /// It was used before, or might have been.
    Replayed,
}

/// What became of the tokens of clients that wanted to connect, in numbers of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStats {
    /// Valid tokens of Retry packets.
    pub retry: u64,
    /// Valid tokens of earlier connections.
    pub earlier: u64,
    /// Tokens that are not ours, or damaged.
    pub unreadable: u64,
    /// Tokens that are too old.
    pub expired: u64,
    /// Tokens of clients at other addresses.
    pub other_address: u64,
    /// Tokens for another version, or of a Retry packet for another connection attempt.
    pub other_connection: u64,
    /// Tokens that were used before.
    pub replayed: u64,
}

impl TokenStats {
    pub(super) fn count(&mut self, worth: Worth) {
        let counter = match worth {
            Worth::Absent => return,
            Worth::Retry { .. } => &mut self.retry,
            Worth::New(_) => &mut self.earlier,
            Worth::Useless(rejection) | Worth::RetryInvalid(rejection) => match rejection {
                Rejection::Unreadable => &mut self.unreadable,
                Rejection::Expired => &mut self.expired,
                Rejection::OtherAddress => &mut self.other_address,
                Rejection::OtherConnection => &mut self.other_connection,
                Rejection::Replayed => &mut self.replayed,
            },
        };
        *counter += 1;
    }
}

/// What the token of a client's first Initial packet is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// There is none.
    Absent,
    /// As good as none.
    Useless(Rejection),
    /// The client is back from a Retry, but must not get in.
    RetryInvalid(Rejection),
    /// The client is back from a Retry that answered a packet to `original_dcid`.
    Retry { original_dcid: ConnectionId },
    /// The client was here before. The token must be [spent](Tokens::spend).
    New(Unspent),
}

/// A token for a later connection that was not used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unspent {
    issued: u64,
    id: TokenId,
}

/// An Initial packet that begins a connection, as far as tokens are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub(super) remote: SocketAddr,
    pub(super) version: Version,
    pub(super) dcid: ConnectionId,
    pub(super) token: &'a [u8],
}

/// Makes and examines tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    /// For configurations that name none.
    own_key: TokenKey,
    clock: Clock,
    spent: Spent,
}

impl Tokens {
    pub(super) fn new(own_key: TokenKey) -> Self {
        Self { own_key, clock: Clock::default(), spent: Spent::default() }
    }

    /// At `now`, so much time has passed since 1970.
    pub(super) fn set_clock(&mut self, now: Instant, since_epoch: Duration) {
        self.clock.origin = Some((now, since_epoch));
    }

    /// The token for a Retry packet that answers `attempt` and names `retry_source` as the
    /// connection ID to send to. `id` must be random.
    // req 9000-8.1.1-122, 9000-8.1.4-144
    pub(super) fn for_retry(
        &mut self,
        now: Instant,
        config: &AddressValidation,
        attempt: &Attempt<'_>,
        retry_source: ConnectionId,
        id: TokenId,
    ) -> Vec<u8> {
        let origin =
            RetryOrigin { port: attempt.remote.port(), original_dcid: attempt.dcid, retry_source };
        let (version, ip) = (attempt.version, attempt.remote.ip());
        let issued = self.clock.millis(now);
        self.seal(config, id, &Content { version, issued, ip, retry: Some(origin) })
    }

    /// A token for a later connection of the client at `ip`. `id` must be random.
    // req 9000-8.1.1-122, 9000-8.1.3-131, 9000-8.1.4-145
    pub(super) fn for_later(
        &mut self,
        now: Instant,
        config: &AddressValidation,
        version: Version,
        ip: IpAddr,
        id: TokenId,
    ) -> Vec<u8> {
        let issued = self.clock.millis(now);
        self.seal(config, id, &Content { version, issued, ip, retry: None })
    }

    fn seal(&self, config: &AddressValidation, id: TokenId, content: &Content) -> Vec<u8> {
        let key = config.token_key().unwrap_or(&self.own_key);
        let mut buf = [0; MAX_CONTENT];
        let mut writer = Writer::new(&mut buf);
        content.encode(&mut writer);
        let len = writer.position();
        key.seal(id, buf.get(..len).unwrap_or_default())
    }

    /// Finds out what the token of `attempt` is worth.
    // req 9000-8.1.3-138, 9000-8.1.3-129, 9000-8.1.4-145, 9000-8.1.4-144, 9000-8.1.4-148
    pub(super) fn examine(
        &mut self,
        now: Instant,
        config: &AddressValidation,
        attempt: &Attempt<'_>,
    ) -> Worth {
        if attempt.token.is_empty() {
            return Worth::Absent;
        }
        let key = config.token_key().unwrap_or(&self.own_key);
        let Some((id, content)) = key.open(attempt.token) else {
            return Worth::Useless(Rejection::Unreadable);
        };
        let Ok(content) = Content::decode(&content) else {
            return Worth::Useless(Rejection::Unreadable);
        };
        let lifetime = match content.retry {
            Some(_) => config.lifetime_of_retry(),
            None => config.lifetime_of_tokens(),
        };
        let checked = self.clock.check(now, content.issued, lifetime);
        let checked = checked.and_then(|()| content.check(attempt));
        match (content.retry, checked) {
            (Some(_), Err(rejection)) => Worth::RetryInvalid(rejection),
            (Some(origin), Ok(())) => Worth::Retry { original_dcid: origin.original_dcid },
            (None, Err(rejection)) => Worth::Useless(rejection),
            (None, Ok(())) => {
                let unspent = Unspent { issued: content.issued, id };
                match self.spent.contains(&unspent) {
                    true => Worth::Useless(Rejection::Replayed),
                    false => Worth::New(unspent),
                }
            }
        }
    }

    /// The token was used and is not accepted again.
    // req 9000-8.1.4-147, 9000-8.1.4-149, 9000-21.3-484
    pub(super) fn spend(&mut self, now: Instant, config: &AddressValidation, unspent: Unspent) {
        let lifetime = millis(config.lifetime_of_tokens());
        let horizon = self.clock.millis(now).saturating_sub(lifetime);
        self.spent.insert(unspent, horizon);
    }
}

/// Time that means the same to servers that share a key.
#[derive(Debug, Default)]
struct Clock {
    /// A point in time in both counts. Without one, time begins with the first token.
    origin: Option<(Instant, Duration)>,
}

impl Clock {
    fn millis(&mut self, now: Instant) -> u64 {
        let (origin, since_epoch) = *self.origin.get_or_insert((now, Duration::ZERO));
        match now.checked_duration_since(origin) {
            Some(after) => millis(since_epoch + after),
            None => millis(since_epoch.saturating_sub(origin.saturating_duration_since(now))),
        }
    }

    fn check(&mut self, now: Instant, issued: u64, lifetime: Duration) -> Result<(), Rejection> {
        let now = self.millis(now);
        let from_the_future = issued > now.saturating_add(millis(CLOCK_SKEW));
        let too_old = now.saturating_sub(issued) > millis(lifetime);
        if from_the_future || too_old { Err(Rejection::Expired) } else { Ok(()) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The tokens that were used, by time of issue.
#[derive(Debug, Default)]
struct Spent {
    tokens: BTreeSet<(u64, TokenId)>,
    /// What was issued until then may have been forgotten, and counts as used.
    forgotten_until: Option<u64>,
}

impl Spent {
    fn contains(&self, token: &Unspent) -> bool {
        self.forgotten_until.is_some_and(|until| token.issued <= until)
            || self.tokens.contains(&(token.issued, token.id))
    }

    /// Remembers a token; those issued before `horizon` have expired and need not be remembered.
    fn insert(&mut self, token: Unspent, horizon: u64) {
        self.tokens.insert((token.issued, token.id));
        while self.tokens.first().is_some_and(|(issued, _)| *issued < horizon)
            || self.tokens.len() > MAX_SPENT
        {
            self.forgotten_until = self.tokens.pop_first().map(|(issued, _)| issued);
        }
    }
}

/// What is sealed in a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    version: Version,
    /// In milliseconds of the server's clock.
    issued: u64,
    ip: IpAddr,
    retry: Option<RetryOrigin>,
}

/// What the token of a Retry packet says beyond that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RetryOrigin {
    port: u16,
    original_dcid: ConnectionId,
    retry_source: ConnectionId,
}

impl Content {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(if self.retry.is_some() { KIND_RETRY } else { KIND_NEW });
        writer.u32(self.version.0);
        writer.bytes(&self.issued.to_be_bytes());
        writer.bytes(&octets(self.ip));
        if let Some(origin) = &self.retry {
            writer.u16(origin.port);
            for id in [origin.original_dcid, origin.retry_source] {
                writer.length_prefixed(id.as_slice());
            }
        }
    }

    fn decode(content: &[u8]) -> Result<Self, UnexpectedEnd> {
        let mut reader = Reader::new(content);
        let kind = reader.u8()?;
        let version = Version(reader.u32()?);
        let issued = u64::from_be_bytes(reader.array()?);
        let ip = IpAddr::from(reader.array::<16>()?).to_canonical();
        let retry = match kind {
            KIND_RETRY => Some(RetryOrigin {
                port: reader.u16()?,
                original_dcid: connection_id(&mut reader)?,
                retry_source: connection_id(&mut reader)?,
            }),
            _ => None,
        };
        Ok(Self { version, issued, ip, retry })
    }

    fn check(&self, attempt: &Attempt<'_>) -> Result<(), Rejection> {
        let same_port = self.retry.is_none_or(|origin| origin.port == attempt.remote.port());
        if self.ip != attempt.remote.ip().to_canonical() || !same_port {
            return Err(Rejection::OtherAddress);
        }
        let same_id = self.retry.is_none_or(|origin| origin.retry_source == attempt.dcid);
        if self.version != attempt.version || !same_id {
            return Err(Rejection::OtherConnection);
        }
        Ok(())
    }
}

fn connection_id(reader: &mut Reader<'_>) -> Result<ConnectionId, UnexpectedEnd> {
    ConnectionId::new(reader.length_prefixed()?).ok_or(UnexpectedEnd)
}

/// An address of either family; IPv4 in its form for IPv6.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests;
