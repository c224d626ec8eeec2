//! The lock, the reference count and the counter of what threads share: those of the standard
//! library, or loom's when the crate is built with `--cfg loom` to prove the types that use them.

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

use imp::atomic::{AtomicU64, Ordering};

pub(crate) use imp::Arc;
#[cfg(not(loom))]
use std::sync::MutexGuard as Guard;

#[cfg(loom)]
use leaf::Guard;
#[cfg(loom)]
pub use leaf::assert_no_lock_is_held;

/// A leaf lock: while it is held no other lock is taken, nobody is woken, no chunk is dropped, and
/// no code of the application runs.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Since nothing that can panic runs under a leaf lock, a poisoned one still guards a sound
    /// value.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let lock = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        #[cfg(loom)]
        return Guard::new(lock);
        #[cfg(not(loom))]
        return lock();
    }
}

/// How often some memory was written anew. It lies beside that memory, and tells loom of every
/// access to it: loom fails a model in which one that writes is not ordered against all others.
#[derive(Debug)]
pub(crate) struct Generation(AtomicU64);

impl Generation {
    pub(crate) fn first() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The memory is about to be written anew.
    pub(crate) fn advance(&mut self) {
        #[cfg(loom)]
        self.0.with_mut(|generation| *generation += 1);
        #[cfg(not(loom))]
        {
            *self.0.get_mut() += 1;
        }
    }

    /// The memory is about to be changed.
    pub(crate) fn on_write(&mut self) {
        #[cfg(loom)]
        self.0.with_mut(|_| ());
    }

    /// The memory is about to be read, or was read for the last time.
    pub(crate) fn on_read(&self) {
        #[cfg(loom)]
        self.get();
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shows that locks are leaves, in models.
#[cfg(loom)]
mod leaf {
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};

    use loom::sync::MutexGuard;

    loom::thread_local! {
        static HELD: Cell<bool> = Cell::new(false);
    }

    /// Panics if the calling thread holds a leaf lock.
    pub fn assert_no_lock_is_held() {
        assert!(!HELD.with(Cell::get), "a leaf lock is held");
    }

    pub(crate) struct Guard<'a, T>(MutexGuard<'a, T>);

    impl<'a, T> Guard<'a, T> {
        pub(super) fn new(lock: impl FnOnce() -> MutexGuard<'a, T>) -> Self {
            assert_no_lock_is_held();
            let guard = lock();
            HELD.with(|held| held.set(true));
            Self(guard)
        }
    }

    impl<T> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            HELD.with(|held| held.set(false));
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.0
        }
    }
}
