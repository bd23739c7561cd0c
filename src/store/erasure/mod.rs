//! Erasing users: what leads to a person goes, what was counted stays.
//!
//! 1. A tombstone is written. From then on ingest drops every event of the user from before the erasure, also one that is read again,
//!    and forgets the user's ordinal; rosters and trainings leave the user's past out.
//! 2. The user's ordinal is noted for as long as the erasure runs, and forgotten: nothing tells any more whose number stands in the raw events and in the
//!    sets of users.
//! 3. What is told per user is moved to a random stand-in, without what leads to the event at its source, or deleted.
//! 4. The connection between tombstone, stand-in and ordinal is deleted.
//!
//! Every step may be repeated. Moving goes partition by partition: a partition that holds the stand-in has been moved. So an erasure that was cut
//! off is taken up by the next one of the same user, where it stopped.

mod rows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clickhouse::Row;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use rows::{Removed, Rows};

use super::{Store, ordinals};
use crate::config::Config;
use crate::pseudonym::{Pseudonym, Pseudonymizer, Tombstone};

/// Workers read the tombstones every second; this is how long they have beside the age of their batches, and then the inserts that run.
const WORKERS_LEARN: Duration = Duration::from_secs(4);
/// The longest that an insert may run which had begun before.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events of this long after the beginning count as those of before: none of the time that it takes keeps the old ordinal.
const AHEAD_S: i64 = 60;

/// What an erasure found and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erased {
    /// Users of whom something was stored.
    pub found: u64,
    /// Users of whom nothing is known: never seen, or erased before.
    pub unknown: u64,
    /// Raw events that were removed.
    pub events: u64,
    /// Rows of one user's clicks on a day that have no user any more.
    pub user_days: u64,
    /// Roster rows that have no user any more.
    pub roster_rows: u64,
    /// Dates of trainings that were removed.
    pub trainings: u64,
}

/// Before which time each erased user is not counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tombstones(HashMap<Tombstone, i64>);

impl Tombstones {
    /// Milliseconds since 1970-01-01T00:00Z; what happened before does not count. `i64::MIN`: nothing was erased.
    pub fn before_ms(&self, pseudonymizer: &Pseudonymizer, user: Pseudonym) -> i64 {
        if self.0.is_empty() {
            return i64::MIN;
        }
        let before = self.0.get(&pseudonymizer.tombstone(user));
        before.copied().unwrap_or(i64::MIN)
    }

    /// The first day on which the user counts anew, of somebody who was erased.
    pub fn first_day(&self, pseudonymizer: &Pseudonymizer, user: Pseudonym) -> Option<Date> {
        let before = Timestamp::from_millisecond(self.before_ms(pseudonymizer, user)).ok()?;
        Some(before.to_zoned_datetime(TimeZone::UTC).date())
    }
}

#[derive(Row, Serialize, Deserialize)]
struct TombstoneRow {
    tombstone: [u8; 16],
    /// Milliseconds since 1970-01-01T00:00Z.
    before: i64,
}

#[derive(Clone, Copy, Row, Serialize, Deserialize)]
struct ErasingRow {
    tombstone: [u8; 16],
    stand_in: [u8; 16],
    /// Milliseconds since 1970-01-01T00:00Z.
    begun_at: i64,
    /// 0: the erasure itself; else one that it removes.
    ordinal: u64,
}

impl Store {
    pub async fn tombstones(&self) -> anyhow::Result<Tombstones> {
        let sql = "SELECT tombstone, max(before) AS before FROM erased GROUP BY tombstone";
        let rows: Vec<TombstoneRow> = self.client().query(sql).fetch_all().await?;
        Ok(Tombstones(
            rows.into_iter()
                .map(|row| (Tombstone(row.tombstone), row.before))
                .collect(),
        ))
    }
}

/// Erases users, of one process one after the other: two that move rows of the same user at the same moment would move them twice.
#[derive(Clone)]
pub struct Eraser {
    store: Store,
    pseudonymizer: Pseudonymizer,
    workers_learn: Duration,
    turn: Arc<Mutex<()>>,
}

impl Eraser {
    pub fn new(store: &Store, config: &Config) -> Self {
        let batch_age = Duration::from_millis(config.ingest.batch_age_ms);
        Self {
            store: store.clone(),
            pseudonymizer: config.privacy.pseudonymizer(),
            workers_learn: WORKERS_LEARN + 2 * batch_age,
            turn: Arc::default(),
        }
    }

    /// Erases what is known of these users until now.
    pub async fn erase(&self, users: &[Pseudonym]) -> anyhow::Result<Erased> {
        let _turn = self.turn.lock().await;
        let now = Timestamp::now();
        let before = now.checked_add(AHEAD_S.seconds())?;
        let tombstones: Vec<_> = users.iter().map(|&user| self.pseudonymizer.tombstone(user)).collect();
        self.write_tombstones(&tombstones, before)
            .await
            .context("tombstones cannot be written")?;
        let erasing = self
            .begin(&tombstones, now)
            .await
            .context("stand-ins cannot be written")?;
        tokio::time::sleep(self.workers_learn).await;
        if !self.store.running_inserts_end(PATIENCE).await? {
            let seconds = PATIENCE.as_secs();
            bail!("an insert into raw_events has been running for {seconds} s; try again");
        }
        let ordinals = self
            .ordinals(users, &erasing)
            .await
            .context("ordinals cannot be noted")?;
        let rows = Rows {
            store: &self.store,
            users,
            stand_ins: erasing.iter().map(|row| row.stand_in).collect(),
            ordinals,
            from: before.to_zoned_datetime(TimeZone::UTC).date(),
        };
        let erased = rows.erase().await?;
        let open = "ALTER TABLE erasing DELETE WHERE has({tombstones:Array(String)}, hex(tombstone)) SETTINGS mutations_sync = 2";
        let hex: Vec<_> = tombstones.iter().map(|tombstone| hex(&tombstone.0)).collect();
        self.store
            .client()
            .query(open)
            .param("tombstones", hex)
            .execute()
            .await?;
        Ok(erased)
    }

    async fn write_tombstones(&self, tombstones: &[Tombstone], before: Timestamp) -> anyhow::Result<()> {
        let client = self.store.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<TombstoneRow>("erased").await?;
        for tombstone in tombstones {
            let before = before.as_millisecond();
            let tombstone = tombstone.0;
            insert.write(&TombstoneRow { tombstone, before }).await?;
        }
        Ok(insert.end().await?)
    }

    /// The erasure of each tombstone: one that was cut off, or a new one.
    async fn begin(&self, tombstones: &[Tombstone], now: Timestamp) -> anyhow::Result<Vec<ErasingRow>> {
        let open = self.erasing().await?;
        let open: HashMap<_, _> = open.into_iter().map(|row| (row.tombstone, row.stand_in)).collect();
        let (mut erasing, mut begun) = (Vec::with_capacity(tombstones.len()), Vec::new());
        for &Tombstone(tombstone) in tombstones {
            let known = open.get(&tombstone).copied();
            let row = ErasingRow {
                tombstone,
                stand_in: known.map_or_else(random, Ok)?,
                begun_at: now.as_millisecond(),
                ordinal: 0,
            };
            if known.is_none() {
                begun.push(row);
            }
            erasing.push(row);
        }
        self.note(&begun).await?;
        Ok(erasing)
    }

    /// The ordinals of the users, also those that an erasure which was cut off has forgotten already: noted, so that they can be forgotten. Beside them
    /// those of raw events that a worker stored after the erasure of their user, because it could not read the tombstones; any stand-in does for these.
    async fn ordinals(&self, users: &[Pseudonym], erasing: &[ErasingRow]) -> anyhow::Result<Removed> {
        let assigned = ordinals::assigned(&self.store, users).await?;
        let left = "SELECT DISTINCT ordinal FROM raw_events WHERE ordinal IN (SELECT ordinal FROM erased_events)";
        let left: Vec<u64> = self.store.client().query(left).fetch_all().await?;
        // Read after `left`: what another erasure is moving is noted by it.
        let noted: HashMap<_, _> = self
            .erasing()
            .await?
            .into_iter()
            .map(|row| (row.ordinal, row))
            .collect();
        let of_user = |(user, row): (&Pseudonym, &ErasingRow)| {
            let ordinals = assigned.get(user).cloned().unwrap_or_default();
            let row = *row;
            ordinals.into_iter().map(move |ordinal| ErasingRow { ordinal, ..row })
        };
        let theirs = users.iter().zip(erasing).flat_map(of_user);
        let ours: HashSet<_> = erasing.iter().map(|row| row.stand_in).collect();
        let cut_off = noted
            .values()
            .filter(|row| row.ordinal > 0 && ours.contains(&row.stand_in));
        let mut rows: Vec<_> = cut_off.copied().chain(theirs).collect();
        let owners = rows.iter().map(|row| row.stand_in).collect();
        let nobodys = erasing
            .first()
            .into_iter()
            .flat_map(|row| left.iter().map(|&ordinal| ErasingRow { ordinal, ..*row }));
        rows.extend(nobodys.filter(|row| !noted.contains_key(&row.ordinal)));
        let new = rows.iter().filter(|row| !noted.contains_key(&row.ordinal));
        self.note(&new.copied().collect::<Vec<_>>()).await?;
        Ok(Removed {
            stand_ins: rows.iter().map(|row| (row.ordinal, row.stand_in)).collect(),
            owners,
        })
    }

    /// What is noted of all erasures that are under way or were cut off.
    async fn erasing(&self) -> anyhow::Result<Vec<ErasingRow>> {
        Ok(self
            .store
            .client()
            .query("SELECT ?fields FROM erasing")
            .fetch_all()
            .await?)
    }

    async fn note(&self, rows: &[ErasingRow]) -> anyhow::Result<()> {
        let client = self.store.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<ErasingRow>("erasing").await?;
        for row in rows {
            insert.write(row).await?;
        }
        Ok(insert.end().await?)
    }
}

fn random() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .context("random numbers of the operating system")?;
    Ok(bytes)
}

/// As ClickHouse's `hex` writes it.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
