//! The rollups compared with the raw events, and made equal where they are not (architecture.md, guarantee 5).
//!
//! ```text
//! days of what was stored since the last run ─► compare each rollup ─► difference that stands ─► add it ─► compare again
//! ```
//!
//! It covers what the order of effects, the identity memory and the tokens cannot: a crash of ClickHouse between a table and
//! its views, a repeat older than the identity memory, a late insert of a worker that had lost its partitions.
//!
//! Cost: every run reads the raw events of each of its days once for each rollup, on one thread, and the rollups' rows of
//! these days.

mod compare;
mod days;
mod journal;
mod repair;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tokio_util::sync::CancellationToken;

pub use compare::LocalDay;
use days::Selection;
use journal::{Journal, LastRun, Note};
use report::Why;
pub use report::{Finding, Pending, Report};

use crate::config::Config;
use crate::error::BadInput;
use crate::metrics::{ReconcileMetrics, RollupLabel};
use crate::store::{Store, migrate};

/// The longest pause between two looks at whether a run is due.
const LOOK: Duration = Duration::from_secs(10);

/// After a restart of ClickHouse the workers first repeat and commit what they had under way.
const SETTLING: Duration = Duration::from_secs(120);

/// `uptake reconcile`: without arguments the days of everything stored since the last run; with any, all days of the window.
#[derive(clap::Args)]
pub struct Args {
    /// Only this system
    #[arg(long)]
    system: Option<String>,
    /// From this local day on
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Up to this local day, which is not compared any more
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
}

impl Args {
    fn is_window(&self) -> bool {
        self.system.is_some() || self.from.is_some() || self.to.is_some()
    }
}

/// `uptake reconcile`: one run, and what it found.
pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(BadInput::new(format!("--to {to}: expected a day after --from {from}")).into());
    }
    let reconciler = Reconciler::new(&config);
    let patience = Duration::from_millis(config.clickhouse.connect_timeout_ms);
    reconciler.store.wait(patience).await?;
    migrate::check(&reconciler.store, &config).await?;
    let run = async {
        if args.is_window() {
            reconciler.run_window(&args).await
        } else {
            reconciler.run_since_last().await
        }
    };
    match shutdown.run_until_cancelled(run).await {
        None => anyhow::bail!("stopped before the end; the next run begins where the last one did"),
        Some(report) => println!("{}", report?),
    }
    Ok(())
}

/// Runs whenever one is due, as long as `maintainer` says that this worker is the one to do it.
pub async fn watch(
    config: Config,
    maintainer: Arc<AtomicBool>,
    metrics: ReconcileMetrics,
    shutdown: CancellationToken,
) {
    let interval = Duration::from_millis(config.reconcile.interval_ms);
    if interval.is_zero() {
        return;
    }
    let reconciler = Reconciler::new(&config);
    let pause = LOOK.min(interval);
    let started_ms = Timestamp::now().as_millisecond();
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        if !maintainer.load(Ordering::Acquire) {
            continue;
        }
        match shutdown
            .run_until_cancelled(reconciler.run_if_due(interval, started_ms))
            .await
        {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(report))) => count(&report, &metrics),
            Some(Err(error)) => tracing::warn!(error = format!("{error:#}"), "the reconciler failed and runs again"),
        }
    }
}

fn count(report: &Report, metrics: &ReconcileMetrics) {
    metrics.days.inc_by(report.days);
    metrics.rows.inc_by(report.rows);
    for finding in &report.findings {
        let rollup = RollupLabel { rollup: finding.rollup };
        metrics.differences.get_or_create(&rollup).inc_by(finding.keys);
        if finding.repaired {
            metrics.repairs.get_or_create(&rollup).inc_by(finding.keys);
        }
    }
    metrics.pending.set(report.pending.len() as i64);
    metrics.last_run.set(Timestamp::now().as_millisecond() as f64 / 1_000.0);
}

/// Runs the comparison. Any number of them at once do no harm.
pub struct Reconciler {
    store: Store,
    config: Config,
}

impl Reconciler {
    pub fn new(config: &Config) -> Self {
        Self {
            store: Store::new(&config.clickhouse),
            config: config.clone(),
        }
    }

    /// The first run of all is due an interval after `started_ms`. A run is due early when ClickHouse was restarted since the
    /// last one: a crash may have come between a table and its views.
    async fn run_if_due(&self, interval: Duration, started_ms: i64) -> anyhow::Result<Option<Report>> {
        let journal = Journal(&self.store);
        let last = journal.last_run().await?;
        let last_ms = if last.started_ms == 0 {
            started_ms
        } else {
            last.started_ms
        };
        let passed_ms = Timestamp::now().as_millisecond() - last_ms;
        let uptime_ms = journal.uptime_ms().await?;
        let is_restarted = (SETTLING.as_millis() as i64..passed_ms).contains(&uptime_ms);
        // A clock that was set back makes a run due, too.
        if (0..interval.as_millis() as i64).contains(&passed_ms) && !is_restarted {
            return Ok(None);
        }
        Ok(Some(self.run_since_last().await?))
    }

    /// Compares the days of everything stored since the last run, and those that it left.
    pub async fn run_since_last(&self) -> anyhow::Result<Report> {
        let journal = Journal(&self.store);
        let first_day = journal.first_day(self.config.retention.raw_days).await?;
        let run = LastRun {
            started_ms: Timestamp::now().as_millisecond(),
            through_ms: journal.stored_through().await?,
        };
        let selection = Selection {
            system: None,
            from: first_day,
            to: end_of_days(),
            stored_since_ms: journal.last_run().await?.through_ms - self.config.reconcile.lookback_ms as i64,
        };
        let mut days = selection.days(&self.store).await?;
        days.extend(
            journal
                .open_days()
                .await?
                .into_iter()
                .filter(|day| day.date >= first_day),
        );
        let report = self.compare(days).await?;
        journal.finish(&run, first_day, &report).await?;
        Ok(report)
    }

    async fn run_window(&self, args: &Args) -> anyhow::Result<Report> {
        let first_day = Journal(&self.store).first_day(self.config.retention.raw_days).await?;
        let selection = Selection {
            system: args.system.clone(),
            from: args.from.unwrap_or(first_day).max(first_day),
            to: args.to.unwrap_or(Date::MAX).min(end_of_days()),
            stored_since_ms: 0,
        };
        self.compare(selection.days(&self.store).await?).await
    }

    /// The newest days first: what a run has no time for is noted and left.
    async fn compare(&self, mut days: Vec<LocalDay>) -> anyhow::Result<Report> {
        days.sort_unstable_by(|a, b| b.cmp(a));
        days.dedup();
        let left = days.split_off(self.config.reconcile.days_per_run.min(days.len()));
        let mut report = Report::default();
        self.leave(left, Why::Bound, &mut report).await?;
        for day in days {
            match repair::repair(&self.store, &day, self.config.reconcile.closed_after_ms).await {
                Ok(outcome) => {
                    report.days += 1;
                    report.rows += outcome.rows;
                    report.findings.extend(outcome.findings);
                    if let Some(why) = outcome.unsettled {
                        self.leave(vec![day], Why::Unsettled(why), &mut report).await?;
                    }
                }
                Err(error) => {
                    let LocalDay { date, system, .. } = &day;
                    tracing::warn!(system, %date, error = format!("{error:#}"), "a day could not be compared");
                    self.leave(vec![day], Why::Failed, &mut report).await?;
                }
            }
        }
        Ok(report)
    }

    /// An error ends the run: the next one begins where this one did.
    async fn leave(&self, days: Vec<LocalDay>, why: Why, report: &mut Report) -> anyhow::Result<()> {
        if !days.is_empty() {
            Journal(&self.store).note(&days, Note::Pending).await?;
            report.pending.extend(days.into_iter().map(|day| Pending { day, why }));
        }
        Ok(())
    }
}

/// No event is of a later day, in any zone.
fn end_of_days() -> Date {
    journal::today().saturating_add(3.days())
}
