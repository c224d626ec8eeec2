//! Sessions that are resumed, and data before the handshake is complete, between endpoints on the
//! loopback interface.

mod support;

use quic_tokio::{
    ClientConfig, Connection, Delivery, EarlyData, Endpoint, ReadError, ReadToEndError,
    ServerConfig, WriteError,
};
use support::{ALPN, Identity, LOCALHOST, code, within_limits};

struct Early {
    identity: Identity,
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
}

impl Early {
    fn new() -> Self {
        let identity = Identity::new();
        let config = identity.client(ALPN).with_early_data();
        let server = Endpoint::server(takes_early(&identity), LOCALHOST).unwrap();
        let client = Endpoint::client(config.clone(), LOCALHOST).unwrap();
        Self { identity, server, client, config }
    }

    /// A connection that leaves tickets behind.
    async fn visit(&self) {
        let accept = async {
            let connection = self.server.accept().await.unwrap().accept().await.unwrap();
            echo(&connection).await;
            connection.closed().await;
        };
        let visit = async {
            let addr = self.server.local_addr();
            let connection = self.client.connect_early(addr, "localhost").await.unwrap();
            assert_eq!(connection.early_data(), EarlyData::None);
            assert!(!connection.was_resumed());
            connection.handshake_confirmed().await.unwrap();
            assert_eq!(ask(&connection, b"tickets?").await.unwrap(), b"tickets?"[..]);
            connection.set_session_state("kept".into());
            // The driver has taken the state once it has answered.
            connection.stats().await;
            connection.close(code(0), b"");
        };
        tokio::join!(accept, visit);
        assert!(self.config.sessions().unwrap().tickets("localhost") > 0);
    }
}

fn takes_early(identity: &Identity) -> ServerConfig {
    identity.server(ALPN).with_early_data(b"").unwrap()
}

/// Answers one stream with what it carries, and says whether that was early data.
async fn echo(connection: &Connection) -> bool {
    let (mut send, mut recv) = connection.accept_bi().await.unwrap();
    let request = recv.read_to_end(1 << 20).await.unwrap();
    send.write_chunk(request).await.unwrap();
    send.finish().unwrap();
    recv.is_early()
}

async fn ask(connection: &Connection, question: &[u8]) -> Result<bytes::Bytes, ReadToEndError> {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let written = async {
        send.write_all(question).await?;
        send.finish()
    };
    if let Err(error) = written.await {
        assert_eq!(error, WriteError::EarlyDataRejected);
    }
    recv.read_to_end(1 << 20).await
}

#[tokio::test]
async fn early_data_is_answered_before_the_handshake_is_complete() {
    within_limits(async {
        let early = Early::new();
        early.visit().await;
        let serve = async {
            let incoming = early.server.accept().await.unwrap();
            let connection = incoming.accept_early().await.unwrap();
            assert_eq!(connection.early_data(), EarlyData::Accepted);
            assert!(connection.was_resumed());
            assert_eq!(connection.alpn(), Some(ALPN));
            assert!(echo(&connection).await, "the request came early");
            connection.handshake_complete().await.unwrap();
            connection.handshake_confirmed().await.unwrap();
            assert!(!echo(&connection).await, "the second one did not");
            connection.closed().await;
        };
        let request = async {
            let addr = early.server.local_addr();
            let connection = early.client.connect_early(addr, "localhost").await.unwrap();
            assert_eq!(connection.early_data(), EarlyData::Offered);
            assert_eq!(connection.session_state().as_deref(), Some(&b"kept"[..]));
            assert_eq!(ask(&connection, b"early").await.unwrap(), b"early"[..]);
            assert!(connection.early_data_accepted().await.unwrap());
            assert!(connection.was_resumed());
            connection.handshake_confirmed().await.unwrap();
            assert_eq!(ask(&connection, b"late").await.unwrap(), b"late"[..]);
            let stats = connection.stats().await;
            assert!(stats.early_packets_sent > 0);
            connection.close(code(0), b"");
        };
        tokio::join!(serve, request);
    })
    .await;
}

#[tokio::test]
async fn streams_that_began_early_fail_if_early_data_is_rejected_and_others_can_be_opened() {
    within_limits(async {
        let early = Early::new();
        early.visit().await;
        // This server knows no session.
        let other = Endpoint::server(takes_early(&early.identity), LOCALHOST).unwrap();
        let serve = async {
            let incoming = other.accept().await.unwrap();
            let connection = incoming.accept_early().await.unwrap();
            assert_eq!(connection.early_data(), EarlyData::None);
            assert!(!echo(&connection).await);
            connection.closed().await;
        };
        let request = async {
            let addr = other.local_addr();
            let connection = early.client.connect_early(addr, "localhost").await.unwrap();
            assert_eq!(connection.early_data(), EarlyData::Offered);
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(b"early").await.unwrap();
            assert_eq!(recv.read_chunk().await, Err(ReadError::EarlyDataRejected));
            assert_eq!(send.write_all(b"more").await, Err(WriteError::EarlyDataRejected));
            assert_eq!(send.delivered().await, Delivery::EarlyDataRejected);
            assert!(!connection.early_data_accepted().await.unwrap());
            assert_eq!(connection.early_data(), EarlyData::Rejected);
            assert!(!connection.was_resumed());
            assert_eq!(ask(&connection, b"again").await.unwrap(), b"again"[..]);
            // Long after, and after the end of the connection.
            connection.close(code(0), b"");
            connection.closed().await;
            assert_eq!(recv.read_chunk().await, Err(ReadError::EarlyDataRejected));
        };
        tokio::join!(serve, request);
    })
    .await;
}

#[tokio::test]
async fn sessions_are_resumed_without_early_data_too() {
    within_limits(async {
        let identity = Identity::new();
        let server = Endpoint::server(identity.server(ALPN), LOCALHOST).unwrap();
        let config = identity.client(ALPN);
        for resumed in [false, true] {
            // Another endpoint each time: what they share is the configuration.
            let client = Endpoint::client(config.clone(), LOCALHOST).unwrap();
            let serve = async {
                let connection = server.accept().await.unwrap().accept_early().await.unwrap();
                assert_eq!(connection.was_resumed(), resumed);
                echo(&connection).await;
                connection.closed().await;
            };
            let request = async {
                let connection =
                    client.connect_early(server.local_addr(), "localhost").await.unwrap();
                assert_eq!(connection.was_resumed(), resumed);
                assert_eq!(connection.early_data(), EarlyData::None);
                connection.handshake_confirmed().await.unwrap();
                assert_eq!(ask(&connection, b"x").await.unwrap(), b"x"[..]);
                assert!(!connection.early_data_accepted().await.unwrap());
                connection.close(code(0), b"");
            };
            tokio::join!(serve, request);
        }
    })
    .await;
}

/// Tasks that open streams and write all the time, while the server rejects what was early.
#[tokio::test]
async fn tasks_that_go_on_opening_streams_meet_a_rejection_at_any_moment() {
    within_limits(async {
        let early = Early::new();
        early.visit().await;
        for _ in 0..10 {
            let other = Endpoint::server(takes_early(&early.identity), LOCALHOST).unwrap();
            let serve = async {
                let connection = other.accept().await.unwrap().accept().await.unwrap();
                for _ in 0..8 {
                    echo(&connection).await;
                }
                connection.closed().await;
            };
            let request = async {
                let addr = other.local_addr();
                let connection = early.client.connect_early(addr, "localhost").await.unwrap();
                let tasks: Vec<_> = (0..8u8)
                    .map(|n| {
                        let connection = connection.clone();
                        tokio::spawn(async move {
                            loop {
                                match ask(&connection, &[n]).await {
                                    Ok(answer) => return assert_eq!(answer, [n][..]),
                                    Err(error) => {
                                        let early =
                                            ReadToEndError::Read(ReadError::EarlyDataRejected);
                                        assert_eq!(error, early);
                                    }
                                }
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                connection.close(code(0), b"");
            };
            tokio::join!(serve, request);
        }
    })
    .await;
}

/// A stream that is opened when the rejection is in the socket's buffer, and nobody has looked yet.
#[tokio::test]
async fn a_stream_opened_while_the_rejection_waits_to_be_read_leaves_the_numbers_of_streams_alike()
{
    within_limits(async {
        let early = Early::new();
        early.visit().await;
        let (config, (tell, told)) = (takes_early(&early.identity), std::sync::mpsc::channel());
        // A thread of its own, so that it answers while this one does not look.
        let server = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let other = Endpoint::server(config, LOCALHOST).unwrap();
                tell.send(other.local_addr()).unwrap();
                let incoming = other.accept().await.unwrap();
                let accept = tokio::spawn(incoming.accept_early());
                while other.stats().datagrams_sent == 0 {
                    tokio::task::yield_now().await;
                }
                tell.send(other.local_addr()).unwrap();
                let connection = accept.await.unwrap().unwrap();
                echo(&connection).await;
                connection.closed().await;
            });
        });
        let addr = told.recv().unwrap();
        let connection = early.client.connect_early(addr, "localhost").await.unwrap();
        assert_eq!(connection.early_data(), EarlyData::Offered);
        told.recv().unwrap();
        // So many that the runtime looks at the socket before it comes to the last of them, and to the
        // driver: all of them are in its hands together with the rejection.
        let tasks: Vec<_> = (0..90)
            .map(|_| {
                let connection = connection.clone();
                tokio::spawn(async move {
                    if connection.early_data() == EarlyData::Rejected {
                        // The driver came first this time.
                        return Err(ReadError::EarlyDataRejected);
                    }
                    let (_send, mut recv) = connection.open_bi().await.unwrap();
                    recv.read_chunk().await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Err(ReadError::EarlyDataRejected));
        }
        assert!(!connection.early_data_accepted().await.unwrap());
        assert_eq!(ask(&connection, b"again").await.unwrap(), b"again"[..]);
        connection.close(code(0), b"");
        early.client.wait_idle().await;
        server.join().unwrap();
    })
    .await;
}
