//! The two Kafka topics.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;

use crate::config::{Kafka, Retention};

/// The broker's own default for one message is 1 MiB; a reject carries the refused message and its headers.
pub const REJECT_MAX_BYTES: &str = "2097152";

const RETENTION: &str = "retention.ms";

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

/// Creates the topics that do not exist yet, brings the retention of rejects up to date, and returns the names of all.
pub async fn create(kafka: &Kafka, retention: &Retention) -> anyhow::Result<Vec<String>> {
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let admin: AdminClient<DefaultClientContext> = client_config(kafka).create()?;
    let retention_ms = (u64::from(retention.rejects_days) * 86_400_000).to_string();
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
            .set(RETENTION, &retention_ms)
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
    let place = |name: &str| format!("Kafka at {}, topic {name}", kafka.brokers);
    let mut names = Vec::new();
    for result in results {
        match result {
            Ok(name) | Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => names.push(name),
            Err((name, code)) => bail!("{} cannot be created: {code}", place(&name)),
        }
    }
    set_retention(&admin, &options, &kafka.rejected_topic, &retention_ms)
        .await
        .with_context(|| place(&kafka.rejected_topic))?;
    Ok(names)
}

/// Changes the retention of a topic that has another. The request replaces every setting of the topic, so it repeats the others.
async fn set_retention(
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    topic: &str,
    retention_ms: &str,
) -> anyhow::Result<()> {
    let place = ResourceSpecifier::Topic(topic);
    let described = admin.describe_configs([&place], options).await?;
    let described = described.into_iter().next().context("no description")??;
    let own: Vec<_> = described
        .entries
        .iter()
        .filter(|entry| entry.source == ConfigSource::DynamicTopic)
        .filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)))
        .collect();
    if own.contains(&(RETENTION, retention_ms)) {
        return Ok(());
    }
    let alter = own
        .iter()
        .fold(AlterConfig::new(place), |alter, (name, value)| alter.set(name, value));
    let results = admin
        .alter_configs([&alter.set(RETENTION, retention_ms)], options)
        .await?;
    match results.into_iter().next() {
        Some(Err((_, code))) => bail!("{RETENTION} cannot be set: {code}"),
        _ => Ok(()),
    }
}
