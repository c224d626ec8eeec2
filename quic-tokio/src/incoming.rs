//! A client that wants to connect.

use std::net::SocketAddr;
use std::sync::Arc;

use quic_core::path::AddressProof;

use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::endpoint::{Arrival, Command, EndpointShared};

/// A client that wants to connect. Dropping it refuses the client.
#[derive(Debug)]
pub struct Incoming {
    shared: Arc<EndpointShared>,
    /// `None` once it is decided what happens to the client.
    arrival: Option<Arrival>,
    remote: SocketAddr,
    proof: AddressProof,
}

impl Incoming {
    pub(crate) fn new(shared: Arc<EndpointShared>, arrival: Arrival) -> Self {
        let (remote, proof) = (arrival.remote, arrival.proof);
        Self { shared, arrival: Some(arrival), remote, proof }
    }

    /// Where the client claims to be; see [`is_address_validated`](Self::is_address_validated).
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// True if the client has proved that it receives at its address, with a token of a Retry or
    /// of an earlier connection (RFC 9000, section 8.1). Others may have forged it.
    pub fn is_address_validated(&self) -> bool {
        self.proof.is_validated()
    }

    /// How the client has proved its address, if it has.
    pub fn address_proof(&self) -> AddressProof {
        self.proof
    }

    /// Asks the client to prove its address with a Retry packet, which costs it a round trip, and
    /// keeps nothing about it. It comes back as another `Incoming`.
    ///
    /// # Errors
    ///
    /// Gives the client back if it has followed a Retry already: it would ignore another.
    pub fn retry(mut self) -> Result<(), Self> {
        if self.proof == AddressProof::Retry {
            return Err(self);
        }
        if let Some(arrival) = self.arrival.take() {
            self.shared.send(Command::Retry(arrival.id));
        }
        Ok(())
    }

    /// Accepts the client, and waits until the handshake is complete.
    ///
    /// # Errors
    ///
    /// If the handshake fails.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, the connection is closed.
    pub async fn accept(mut self) -> Result<Connection, ConnectError> {
        let id = self.arrival.take().expect("decided once").id;
        self.shared.ask(|reply| Command::Accept { id, reply }).await
    }

    /// As [`accept`](Self::accept), but if the client sends early data and the configuration
    /// [takes it](quic_core::config::ServerConfig::with_early_data), the connection is there before
    /// the handshake is complete. Else waits as `accept` does.
    ///
    /// Until [`Connection::handshake_complete`] is ready, the client may be anybody who has a copy
    /// of what another client has sent: [`RecvStream::is_early`](crate::RecvStream::is_early) tells
    /// for each stream. Answers can be sent at once.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Self::accept).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, the connection is closed.
    pub async fn accept_early(mut self) -> Result<Connection, ConnectError> {
        let id = self.arrival.take().expect("decided once").id;
        self.shared.ask_early(|reply| Command::Accept { id, reply }).await
    }

    /// Tells the client that it is not wanted (CONNECTION_REFUSED).
    pub fn refuse(self) {}

    /// Says nothing to the client, which will try for a while.
    pub fn ignore(mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.shared.send(Command::Ignore(arrival.id));
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.shared.send(Command::Refuse(arrival.id));
        }
    }
}
