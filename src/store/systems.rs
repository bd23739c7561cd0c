//! System definitions and rosters as stored: every version is kept, the newest one counts.

use std::time::Duration;

use anyhow::Context;
use clickhouse::Row;
use jiff::civil::Date;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Store;
use super::ordinals::Ordinals;
use crate::definition::{Applied, Definition, FIRST_DAY, Feature};
use crate::roster::{Imported, Roster};

/// So long an API answers by the definition and the roster that it has found, unless it was told of another one itself.
pub const BELIEVED: Duration = Duration::from_secs(1);

/// A question that is under way may read by what was believed when it began.
const MOMENT: Duration = Duration::from_secs(5);

/// Returns when every API answers by what was changed: for commands, which no API hears of.
pub async fn wait_until_seen() {
    tokio::time::sleep(BELIEVED).await;
}

/// The version of a system's definition that counts.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct System {
    pub system: String,
    /// Microseconds since 1970-01-01T00:00Z, and greater than that of any version before.
    pub version: u64,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub applied_at: i64,
    pub name: String,
    pub zone: String,
    /// The whole definition as JSON, targets included.
    pub definition: String,
}

impl System {
    /// The definition as it was applied.
    pub fn parsed(&self) -> anyhow::Result<Definition> {
        Ok(serde_json::from_str(&self.definition)?)
    }

    pub fn phase_ids(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.parsed()?.phases.into_iter().map(|phase| phase.id).collect())
    }
}

/// A row of `systems`: the definition, and what the numbers need of it as columns.
fn stored(definition: &Definition, text: &str, version: u64) -> serde_json::Value {
    let calendar = &definition.calendar;
    let cadence = |feature: &Feature| feature.cadence.map_or("", |cadence| cadence.name());
    json!({
        "system": definition.system,
        "version": version,
        "applied_at": format!("{:.3}", Timestamp::now()),
        "name": definition.name,
        "zone": definition.timezone,
        "week_start": calendar.week_start as u8,
        "weekdays": calendar.weekdays.iter().map(|&day| day as u8).collect::<Vec<_>>(),
        "holidays": calendar.holidays,
        "extra_working_days": calendar.extra_working_days,
        "phases": definition.phases.iter().map(|phase| json!({
            "phase": phase.id, "name": phase.name, "go_live": phase.go_live, "kpi_met": phase.kpi_met,
        })).collect::<Vec<_>>(),
        "features": definition.features.iter().map(|feature| json!({
            "feature": feature.key, "title": feature.title, "released": feature.released, "roles": feature.roles,
            "cadence": cadence(feature),
        })).collect::<Vec<_>>(),
        "definition": text,
    })
}

/// The day number that ClickHouse's `Date` holds; [`Definition`] and [`Roster`] hold no other days.
pub fn day_of_date(date: Date) -> u16 {
    let span = date.since((Unit::Day, FIRST_DAY)).map_or(0, |span| span.get_days());
    u16::try_from(span).unwrap_or(u16::MAX)
}

/// The date of a `Date` of ClickHouse.
pub fn date_of_day(day: u16) -> Date {
    FIRST_DAY.saturating_add(jiff::Span::new().days(i64::from(day)))
}

const SYSTEM_COLUMNS: &str = "system, version, applied_at, name, zone, week_start, weekdays, holidays, extra_working_days, \
    phases, features, definition";

/// A roster row as stored.
#[derive(Row, Serialize)]
struct RosterRow<'a> {
    system: &'a str,
    version: u64,
    user: [u8; 16],
    ordinal: u64,
    kind: i8,
    unit: &'a str,
    role: &'a str,
    tier: &'a str,
    site: &'a str,
    phase: &'a str,
    entitled_from: u16,
    entitled_to: u16,
    next_from: u16,
}

#[derive(Row, Serialize, Deserialize)]
struct RosterVersion {
    system: String,
    version: u64,
    /// Milliseconds since 1970-01-01T00:00Z.
    imported_at: i64,
    rows: u64,
    users: u64,
    sha256: String,
}

impl Store {
    /// Every defined system, by name.
    pub async fn systems(&self) -> anyhow::Result<Vec<System>> {
        let sql = "SELECT ?fields FROM systems ORDER BY system, version DESC LIMIT 1 BY system";
        Ok(self.client().query(sql).fetch_all().await?)
    }

    /// `None`: the system has no definition.
    pub async fn system(&self, name: &str) -> anyhow::Result<Option<System>> {
        let sql = "SELECT ?fields FROM systems WHERE system = {system:String} ORDER BY version DESC LIMIT 1";
        Ok(self.client().query(sql).param("system", name).fetch_optional().await?)
    }

    /// Makes `definition` the one in force, unless it is already.
    pub async fn apply_definition(&self, definition: &Definition) -> anyhow::Result<Applied> {
        let text = serde_json::to_string(definition)?;
        let before = self.system(&definition.system).await?;
        if let Some(current) = before.as_ref().filter(|current| current.definition == text) {
            return Ok(Applied {
                system: definition.system.clone(),
                version: current.version,
                changed: false,
                changes: Vec::new(),
            });
        }
        let version = next_version(before.as_ref().map(|system| system.version));
        let row = stored(definition, &text, version);
        self.insert_rows("systems", SYSTEM_COLUMNS, [row]).await?;
        let changes = match &before {
            Some(system) => definition.changes_since(&system.parsed()?),
            None => Vec::new(),
        };
        Ok(Applied {
            system: definition.system.clone(),
            version,
            changed: true,
            changes,
        })
    }

    /// Makes `roster` the one in force for `system`, unless it is already. All or nothing: the rows count only once their
    /// version is written, which comes last.
    pub async fn import_roster(&self, system: &str, roster: &Roster) -> anyhow::Result<Imported> {
        let sql = "SELECT ?fields FROM roster_versions WHERE system = {system:String} ORDER BY version DESC LIMIT 1";
        let before: Option<RosterVersion> = self
            .client()
            .query(sql)
            .param("system", system)
            .fetch_optional()
            .await?;
        let sha256 = roster.sha256();
        let current = match before {
            Some(current) if current.sha256 == sha256 => (current, false),
            before => {
                let before = before.map(|before| before.version);
                let versions = (before.unwrap_or(0), next_version(before));
                (self.write_roster(system, roster, versions, sha256).await?, true)
            }
        };
        let (
            RosterVersion {
                version, rows, users, ..
            },
            changed,
        ) = current;
        Ok(Imported {
            system: system.to_owned(),
            version,
            changed,
            rows,
            users,
        })
    }

    async fn write_roster(
        &self,
        system: &str,
        roster: &Roster,
        (before, version): (u64, u64),
        sha256: String,
    ) -> anyhow::Result<RosterVersion> {
        let ordinals = Ordinals::new(self)
            .resolve(roster.rows().iter().map(|row| row.user))
            .await?;
        let mut insert = self.client().insert::<RosterRow>("roster").await?;
        for (index, row) in roster.rows().iter().enumerate() {
            let ordinal = ordinals
                .get(&row.user)
                .with_context(|| format!("user {}: expected an ordinal", row.user))?;
            insert
                .write(&RosterRow {
                    system,
                    version,
                    user: row.user.0,
                    ordinal: *ordinal,
                    kind: row.kind as i8,
                    unit: &row.unit,
                    role: &row.role,
                    tier: &row.tier,
                    site: &row.site,
                    phase: &row.phase,
                    entitled_from: day_of_date(row.from),
                    entitled_to: day_of_date(row.to),
                    next_from: day_of_date(roster.next_from(index)),
                })
                .await?;
        }
        insert.end().await?;
        // The days of erased persons, whom no file may name any more.
        let columns =
            "system, user, ordinal, kind, unit, role, tier, site, phase, entitled_from, entitled_to, next_from, erased";
        let erased = format!(
            "INSERT INTO roster (version, {columns}) SELECT {{version:UInt64}}, {columns} FROM roster \
             WHERE system = {{system:String}} AND version = {{before:UInt64}} AND erased"
        );
        let erased = self
            .client()
            .query(&erased)
            .param("system", system)
            .param("before", before);
        erased.param("version", version).execute().await?;
        let written = RosterVersion {
            system: system.to_owned(),
            version,
            imported_at: Timestamp::now().as_millisecond(),
            rows: roster.rows().len() as u64,
            users: roster.users() as u64,
            sha256,
        };
        let mut insert = self.client().insert::<RosterVersion>("roster_versions").await?;
        insert.write(&written).await?;
        insert.end().await?;
        self.forget_versions("roster", system, before).await?;
        Ok(written)
    }

    /// Removes the rows of versions that nobody answers by any more, at most those older than `before`. One that was in force a
    /// moment ago stays: an API may still believe it. In the background, because nobody reads them.
    pub(super) async fn forget_versions(&self, table: &str, system: &str, before: u64) -> anyhow::Result<()> {
        let a_moment_ago = u64::try_from(Timestamp::now().checked_sub(MOMENT)?.as_microsecond())?;
        let query = |sql: &str, version: u64| {
            self.client()
                .query(sql)
                .param("system", system)
                .param("version", version)
        };
        let versions = format!(
            "SELECT min(version), maxIf(version, version <= {{version:UInt64}}) FROM {table} WHERE system = {{system:String}}"
        );
        let (oldest, kept): (u64, u64) = query(&versions, before.min(a_moment_ago)).fetch_one().await?;
        if oldest < kept {
            let removal =
                format!("ALTER TABLE {table} DELETE WHERE system = {{system:String}} AND version < {{version:UInt64}}");
            query(&removal, kept).execute().await?;
        }
        Ok(())
    }
}

/// Now in microseconds, or one more than `current` where the clock stands behind it.
pub(super) fn next_version(current: Option<u64>) -> u64 {
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
    current.map_or(now, |current| now.max(current + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::LAST_DAY;
    use jiff::civil::date;

    #[test]
    fn days_are_those_of_clickhouse() {
        assert_eq!(day_of_date(FIRST_DAY), 0);
        assert_eq!(day_of_date(date(2026, 3, 2)), 20514);
        assert_eq!(day_of_date(LAST_DAY), u16::MAX);
        assert_eq!(date_of_day(u16::MAX), LAST_DAY);
        assert_eq!(date_of_day(20514), date(2026, 3, 2));
    }

    #[test]
    fn a_version_is_greater_than_the_one_before_even_when_the_clock_went_back() {
        let ahead = next_version(None) + 1_000_000_000;
        assert_eq!(next_version(Some(ahead)), ahead + 1);
        assert!(next_version(Some(1)) > 1);
    }
}
