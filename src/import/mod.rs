//! `uptake import`: sends a log that already exists through the same Kafka topic as live events.
//!
//! Two passes. The first checks every record, so that nothing is sent of a log that would be refused; the second sends
//! what was checked. An event's id is a hash of source, record number and record: a log sent twice counts once, and of a
//! log that has grown only the new records are sent.

pub mod action;
mod derive;
pub mod log;
mod pass;
mod progress;
mod send;
mod state;
pub mod time;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio_util::sync::CancellationToken;

use self::action::{Kind, Rules};
use self::log::{Format, Log};
use self::send::Sender;
use self::state::StateFile;
use self::time::Clock;
use crate::config::Config;
use crate::definition::SYSTEM_NAME;
use crate::error::BadInput;
use crate::event::{MAX_ID, is_system_name};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log: CSV with a header, or NDJSON
    file: PathBuf,
    /// The system whose log it is
    #[arg(long)]
    system: String,
    /// csv or ndjson; by default what the name of the file ends in
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates the columns of a CSV file: one ASCII character, or `tab`
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// What a row of the log means
    #[arg(long, value_enum, default_value = "feature_click")]
    event: Kind,
    /// The column of the user id (for NDJSON: the key)
    #[arg(long, value_name = "COLUMN")]
    user: String,
    /// The column of the feature; a login has none
    #[arg(long, value_name = "COLUMN", required_if_eq("event", "feature_click"))]
    feature: Option<String>,
    /// The column of the time
    #[arg(long, value_name = "COLUMN")]
    time: String,
    /// The column of the session
    #[arg(long, value_name = "COLUMN")]
    session: Option<String>,
    /// A strptime pattern such as `%d.%m.%Y %H:%M:%S`; by default ISO 8601, also with slashes or a space in it
    #[arg(long, value_name = "PATTERN")]
    time_format: Option<String>,
    /// IANA zone of times without offset. A time that occurs twice when clocks go back is taken as the first one
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// The CloudEvents source; rows of one source count once, however often they are sent [default: /import/SYSTEM]
    #[arg(long)]
    source: Option<String>,
    /// Leave out bad rows and list them, instead of sending nothing
    #[arg(long)]
    skip_bad: bool,
    /// Send everything again, even what Kafka has acknowledged already; it counts once all the same
    #[arg(long)]
    restart: bool,
    /// Check the log (and derive the roster), but send nothing
    #[arg(long)]
    dry_run: bool,
    /// Write a roster for a log that came without: everyone entitled from the month of their first row to the log's end
    #[arg(long, value_name = "FILE", requires = "unit")]
    derive_roster: Option<PathBuf>,
    /// The column of the unit, for --derive-roster
    #[arg(long, value_name = "COLUMN", requires = "derive_roster")]
    unit: Option<String>,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(byte),
        _ => Err("expected one ASCII character, or tab".to_owned()),
    }
}

/// One import, its arguments checked.
struct Plan {
    file: PathBuf,
    format: Format,
    delimiter: u8,
    system: String,
    source: String,
    rules: Rules,
    /// Ingest would refuse what is older.
    earliest: Timestamp,
    raw_days: u32,
    skip_bad: bool,
    restart: bool,
    derive_roster: Option<PathBuf>,
    /// The zone of the derived roster's days.
    zone: TimeZone,
    data_dir: PathBuf,
}

impl Plan {
    fn new(config: &Config, args: Args) -> Result<Self, BadInput> {
        if !is_system_name(&args.system) {
            return Err(BadInput::new(format!(
                "--system {}: expected {SYSTEM_NAME}",
                args.system
            )));
        }
        if !args.file.is_file() {
            return Err(BadInput::new(format!("{}: no such file", args.file.display())));
        }
        let source = args.source.unwrap_or_else(|| format!("/import/{}", args.system));
        if source.is_empty() || source.chars().count() > MAX_ID || source.chars().any(char::is_control) {
            return Err(BadInput::new(format!(
                "--source {source:?}: expected 1 to {MAX_ID} characters"
            )));
        }
        let zone = args.timezone.as_deref().map(|name| {
            let expected = |_| {
                BadInput::new(format!(
                    "--timezone {name}: expected an IANA time zone, e.g. Europe/Rome"
                ))
            };
            TimeZone::get(name).map_err(expected)
        });
        let zone = zone.transpose()?;
        let format = match args.format {
            Some(format) => format,
            None => format_of(&args.file)?,
        };
        let feature = args.feature.filter(|_| args.event == Kind::FeatureClick);
        let now = Timestamp::now();
        let days = config.retention.raw_days;
        Ok(Self {
            format,
            delimiter: args.delimiter,
            system: args.system,
            source,
            earliest: now
                .saturating_sub((24 * i64::from(days)).hours())
                .unwrap_or(Timestamp::MIN),
            raw_days: days,
            zone: zone.clone().unwrap_or(TimeZone::UTC),
            rules: Rules {
                kind: args.event,
                columns: [Some(args.user), feature, Some(args.time), args.session, args.unit],
                clock: Clock {
                    pattern: args.time_format,
                    zone,
                },
                latest: now
                    .saturating_add(config.ingest.future_tolerance_ms.milliseconds())
                    .unwrap_or(now),
            },
            file: args.file,
            skip_bad: args.skip_bad,
            restart: args.restart,
            derive_roster: args.derive_roster,
            data_dir: config.data_dir.clone(),
        })
    }

    /// The same for the same file, read in the same way and sent to the same place. Read in another way, rows that were left
    /// out before may be good now; sending the others again does no harm.
    fn state_file(&self, sender: &Sender, topic: &str) -> anyhow::Result<StateFile> {
        let Rules {
            kind, columns, clock, ..
        } = &self.rules;
        let zone = clock.zone.as_ref().and_then(TimeZone::iana_name);
        let reading = format!("{kind:?} {columns:?} {:?} {zone:?} {}", clock.pattern, self.delimiter);
        let file = std::fs::canonicalize(&self.file)?;
        let identity = [
            &file.to_string_lossy(),
            sender.cluster.as_str(),
            topic,
            &self.source,
            &reading,
        ];
        Ok(StateFile::new(&self.data_dir, &identity))
    }

    fn open(&self) -> anyhow::Result<Log> {
        Log::open(&self.file, self.format, self.delimiter, &self.rules.columns)
    }
}

fn format_of(file: &Path) -> Result<Format, BadInput> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("ndjson" | "jsonl") => Ok(Format::Ndjson),
        _ => Err(BadInput::new(format!(
            "{}: expected a name that ends in .csv or .ndjson, or --format",
            file.display()
        ))),
    }
}

/// Checks the log, then sends it and waits until Kafka has acknowledged everything. Cancelled, it says how far it came.
pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let dry_run = args.dry_run;
    let plan = Plan::new(&config, args)?;
    let config = if dry_run { config } else { config.resolve()? };
    tokio::task::spawn_blocking(move || {
        let stopped = || shutdown.is_cancelled();
        if dry_run {
            println!("{}; nothing was sent (--dry-run)", pass::check(&plan, None, &stopped)?);
            return Ok(());
        }
        // Before the first pass, so that nobody waits for it only to learn that there is no broker.
        let sender = Sender::connect(&config.kafka)?;
        let state = plan.state_file(&sender, &config.kafka.topic)?;
        let known = if plan.restart { None } else { state.load() };
        let checked = pass::check(&plan, known, &stopped)?;
        println!("{checked}");
        println!("{}", pass::send(&plan, &checked, sender, &state, &stopped)?);
        Ok(())
    })
    .await?
}
