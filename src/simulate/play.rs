//! Lets the simulated company live through its days, and sends what happens.

use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::company::Company;
use super::deliveries::{Content, Deliveries, Mishaps};
use super::send::Sender;
use super::truth::{Ledger, Messages, TruthFile, truth_of};
use super::wire::Encoder;
use crate::config;

/// How a run is played.
pub struct Script {
    pub mishaps: Mishaps,
    /// Simulated time passes this many times faster than real time; 0: as fast as possible.
    pub speed_up: f64,
    /// Nothing is sent without.
    pub destination: Option<config::Kafka>,
    /// The truth is computed for this minimum group size, or not at all.
    pub truth_for_min_group_size: Option<usize>,
}

/// What a run sent, and what Uptake must make of it.
pub struct Outcome {
    pub messages: Messages,
    /// Only where asked for.
    pub truth: Option<TruthFile>,
    pub took: Duration,
}

/// Plays all days. Returns once Kafka has acknowledged everything.
pub async fn play(company: Company, script: Script, shutdown: CancellationToken) -> anyhow::Result<Outcome> {
    tokio::task::spawn_blocking(move || play_blocking(&company, &script, &shutdown)).await?
}

fn play_blocking(company: &Company, script: &Script, shutdown: &CancellationToken) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let sender = script.destination.as_ref().map(Sender::connect).transpose()?;
    let encoder = Encoder::new(company);
    let mut ledger = script.truth_for_min_group_size.map(|_| Ledger::new(company));
    let mut messages = Messages::default();
    let mut pace = Pace::new(script.speed_up);
    let progress = progress_bar(u64::from(company.plan.days) + 1);
    let mut bytes = Vec::new();
    for deliveries in Deliveries::new(company, script.mishaps) {
        for delivery in deliveries {
            if shutdown.is_cancelled() {
                bail!("stopped after {} of {} days", progress.position(), company.plan.days);
            }
            messages.record(&delivery);
            if let (Some(ledger), Content::Event(event)) = (&mut ledger, &delivery.content) {
                ledger.record(event);
            }
            if let Some(sender) = &sender {
                pace.wait_for(delivery.sent_ms, shutdown);
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
    let truth = ledger.zip(script.truth_for_min_group_size);
    let truth = truth.map(|(ledger, min_group_size)| truth_of(company, &ledger, messages.clone(), min_group_size));
    Ok(Outcome {
        messages,
        truth,
        took: started.elapsed(),
    })
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
