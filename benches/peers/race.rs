//! One run: the whole topic by one contender, in a new consumer group, into a new database.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rdkafka::consumer::{BaseConsumer, Consumer};
use uptake::store::topics;

use crate::connect::Connect;
use crate::contender::{Contender, Started};
use crate::group::Group;
use crate::parts::{Installation, Parts};
use crate::process::{self, Meter};
use crate::topic::Topic;

const PATIENCE: Duration = Duration::from_secs(1_200);
const LOOK: Duration = Duration::from_millis(50);
/// What is committed but not visible after this long is lost.
const SETTLE: Duration = Duration::from_secs(5);

pub struct Run {
    pub events_per_second: f64,
    /// Of its own process.
    pub own_us: f64,
    pub own_mb: f64,
    pub engine_us: f64,
    pub broker_us: f64,
    pub lost: u64,
    pub twice: u64,
}

impl Run {
    /// CPU per event of everything that a contender adds to Kafka.
    pub fn us(&self) -> f64 {
        self.own_us + self.engine_us
    }
}

pub async fn run(
    contender: Contender,
    parts: &Parts,
    installation: &Installation,
    connect: &mut Connect,
    topic: &Topic,
) -> anyhow::Result<Run> {
    let meter = Meter::start(&[parts.engine_pid(), parts.broker_pid()])?;
    let mut started = contender.start(installation, connect).await?;
    let mut watch = Watch::new(installation, topic.events)?;
    while !watch.done(installation).await? {
        contender.check(&mut started, connect).await?;
        tokio::time::sleep(LOOK).await;
    }
    let (_, others) = meter.stop()?;
    let (own, own_mb) = own(&started)?;
    contender.stop(started, installation, connect).await?;

    let us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / topic.events as f64;
    let different = installation
        .number("SELECT uniqExact(kafka_partition, kafka_offset) FROM raw_events")
        .await?;
    Ok(Run {
        events_per_second: topic.events as f64 / watch.seconds(),
        own_us: us(own),
        own_mb,
        engine_us: us(others[0]),
        broker_us: us(others[1]),
        lost: topic.events - different,
        // Repeats in `raw_events` may have been replaced already; in the rollups they stay.
        twice: counted(installation).await?.saturating_sub(clicks(installation).await?),
    })
}

/// CPU and peak memory of the contender's own process.
fn own(started: &Started) -> anyhow::Result<(Duration, f64)> {
    let Some(pid) = started.pid else {
        return Ok((Duration::ZERO, 0.0));
    };
    let cpu = process::cpu(pid)?.saturating_sub(started.used);
    Ok((cpu, process::peak_resident_bytes(pid)? as f64 / 1e6))
}

/// Clicks in the rollup of features, users and days, the one with the most rows.
async fn counted(installation: &Installation) -> anyhow::Result<u64> {
    installation
        .number("SELECT toUInt64(sum(clicks)) FROM feature_user_days")
        .await
}

/// Different clicks in the table.
async fn clicks(installation: &Installation) -> anyhow::Result<u64> {
    installation
        .number(
            "SELECT uniqExact(kafka_topic, kafka_partition, kafka_offset) FROM raw_events WHERE type = 'feature_click'",
        )
        .await
}

/// From the first member of the group to the moment when every event is visible in the table and its rollups. What comes before, the
/// start of a process or a connection to Kafka, is no matter of throughput.
struct Watch {
    consumer: BaseConsumer,
    group: Group,
    name: String,
    events: u64,
    started: Instant,
    joined: Option<Instant>,
    clicks: Option<u64>,
    visible: Option<Instant>,
    committed: Option<Instant>,
}

impl Watch {
    fn new(installation: &Installation, events: u64) -> anyhow::Result<Self> {
        let kafka = &installation.config.kafka;
        Ok(Self {
            consumer: topics::client_config(kafka).create()?,
            group: Group::new(kafka, &kafka.group_id)?,
            name: kafka.group_id.clone(),
            events,
            started: Instant::now(),
            joined: None,
            clicks: None,
            visible: None,
            committed: None,
        })
    }

    /// How many clicks there are, once every event stands in the table.
    async fn clicks(&mut self, installation: &Installation) -> anyhow::Result<u64> {
        if self.clicks.is_none() {
            self.clicks = Some(clicks(installation).await?);
        }
        Ok(self.clicks.unwrap_or_default())
    }

    /// Looks once. A contender is done when it has committed all and either all is visible or no longer waited for.
    async fn done(&mut self, installation: &Installation) -> anyhow::Result<bool> {
        if self.joined.is_none() {
            self.joined = self.has_members().then(Instant::now);
            ensure!(
                self.started.elapsed() < PATIENCE,
                "{}: no member within {PATIENCE:?}",
                self.name
            );
            return Ok(false);
        }
        // The table is asked first: that costs next to nothing.
        if self.visible.is_none() && installation.number("SELECT count() FROM raw_events").await? >= self.events {
            self.visible = (counted(installation).await? >= self.clicks(installation).await?).then(Instant::now);
        }
        if self.committed.is_none() {
            let committed = tokio::task::block_in_place(|| self.group.committed())?;
            self.committed = (committed >= self.events).then(Instant::now);
            ensure!(
                self.started.elapsed() < PATIENCE,
                "{}: {committed} of {} events within {PATIENCE:?}",
                self.name,
                self.events
            );
        }
        let settled = self.committed.is_some_and(|at| at.elapsed() > SETTLE);
        Ok(self.committed.is_some() && (self.visible.is_some() || settled))
    }

    /// A contender that lost events is measured until it had committed.
    fn seconds(&self) -> f64 {
        let from = self.joined.unwrap_or(self.started);
        let to = self.visible.or(self.committed).unwrap_or_else(Instant::now);
        to.duration_since(from).as_secs_f64()
    }

    /// Whether it is assigned anything cannot be waited for: while one member works, others may join, and that keeps a group unstable.
    fn has_members(&self) -> bool {
        let ask = || self.consumer.fetch_group_list(Some(&self.name), Duration::from_secs(1));
        let answer = tokio::task::block_in_place(ask);
        // Until the group exists, its coordinator refuses to speak of it.
        answer.is_ok_and(|list| list.groups().iter().any(|group| !group.members().is_empty()))
    }
}
