//! How long ago the worker last polled Kafka (architecture.md, guarantee 4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When Kafka was last polled; shared between threads.
pub struct Liveness {
    started: Instant,
    last_poll_ms: AtomicU64,
    limit: Duration,
}

impl Liveness {
    /// After `limit` without a poll the partitions may have another owner.
    pub fn new(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            last_poll_ms: AtomicU64::new(0),
            limit,
        }
    }

    pub fn polled(&self) {
        self.last_poll_ms
            .store(self.started.elapsed().as_millis() as u64, Ordering::Release);
    }

    pub fn is_silent(&self) -> bool {
        let last = Duration::from_millis(self.last_poll_ms.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(last) >= self.limit
    }
}
