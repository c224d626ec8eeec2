//! A deadline for progress that costs nothing while there is progress.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// Barks when nothing has happened for between one and two periods.
#[derive(Debug)]
pub(crate) struct Watchdog {
    period: Duration,
    /// Made when something is waited for the first time.
    timer: Option<Pin<Box<Sleep>>>,
    progress: Progress,
}

/// What happened since the timer was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    None,
    Some,
}

impl Watchdog {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, timer: None, progress: Progress::None }
    }

    /// Something happened.
    pub(crate) fn feed(&mut self) {
        self.progress = Progress::Some;
    }

    /// To be polled while waiting; ready when nothing has happened for too long.
    pub(crate) fn poll_bark(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let period = self.period;
        let timer = self.timer.get_or_insert_with(|| {
            self.progress = Progress::None;
            Box::pin(tokio::time::sleep(period))
        });
        while timer.as_mut().poll(cx).is_ready() {
            if self.progress == Progress::None {
                return Poll::Ready(());
            }
            self.progress = Progress::None;
            timer.as_mut().reset(tokio::time::Instant::now() + period);
        }
        Poll::Pending
    }
}
