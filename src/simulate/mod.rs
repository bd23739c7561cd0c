//! A company and its behaviour, with known truth.
//!
//! ```text
//! company (who) ─► behaviour (what they do on a day) ─► deliveries (when it is sent) ─► wire (bytes) ─► send (Kafka)
//!                                                                 └────────────────────► truth (what Uptake must answer)
//! ```
//! The same arguments give the same company, events and bytes.

mod behaviour;
mod catalogue;
mod company;
mod compare;
mod deliveries;
mod send;
pub mod smoke;
mod truth;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::BadInput;
use company::{Company, Plan, add_days};
use deliveries::{Content, Deliveries, Mishaps};
use send::Sender;
use truth::{Ledger, Messages, TruthFile, truth_of};
use wire::Encoder;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// People on the roster; service accounts and a few strangers come on top
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub users: u32,
    /// Days to simulate
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub days: u16,
    /// First day [default: so that the last day is yesterday]
    #[arg(long, value_name = "DATE")]
    pub start: Option<Date>,
    /// The same seed gives the same events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[arg(long, default_value = "erp")]
    pub system: String,
    #[arg(long, default_value = "Asia/Shanghai", value_name = "IANA")]
    pub timezone: String,
    /// Share of the events that is sent twice
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub duplicates: f64,
    /// Share of the events that is sent hours or days after it happened
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub late: f64,
    /// Malformed messages, as a share of the events
    #[arg(long, default_value_t = 0.001, value_name = "SHARE", value_parser = share)]
    pub malformed: f64,
    /// Write what Uptake must answer to this file (JSON); needs memory for users × days × features
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Write definition.yaml, roster.csv and truth.json into this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Let the simulated time pass this many times faster than real time; 0: as fast as possible
    #[arg(long, default_value_t = 0.0, value_name = "FACTOR", value_parser = factor)]
    pub speed_up: f64,
    /// Write the files, send nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| "expected a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("expected a number from 0 to 1".to_owned())
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number of at least 0".to_owned())?;
    if factor >= 0.0 && factor.is_finite() {
        Ok(factor)
    } else {
        Err("expected a number of at least 0".to_owned())
    }
}

/// `uptake simulate`. Takes the configuration unresolved: a dry run needs no running installation.
pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let company = Company::new(args.plan(config.retention.raw_days)?);
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir).with_context(|| format!("directory {}", dir.display()))?;
        write_file(&dir.join("definition.yaml"), company.definition_yaml())?;
        write_file(&dir.join("roster.csv"), company.roster_csv())?;
    }
    let min_group_size = config.privacy.min_group_size as usize;
    let destination = if args.dry_run {
        None
    } else {
        let config = config.resolve()?;
        introduce(&config, &company).await?;
        Some(config)
    };
    let truth_files: Vec<_> = args
        .truth
        .iter()
        .cloned()
        .chain(args.out.iter().map(|dir| dir.join("truth.json")))
        .collect();
    let wants_truth = !truth_files.is_empty();
    let outcome = play(company, args, destination, wants_truth, min_group_size, shutdown).await?;
    if let Some(truth) = &outcome.truth {
        for file in &truth_files {
            write_file(file, serde_json::to_string_pretty(truth)?)?;
        }
    }
    let messages = &outcome.messages;
    println!(
        "simulated {} events ({} sent twice, {} malformed messages beside them) in {:.1} s",
        messages.accepted,
        messages.repeats,
        messages.rejected(),
        outcome.took.as_secs_f64(),
    );
    Ok(())
}

impl Args {
    /// The company these arguments describe. Refuses what ingest would refuse or no calendar holds.
    fn plan(&self, raw_retention_days: u32) -> Result<Plan, BadInput> {
        let zone = TimeZone::get(&self.timezone).map_err(|_| {
            BadInput::new(format!(
                "--timezone {}: expected an IANA time zone, such as Europe/Berlin",
                self.timezone
            ))
        })?;
        let today = zone.to_datetime(Timestamp::now()).date();
        let start = self.start.unwrap_or_else(|| add_days(today, -i64::from(self.days)));
        let end = add_days(start, i64::from(self.days));
        if end > today {
            return Err(BadInput::new(format!(
                "--start {start} --days {}: expected to end before today, {today}",
                self.days
            )));
        }
        if start < add_days(today, 1 - i64::from(raw_retention_days)) {
            return Err(BadInput::new(format!(
                "--start {start}: expected a day within the retention of raw events (retention.raw_days = {raw_retention_days})"
            )));
        }
        Ok(Plan {
            system: self.system.clone(),
            users: self.users as usize,
            days: self.days,
            start,
            seed: self.seed,
            zone,
        })
    }

    fn mishaps(&self) -> Mishaps {
        Mishaps {
            late: self.late,
            duplicates: self.duplicates,
            malformed: self.malformed,
        }
    }
}

/// Makes the company known: its definition and its roster.
async fn introduce(_config: &Config, _company: &Company) -> anyhow::Result<()> {
    Ok(())
}

/// What a run sent, and what Uptake must make of it.
struct Outcome {
    messages: Messages,
    /// Only where asked for.
    truth: Option<TruthFile>,
    took: Duration,
}

/// Lets the company live through its days. Without a `destination` nothing is sent.
async fn play(
    company: Company,
    args: Args,
    destination: Option<Config>,
    wants_truth: bool,
    min_group_size: usize,
    shutdown: CancellationToken,
) -> anyhow::Result<Outcome> {
    let playing = move || {
        let started = Instant::now();
        let sender = destination.map(|config| Sender::connect(&config.kafka)).transpose()?;
        let encoder = Encoder::new(&company);
        let mut ledger = wants_truth.then(|| Ledger::new(&company));
        let mut messages = Messages::default();
        let mut pace = Pace::new(args.speed_up);
        let progress = progress_bar(u64::from(args.days) + 1);
        let mut bytes = Vec::new();
        for deliveries in Deliveries::new(&company, args.mishaps()) {
            for delivery in deliveries {
                if shutdown.is_cancelled() {
                    bail!("stopped after {} of {} days", progress.position(), args.days);
                }
                messages.record(&delivery);
                if let (Some(ledger), Content::Event(event)) = (&mut ledger, &delivery.content) {
                    ledger.record(event);
                }
                if let Some(sender) = &sender {
                    pace.wait_for(delivery.sent_ms, &shutdown);
                    let key = encoder.message(&delivery.content, &mut bytes);
                    sender.send(key, &bytes)?;
                }
            }
            progress.inc(1);
            progress.set_message(format!("{} events", messages.accepted));
        }
        if let Some(sender) = &sender {
            sender.finish()?;
        }
        progress.finish_and_clear();
        let truth = ledger.map(|ledger| truth_of(&company, &ledger, messages.clone(), min_group_size));
        Ok(Outcome {
            messages,
            truth,
            took: started.elapsed(),
        })
    };
    tokio::task::spawn_blocking(playing).await?
}

/// Lets simulated time pass at a multiple of real time, or not at all.
struct Pace {
    factor: f64,
    /// The first message: its simulated time, and when it was sent.
    origin: Option<(i64, Instant)>,
}

impl Pace {
    fn new(factor: f64) -> Self {
        Self { factor, origin: None }
    }

    /// Returns when `sent_ms` is due, or soon after shutdown has begun.
    fn wait_for(&mut self, sent_ms: i64, shutdown: &CancellationToken) {
        if self.factor == 0.0 {
            return;
        }
        let (first_ms, started) = *self.origin.get_or_insert_with(|| (sent_ms, Instant::now()));
        let due = Duration::from_secs_f64((sent_ms - first_ms).max(0) as f64 / 1000.0 / self.factor);
        while let Some(left) = due.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            if shutdown.is_cancelled() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

fn progress_bar(days: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("simulating {bar:40} day {pos}/{len}  {msg}  {elapsed} (left: {eta})");
    ProgressBar::new(days).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn write_file(path: &Path, content: String) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
