//! What a simulation is told on the command line.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::company::{Plan, add_days};
use super::deliveries::Mishaps;
use crate::error::BadInput;
use crate::event;

/// The company and its mishaps.
#[derive(Debug, Clone, clap::Args)]
pub struct CompanyArgs {
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
    /// The system they use
    #[arg(long, default_value = "erp")]
    pub system: String,
    /// Where they work: working hours and days are of this zone
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
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| "expected a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("expected a number from 0 to 1".to_owned())
    }
}

impl CompanyArgs {
    /// The company these arguments describe. Refuses what ingest would refuse or no calendar holds.
    pub fn plan(&self, raw_retention_days: u32) -> Result<Plan, BadInput> {
        let zone = TimeZone::get(&self.timezone).map_err(|_| {
            BadInput::new(format!(
                "--timezone {}: expected an IANA time zone, such as Europe/Berlin",
                self.timezone
            ))
        })?;
        if !event::is_system_name(&self.system) {
            return Err(BadInput::new(format!(
                "--system {}: expected 1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit",
                self.system
            )));
        }
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

    pub fn mishaps(&self) -> Mishaps {
        Mishaps {
            late: self.late,
            duplicates: self.duplicates,
            malformed: self.malformed,
        }
    }
}
