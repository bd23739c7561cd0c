//! Retention (M14): of those who began in a week, who is still there in the weeks after.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::window::date_of;
use super::{Cut, DataQuality, Error, Filter, Reader, SystemContext, Window, WindowAnswer, quality};

#[derive(Debug, Serialize, ToSchema)]
pub struct Retention {
    pub system: String,
    pub window: WindowAnswer,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// One for each whole week of the window, in order; a week begins on the system's first day of the week.
    pub cohorts: Vec<Cohort>,
    pub data_quality: DataQuality,
}

/// The users whose first activity is in one week.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cohort {
    /// First day of the week.
    #[schema(value_type = String, format = Date)]
    pub week: Date,
    pub size: Option<u64>,
    /// Week 0, which is everybody, to the last whole week of the window. Empty where suppressed.
    pub weeks: Vec<CohortWeek>,
    /// True where the numbers are withheld because the cohort is too small.
    pub suppressed: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CohortWeek {
    /// Weeks since the cohort's own.
    pub week: u32,
    /// Users of the cohort active in it.
    pub active: u64,
    /// `active` ÷ `size`; null for a cohort of nobody.
    pub share: Option<f64>,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    cohort: u16,
    suppressed: bool,
    size: Option<u64>,
    active: Vec<u64>,
    shares: Vec<Option<f64>>,
}

const SQL: &str = "\
SELECT cohort, toBool(suppressed) AS suppressed, size, active, shares
FROM {{retention}}
ORDER BY cohort";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window, filter: Filter) -> Result<Retention, Error> {
    let cut = Cut::of(filter);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<Row>(reader.about_people(&system, window, &cut, SQL)),
        quality::ask(reader, &system, window)
    )?;
    Ok(Retention {
        window: window.answer(&system),
        system: system.name,
        filter: cut.filter,
        cohorts: rows.into_iter().map(cohort).collect(),
        data_quality,
    })
}

fn cohort(row: Row) -> Cohort {
    let week = |(week, (active, share))| CohortWeek { week, active, share };
    Cohort {
        week: date_of(row.cohort),
        size: row.size,
        weeks: (0..).zip(row.active.into_iter().zip(row.shares)).map(week).collect(),
        suppressed: row.suppressed,
    }
}
