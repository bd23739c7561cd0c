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
mod play;
mod send;
pub mod smoke;
#[cfg(test)]
mod tests;
mod truth;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::error::BadInput;
use crate::{definition, roster};
use company::{Company, Plan, add_days};
use deliveries::Mishaps;
use play::{Outcome, Script, play};

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
    let truth_files: Vec<_> = args
        .truth
        .iter()
        .cloned()
        .chain(args.out.iter().map(|dir| dir.join("truth.json")))
        .collect();
    let min_group_size = (!truth_files.is_empty()).then_some(config.privacy.min_group_size as usize);
    let destination = if args.dry_run {
        None
    } else {
        let config = config.resolve()?;
        introduce(&config, &company).await?;
        Some(config.kafka)
    };
    let Outcome { messages, truth, took } = play(company, args.script(destination, min_group_size), shutdown).await?;
    if let Some(truth) = truth {
        let text = serde_json::to_string_pretty(&truth)?;
        for file in &truth_files {
            write_file(file, text.clone())?;
        }
    }
    println!(
        "simulated {} events, {} of them sent twice, and {} malformed messages in {:.1} s",
        messages.accepted,
        messages.repeats,
        messages.rejected(),
        took.as_secs_f64(),
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

    fn script(&self, destination: Option<config::Kafka>, truth_for_min_group_size: Option<usize>) -> Script {
        let mishaps = Mishaps {
            late: self.late,
            duplicates: self.duplicates,
            malformed: self.malformed,
        };
        Script {
            mishaps,
            speed_up: self.speed_up,
            destination,
            truth_for_min_group_size,
        }
    }
}

/// Makes the company known: its definition and its roster.
async fn introduce(config: &Config, company: &Company) -> anyhow::Result<()> {
    definition::apply_text(config, &company.definition_yaml(), "simulated definition").await?;
    roster::import_text(config, &company.plan.system, &company.roster_csv(), "simulated roster").await?;
    Ok(())
}

fn write_file(path: &Path, content: String) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
