//! Reads the rejected topic from its beginning to its end.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::Kafka;
use crate::store::topics;

/// The header that names the reason.
const REASON: &str = "uptake_reason";

/// How many messages were rejected for each reason. One that stands there again, under the same key, counts once.
pub fn count_by_reason(kafka: &Kafka) -> anyhow::Result<BTreeMap<String, u64>> {
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let topic = &kafka.rejected_topic;
    let consumer: BaseConsumer = topics::client_config(kafka)
        .set("group.id", "uptake-smoke")
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer
        .fetch_metadata(Some(topic), timeout)
        .with_context(|| format!("Kafka at {}", kafka.brokers))?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let mut assignment = TopicPartitionList::new();
    let mut left = 0;
    for partition in partitions {
        let (first, end) = consumer.fetch_watermarks(topic, partition.id(), timeout)?;
        left += end - first;
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut seen = HashSet::new();
    let mut counts = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while left > 0 {
        if Instant::now() > deadline {
            bail!("topic {topic}: {left} messages could not be read within 60 s");
        }
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.with_context(|| format!("topic {topic}"))?;
        left -= 1;
        if seen.insert(message.key().unwrap_or_default().to_owned()) {
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            // A message's own headers come first.
            let reason = headers
                .filter(|header| header.key == REASON)
                .last()
                .and_then(|header| header.value);
            let reason = String::from_utf8_lossy(reason.unwrap_or(b"(none)")).into_owned();
            *counts.entry(reason).or_default() += 1;
        }
    }
    Ok(counts)
}
