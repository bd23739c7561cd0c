//! What must be known of a system before anything can be asked about it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::reader::{Error, Reader};
use super::window::date_of;

/// A system's calendar facts that windows depend on.
#[derive(Debug, Clone)]
pub struct SystemContext {
    pub name: String,
    /// IANA name; `UTC` while the system has no definition.
    pub timezone: String,
    /// The zone that the rollups are counted in: empty while the system has no definition.
    pub zone: String,
    /// 1 = Monday … 7 = Sunday.
    pub week_start: u8,
    pub calendar: Calendar,
    /// The newest version of the definition and of the roster; 0 where there is none.
    pub definition: u64,
    pub roster: u64,
    /// Whether any user has several ordinals (`split_users`).
    pub split_users: bool,
    /// The last whole local day.
    pub yesterday: Date,
}

/// As the views know it, which count Monday to Friday while the system has no definition.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// 1 = Monday … 7 = Sunday.
    pub weekdays: Vec<u8>,
    pub holidays: Vec<Date>,
    pub extra_working_days: Vec<Date>,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct Row {
    definition: u64,
    zone: String,
    week_start: u8,
    weekdays: Vec<u8>,
    holidays: Vec<u16>,
    extra_working_days: Vec<u16>,
    roster: u64,
    seen: bool,
    split_users: bool,
}

const SQL: &str = "\
SELECT
    max(version) AS definition,
    toString(argMax(zone, version)) AS zone,
    argMax(week_start, version) AS week_start,
    if(count() = 0, [1, 2, 3, 4, 5], argMax(weekdays, version)) AS weekdays,
    argMax(holidays, version) AS holidays,
    argMax(extra_working_days, version) AS extra_working_days,
    assumeNotNull((SELECT max(version) FROM roster_versions WHERE system = {system:String})) AS roster,
    toBool(definition > 0 OR roster > 0 OR {system:String} IN (SELECT system FROM day_users WHERE system = {system:String} LIMIT 1)) AS seen,
    toBool(1 IN (SELECT 1 FROM split_users LIMIT 1)) AS split_users
FROM systems
WHERE system = {system:String}";

impl SystemContext {
    /// `None` for a system that has neither a definition nor a roster nor any event. What is known is believed for a moment
    /// ([`Reader::forget_systems`]).
    pub async fn load(reader: &Reader, system: &str) -> Result<Option<Self>, Error> {
        let found = async { Self::ask(reader, system).await.map_err(Some)?.ok_or(None) };
        match reader.known.systems.get(system.to_owned(), found).await {
            Ok(context) => Ok(Some(context)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    async fn ask(reader: &Reader, system: &str) -> Result<Option<Self>, Error> {
        let row: Row = reader.row_beside(reader.question(SQL).param("system", system)).await?;
        if !row.seen {
            return Ok(None);
        }
        let timezone = if row.zone.is_empty() { "UTC" } else { &row.zone }.to_owned();
        // A definition with an unknown zone is refused when it is applied; UTC is only for a time zone database that has lost one since.
        let zone = TimeZone::get(&timezone).unwrap_or(TimeZone::UTC);
        let today = Timestamp::now().to_zoned_datetime(zone).date();
        Ok(Some(Self {
            name: system.to_owned(),
            timezone,
            zone: row.zone,
            week_start: row.week_start.max(1),
            calendar: Calendar {
                weekdays: row.weekdays,
                holidays: row.holidays.into_iter().map(date_of).collect(),
                extra_working_days: row.extra_working_days.into_iter().map(date_of).collect(),
            },
            definition: row.definition,
            roster: row.roster,
            split_users: row.split_users,
            yesterday: today.yesterday().unwrap_or(today),
        }))
    }
}
