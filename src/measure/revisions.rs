//! Revisions of months: a month is final 7 days after its end, and what changes it then makes a new revision of it.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::quality::Asked;
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

/// Which revision of its months an answer about a window shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Whether a month that the window touches is not final yet.
    pub provisional: bool,
    pub changes: Changes,
}

/// What has changed the final months of a window since they became final.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Hours in which something did.
    pub count: u64,
    /// When the last of them began.
    pub last: Option<Timestamp>,
}

#[derive(clickhouse::Row, Deserialize)]
struct ChangesRow {
    count: u64,
    last_s: i64,
}

const CHANGES_SQL: &str = "\
SELECT uniqExact(changed_at) AS count, toInt64(toUnixTimestamp(max(changed_at))) AS last_s
FROM {{revisions}}";

/// Changes of final months are few, and each is told with the hour it came in. A new definition or roster is seen at once.
pub(super) const BELIEVED: Duration = Duration::from_secs(10);

pub async fn shown(reader: &Reader, system: &SystemContext, window: Window, now: Timestamp) -> Result<Shown, Error> {
    let is_final = |day: Date| final_from(day.first_of_month(), &system.timezone) <= now;
    let last = window.to.yesterday().unwrap_or(window.to);
    let changes = if is_final(window.from) {
        // Whole months, so that windows of the same months are asked about once.
        let months = Window {
            from: window.from.first_of_month(),
            to: last.last_of_month().saturating_add(1.day()),
        };
        let changes = changes(reader, system, months);
        reader.known.changes.get(Asked::of(system, months), changes).await?
    } else {
        Changes::default()
    };
    let provisional = !is_final(last);
    Ok(Shown { provisional, changes })
}

async fn changes(reader: &Reader, system: &SystemContext, window: Window) -> Result<Changes, Error> {
    let row: ChangesRow = reader.row_beside(reader.about(system, window, CHANGES_SQL)).await?;
    Ok(Changes {
        count: row.count,
        last: Timestamp::from_second(row.last_s).ok().filter(|_| row.count > 0),
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
