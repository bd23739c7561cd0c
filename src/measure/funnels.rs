//! Funnels (M15): who did the steps in order, and how long each took.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cut, DataQuality, Error, Filter, Reader, SystemContext, Window, WindowAnswer, quality};

/// How many steps a funnel may have.
pub const STEPS: std::ops::RangeInclusive<usize> = 2..=10;

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub window: Window,
    /// Different features, as many as [`STEPS`] allows.
    pub steps: Vec<String>,
    /// The longest time from the first step to the last, in whole seconds.
    pub within: Duration,
    pub filter: Filter,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Funnel {
    pub system: String,
    /// The first step lies in the window; the others may come after it.
    pub window: WindowAnswer,
    /// The longest time from the first step to the last.
    pub within_seconds: u64,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub steps: Vec<Step>,
    pub data_quality: DataQuality,
}

/// All numbers are null where suppressed.
#[derive(Debug, Serialize, Deserialize, clickhouse::Row, ToSchema)]
#[schema(as = FunnelStep)]
pub struct Step {
    /// From 1.
    pub step: u64,
    pub feature: String,
    /// Users who did this step after all steps before it.
    pub users: Option<u64>,
    /// `users` ÷ those of the first step.
    pub conversion: Option<f64>,
    /// `users` ÷ those of the step before; null for the first.
    pub step_conversion: Option<f64>,
    /// From the step before, of those who did this one; null for the first.
    pub median_seconds: Option<f64>,
    pub suppressed: bool,
}

const SQL: &str = "\
SELECT toUInt64(step) AS step, feature, CAST(users, 'Nullable(UInt64)') AS users, conversion, step_conversion, median_seconds,
    toBool(suppressed) AS suppressed
FROM {{funnels}}
ORDER BY step";

pub async fn ask(reader: &Reader, request: Request) -> Result<Funnel, Error> {
    let Request {
        system,
        window,
        steps,
        within,
        filter,
    } = request;
    let cut = Cut::of(filter);
    let question = reader
        .about_people(&system, window, &cut, SQL)
        .param("steps", &steps)
        .param("within_s", within.as_secs());
    let (steps, data_quality) = tokio::try_join!(reader.rows(question), quality::ask(reader, &system, window))?;
    Ok(Funnel {
        window: window.answer(&system),
        within_seconds: within.as_secs(),
        filter: cut.filter,
        steps,
        data_quality,
        system: system.name,
    })
}
