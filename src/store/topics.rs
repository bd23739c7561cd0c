//! Kafka: what every client starts from, and the two topics.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::ClientContext;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::OAuthToken;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::login::{self, Login};
use crate::config::{Kafka, Mechanism, Retention, Sasl, Tls};

/// The broker's own default for one message is 1 MiB; a reject carries the refused message and its headers.
pub const REJECT_MAX_BYTES: &str = "2097152";

const RETENTION: &str = "retention.ms";

/// One question of many, while waiting for access.
const ASK: Duration = Duration::from_millis(300);

/// What every client of ours starts from.
pub fn client_config(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", "uptake");
    set_wire(&mut client, &kafka.tls, &kafka.sasl);
    for (key, value) in &kafka.options {
        client.set(key, value.expose());
    }
    client
}

fn set_wire(client: &mut ClientConfig, tls: &Tls, sasl: &Sasl) {
    let protocol = match (tls.enabled, sasl.mechanism) {
        (false, Mechanism::None) => return,
        (true, Mechanism::None) => "ssl",
        (false, _) => "sasl_plaintext",
        (true, _) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    let file = |path: &Path| path.display().to_string();
    let token_file = file(&sasl.token_file);
    let settings = [
        ("ssl.ca.location", file(&tls.ca_file)),
        ("ssl.certificate.location", file(&tls.certificate_file)),
        ("ssl.key.location", file(&tls.key_file)),
        ("ssl.key.password", tls.key_password.expose().to_owned()),
        ("sasl.mechanisms", sasl.mechanism.name().to_owned()),
        ("sasl.username", sasl.user.clone()),
        ("sasl.password", sasl.password.expose().to_owned()),
        // Comes back to whoever is asked for a token.
        ("sasl.oauthbearer.config", token_file),
    ];
    for (key, value) in settings.into_iter().filter(|(_, value)| !value.is_empty()) {
        client.set(key, value);
    }
}

/// What a client was refused for last, by the broker, or what it refused the broker for: a login or a certificate.
#[derive(Default)]
struct Refusal(Mutex<Option<String>>);

impl ClientContext for Refusal {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, token_file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(token_file)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{Authentication, SSL};
        if matches!(error.rdkafka_error_code(), Some(Authentication | SSL)) {
            *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Refusal {}

/// Tells a login or a certificate that is wrong from brokers that are merely away, which is no error here. Blocks, and only
/// where the configuration asks for TLS or a login.
pub fn check_access(kafka: &Kafka) -> anyhow::Result<()> {
    if !kafka.is_secured() {
        return Ok(());
    }
    let client: BaseConsumer<Refusal> = client_config(kafka)
        .create_with_context(Refusal::default())
        .context("configuration: kafka")?;
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let started = Instant::now();
    loop {
        // Before the first question too: a token is given to a client that is polled.
        while client.poll(Duration::ZERO).is_some() {}
        if client.fetch_metadata(Some(&kafka.topic), ASK).is_ok() {
            return Ok(());
        }
        if started.elapsed() >= timeout {
            break;
        }
    }
    let refusal = client
        .context()
        .0
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match &*refusal {
        Some(reason) => bail!(
            "Kafka at {} cannot be used; for {} s: {reason}",
            kafka.brokers,
            timeout.as_secs()
        ),
        None => Ok(()),
    }
}

/// [`check_access`] beside other work.
pub async fn wait_for_access(kafka: &Kafka) -> anyhow::Result<()> {
    let kafka = kafka.clone();
    tokio::task::spawn_blocking(move || check_access(&kafka)).await?
}

/// The client of [`create`]. It is never polled and so never asked for a token, which it gets here instead.
fn admin(kafka: &Kafka) -> anyhow::Result<AdminClient<Login>> {
    let admin: AdminClient<Login> = client_config(kafka).create_with_context(Login)?;
    if kafka.sasl.mechanism == Mechanism::OAuthBearer {
        login::give_token(admin.inner(), &kafka.sasl.token_file)?;
    }
    Ok(admin)
}

/// Creates the topics that do not exist yet, brings the retention of rejects up to date, and returns the names of all.
pub async fn create(kafka: &Kafka, retention: &Retention) -> anyhow::Result<Vec<String>> {
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    wait_for_access(kafka).await?;
    let admin = admin(kafka)?;
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
    admin: &AdminClient<Login>,
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
