//! Long outages on real parts under load: ClickHouse away, Kafka away, a disk that is full; after each, what is stored is
//! compared with the truth (docs/guarantees.md).
//!
//! `make outage MINUTES=10 RATE=5000`. As part of all tests it is short, and without the disk, which needs the right to mount.

mod acts;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod group;
mod installation;
mod load;
mod truth;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use acts::Scene;
use compare::Differences;

/// As part of all tests.
const SHORT: Duration = Duration::from_secs(5);
const RATE: u64 = 2_000;

/// How an outage went: the line about it, and what is wrong afterwards.
pub struct Outcome {
    pub events: u64,
    pub peak_bytes: u64,
    pub differences: Differences,
}

/// One thread, which lives as long as the programs that it starts.
fn main() -> ExitCode {
    // As libtest does it: a filter that does not name this test means that others are wanted.
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = filters.is_empty() || filters.iter().any(|filter| "outage".contains(filter.as_str()));
    if !wanted || std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    match perform() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outage: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost and nothing counted twice.
fn perform() -> anyhow::Result<bool> {
    let minutes: Option<f64> = number("OUTAGE_MINUTES")?;
    let rate = number("OUTAGE_RATE")?.unwrap_or(RATE);
    let lasting = minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcomes = runtime.block_on(play(Scene {
        lasting,
        rate,
        is_short: minutes.is_none(),
    }))?;
    let (mut events, mut peak_bytes, mut lost, mut twice) = (0, 0, 0, 0);
    for outcome in &outcomes {
        outcome.differences.told.iter().for_each(|line| println!("  {line}"));
        events += outcome.events;
        peak_bytes = peak_bytes.max(outcome.peak_bytes);
        lost += outcome.differences.lost;
        twice += outcome.differences.twice;
    }
    println!(
        "outage: {} outages, {events} events, {} MB of memory at most, {lost} lost, {twice} counted twice",
        outcomes.len(),
        peak_bytes / 1_000_000
    );
    Ok(lost == 0 && twice == 0)
}

async fn play(scene: Scene) -> anyhow::Result<Vec<Outcome>> {
    Ok(vec![
        acts::without_clickhouse(&scene).await.context("without ClickHouse")?,
        acts::without_kafka(&scene).await.context("without Kafka")?,
    ])
}

fn number<T: std::str::FromStr>(variable: &str) -> anyhow::Result<Option<T>> {
    let Ok(text) = std::env::var(variable) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => anyhow::bail!("{variable} = {text}: expected a number"),
    }
}
