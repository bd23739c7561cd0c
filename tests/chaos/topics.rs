//! A round's topics as an operator and an independent reader see them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use uptake::config;
use uptake::store::topic_id::topic_id;

use crate::common::PATIENCE;

/// What the topic keeps of a key is its newest message; a log segment is closed, and may be compacted, after 100 ms.
const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("max.compaction.lag.ms", "100"),
];

/// One message that consumers may see: those of aborted transactions are not among them.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
}

pub struct Topics {
    pub kafka: config::Kafka,
    compacted: bool,
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    pub fn new(kafka: &config::Kafka, compacted: bool) -> anyhow::Result<Self> {
        Ok(Self {
            compacted,
            admin: client(kafka).create()?,
            kafka: kafka.clone(),
        })
    }

    /// Creates the topic of events. The broker may still be at removing one of the same name.
    pub async fn create(&self) -> anyhow::Result<()> {
        let name = &self.kafka.topic;
        let mut topic = NewTopic::new(name, self.kafka.partitions, TopicReplication::Fixed(1));
        if self.compacted {
            topic.config = COMPACTED.to_vec();
        }
        let started = Instant::now();
        loop {
            let results = self.admin.create_topics([&topic], &options()).await;
            match results.map(|mut results| results.remove(0)) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Err(_) if started.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(Err((_, code))) => bail!("topic {name} cannot be created: {code}"),
                Err(error) => return Err(error).context("topics cannot be created"),
            }
        }
    }

    pub async fn delete(&self, names: &[&str]) -> anyhow::Result<()> {
        for result in self.admin.delete_topics(names, &options()).await? {
            result.map_err(|(name, code)| anyhow!("topic {name} cannot be deleted: {code}"))?;
        }
        Ok(())
    }

    /// Sets `key` of the topic of rejects, and every other setting of it back to its default. Repeats while the broker is away.
    pub async fn set_rejected(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let topic = AlterConfig::new(ResourceSpecifier::Topic(&self.kafka.rejected_topic)).set(key, value);
            let done = match self.admin.alter_configs([&topic], &options()).await {
                Ok(mut results) => results.remove(0).map_err(|(_, code)| anyhow!("{code}")),
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(_) => return Ok(()),
                Err(_) if started.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error).context(format!("topic setting {key} = {value}")),
            }
        }
    }

    /// Everything in a topic, partition by partition in order.
    pub async fn read(&self, topic: &str) -> anyhow::Result<Vec<Record>> {
        let (kafka, topic) = (self.kafka.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || read(&kafka, &topic)).await?
    }

    /// Waits until the group has committed past the last of `records` in every partition.
    pub async fn consumed(&self, records: &[Record]) -> anyhow::Result<()> {
        let mut expected = BTreeMap::new();
        for record in records {
            expected.insert(record.partition, record.offset + 1);
        }
        let kafka = self.kafka.clone();
        tokio::task::spawn_blocking(move || consumed(&kafka, &expected)).await?
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

pub fn client(kafka: &config::Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &kafka.brokers)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200");
    client
}

fn read(kafka: &config::Kafka, topic: &str) -> anyhow::Result<Vec<Record>> {
    let reader: BaseConsumer = client(kafka)
        .set("group.id", "an independent reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..kafka.partitions {
        partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    reader.assign(&partitions)?;
    let (mut records, mut ended, started) = (Vec::new(), HashSet::new(), Instant::now());
    while ended.len() < kafka.partitions as usize {
        match reader.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().unwrap_or_default().to_vec(),
                payload: message.payload().unwrap_or_default().to_vec(),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            // The broker may be away for a moment.
            Some(Err(_)) | None if started.elapsed() < PATIENCE => {}
            _ => bail!("topic {topic} could not be read within {} s", PATIENCE.as_secs()),
        }
    }
    Ok(records)
}

fn consumed(kafka: &config::Kafka, expected: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
    let observer: BaseConsumer = client(kafka).set("group.id", &kafka.group_id).create()?;
    let mut partitions = TopicPartitionList::new();
    for &partition in expected.keys() {
        partitions.add_partition(&kafka.topic, partition);
    }
    let started = Instant::now();
    loop {
        // The broker may be away for a moment.
        let committed = observer.committed_offsets(partitions.clone(), Duration::from_secs(5));
        let id = topic_id(observer.client(), &kafka.topic, Duration::from_secs(5)).map(|id| id.to_string());
        let committed: BTreeMap<i32, i64> = committed
            .iter()
            .flat_map(|list| list.elements())
            // One of a topic that was deleted says nothing of the one that has its name now.
            .filter(|element| id.as_ref().is_ok_and(|id| element.metadata() == id))
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            })
            .collect();
        if expected
            .iter()
            .all(|(partition, offset)| committed.get(partition) >= Some(offset))
        {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "stuck: after {} s the committed offsets are {committed:?}, expected {expected:?}",
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
