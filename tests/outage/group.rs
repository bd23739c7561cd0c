//! The consumer group, seen from outside.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uptake::config::Kafka;
use uptake::store::topics;

use crate::common::PATIENCE;

const ASK: Duration = Duration::from_secs(10);
const STARTING: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::NotCoordinator,
    RDKafkaErrorCode::CoordinatorNotAvailable,
    RDKafkaErrorCode::CoordinatorLoadInProgress,
];

/// Returns when the group has committed everything that stands in its topic; how long that took.
pub async fn caught_up(kafka: &Kafka) -> anyhow::Result<Duration> {
    let kafka = kafka.clone();
    tokio::task::spawn_blocking(move || {
        let observer: BaseConsumer = topics::client_config(&kafka)
            .set("group.id", &kafka.group_id)
            .create()?;
        let ends = (0..kafka.partitions)
            .map(|partition| {
                Ok((
                    partition,
                    observer.fetch_watermarks(&kafka.topic, partition, PATIENCE)?.1,
                ))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (started, mut moved) = (Instant::now(), Instant::now());
        let mut before = i64::MAX;
        loop {
            let left = left(&observer, &kafka.topic, &ends)?.unwrap_or(before);
            if left == 0 {
                return Ok(started.elapsed());
            }
            if left != before {
                (before, moved) = (left, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                bail!("stuck: {left} events are left, as many as {} s ago", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await?
}

/// How many events are not committed; none while a broker that has just started cannot tell.
fn left(observer: &BaseConsumer, topic: &str, ends: &[(i32, i64)]) -> anyhow::Result<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    for (partition, _) in ends {
        asked.add_partition(topic, *partition);
    }
    let committed = match observer.committed_offsets(asked, ASK) {
        Err(error) if error.rdkafka_error_code().is_some_and(|code| STARTING.contains(&code)) => return Ok(None),
        committed => committed.context("committed offsets")?,
    };
    let left = |(partition, end): &(i32, i64)| {
        let committed = committed.find_partition(topic, *partition);
        match committed.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => (end - offset).max(0),
            _ => *end,
        }
    };
    Ok(Some(ends.iter().map(left).sum()))
}
