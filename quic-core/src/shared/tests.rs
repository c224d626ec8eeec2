//! The cells one step at a time, and under two threads at once.

use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;

use super::test_support::CountingWaker;
use super::*;
use crate::error::ConnectionError;
use crate::wire::{Dir, Side, StreamId, VarInt};

fn code(value: u32) -> VarInt {
    VarInt::from_u32(value)
}

fn id(index: u64) -> StreamId {
    StreamId::new(Side::Client, Dir::Bi, index)
}

fn send_cell(limit: u64) -> (Arc<ReadyList>, Arc<SendCell>) {
    let ready = Arc::new(ReadyList::new());
    (Arc::clone(&ready), Arc::new(SendCell::new(ready, 3, id(0), limit)))
}

fn recv_cell() -> (Arc<ReadyList>, Arc<RecvCell>) {
    let ready = Arc::new(ReadyList::new());
    (Arc::clone(&ready), Arc::new(RecvCell::new(ready, 3, id(0))))
}

fn drained(ready: &ReadyList) -> Vec<Ready> {
    let mut items = Vec::new();
    ready.drain(&mut items);
    items
}

fn taken(cell: &SendCell) -> SendWork {
    let mut work = SendWork::default();
    cell.take(&mut work);
    work
}

fn write(cell: &SendCell, data: &'static [u8]) -> Poll<Result<usize, WriteRefused>> {
    cell.poll_write_chunk(&mut Bytes::from_static(data), Waker::noop())
}

#[test]
fn a_write_is_bounded_by_the_grant_and_queues_the_cell_once() {
    let (ready, cell) = send_cell(5);
    assert_eq!(cell.poll_write_slice(b"abcdefgh", Waker::noop()), Poll::Ready(Ok(5)));
    assert_eq!(cell.poll_write_slice(b"fgh", Waker::noop()), Poll::Pending);
    assert_eq!(drained(&ready), [Ready::Send(3, id(0))]);
    assert_eq!(taken(&cell).chunks, ["abcde"]);
}

#[test]
fn a_chunk_is_written_whole_or_not_at_all() {
    let (_ready, cell) = send_cell(5);
    let mut chunk = Bytes::from_static(b"abcdefgh");
    assert_eq!(cell.poll_write_chunk(&mut chunk, Waker::noop()), Poll::Ready(Ok(8)));
    let mut chunk = Bytes::from_static(b"more");
    assert_eq!(cell.poll_write_chunk(&mut chunk, Waker::noop()), Poll::Pending);
    assert_eq!(chunk, "more");
    cell.grant(8, &mut Wakes::new());
    assert_eq!(cell.poll_write_chunk(&mut chunk, Waker::noop()), Poll::Pending);
    cell.grant(9, &mut Wakes::new());
    assert_eq!(cell.poll_write_chunk(&mut chunk, Waker::noop()), Poll::Ready(Ok(4)));
    assert_eq!(taken(&cell).chunks, ["abcdefgh", "more"]);
}

#[test]
fn a_grant_wakes_the_writer() {
    let (_ready, cell) = send_cell(0);
    let (count, waker) = CountingWaker::new();
    assert!(cell.poll_write_slice(b"ab", &waker).is_pending());
    let mut wakes = Wakes::new();
    cell.grant(1, &mut wakes);
    assert_eq!(count.get(), 0, "wakes are gathered");
    wakes.wake_all();
    assert_eq!(count.get(), 1);
    assert_eq!(cell.poll_write_slice(b"ab", &waker), Poll::Ready(Ok(1)));
}

#[test]
fn small_and_large_writes_keep_their_order() {
    let (_ready, cell) = send_cell(1 << 20);
    let large = vec![b'L'; 5000];
    let mut expected = Vec::new();
    for (index, piece) in [&b"one"[..], b"two", &large, b"three"].into_iter().enumerate() {
        assert_eq!(cell.poll_write_slice(piece, Waker::noop()), Poll::Ready(Ok(piece.len())));
        expected.extend_from_slice(piece);
        if index == 2 {
            assert!(write(&cell, b"chunk").is_ready());
            expected.extend_from_slice(b"chunk");
        }
    }
    let work = taken(&cell);
    assert_eq!(work.chunks.concat(), expected);
    assert_eq!(work.chunks.len(), 4, "small neighbours share a chunk");
}

#[test]
fn after_finish_nothing_is_written_and_the_driver_learns_of_the_end_once() {
    let (ready, cell) = send_cell(10);
    assert_eq!(write(&cell, b"x"), Poll::Ready(Ok(1)));
    assert_eq!(cell.finish(), Ok(()));
    assert_eq!(cell.finish(), Ok(()), "again is fine");
    assert_eq!(write(&cell, b"y"), Poll::Ready(Err(WriteRefused::Finished)));
    assert_eq!(drained(&ready).len(), 1);
    let work = taken(&cell);
    assert_eq!((work.chunks.len(), work.fin, work.reset), (1, true, None));
    assert!(!taken(&cell).fin);
}

#[test]
fn a_reset_drops_what_was_not_taken_and_wins_over_a_later_acknowledgement() {
    let (_ready, cell) = send_cell(10);
    let _ = write(&cell, b"x");
    cell.finish().unwrap();
    assert!(cell.reset(code(7)));
    assert!(!cell.reset(code(8)), "the first code counts");
    let mut wakes = Wakes::new();
    cell.on_ended(SendPhase::Acked, &mut wakes);
    let outcome = SendPhase::Reset { code: code(7), by_peer: false };
    assert_eq!(cell.poll_outcome(&mut None, Waker::noop()), Poll::Ready(outcome));
    let work = taken(&cell);
    assert!(work.chunks.is_empty() && !work.fin);
    assert_eq!(work.reset, Some(code(7)));
    assert_eq!(write(&cell, b"y"), Poll::Ready(Err(WriteRefused::Reset(code(7)))));
}

#[test]
fn an_acknowledged_stream_cannot_be_reset() {
    let (_ready, cell) = send_cell(10);
    cell.finish().unwrap();
    let mut wakes = Wakes::new();
    cell.on_ended(SendPhase::Acked, &mut wakes);
    assert!(!cell.reset(code(7)));
    assert_eq!(taken(&cell).reset, None);
    assert_eq!(cell.phase(), SendPhase::Acked);
}

#[test]
fn stop_sending_ends_an_open_stream_and_wakes_writer_and_watchers() {
    let (_ready, cell) = send_cell(0);
    let (count, waker) = CountingWaker::new();
    let (watched, watcher) = CountingWaker::new();
    assert!(write_pending(&cell, &waker));
    assert!(cell.poll_stopped(&mut None, &watcher).is_pending());
    let mut wakes = Wakes::new();
    cell.on_stopped(code(9), &mut wakes);
    wakes.wake_all();
    assert_eq!((count.get(), watched.get()), (1, 1));
    assert_eq!(write(&cell, b"x"), Poll::Ready(Err(WriteRefused::Stopped(code(9)))));
    assert_eq!(cell.finish(), Err(WriteRefused::Stopped(code(9))));
    assert_eq!(cell.poll_stopped(&mut None, &watcher), Poll::Ready(Ok(code(9))));
}

fn write_pending(cell: &SendCell, waker: &Waker) -> bool {
    cell.poll_write_chunk(&mut Bytes::from_static(b"x"), waker).is_pending()
}

#[test]
fn a_finished_stream_that_is_stopped_may_still_be_delivered() {
    let (_ready, cell) = send_cell(10);
    cell.finish().unwrap();
    let mut wakes = Wakes::new();
    cell.on_stopped(code(9), &mut wakes);
    assert!(cell.poll_outcome(&mut None, Waker::noop()).is_pending());
    assert_eq!(cell.poll_stopped(&mut None, Waker::noop()), Poll::Ready(Ok(code(9))));
    cell.on_ended(SendPhase::Acked, &mut wakes);
    assert_eq!(cell.poll_outcome(&mut None, Waker::noop()), Poll::Ready(SendPhase::Acked));
}

#[test]
fn a_dropped_handle_resets_only_what_was_not_finished() {
    let (_ready, cell) = send_cell(10);
    let _ = write(&cell, b"x");
    cell.release(code(0));
    let work = taken(&cell);
    assert_eq!((work.reset, work.released, work.chunks.len()), (Some(code(0)), true, 0));

    let (_ready, cell) = send_cell(10);
    let _ = write(&cell, b"x");
    cell.finish().unwrap();
    cell.release(code(0));
    let work = taken(&cell);
    assert_eq!((work.reset, work.released, work.fin, work.chunks.len()), (None, true, true, 1));
}

#[test]
fn a_watcher_that_leaves_is_forgotten() {
    let (_ready, cell) = send_cell(10);
    let (count, waker) = CountingWaker::new();
    let mut key = None;
    assert!(cell.poll_outcome(&mut key, &waker).is_pending());
    assert!(cell.poll_outcome(&mut key, &waker).is_pending());
    cell.leave(key.unwrap());
    let mut wakes = Wakes::new();
    cell.on_ended(SendPhase::Lost, &mut wakes);
    wakes.wake_all();
    assert_eq!(count.get(), 0);
}

fn push(cell: &RecvCell, data: &'static [u8], fin: bool, step: u64) -> u64 {
    cell.push(&mut vec![Bytes::from_static(data)], fin, step, &mut Wakes::new())
}

fn read(cell: &RecvCell, max: usize) -> Poll<Result<Option<Bytes>, ReadRefused>> {
    cell.poll_read(max, Waker::noop())
}

#[test]
fn chunks_come_in_order_and_then_the_end() {
    let (ready, cell) = recv_cell();
    assert!(read(&cell, 9).is_pending());
    push(&cell, b"abc", false, 100);
    push(&cell, b"def", true, 100);
    assert_eq!(read(&cell, 2), Poll::Ready(Ok(Some("ab".into()))));
    assert_eq!(read(&cell, 9), Poll::Ready(Ok(Some("c".into()))));
    assert_eq!(drained(&ready), [], "below the step the driver is left alone");
    assert_eq!(read(&cell, 9), Poll::Ready(Ok(Some("def".into()))));
    assert_eq!(drained(&ready), [Ready::Recv(3, id(0))], "the end returns what is left");
    assert_eq!(read(&cell, 9), Poll::Ready(Ok(None)));
    assert_eq!(cell.take(), RecvWork { consumed: 6, stop: None, released: false });
    assert_eq!(cell.take().consumed, 0, "credit comes back once");
}

#[test]
fn credit_that_a_push_returns_is_not_taken_again() {
    let (_ready, cell) = recv_cell();
    push(&cell, b"abc", false, 1);
    assert!(read(&cell, 9).is_ready());
    assert_eq!(push(&cell, b"", true, 1), 3);
    assert_eq!(cell.take().consumed, 0);
}

#[test]
fn the_step_decides_when_the_driver_is_told() {
    let (ready, cell) = recv_cell();
    push(&cell, b"abcdef", false, 4);
    assert!(read(&cell, 3).is_ready());
    assert_eq!(drained(&ready), []);
    assert!(read(&cell, 3).is_ready());
    assert_eq!(drained(&ready).len(), 1);
}

#[test]
fn stopping_consumes_what_was_not_read_and_what_comes_later() {
    let (ready, cell) = recv_cell();
    push(&cell, b"abc", false, 100);
    assert!(cell.stop(code(5)));
    assert!(!cell.stop(code(6)));
    assert_eq!(drained(&ready).len(), 1);
    let work = cell.take();
    assert_eq!((work.consumed, work.stop, work.released), (3, Some(code(5)), false));
    assert_eq!(read(&cell, 9), Poll::Ready(Err(ReadRefused::Stopped)));
    assert_eq!(push(&cell, b"late", false, 100), 4);
}

#[test]
fn stopping_wakes_who_waits_for_data() {
    let (_ready, cell) = recv_cell();
    let (count, waker) = CountingWaker::new();
    assert!(cell.poll_read(9, &waker).is_pending());
    assert!(cell.stop(code(5)));
    assert_eq!(count.get(), 1);
}

#[test]
fn a_stream_that_arrived_whole_is_not_stopped_on_the_wire() {
    let (_ready, cell) = recv_cell();
    push(&cell, b"abc", true, 100);
    cell.release(code(0));
    assert_eq!(cell.take(), RecvWork { consumed: 3, stop: None, released: true });
}

#[test]
fn a_reset_wakes_the_reader_and_returns_the_unread_bytes() {
    let (_ready, cell) = recv_cell();
    push(&cell, b"abc", false, 100);
    assert!(read(&cell, 1).is_ready());
    let mut wakes = Wakes::new();
    assert_eq!(cell.on_reset(code(4), &mut wakes), 3);
    assert_eq!(cell.take().consumed, 0);
    assert_eq!(read(&cell, 9), Poll::Ready(Err(ReadRefused::Reset(code(4)))));
    cell.release(code(0));
    assert_eq!(cell.take().stop, None, "a stream that was reset is not stopped");
}

#[test]
fn buffered_data_survives_the_connection() {
    let (_ready, cell) = recv_cell();
    let (count, waker) = CountingWaker::new();
    assert!(cell.poll_read(9, &waker).is_pending());
    let mut wakes = Wakes::new();
    cell.push(&mut vec![Bytes::from_static(b"abc")], false, 1, &mut wakes);
    cell.on_lost(&mut wakes);
    wakes.wake_all();
    assert_eq!(count.get(), 1);
    assert_eq!(read(&cell, 9), Poll::Ready(Ok(Some("abc".into()))));
    assert_eq!(read(&cell, 9), Poll::Ready(Err(ReadRefused::Lost)));
}

fn connection_cell() -> (Arc<ReadyList>, ConnectionCell) {
    let ready = Arc::new(ReadyList::new());
    (Arc::clone(&ready), ConnectionCell::new(ready, 3, Side::Client, 100))
}

#[test]
fn streams_open_up_to_the_limit_and_waiters_take_their_turn() {
    let (ready, cell) = connection_cell();
    let (first_count, first) = CountingWaker::new();
    let (second_count, second) = CountingWaker::new();
    let (mut first_key, mut second_key) = (None, None);
    assert!(cell.poll_open(Dir::Bi, &mut first_key, &first).is_pending());
    assert!(cell.poll_open(Dir::Bi, &mut second_key, &second).is_pending());
    let mut wakes = Wakes::new();
    cell.set_stream_limit(Dir::Bi, 1, &mut wakes);
    wakes.wake_all();
    assert_eq!((first_count.get(), second_count.get()), (1, 0));
    cell.leave_open(Dir::Bi, first_key.unwrap());
    assert_eq!(second_count.get(), 1, "the turn passes on");
    let Poll::Ready(Ok(cells)) = cell.poll_open(Dir::Bi, &mut second_key, &second) else {
        panic!("one stream is allowed")
    };
    assert_eq!(cells.id, id(0));
    assert!(cells.send.is_some() && cells.recv.is_some());
    assert_eq!(drained(&ready), [Ready::Connection(3)]);
    assert_eq!(cell.take().opened.len(), 1);
}

#[test]
fn the_driver_learns_once_per_limit_that_streams_are_wanted() {
    let (ready, cell) = connection_cell();
    for limit in 0..3 {
        let mut wakes = Wakes::new();
        cell.set_stream_limit(Dir::Uni, limit, &mut wakes);
        while cell.poll_open(Dir::Uni, &mut None, Waker::noop()).is_ready() {}
        assert!(cell.poll_open(Dir::Uni, &mut None, Waker::noop()).is_pending());
        assert_eq!(drained(&ready), [Ready::Connection(3)]);
        assert_eq!(cell.take().blocked, [false, true]);
        assert!(cell.poll_open(Dir::Uni, &mut None, Waker::noop()).is_pending());
        assert_eq!(drained(&ready), []);
    }
}

#[test]
fn the_end_of_a_connection_reaches_everyone_who_waits() {
    let (_ready, cell) = connection_cell();
    let wakers: Vec<_> = (0..4).map(|_| CountingWaker::new()).collect();
    assert!(cell.poll_open(Dir::Uni, &mut None, &wakers[0].1).is_pending());
    assert!(cell.poll_accept(Dir::Bi, &mut None, &wakers[1].1).is_pending());
    assert!(cell.poll_closed(&mut None, &wakers[2].1).is_pending());
    assert!(cell.poll_connected(&mut None, &wakers[3].1).is_pending());
    let mut wakes = Wakes::new();
    assert!(cell.on_closed(ConnectionError::TimedOut, &mut wakes).is_empty());
    assert!(cell.on_closed(ConnectionError::Reset, &mut wakes).is_empty());
    wakes.wake_all();
    assert!(wakers.iter().all(|(count, _)| count.get() == 1));
    assert_eq!(cell.error(), Some(ConnectionError::TimedOut), "the first reason counts");
}

#[test]
fn streams_that_the_driver_never_saw_are_handed_over_at_the_end() {
    let (_ready, cell) = connection_cell();
    let mut wakes = Wakes::new();
    cell.set_stream_limit(Dir::Uni, 1, &mut wakes);
    assert!(cell.poll_open(Dir::Uni, &mut None, Waker::noop()).is_ready());
    let lost = cell.on_closed(ConnectionError::TimedOut, &mut wakes);
    assert_eq!(lost.len(), 1);
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until ready, parking the thread in between.
fn block_on<T>(mut poll: impl FnMut(&Waker) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match poll(Context::from_waker(&waker).waker()) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_writer_and_a_reader_thread_move_every_byte_through_a_driver_thread() {
    const TOTAL: u64 = 1 << 20;
    const WINDOW: u64 = 1 << 12;
    let ready = Arc::new(ReadyList::new());
    let send = Arc::new(SendCell::new(Arc::clone(&ready), 0, id(0), WINDOW));
    let recv = Arc::new(RecvCell::new(Arc::clone(&ready), 0, id(0)));
    let (writer_cell, reader_cell) = (Arc::clone(&send), Arc::clone(&recv));

    let writer = thread::spawn(move || {
        let mut written = 0;
        while written < TOTAL {
            let len = (written % 3001 + 1).min(TOTAL - written) as usize;
            let data: Vec<u8> = (written..written + len as u64).map(|byte| byte as u8).collect();
            written += block_on(|waker| writer_cell.poll_write_slice(&data, waker)).unwrap() as u64;
        }
        writer_cell.finish().unwrap();
        block_on(|waker| writer_cell.poll_outcome(&mut None, waker))
    });
    let reader = thread::spawn(move || {
        let mut next = 0_u64;
        while let Some(chunk) = block_on(|waker| reader_cell.poll_read(777, waker)).unwrap() {
            for byte in chunk {
                assert_eq!(byte, next as u8);
                next += 1;
            }
        }
        next
    });

    // The driver: moves data from one cell to the other as if over a wire with a window.
    let (mut work, mut items, mut wakes) = (SendWork::default(), Vec::new(), Wakes::new());
    let (mut moved, mut credited, mut finished) = (0, 0, false);
    while !finished || credited < moved {
        block_on(|waker| match ready.sleep(waker) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        ready.drain(&mut items);
        for item in items.drain(..) {
            match item {
                Ready::Send(..) => {
                    send.take(&mut work);
                    moved += work.chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
                    finished |= work.fin;
                    credited += recv.push(&mut work.chunks, work.fin, WINDOW / 2, &mut wakes);
                }
                Ready::Recv(..) => credited += recv.take().consumed,
                Ready::Endpoint | Ready::Connection(_) => panic!("nobody pushed {item:?}"),
            }
        }
        assert!(moved <= credited + WINDOW + 4096, "the grant bounds what is under way");
        send.grant(credited + WINDOW, &mut wakes);
        wakes.wake_all();
    }
    send.on_ended(SendPhase::Acked, &mut wakes);
    wakes.wake_all();
    assert_eq!(writer.join().unwrap(), SendPhase::Acked);
    assert_eq!(reader.join().unwrap(), TOTAL);
    assert_eq!((moved, credited), (TOTAL, TOTAL));
}

#[test]
fn of_reset_acknowledgement_and_loss_at_once_exactly_one_wins() {
    for round in 0..200_u32 {
        let (_ready, cell) = send_cell(10);
        cell.finish().unwrap();
        let (outcomes, seen) = mpsc::channel();
        let app = {
            let (cell, outcomes) = (Arc::clone(&cell), outcomes.clone());
            thread::spawn(move || {
                let won = cell.reset(code(round));
                outcomes.send((won, cell.phase())).unwrap();
            })
        };
        let mut wakes = Wakes::new();
        let outcome = if round % 2 == 0 { SendPhase::Acked } else { SendPhase::Lost };
        cell.on_ended(outcome, &mut wakes);
        outcomes.send((cell.phase() == outcome, cell.phase())).unwrap();
        app.join().unwrap();
        drop(outcomes);
        let seen: Vec<_> = seen.iter().collect();
        assert_eq!(seen.iter().filter(|(won, _)| *won).count(), 1, "{seen:?}");
        assert!(seen.iter().all(|(_, phase)| *phase == cell.phase()), "{seen:?}");
        assert_eq!(taken(&cell).reset.is_some(), cell.phase() != outcome);
    }
}
