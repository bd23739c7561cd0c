//! System definitions: what Uptake is told about an observed system (calendar, phases, features, targets).
//!
//! `parse` is the only way from a text to a [`Definition`] and tells everything that is wrong at once; `apply` compares
//! with the version in force and stores a new one only when something differs.

mod node;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::audit::{self, Action, Actor};
use crate::config::{Config, Endpoints};
use crate::error::{BadInput, Problems};
use crate::store::{Store, rebuild, systems};

pub(crate) use parse::{SYSTEM_NAME, day, is_label};

/// The first and the last day that storage can hold; the last one also stands for "open end".
pub const FIRST_DAY: Date = Date::constant(1970, 1, 1);
pub const LAST_DAY: Date = Date::constant(2149, 6, 6);

/// An observed system. `schemas/definition.example.yaml` shows one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// 1–64 characters `[a-z0-9][a-z0-9_-]*`.
    pub system: String,
    pub name: String,
    /// IANA name; every local day and hour of the system's numbers is one of this zone.
    pub timezone: String,
    pub calendar: Calendar,
    #[serde(default)]
    pub phases: Vec<Phase>,
    #[serde(default)]
    pub features: Vec<Feature>,
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// A day is a working day when it is an extra working day, or one of `weekdays` and no holiday.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Never empty.
    pub weekdays: Vec<Weekday>,
    #[serde(default)]
    pub week_start: Weekday,
    #[serde(default)]
    #[schema(value_type = Vec<String>, format = Date)]
    pub holidays: Vec<Date>,
    #[serde(default)]
    #[schema(value_type = Vec<String>, format = Date)]
    pub extra_working_days: Vec<Date>,
}

/// A day of the week, numbered from 1 = Monday as in ISO 8601 and in storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Weekday {
    #[default]
    Mon = 1,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A rollout wave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub id: String,
    pub name: String,
    #[schema(value_type = String, format = Date)]
    pub go_live: Date,
    /// Whether the phase's own KPI is met; absent while nobody has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpi_met: Option<bool>,
}

/// A feature of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub key: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub released: Option<Date>,
    /// The roles expected to use it; empty: everyone entitled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cadence: Option<Cadence>,
}

/// How often a feature is meant to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    Daily,
    Weekly,
    Monthly,
    Quarterly,
    Yearly,
}

impl Cadence {
    /// As written in definitions and stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Quarterly => "quarterly",
            Self::Yearly => "yearly",
        }
    }
}

/// What a number should reach, and when falling behind is an alert (product.md, M20).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub id: String,
    pub metric: Metric,
    #[serde(default)]
    pub by: Dimension,
    /// Above 0, at most 1.
    pub target: f64,
    /// Days after go-live at which the target is due.
    pub due_days: u32,
    /// Consecutive working days below the ramp before it counts as breached, and above it before it counts as met again.
    pub breach_days: u32,
    /// How far a working day may fall below the median of the last four same weekdays, as a share of that median, before the target is
    /// breached at once. Only of activity and logins; absent: not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<f64>,
}

/// A rate that a target can be set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// M3.
    AdoptionRate,
    /// M3 with `measure=login`.
    LoginRate,
    /// M5: the mean share of the working days of the window with a login.
    LoginFrequency,
    /// M7: used ÷ expected, over all pairs of a released feature and a person whose role is expected to use it.
    FeatureBreadth,
    /// M18.
    Satisfaction,
}

impl Metric {
    /// As written in definitions and stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdoptionRate => "adoption_rate",
            Self::LoginRate => "login_rate",
            Self::LoginFrequency => "login_frequency",
            Self::FeatureBreadth => "feature_breadth",
            Self::Satisfaction => "satisfaction",
        }
    }

    /// Whether a single day of it can be compared with other days.
    pub const fn is_daily(self) -> bool {
        matches!(self, Self::AdoptionRate | Self::LoginRate | Self::LoginFrequency)
    }
}

impl Calendar {
    pub fn is_working_day(&self, day: Date) -> bool {
        let weekday = |listed: &Weekday| *listed as i8 == day.weekday().to_monday_one_offset();
        self.extra_working_days.contains(&day) || (self.weekdays.iter().any(weekday) && !self.holidays.contains(&day))
    }
}

/// What a target is broken down by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    #[default]
    None,
    Unit,
    Role,
    Tier,
    Site,
    Phase,
}

impl Definition {
    /// Reads YAML or JSON. `origin` names the text in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Problems> {
        parse::definition(text, origin)
    }

    /// One line for each difference from `before` to `self`, for people.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut scalar = |what: &str, old: &str, new: &str| {
            if old != new {
                changes.push(format!("{what} {old} -> {new}"));
            }
        };
        scalar("name", &before.name, &self.name);
        scalar("time zone", &before.timezone, &self.timezone);
        if before.calendar != self.calendar {
            changes.push("calendar changed".to_owned());
        }
        changes.extend(listed("phases", &before.phases, &self.phases, |p| &p.id));
        changes.extend(listed("features", &before.features, &self.features, |f| &f.key));
        changes.extend(listed("targets", &before.targets, &self.targets, |t| &t.id));
        changes
    }
}

/// How a list differs, by the key of its items.
fn listed<T: PartialEq>(what: &str, old: &[T], new: &[T], key: impl Fn(&T) -> &String) -> Option<String> {
    let before = |item: &T| old.iter().find(|other| key(other) == key(item));
    let added = new.iter().filter(|item| before(item).is_none()).count();
    let changed = new
        .iter()
        .filter(|&item| before(item).is_some_and(|other| other != item))
        .count();
    let removed = old.len() + added - new.len();
    let parts = [(added, "added"), (changed, "changed"), (removed, "removed")];
    let told: Vec<_> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, verb)| format!("{n} {verb}"))
        .collect();
    if !told.is_empty() {
        return Some(format!("{what}: {}", told.join(", ")));
    }
    (old != new).then(|| format!("{what}: order changed"))
}

/// What applying a definition did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Applied {
    pub system: String,
    /// The version now in force.
    pub version: u64,
    /// False: it was in force already, and no new version was made.
    pub changed: bool,
    /// One line for each difference from the version before; empty for a new system.
    pub changes: Vec<String>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, version, .. } = self;
        match (self.changed, self.changes.is_empty()) {
            (false, _) => write!(f, "{system}: unchanged (version {version})"),
            (true, true) => write!(f, "{system}: new system, version {version}"),
            (true, false) => {
                write!(f, "{system}: version {version}")?;
                self.changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The definition (YAML or JSON); `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// The longest to wait for a running worker to begin counting in a new zone.
const WORKER_PATIENCE: Duration = Duration::from_secs(15);

/// `uptake apply -f FILE`.
pub async fn apply(config: Config, args: Args) -> anyhow::Result<()> {
    let (text, origin) = read(&args.file)?;
    let applied = apply_text(&config, &text, &origin).await?;
    if applied.changed {
        systems::wait_until_seen().await;
    }
    println!("{applied}");
    Ok(())
}

/// Parses `text` and makes it the definition in force; nothing happens when anything in it is wrong. Returns when the
/// workers count in its time zone and have counted again what came before, or when there is no worker.
pub async fn apply_text(config: &Config, text: &str, origin: &str) -> anyhow::Result<Applied> {
    let definition = Definition::parse(text, origin).map_err(BadInput::from)?;
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    let change = store.apply_definition(&definition);
    let what = (Action::DefineSystem, definition.system.as_str());
    let applied = audit::record(&store, Actor::of_command(), what, change).await?;
    if !applied.changed {
        return Ok(applied);
    }
    let (system, zone) = (&definition.system, &definition.timezone);
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "counting again in the new time zone {bar:30} {pos}/{len} months",
    )?);
    let tell = |done: u32, total: u32| {
        bar.set_length(total.into());
        bar.set_position(done.into());
    };
    let worker = Endpoints::of_running(&config.data_dir).is_some() || store.has_worker().await?;
    let patience = if worker { WORKER_PATIENCE } else { Duration::ZERO };
    let counted = rebuild::wait(&store, system, zone, patience, tell).await?;
    bar.finish_and_clear();
    if !counted {
        tracing::warn!(
            system,
            zone,
            "no ingest worker is running: what came before is counted again when one runs"
        );
    }
    Ok(applied)
}

/// The text of `file` (`-`: standard input) and how to name it in messages.
pub(crate) fn read(file: &std::path::Path) -> anyhow::Result<(String, String)> {
    let stdin = file.as_os_str() == "-";
    let origin = if stdin {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    let mut bytes = Vec::new();
    if stdin {
        std::io::stdin().read_to_end(&mut bytes).context("standard input")?;
    } else {
        bytes = std::fs::read(file).map_err(|e| BadInput::new(format!("{origin}: cannot be read: {e}")))?;
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&b| b == b'\n')
            .count();
        BadInput::new(format!("{origin}: line {line}: not UTF-8; expected text in UTF-8"))
    })?;
    Ok((text, origin))
}
