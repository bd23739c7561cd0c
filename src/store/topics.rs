//! The two Kafka topics.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;

use crate::config::{Kafka, Retention};

/// The broker's own default for one message is 1 MiB; a reject carries the refused message and its headers.
pub const REJECT_MAX_BYTES: &str = "2097152";

/// What every client of ours starts from.
pub fn client_config(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", "uptake");
    for (key, value) in &kafka.options {
        client.set(key, value);
    }
    client
}

/// Creates the topics that do not exist yet and returns the names of all.
pub async fn create(kafka: &Kafka, retention: &Retention) -> anyhow::Result<Vec<String>> {
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let admin: AdminClient<DefaultClientContext> = client_config(kafka).create()?;
    let retention_ms = (u64::from(retention.raw_days) * 86_400_000).to_string();
    let topic = |name| {
        NewTopic::new(
            name,
            kafka.partitions,
            TopicReplication::Fixed(kafka.replication_factor),
        )
    };
    let topics = [
        topic(&kafka.topic),
        topic(&kafka.rejected_topic)
            .set("retention.ms", &retention_ms)
            .set("max.message.bytes", REJECT_MAX_BYTES),
    ];
    let options = AdminOptions::new()
        .request_timeout(Some(timeout))
        .operation_timeout(Some(timeout));
    let results = admin.create_topics(&topics, &options).await.with_context(|| {
        format!(
            "Kafka at {} did not create the topics within {} s",
            kafka.brokers,
            timeout.as_secs()
        )
    })?;
    let mut names = Vec::new();
    for result in results {
        match result {
            Ok(name) | Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => names.push(name),
            Err((name, code)) => bail!("Kafka at {}: topic {name} cannot be created: {code}", kafka.brokers),
        }
    }
    Ok(names)
}
