//! The lock and the reference count of this module: those of the standard library, or loom's when
//! the crate is built with `--cfg loom` to prove the types that use them.

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

pub(crate) use imp::Arc;
use imp::MutexGuard;

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
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
