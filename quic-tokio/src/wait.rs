//! Futures that take themselves off a list of waiters when they are dropped.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use quic_core::shared::WaitKey;

/// Polls `poll` until it is ready. `leave` is called at the end, also when the future is dropped,
/// if `poll` has put the task on a list.
pub(crate) async fn wait<T>(
    mut poll: impl FnMut(&mut Option<WaitKey>, &Waker) -> Poll<T>,
    leave: impl FnMut(WaitKey),
) -> T {
    let mut place = Place { key: None, leave };
    poll_fn(|cx| poll(&mut place.key, cx.waker())).await
}

struct Place<F: FnMut(WaitKey)> {
    key: Option<WaitKey>,
    leave: F,
}

impl<F: FnMut(WaitKey)> Drop for Place<F> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            (self.leave)(key);
        }
    }
}
