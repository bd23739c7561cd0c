//! The one place between the poll loop and the writing of a batch: at most one batch is being written at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What became of the batch in the slot.
#[derive(Default)]
enum Slot {
    #[default]
    Idle,
    Writing,
    Ended(anyhow::Result<()>),
}

/// Hands a batch over and its outcome back, between threads.
#[derive(Default)]
pub struct WriteSlot {
    state: Mutex<Slot>,
    changed: Condvar,
}

impl WriteSlot {
    /// A panic elsewhere cannot leave a half-made state: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Slot> {
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
    pub fn end(&self, outcome: anyhow::Result<()>) {
        *self.lock() = Slot::Ended(outcome);
        self.changed.notify_all();
    }

    /// Takes the outcome of the batch in the slot, waiting for it at most so long. `None`: there is no batch, or it is
    /// still being written.
    pub fn outcome(&self, at_most: Duration) -> Option<anyhow::Result<()>> {
        let writing = |state: &mut Slot| matches!(state, Slot::Writing);
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, writing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if !matches!(*state, Slot::Ended(_)) {
            return None;
        }
        match std::mem::take(&mut *state) {
            Slot::Ended(outcome) => Some(outcome),
            Slot::Idle | Slot::Writing => None,
        }
    }

    pub fn is_writing(&self) -> bool {
        matches!(*self.lock(), Slot::Writing)
    }
}
