//! `uptake ingest` on the prefilled topic, with broker, engine and worker side by side on this machine.

use std::time::Duration;

use anyhow::ensure;
use uptake::config::Config;

use crate::RUNS;
use crate::group::Group;
use crate::parts::{Installation, Parts};
use crate::process::{self, Meter, Program};
use crate::report::{Report, Target};
use crate::topic::Topic;

/// Measures [`RUNS`] runs, each by a new consumer group into a new database. The last database is returned.
pub async fn end_to_end(report: &mut Report, parts: &Parts, topic: &mut Topic) -> anyhow::Result<Installation> {
    let mut runs = Vec::new();
    let (installation, worker) = loop {
        report.progress(format_args!("end to end, run {} of {RUNS}", runs.len() + 1));
        let installation = parts.database(&format!("run_{}", runs.len() + 1)).await?;
        installation.define_system().await?;
        let (run, worker) = Run::measure(parts, &installation, topic.events).await?;
        runs.push(run);
        if runs.len() == RUNS {
            break (installation, worker);
        }
        let status = worker.stop()?;
        ensure!(status.success(), "uptake ingest: {status}");
        installation.drop().await?;
    };
    let all = |figure: fn(&Run) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
    report.add_with_target(
        "uptake ingest: CPU",
        "µs/event",
        all(|run| run.worker_us),
        Target::AtMost(1.5),
    );
    report.add("uptake ingest: peak memory", "MB", all(|run| run.worker_mb));
    fill_memory(report, &installation, topic, worker).await?;
    report.add_with_target(
        "end to end: from the first event read to the last committed",
        "events/s",
        all(|run| run.events_per_second),
        Target::AtLeast(300_000.0),
    );
    report.add("end to end: share of one CPU: worker", "%", all(|run| run.shares[0]));
    report.add("end to end: share of one CPU: engine", "%", all(|run| run.shares[1]));
    report.add("end to end: share of one CPU: broker", "%", all(|run| run.shares[2]));
    report.add("end to end: CPU of all three", "µs/event", all(|run| run.all_us));
    Ok(installation)
}

/// Goes on with new events until every partition's identity memory is full: no worker gets larger than that.
async fn fill_memory(
    report: &mut Report,
    installation: &Installation,
    topic: &mut Topic,
    mut worker: Program,
) -> anyhow::Result<()> {
    let Config { ingest, kafka, .. } = &installation.config;
    let held = ingest.identity_memory as u64 * kafka.partitions.cast_unsigned() as u64;
    // Keys do not spread evenly. A short run is not made long only for this.
    let wanted = (held + held / 20).min(topic.events * 11 / 5);
    let missing = wanted.saturating_sub(topic.events);
    report.progress(format_args!("{missing} further events for the identity memory"));
    topic.send(missing).await?;
    Group::of(&installation.config)?
        .wait_for(&mut worker, topic.events)
        .await?;
    let mb = process::peak_resident_bytes(worker.pid())? as f64 / 1e6;
    let what = format!("uptake ingest: peak memory after {} events", topic.events);
    report.add_with_target(what, "MB", vec![mb], Target::AtMost(400.0));
    let status = worker.stop()?;
    ensure!(status.success(), "uptake ingest: {status}");
    Ok(())
}

struct Run {
    worker_us: f64,
    worker_mb: f64,
    all_us: f64,
    events_per_second: f64,
    /// Worker, engine, broker: percent of one processor while the worker worked.
    shares: [f64; 3],
}

impl Run {
    async fn measure(parts: &Parts, installation: &Installation, events: u64) -> anyhow::Result<(Self, Program)> {
        let meter = Meter::start(&[parts.engine_pid(), parts.broker_pid()])?;
        let mut worker = installation.start("ingest", &[])?;
        let committed_ms = Group::of(&installation.config)?.wait_for(&mut worker, events).await?;
        // Of the worker everything counts, its start included.
        let worker_cpu = process::cpu(worker.pid())?;
        let (wall, others) = meter.stop()?;
        let used = [worker_cpu, others[0], others[1]];

        let stored = installation.number("SELECT count() FROM raw_events").await?;
        let clicks = installation
            .number("SELECT countIf(type = 'feature_click') FROM raw_events")
            .await?;
        let counted = installation
            .number("SELECT toUInt64(sum(clicks)) FROM feature_user_days")
            .await?;
        ensure!(
            (stored, counted) == (events, clicks),
            "{events} events were sent, {stored} are stored; {clicks} are clicks, {counted} are counted"
        );
        // A batch carries the time at which its first event was read.
        let first_ms = installation
            .number("SELECT toUInt64(toUnixTimestamp64Milli(min(ingested_at))) FROM raw_events")
            .await?;
        let seconds = (committed_ms - first_ms.cast_signed()) as f64 / 1e3;
        let us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / events as f64;
        let run = Self {
            worker_us: us(worker_cpu),
            worker_mb: process::peak_resident_bytes(worker.pid())? as f64 / 1e6,
            all_us: us(used.iter().sum()),
            events_per_second: events as f64 / seconds,
            shares: used.map(|cpu| 100.0 * cpu.as_secs_f64() / wall.as_secs_f64()),
        };
        Ok((run, worker))
    }
}
