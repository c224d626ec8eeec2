//! A client moves: because it is told to, or because the server would rather be somewhere else
//! (RFC 9000 sections 9.2 and 9.6).
//!
//! Either way the new path is validated first, and then used under a connection ID that was never
//! seen on another one. If nobody answers there, nothing has happened.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::Connection;
use crate::config::PreferredAddresses;
use crate::error::{TransportError, Violation};
use crate::path::{PathEnds, Purpose, SocketId};
use crate::wire::frame::NewConnectionId;
use crate::wire::transport_params::PreferredAddress;
use crate::wire::{ConnectionId, PacketNumber, ResetToken, Side, SpaceId, TransportParameters};

/// Why a connection cannot move now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrateError {
    /// Only clients move.
    NotAClient,
    /// The server has not confirmed the handshake yet (RFC 9000 section 9).
    NotConfirmed,
    /// The server has asked its clients to stay where they are.
    Forbidden,
    /// The server has given no connection ID that was not used yet: with the one in use, observers
    /// could link both paths. It may give one later.
    NoConnectionId,
    /// The server is not at this address.
    AnotherServer,
    /// The connection is over.
    Closed,
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAClient => "only clients move",
            Self::NotConfirmed => "the handshake is not confirmed yet",
            Self::Forbidden => "the server has forbidden its clients to move",
            Self::NoConnectionId => "the server has given no connection ID for another path",
            Self::AnotherServer => "the server is at another address",
            Self::Closed => "the connection is closed",
        })
    }
}

impl std::error::Error for MigrateError {}

impl Connection {
    /// Begins to move the connection of a client to the path between `ends`, whose remote address
    /// must be the one in use (in the form that the socket takes).
    ///
    /// The path is validated first; data goes the old way meanwhile. A
    /// [`PathEvent`](super::PathEvent) tells what came of it. Another move that is under way is
    /// given up.
    ///
    /// # Errors
    ///
    /// If the connection must not or cannot move; it goes on where it is.
    // req 9000-9-170, 9000-9-171, 9000-18.2-427, 9000-9.1-177
    pub fn migrate(&mut self, now: Instant, ends: PathEnds) -> Result<(), MigrateError> {
        if self.side == Side::Server {
            return Err(MigrateError::NotAClient);
        }
        if !self.state.is_open() {
            return Err(MigrateError::Closed);
        }
        if !self.state.is_confirmed() {
            return Err(MigrateError::NotConfirmed);
        }
        if !self.path.is_at(ends.remote) {
            return Err(MigrateError::AnotherServer);
        }
        if self.handshake.forbids_migration() && !self.is_at_preferred_address() {
            return Err(MigrateError::Forbidden);
        }
        self.begin_move(now, ends)
    }

    /// Changes to a connection ID of the peer that was not used yet and gives the one in use back:
    /// observers cannot tell by it that packets before and after belong together, though they can by
    /// the addresses. False, and nothing happens, if the peer has given no spare one.
    // req 9000-9.5-192
    pub fn rotate_connection_id(&mut self, now: Instant) -> bool {
        let old = self.remote_ids.active();
        let may = self.state.is_confirmed() && !self.remote_ids.is_empty();
        let rotated = may && self.remote_ids.rotate();
        if rotated {
            self.tell_remote_id(now, old);
            self.sync_reset_tokens();
        }
        rotated
    }

    /// The sockets of the paths that the connection has, the one in use first.
    pub fn sockets(&self) -> impl Iterator<Item = SocketId> {
        let others = self.others.iter().map(|other| other.path.ends().socket);
        std::iter::once(self.path.ends().socket).chain(others)
    }

    /// Both ends of the path in use.
    pub fn path_ends(&self) -> PathEnds {
        self.path.ends()
    }

    /// Challenges the path between `ends`, to move there if it turns out to work.
    // req 9000-9.5-193, 9000-9.5-194, 9000-9.5-196
    fn begin_move(&mut self, now: Instant, ends: PathEnds) -> Result<(), MigrateError> {
        let spare = self.remote_ids.use_spare().ok_or(MigrateError::NoConnectionId)?;
        if let Some(given_up) = self.others.take(Purpose::MoveTo) {
            self.drop_path(given_up);
        }
        let mut path = self.new_path(now, ends);
        path.remote_id = Some(spare);
        // A client sends where it wants to: nobody has tricked it into this.
        path.on_address_validated();
        path.own_validation.begin(now, now + self.validation_period());
        self.add_path(now, path, Purpose::MoveTo);
        Ok(())
    }
}

// ---------------------------------------------------------------------- the preferred address

impl Connection {
    /// The connection ID that the server keeps for its preferred address is one like any other.
    // req 9000-18.2-431, 9000-9.6.3-216
    pub(super) fn on_preferred_address(
        &mut self,
        params: &TransportParameters,
    ) -> Result<(), TransportError> {
        let Some(preferred) = &params.preferred_address else { return Ok(()) };
        if self.remote_ids.is_empty() {
            return Err(TransportError::new(Violation::PreferredAddressWithoutConnectionId));
        }
        self.remote_ids.on_new(&NewConnectionId {
            sequence_number: PREFERRED_SEQUENCE,
            retire_prior_to: 0,
            connection_id: preferred.connection_id,
            stateless_reset_token: preferred.stateless_reset_token,
        })?;
        Ok(())
    }

    /// Tries to move to the address that the server would rather be talked to at.
    // req 9000-9.6.1-201, 9000-9.6.1-202, 9000-9.6.2-204, 9000-21.5.3-488
    pub(super) fn seek_preferred_address(&mut self, now: Instant) {
        if self.side == Side::Server || !self.config.follows_preferred_address() {
            return;
        }
        let Some(remote) = self.preferred_remote() else { return };
        // req 9000-21.5.6-490
        let is_trap = is_loopback(remote) && !is_loopback(self.path.remote());
        if is_trap || self.path.is_at(remote) {
            return;
        }
        let ends = PathEnds { remote, ..self.path.ends() };
        // Without a connection ID for it, the connection stays where it is.
        let _stays = self.begin_move(now, ends);
    }

    /// The preferred address of the server that this client can reach by the socket in use, in the
    /// form that the socket takes.
    // req 9000-9.6.3-215
    fn preferred_remote(&self) -> Option<SocketAddr> {
        let preferred = self.handshake.preferred_address()?;
        let remote: SocketAddr = match self.path.remote() {
            SocketAddr::V4(_) => preferred.ipv4?.into(),
            SocketAddr::V6(addr) if addr.ip().to_ipv4_mapped().is_some() => {
                let ipv4 = preferred.ipv4?;
                (ipv4.ip().to_ipv6_mapped(), ipv4.port()).into()
            }
            SocketAddr::V6(_) => preferred.ipv6?.into(),
        };
        let usable = remote.port() != 0 && !remote.ip().to_canonical().is_unspecified();
        usable.then_some(remote)
    }

    fn is_at_preferred_address(&self) -> bool {
        self.preferred_remote().is_some_and(|remote| self.path.is_at(remote))
    }

    /// The server has moved to its preferred address: what is sent to the other one from now on is
    /// not for it.
    pub(super) fn note_left_address(&mut self, left: PathEnds) {
        let largest = self.space(SpaceId::Data).and_then(|space| space.received.largest());
        if let Some(largest) = largest {
            self.left_address = Some((left, largest));
        }
    }

    /// True if a packet was sent to the address that this server has left, after the client knew.
    // req 9000-9.6.2-207, 9000-9.6.2-208
    pub(super) fn is_for_left_address(&self, to: &PathEnds, number: PacketNumber) -> bool {
        self.left_address.is_some_and(|(left, largest)| {
            (left.socket, left.local_ip) == (to.socket, to.local_ip) && number > largest
        })
    }
}

/// The sequence number of the connection ID in the transport parameter.
const PREFERRED_SEQUENCE: u64 = 1;

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The transport parameter of a server that would rather be at `addresses`, where clients know it
/// by `connection_id`.
// req 9000-18.2-429, 9000-9.6.1-200
pub(super) fn preferred_parameter(
    addresses: &PreferredAddresses,
    connection_id: ConnectionId,
    stateless_reset_token: ResetToken,
) -> PreferredAddress {
    let PreferredAddresses { ipv4, ipv6 } = *addresses;
    PreferredAddress { ipv4, ipv6, connection_id, stateless_reset_token }
}
