//! The one place between the poll loop and the writing of a batch: at most one batch is being written at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What became of the batch in the slot.
pub enum Slot<T> {
    Idle,
    Writing,
    Written(T),
    Failed(anyhow::Error),
}

/// Hands a batch over and its outcome back, between threads.
pub struct WriteSlot<T> {
    state: Mutex<Slot<T>>,
    changed: Condvar,
}

impl<T> Default for WriteSlot<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(Slot::Idle),
            changed: Condvar::new(),
        }
    }
}

impl<T> WriteSlot<T> {
    /// A panic elsewhere cannot leave a half-made state: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Occupies the slot; `false` when it is occupied already.
    pub fn try_begin(&self) -> bool {
        let mut state = self.lock();
        let idle = matches!(*state, Slot::Idle);
        if idle {
            *state = Slot::Writing;
        }
        idle
    }

    /// Says how the batch in the slot ended.
    pub fn end(&self, outcome: anyhow::Result<T>) {
        *self.lock() = match outcome {
            Ok(written) => Slot::Written(written),
            Err(error) => Slot::Failed(error),
        };
        self.changed.notify_all();
    }

    /// Takes the outcome of the batch in the slot, waiting for it at most so long. `None`: there is no batch, or it is
    /// still being written.
    pub fn outcome(&self, at_most: Duration) -> Option<anyhow::Result<T>> {
        let writing = |state: &mut Slot<T>| matches!(state, Slot::Writing);
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, writing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if matches!(*state, Slot::Writing) {
            return None;
        }
        match std::mem::replace(&mut *state, Slot::Idle) {
            Slot::Written(written) => Some(Ok(written)),
            Slot::Failed(error) => Some(Err(error)),
            Slot::Idle | Slot::Writing => None,
        }
    }

    pub fn is_writing(&self) -> bool {
        matches!(*self.lock(), Slot::Writing)
    }
}
