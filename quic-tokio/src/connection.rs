//! The handle of a connection.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use quic_core::connection::EarlyData;
use quic_core::crypto::KeyUpdateRefused;
use quic_core::error::ConnectionError;
use quic_core::observe::Stats;
use quic_core::shared::{ConnectionCell, OpenRefused, StreamCells};
use quic_core::wire::{Dir, Side, VarInt, Version};
use tokio::sync::oneshot;

use crate::error::OpenError;
use crate::move_error::MoveError;
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::wait::wait;

/// What tasks and the driver share about one connection.
#[derive(Debug)]
pub(crate) struct ConnectionShared {
    pub(crate) cell: ConnectionCell,
    /// Known when the handshake is complete.
    pub(crate) agreed: OnceLock<Agreed>,
    pub(crate) early: Mutex<Early>,
    remote: Mutex<SocketAddr>,
    stats: Mutex<StatsDesk>,
    /// Sockets that the connection is to move to.
    pub(crate) moves: Mutex<Vec<(UdpSocket, MoveReply)>>,
}

/// The answer to a wish to move.
pub(crate) type MoveReply = oneshot::Sender<Result<(), MoveError>>;

/// What the handshake agreed on.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) server_name: Option<String>,
    pub(crate) resumed: bool,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) version: Option<Version>,
}

/// What there is to know of early data, and of the session that it needs.
#[derive(Debug, Default)]
pub(crate) struct Early {
    pub(crate) data: EarlyData,
    /// What the application had kept with the session.
    pub(crate) kept: Option<Bytes>,
    /// What the application wants to be kept, and the driver has not taken yet.
    pub(crate) to_keep: Option<Bytes>,
}

#[derive(Debug, Default)]
struct StatsDesk {
    asked: Vec<oneshot::Sender<Stats>>,
    key_updates: Vec<oneshot::Sender<Result<(), KeyUpdateRefused>>>,
    last: Option<Stats>,
}

impl ConnectionShared {
    pub(crate) fn new(cell: ConnectionCell, remote: SocketAddr) -> Self {
        Self {
            cell,
            agreed: OnceLock::new(),
            early: Mutex::default(),
            remote: Mutex::new(remote),
            stats: Mutex::default(),
            moves: Mutex::default(),
        }
    }

    /// Answers those who have asked for statistics, which `stats` makes if there are any.
    pub(crate) fn answer_stats(&self, stats: impl Fn() -> Stats) {
        let asked = std::mem::take(&mut lock(&self.stats).asked);
        reply_all(asked, stats);
    }

    /// Does what those have asked for who want new keys.
    pub(crate) fn answer_key_updates(
        &self,
        mut update: impl FnMut() -> Result<(), KeyUpdateRefused>,
    ) {
        for reply in std::mem::take(&mut lock(&self.stats).key_updates) {
            // Who has asked may have gone.
            let _ = reply.send(update());
        }
    }

    /// Keeps the last statistics for those who ask later. The first ones to be kept count.
    pub(crate) fn close_stats(&self, stats: Stats) {
        let (asked, last) = {
            let mut desk = lock(&self.stats);
            let last = desk.last.get_or_insert(stats).clone();
            // Those who wait for new keys find nobody there any more.
            desk.key_updates.clear();
            (std::mem::take(&mut desk.asked), last)
        };
        reply_all(asked, || last.clone());
    }

    pub(crate) fn set_remote(&self, remote: SocketAddr) {
        *lock(&self.remote) = remote;
    }

    /// Why the connection is over, for streams that are lost with it.
    pub(crate) fn error(&self) -> ConnectionError {
        self.cell.error().unwrap_or(ConnectionError::EndpointClosed)
    }
}

fn reply_all(asked: Vec<oneshot::Sender<Stats>>, stats: impl Fn() -> Stats) {
    for reply in asked {
        // Who has asked may have gone.
        let _ = reply.send(stats());
    }
}

/// Keeps a connection open: it closes when the last of these is dropped.
#[derive(Debug)]
pub(crate) struct Keeper(Arc<ConnectionShared>);

/// What every handle of a connection and of its streams holds.
pub(crate) type ConnectionRef = Arc<Keeper>;

impl Keeper {
    pub(crate) fn new(shared: Arc<ConnectionShared>) -> ConnectionRef {
        Arc::new(Self(shared))
    }
}

impl std::ops::Deref for Keeper {
    type Target = ConnectionShared;

    fn deref(&self) -> &ConnectionShared {
        &self.0
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.cell.release();
    }
}

/// A QUIC connection (RFC 9000, section 5). Clones are handles of the same connection.
///
/// The connection lives for as long as there is a handle of it or of one of its streams. When the
/// last one is dropped it closes at once with code 0, and data that is still under way is lost:
/// wait for [`SendStream::delivered`] before that.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: ConnectionRef,
}

impl Connection {
    pub(crate) fn new(inner: ConnectionRef) -> Self {
        Self { inner }
    }

    /// Opens a stream in both directions. The peer learns of it with the first data.
    ///
    /// Waits for as long as the peer allows no more streams (RFC 9000, section 4.6).
    ///
    /// # Errors
    ///
    /// If the connection is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, no stream was opened.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), OpenError> {
        let cells = self.open(Dir::Bi).await?;
        Ok(self.both(cells))
    }

    /// Opens a stream on which only this side sends. Else as [`open_bi`](Self::open_bi).
    ///
    /// # Errors
    ///
    /// If the connection is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, no stream was opened.
    pub async fn open_uni(&self) -> Result<SendStream, OpenError> {
        let cells = self.open(Dir::Uni).await?;
        Ok(self.sending(&cells))
    }

    /// Waits for the next stream in both directions that the peer opens.
    ///
    /// # Errors
    ///
    /// If the connection is over. Streams that arrived before come first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, no stream was taken.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let cells = self.accept(Dir::Bi).await?;
        Ok(self.both(cells))
    }

    /// Waits for the next stream on which only the peer sends. Else as
    /// [`accept_bi`](Self::accept_bi).
    ///
    /// # Errors
    ///
    /// If the connection is over. Streams that arrived before come first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, no stream was taken.
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        let cells = self.accept(Dir::Uni).await?;
        Ok(self.receiving(&cells))
    }

    /// Closes the connection at once, with a code of the application protocol and a reason for a
    /// human; data that is still under way is lost. The first close counts.
    ///
    /// The peer is told; wait for [`Endpoint::wait_idle`](crate::Endpoint::wait_idle) before the
    /// program ends to make sure of it.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.inner.cell.close(code, Bytes::copy_from_slice(reason));
    }

    /// Waits until the connection is over and returns why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the reason can be asked for again.
    pub async fn closed(&self) -> ConnectionError {
        let cell = &self.inner.cell;
        wait(|key, waker| cell.poll_closed(key, waker), |key| cell.leave(key)).await
    }

    /// Why the connection is over, if it is.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.inner.cell.error()
    }

    /// Counters and present values of the connection; the last ones if it is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn stats(&self) -> Stats {
        let (reply, answer) = oneshot::channel();
        {
            let mut desk = lock(&self.inner.stats);
            if let Some(last) = &desk.last {
                return last.clone();
            }
            desk.asked.push(reply);
        }
        self.inner.cell.nudge();
        answer.await.unwrap_or_default()
    }

    /// Starts a key update (RFC 9001, section 6): what is sent from now on is protected with new
    /// keys, and the peer follows. [`Stats::key_updates`] counts those of both sides.
    ///
    /// # Errors
    ///
    /// If it is too early: the handshake is not confirmed, the peer has not acknowledged anything
    /// under the present keys, or the last update is less than three probe timeouts ago; trying again
    /// a little later does no harm. If the connection is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the update may or may not have been started.
    pub async fn update_keys(&self) -> Result<(), KeyUpdateRefused> {
        let (reply, answer) = oneshot::channel();
        {
            let mut desk = lock(&self.inner.stats);
            if desk.last.is_some() {
                return Err(KeyUpdateRefused::ConnectionClosed);
            }
            desk.key_updates.push(reply);
        }
        self.inner.cell.nudge();
        answer.await.unwrap_or(Err(KeyUpdateRefused::ConnectionClosed))
    }

    /// The application protocol that the handshake agreed on (ALPN).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.inner.agreed.get()?.alpn.as_deref()
    }

    /// The version of QUIC that both sides have settled on; `None` before the handshake is complete.
    pub fn version(&self) -> Option<Version> {
        self.inner.agreed.get()?.version
    }

    /// What protects packets; `None` before the handshake is complete.
    pub fn cipher_suite(&self) -> Option<rustls::CipherSuite> {
        self.inner.agreed.get()?.cipher_suite
    }

    /// The server name that the client asked for (SNI); known to servers only.
    pub fn server_name(&self) -> Option<&str> {
        self.inner.agreed.get()?.server_name.as_deref()
    }

    /// True if the connection resumed the session of an earlier one (RFC 9001, section 4.5). False
    /// before the handshake is complete.
    pub fn was_resumed(&self) -> bool {
        self.inner.agreed.get().is_some_and(|agreed| agreed.resumed)
    }

    /// What became of early data, as far as it is known.
    pub fn early_data(&self) -> EarlyData {
        lock(&self.inner.early).data
    }

    /// Waits until the server has decided about the early data of this client, and says whether it
    /// took it; also false if there never was any. If it did not, all streams that were opened
    /// before have failed with [`WriteError::EarlyDataRejected`](crate::WriteError) and
    /// [`ReadError::EarlyDataRejected`](crate::ReadError), the server has processed nothing of them,
    /// and nothing is sent again by itself.
    ///
    /// # Errors
    ///
    /// If the connection ends before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be asked for again.
    pub async fn early_data_accepted(&self) -> Result<bool, ConnectionError> {
        self.handshake_complete().await?;
        Ok(self.early_data() == EarlyData::Accepted)
    }

    /// Waits until the handshake is complete: the peer is who it says, and nothing that it has sent
    /// is a replay. That is at once unless the connection came from
    /// [`Endpoint::connect_early`](crate::Endpoint::connect_early) or
    /// [`Incoming::accept_early`](crate::Incoming::accept_early).
    ///
    /// # Errors
    ///
    /// If the connection ends before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn handshake_complete(&self) -> Result<(), ConnectionError> {
        self.connected().await
    }

    /// Waits until both sides know that the handshake is complete (RFC 9001, section 4.1.2); a
    /// server knows that at once when it is.
    ///
    /// # Errors
    ///
    /// If the connection ends before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn handshake_confirmed(&self) -> Result<(), ConnectionError> {
        let cell = &self.inner.cell;
        wait(|key, waker| cell.poll_confirmed(key, waker), |key| cell.leave(key)).await
    }

    /// Keeps `state` with the session tickets of this connection, of a client, those that have come
    /// among them: a connection that resumes with one finds it as
    /// [`session_state`](Self::session_state). For what the application protocol wants to know of
    /// the server before it says it again, such as the settings of HTTP/3. The last one counts.
    pub fn set_session_state(&self, state: Bytes) {
        lock(&self.inner.early).to_keep = Some(state);
        self.inner.cell.nudge();
    }

    /// What the application had kept with the session that this client resumes.
    pub fn session_state(&self) -> Option<Bytes> {
        lock(&self.inner.early).kept.clone()
    }

    /// Moves the connection of a client to another socket, and with it to another address of this
    /// host, without a pause for data under way (RFC 9000, section 9). The path is validated first,
    /// and connection IDs change, so that observers cannot link the paths by them. Waits until
    /// packets go the new way.
    ///
    /// # Errors
    ///
    /// If the connection must not or cannot move, or if nobody answers on the new path; it goes on
    /// where it is.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, the connection may move all the same.
    pub async fn migrate(&self, socket: UdpSocket) -> Result<(), MoveError> {
        let (reply, answer) = oneshot::channel();
        lock(&self.inner.moves).push((socket, reply));
        if self.inner.cell.error().is_some() {
            lock(&self.inner.moves).clear();
        }
        self.inner.cell.nudge();
        match answer.await {
            Ok(moved) => moved,
            Err(_) => match self.inner.cell.error() {
                Some(error) => Err(MoveError::ConnectionLost(error)),
                // Another call has taken its place.
                None => Err(MoveError::NoAnswer),
            },
        }
    }

    /// Where the peer is now.
    pub fn remote_address(&self) -> SocketAddr {
        *lock(&self.inner.remote)
    }

    /// Which end of the connection this is.
    pub fn side(&self) -> Side {
        self.inner.cell.side()
    }

    /// Waits until streams can be used.
    pub(crate) async fn usable(&self) -> Result<(), ConnectionError> {
        let cell = &self.inner.cell;
        wait(|key, waker| cell.poll_usable(key, waker), |key| cell.leave(key)).await
    }

    /// Waits until the handshake is complete.
    pub(crate) async fn connected(&self) -> Result<(), ConnectionError> {
        let cell = &self.inner.cell;
        wait(|key, waker| cell.poll_connected(key, waker), |key| cell.leave(key)).await
    }

    async fn open(&self, dir: Dir) -> Result<StreamCells, OpenRefused> {
        let cell = &self.inner.cell;
        wait(|key, waker| cell.poll_open(dir, key, waker), |key| cell.leave_open(dir, key)).await
    }

    async fn accept(&self, dir: Dir) -> Result<StreamCells, ConnectionError> {
        let cell = &self.inner.cell;
        wait(|key, waker| cell.poll_accept(dir, key, waker), |key| cell.leave_accept(dir, key))
            .await
    }

    fn both(&self, cells: StreamCells) -> (SendStream, RecvStream) {
        (self.sending(&cells), self.receiving(&cells))
    }

    fn sending(&self, cells: &StreamCells) -> SendStream {
        let cell = cells.send.as_ref().expect("this side sends on the stream");
        SendStream::new(Arc::clone(cell), Arc::clone(&self.inner))
    }

    fn receiving(&self, cells: &StreamCells) -> RecvStream {
        let cell = cells.recv.as_ref().expect("this side receives on the stream");
        RecvStream::new(Arc::clone(cell), Arc::clone(&self.inner))
    }
}

/// Nothing that is done under these locks can leave a half-changed value behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
