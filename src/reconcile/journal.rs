//! What the reconciler has to remember, in ClickHouse, so that whoever runs next goes on from there.

use anyhow::Context;
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::compare::LocalDay;
use super::report::Report;
use crate::store::Store;

/// Days on which something was repaired are looked at again for so long: only then is a worker that was stopped in the middle
/// of an insert surely gone.
const WATCHED_DAYS: u64 = 7;

/// Where the last finished run stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct LastRun {
    /// Milliseconds since 1970-01-01T00:00Z.
    pub started_ms: i64,
    pub through_ms: i64,
}

/// What a run is about to do, or what became of a day.
pub enum Note<'a> {
    /// To be looked at by the next run.
    Pending,
    Begun {
        rollup: &'a str,
        added: u64,
        removed: u64,
    },
    Done,
}

/// The date in UTC.
pub fn today() -> Date {
    Offset::UTC.to_datetime(Timestamp::now()).date()
}

pub struct Journal<'a>(pub &'a Store);

impl Journal<'_> {
    pub async fn last_run(&self) -> anyhow::Result<LastRun> {
        let sql =
            "SELECT toUnixTimestamp64Milli(max(started_at)), toUnixTimestamp64Milli(max(through)) FROM reconcile_runs";
        let (started_ms, through_ms) = self.0.client().query(sql).fetch_one().await?;
        Ok(LastRun { started_ms, through_ms })
    }

    /// How long all of ClickHouse has been running, in milliseconds.
    pub async fn uptime_ms(&self) -> anyhow::Result<i64> {
        let servers = self.0.of_all_servers("system.one");
        let sql = format!("SELECT 1000 * toInt64(min(uptime())) FROM {servers}");
        Ok(self.0.client().query(&sql).fetch_one().await?)
    }

    /// Every insert that is not visible yet stores its rows at or after this, in milliseconds since 1970-01-01T00:00Z.
    pub async fn stored_through(&self) -> anyhow::Result<i64> {
        let processes = self.0.of_all_servers("system.processes");
        let sql = format!("SELECT toUnixTimestamp64Milli(now64(3)) - toInt64(1000 * max(elapsed)) FROM {processes}");
        Ok(self.0.client().query(&sql).fetch_one().await?)
    }

    /// The first day whose raw events are all kept. It never goes back: what a shorter retention deleted stays deleted when
    /// the retention is made longer.
    pub async fn first_day(&self, raw_days: u32) -> anyhow::Result<Date> {
        let sql = "SELECT toString(max(first_day)) FROM reconcile_runs";
        let before: Date = self.0.client().query(sql).fetch_one::<String>().await?.parse()?;
        // A local day begins up to 14 hours before its date does in UTC, and a day ends while a run lasts.
        let kept = i64::from(raw_days) - 3;
        Ok(before.max(today().checked_sub(kept.days()).unwrap_or(before)))
    }

    /// Days that an earlier run left to do, or repaired lately; in the zone of today.
    pub async fn open_days(&self) -> anyhow::Result<Vec<LocalDay>> {
        let sql = format!(
            "SELECT toString(local_date), system, defined.zone FROM \
             (SELECT system, local_date, argMax(state, (at, state)) AS newest, max(at) AS last FROM repairs \
                GROUP BY system, zone, local_date) AS days \
             LEFT JOIN (SELECT system, argMax(zone, version) AS zone FROM systems GROUP BY system) AS defined USING (system) \
             WHERE newest != 'done' OR last > now() - INTERVAL {WATCHED_DAYS} DAY"
        );
        let days = self
            .0
            .client()
            .query(&sql)
            .fetch_all::<(String, String, String)>()
            .await?;
        days.into_iter()
            .map(|(date, system, zone)| {
                let date = date.parse()?;
                Ok(LocalDay { date, system, zone })
            })
            .collect()
    }

    /// Whether the newest note of the day is another one than `Done`, and how often it was that.
    pub async fn of_day(&self, day: &LocalDay) -> anyhow::Result<(bool, u64)> {
        let sql = "SELECT count() > 0 AND argMax(state, (at, state)) != 'done', countIf(state = 'done') FROM repairs \
            WHERE system = {system:String} AND zone = {zone:String} AND local_date = {day:Date}";
        let query = self.0.client().query(sql);
        let query = query.param("system", &day.system).param("zone", &day.zone);
        let (open, done) = query
            .param("day", day.date.to_string())
            .fetch_one::<(u8, u64)>()
            .await?;
        Ok((open == 1, done))
    }

    pub async fn note(&self, days: &[LocalDay], note: Note<'_>) -> anyhow::Result<()> {
        let (state, rollup, added, removed) = match note {
            Note::Pending => ("pending", "", 0, 0),
            Note::Begun { rollup, added, removed } => ("begun", rollup, added, removed),
            Note::Done => ("done", "", 0, 0),
        };
        let at = format!("{:.3}", Timestamp::now());
        let row = |day: &LocalDay| {
            json!({"system": day.system, "zone": day.zone, "local_date": day.date, "at": at, "state": state,
                "rollup": rollup, "added": added, "removed": removed})
        };
        let columns = "system, zone, local_date, at, state, rollup, added, removed";
        self.insert("repairs", columns, days.iter().map(row)).await
    }

    pub async fn finish(&self, run: &LastRun, first_day: Date, report: &Report) -> anyhow::Result<()> {
        let time = |ms| Timestamp::from_millisecond(ms).map(|time| format!("{time:.3}"));
        let row = json!({
            "started_at": time(run.started_ms)?,
            "finished_at": format!("{:.3}", Timestamp::now()),
            "through": time(run.through_ms)?,
            "first_day": first_day,
            "days": report.days,
            "rows": report.rows,
            "differences": report.differences(),
            "repaired": report.repaired(),
            "pending": report.pending.len(),
        });
        let columns = "started_at, finished_at, through, first_day, days, rows, differences, repaired, pending";
        self.insert("reconcile_runs", columns, [row].into_iter()).await
    }

    async fn insert(&self, table: &str, columns: &str, rows: impl Iterator<Item = Value>) -> anyhow::Result<()> {
        let inserted = self.0.insert_rows(table, columns, rows).await;
        inserted.with_context(|| format!("{table} cannot be written"))
    }
}
