//! A client that wants to connect.

use std::net::SocketAddr;
use std::sync::Arc;

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
}

impl Incoming {
    pub(crate) fn new(shared: Arc<EndpointShared>, arrival: Arrival) -> Self {
        let remote = arrival.remote;
        Self { shared, arrival: Some(arrival), remote }
    }

    /// Where the client claims to be: it has not proved it.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
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
