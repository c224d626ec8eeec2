//! What a client keeps of its connections to resume them (RFC 9001, section 4.5), beside what TLS
//! keeps inside of a ticket: the version of QUIC, and the state of the application.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

use crate::wire::Version;

/// Tickets that are kept for one server; the oldest ones go.
const MAX_TICKETS: usize = 8;

/// The sessions that connections of a client may resume, in memory, by the name of the server.
///
/// Each ticket is used once. Connections share tickets when their configurations share the memory,
/// whatever endpoint they belong to; nothing is written to disk. The server that was not connected
/// to for longest is forgotten when there are too many.
#[derive(Debug)]
pub struct SessionMemory {
    servers: Mutex<Servers>,
    max_servers: usize,
}

#[derive(Default)]
struct Servers {
    by_name: BTreeMap<String, Server>,
    /// Counts what is done, to tell old from new.
    clock: u64,
}

#[derive(Default)]
struct Server {
    used: u64,
    group: Option<NamedGroup>,
    /// The newest one last.
    tickets: VecDeque<Ticket>,
}

struct Ticket {
    version: Version,
    value: Tls13ClientSessionValue,
    application: SharedState,
}

/// The application's state of the connection that brought a ticket; it may come after the ticket.
type SharedState = Arc<Mutex<Option<Bytes>>>;

impl Default for SessionMemory {
    /// Room for 256 servers.
    fn default() -> Self {
        Self::new(256)
    }
}

impl SessionMemory {
    /// A memory for up to `max_servers` servers, with up to 8 tickets each; with 0 nothing is ever
    /// resumed.
    pub fn new(max_servers: usize) -> Self {
        Self { servers: Mutex::default(), max_servers }
    }

    /// How many tickets there are for `server_name`, of all versions.
    pub fn tickets(&self, server_name: &str) -> usize {
        lock(&self.servers).by_name.get(server_name).map_or(0, |server| server.tickets.len())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let _old = std::mem::take(&mut *lock(&self.servers));
    }

    /// The part of the memory that one connection of `version` works with.
    pub fn slot(self: &Arc<Self>, version: Version) -> SessionSlot {
        SessionSlot(Arc::new(Slot {
            memory: Arc::clone(self),
            version: Mutex::new(version),
            own: SharedState::default(),
            resumed: Mutex::default(),
        }))
    }

    fn with<T>(&self, name: &ServerName<'_>, act: impl FnOnce(&mut Server) -> T) -> Option<T> {
        if self.max_servers == 0 {
            return None;
        }
        let name = name.to_str();
        let mut servers = lock(&self.servers);
        servers.clock += 1;
        let now = servers.clock;
        if !servers.by_name.contains_key(&*name) && servers.by_name.len() >= self.max_servers {
            servers.forget_oldest();
        }
        let server = servers.by_name.entry(name.into_owned()).or_default();
        server.used = now;
        Some(act(server))
    }
}

impl Servers {
    fn forget_oldest(&mut self) {
        let oldest = self.by_name.iter().min_by_key(|(_, server)| server.used);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.by_name.remove(&name);
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.by_name.iter().map(|(name, server)| (name, server.tickets.len())))
            .finish()
    }
}

/// What one connection sees of a [`SessionMemory`]: the ticket that it began with, and those that it
/// was given, which carry the state of its application.
#[derive(Clone)]
pub struct SessionSlot(Arc<Slot>);

struct Slot {
    memory: Arc<SessionMemory>,
    version: Mutex<Version>,
    own: SharedState,
    resumed: Mutex<Option<Bytes>>,
}

impl SessionSlot {
    /// For the TLS configuration of the connection.
    pub fn resumption(&self) -> Resumption {
        Resumption::store(Arc::clone(&self.0) as Arc<dyn ClientSessionStore>)
    }

    /// The state to keep with all tickets of this connection, those that it has received among
    /// them.
    pub fn set_application_state(&self, state: Bytes) {
        *lock(&self.0.own) = Some(state);
    }

    /// The state that was kept with the ticket that the connection began with.
    pub fn resumed_application_state(&self) -> Option<Bytes> {
        lock(&self.0.resumed).clone()
    }

    /// The connection goes on in another version: a ticket is good only for that in which it came
    /// (RFC 9369, section 5).
    pub fn set_version(&self, version: Version) {
        *lock(&self.0.version) = version;
    }
}

impl fmt::Debug for SessionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSlot").field("version", &self.version).finish_non_exhaustive()
    }
}

impl ClientSessionStore for Slot {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.memory.with(&server_name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        lock(&self.memory.servers).by_name.get(&*server_name.to_str())?.group
    }

    // QUIC has no use for older versions of TLS.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    // req 9001-9.2-111
    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let version = *lock(&self.version);
        let ticket = Ticket { version, value, application: Arc::clone(&self.own) };
        self.memory.with(&name, |server| {
            if server.tickets.len() >= MAX_TICKETS {
                server.tickets.pop_front();
            }
            server.tickets.push_back(ticket);
        });
    }

    // req 9001-4.5-018
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let version = *lock(&self.version);
        let ticket = self.memory.with(name, |server| {
            let at = server.tickets.iter().rposition(|ticket| ticket.version == version)?;
            server.tickets.remove(at)
        })??;
        *lock(&self.resumed) = lock(&ticket.application).clone();
        Some(ticket.value)
    }
}

/// Nothing that is done under these locks can leave a half-changed value behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServerName<'static> {
        ServerName::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn the_server_that_was_not_used_for_longest_is_forgotten() {
        let memory = Arc::new(SessionMemory::new(2));
        let slot = memory.slot(Version::V1);
        for server in ["a.test", "b.test"] {
            slot.0.set_kx_hint(name(server), NamedGroup::X25519);
        }
        slot.0.set_kx_hint(name("a.test"), NamedGroup::secp256r1);
        slot.0.set_kx_hint(name("c.test"), NamedGroup::X25519);
        assert_eq!(slot.0.kx_hint(&name("a.test")), Some(NamedGroup::secp256r1));
        assert_eq!(slot.0.kx_hint(&name("b.test")), None);
        memory.clear();
        assert_eq!(slot.0.kx_hint(&name("a.test")), None);
    }

    #[test]
    fn a_memory_without_room_keeps_nothing() {
        let memory = Arc::new(SessionMemory::new(0));
        let slot = memory.slot(Version::V1);
        slot.0.set_kx_hint(name("a.test"), NamedGroup::X25519);
        assert_eq!(slot.0.kx_hint(&name("a.test")), None);
    }
}
