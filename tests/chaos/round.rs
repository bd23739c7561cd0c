//! One round: workers, a producer, faults while it sends; then quiet, and the comparison with the truth.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use uptake::config::Config;
use uptake::store::{Store, migrate};

use crate::common::differences::Differences;
use crate::common::parts::Parts;
use crate::common::proxy::{Inserts, Proxy};
use crate::common::workers::{Slot, Workers};
use crate::common::{self, PATIENCE};
use crate::plan::{Fault, Moment, Plan};
use crate::producer::{IDENTITY_MEMORY, Producer};
use crate::topics::Topics;

/// A worker that is silent for so long has lost its partitions.
const SESSION_TIMEOUT: Duration = Duration::from_millis(2_500);

pub struct Outcome {
    pub messages: usize,
    pub faults: BTreeMap<Fault, usize>,
    pub differences: Differences,
}

pub struct Round<'p> {
    parts: &'p Parts,
    plan: &'p Plan,
    config: Config,
    store: Store,
    topics: Topics,
    proxy: Proxy,
    workers: Workers,
    happened: RefCell<BTreeMap<Fault, usize>>,
}

impl<'p> Round<'p> {
    /// Topics, database and workers of its own. `dir` gets the workers' logs.
    pub async fn prepare(parts: &'p Parts, plan: &'p Plan, dir: &Path) -> anyhow::Result<Self> {
        let mut config = common::config();
        config.data_dir = dir.to_owned();
        config.kafka.partitions = plan.partitions;
        common::isolate(&mut config, &parts.kafka_address, &parts.clickhouse_url);
        let topics = Topics::new(&config.kafka, plan.has(|fault| fault == Fault::Compaction))?;
        topics.create().await?;
        migrate::run(config.clone()).await?;
        let proxy = Proxy::to(&config.clickhouse.url, Inserts::Pass).await;
        let slots = (0..plan.workers).map(|number| worker(&config, &proxy, plan, &log(dir, number)));
        Ok(Self {
            parts,
            plan,
            store: Store::new(&config.clickhouse),
            topics,
            workers: Workers::new(slots),
            proxy,
            happened: RefCell::default(),
            config,
        })
    }

    pub async fn run(self) -> anyhow::Result<Outcome> {
        self.workers.start_all().await?;
        let mut producer = Producer::new(&self.topics, self.plan.seed)?;
        let sending = producer.run(&self.plan.moments, &self.workers, |fault| self.note(fault));
        let parts_moments = self.plan.moments.iter().filter(|moment| !moment.fault.is_of_producer());
        let faults = try_join_all(parts_moments.map(|moment| self.stage(moment)));
        let quiet = async {
            tokio::try_join!(sending, faults)?;
            let topic = self.topics.read(&self.config.kafka.topic).await?;
            self.topics.consumed(&topic).await.map(|()| topic)
        };
        let topic = tokio::select! {
            topic = quiet => topic?,
            failed = self.workers.supervise() => return Err(failed.err().context("the supervisor ended")?),
        };
        let stopped = self.workers.stop_all().await?;
        self.await_inserts().await?;
        let outcome = self.compare(&producer, topic).await?;
        drop(stopped);
        if outcome.differences.is_empty() {
            self.remove().await?;
        }
        Ok(outcome)
    }

    fn note(&self, fault: Fault) {
        *self.happened.borrow_mut().entry(fault).or_default() += 1;
    }

    /// Lets a fault of a part happen at its moment, and ends it again.
    async fn stage(&self, moment: &Moment) -> anyhow::Result<()> {
        tokio::time::sleep(moment.at).await;
        let lasting = |usual_ms: u32| Duration::from_millis(u64::from(usual_ms * moment.permille / 1_000));
        let happened = match moment.fault {
            Fault::WorkerKilled => {
                let mut slot = self.workers.pick(moment.pick).await;
                slot.kill();
                tokio::time::sleep(lasting(200)).await;
                slot.start().map(|()| true)
            }
            Fault::KilledInBody => self.kill_in_insert(Inserts::BreakBody).await,
            Fault::KilledBeforeAnswer => self.kill_in_insert(Inserts::BreakBeforeAnswer).await,
            Fault::WorkerHalted => self.halt(moment.pick, lasting(800)).await,
            Fault::WorkerZombie => self.halt(moment.pick, SESSION_TIMEOUT + lasting(800)).await,
            Fault::RebalanceStorm => self.storm(moment.pick, lasting(200)).await,
            Fault::EngineKilled => self.parts.kill_engine().await.map(|()| true),
            Fault::BrokerKilled => self.parts.kill_broker().await.map(|()| true),
            Fault::EngineUnreachable => {
                self.proxy.set(Inserts::Unreachable);
                tokio::time::sleep(lasting(800)).await;
                self.proxy.set(Inserts::Pass);
                Ok(true)
            }
            Fault::BodyCut => self.disturb(Inserts::BreakBody, lasting(300)).await,
            Fault::BodyHeld => self.disturb(Inserts::HoldBody, lasting(800)).await,
            Fault::AnswerCut => self.disturb(Inserts::BreakBeforeAnswer, lasting(300)).await,
            Fault::AnswerHeld => self.disturb(Inserts::HoldAnswer, lasting(800)).await,
            Fault::EngineSlow => self.disturb(Inserts::Slow, lasting(1_000)).await,
            Fault::RejectsRefused => self.block_rejects("max.message.bytes", "50", lasting(800)).await,
            Fault::RejectsStalled => self.block_rejects("min.insync.replicas", "2", lasting(1_000)).await,
            _ => bail!("{:?} is not a fault of a part", moment.fault),
        };
        if happened.with_context(|| format!("fault: {}", moment.fault.name()))? {
            self.note(moment.fault);
        }
        Ok(())
    }

    /// Every worker dies as soon as an insert met with it: between the insert and its commit. Whether one did.
    async fn kill_in_insert(&self, how: Inserts) -> anyhow::Result<bool> {
        let mut slots = self.workers.hold_all().await;
        let (before, started) = (self.proxy.met(), Instant::now());
        self.proxy.set(how);
        while self.proxy.met() == before && started.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slots.iter_mut().for_each(|slot| slot.kill());
        self.proxy.set(Inserts::Pass);
        slots.iter_mut().try_for_each(|slot| slot.start())?;
        Ok(self.proxy.met() > before)
    }

    async fn halt(&self, pick: usize, lasting: Duration) -> anyhow::Result<bool> {
        let slot = self.workers.pick(pick).await;
        slot.halt();
        tokio::time::sleep(lasting).await;
        slot.go_on();
        Ok(true)
    }

    async fn storm(&self, pick: usize, pause: Duration) -> anyhow::Result<bool> {
        for number in 0..3 {
            let mut slot = self.workers.pick(pick + number).await;
            slot.stop().await?;
            tokio::time::sleep(pause).await;
            slot.start()?;
            tokio::time::sleep(pause).await;
        }
        Ok(true)
    }

    /// Whether any insert met with it.
    async fn disturb(&self, how: Inserts, lasting: Duration) -> anyhow::Result<bool> {
        let before = self.proxy.met();
        self.proxy.set(how);
        tokio::time::sleep(lasting).await;
        self.proxy.set(Inserts::Pass);
        Ok(self.proxy.met() > before)
    }

    async fn block_rejects(&self, key: &str, value: &str, lasting: Duration) -> anyhow::Result<bool> {
        self.topics.set_rejected(key, value).await?;
        tokio::time::sleep(lasting).await;
        self.topics.set_rejected("max.message.bytes", "2097152").await?;
        Ok(true)
    }

    /// An insert of a worker that is gone may still be running.
    async fn await_inserts(&self) -> anyhow::Result<()> {
        let sql = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = ?";
        let started = Instant::now();
        loop {
            let running = self.store.client().query(sql).bind(&self.config.clickhouse.database);
            match running.fetch_one::<u64>().await {
                Ok(0) => return Ok(()),
                Ok(count) if started.elapsed() > PATIENCE => bail!("{count} inserts do not end"),
                Err(error) if started.elapsed() > PATIENCE => return Err(error.into()),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn compare(&self, producer: &Producer<'_>, topic: Vec<crate::topics::Record>) -> anyhow::Result<Outcome> {
        let (config, store, truth) = (&self.config, &self.store, &producer.truth);
        let records = [producer.deleted.clone(), topic].concat();
        let rejects = self.topics.read(&config.kafka.rejected_topic).await?;
        let mut differences = Differences::default();
        differences.of_raw(store, truth, &records).await?;
        differences
            .of_rejects(config, store, &producer.malformed, &records, &rejects)
            .await?;
        if !self.plan.has(Fault::needs_reconciler) || self.reconcile()? {
            differences.of_rollups(config, store, truth).await?;
        }
        Ok(Outcome {
            messages: producer.messages,
            faults: self.happened.take(),
            differences,
        })
    }

    /// `uptake reconcile`, as an operator runs it; `false` when the program does not have it. No worker runs any more: it need
    /// not wait for inserts that one might repeat.
    fn reconcile(&self) -> anyhow::Result<bool> {
        if !common::program(&self.config)
            .args(["reconcile", "--help"])
            .output()?
            .status
            .success()
        {
            return Ok(false);
        }
        let output = common::program(&self.config)
            .arg("reconcile")
            .env("UPTAKE__RECONCILE__CLOSED_AFTER_MS", "1")
            .output()?;
        if !output.status.success() {
            bail!("uptake reconcile: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(true)
    }

    /// So that a long run does not grow.
    async fn remove(&self) -> anyhow::Result<()> {
        let database = clickhouse::sql::Identifier(&self.config.clickhouse.database);
        let server = self.store.client().clone().with_database("system");
        server.query("DROP DATABASE ?").bind(database).execute().await?;
        let kafka = &self.config.kafka;
        self.topics.delete(&[&kafka.topic, &kafka.rejected_topic]).await
    }
}

fn log(dir: &Path, worker: usize) -> PathBuf {
    dir.join(format!("worker-{worker}.log"))
}

fn worker(config: &Config, proxy: &Proxy, plan: &Plan, log: &Path) -> Slot {
    let mut config = config.clone();
    config.clickhouse.url = proxy.url.clone();
    let settings = [
        ("INGEST__BATCH_ROWS", plan.batch_rows.to_string()),
        ("INGEST__BATCH_AGE_MS", "50".to_owned()),
        ("INGEST__IDENTITY_MEMORY", IDENTITY_MEMORY.to_string()),
        ("INGEST__DRAIN_TIMEOUT_MS", "1500".to_owned()),
        ("KAFKA__SESSION_TIMEOUT_MS", SESSION_TIMEOUT.as_millis().to_string()),
        ("KAFKA__OPTIONS__RECONNECT_BACKOFF_MAX_MS", "500".to_owned()),
    ];
    let command = move || {
        let mut program = common::program(&config);
        program.arg("ingest");
        program.envs(settings.iter().map(|(key, value)| (format!("UPTAKE__{key}"), value)));
        program
    };
    Slot::new(command, log.to_owned())
}
