//! A timer that is precise to microseconds, where those of the runtime round to milliseconds: on a
//! link of 10 Mbit/s a packet takes about one.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe::Receiver;

/// A timer of the kernel.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: TimerFd,
    /// The same timer as something to read: a number of expirations, where a pipe has its bytes.
    expirations: Receiver,
}

impl Timer {
    /// A timer that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let reader = timer.as_fd().try_clone_to_owned()?;
        Ok(Self { timer, expirations: Receiver::from_owned_fd_unchecked(reader)? })
    }

    /// Waits until `deadline`, for ever if there is none. May be dropped and called again with
    /// another one.
    pub(crate) async fn sleep_until(&self, deadline: Option<Instant>) -> io::Result<()> {
        let Some(deadline) = deadline else { return std::future::pending().await };
        // Zero would unset it.
        let wait = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        loop {
            self.expirations.readable().await?;
            match self.expirations.try_read(&mut [0; 8]) {
                // What was readable was set before: setting forgets it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_never_early_and_can_be_set_again() {
        let timer = Timer::new().unwrap();
        for _ in 0..20 {
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                biased;
                _ = timer.sleep_until(Some(far)) => panic!("an hour early"),
                () = std::future::ready(()) => {}
            }
            let near = Instant::now() + Duration::from_micros(300);
            timer.sleep_until(Some(near)).await.unwrap();
            assert!(Instant::now() >= near);
        }
    }
}
