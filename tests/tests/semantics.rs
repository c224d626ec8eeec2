//! RFC 9000 section 3 in virtual time, where it needs a packet to be lost at the right moment.
//!
//! `tests/semantics.tsv` says which test shows what.

use std::time::Duration;

use bytes::Bytes;
use quic_core::connection::Connection;
use quic_core::stream::{Read, ReadError, WriteError};
use quic_core::wire::{ApplicationErrorCode, Dir, StreamId};
use quic_testkit::pair::Pair;
use quic_testkit::seed::Seed;

const LIMIT: Duration = Duration::from_secs(30);

fn code(code: u32) -> ApplicationErrorCode {
    code.into()
}

/// A stream of the client that the server has accepted and read the beginning of.
fn with_stream() -> (Pair, StreamId) {
    let mut pair = Pair::new(Seed::or_env(1));
    pair.establish();
    let streams = pair.client_connection().streams();
    let id = streams.open(Dir::Uni).expect("stream credit");
    streams.write(id, Bytes::from_static(b"x")).expect("room");
    pair.drive_for(Duration::from_millis(100));
    let streams = pair.server_connection().streams();
    assert_eq!(streams.accept(Dir::Uni), Some(id));
    assert_eq!(streams.read(id), Ok(Read::Chunk(Bytes::from_static(b"x"))));
    streams.release_credit(id, 1);
    (pair, id)
}

/// How the stream ended, as far as the sender can see now: what a late write says.
fn late_write(connection: &mut Connection, id: StreamId) -> Result<usize, WriteError> {
    connection.streams().write(id, Bytes::from_static(b"late"))
}

/// Both applications are done with the stream, and so are the transports soon.
fn ends_without_a_trace(mut pair: Pair, id: StreamId) {
    pair.client_connection().streams().release(id);
    pair.server_connection().streams().release(id);
    pair.drive_until(LIMIT, Pair::all_credit_is_returned);
}

#[test]
fn a_stop_in_data_sent_changes_nothing_if_all_data_arrives() {
    let (mut pair, id) = with_stream();
    let streams = pair.client_connection().streams();
    streams.write(id, Bytes::from_static(b"the rest")).expect("room");
    streams.finish(id).expect("open");
    pair.flush();
    // The two cross each other on the way.
    pair.server_connection().streams().stop(id, code(3));
    pair.drive_for(Duration::from_millis(200));
    let late = late_write(pair.client_connection(), id);
    assert_eq!(late, Err(WriteError::Closed), "delivered, not stopped");
    assert_eq!(pair.server_connection().streams().read(id), Err(ReadError::Stopped));
    ends_without_a_trace(pair, id);
}

#[test]
fn a_stop_in_data_sent_turns_what_is_lost_into_a_reset() {
    let (mut pair, id) = with_stream();
    let received = |pair: &mut Pair| pair.server_connection().streams().audit().data_received;
    let before = received(&mut pair);
    pair.network.up.blackhole = true;
    let streams = pair.client_connection().streams();
    streams.write(id, Bytes::from(vec![1; 1000])).expect("room");
    streams.finish(id).expect("open");
    pair.flush();
    pair.server_connection().streams().stop(id, code(3));
    pair.drive_for(Duration::from_millis(20));
    pair.network.up.blackhole = false;
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(late_write(pair.client_connection(), id), Err(WriteError::Stopped(code(3))));
    // The final size counts the bytes that never came.
    assert_eq!(received(&mut pair), before + 1000);
    ends_without_a_trace(pair, id);
}

#[test]
fn a_reset_that_is_lost_comes_again() {
    let (mut pair, id) = with_stream();
    pair.network.up.blackhole = true;
    pair.client_connection().streams().reset(id, code(7));
    pair.drive_for(Duration::from_secs(1));
    assert_eq!(pair.server_connection().streams().read(id), Ok(Read::Blocked));
    pair.network.up.blackhole = false;
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(pair.server_connection().streams().read(id), Err(ReadError::Reset(code(7))));
    ends_without_a_trace(pair, id);
}

#[test]
fn a_stop_that_is_lost_comes_again() {
    let (mut pair, id) = with_stream();
    pair.network.down.blackhole = true;
    pair.server_connection().streams().stop(id, code(4));
    pair.drive_for(Duration::from_secs(1));
    assert_eq!(late_write(pair.client_connection(), id), Ok(4));
    pair.network.down.blackhole = false;
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(late_write(pair.client_connection(), id), Err(WriteError::Stopped(code(4))));
    ends_without_a_trace(pair, id);
}

#[test]
fn a_reset_after_the_end_was_lost_keeps_the_final_size() {
    let (mut pair, id) = with_stream();
    pair.network.up.blackhole = true;
    let streams = pair.client_connection().streams();
    streams.write(id, Bytes::from(vec![1; 500])).expect("room");
    streams.finish(id).expect("open");
    pair.drive_for(Duration::from_millis(20));
    pair.client_connection().streams().reset(id, code(9));
    pair.network.up.blackhole = false;
    pair.drive_for(Duration::from_secs(5));
    let streams = pair.server_connection().streams();
    assert_eq!(streams.read(id), Err(ReadError::Reset(code(9))));
    assert_eq!(streams.audit().data_received, 501);
    ends_without_a_trace(pair, id);
}

#[test]
fn the_end_of_a_stream_that_is_lost_comes_again() {
    let (mut pair, id) = with_stream();
    pair.network.up.blackhole = true;
    pair.client_connection().streams().finish(id).expect("open");
    pair.drive_for(Duration::from_secs(1));
    assert_eq!(pair.server_connection().streams().read(id), Ok(Read::Blocked));
    pair.network.up.blackhole = false;
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(pair.server_connection().streams().read(id), Ok(Read::Finished));
    ends_without_a_trace(pair, id);
}

#[test]
fn releasing_a_half_written_stream_is_a_reset_also_if_it_is_lost() {
    let (mut pair, id) = with_stream();
    pair.network.up.blackhole = true;
    pair.client_connection().streams().release(id);
    pair.drive_for(Duration::from_secs(1));
    pair.network.up.blackhole = false;
    pair.drive_for(Duration::from_secs(5));
    assert_eq!(pair.server_connection().streams().read(id), Err(ReadError::Reset(code(0))));
    ends_without_a_trace(pair, id);
}
