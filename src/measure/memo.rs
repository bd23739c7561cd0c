//! What was found is believed for a moment: those who look at one window ask for many numbers of it at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Error;

/// So many answers are kept at most; then all are forgotten.
const KNOWN_AT_MOST: usize = 1_000;

/// Answers by what was asked, each believed for a fixed time since it was asked.
pub struct Memo<K, V> {
    believed: Duration,
    known: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    pub fn new(believed: Duration) -> Self {
        Self {
            believed,
            known: Mutex::default(),
        }
    }

    /// What is known of `key`, or what `ask` finds. Two who ask at the same moment may both ask.
    pub async fn get(&self, key: K, ask: impl Future<Output = Result<V, Error>>) -> Result<V, Error> {
        let asked = Instant::now();
        if let Some((at, value)) = self.lock().get(&key)
            && asked.duration_since(*at) < self.believed
        {
            return Ok(value.clone());
        }
        let value = ask.await?;
        let mut known = self.lock();
        if known.len() >= KNOWN_AT_MOST {
            known.clear();
        }
        known.insert(key, (asked, value.clone()));
        Ok(value)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, (Instant, V)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_asked_again_when_it_is_no_longer_believed() {
        let ask = |value| async move { Ok::<u32, Error>(value) };
        let long = Memo::new(Duration::from_secs(3_600));
        assert_eq!(long.get("a", ask(1)).await.unwrap(), 1);
        assert_eq!(long.get("a", ask(2)).await.unwrap(), 1);
        assert_eq!(long.get("b", ask(3)).await.unwrap(), 3);

        let never = Memo::new(Duration::ZERO);
        assert_eq!(never.get("a", ask(1)).await.unwrap(), 1);
        assert_eq!(never.get("a", ask(2)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let memo = Memo::new(Duration::from_secs(3_600));
        let failed = async { Err(Error::Deadline(Duration::ZERO)) };
        assert!(memo.get("a", failed).await.is_err());
        assert_eq!(memo.get("a", async { Ok(1) }).await.unwrap(), 1);
    }
}
