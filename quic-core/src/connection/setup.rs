//! How a connection begins: keys for the first packets, transport parameters, TLS.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::early::Early;
use super::handshake::Handshake;
use super::migrate::preferred_parameter;
use super::patience::Patience;
use super::recv::Undecryptable;
use super::retry::Admission;
use super::state::State;
use super::timers::Deadlines;
use super::tokens::NewTokens;
use super::train::Run;
use super::versions::{Again, Versions, encode_params, information};
use super::{Connection, RouteChange};
use crate::cid::{Generator, LocalIds, RemoteIds};
use crate::config::{PreferredAddresses, TransportConfig};
use crate::crypto::{Keyring, ResetKey, Session};
use crate::observe::{ConnectionInfo, ConnectionState, Event, Initiator};
use crate::path::{AddressProof, OtherPaths, Path, PathEnds, SocketId};
use crate::recovery::{AckOutcome, Recovery};
use crate::space::PacketSpace;
use crate::stream::Streams;
use crate::util::rng::Rng;
use crate::wire::{ConnectionId, Side, TransportParameters, Version};

/// Which end this is, and what TLS needs to know for it.
#[derive(Debug)]
pub enum Role {
    /// The one that begins.
    Client {
        /// TLS settings.
        tls: Arc<rustls::ClientConfig>,
        /// Who the server must prove to be.
        server_name: rustls::pki_types::ServerName<'static>,
        /// A token that the server gave on an earlier connection; empty if there is none. At most
        /// [`MAX_TOKEN_LEN`](crate::config::MAX_TOKEN_LEN) bytes.
        token: Bytes,
    },
    /// The one that is called.
    Server {
        /// TLS settings.
        tls: Arc<rustls::ServerConfig>,
        /// The Source Connection ID of the client's first Initial packet.
        peer_initial_scid: ConnectionId,
        /// How the client has proved its address already.
        proof: AddressProof,
        /// What the client sends to after a Retry: the connection ID that the Retry named.
        retry_source: Option<ConnectionId>,
        /// Where clients should move to.
        preferred: PreferredAddresses,
    },
}

/// Everything that a connection is made from.
pub struct ConnectionSetup {
    /// Which end this is.
    pub role: Role,
    /// The version of the client's first flight.
    pub version: Version,
    /// The versions that this side can end up with, the preferred one first. Of a client, `version`
    /// is among them.
    pub versions: Arc<[Version]>,
    /// The Destination Connection ID of the client's very first Initial packet, before any Retry.
    pub original_dcid: ConnectionId,
    /// The connection ID that we put into our first packets.
    pub local_cid: ConnectionId,
    /// The address of the peer.
    pub remote: SocketAddr,
    /// The socket that the peer sent to, or that is sent from.
    pub socket: SocketId,
    /// The address of ours that the peer sent to, if it is known.
    pub local_ip: Option<IpAddr>,
    /// Limits and timeouts.
    pub config: Arc<TransportConfig>,
    /// Makes further connection IDs.
    pub cid_generator: Generator,
    /// Makes the stateless reset tokens of our connection IDs.
    pub reset_key: Arc<ResetKey>,
    /// All randomness of the connection.
    pub rng: Rng,
}

impl Connection {
    /// Starts a connection. A client's first flight is ready to be sent; a server waits for the
    /// client's Initial packet to be handed to [`Connection::recv`].
    ///
    /// # Errors
    ///
    /// If the TLS configuration cannot be used for QUIC.
    pub fn new(now: Instant, setup: ConnectionSetup) -> Result<Self, rustls::Error> {
        let mut setup = setup;
        let side = match &setup.role {
            Role::Client { .. } => Side::Client,
            Role::Server { .. } => Side::Server,
        };
        let params = local_parameters(&mut setup);
        let encoded = encode_params(side, &params, &mut setup.rng);
        let info = ConnectionInfo { side, original_dcid: setup.original_dcid };
        let observers = setup.config.observers(&info);
        let client_dcid = sent_to_by_client(&setup);
        let mut admission = Admission::default();
        let mut proof = AddressProof::None;
        let (first, ours) = (setup.version, setup.versions);
        let (versions, session, peer_initial_scid) = match setup.role {
            Role::Client { tls, server_name, token } => {
                admission = Admission::new(token);
                let name = server_name.clone();
                let again = Again { tls: Arc::clone(&tls), server_name, params: params.clone() };
                let versions = Versions::client(first, ours, again);
                let session = match versions.is_movable() {
                    true => Session::movable_client(&tls, first, name, encoded)?,
                    false => Session::client(tls, first, name, encoded)?,
                };
                (versions, session, None)
            }
            Role::Server { tls, peer_initial_scid, proof: shown, .. } => {
                proof = shown;
                let versions = Versions::server(first, ours, &tls, &params);
                (versions, Session::server(tls, first, encoded)?, Some(peer_initial_scid))
            }
        };
        let keys = Keyring::new(first, &client_dcid, side);
        let config = setup.config;
        let remote_cid = peer_initial_scid.unwrap_or(setup.original_dcid);
        let ends =
            PathEnds { socket: setup.socket, local_ip: setup.local_ip, remote: setup.remote };
        let mut connection = Self {
            side,
            versions,
            state: State::Handshaking,
            handshake: Handshake::new(setup.original_dcid, peer_initial_scid),
            early: Early::default(),
            admission,
            tokens: NewTokens::default(),
            session,
            keys,
            spaces: PacketSpace::all(config.max_ack_delay()).map(Some),
            recovery: Recovery::new(now, side),
            path: Path::new(now, side, ends, config.recovery()),
            others: OtherPaths::new(now),
            left_address: None,
            reset_tokens: Vec::new(),
            local_ids: LocalIds::new(setup.local_cid, setup.cid_generator, setup.reset_key),
            remote_ids: RemoteIds::new(remote_cid, config.active_connection_id_limit()),
            streams: Streams::new(side, config.streams(), &mut setup.rng),
            deadlines: Deadlines::new(now),
            undecryptable: Undecryptable::new(),
            run: Run::new(),
            patience: Patience::new(now),
            events: VecDeque::new(),
            routes: VecDeque::new(),
            close_reason: None,
            close_phrase: Bytes::new(),
            ack_outcome: AckOutcome::default(),
            observers,
            rng: setup.rng,
            config,
        };
        if let Some(preferred) = &params.preferred_address {
            let id = preferred.connection_id;
            connection.local_ids.issue_in_parameters(id);
            connection.routes.push_back(RouteChange::Issued(id));
            connection.handshake.offers_preferred_address = true;
        }
        connection.announce(now);
        if proof.is_validated() {
            connection.path.on_address_validated();
            let new = ConnectionState::PeerValidated;
            connection.observers.emit(now, || Event::StateUpdated { new });
        }
        connection
            .observers
            .emit(now, || Event::ParametersSet { initiator: Initiator::Local, params: &params });
        if side == Side::Client {
            if let Err(error) = connection.advance_handshake(now) {
                connection.close_with_error(now, error);
            }
            connection.offer_early_data(now);
        }
        Ok(connection)
    }

    /// Tells everyone who listens what the connection begins with.
    fn announce(&mut self, now: Instant) {
        let (local_cid, remote_cid) = (self.local_ids.initial(), self.remote_ids.active());
        let remote = self.path.remote();
        self.observers.emit(now, || Event::ConnectionStarted {
            local: None,
            remote,
            local_cid,
            remote_cid,
        });
        self.observers.emit(now, || Event::PathAssigned { path: 0, local: None, remote });
        let version = [self.versions.current()];
        let (client, server) = match self.side {
            Side::Client => (&version[..], &[][..]),
            Side::Server => (&[][..], &version[..]),
        };
        let chosen = Some(self.versions.current());
        self.observers.emit(now, || Event::VersionInformation { client, server, chosen });
        if self.observers.is_enabled() {
            self.streams.trace_states();
        }
        let recovery = &self.path.recovery;
        self.observers.emit(now, || Event::RecoveryParametersSet {
            congestion: recovery.congestion().name(),
            initial_rtt: recovery.rtt.smoothed(),
            max_datagram_size: recovery.max_datagram_size(),
            initial_congestion_window: recovery.congestion().window(),
        });
    }
}

/// The Destination Connection ID that the client's Initial packets have now, and their keys follow
/// from.
fn sent_to_by_client(setup: &ConnectionSetup) -> ConnectionId {
    match setup.role {
        Role::Server { retry_source: Some(id), .. } => id,
        Role::Server { retry_source: None, .. } | Role::Client { .. } => setup.original_dcid,
    }
}

/// Our transport parameters: the configured limits, and what authenticates this handshake.
// req 9000-7.3-091, 9001-8.2-103
fn local_parameters(setup: &mut ConnectionSetup) -> TransportParameters {
    let mut params = setup.config.transport_parameters();
    params.initial_source_connection_id = Some(setup.local_cid);
    // RFC 9369, section 4: whoever speaks version 2 sends it.
    let grease = u32::from_be_bytes(setup.rng.array());
    params.version_information = Some(information(setup.version, &setup.versions, grease));
    if let Role::Server { retry_source, preferred, .. } = &setup.role {
        params.retry_source_connection_id = *retry_source;
        params.original_destination_connection_id = Some(setup.original_dcid);
        params.stateless_reset_token = Some(setup.reset_key.token(&setup.local_cid));
        if !preferred.is_empty() {
            let id = setup.cid_generator.generate(&mut setup.rng);
            let token = setup.reset_key.token(&id);
            params.preferred_address = Some(preferred_parameter(preferred, id, token));
        }
    }
    params
}
