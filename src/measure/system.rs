//! What must be known of a system before anything can be asked about it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::reader::{Error, Reader};

/// A system's calendar facts that windows depend on.
#[derive(Debug, Clone)]
pub struct SystemContext {
    pub name: String,
    /// IANA name; `UTC` while the system has no definition.
    pub timezone: String,
    /// 1 = Monday … 7 = Sunday.
    pub week_start: u8,
    /// The last whole local day.
    pub yesterday: Date,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct Row {
    defined: bool,
    zone: String,
    week_start: u8,
    seen: bool,
}

const SQL: &str = "\
SELECT
    toBool(count() > 0) AS defined,
    toString(argMax(zone, version)) AS zone,
    argMax(week_start, version) AS week_start,
    toBool({system:String} IN (SELECT system FROM user_days WHERE system = {system:String} LIMIT 1)
        OR {system:String} IN (SELECT system FROM roster_versions WHERE system = {system:String})) AS seen
FROM systems
WHERE system = {system:String}";

impl SystemContext {
    /// `None` for a system that has neither a definition nor a roster nor any event.
    pub async fn load(reader: &Reader, system: &str) -> Result<Option<Self>, Error> {
        let row: Row = reader.row(reader.question(SQL).param("system", system)).await?;
        if !row.defined && !row.seen {
            return Ok(None);
        }
        let timezone = if row.zone.is_empty() {
            "UTC".to_owned()
        } else {
            row.zone
        };
        // A definition with an unknown zone is refused when it is applied; UTC is only for a time zone database that has lost one since.
        let zone = TimeZone::get(&timezone).unwrap_or(TimeZone::UTC);
        let today = Timestamp::now().to_zoned_datetime(zone).date();
        Ok(Some(Self {
            name: system.to_owned(),
            timezone,
            week_start: if row.defined { row.week_start } else { 1 },
            yesterday: today.yesterday().unwrap_or(today),
        }))
    }
}
