//! Stickiness (M6): how many of a month's users are there on a working day.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::window::date_of;
use super::{Cut, DataQuality, Error, Filter, Reader, SystemContext, Window, WindowAnswer, quality};

#[derive(Debug, Serialize, ToSchema)]
pub struct Stickiness {
    pub system: String,
    pub window: WindowAnswer,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// Mean of the days' ratios; null where no working day of the window has one.
    pub stickiness: Option<f64>,
    /// Its highest possible value, 1: everybody active on every working day. Null where the window has no working day.
    pub ceiling: Option<f64>,
    /// Working days that have a ratio.
    pub averaged_days: u64,
    /// Every working day of the window.
    pub days: Vec<StickinessDay>,
    /// True where the numbers are withheld because the system has too few people.
    pub suppressed: bool,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StickinessDay {
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// Users active on the day.
    pub dau: Option<u64>,
    /// Users active in the 28 days that end with it.
    pub mau: Option<u64>,
    /// `dau` ÷ `mau`; null when nobody was active in the 28 days.
    pub ratio: Option<f64>,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    is_total: bool,
    working_day: u16,
    suppressed: bool,
    dau: Option<u64>,
    mau: Option<u64>,
    ratio: Option<f64>,
    ceiling: Option<f64>,
}

const SQL: &str = "\
SELECT toBool(is_total) AS is_total, working_day, toBool(suppressed) AS suppressed, dau, mau, ratio, ceiling
FROM {{stickiness}}
ORDER BY is_total, working_day";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window, filter: Filter) -> Result<Stickiness, Error> {
    let cut = Cut::of(filter);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<Row>(reader.about_people(&system, window, &cut, SQL)),
        quality::ask(reader, &system, window)
    )?;
    let (totals, days): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.is_total);
    let total = totals.first();
    let day = |row: &Row| StickinessDay {
        day: date_of(row.working_day),
        dau: row.dau,
        mau: row.mau,
        ratio: row.ratio,
    };
    let days: Vec<_> = days.iter().map(day).collect();
    Ok(Stickiness {
        window: window.answer(&system),
        system: system.name,
        filter: cut.filter,
        stickiness: total.and_then(|total| total.ratio),
        ceiling: total.and_then(|total| total.ceiling),
        averaged_days: days.iter().filter(|day| day.ratio.is_some()).count() as u64,
        days,
        suppressed: total.is_some_and(|total| total.suppressed),
        data_quality,
    })
}
