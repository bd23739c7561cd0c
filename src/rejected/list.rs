//! `uptake rejected list`: the newest rejects, and how many there are for each reason.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::topic::{self, DeadLetter, Refusal};
use crate::config::Config;
use crate::event::named_system;
use crate::store::{Store, migrate};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this reason
    #[arg(long, value_parser = super::reason)]
    reason: Option<&'static str>,
    /// Only what was refused since: a time, a day, or so long ago (2h, 7d)
    #[arg(long, value_parser = super::since)]
    since: Option<Timestamp>,
    /// Only those that name this system
    #[arg(long)]
    system: Option<String>,
    /// The newest so many; the counts are of all
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// json writes an object for each reject, one a line
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// A line of the list.
#[derive(Serialize)]
struct Line {
    origin: String,
    refused_at: Timestamp,
    reason: String,
    sentence: String,
    bytes: usize,
    /// When it was sent again.
    retried_at: Option<Timestamp>,
}

/// The newest lines, and counts of all.
struct Listing {
    lines: Vec<Line>,
    limit: usize,
    by_reason: BTreeMap<String, usize>,
    retried: usize,
}

pub async fn run(config: &Config, args: Args) -> anyhow::Result<()> {
    let retries = load_retries(config).await?;
    let kafka = config.kafka.clone();
    let format = args.format;
    let listing = tokio::task::spawn_blocking(move || {
        let mut listing = Listing {
            lines: Vec::new(),
            limit: args.limit,
            by_reason: BTreeMap::new(),
            retried: 0,
        };
        let mut seen = HashSet::new();
        topic::read(&kafka, args.since, |letter| {
            let is_asked_for = args.reason.is_none_or(|reason| letter.reason == reason)
                && (args.system.is_none() || named_system(&letter.payload) == args.system);
            let refusal = letter.refusal();
            if is_asked_for && seen.insert(refusal) {
                listing.add(&letter, retries.get(&refusal).copied());
            }
            ControlFlow::Continue(())
        })?;
        anyhow::Ok(listing.sorted())
    });
    let listing = listing.await??;
    match format {
        Format::Table => listing.print(),
        Format::Json => {
            for line in &listing.lines {
                println!("{}", serde_json::to_string(line)?);
            }
        }
    }
    Ok(())
}

/// What has been sent again, and when.
pub async fn load_retries(config: &Config) -> anyhow::Result<HashMap<Refusal, Timestamp>> {
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, config).await?;
    store.retries().await
}

impl Listing {
    fn add(&mut self, letter: &DeadLetter, retried_at: Option<Timestamp>) {
        *self.by_reason.entry(letter.reason.clone()).or_default() += 1;
        self.retried += usize::from(retried_at.is_some());
        self.lines.push(Line {
            origin: letter.origin.to_string(),
            refused_at: letter.refused_at,
            reason: letter.reason.clone(),
            sentence: letter.sentence.clone(),
            bytes: letter.payload.len(),
            retried_at,
        });
        // Now and then, so that memory is bounded by what is shown.
        if self.lines.len() >= 2 * self.limit + 1_000 {
            self.keep_newest();
        }
    }

    fn keep_newest(&mut self) {
        self.lines
            .sort_by(|a, b| (b.refused_at, &b.origin).cmp(&(a.refused_at, &a.origin)));
        self.lines.truncate(self.limit);
    }

    fn sorted(mut self) -> Self {
        self.keep_newest();
        self
    }

    fn print(&self) {
        let width = |of: fn(&Line) -> usize, title: &str| self.lines.iter().map(of).fold(title.len(), usize::max);
        let origin = width(|line| line.origin.len(), "ORIGIN");
        let reason = width(|line| line.reason.len(), "REASON");
        if !self.lines.is_empty() {
            println!(
                "{:<origin$}  {:<20}  {:<reason$}  {:>6}  {:<7}  WHAT IS WRONG",
                "ORIGIN", "REFUSED", "REASON", "BYTES", "RETRIED"
            );
        }
        for line in &self.lines {
            println!(
                "{:<origin$}  {:<20.0}  {:<reason$}  {:>6}  {:<7}  {}",
                line.origin,
                line.refused_at,
                line.reason,
                line.bytes,
                if line.retried_at.is_some() { "yes" } else { "no" },
                line.sentence
            );
        }
        let all: usize = self.by_reason.values().sum();
        let by_reason: Vec<_> = self
            .by_reason
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let reasons = if all == 0 {
            String::new()
        } else {
            format!(": {}", by_reason.join(", "))
        };
        let shown = match self.lines.len() {
            shown if shown < all => format!("; the newest {shown} are shown"),
            _ => String::new(),
        };
        println!("{all} rejected{reasons}; {} of them sent again{shown}", self.retried);
    }
}
