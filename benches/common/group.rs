//! A consumer group, seen from outside.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uptake::config::{Config, Kafka};
use uptake::store::topics;

use crate::process::Program;

const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(50);

pub struct Group {
    name: String,
    consumer: BaseConsumer,
    kafka: Kafka,
}

impl Group {
    /// The group of an installation's workers.
    #[allow(dead_code, reason = "bench-peers has groups of other names")]
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        Self::new(&config.kafka, &config.kafka.group_id)
    }

    pub fn new(kafka: &Kafka, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            consumer: topics::client_config(kafka).set("group.id", name).create()?,
            kafka: kafka.clone(),
        })
    }

    /// How many messages of the topic the group is done with.
    pub fn committed(&self) -> anyhow::Result<u64> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.kafka.partitions {
            asked.add_partition(&self.kafka.topic, partition);
        }
        let offsets = self
            .consumer
            .committed_offsets(asked, Duration::from_secs(10))
            .with_context(|| format!("committed offsets of {}", self.name))?;
        let done = offsets.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset.max(0).cast_unsigned(),
            _ => 0,
        });
        Ok(done.sum())
    }
    /// Waits until the group is done with so many messages; when that was, in milliseconds since the epoch.
    #[allow(dead_code, reason = "bench-peers waits for more than commits")]
    pub async fn wait_for(&self, worker: &mut Program, messages: u64) -> anyhow::Result<i64> {
        let started = Instant::now();
        loop {
            let done = tokio::task::block_in_place(|| self.committed())?;
            if done >= messages {
                return Ok(Timestamp::now().as_millisecond());
            }
            worker.check()?;
            ensure!(
                started.elapsed() < PATIENCE,
                "{done} of {messages} events after {} s",
                PATIENCE.as_secs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}
