//! Targets (M20): evaluated once a day, after local midnight, each day once and in order.
//!
//! ```text
//! days that are due ─► are the data complete? ─► rates by group ─► state machine ─► target_days ─► gauges, webhook, API
//! ```
//!
//! An evaluation depends on nothing but what is stored, and a day that is evaluated again replaces itself. So any number of evaluators may run
//! at once, and one that dies leaves nothing half done.

mod evaluate;
mod gauges;
mod notice;
mod rates;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::config::Config;
use crate::definition::Definition;
use crate::measure::{Reader, SystemContext};
use crate::metrics::Metrics;
use crate::ops::{self, Health};
use crate::store::numbers::Numbers;
use crate::store::systems::{date_of_day, day_of_date};
use crate::store::targets::{TargetDay, TargetRun, TargetRuns};
use crate::store::{Store, migrate};

use evaluate::{Before, Day};
pub use gauges::Gauges;
pub use notice::{Webhook, waiting as waiting_notices};

/// Days that were missed longer ago are not evaluated any more.
const CATCH_UP_DAYS: i64 = 31;

/// `uptake targets`: the evaluator and its operations port.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    let listener = ops::bind(config.ops.listen).await?;
    let metrics = Arc::new(Metrics::default());
    let health = Health::default().with_clickhouse(&store);
    tokio::try_join!(
        ops::serve(listener, health, metrics.clone(), shutdown.clone()),
        watch(config, metrics, shutdown.clone()),
    )?;
    Ok(())
}

/// Evaluates whatever is due, tells the gauges and delivers notices, until shutdown.
pub async fn watch(config: Config, metrics: Arc<Metrics>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let evaluator = Evaluator::new(&config)?;
    let pause = Duration::from_millis(config.targets.interval_ms);
    let webhook = Webhook::new(&config.targets.webhook, &evaluator.store, &metrics.targets)?;
    let evaluating = evaluate_all(evaluator, Gauges::new(&metrics.targets), pause);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = evaluating => {}
        () = notice::deliver_all(webhook, pause) => {}
    }
    Ok(())
}

/// Evaluates for ever what is due, and tells the gauges.
async fn evaluate_all(evaluator: Evaluator, mut gauges: Gauges, pause: Duration) {
    loop {
        let now = Timestamp::now();
        if let Err(error) = evaluator.evaluate_due(now).await {
            tracing::warn!(error = format!("{error:#}"), "targets are not evaluated; trying again");
        }
        match evaluator.standings(now).await {
            Ok(standings) => gauges.show(&standings),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the gauges of targets stay as they are"),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Evaluates the targets of every system.
pub struct Evaluator {
    pub store: Store,
    reader: Reader,
    grace: SignedDuration,
    notices: Option<notice::Format>,
}

/// Where a system's targets stand.
pub struct Standings {
    pub system: String,
    /// Whether today is a working day.
    pub is_working_day: bool,
    /// The last day that was evaluated, when it ended, and whether its data were complete.
    pub last: Option<(Timestamp, bool)>,
    /// Of the last working day that was evaluated.
    pub days: Vec<TargetDay>,
}

impl Evaluator {
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.clickhouse);
        let numbers = Numbers::of(config)?;
        let deadline = Duration::from_millis(config.clickhouse.query_timeout_ms);
        Ok(Self {
            reader: Reader::new(&store, numbers, deadline).for_decisions(),
            store,
            grace: SignedDuration::from_millis(config.targets.grace_ms as i64),
            notices: config.targets.webhook.format(),
        })
    }

    /// Evaluates every day that is due at `now` and returns how many those were. What fails for one system does not keep the others from
    /// being evaluated.
    pub async fn evaluate_due(&self, now: Timestamp) -> anyhow::Result<usize> {
        let mut count = 0;
        for system in self.store.systems().await? {
            let definition = system.parsed()?;
            if definition.targets.is_empty() {
                continue;
            }
            match self.evaluate_system(&definition, system.version, now).await {
                Ok(days) => count += days,
                Err(error) => {
                    let (system, error) = (system.system, format!("{error:#}"));
                    tracing::warn!(system, error, "targets are not evaluated; trying again");
                }
            }
        }
        Ok(count)
    }

    async fn evaluate_system(&self, definition: &Definition, version: u64, now: Timestamp) -> anyhow::Result<usize> {
        let Some(system) = SystemContext::load(&self.reader, &definition.system).await? else {
            return Ok(0);
        };
        let runs = self.store.target_runs(&system.name).await?;
        let mut is_new = false;
        let mut count = 0;
        for date in due(last_due(now, self.grace, &system.timezone), runs, version) {
            let day = Day {
                reader: &self.reader,
                system: &system,
                definition,
                day: date,
            };
            let incomplete = day.incomplete().await?;
            let known = runs.is_some_and(|runs| day_of_date(date) <= runs.newest && runs.newest_definition == version);
            // What follows from a day that has changed changes too.
            is_new |= !known || incomplete.is_none();
            if is_new {
                self.evaluate_day(&day, version, incomplete, now).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn evaluate_day(
        &self,
        day: &Day<'_>,
        version: u64,
        incomplete: Option<String>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let run = TargetRun {
            system: day.system.name.clone(),
            day: day_of_date(day.day),
            definition: version,
            working: day.definition.calendar.is_working_day(day.day),
            complete: incomplete.is_none(),
            reason: incomplete.unwrap_or_default(),
            evaluated_at: now.as_millisecond(),
        };
        if !run.working {
            return self.store.write_target_day(&[], &run).await;
        }
        let rows = self.store.target_days(&run.system, Some(day.day)).await?;
        let key = |row: TargetDay| ((row.target.clone(), row.group_name.clone()), row);
        let before: Before = rows.into_iter().map(key).collect();
        let rows = day.rows(&before, run.complete, now).await?;
        if let Some(format) = self.notices {
            let notices = notice::of_day(&before, &rows, format, now)?;
            self.store.keep_notices(notices).await?;
        }
        self.store.write_target_day(&rows, &run).await
    }

    /// Where the targets of every system stand.
    pub async fn standings(&self, now: Timestamp) -> anyhow::Result<Vec<Standings>> {
        let mut all = Vec::new();
        for system in self.store.systems().await? {
            let definition = system.parsed()?;
            if definition.targets.is_empty() {
                continue;
            }
            let today = now.to_zoned_datetime(zone(&definition.timezone)).date();
            let runs = self.store.target_runs(&system.system).await?;
            let last = runs.map(|runs| {
                let end = date_of_day(runs.newest).saturating_add(1.day());
                let end = end.to_zoned_datetime(zone(&definition.timezone));
                let end = end.map_or(Timestamp::UNIX_EPOCH, |end| end.timestamp());
                (end, runs.newest == runs.newest_complete)
            });
            all.push(Standings {
                is_working_day: definition.calendar.is_working_day(today),
                last,
                days: current(&self.store, &definition, runs).await?,
                system: system.system,
            });
        }
        Ok(all)
    }
}

/// How far the targets of a system have been evaluated.
#[derive(Debug, Serialize, ToSchema)]
pub struct Evaluation {
    /// The last local day that was evaluated, a working day or not; null before the first.
    #[schema(value_type = Option<String>, format = Date)]
    pub evaluated_through: Option<Date>,
    /// Whether the data of that day were complete. If not, it is evaluated again when they are.
    pub complete: Option<bool>,
    /// Why they were not.
    pub incomplete_because: Option<String>,
    /// When the next working day is evaluated.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
}

/// How far the targets of a system have been evaluated at `now`.
pub async fn evaluation_of(
    store: &Store,
    definition: &Definition,
    grace_ms: u64,
    now: Timestamp,
) -> anyhow::Result<Evaluation> {
    let runs = store.target_runs(&definition.system).await?;
    let last = match runs {
        Some(runs) => store.target_run(&definition.system, runs.newest).await?,
        None => None,
    };
    Ok(Evaluation {
        evaluated_through: last.as_ref().map(|run| date_of_day(run.day)),
        complete: last.as_ref().map(|run| run.complete),
        incomplete_because: last.map(|run| run.reason).filter(|reason| !reason.is_empty()),
        next: next_evaluation(definition, grace_ms, now),
    })
}

/// When the next working day that is not due yet will be; `None` where there is none within a year, or nothing to evaluate.
fn next_evaluation(definition: &Definition, grace_ms: u64, now: Timestamp) -> Option<Timestamp> {
    if definition.targets.is_empty() {
        return None;
    }
    let grace = SignedDuration::from_millis(grace_ms as i64);
    let after = last_due(now, grace, &definition.timezone).tomorrow().ok()?;
    let days = std::iter::successors(Some(after), |day| day.tomorrow().ok()).take(366);
    let day = days.into_iter().find(|day| definition.calendar.is_working_day(*day))?;
    let midnight = day
        .tomorrow()
        .ok()?
        .to_zoned_datetime(zone(&definition.timezone))
        .ok()?;
    midnight.timestamp().checked_add(grace).ok()
}

/// What the last evaluated working day said of the targets that there are now.
async fn current(store: &Store, definition: &Definition, runs: Option<TargetRuns>) -> anyhow::Result<Vec<TargetDay>> {
    let Some(runs) = runs else { return Ok(Vec::new()) };
    let days = store.target_days(&definition.system, None).await?;
    let defined = |id: &str| definition.targets.iter().any(|target| target.id == id);
    let is_current = |row: &TargetDay| row.day == runs.newest_working && defined(&row.target);
    Ok(days.into_iter().filter(is_current).collect())
}

/// The last day that is over for as long as `grace` in a zone.
fn last_due(now: Timestamp, grace: SignedDuration, timezone: &str) -> Date {
    let then = now.saturating_sub(grace).unwrap_or(now);
    let today = then.to_zoned_datetime(zone(timezone)).date();
    today.yesterday().unwrap_or(today)
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The days to look at, in order, up to `last`: those after the newest one that was evaluated on complete data, and `last` again where it
/// was evaluated by another definition. A system that was never evaluated begins with `last`.
fn due(last: Date, runs: Option<TargetRuns>, definition: u64) -> Vec<Date> {
    let first = match runs {
        None => last,
        Some(runs) if runs.newest_complete == 0 => date_of_day(runs.oldest),
        Some(runs) => date_of_day(runs.newest_complete).saturating_add(1.day()),
    };
    let is_changed = runs.is_some_and(|runs| date_of_day(runs.newest) == last && runs.newest_definition != definition);
    let first = if is_changed { first.min(last) } else { first };
    let first = first.max(last.saturating_sub((CATCH_UP_DAYS - 1).days()));
    std::iter::successors(Some(first), |day| day.tomorrow().ok())
        .take_while(|day| *day <= last)
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn runs(oldest: Date, newest: Date, complete: Option<Date>) -> Option<TargetRuns> {
        Some(TargetRuns {
            oldest: day_of_date(oldest),
            newest: day_of_date(newest),
            newest_definition: 7,
            newest_complete: complete.map_or(0, day_of_date),
            newest_working: 0,
        })
    }

    #[test]
    fn a_day_is_due_when_the_grace_after_its_local_midnight_is_over() {
        let due = |now: &str| last_due(now.parse().unwrap(), SignedDuration::from_hours(1), "Asia/Shanghai");
        // Midnight there is 16:00 UTC.
        assert_eq!(due("2026-10-01T16:59:59Z"), date(2026, 9, 30));
        assert_eq!(due("2026-10-01T17:00:00Z"), date(2026, 10, 1));
    }

    #[test]
    fn the_next_evaluation_is_that_of_the_next_working_day() {
        let text = "{system: erp, name: ERP, timezone: Asia/Shanghai, calendar: {weekdays: [mon, tue, wed, thu, fri]}, \
            targets: [{id: a, metric: adoption_rate, target: 0.8, due_days: 90, breach_days: 5}]}";
        let definition = Definition::parse(text, "x").unwrap();
        let next = |now: &str| {
            next_evaluation(&definition, 3_600_000, now.parse().unwrap())
                .unwrap()
                .to_string()
        };
        // Friday is over on Saturday at midnight, which is 16:00 UTC; an hour later it is evaluated. Then Monday is next.
        assert_eq!(next("2026-10-02T16:59:59Z"), "2026-10-02T17:00:00Z");
        assert_eq!(next("2026-10-02T17:00:00Z"), "2026-10-05T17:00:00Z");
    }

    #[test]
    fn missed_days_are_caught_up_in_order_and_incomplete_ones_again() {
        let day = |day: i8| date(2026, 10, day);
        let due = |runs| due(day(9), runs, 7);
        assert_eq!(due(None), [day(9)]);
        assert_eq!(due(runs(day(1), day(9), Some(day(9)))), []);
        assert_eq!(due(runs(day(1), day(6), Some(day(6)))), [day(7), day(8), day(9)]);
        assert_eq!(due(runs(day(1), day(8), Some(day(7)))), [day(8), day(9)]);
        assert_eq!(due(runs(day(8), day(9), None)), [day(8), day(9)]);
        assert_eq!(due(runs(date(2026, 1, 1), date(2026, 1, 2), None)).len(), 31);
    }

    #[test]
    fn a_new_definition_is_evaluated_for_the_last_day_at_once() {
        let day = |day: i8| date(2026, 10, day);
        assert_eq!(due(day(9), runs(day(1), day(9), Some(day(9))), 8), [day(9)]);
        assert_eq!(due(day(9), runs(day(1), day(7), Some(day(7))), 8), [day(8), day(9)]);
    }
}
