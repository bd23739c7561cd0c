//! Where targets stood after a day, as their evaluation left it.

use clickhouse::Row;
use jiff::civil::Date;
use serde::Deserialize;

use super::{Error, Reader, SystemContext, Window};

/// A target and one of its groups.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct Standing {
    pub target: String,
    pub metric: String,
    pub dimension: String,
    /// Empty where the target is one for the whole system.
    pub group_name: String,
    /// The working day that was evaluated, and the first day of `state`; days since 1970-01-01.
    pub day: u16,
    pub since: u16,
    pub state: String,
    pub days: u32,
    pub reason: String,
    pub rate: Option<f64>,
    pub expected: Option<f64>,
    pub target_rate: f64,
    pub eligible: Option<u64>,
    pub day_rate: Option<f64>,
    pub usual_rate: Option<f64>,
}

const SQL: &str = "\
SELECT target, metric, dimension, group_name, day, since, state, days, reason, rate, expected, target_rate, eligible, day_rate, usual_rate
FROM {{targets}}
ORDER BY target, group_name";

/// As of the last working day that was evaluated, none after `on`; empty where there is none.
pub async fn ask(reader: &Reader, system: &SystemContext, on: Date) -> Result<Vec<Standing>, Error> {
    let window = Window { from: on, to: on };
    let question = reader.about(system, window, SQL).param("on", on.to_string());
    reader.rows(question).await
}
