//! Datagrams that no connection is known for (RFC 9000 section 5.2).

use std::time::Instant;

use super::Endpoint;
use super::connections::ConnectionHandle;
use super::incoming::{Arrival, Incoming};
use super::route::{Target, destination};
use super::stateless::{
    MIN_RESET, refusal, retry, stateless_reset, token_for, version_negotiation,
};
use super::token::{Attempt, Worth};
use crate::config::{RetryPolicy, ServerConfig};
use crate::crypto::{Keyring, OpenError};
use crate::error::{Discard, Violation};
use crate::path::{AddressProof, DatagramMeta, MIN_MAX_DATAGRAM};
use crate::wire::header::{Header, PartialHeader, RetryPacket, UnknownVersionHeader};
use crate::wire::{ConnectionId, PacketType, Side, Version};

/// The first connection ID that a client sends to has at least so many bytes (RFC 9000 section
/// 7.2), so that it cannot be guessed.
const MIN_INITIAL_DCID: usize = 8;

/// What to do about a client's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may wait to be accepted.
    Admit,
    /// It must prove its address first.
    AskForProof,
    /// It is told that it does not get in.
    Refuse(Violation),
}

impl Endpoint {
    /// A datagram whose connection ID leads nowhere.
    // req 9000-5.2.2-072, 9000-10.3.1-257
    pub(super) fn recv_from_stranger(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        datagram: &[u8],
    ) {
        if let Some(handle) = self.routes.find_reset(datagram, meta.remote) {
            return self.reset_by_peer(now, handle);
        }
        let greased =
            self.server.as_ref().is_some_and(|server| server.transport().grease_quic_bit());
        let cid_len = self.config.connection_ids().len();
        let header = match greased {
            true => Header::decode_any(datagram, cid_len),
            false => Header::decode(datagram, cid_len),
        };
        let outcome = match header {
            Ok(Header::Protected(header)) if !self.accepts_version(&header) => {
                let header = UnknownVersionHeader {
                    version: header.version,
                    dcid: header.dcid.as_slice(),
                    scid: header.scid.as_slice(),
                };
                self.negotiate_version(now, meta, &header, datagram.len())
            }
            Ok(Header::Protected(header)) => match header.kind {
                PacketType::Initial => self.on_first_initial(now, meta, &header, datagram),
                PacketType::OneRtt => self.answer_lost_connection(now, meta, datagram),
                PacketType::ZeroRtt => self.keep_early(now, meta, &header, datagram),
                // req 9000-5.2.2-071
                PacketType::Handshake | PacketType::Retry | PacketType::VersionNegotiation => {
                    Err(Discard::ConnectionIdUnknown)
                }
            },
            Ok(Header::UnknownVersion(header)) => {
                self.negotiate_version(now, meta, &header, datagram.len())
            }
            // req 9000-6.1-076
            Ok(Header::VersionNegotiation(_) | Header::Retry(_)) => {
                Err(Discard::ConnectionIdUnknown)
            }
            Err(discard) => Err(discard),
        };
        if let Err(discard) = outcome {
            self.drop_datagram(discard);
        }
    }

    /// True for what can begin a connection of a version that clients may have, and for what does
    /// not begin one.
    fn accepts_version(&self, header: &PartialHeader) -> bool {
        !matches!(header.kind, PacketType::Initial | PacketType::ZeroRtt)
            || self.config.supported_versions().contains(&header.version)
    }

    /// The peer has lost the connection, which is over therefore.
    // req 9000-10.3.1-260
    fn reset_by_peer(&mut self, now: Instant, handle: ConnectionHandle) {
        if let Some(entry) = self.connections.get_mut(handle) {
            entry.connection.on_stateless_reset(now);
            self.touch(handle);
        }
    }

    /// A client begins. Nothing is kept before its packet has turned out to be authentic, nor
    /// beyond the limits.
    fn on_first_initial(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        header: &PartialHeader,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let Some(server) = self.server.clone() else { return Err(Discard::NotAServer) };
        // req 9000-14.1-351
        if datagram.len() < usize::from(MIN_MAX_DATAGRAM) {
            return Err(Discard::InitialTooSmall);
        }
        if header.dcid.len() < MIN_INITIAL_DCID {
            return Err(Discard::InitialConnectionIdTooShort);
        }
        let token = datagram.get(header.token.clone()).unwrap_or_default();
        let (version, dcid) = (header.version, header.dcid);
        let attempt = Attempt { remote: meta.remote, version, dcid, token };
        let worth = self.tokens.examine(now, server.address_validation(), &attempt);
        let verdict = self.judge(&server, worth, datagram.len());
        if verdict != Verdict::Admit && !self.stateless.may_answer(now) {
            return Err(Discard::ServerBusy);
        }
        authenticate(now, header, datagram)?;
        self.stats.tokens.count(worth);
        match verdict {
            Verdict::Admit => {
                let (proof, original_dcid) = self.prove(now, &server, worth, dcid);
                let arrival = Arrival { version, dcid, scid: header.scid, proof, original_dcid };
                let id = self.incoming.insert(now, arrival, *meta, datagram);
                self.routes.insert(dcid, Target::Incoming(id));
                for (meta, datagram) in self.early.take(dcid, meta.remote) {
                    if !self.incoming.push(id, meta, &datagram) {
                        self.drop_datagram(Discard::BufferFull);
                    }
                }
                Ok(())
            }
            Verdict::AskForProof => {
                self.send_retry(now, &server, meta, version, [dcid, header.scid]);
                Ok(())
            }
            Verdict::Refuse(reason) => {
                self.send_refusal(meta, version, [dcid, header.scid], reason);
                Err(match reason {
                    Violation::TokenInvalid => Discard::TokenInvalid,
                    _ => Discard::ServerBusy,
                })
            }
        }
    }

    /// Decides about a client by what its token is worth and by how busy we are.
    // req 9000-8.1.2-124, 9000-8.1.3-139, 9000-8.1.3-140
    fn judge(&self, server: &ServerConfig, worth: Worth, len: usize) -> Verdict {
        let full = self.incoming.is_full(len)
            || self.connections.len() + self.incoming.len() >= self.config.max_connections();
        match worth {
            // It would not follow another Retry, and would wait in vain.
            Worth::RetryInvalid(_) => Verdict::Refuse(Violation::TokenInvalid),
            _ if full => Verdict::Refuse(Violation::ConnectionRefused),
            Worth::Absent | Worth::Useless(_) => match server.address_validation().retry_policy() {
                RetryPolicy::Always => Verdict::AskForProof,
                RetryPolicy::WhenBusy { half_open } if self.half_open() >= half_open => {
                    Verdict::AskForProof
                }
                RetryPolicy::WhenBusy { .. } | RetryPolicy::Never => Verdict::Admit,
            },
            Worth::Retry { .. } | Worth::New(_) => Verdict::Admit,
        }
    }

    /// Connections that have begun and are not complete.
    fn half_open(&self) -> usize {
        self.incoming.len() + self.connections.half_open()
    }

    /// What the token of an admitted client has proved, and what its first packet was sent to. Without
    /// proof the limit against amplification holds.
    // req 9000-8.1.4-146
    fn prove(
        &mut self,
        now: Instant,
        server: &ServerConfig,
        worth: Worth,
        dcid: ConnectionId,
    ) -> (AddressProof, ConnectionId) {
        match worth {
            Worth::Absent | Worth::Useless(_) | Worth::RetryInvalid(_) => {
                (AddressProof::None, dcid)
            }
            Worth::Retry { original_dcid } => (AddressProof::Retry, original_dcid),
            Worth::New(unspent) => {
                self.tokens.spend(now, server.address_validation(), unspent);
                (AddressProof::NewToken, dcid)
            }
        }
    }

    /// Asks a client to prove its address; nothing is kept about it. The caller has asked for leave
    /// to answer.
    // req 9000-17.2.5.1-401, 9000-17.2.5.1-404, 9000-17.2.5.1-405
    fn send_retry(
        &mut self,
        now: Instant,
        server: &ServerConfig,
        meta: &DatagramMeta,
        version: Version,
        [dcid, scid]: [ConnectionId; 2],
    ) {
        let mut ours = self.new_connection_id();
        while ours == dcid {
            ours = self.new_connection_id();
        }
        let attempt = Attempt { remote: meta.remote, version, dcid, token: &[] };
        let [unused] = self.rng.array();
        let (config, id) = (server.address_validation(), self.rng.array());
        let token = self.tokens.for_retry(now, config, &attempt, ours, id);
        let packet = RetryPacket { version, dcid: scid, scid: ours, token: &token, unused };
        self.stateless.push(meta, retry(&dcid, &packet));
        self.stats.retries += 1;
        // It will come again, to the new connection ID.
        for _ in self.early.take(dcid, meta.remote) {
            self.drop_datagram(Discard::ConnectionIdUnknown);
        }
    }

    /// Asks a client that waited to prove its address, if the budget allows.
    pub(super) fn retry_incoming(&mut self, now: Instant, incoming: &Incoming) {
        let Some(server) = self.server.clone() else { return };
        if self.stateless.may_answer(now) {
            let ids = [incoming.dcid, incoming.scid];
            self.send_retry(now, &server, &incoming.meta, incoming.version, ids);
        }
    }

    /// Early data that has overtaken the first packet of its connection.
    // req 9000-5.2.2-070
    fn keep_early(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        header: &PartialHeader,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let wanted = self.server.as_ref().is_some_and(|server| server.takes_early_data());
        if !wanted || header.dcid.len() < MIN_INITIAL_DCID {
            return Err(Discard::ConnectionIdUnknown);
        }
        match self.early.push(now, header.dcid, meta, datagram) {
            true => Ok(()),
            false => Err(Discard::BufferFull),
        }
    }

    /// Tells a client that it is not wanted. The caller has asked for leave to answer.
    // req 9000-5.2.2-069
    fn send_refusal(
        &mut self,
        meta: &DatagramMeta,
        version: Version,
        [dcid, scid]: [ConnectionId; 2],
        reason: Violation,
    ) {
        let ours = self.config.connection_ids().generate(&mut self.rng);
        let packet = refusal(version, &dcid, scid, ours, reason);
        self.stateless.push(meta, packet);
        self.stats.refusals += 1;
    }

    /// Tells a client that waited that it is not wanted, if the budget allows.
    pub(super) fn refuse_incoming(&mut self, now: Instant, incoming: &Incoming) {
        if self.stateless.may_answer(now) {
            let ids = [incoming.dcid, incoming.scid];
            let reason = Violation::ConnectionRefused;
            self.send_refusal(&incoming.meta, incoming.version, ids, reason);
        }
    }

    /// A packet of a version that we do not speak (RFC 9000 section 6).
    // req 9000-5.2.2-065, 9000-5.2.2-067, 9000-5.2.2-068, 9000-17.2.1-389, 9000-17.2.1-390
    fn negotiate_version(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        header: &UnknownVersionHeader<'_>,
        len: usize,
    ) -> Result<(), Discard> {
        if self.server.is_none() || len < usize::from(MIN_MAX_DATAGRAM) {
            return Err(Discard::VersionUnsupported);
        }
        if !self.stateless.may_answer(now) {
            return Err(Discard::ServerBusy);
        }
        let supported = self.config.supported_versions();
        self.stateless.push(meta, version_negotiation(header, supported, &mut self.rng));
        self.stats.version_negotiations += 1;
        Ok(())
    }

    /// A packet of a connection that does not exist, perhaps not any more (RFC 9000 section 10.3).
    // req 9000-10.3-246, 9000-10.3.3-267, 9000-21.11-500
    fn answer_lost_connection(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let unknown = Discard::ConnectionIdUnknown;
        // Too small to have a smaller answer: not worth the budget.
        if datagram.len() <= MIN_RESET || !self.stateless.may_answer(now) {
            return Err(unknown);
        }
        let dcid = destination(datagram, self.config.connection_ids().len()).ok_or(unknown)?;
        let token = token_for(&self.reset_key, dcid).ok_or(unknown)?;
        let packet = stateless_reset(&token, datagram.len(), &mut self.rng).ok_or(unknown)?;
        self.stateless.push(meta, packet);
        self.stats.stateless_resets += 1;
        Ok(())
    }
}

/// Opens a copy of the packet: its keys follow from its own connection ID, so that only damage and
/// nonsense are found out, but those cheaply.
// req 9000-5.2-061, 9000-5.2-062
fn authenticate(now: Instant, header: &PartialHeader, datagram: &[u8]) -> Result<(), Discard> {
    let mut packet =
        datagram.get(..header.packet_len).ok_or(Discard::LengthBeyondDatagram)?.to_vec();
    match Keyring::new(header.version, &header.dcid, Side::Server).open(
        now,
        header,
        &mut packet,
        None,
    ) {
        // What breaks a rule is authentic too, and deserves an answer.
        Ok(_) | Err(OpenError::Transport(_)) => Ok(()),
        Err(OpenError::Discard(discard)) => Err(discard),
    }
}
