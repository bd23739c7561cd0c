//! Chaos on real parts: rounds of seeded, random faults on workers, engine, broker and producer; after each, what is stored
//! is compared with the truth (docs/guarantees.md).
//!
//! `make chaos ROUNDS=n SEED=s`. Round `i` has the seed `s + i`, so that `ROUNDS=1 SEED=<its seed>` repeats it alone.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod plan;
mod producer;
mod round;
mod topics;
mod truth;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;

use common::parts::Parts;
use plan::{Fault, Plan};
use round::{Outcome, Round};

/// As part of all tests: short, and the same every time.
const SHORT: u64 = 5;

/// One thread, which lives as long as the workers that it starts.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // As libtest does it: a filter that does not name this test means that others are wanted.
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = filters.is_empty() || filters.iter().any(|filter| "chaos".contains(filter.as_str()));
    if !wanted || std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Totals {
    rounds: u64,
    messages: usize,
    faults: BTreeMap<Fault, usize>,
    lost: u64,
    twice: u64,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.rounds += 1;
        self.messages += outcome.messages;
        self.lost += outcome.differences.lost;
        self.twice += outcome.differences.twice;
        for (fault, count) in &outcome.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    fn print(&self) {
        println!();
        for (fault, count) in &self.faults {
            println!("{count:>6}  {}", fault.name());
        }
        println!(
            "chaos: {} rounds, {} events, {} faults, {} lost, {} counted twice",
            self.rounds,
            self.messages,
            self.faults.values().sum::<usize>(),
            self.lost,
            self.twice
        );
    }
}

/// Until the first round that fails; `false` when one did.
async fn run() -> anyhow::Result<bool> {
    let rounds = number("CHAOS_ROUNDS", SHORT)?;
    let first = number("CHAOS_SEED", 1)?;
    let dir = common::directory("chaos");
    let parts = Parts::start(&dir).await?;
    let mut totals = Totals::default();
    for seed in first..first + rounds {
        let plan = Plan::of(seed);
        let logs = dir.join(format!("round-{seed}"));
        let started = Instant::now();
        let outcome = play(&parts, &plan, &logs).await;
        let seconds = started.elapsed().as_secs_f64();
        let failed = match &outcome {
            Ok(outcome) => !outcome.differences.is_empty(),
            Err(_) => true,
        };
        if let Ok(outcome) = &outcome {
            totals.add(outcome);
            println!(
                "round {seed}: {} messages, {} faults, {seconds:.1} s",
                outcome.messages,
                outcome.faults.values().sum::<usize>()
            );
        }
        if failed {
            tell_failure(&plan, &logs, outcome);
            totals.print();
            return Ok(false);
        }
        std::fs::remove_dir_all(&logs).context("a round's logs")?;
    }
    totals.print();
    Ok(true)
}

async fn play(parts: &Parts, plan: &Plan, logs: &Path) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(logs)?;
    Round::prepare(parts, plan, logs).await?.run().await
}

fn tell_failure(plan: &Plan, logs: &Path, outcome: anyhow::Result<Outcome>) {
    println!(
        "\nround {} FAILED; again with: make chaos ROUNDS=1 SEED={}",
        plan.seed, plan.seed
    );
    println!(
        "  {} workers, {} partitions, batches of {} rows",
        plan.workers, plan.partitions, plan.batch_rows
    );
    for moment in &plan.moments {
        println!("  {:>5} ms  {}", moment.at.as_millis(), moment.fault.name());
    }
    match outcome {
        Ok(outcome) => outcome.differences.told.iter().for_each(|line| println!("  {line}")),
        Err(error) => println!("  {error:#}"),
    }
    println!("  the workers' logs: {}", logs.display());
}

fn number(variable: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable} = {text}: expected a whole number")),
        Err(_) => Ok(default),
    }
}
