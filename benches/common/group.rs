//! A consumer group, seen from outside.

use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uptake::config::Kafka;
use uptake::store::topics;

pub struct Group {
    name: String,
    consumer: BaseConsumer,
    kafka: Kafka,
}

impl Group {
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
}
