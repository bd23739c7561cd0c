//! The numbers that stand for users in sets of users (`schemas/clickhouse/0014_ordinals.sql`).
//!
//! **No two users share an ordinal.** An [`Ordinals`] hands them out from blocks of 65,536 whose upper 47 bits it has drawn at
//! random, so that no two have the same block, and nothing has to be agreed on, whatever a process does that was believed dead.
//! Within a block they are dense, as bitmaps want them.
//!
//! **A user may get two**, when two processes meet the same new user at the same moment. That does no harm once it is written
//! down in `split_users`, and it always is before the second one is used: everyone inserts a candidate first and reads
//! afterwards what stands there. Of two inserts one is visible first; whoever reads after the second one sees both, and
//! nobody knows the second one's ordinal who has not read after it. So whoever uses it has seen both, and whoever sees
//! more than one inserts all of them into `split_users` before using any, and the first time waits until every API knows that
//! it has to read them. This rests on a read seeing every insert that has ended before it.
//!
//! Every step may be repeated, and a crash between any two of them leaves at most an ordinal that nobody uses.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use clickhouse::Row;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::Store;
use super::systems::wait_until_seen;
use crate::pseudonym::Pseudonym;

/// Of the 64 bits of an ordinal so many count within its block; the uppermost one of all stays 0.
const COUNTER_BITS: u32 = 16;
const BLOCK_BITS: u32 = 63 - COUNTER_BITS;
/// So many users are asked about in one statement: a megabyte of it, written in hexadecimal.
pub const ASKED_AT_ONCE: usize = 32_768;
const LONGEST_STATEMENT: &str = "2000000";

/// Finds and assigns ordinals. One for each process, so that it begins few blocks and contradicts itself nowhere.
pub struct Ordinals {
    store: Store,
    candidates: Mutex<Candidates>,
    /// Set once every API knows that there are users with several ordinals.
    splits_seen: OnceCell<()>,
}

/// Ordinals that nobody else has.
struct Candidates {
    /// A multiple of the block's size: the block is used up, or there is none yet.
    next: u64,
    /// Proposed, but not known to be stored. A user's candidate stays the same until it is, so that trying again splits nobody.
    proposed: HashMap<Pseudonym, u64>,
}

#[derive(Row, Serialize, Deserialize)]
struct Assigned {
    user: [u8; 16],
    ordinal: u64,
}

impl Ordinals {
    pub fn new(store: &Store) -> Self {
        let candidates = Candidates {
            next: 0,
            proposed: HashMap::new(),
        };
        Self {
            store: store.clone(),
            candidates: Mutex::new(candidates),
            splits_seen: OnceCell::new(),
        }
    }

    /// The ordinal of each of these users, never 0. New users have theirs on disk when this returns. After an error it may be
    /// called again, and should be with the same users.
    pub async fn resolve(&self, users: impl IntoIterator<Item = Pseudonym>) -> anyhow::Result<HashMap<Pseudonym, u64>> {
        let users: Vec<Pseudonym> = users.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut resolved = HashMap::with_capacity(users.len());
        for users in users.chunks(ASKED_AT_ONCE) {
            let mut known = assigned(&self.store, users)
                .await
                .context("ordinals of users cannot be read")?;
            let unknown: Vec<_> = users.iter().copied().filter(|user| !known.contains_key(user)).collect();
            if !unknown.is_empty() {
                self.propose(&unknown)
                    .await
                    .context("ordinals of new users cannot be stored")?;
                known.extend(
                    assigned(&self.store, &unknown)
                        .await
                        .context("ordinals of new users cannot be read")?,
                );
            }
            self.note_splits(&known)
                .await
                .context("users with more than one ordinal cannot be noted")?;
            for user in users {
                let first = known.get(user).and_then(|ordinals| ordinals.first());
                let first =
                    first.with_context(|| format!("user {user}: expected the ordinal that was stored just now"))?;
                resolved.insert(*user, *first);
            }
            self.candidates().settle(&unknown);
        }
        Ok(resolved)
    }

    async fn propose(&self, users: &[Pseudonym]) -> anyhow::Result<()> {
        let rows: Vec<_> = {
            let mut candidates = self.candidates();
            users.iter().map(|&user| (user, candidates.of(user))).collect()
        };
        self.insert("ordinals", rows).await
    }

    async fn note_splits(&self, known: &HashMap<Pseudonym, Vec<u64>>) -> anyhow::Result<()> {
        let split = known.iter().filter(|(_, ordinals)| ordinals.len() > 1);
        let rows: Vec<_> = split
            .flat_map(|(&user, ordinals)| ordinals.iter().map(move |&ordinal| (user, ordinal)))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.insert("split_users", rows).await?;
        // From the first of all on every number reads `split_users`, which an API that believes there are none does not.
        self.splits_seen.get_or_init(wait_until_seen).await;
        Ok(())
    }

    /// Returns when the rows are on disk and visible.
    async fn insert(&self, table: &str, rows: Vec<(Pseudonym, u64)>) -> anyhow::Result<()> {
        let client = self.store.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<Assigned>(table).await?;
        for (user, ordinal) in rows {
            insert.write(&Assigned { user: user.0, ordinal }).await?;
        }
        Ok(insert.end().await?)
    }

    fn candidates(&self) -> std::sync::MutexGuard<'_, Candidates> {
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ordinals of those of the users who have one, the one to use first. At most [`ASKED_AT_ONCE`] users.
pub async fn assigned(store: &Store, users: &[Pseudonym]) -> anyhow::Result<HashMap<Pseudonym, Vec<u64>>> {
    let hex: String = users.iter().map(Pseudonym::to_string).collect();
    // A string and its parts: ClickHouse reads that much faster than a list of literals.
    let sql = "SELECT user, ordinal FROM ordinals \
        WHERE user IN (SELECT toFixedString(substring(unhex(?), 16 * number + 1, 16), 16) FROM numbers(?)) \
        GROUP BY user, ordinal ORDER BY min(assigned_at), ordinal";
    let query = store.client().query(sql).bind(hex).bind(users.len());
    let query = query.with_setting("max_query_size", LONGEST_STATEMENT);
    let mut assigned: HashMap<_, Vec<u64>> = HashMap::new();
    for row in query.fetch_all::<Assigned>().await? {
        assigned.entry(Pseudonym(row.user)).or_default().push(row.ordinal);
    }
    Ok(assigned)
}

impl Candidates {
    fn of(&mut self, user: Pseudonym) -> u64 {
        let Self { next, proposed } = self;
        *proposed.entry(user).or_insert_with(|| {
            if next.trailing_zeros() >= COUNTER_BITS {
                *next = StdRng::from_os_rng().random_range(1..1 << BLOCK_BITS) << COUNTER_BITS | 1;
            }
            let ordinal = *next;
            *next += 1;
            ordinal
        })
    }

    fn settle(&mut self, users: &[Pseudonym]) {
        for user in users {
            self.proposed.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> Pseudonym {
        Pseudonym(u128::from(number).to_be_bytes())
    }

    fn candidates() -> Candidates {
        Candidates {
            next: 0,
            proposed: HashMap::new(),
        }
    }

    #[test]
    fn candidates_are_dense_and_begin_a_new_block_when_one_is_full() {
        let mut candidates = candidates();
        let ordinals: Vec<u64> = (0..200_000).map(|number| candidates.of(user(number))).collect();
        let blocks: Vec<&[u64]> = ordinals.chunk_by(|a, b| a + 1 == *b).collect();
        let block = (1 << COUNTER_BITS) - 1;
        assert_eq!(
            blocks.iter().map(|block| block.len()).collect::<Vec<_>>(),
            [block, block, block, 200_000 - 3 * block]
        );
        assert!(ordinals.iter().all(|&ordinal| 0 < ordinal && ordinal < 1 << 63));
    }

    #[test]
    fn a_candidate_stays_until_it_is_stored() {
        let mut candidates = candidates();
        let first = candidates.of(user(1));
        assert_eq!(candidates.of(user(2)), first + 1);
        assert_eq!(candidates.of(user(1)), first);
        candidates.settle(&[user(1)]);
        assert_eq!(candidates.of(user(1)), first + 2);
    }
}
