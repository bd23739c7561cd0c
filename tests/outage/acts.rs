//! The outages, one after the other, each with an installation of its own.

use std::future::{Future, ready};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::common::differences::Differences;
use crate::common::parts::Parts;
use crate::common::{self, PATIENCE};
use crate::disk::Disk;
use crate::group;
use crate::installation::Installation;
use crate::load::{EVENTS_PER_REQUEST, Load};
use crate::truth::Truth;
use crate::watch::{Memory, all_ready, all_unready, watch};

/// What a worker may need at most.
const MEMORY_BYTES: u64 = 400_000_000;
/// Events that are taken before an outage begins and after it has ended.
const BETWEEN: u64 = 20 * EVENTS_PER_REQUEST;

/// How long a disk stays full, at most, and how large it is.
const FULL: Duration = Duration::from_secs(30);
const DISK_MB: usize = 600;

const TAKEOVERS: &str = "uptake_ingest_takeover_seconds_count";
const PAUSED: &str = "uptake_ingest_paused";
const PARTITIONS: &str = "uptake_ingest_partitions";

pub struct Scene {
    pub lasting: Duration,
    /// Events a second.
    pub rate: u64,
    pub is_short: bool,
}

struct Act {
    parts: Parts,
    installation: Installation,
    load: Load,
    dir: PathBuf,
}

/// ClickHouse is killed and stays away. Events go on to be accepted; the workers keep their partitions and wait.
pub async fn without_clickhouse(scene: &Scene) -> anyhow::Result<Outcome> {
    let act = Act::prepare(scene).await?;
    let outage = async {
        let before = act.takeovers().await?;
        let accepted = act.load.acknowledged.get();
        let enough = async || {
            for worker in &act.installation.workers {
                if worker.metric(PAUSED).await? == 0.0 {
                    return Ok(Err(format!("{} still reads from Kafka", worker.name)));
                }
            }
            all_unready(act.installation.programs(), "clickhouse").await
        };
        let memory = act
            .parts
            .without_engine(watch(&act.installation, scene.lasting, enough))
            .await??;
        if act.load.acknowledged.get() == accepted {
            bail!("the collector accepted nothing while ClickHouse was away");
        }
        all_ready(&act.installation).await?;
        let after = act.takeovers().await?;
        if after != before {
            bail!("partitions changed hands: {after} takeovers, {before} before the outage");
        }
        Ok(memory)
    };
    let (memory, caught_up) = act.perform(outage).await?;
    // ClickHouse may have died between a table and its views (docs/guarantees.md).
    act.end("ClickHouse", memory, caught_up, Installation::reconcile).await
}

/// Kafka is killed and stays away. Nothing is accepted: the collector says so, and its clients repeat.
pub async fn without_kafka(scene: &Scene) -> anyhow::Result<Outcome> {
    let act = Act::prepare(scene).await?;
    let outage = async {
        let enough = async || {
            for status in [429, 503] {
                if !act.load.come_again.borrow().contains_key(&status) {
                    return Ok(Err(format!("the collector did not answer {status}")));
                }
            }
            all_unready(act.installation.programs(), "kafka").await
        };
        let memory = act
            .parts
            .without_broker(watch(&act.installation, scene.lasting, enough))
            .await??;
        all_ready(&act.installation).await?;
        Ok(memory)
    };
    let (memory, caught_up) = act.perform(outage).await?;
    act.end("Kafka", memory, caught_up, |_| Ok(())).await
}

/// Returns when each worker has its part: nothing moves then but by an outage.
async fn partitions_shared(installation: &Installation) -> anyhow::Result<()> {
    let started = Instant::now();
    for worker in &installation.workers {
        let half = f64::from(installation.config.kafka.partitions) / 2.0;
        while worker.metric(PARTITIONS).await? != half {
            if started.elapsed() > PATIENCE {
                bail!(
                    "{} has not half of the partitions after {} s",
                    worker.name,
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Inserts fail for want of room; ClickHouse answers all the same.
pub async fn clickhouse_without_room(scene: &Scene) -> anyhow::Result<Outcome> {
    let dir = common::directory("outage");
    let disk = Disk::mount(dir.join("clickhouse"), DISK_MB)?;
    let act = Act::prepare_in(scene, dir).await?;
    let outage = async {
        let enough = async || {
            // Merges make room.
            disk.fill()?;
            all_unready(&act.installation.workers, "the disk is full").await
        };
        disk.fill()?;
        let memory = watch(&act.installation, scene.lasting.min(FULL), enough).await?;
        disk.make_room()?;
        all_ready(&act.installation).await?;
        Ok(memory)
    };
    let (memory, caught_up) = act.perform(outage).await?;
    // Room may have run out between a table and its views.
    act.end("room for ClickHouse", memory, caught_up, Installation::reconcile)
        .await
}

/// The broker ends when it has no room, and is started again when there is.
pub async fn kafka_without_room(scene: &Scene) -> anyhow::Result<Outcome> {
    let dir = common::directory("outage");
    let disk = Disk::mount(dir.join("kafka"), DISK_MB)?;
    let act = Act::prepare_in(scene, dir).await?;
    let outage = async {
        let enough = async || {
            disk.fill()?;
            if !act.load.come_again.borrow().contains_key(&503) {
                return Ok(Err("the collector did not answer 503".to_owned()));
            }
            all_unready(act.installation.programs(), "kafka").await
        };
        disk.fill()?;
        let memory = watch(&act.installation, scene.lasting.min(FULL), enough).await?;
        disk.make_room()?;
        act.parts.without_broker(ready(())).await?;
        all_ready(&act.installation).await?;
        Ok(memory)
    };
    let (memory, caught_up) = act.perform(outage).await?;
    act.end("room for Kafka", memory, caught_up, |_| Ok(())).await
}

impl Act {
    async fn prepare(scene: &Scene) -> anyhow::Result<Self> {
        Self::prepare_in(scene, common::directory("outage")).await
    }

    async fn prepare_in(scene: &Scene, dir: PathBuf) -> anyhow::Result<Self> {
        let parts = Parts::start(&dir).await?;
        let installation = Installation::start(&parts, &dir, scene.is_short).await?;
        all_ready(&installation).await?;
        partitions_shared(&installation).await?;
        Ok(Self {
            load: Load::new(&installation.collector.api, scene.rate),
            parts,
            installation,
            dir,
        })
    }

    async fn takeovers(&self) -> anyhow::Result<f64> {
        let [first, second] = &self.installation.workers;
        Ok(first.metric(TAKEOVERS).await? + second.metric(TAKEOVERS).await?)
    }

    /// Load, `outage` in the midst of it, then quiet. What the outage says, and how long it then took to catch up.
    async fn perform<T>(&self, outage: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, Duration)> {
        let kafka = &self.installation.config.kafka;
        let stop = CancellationToken::new();
        let course = async {
            self.await_events(BETWEEN).await?;
            group::caught_up(kafka).await?;
            let told = outage.await?;
            let back = Instant::now();
            self.await_events(BETWEEN).await?;
            stop.cancel();
            anyhow::Ok((told, back))
        };
        let ((told, back), ()) = tokio::try_join!(course, self.load.run(kafka, &stop))
            .with_context(|| format!("the programs' logs: {}", self.dir.display()))?;
        group::caught_up(kafka).await?;
        Ok((told, back.elapsed()))
    }

    /// So many more are acknowledged.
    async fn await_events(&self, count: u64) -> anyhow::Result<()> {
        let (before, started) = (self.load.acknowledged.get(), Instant::now());
        while self.load.acknowledged.get() < before + count {
            if started.elapsed() > PATIENCE {
                bail!(
                    "the collector accepted less than {count} events within {} s",
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn end(
        mut self,
        of: &str,
        memory: Memory,
        caught_up: Duration,
        repair: impl FnOnce(&Installation) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        self.installation.stop().await?;
        repair(&self.installation)?;
        let Installation { config, store, .. } = &self.installation;
        let events = self.load.acknowledged.get();
        let names = config.privacy.pseudonymizer();
        let truth = Truth::of(self.load.events, events, &names);
        let differences = Differences::of(store, &truth, self.load.to_refuse.get()).await?;
        println!(
            "without {of}: {events} events, memory of a worker {} MB in the first half and {} MB in the second, \
             caught up after {:.1} s, come again: {:?}",
            memory.first_half / 1_000_000,
            memory.second_half / 1_000_000,
            caught_up.as_secs_f64(),
            self.load.come_again.borrow(),
        );
        memory.check(MEMORY_BYTES)?;
        if differences.is_empty() {
            // What was mounted in it stays, empty, until the next run.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        Ok(Outcome {
            events,
            peak_bytes: memory.peak(),
            differences,
        })
    }
}
