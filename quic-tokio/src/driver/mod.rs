//! The task that owns a socket and all its connections.
//!
//! | file | what it does |
//! |---|---|
//! | `inbound`, `outbound` | datagrams between the socket and the core, in batches |
//! | `link` | one connection: its cell on one side, the core on the other |
//!
//! There is nothing else that runs: no task, channel or lock per connection. A round takes in a
//! batch of datagrams, then what application tasks have left in their cells, then what is due; it
//! hands news to the cells, sends, and wakes each task once. After a few rounds others get the
//! thread, whatever is left to do.

mod inbound;
mod link;
mod outbound;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use quic_core::config::{ClientConfig, ServerConfig, TransportConfig};
use quic_core::endpoint::{
    AcceptError, ConnectError as BeginError, ConnectionHandle, Endpoint as Core, EndpointEvent,
    IncomingId,
};
use quic_core::link::{FIRST_GRANT, Scratch};
use quic_core::shared::{ConnectionCell, Ready};
use quic_core::util::Rng;
use quic_core::wire::Side;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Sleep;

use crate::builder::EndpointBuilder;
use crate::connect_error::ConnectError;
use crate::connection::{ConnectionRef, ConnectionShared, Keeper};
use crate::endpoint::{Arrival, Command, EndpointShared, Reply};
use crate::observers::Observing;
use crate::udp::Udp;
use inbound::{Inbound, Received};
use link::Link;
use outbound::{Flow, Outbound};

/// Rounds before other tasks of the thread get their turn.
const MAX_ROUNDS: usize = 4;

/// Starts the driver of an endpoint on the current runtime.
pub(crate) fn spawn(settings: EndpointBuilder, udp: Udp, shared: Arc<EndpointShared>) {
    tokio::spawn(Driver::new(settings, udp, shared));
}

/// The owner of everything; see the module documentation.
struct Driver {
    shared: Arc<EndpointShared>,
    core: Core,
    udp: Udp,
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
    fn new(settings: EndpointBuilder, udp: Udp, shared: Arc<EndpointShared>) -> Self {
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
            udp,
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
        let received = self.inbound.receive(cx, &self.udp, &mut self.core, &self.shared.counters);
        let (now, mut busy) = match received {
            Received::Some(now) => (now, true),
            Received::Nothing => (Instant::now(), false),
            Received::Broken(error) => {
                tracing::error!(%error, "the socket of an endpoint is broken");
                return Round::Over;
            }
        };
        busy |= self.take_ready(now);
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.core.handle_timeout(now);
            busy = true;
        }
        self.take_events();
        let flow = self.outbound.send(cx, &self.udp, &mut self.core, &self.shared.counters);
        self.shared.counters.take_over(&self.core.stats());
        // Sending ends connections now and then, and what follows from that may be sent.
        busy |= self.take_events();
        self.scratch.wakes.wake_all();
        match (busy || flow == Flow::More, self.is_over()) {
            (_, true) => Round::Over,
            (true, false) => Round::Busy,
            (false, false) => Round::Quiet,
        }
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

    fn connect(
        &mut self,
        now: Instant,
        config: &Arc<ClientConfig>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionRef, ConnectError> {
        let remote = self.udp.reachable(remote).ok_or(BeginError::InvalidRemoteAddress)?;
        let config = self.observing.client(config);
        let handle = self.core.connect(now, &config, remote, server_name)?;
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

/// An IPv4 address is shown as such also on a socket for both.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
