//! The sockets of an endpoint, each under the number that the core knows it by.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quic_core::SocketId;

use crate::udp::Udp;

/// Sockets that nobody uses any more are looked for no more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// All sockets of an endpoint.
#[derive(Debug)]
pub(super) struct Sockets {
    /// By number; places become free and are used again.
    places: Vec<Option<Socket>>,
    /// New connections leave from there if they can.
    current: SocketId,
    swept: Instant,
}

/// A socket, and how it stands.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) udp: Udp,
    /// Calls that failed to receive since one did not.
    pub(super) errors_in_a_row: u32,
    tenure: Tenure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    /// For as long as the endpoint.
    Fixed,
    /// For as long as a connection uses it.
    WhileUsed,
}

impl Sockets {
    /// Begins with these, the first of which is the one that connections leave from.
    pub(super) fn new(now: Instant, sockets: Vec<Udp>) -> Self {
        let mut this = Self { places: Vec::new(), current: SocketId::FIRST, swept: now };
        for udp in sockets {
            this.add(udp, Tenure::Fixed);
        }
        this
    }

    fn add(&mut self, udp: Udp, tenure: Tenure) -> SocketId {
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if free == self.places.len() {
            self.places.push(None);
        }
        self.places[free] = Some(Socket { udp, errors_in_a_row: 0, tenure });
        SocketId(u16::try_from(free).expect("fewer sockets than a process can have"))
    }

    /// Adds a socket that lives for as long as a connection uses it.
    pub(super) fn lend(&mut self, udp: Udp) -> SocketId {
        self.add(udp, Tenure::WhileUsed)
    }

    /// Has `udp` take the place of the current socket, which lives on while connections use it.
    pub(super) fn replace_current(&mut self, udp: Udp) -> SocketId {
        let new = self.add(udp, Tenure::Fixed);
        if let Some(old) = self.get_mut(self.current) {
            old.tenure = Tenure::WhileUsed;
        }
        self.current = new;
        new
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.places.get(usize::from(id.0))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.places.get_mut(usize::from(id.0))?.as_mut()
    }

    /// The numbers of all of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = SocketId> + use<> {
        (0..u16::try_from(self.places.len()).unwrap_or(u16::MAX)).map(SocketId)
    }

    /// Closes a socket that is of no use. True if none is left.
    pub(super) fn remove(&mut self, id: SocketId) -> bool {
        if let Some(place) = self.places.get_mut(usize::from(id.0)) {
            *place = None;
        }
        self.places.iter().all(Option::is_none)
    }

    /// By which socket `remote` can be reached, and the form of its address there.
    pub(super) fn reach(&self, remote: SocketAddr) -> Option<(SocketId, SocketAddr)> {
        let all = std::iter::once(self.current).chain(self.ids());
        all.filter_map(|id| Some((id, self.get(id)?.udp.reachable(remote)?))).next()
    }

    /// How many datagrams of `segment` bytes a train may have on any of them.
    pub(super) fn max_train(&self, segment: usize) -> usize {
        let all = self.places.iter().flatten().map(|socket| socket.udp.max_train(segment));
        all.min().unwrap_or(1)
    }

    /// True if it is time to look for sockets that nobody uses any more.
    pub(super) fn wants_sweep(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.swept) >= SWEEP_INTERVAL
            && self.places.iter().flatten().any(|socket| socket.tenure == Tenure::WhileUsed);
        if due {
            self.swept = now;
        }
        due
    }

    /// Closes the sockets that were lent and are not among the `used` ones.
    pub(super) fn sweep(&mut self, used: &[SocketId]) {
        for id in self.ids() {
            if let Some(place) = self.places.get_mut(usize::from(id.0)) {
                place.take_if(|s| s.tenure == Tenure::WhileUsed && !used.contains(&id));
            }
        }
    }
}
