//! The users that a worker has met: what stands for them in a row, under a hash of their id.

use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::pseudonym::{Pseudonym, Pseudonymizer};
use crate::store::erasure::Tombstones;

/// About 45 bytes each. Beyond that the memory begins anew, and every user is looked up once more.
const MOST: usize = 900_000;

/// Stands for a user id; means nothing outside of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserKey([u64; 2]);

#[derive(Debug, Clone, Copy)]
pub struct User {
    pub key: UserKey,
    pub pseudonym: Pseudonym,
    /// 0: not known yet.
    pub ordinal: u64,
    /// What happened before does not count.
    pub erased_before_ms: i64,
}

/// Remembers pseudonyms, which cost more to compute than everything else that is done for an event, and ordinals, which
/// ClickHouse has to be asked for. Holds no clear ids.
pub struct Users {
    pseudonymizer: Pseudonymizer,
    /// Random, so that nobody can choose ids that are taken for one another.
    seed: u64,
    known: HashTable<User>,
    tombstones: Arc<Tombstones>,
}

impl Users {
    pub fn new(pseudonymizer: Pseudonymizer, seed: u64, tombstones: Arc<Tombstones>) -> Self {
        Self {
            pseudonymizer,
            seed,
            known: HashTable::new(),
            tombstones,
        }
    }

    pub fn of(&mut self, subject: &str) -> User {
        let hash = xxh3_128_with_seed(subject.as_bytes(), self.seed);
        let key = UserKey([hash as u64, (hash >> 64) as u64]);
        if let Some(user) = self.known.find(key.0[0], |user| user.key == key) {
            return *user;
        }
        if self.known.len() == MOST {
            self.known.clear();
        }
        let pseudonym = self.pseudonymizer.pseudonym(subject);
        let user = User {
            key,
            pseudonym,
            ordinal: 0,
            erased_before_ms: self.tombstones.before_ms(&self.pseudonymizer, pseudonym),
        };
        self.known.insert_unique(key.0[0], user, |user| user.key.0[0]);
        user
    }

    /// Others were erased: everybody is looked up anew, because an erased user who comes back has another ordinal.
    pub fn forget(&mut self, tombstones: Arc<Tombstones>) {
        self.known.clear();
        self.tombstones = tombstones;
    }

    /// From now on `of` gives the ordinal too.
    pub fn learn(&mut self, key: UserKey, ordinal: u64) {
        if let Some(user) = self.known.find_mut(key.0[0], |user| user.key == key) {
            user.ordinal = ordinal;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinal_is_learnt_once_and_then_given() {
        let pseudonymizer = Pseudonymizer::new(b"key");
        let mut users = Users::new(pseudonymizer.clone(), 7, Arc::default());
        let met = users.of("u-1");
        assert_eq!((met.pseudonym, met.ordinal), (pseudonymizer.pseudonym("u-1"), 0));
        users.learn(met.key, 42);
        assert_eq!((users.of("u-1").ordinal, users.of("u-2").ordinal), (42, 0));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut users = Users::new(Pseudonymizer::new(b"key"), 7, Arc::default());
        let first = users.of("u-0");
        users.learn(first.key, 42);
        for number in 1..=MOST {
            users.of(&format!("u-{number}"));
        }
        assert!(users.known.len() <= MOST);
        assert_eq!(
            (users.of("u-0").pseudonym, users.of("u-0").ordinal),
            (first.pseudonym, 0)
        );
    }
}
