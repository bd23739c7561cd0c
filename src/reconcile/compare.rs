//! One rollup of one local day against the raw events.
//!
//! An insert stores its raw rows and fills the rollups one after the other, so what is read beside it may look different and
//! not be. A difference counts only when, around the reading of it, the raw events of the day did not change, every insert
//! that had begun before has ended, and no worker may still repeat one ([`Comparison::settled`]):
//!
//! - an insert whose raw rows were read was seen in the first count, so it had begun before and has ended before the reading;
//! - an insert whose rollup rows were read and raw rows were not has ended before the second count, which is then another one;
//! - an insert of unknown outcome is repeated only by a worker that has not committed its offsets.

use std::time::Duration;

use bytes::Bytes;
use clickhouse::Row;
use clickhouse::query::Query;
use jiff::civil::Date;
use serde::Deserialize;

use crate::store::rollups::{Holds, RAW_COLUMNS, RAW_TABLES, Rollup, list};
use crate::store::{Store, rebuild};

/// The longest to wait for inserts that were running.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one repair adds and removes at most; the next round does the rest.
const ROWS: usize = 500_000;
const KEYS: usize = 20_000;

/// A local day of a system in the zone that its rollups are read in; `''` is UTC, of a system without definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalDay {
    pub date: Date,
    pub system: String,
    pub zone: String,
}

/// What is different in one rollup of one day.
#[derive(Debug, Row, Deserialize)]
pub struct Difference {
    /// Keys that differ.
    pub keys: u64,
    /// What the rollup has too few of, and too many: clicks, or users where it holds sets of them.
    pub missing: u64,
    pub surplus: u64,
    /// Hashes of the keys that cannot be mended by adding to them: no event stands for them, or for a user of theirs.
    pub unfounded: Vec<u64>,
    /// Events and rollup rows that were compared.
    pub rows: u64,
}

/// A difference that stands, with the rows that mend what can be mended by adding, in RowBinary.
pub struct Settled {
    pub difference: Difference,
    pub additions: Bytes,
}

/// Why a day cannot be compared to the end now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    /// A worker may still repeat an insert of it.
    Uncommitted,
    /// An insert takes long, or stored more of it meanwhile.
    Inserting,
    /// The zone of its system was defined or changed.
    Rebuilding,
    /// Users are being erased.
    Erasing,
}

/// Compares one day.
pub struct Comparison<'a> {
    pub store: &'a Store,
    pub day: &'a LocalDay,
    pub closed_after_ms: u64,
}

impl Comparison<'_> {
    /// A first look; beside running inserts it may find what is none.
    pub async fn look(&self, rollup: &Rollup) -> anyhow::Result<Difference> {
        let keys = list(rollup.keys, |i, _| format!("k{i}"));
        let sql = format!(
            "SELECT countIf(differs) AS keys, toUInt64(sum(key_missing)) AS missing, toUInt64(sum(key_surplus)) AS surplus, \
                groupArrayIf({KEYS})(cityHash64(rebuilt, {keys}), is_unfounded) AS unfounded, toUInt64(sum(compared)) AS rows \
             FROM (SELECT rebuilt, {keys}, max(raw_n != own_n OR raw_n = 0) AS differs, max(raw_n = 0) AS is_unfounded, \
                    sum(greatest(toInt64(raw_n - own_n), 0)) AS key_missing, sum(greatest(toInt64(own_n - raw_n), 0)) AS key_surplus, \
                    sum(raw_n + in_own) AS compared \
                FROM ({}) GROUP BY rebuilt, {keys})",
            self.members(rollup)
        );
        Ok(self.query(&sql).fetch_one().await?)
    }

    /// The difference that is left when nothing moves any more.
    pub async fn settled(&self, rollup: &Rollup) -> anyhow::Result<Result<Settled, Unsettled>> {
        let (before, uncommitted) = self.standing().await?;
        if uncommitted > 0 {
            return Ok(Err(Unsettled::Uncommitted));
        }
        if !self.is_rebuilt().await? {
            return Ok(Err(Unsettled::Rebuilding));
        }
        let erasures = self.erasures().await?;
        if erasures.0 > 0 {
            return Ok(Err(Unsettled::Erasing));
        }
        let ended_before = self.store.running_inserts_end(PATIENCE).await?;
        let difference = self.look(rollup).await?;
        let additions = self.additions(rollup).await?;
        let ended_after = self.store.running_inserts_end(PATIENCE).await?;
        if !self.is_rebuilt().await? {
            return Ok(Err(Unsettled::Rebuilding));
        }
        if self.erasures().await? != erasures {
            return Ok(Err(Unsettled::Erasing));
        }
        let (after, _) = self.standing().await?;
        let stands = ended_before && ended_after && before == after;
        Ok(stands
            .then_some(Settled { difference, additions })
            .ok_or(Unsettled::Inserting))
    }

    /// What [`Difference::unfounded`] holds, as a condition on the rollup's rows.
    pub fn key_hash(rollup: &Rollup) -> String {
        format!(
            "cityHash64(rebuilt, {})",
            list(rollup.keys, |_, key| key.column.to_owned())
        )
    }

    /// A query about this day: `{system:String}`, `{zone:String}`, `{timezone:String}` and `{day:Date}` are set.
    pub fn query(&self, sql: &str) -> Query {
        let LocalDay { date, system, zone } = self.day;
        let timezone = if zone.is_empty() { "UTC" } else { zone };
        let query = self.store.client().query(sql);
        query
            .param("system", system)
            .param("zone", zone)
            .param("timezone", timezone)
            .param("day", date.to_string())
            // Beside the work that matters more.
            .with_setting("max_threads", "1")
            .with_setting("do_not_merge_across_partitions_select_final", "1")
    }

    /// The rows of the day in the rollups.
    pub const STORED: &'static str = "system = {system:String} AND zone = {zone:String} AND local_date = {day:Date}";

    /// The raw events of the day, each once. Time bounds it for the primary key, with a margin around the changes of a zone.
    fn events(&self, columns: &str, table: &str) -> String {
        format!(
            "SELECT {columns}, rebuilt, day, hour FROM (\
                SELECT {columns}, toUInt8(zone != {{zone:String}}) AS rebuilt, \
                    if(zone = {{zone:String}}, local_date, toDate(time, {{timezone:String}})) AS day, \
                    if(zone = {{zone:String}}, local_hour, toHour(time, {{timezone:String}})) AS hour \
                FROM {table} \
                WHERE system = {{system:String}} \
                    AND time >= toDateTime({{day:Date}}, {{timezone:String}}) - INTERVAL 2 HOUR \
                    AND time < toDateTime({{day:Date}} + 1, {{timezone:String}}) + INTERVAL 2 HOUR) \
             WHERE day = {{day:Date}}"
        )
    }

    /// The same, of every table that holds what was counted.
    fn counted_events(&self) -> String {
        RAW_TABLES
            .map(|table| self.events(RAW_COLUMNS, table))
            .join(" UNION ALL ")
    }

    /// One row for each key, or for each user of a key where the rollup holds sets: `raw_n` as the raw events have it, `own_n`
    /// as the rollup has it, `in_own` whether it has it at all.
    fn members(&self, rollup: &Rollup) -> String {
        let keys = list(rollup.keys, |i, _| format!("k{i}"));
        let raw = rollup.members_of(&self.counted_events());
        let own = rollup.stored_members(Self::STORED);
        format!(
            "SELECT rebuilt, {keys}, member, sumIf(n, side) AS raw_n, sumIf(n, NOT side) AS own_n, max(NOT side) AS in_own \
             FROM (SELECT true AS side, rebuilt, {keys}, member, n FROM ({raw}) \
                UNION ALL SELECT false, rebuilt, {keys}, member, n FROM ({own})) \
             GROUP BY rebuilt, {keys}, member"
        )
    }

    /// Rows that add what is missing, and take away the clicks that are too many: sums are modulo 2^64. A key with a user for
    /// whom no event stands is deleted and added whole by the next round; until then it is left alone.
    async fn additions(&self, rollup: &Rollup) -> anyhow::Result<Bytes> {
        let keys = list(rollup.keys, |i, _| format!("k{i}"));
        let value = match rollup.holds {
            Holds::Clicks => "toUInt64(sum(raw_n) - sum(own_n))",
            Holds::Users => "groupBitmapStateIf(member, raw_n > own_n)",
        };
        let sql = format!(
            "SELECT {{system:String}}, {{zone:String}}, rebuilt, {keys}, {value} FROM ({}) \
             GROUP BY rebuilt, {keys} HAVING max(raw_n != own_n) AND min(raw_n) > 0 ORDER BY rebuilt, {keys} LIMIT {ROWS}",
            self.members(rollup)
        );
        Ok(self.query(&sql).fetch_bytes("RowBinary")?.collect().await?)
    }

    /// The number of raw events, and of those among them whose offsets are not committed yet.
    async fn standing(&self) -> anyhow::Result<(u64, u64)> {
        let events = self.events(
            "kafka_topic, kafka_partition, kafka_offset, stored_at",
            "raw_events FINAL",
        );
        let sql = format!(
            "SELECT count(), countIf(kafka_offset >= committed AND stored_at > now64(3) - toIntervalMillisecond({})) \
             FROM ({events}) AS stored LEFT JOIN \
             (SELECT kafka_topic, kafka_partition, argMax(committed_offset, updated_at) AS committed \
                FROM ingest_progress GROUP BY kafka_topic, kafka_partition) AS progress \
             ON stored.kafka_topic = progress.kafka_topic AND stored.kafka_partition = progress.kafka_partition",
            self.closed_after_ms
        );
        Ok(self.query(&sql).fetch_one().await?)
    }

    /// Erasures under way, and the newest one that began: while one moves rows, they stand in two tables or in none.
    async fn erasures(&self) -> anyhow::Result<(u64, i64)> {
        let sql = "SELECT assumeNotNull((SELECT count() FROM erasing)), assumeNotNull((SELECT max(toUnixTimestamp64Milli(before)) FROM erased))";
        Ok(self.store.client().query(sql).fetch_one().await?)
    }

    async fn is_rebuilt(&self) -> anyhow::Result<bool> {
        rebuild::is_settled(self.store, &self.day.system, &self.day.zone).await
    }
}
