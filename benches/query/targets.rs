//! What one evaluation of many targets costs: engine and evaluator together.

use anyhow::ensure;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use uptake::definition;
use uptake::targets::Evaluator;

use crate::parts::{Installation, Parts, SYSTEM, ZONE};
use crate::process::Meter;
use crate::report::{RUNS, Report, Target};

const TARGETS: usize = 500;
/// Goal for the CPU time of one day's evaluation.
const CPU_S: f64 = 2.0;
const METRICS: [&str; 5] = [
    "adoption_rate",
    "login_rate",
    "login_frequency",
    "feature_breadth",
    "satisfaction",
];
const DIMENSIONS: [&str; 6] = ["none", "unit", "role", "tier", "site", "phase"];

/// Evaluates the last working days, one at a time, as on the morning after each.
pub async fn evaluate(
    report: &mut Report,
    parts: &Parts,
    installation: &Installation,
    today: Date,
) -> anyhow::Result<()> {
    report.progress(format_args!("  {TARGETS} targets"));
    define(installation).await?;
    let client = installation.store.client();
    let counted =
        "INSERT INTO ingest_progress VALUES ('usage.events', 0, 1, 1, now64(3) + INTERVAL 1 DAY, 'w', now64(3))";
    client.query(counted).execute().await?;
    let evaluator = Evaluator::new(&installation.config)?;
    let (mut cpu, mut walls, mut statements) = (Vec::new(), Vec::new(), Vec::new());
    // The first one warms the caches.
    for day in last_working_days(today, RUNS + 1) {
        // A system that was never evaluated begins with the last day, and with no other.
        client.query("TRUNCATE TABLE target_runs").execute().await?;
        let before = installation.number(STATEMENTS).await?;
        let meter = Meter::start(&[parts.engine_pid(), std::process::id()])?;
        let days = evaluator.evaluate_due(morning_after(day)?).await?;
        let (wall, used) = meter.stop()?;
        ensure!(days == 1, "{days} days were evaluated, expected one");
        statements.push((installation.number(STATEMENTS).await? - before - 1) as f64);
        cpu.push(used.iter().map(|used| used.as_secs_f64()).sum());
        walls.push(wall.as_secs_f64());
    }
    let judged = installation
        .number("SELECT count() FROM target_days WHERE rate IS NOT NULL")
        .await?;
    ensure!(judged > 0, "no target has a rate");
    let name = |what: &str| format!("{TARGETS} targets, one day: {what}");
    report.add_with_target(name("CPU"), "s", cpu.split_off(1), Target::AtMost(CPU_S));
    report.add(name("time"), "s", walls.split_off(1));
    report.add(name("questions"), "", statements.split_off(1));
    Ok(())
}

/// Of all questions since the engine started.
const STATEMENTS: &str = "SELECT toUInt64(sum(value)) FROM system.events WHERE event = 'SelectQuery'";

/// The definition that there is, with targets of every metric and dimension, a third of them for sudden drops too.
async fn define(installation: &Installation) -> anyhow::Result<()> {
    let sql = "SELECT argMax(definition, version) FROM systems WHERE system = ?";
    let question = installation.store.client().query(sql).bind(SYSTEM);
    let mut text: Value = serde_json::from_str(&question.fetch_one::<String>().await?)?;
    let target = |number: usize| {
        let kinds = METRICS.len() * DIMENSIONS.len();
        let metric = METRICS[number % METRICS.len()];
        let mut target = json!({
            "id": format!("target-{number}"),
            "metric": metric,
            "by": DIMENSIONS[number / METRICS.len() % DIMENSIONS.len()],
            "target": 0.3 + 0.6 * number as f64 / TARGETS as f64,
            "due_days": 60 + number / kinds,
            "breach_days": 5,
        });
        if (number / kinds).is_multiple_of(3) && ["adoption_rate", "login_rate"].contains(&metric) {
            target["drop"] = json!(0.5);
        }
        target
    };
    text["targets"] = (0..TARGETS).map(target).collect();
    definition::apply_text(&installation.config, &text.to_string(), "the benchmark").await?;
    Ok(())
}

/// Monday to Friday, in order.
fn last_working_days(today: Date, count: usize) -> Vec<Date> {
    let days = std::iter::successors(today.yesterday().ok(), |day| day.yesterday().ok());
    let mut days: Vec<_> = days
        .filter(|day| day.weekday().to_monday_zero_offset() < 5)
        .take(count)
        .collect();
    days.reverse();
    days
}

fn morning_after(day: Date) -> anyhow::Result<Timestamp> {
    let midnight = day.tomorrow()?.in_tz(ZONE)?.timestamp();
    Ok(midnight.checked_add(2.hours())?)
}
