//! Targets as stored: what each day said of them, who has taken note, and what the webhook still has to be told.

use clickhouse::Row;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Store;
use super::systems::day_of_date;

/// A row of `target_days`; the newest of a system, target, group and day counts.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
pub struct TargetDay {
    pub system: String,
    pub target: String,
    /// Empty where the target is one for the whole system.
    pub group_name: String,
    /// Days since 1970-01-01.
    pub day: u16,
    pub metric: String,
    pub dimension: String,
    pub state: String,
    pub decided: String,
    pub days: u32,
    pub since: u16,
    pub previous: String,
    pub reason: String,
    pub rate: Option<f64>,
    pub expected: Option<f64>,
    pub eligible: Option<u64>,
    /// On a sudden drop: the day's own rate, and the median of the last four same weekdays.
    pub day_value: Option<f64>,
    pub usual_value: Option<f64>,
    pub alert_id: String,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub evaluated_at: i64,
}

/// A row of `target_runs`.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
pub struct TargetRun {
    pub system: String,
    pub day: u16,
    /// The version of the definition that it was evaluated by.
    pub definition: u64,
    pub working: bool,
    /// Whether the data were; never false on a day that is not worked.
    pub complete: bool,
    /// Why they were not, for people.
    pub reason: String,
    pub evaluated_at: i64,
}

/// Days since 1970-01-01; 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Row, Deserialize)]
pub struct TargetRuns {
    pub oldest: u16,
    pub newest: u16,
    pub newest_definition: u64,
    pub newest_complete: u16,
    pub newest_working: u16,
}

/// A change of state, with the newest acknowledgement of it.
#[derive(Debug, Clone, Row, Deserialize)]
pub struct AlertRow {
    pub target: String,
    pub group_name: String,
    pub day: u16,
    pub metric: String,
    pub dimension: String,
    pub state: String,
    pub previous: String,
    pub reason: String,
    pub rate: Option<f64>,
    pub expected: Option<f64>,
    pub eligible: Option<u64>,
    pub day_value: Option<f64>,
    pub usual_value: Option<f64>,
    pub alert_id: String,
    pub acknowledged_at: Option<i64>,
    pub acknowledged_by: String,
    pub acknowledged_with: String,
}

/// A row of `target_acknowledgements`.
#[derive(Debug, Clone, Row, Serialize)]
pub struct Acknowledgement {
    pub alert_id: String,
    pub system: String,
    pub at: i64,
    pub who: String,
    pub comment: String,
}

/// A row of `target_notices`.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub struct Notice {
    /// That of the alert.
    pub id: String,
    pub system: String,
    pub day: u16,
    pub made_at: i64,
    pub body: String,
    pub delivered: bool,
    pub attempts: u32,
    pub last_error: String,
    /// Microseconds since 1970-01-01T00:00Z.
    pub updated_at: i64,
}

impl Store {
    /// What the last evaluated working day said of every target and group; of days before `before`, where it is given.
    pub async fn target_days(&self, system: &str, before: Option<Date>) -> anyhow::Result<Vec<TargetDay>> {
        let sql = "SELECT ?fields FROM target_days FINAL WHERE system = {system:String} AND toUInt16(day) < {before:UInt16} \
            ORDER BY target, group_name, day DESC LIMIT 1 BY target, group_name";
        let before = before.map_or(u16::MAX, day_of_date);
        let question = self.client().query(sql).param("system", system).param("before", before);
        Ok(question.fetch_all().await?)
    }

    /// Which days of a system have been evaluated; `None`: not any.
    pub async fn target_runs(&self, system: &str) -> anyhow::Result<Option<TargetRuns>> {
        let sql = "SELECT toUInt16(min(day)) AS oldest, toUInt16(max(day)) AS newest, argMax(definition, day) AS newest_definition, \
                toUInt16(maxIf(day, complete)) AS newest_complete, toUInt16(maxIf(day, working)) AS newest_working \
            FROM target_runs FINAL WHERE system = {system:String} HAVING count() > 0";
        Ok(self
            .client()
            .query(sql)
            .param("system", system)
            .fetch_optional()
            .await?)
    }

    /// What is known of the evaluation of a day.
    pub async fn target_run(&self, system: &str, day: u16) -> anyhow::Result<Option<TargetRun>> {
        let sql =
            "SELECT ?fields FROM target_runs FINAL WHERE system = {system:String} AND toUInt16(day) = {day:UInt16}";
        let question = self.client().query(sql).param("system", system).param("day", day);
        Ok(question.fetch_optional().await?)
    }

    /// Writes a day as evaluated. The run comes last: a day without it is evaluated again.
    pub async fn write_target_day(&self, rows: &[TargetDay], run: &TargetRun) -> anyhow::Result<()> {
        let client = self.client().clone().with_setting("async_insert", "0");
        if !rows.is_empty() {
            let mut insert = client.insert::<TargetDay>("target_days").await?;
            for row in rows {
                insert.write(row).await?;
            }
            insert.end().await?;
        }
        let mut insert = client.insert::<TargetRun>("target_runs").await?;
        insert.write(run).await?;
        Ok(insert.end().await?)
    }

    /// Changes of state, newest first; those after (`day`, `alert_id`) in that order, where it is given.
    pub async fn alerts(
        &self,
        system: &str,
        after: Option<&(u16, String)>,
        limit: usize,
    ) -> anyhow::Result<Vec<AlertRow>> {
        let sql = "SELECT ?fields FROM target_days FINAL \
            LEFT JOIN (SELECT alert_id, toNullable(toUnixTimestamp64Milli(max(at))) AS acknowledged_at, argMax(who, at) AS acknowledged_by, \
                argMax(comment, at) AS acknowledged_with FROM target_acknowledgements WHERE system = {system:String} GROUP BY alert_id) AS notes \
                USING (alert_id) \
            WHERE system = {system:String} AND alert_id != '' AND (toUInt16(day), alert_id) < ({day:UInt16}, {id:String}) \
            ORDER BY day DESC, alert_id DESC LIMIT {limit:UInt64}";
        let question = self.client().query(sql).param("system", system);
        let question = question
            .param("day", after.map_or(u16::MAX, |(day, _)| *day))
            .param("id", after.map_or("", |(_, id)| id))
            .param("limit", limit as u64);
        Ok(question.fetch_all().await?)
    }

    /// Whether a change of state of the system has this id.
    pub async fn has_alert(&self, system: &str, id: &str) -> anyhow::Result<bool> {
        let sql = "SELECT count() FROM target_days FINAL WHERE system = {system:String} AND alert_id != '' AND alert_id = {id:String}";
        let question = self.client().query(sql).param("system", system).param("id", id);
        Ok(question.fetch_one::<u64>().await? > 0)
    }

    pub async fn acknowledge(&self, note: &Acknowledgement) -> anyhow::Result<()> {
        let client = self.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<Acknowledgement>("target_acknowledgements").await?;
        insert.write(note).await?;
        Ok(insert.end().await?)
    }

    /// Those that are not delivered yet, in the order of the days that made them.
    pub async fn waiting_notices(&self) -> anyhow::Result<Vec<Notice>> {
        let sql = "SELECT ?fields FROM target_notices FINAL WHERE NOT delivered ORDER BY day, made_at, id";
        Ok(self.client().query(sql).fetch_all().await?)
    }

    /// Keeps new notices. One that is there already stays as it is.
    pub async fn keep_notices(&self, notices: Vec<Notice>) -> anyhow::Result<()> {
        if notices.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = notices.iter().map(|notice| notice.id.clone()).collect();
        let sql = "SELECT id FROM target_notices WHERE id IN {ids:Array(String)}";
        let known: Vec<String> = self.client().query(sql).param("ids", ids).fetch_all().await?;
        let new: Vec<_> = notices
            .into_iter()
            .filter(|notice| !known.contains(&notice.id))
            .collect();
        self.write_notices(&new).await
    }

    /// Replaces what is known of these notices.
    pub async fn write_notices(&self, notices: &[Notice]) -> anyhow::Result<()> {
        let client = self.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<Notice>("target_notices").await?;
        for notice in notices {
            let updated_at = Timestamp::now().as_microsecond();
            let row = Notice {
                updated_at,
                ..notice.clone()
            };
            insert.write(&row).await?;
        }
        Ok(insert.end().await?)
    }
}
