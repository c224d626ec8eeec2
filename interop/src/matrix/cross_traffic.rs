//! A TCP connection that competes for the link: a neighbour of the server sends to a neighbour of
//! the client, as much as the link takes.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::relay::namespace::{CLIENT_NEIGHBOUR, Rooms, SERVER_NEIGHBOUR};

/// Where the receiver listens.
const PORT: u16 = 5001;
/// The congestion control of the sender.
const CONGESTION: &[u8] = b"cubic";
const CHUNK: usize = 1 << 16;

/// The connection; it ends with the value.
#[derive(Debug)]
pub(crate) struct CrossTraffic {
    _tasks: JoinSet<io::Result<()>>,
}

impl CrossTraffic {
    /// Begins to send.
    pub(crate) fn start(rooms: &Rooms) -> Result<Self, Failure> {
        rooms.client.add_address(CLIENT_NEIGHBOUR)?;
        rooms.server.add_address(SERVER_NEIGHBOUR)?;
        let (listener, sender) =
            sockets(rooms).map_err(|error| Failure::new(format!("no cross traffic: {error}")))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(receive(listener));
        tasks.spawn(send(sender));
        Ok(Self { _tasks: tasks })
    }
}

/// Sockets belong to the namespace that they were made in, whoever uses them.
fn sockets(rooms: &Rooms) -> io::Result<(TcpListener, TcpSocket)> {
    let listener = rooms.client.enter(|| std::net::TcpListener::bind((CLIENT_NEIGHBOUR, PORT)))?;
    listener.set_nonblocking(true)?;
    let sender = rooms.server.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_congestion(CONGESTION)?;
        socket.bind(&SocketAddr::from((SERVER_NEIGHBOUR, 0)).into())?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    Ok((TcpListener::from_std(listener)?, TcpSocket::from_std_stream(sender.into())))
}

async fn receive(listener: TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn send(socket: TcpSocket) -> io::Result<()> {
    let mut stream: TcpStream = socket.connect((CLIENT_NEIGHBOUR, PORT).into()).await?;
    let chunk = vec![0; CHUNK];
    loop {
        stream.write_all(&chunk).await?;
    }
}
