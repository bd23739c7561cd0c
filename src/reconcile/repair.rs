//! Making the rollups of one day say what the raw events say.
//!
//! Sums are mended by adding the difference, one INSERT for each rollup: a reader sees the wrong number or the right one,
//! nothing between, and an event that is stored at the same moment adds to either. Only keys that no adding can mend are
//! deleted; the next round finds them missing and adds them whole.
//!
//! A note is written before anything is changed and another one when the day was found equal, so that a run which was cut off
//! is followed by one that looks again. Two runs at once send the same addition under the same deduplication token, which
//! counts it once; where they see different states, whoever looks last mends what both did.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use xxhash_rust::xxh3::xxh3_64;

use super::compare::{Comparison, LocalDay, Settled, Unsettled};
use super::journal::{Journal, Note};
use super::report::Finding;
use crate::store::Store;
use crate::store::rollups::{ROLLUPS, Rollup};

/// What is still moving after so many rounds is left for the next run.
const ROUNDS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a day.
#[derive(Default)]
pub struct Outcome {
    /// Events and rollup rows that were compared.
    pub rows: u64,
    pub findings: Vec<Finding>,
    /// Why it could not be compared to the end.
    pub unsettled: Option<Unsettled>,
}

/// Compares the rollups of `day` and repairs them, until they are equal.
pub async fn repair(store: &Store, day: &LocalDay, closed_after_ms: u64) -> anyhow::Result<Outcome> {
    let (was_open, done) = Journal(store).of_day(day).await?;
    let comparison = Comparison {
        store,
        day,
        closed_after_ms,
    };
    let work = Work {
        store,
        day,
        comparison,
        done,
    };
    let mut outcome = Outcome::default();
    let mut findings = BTreeMap::new();
    for round in 0..ROUNDS {
        match work.round(round, &mut outcome, &mut findings).await? {
            Round::Equal => {
                if was_open || !findings.is_empty() {
                    Journal(store).note(std::slice::from_ref(day), Note::Done).await?;
                }
                findings.values_mut().for_each(|finding| finding.repaired = true);
                outcome.unsettled = None;
                break;
            }
            Round::Mended => outcome.unsettled = Some(Unsettled::Inserting),
            Round::Unsettled(why) => {
                outcome.unsettled = Some(why);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    outcome.findings = findings.into_values().collect();
    Ok(outcome)
}

/// What one look at all rollups of a day came to.
enum Round {
    Equal,
    Mended,
    Unsettled(Unsettled),
}

struct Work<'a> {
    store: &'a Store,
    day: &'a LocalDay,
    comparison: Comparison<'a>,
    /// How often the day was done before: a repair of then is not the same as one of now.
    done: u64,
}

impl Work<'_> {
    async fn round(
        &self,
        number: u32,
        outcome: &mut Outcome,
        findings: &mut BTreeMap<&str, Finding>,
    ) -> anyhow::Result<Round> {
        let mut round = Round::Equal;
        for rollup in &ROLLUPS {
            let seen = self.comparison.look(rollup).await?;
            outcome.rows += seen.rows;
            if seen.keys == 0 {
                continue;
            }
            match self.comparison.settled(rollup).await? {
                Err(why) => round = Round::Unsettled(why),
                Ok(settled) => {
                    if settled.difference.keys > 0 {
                        self.mend(rollup, &settled, number).await?;
                        findings
                            .entry(rollup.table)
                            .or_insert_with(|| self.finding(rollup, &settled));
                    }
                    if let Round::Equal = round {
                        round = Round::Mended;
                    }
                }
            }
        }
        Ok(round)
    }

    async fn mend(&self, rollup: &Rollup, found: &Settled, round: u32) -> anyhow::Result<()> {
        let Settled { difference, additions } = found;
        let removed = difference.unfounded.len() as u64;
        let begun = Note::Begun {
            rollup: rollup.table,
            added: difference.keys.saturating_sub(removed),
            removed,
        };
        Journal(self.store).note(std::slice::from_ref(self.day), begun).await?;
        let LocalDay { date, system, zone } = self.day;
        tracing::warn!(
            rollup = rollup.table,
            system,
            zone,
            %date,
            keys = difference.keys,
            missing = difference.missing,
            surplus = difference.surplus,
            "a rollup differs from the raw events and is repaired"
        );
        if !additions.is_empty() {
            self.add(rollup, found, round).await?;
        }
        if removed > 0 {
            self.remove(rollup, &difference.unfounded).await?;
        }
        Ok(())
    }

    async fn add(&self, rollup: &Rollup, found: &Settled, round: u32) -> anyhow::Result<()> {
        let LocalDay { date, system, zone } = self.day;
        let (table, done, rows) = (rollup.table, self.done, xxh3_64(&found.additions));
        let client = self.store.spreading();
        let client = client
            .with_setting("async_insert", "0")
            .with_setting("insert_deduplicate", "1")
            .with_setting(
                "insert_deduplication_token",
                format!("repair {table} {system} {zone} {date} {done} {round} {rows:x}"),
            );
        let sql = format!("INSERT INTO {table} ({}) FORMAT RowBinary", rollup.columns());
        let mut insert = client.insert_formatted_with(sql);
        insert.send(found.additions.clone()).await?;
        insert
            .end()
            .await
            .with_context(|| format!("{table} cannot be repaired"))
    }

    async fn remove(&self, rollup: &Rollup, keys: &[u64]) -> anyhow::Result<()> {
        let (hash, (table, on)) = (Comparison::key_hash(rollup), self.store.stored(rollup.table));
        let keys: Vec<_> = keys.iter().map(u64::to_string).collect();
        let which = format!("{} AND {hash} IN ({})", Comparison::STORED, keys.join(","));
        let delete = self.comparison.query(&format!(
            "DELETE FROM {table} {on} WHERE {which} SETTINGS mutations_sync = 2"
        ));
        let delete = delete.with_setting("max_query_size", "4194304");
        delete
            .execute()
            .await
            .with_context(|| format!("{table} cannot be repaired"))
    }

    fn finding(&self, rollup: &Rollup, found: &Settled) -> Finding {
        Finding {
            day: self.day.clone(),
            rollup: rollup.table,
            keys: found.difference.keys,
            missing: found.difference.missing,
            surplus: found.difference.surplus,
            repaired: false,
        }
    }
}
