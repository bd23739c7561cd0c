//! Taking over a partition: wait until no insert of a previous owner is running, then remember what was stored
//! (architecture.md, guarantee 2).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use clickhouse::Row;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use serde::Deserialize;
use uuid::Uuid;

use super::identity::IdentityMemory;
use super::insert::comment_prefix;
use crate::event::Identity;
use crate::store::Store;
use crate::store::topic_id::topic_id;

const POLL: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);

/// The steps of a takeover. Each one is repeated until it succeeds.
pub struct Takeover {
    pub store: Store,
    pub topic: String,
    pub identity_memory: usize,
    pub kafka_timeout: Duration,
    /// The topic that this membership reads, by its id; set by the first takeover.
    pub topic_id: Arc<OnceLock<Uuid>>,
}

#[derive(Row, Deserialize)]
struct StoredIdentity {
    identity: u64,
}

/// Repeats a step until it succeeds; `what` is what could not be done.
async fn persist<T, F: Future<Output = anyhow::Result<T>>>(what: &str, step: impl Fn() -> F) -> T {
    loop {
        match step().await {
            Ok(done) => return done,
            Err(error) => tracing::warn!(error = format!("{error:#}"), "{what} yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Takeover {
    /// The committed offset of each partition; 0 where nothing was committed.
    pub async fn committed<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
    ) -> BTreeMap<i32, u64> {
        let ask = || self.ask_committed(consumer.clone(), partitions);
        persist("the committed offsets are not known", ask).await
    }

    /// An insert that was sent before the takeover either is visible in `system.processes` until it ends, or has ended.
    pub async fn await_inserts(&self, partitions: &[i32]) {
        let running = || self.count_inserts(partitions);
        while persist("the running inserts are not known", &running).await > 0 {
            tokio::time::sleep(POLL).await;
        }
    }

    /// The memory of each partition, read from what was stored at or after its offset and before.
    pub async fn remember(&self, offsets: &BTreeMap<i32, u64>) -> BTreeMap<i32, IdentityMemory> {
        let mut memories = BTreeMap::new();
        for (&partition, &offset) in offsets {
            let read = || self.read_identities(partition, offset);
            memories.insert(partition, persist("the stored identities cannot be read", read).await);
        }
        memories
    }

    async fn ask_committed<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
    ) -> anyhow::Result<BTreeMap<i32, u64>> {
        let (topic, timeout, known) = (self.topic.clone(), self.kafka_timeout, self.topic_id.clone());
        let partitions = partitions.to_vec();
        let ask = move || {
            let id = topic_id(consumer.client(), &topic, timeout)?;
            if *known.get_or_init(|| id) != id {
                bail!("topic {topic} was deleted and created anew");
            }
            let mut asked = TopicPartitionList::new();
            for partition in partitions {
                asked.add_partition(&topic, partition);
            }
            let committed = consumer.committed_offsets(asked, timeout).with_context(|| {
                format!(
                    "Kafka did not tell the committed offsets within {} s",
                    timeout.as_secs()
                )
            })?;
            let start = |element: &TopicPartitionListElem<'_>| {
                let partition = element.partition();
                // Committed for a topic that is gone: this one has not been read at all.
                if !element.metadata().is_empty() && element.metadata() != id.to_string() {
                    tracing::warn!(
                        topic,
                        partition,
                        "the topic was created anew and is read from its beginning"
                    );
                    consumer.seek(&topic, partition, Offset::Beginning, timeout)?;
                    return Ok((partition, 0));
                }
                match element.offset() {
                    Offset::Offset(offset) => Ok((partition, offset.max(0) as u64)),
                    _ => Ok((partition, 0)),
                }
            };
            committed.elements().iter().map(start).collect()
        };
        tokio::task::spawn_blocking(ask).await?
    }

    async fn count_inserts(&self, partitions: &[i32]) -> anyhow::Result<u64> {
        let sql = format!(
            "SELECT count() FROM {} WHERE startsWith(Settings['log_comment'], ?) \
             AND arrayExists(p -> position(Settings['log_comment'], concat(',', toString(p), ',')) > 0, ?)",
            self.store.of_all_servers("system.processes")
        );
        let query = self.store.client().query(&sql).bind(comment_prefix(&self.topic));
        Ok(query.bind(partitions).fetch_one().await?)
    }

    /// In the order in which they were stored, so that the newest are remembered also where a topic was made anew and its
    /// offsets began again.
    async fn read_identities(&self, partition: i32, committed: u64) -> anyhow::Result<IdentityMemory> {
        let from = committed.saturating_sub(self.identity_memory as u64);
        let sql = "SELECT identity FROM raw_events WHERE kafka_topic = ? AND kafka_partition = ? AND kafka_offset >= ? \
            ORDER BY ingested_at, kafka_offset";
        let query = self
            .store
            .client()
            .query(sql)
            .bind(&self.topic)
            .bind(partition)
            .bind(from);
        let mut rows = query.fetch::<StoredIdentity>()?;
        let mut memory = IdentityMemory::new(self.identity_memory);
        while let Some(row) = rows.next().await? {
            memory.remember(Identity(row.identity));
        }
        Ok(memory)
    }
}
