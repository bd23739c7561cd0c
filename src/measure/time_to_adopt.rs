//! Time to adopt (M9): how long it takes until people first use a feature, those who have not yet included.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::survival::{After, median_days};
use super::{Cut, DataQuality, Error, Filter, Reader, SystemContext, Window, WindowAnswer, quality};

/// All numbers are null where suppressed.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeToAdopt {
    pub system: String,
    pub window: WindowAnswer,
    pub feature: String,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// Entitled persons whose role is expected to use the feature, who are watched from the latest of phase go-live, release and
    /// entitlement.
    pub expected: Option<u64>,
    /// Those who have not used it by the end of the window.
    pub not_adopted: Option<u64>,
    /// `not_adopted` ÷ `expected`; null when nobody is expected.
    pub not_adopted_share: Option<f64>,
    /// Days until half have used it (Kaplan–Meier); null while more than half have not.
    pub median_days: Option<u32>,
    pub suppressed: bool,
    pub data_quality: DataQuality,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    suppressed: bool,
    days: Option<u32>,
    adopted: Option<u64>,
    censored: Option<u64>,
}

const SQL: &str = "\
SELECT toBool(suppressed) AS suppressed, CAST(days, 'Nullable(UInt32)') AS days, adopted, censored
FROM {{time_to_adopt}}
ORDER BY days";

pub async fn ask(
    reader: &Reader,
    system: SystemContext,
    window: Window,
    feature: String,
    filter: Filter,
) -> Result<TimeToAdopt, Error> {
    let cut = Cut::of(filter);
    let question = reader
        .about_people(&system, window, &cut, SQL)
        .param("feature", &feature);
    let (rows, data_quality) = tokio::try_join!(reader.rows::<Row>(question), quality::ask(reader, &system, window))?;
    let suppressed = rows.iter().any(|row| row.suppressed);
    let after = |row: &Row| {
        Some(After {
            days: row.days?,
            events: row.adopted?,
            censored: row.censored?,
        })
    };
    let afters: Vec<_> = rows.iter().filter_map(after).collect();
    let expected = afters.iter().map(|after| after.events + after.censored).sum();
    let not_adopted: u64 = afters.iter().map(|after| after.censored).sum();
    let shown = |count: u64| (!suppressed).then_some(count);
    Ok(TimeToAdopt {
        window: window.answer(&system),
        system: system.name,
        feature,
        filter: cut.filter,
        expected: shown(expected),
        not_adopted: shown(not_adopted),
        not_adopted_share: shown(expected)
            .filter(|expected| *expected > 0)
            .map(|expected| not_adopted as f64 / expected as f64),
        median_days: median_days(&afters),
        suppressed,
        data_quality,
    })
}
