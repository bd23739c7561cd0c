//! What was found is believed for a moment: those who look at one window ask for many numbers of it at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many answers are kept at most; then all are forgotten.
const KNOWN_AT_MOST: usize = 1_000;

/// Answers by what was asked, each believed for a fixed time since it was asked.
pub struct Memo<K, V> {
    believed: Duration,
    known: Mutex<Answers<K, V>>,
}

struct Answers<K, V> {
    /// What was asked earlier is not remembered.
    since: Instant,
    by_key: HashMap<K, (Instant, V)>,
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    pub fn new(believed: Duration) -> Self {
        let known = Mutex::new(Answers {
            since: Instant::now(),
            by_key: HashMap::new(),
        });
        Self { believed, known }
    }

    /// What is known of `key`, or what `ask` finds. Two who ask at the same moment may both ask.
    pub async fn get<E>(&self, key: K, ask: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let asked = Instant::now();
        if let Some((at, value)) = self.lock().by_key.get(&key)
            && asked.duration_since(*at) < self.believed
        {
            return Ok(value.clone());
        }
        let value = ask.await?;
        let mut known = self.lock();
        if known.by_key.len() >= KNOWN_AT_MOST {
            known.by_key.clear();
        }
        if asked >= known.since {
            known.by_key.insert(key, (asked, value.clone()));
        }
        Ok(value)
    }

    /// Whoever asks from now on is told nothing that was asked before.
    pub fn forget(&self) {
        let mut known = self.lock();
        known.since = Instant::now();
        known.by_key.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Answers<K, V>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_asked_again_when_it_is_no_longer_believed() {
        let ask = |value| async move { Ok::<u32, Infallible>(value) };
        let long = Memo::new(Duration::from_secs(3_600));
        assert_eq!(long.get("a", ask(1)).await.unwrap(), 1);
        assert_eq!(long.get("a", ask(2)).await.unwrap(), 1);
        assert_eq!(long.get("b", ask(3)).await.unwrap(), 3);

        let never = Memo::new(Duration::ZERO);
        assert_eq!(never.get("a", ask(1)).await.unwrap(), 1);
        assert_eq!(never.get("a", ask(2)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_is_forgotten_while_it_is_asked_is_not_remembered() {
        let memo = Memo::new(Duration::from_secs(3_600));
        let forgotten = async {
            memo.forget();
            Ok::<u32, Infallible>(1)
        };
        assert_eq!(memo.get("a", forgotten).await.unwrap(), 1);
        assert_eq!(memo.get("a", async { Ok::<u32, Infallible>(2) }).await.unwrap(), 2);
        assert_eq!(memo.get("a", async { Ok::<u32, Infallible>(3) }).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let memo = Memo::new(Duration::from_secs(3_600));
        assert!(memo.get("a", async { Err("no answer") }).await.is_err());
        assert_eq!(memo.get("a", async { Ok::<u32, Infallible>(1) }).await.unwrap(), 1);
    }
}
