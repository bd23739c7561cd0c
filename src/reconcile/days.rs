//! Which local days a run looks at.

use jiff::ToSpan;
use jiff::civil::Date;

use super::compare::LocalDay;
use crate::store::Store;

/// Local days on which raw events stand. A day without any is never compared: they may have been deleted.
pub struct Selection {
    pub system: Option<String>,
    /// `[from, to)`
    pub from: Date,
    pub to: Date,
    /// Only those of events that ClickHouse stored since then; milliseconds since 1970-01-01T00:00Z.
    pub stored_since_ms: i64,
}

impl Selection {
    pub async fn days(&self, store: &Store) -> anyhow::Result<Vec<LocalDay>> {
        let sql = "SELECT system, zone FROM \
             (SELECT DISTINCT system FROM raw_events WHERE stored_at >= fromUnixTimestamp64Milli({since:Int64}) \
                AND time >= toDateTime({after:Date}, 'UTC') AND time < toDateTime({before:Date}, 'UTC')) AS stored \
             LEFT JOIN (SELECT system, argMax(zone, version) AS zone FROM systems GROUP BY system) AS defined USING (system) \
             ORDER BY system";
        let systems = self.query(store, sql).fetch_all::<(String, String)>().await?;
        let mut days = Vec::new();
        for (system, zone) in systems {
            if self.system.as_ref().is_none_or(|only| *only == system) {
                days.extend(self.days_of(store, system, zone).await?);
            }
        }
        Ok(days)
    }

    async fn days_of(&self, store: &Store, system: String, zone: String) -> anyhow::Result<Vec<LocalDay>> {
        let timezone = if zone.is_empty() { "UTC" } else { &zone };
        let sql = "SELECT DISTINCT toString(if(zone = {zone:String}, local_date, toDate(time, {timezone:String})) AS day) \
             FROM raw_events WHERE system = {system:String} AND stored_at >= fromUnixTimestamp64Milli({since:Int64}) \
                AND time >= toDateTime({after:Date}, 'UTC') AND time < toDateTime({before:Date}, 'UTC') \
                AND day >= {from:Date} AND day < {to:Date}";
        let query = self.query(store, sql).param("system", &system).param("zone", &zone);
        let dates = query.param("timezone", timezone).fetch_all::<String>().await?;
        let day = |date: String| {
            let (system, zone) = (system.clone(), zone.clone());
            Ok(LocalDay {
                date: date.parse()?,
                system,
                zone,
            })
        };
        dates.into_iter().map(day).collect()
    }

    /// With the bounds set. Those of `time` are a day wider: no zone is further from UTC.
    fn query(&self, store: &Store, sql: &str) -> clickhouse::query::Query {
        let query = store.client().query(sql);
        query
            .param("since", self.stored_since_ms)
            .param("from", self.from.to_string())
            .param("to", self.to.to_string())
            .param("after", self.from.saturating_sub(1.day()).to_string())
            .param("before", self.to.saturating_add(1.day()).to_string())
            .with_setting("max_threads", "1")
    }
}
