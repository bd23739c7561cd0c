//! Refused messages go to the dead-letter topic as they came, with the reason; ClickHouse keeps one row for each.

use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde_json::json;
use uuid::Uuid;

use super::batch::DeadLetter;
use crate::store::login::Login;
use crate::store::topic_id::topic_id;
use crate::store::{Store, topics};
use crate::{config, event};

const TOPIC_ID_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends dead letters and waits until every replica has them.
pub struct DeadLetters {
    producer: FutureProducer<Login>,
    topic: String,
    source_topic: String,
}

impl DeadLetters {
    pub fn new(kafka: &config::Kafka) -> anyhow::Result<Self> {
        let producer = topics::client_config(kafka)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", topics::REJECT_MAX_BYTES)
            .set("linger.ms", "5")
            .create_with_context(Login)
            .context("the dead-letter producer cannot be made")?;
        Ok(Self {
            producer,
            topic: kafka.rejected_topic.clone(),
            source_topic: kafka.topic.clone(),
        })
    }

    /// Returns once all of them are acknowledged. Repeating it is harmless: the key is the origin.
    pub async fn publish(&self, letters: &[DeadLetter]) -> anyhow::Result<()> {
        let sends = letters.iter().map(|letter| async {
            let (partition, offset) = (letter.position.partition, letter.position.offset);
            let key = format!("{}/{partition}/{offset}", self.source_topic);
            let record = FutureRecord::to(&self.topic)
                .key(&key)
                .payload(&letter.payload)
                .headers(self.headers(letter));
            self.producer
                .send(record, Duration::from_secs(30))
                .await
                .map_err(|(error, _)| anyhow!("dead letter {key} to {}: {error}", self.topic))
        });
        try_join_all(sends).await.map(drop)
    }

    /// The id of a topic, asked through the connection that is there; `None` when Kafka does not tell it now.
    pub async fn topic_id(&self, topic: &str) -> Option<Uuid> {
        let (producer, topic) = (self.producer.clone(), topic.to_owned());
        let ask = move || topic_id(producer.client(), &topic, TOPIC_ID_TIMEOUT).ok();
        tokio::task::spawn_blocking(ask).await.ok().flatten()
    }

    /// The message's own headers, then ours.
    fn headers(&self, letter: &DeadLetter) -> OwnedHeaders {
        let add = |headers: OwnedHeaders, key: &str, value: &[u8]| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        };
        let mut headers = letter.headers.clone();
        headers = add(headers, "uptake_reason", letter.reject.reason.code().as_bytes());
        headers = add(headers, "uptake_detail", letter.reject.sentence().as_bytes());
        headers = add(headers, "uptake_topic", self.source_topic.as_bytes());
        headers = add(
            headers,
            "uptake_partition",
            letter.position.partition.to_string().as_bytes(),
        );
        headers = add(headers, "uptake_offset", letter.position.offset.to_string().as_bytes());
        match &letter.key {
            Some(key) => add(headers, "uptake_key", key),
            None => headers,
        }
    }
}

/// One row for each dead letter in `rejects`; a repeat replaces itself.
pub async fn record(store: &Store, topic: &str, letters: &[DeadLetter]) -> anyhow::Result<()> {
    let rows = letters.iter().map(|letter| {
        json!({
            "kafka_topic": topic,
            "kafka_partition": letter.position.partition,
            "kafka_offset": letter.position.offset,
            "kafka_time": Timestamp::from_millisecond(letter.kafka_ms).unwrap_or_default().to_string(),
            "system": event::named_system(&letter.payload).unwrap_or_default(),
            "reason": letter.reject.reason.code(),
        })
    });
    let columns = "kafka_topic, kafka_partition, kafka_offset, kafka_time, system, reason";
    store.insert_rows("rejects", columns, rows).await
}
