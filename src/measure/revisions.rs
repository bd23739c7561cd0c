//! Revisions of months: a month is final 7 days after its end, and what changes it then makes a new revision of it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::window::date_of;
use super::{Error, Grain, Reader, SystemContext, Window, WindowAnswer};

#[derive(Debug, Serialize, ToSchema)]
pub struct Revisions {
    pub system: String,
    /// Every month that it touches is told.
    pub window: WindowAnswer,
    pub months: Vec<Month>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Month {
    /// Its first day.
    #[schema(value_type = String, format = Date)]
    pub month: Date,
    /// True until 7 days after its end: what comes until then makes no revision.
    pub provisional: bool,
    /// 1, and one more for each of `changes`.
    pub revision: u64,
    /// By time.
    pub changes: Vec<Change>,
}

/// What changed a final month within one hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct Change {
    /// When the hour begins.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    /// Events of the month that were stored.
    pub late_events: u64,
    /// A definition came into force, which may change every number.
    pub definition: bool,
    /// A roster came into force, which may change every number that has a group or an entitled person in it.
    pub roster: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    month: u16,
    changed_at_s: i64,
    late_events: u64,
    definition: bool,
    roster: bool,
}

const SQL: &str = "\
SELECT month, toInt64(toUnixTimestamp(changed_at)) AS changed_at_s, late_events, toBool(definition_changed) AS definition,
    toBool(roster_changed) AS roster
FROM {{revisions}}
ORDER BY month, changed_at_s";

/// The months that `window` touches, as far as they have begun by `now`.
pub async fn ask(reader: &Reader, system: SystemContext, window: Window, now: Timestamp) -> Result<Revisions, Error> {
    let rows: Vec<Row> = reader.rows(reader.about(&system, window, SQL)).await?;
    let months = window.periods(Grain::Month, system.week_start);
    let month = |part: Window| {
        let first = part.from.first_of_month();
        let changes = rows.iter().filter(|row| date_of(row.month) == first);
        let changes: Vec<_> = changes.map(change).collect();
        Month {
            month: first,
            provisional: now < final_from(first, &system.timezone),
            revision: changes.len() as u64 + 1,
            changes,
        }
    };
    Ok(Revisions {
        months: months.into_iter().map(month).collect(),
        window: window.answer(&system),
        system: system.name,
    })
}

fn change(row: &Row) -> Change {
    Change {
        changed_at: Timestamp::from_second(row.changed_at_s).unwrap_or_default(),
        late_events: row.late_events,
        definition: row.definition,
        roster: row.roster,
    }
}

/// When the month that begins with `first` becomes final.
fn final_from(first: Date, timezone: &str) -> Timestamp {
    let zone = TimeZone::get(timezone).unwrap_or(TimeZone::UTC);
    let day = first.saturating_add(1.month()).saturating_add(7.days());
    day.to_zoned_datetime(zone)
        .map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}
