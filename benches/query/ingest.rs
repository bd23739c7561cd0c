//! What it costs to ingest an event where few are stored, and where very many are.

use crate::company;
use crate::group::Group;
use crate::parts::{Installation, Parts};
use crate::process::{Meter, Program};
use crate::report::{RUNS, Report, Target};
use crate::topic::Topic;

const FEW: u64 = 1_000_000;
const SENT: u64 = 2_000_000;
/// What an event may cost more where many are stored; the machine differs by as much from minute to minute.
const GROWTH: f64 = 1.1;

/// Sends the same number of events to both, in turns, each to a topic of its own.
pub async fn compare(report: &mut Report, parts: &mut Parts, many: &Installation) -> anyhow::Result<()> {
    let stored = many.number("SELECT count() FROM raw_events").await?;
    let few = with_topic(parts, "few").await?;
    few.define_system().await?;
    let many = with_topic(parts, &many.config.clickhouse.database).await?;
    let mut few = Receiver::start(&few)?;
    let mut many = Receiver::start(&many)?;
    report.progress(format_args!("  ingest: {FEW} events"));
    few.receive(parts, FEW).await?;
    // Its first users and its first batch are not counted either.
    many.receive(parts, FEW / 10).await?;
    let (mut costs, mut growth) = ([Vec::new(), Vec::new()], Vec::new());
    for turn in 1..=RUNS {
        report.progress(format_args!("  ingest: turn {turn} of {RUNS}"));
        let costs_of_turn = [few.receive(parts, SENT).await?, many.receive(parts, SENT).await?];
        growth.push(costs_of_turn[1] / costs_of_turn[0]);
        for (costs, cost) in costs.iter_mut().zip(costs_of_turn) {
            costs.push(cost);
        }
    }
    let [cost_of_few, cost_of_many] = costs;
    let name = |stored| format!("ingest: worker and engine, {stored} events stored before");
    report.add(name(FEW), "µs/event", cost_of_few);
    report.add(name(stored), "µs/event", cost_of_many);
    report.add_with_target("ingest: many against few", "times", growth, Target::AtMost(GROWTH));
    for receiver in [few, many] {
        receiver.worker.stop()?;
    }
    Ok(())
}

async fn with_topic(parts: &mut Parts, database: &str) -> anyhow::Result<Installation> {
    parts.config_mut().kafka.topic = format!("{database}.events");
    parts.database(database).await
}

/// An installation and its worker.
struct Receiver<'a> {
    installation: &'a Installation,
    topic: Topic,
    group: Group,
    worker: Program,
}

impl<'a> Receiver<'a> {
    fn start(installation: &'a Installation) -> anyhow::Result<Self> {
        Ok(Self {
            topic: Topic::empty(&installation.config.kafka),
            group: Group::of(&installation.config)?,
            worker: installation.start("ingest", &[])?,
            installation,
        })
    }

    /// Microseconds of CPU for each event until it is committed and what it lets the engine merge is merged.
    async fn receive(&mut self, parts: &Parts, events: u64) -> anyhow::Result<f64> {
        company::settle(self.installation).await?;
        let meter = Meter::start(&[parts.engine_pid(), self.worker.pid()])?;
        self.topic.send(events).await?;
        self.group.wait_for(&mut self.worker, self.topic.events).await?;
        company::settle(self.installation).await?;
        let (_, used) = meter.stop()?;
        Ok(used.iter().map(|used| used.as_secs_f64()).sum::<f64>() * 1e6 / events as f64)
    }
}
