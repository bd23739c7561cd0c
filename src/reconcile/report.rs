//! What a run found and did, as told to people.

use std::fmt;

use super::compare::{LocalDay, Unsettled};

/// Differences of one rollup on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub day: LocalDay,
    pub rollup: &'static str,
    /// Keys that differ.
    pub keys: u64,
    /// Clicks or users that the rollup had too few, and too many.
    pub missing: u64,
    pub surplus: u64,
    pub repaired: bool,
}

/// One run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub days: u64,
    /// Events and rollup rows that were compared.
    pub rows: u64,
    pub findings: Vec<Finding>,
    /// Left for the next run.
    pub pending: Vec<Pending>,
}

/// A day that is left for the next run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub day: LocalDay,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Unsettled(Unsettled),
    /// The run had done all that one run does.
    Bound,
    /// The error was logged.
    Failed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsettled(Unsettled::Uncommitted) => "events of it are not committed yet",
            Self::Unsettled(Unsettled::Inserting) => "events are being stored in it",
            Self::Unsettled(Unsettled::Erasing) => "users are being erased",
            Self::Unsettled(Unsettled::Rebuilding) => "its system is being rebuilt in another zone",
            Self::Bound => "reconcile.days_per_run is reached",
            Self::Failed => "it could not be compared, see the log",
        })
    }
}

impl Report {
    pub fn differences(&self) -> u64 {
        self.findings.iter().map(|finding| finding.keys).sum()
    }

    pub fn repaired(&self) -> u64 {
        let repaired = self.findings.iter().filter(|finding| finding.repaired);
        repaired.map(|finding| finding.keys).sum()
    }
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { day, rollup, .. } = self;
        let (keys, missing) = (counted(self.keys, "key"), self.missing);
        let end = if self.repaired { "repaired" } else { "not repaired" };
        write!(
            f,
            "{} {} {rollup}: {keys}, {missing} missing, {} too many: {end}",
            day.system, day.date, self.surplus
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        for Pending { day, why } in &self.pending {
            writeln!(f, "{} {}: left for the next run: {why}", day.system, day.date)?;
        }
        write!(
            f,
            "{} compared: {}, {} repaired, {} left",
            counted(self.days, "day"),
            counted(self.differences(), "difference"),
            self.repaired(),
            counted(self.pending.len() as u64, "day")
        )
    }
}
