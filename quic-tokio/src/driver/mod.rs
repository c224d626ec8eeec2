//! The task that owns the sockets of an endpoint and all its connections.
//!
//! | file | what it does |
//! |---|---|
//! | `sockets` | the sockets: most endpoints have one, those that move or are at several addresses more |
//! | `inbound`, `outbound` | datagrams between the sockets and the core, in batches |
//! | `link` | one connection: its cell on one side, the core on the other |
//!
//! There is nothing else that runs: no task, channel or lock per connection. A round takes in a
//! batch of datagrams, then what application tasks have left in their cells, then what is due; it
//! hands news to the cells, sends, and wakes each task once. After a few rounds others get the
//! thread, whatever is left to do.

mod inbound;
mod link;
mod outbound;
mod sockets;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use quic_core::config::{ClientConfig, ServerConfig, TransportConfig};
use quic_core::connection::Connection;
use quic_core::endpoint::{
    AcceptError, ConnectError as BeginError, ConnectionHandle, Endpoint as Core, EndpointEvent,
    IncomingId,
};
use quic_core::link::{FIRST_GRANT, Scratch};
use quic_core::path::PathEnds;
use quic_core::shared::{ConnectionCell, Ready};
use quic_core::util::Rng;
use quic_core::wire::Side;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Sleep;

use crate::builder::{EndpointBuilder, Gso};
use crate::connect_error::ConnectError;
use crate::connection::{ConnectionRef, ConnectionShared, Keeper};
use crate::endpoint::{Arrival, Command, EndpointShared, Reply};
use crate::move_error::MoveError;
use crate::observers::Observing;
use crate::udp::Udp;
use inbound::{Inbound, Received};
use link::Link;
use outbound::{Flow, Outbound};
use sockets::Sockets;

/// Rounds before other tasks of the thread get their turn.
const MAX_ROUNDS: usize = 4;

/// Starts the driver of an endpoint on the current runtime.
pub(crate) fn spawn(settings: EndpointBuilder, sockets: Vec<Udp>, shared: Arc<EndpointShared>) {
    tokio::spawn(Driver::new(settings, sockets, shared));
}

/// The owner of everything; see the module documentation.
struct Driver {
    shared: Arc<EndpointShared>,
    core: Core,
    sockets: Sockets,
    /// Of sockets that are added later.
    socket_buffer: usize,
    gso: Gso,
    inbound: Inbound,
    outbound: Outbound,
    /// By index of the connection's handle.
    links: Vec<Option<Link>>,
    /// Connections of which the core does not know that they have events.
    touched: Vec<ConnectionHandle>,
    ready: Vec<Ready>,
    scratch: Scratch,
    timer: Timer,
    server: Option<Arc<ServerConfig>>,
    observing: Observing,
    /// How many clients may wait to be accepted.
    max_incoming: usize,
    handles: Handles,
}

/// Whether applications hold handles of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handles {
    Held,
    Released,
}

/// Whether a round had anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Busy,
    Quiet,
    /// The driver ends.
    Over,
}

impl Driver {
    fn new(settings: EndpointBuilder, sockets: Vec<Udp>, shared: Arc<EndpointShared>) -> Self {
        let observing = settings.observing;
        let server = settings.server.map(|config| observing.server(&config));
        let max_incoming = settings.endpoint.max_incoming();
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).expect("the system has randomness");
        let mut core = Core::new(settings.endpoint, server.clone(), Rng::from_seed(seed));
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        core.set_wall_clock(Instant::now(), since_epoch.unwrap_or_default());
        let inbound = Inbound::new(settings.receive_memory, shared.counters.slabs.clone());
        Self {
            shared,
            core,
            sockets: Sockets::new(Instant::now(), sockets),
            socket_buffer: settings.socket_buffer,
            gso: settings.gso,
            inbound,
            outbound: Outbound::default(),
            links: Vec::new(),
            touched: Vec::new(),
            ready: Vec::new(),
            scratch: Scratch::default(),
            timer: Timer::new(),
            server,
            observing,
            max_incoming,
            handles: Handles::Held,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Round {
        let Some(received) = self.receive(cx) else { return Round::Over };
        let (now, mut busy) = (received.unwrap_or_else(Instant::now), received.is_some());
        // What was received first: the application's streams may be void, and counted anew.
        busy |= self.take_events();
        busy |= self.take_ready(now);
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.core.handle_timeout(now);
            busy = true;
        }
        self.take_events();
        let counters = &self.shared.counters;
        let flow = self.outbound.send(cx, &self.sockets, &mut self.core, counters);
        self.shared.counters.take_over(&self.core.stats());
        self.sweep_sockets(now);
        // Sending ends connections now and then, and what follows from that may be sent.
        busy |= self.take_events();
        self.scratch.wakes.wake_all();
        match (busy || flow == Flow::More, self.is_over()) {
            (_, true) => Round::Over,
            (true, false) => Round::Busy,
            (false, false) => Round::Quiet,
        }
    }

    /// Receives a batch from each socket. Returns when, if there was anything; `None` if there is no
    /// socket that works.
    fn receive(&mut self, cx: &mut Context<'_>) -> Option<Option<Instant>> {
        let mut latest = None;
        for id in self.sockets.ids() {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            let counters = &self.shared.counters;
            match self.inbound.receive(cx, id, socket, &mut self.core, counters) {
                Received::Some(now) => latest = Some(now),
                Received::Nothing => {}
                Received::Broken(error) => {
                    tracing::error!(%error, "a socket of an endpoint is broken");
                    if self.sockets.remove(id) {
                        return None;
                    }
                }
            }
        }
        Some(latest)
    }

    /// Does what application tasks have left to do. False if there was nothing.
    fn take_ready(&mut self, now: Instant) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        self.shared.ready.drain(&mut ready);
        let any = !ready.is_empty();
        for item in ready.drain(..) {
            match item {
                Ready::Endpoint => self.take_commands(now),
                Ready::Connection(index) | Ready::Send(index, _) | Ready::Recv(index, _) => {
                    self.take_work(now, index, item);
                }
            }
        }
        self.ready = ready;
        any
    }

    fn take_work(&mut self, now: Instant, index: usize, item: Ready) {
        let Some(link) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(connection) = self.core.connection_mut(link.handle) else { return };
        if self.touched.last() != Some(&link.handle) {
            self.touched.push(link.handle);
        }
        let scratch = &mut self.scratch;
        match item {
            Ready::Send(_, id) => link.on_send_ready(id, now, connection, scratch),
            Ready::Recv(_, id) => link.on_recv_ready(id, now, connection, scratch),
            Ready::Connection(_) | Ready::Endpoint => link.on_ready(now, connection, scratch),
        }
        if matches!(item, Ready::Connection(_)) {
            for (socket, reply) in link.take_moves() {
                let begun = Udp::new(socket, self.socket_buffer, self.gso)
                    .map_err(MoveError::Socket)
                    .and_then(|udp| begin_move(now, connection, &mut self.sockets, udp));
                link.on_move_begun(begun, reply);
            }
        }
    }

    /// Hands what happened in the core to the cells. False if nothing did.
    fn take_events(&mut self) -> bool {
        let mut any = !self.touched.is_empty();
        while let Some(handle) = self.touched.pop() {
            self.take_connection_events(handle);
        }
        while let Some(event) = self.core.poll_event() {
            any = true;
            match event {
                EndpointEvent::Incoming { id, remote, proof } => {
                    let remote = canonical(remote);
                    let arrival = Arrival { id, remote, proof };
                    if !self.shared.push_incoming(arrival, self.max_incoming) {
                        self.core.refuse(Instant::now(), id);
                    }
                }
                EndpointEvent::Connection(handle) => self.take_connection_events(handle),
                EndpointEvent::ConnectionGone(handle) => self.forget(handle),
            }
        }
        any
    }

    fn take_connection_events(&mut self, handle: ConnectionHandle) {
        let link = self.links.get_mut(handle.index()).and_then(Option::as_mut);
        let Some(link) = link.filter(|link| link.handle == handle) else { return };
        let Some(connection) = self.core.connection_mut(handle) else { return };
        link.take_events(connection, &mut self.scratch);
    }

    fn forget(&mut self, handle: ConnectionHandle) {
        let Some(slot) = self.links.get_mut(handle.index()) else { return };
        if let Some(mut link) = slot.take_if(|link| link.handle == handle) {
            link.on_gone(&mut self.scratch.wakes);
        }
        self.shared.set_connections(self.core.connection_count());
    }

    fn take_commands(&mut self, now: Instant) {
        for command in self.shared.take_commands() {
            match command {
                Command::Connect { config, remote, server_name, reply } => {
                    let made = self.connect(now, &config, remote, &server_name);
                    answer(reply, made);
                }
                Command::Accept { id, reply } => {
                    let made = self.accept(now, id);
                    answer(reply, made);
                }
                Command::Refuse(id) => self.core.refuse(now, id),
                Command::Ignore(id) => self.core.ignore(id),
                Command::Retry(id) => {
                    // One that cannot be asked is gone: the handle has looked at the rest.
                    let _gone = self.core.retry(now, id);
                }
                Command::Close { code, reason } => {
                    self.core.close_all(now, code.into(), &reason);
                }
                Command::Rebind { socket, reply } => {
                    // Who has asked may have gone.
                    let _ = reply.send(self.rebind(now, socket));
                }
                Command::Release => {
                    self.handles = Handles::Released;
                    for id in self.shared.stop_accepting() {
                        self.core.refuse(now, id);
                    }
                }
            }
        }
        self.shared.set_connections(self.core.connection_count());
    }

    /// Has all connections that can move to another socket.
    fn rebind(&mut self, now: Instant, socket: std::net::UdpSocket) -> io::Result<SocketAddr> {
        let udp = Udp::new(socket, self.socket_buffer, self.gso)?;
        let local_addr = udp.local_addr();
        let socket = self.sockets.replace_current(udp);
        let Some(new) = self.sockets.get(socket) else { return Ok(local_addr) };
        for link in self.links.iter().flatten() {
            let Some(connection) = self.core.connection_mut(link.handle) else { continue };
            let remote = new.udp.reachable(canonical(connection.remote_address()));
            let Some(remote) = remote else { continue };
            let ends = PathEnds { socket, local_ip: None, remote };
            if let Err(error) = connection.migrate(now, ends) {
                tracing::debug!(%error, %remote, "a connection stays on its old socket");
            }
        }
        Ok(local_addr)
    }

    /// Closes sockets that no connection uses any more.
    fn sweep_sockets(&mut self, now: Instant) {
        if !self.sockets.wants_sweep(now) {
            return;
        }
        let connections =
            self.links.iter().flatten().filter_map(|link| self.core.connection(link.handle));
        let mut used: Vec<_> = connections.flat_map(|c| c.sockets()).collect();
        used.sort_unstable();
        used.dedup();
        self.sockets.sweep(&used);
    }

    fn connect(
        &mut self,
        now: Instant,
        config: &Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionRef, ConnectError> {
        let reached = self.sockets.reach(remote);
        let (socket, remote) = reached.ok_or(BeginError::InvalidRemoteAddress)?;
        let config = self.observing.client(config);
        let handle = self.core.connect_from(now, socket, &config, remote, server_name)?;
        Ok(self.link(handle, Side::Client, config.transport(), remote))
    }

    fn accept(&mut self, now: Instant, id: IncomingId) -> Result<ConnectionRef, ConnectError> {
        let server = self.server.clone().ok_or(AcceptError::NotAServer)?;
        let handle = self.core.accept(now, id)?;
        let connection = self.core.connection(handle).ok_or(AcceptError::Gone)?;
        let remote = connection.remote_address();
        Ok(self.link(handle, Side::Server, server.transport(), remote))
    }

    /// Makes the cells of a new connection.
    fn link(
        &mut self,
        handle: ConnectionHandle,
        side: Side,
        config: &TransportConfig,
        remote: SocketAddr,
    ) -> ConnectionRef {
        let index = handle.index();
        let ready = Arc::clone(&self.shared.ready);
        let cell = ConnectionCell::new(ready, index, side, FIRST_GRANT);
        let shared = Arc::new(ConnectionShared::new(cell, canonical(remote)));
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        let mut link = Link::new(handle, Arc::clone(&shared), config, remote);
        if let Some(connection) = self.core.connection_mut(handle) {
            link.begin(connection, &mut self.scratch.wakes);
        }
        self.links[index] = Some(link);
        Keeper::new(shared)
    }

    fn is_over(&self) -> bool {
        self.handles == Handles::Released
            && self.core.connection_count() == 0
            && !self.outbound.is_blocked()
    }

    /// Goes to sleep until the next deadline, unless there is something to do after all.
    fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        // What the core has to send waits for the socket, and not for a time.
        self.timer.set(self.core.next_deadline());
        !self.timer.is_due(cx) && self.shared.ready.sleep(cx.waker())
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        driver.shared.counters.wake_ups.add(1);
        for _ in 0..MAX_ROUNDS {
            match driver.round(cx) {
                Round::Busy => {}
                Round::Quiet if driver.sleep(cx) => return Poll::Pending,
                Round::Quiet => {}
                Round::Over => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// However the driver ends, also by a panic or with its runtime: nobody waits in vain.
    fn drop(&mut self) {
        self.shared.on_driver_gone();
        for link in self.links.iter_mut().flatten() {
            link.on_gone(&mut self.scratch.wakes);
        }
        self.scratch.wakes.wake_all();
    }
}

/// One timer for the earliest deadline of all.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Timer {
    fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(Instant::now().into())), armed: None }
    }

    /// Makes sure that the task is woken at `deadline` or before. Deadlines mostly move to later:
    /// then the timer stays as it is, and waking too early once is cheaper than moving it each time.
    fn set(&mut self, deadline: Option<Instant>) {
        match (self.armed, deadline) {
            (_, None) => {}
            (Some(armed), Some(deadline)) if armed <= deadline => {}
            (_, Some(deadline)) => {
                self.sleep.as_mut().reset(deadline.into());
                self.armed = Some(deadline);
            }
        }
    }

    /// True if the time has come; else the task will be woken then.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.armed.is_some() && self.sleep.as_mut().poll(cx).is_ready();
        if due {
            self.armed = None;
        }
        due
    }
}

/// Hands over a new connection, which closes again if nobody wants it any more.
fn answer(reply: Reply, made: Result<ConnectionRef, ConnectError>) {
    let _unwanted = reply.send(made);
}

/// Has `connection` move to a socket that it alone uses.
fn begin_move(
    now: Instant,
    connection: &mut Connection,
    sockets: &mut Sockets,
    udp: Udp,
) -> Result<(), MoveError> {
    if let Some(error) = connection.close_reason() {
        return Err(MoveError::ConnectionLost(error.clone()));
    }
    let remote = udp.reachable(canonical(connection.remote_address()));
    let remote = remote.ok_or(MoveError::Unreachable)?;
    let ends = PathEnds { socket: sockets.lend(udp), local_ip: None, remote };
    connection.migrate(now, ends).map_err(MoveError::Refused)
}

/// An IPv4 address is shown as such also on a socket for both.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
