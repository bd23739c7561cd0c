//! Sends the messages of a run to Kafka, each acknowledged by all replicas.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::config;
use crate::store::{login, topics};

/// Remembers the first message that Kafka did not take.
#[derive(Default)]
struct FirstFailure(Mutex<Option<KafkaError>>);

impl ClientContext for FirstFailure {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, token_file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(token_file)
    }
}

impl ProducerContext for FirstFailure {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut first = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            first.get_or_insert_with(|| error.clone());
        }
    }
}

/// A producer whose [`Sender::finish`] says that every message has arrived.
pub struct Sender {
    producer: ThreadedProducer<FirstFailure>,
    topic: String,
    brokers: String,
}

impl Sender {
    /// Fails when the topic cannot be reached within the configured time.
    pub fn connect(config: &config::Kafka) -> anyhow::Result<Self> {
        topics::check_access(config)?;
        let mut client = topics::client_config(config);
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // The partition that other producers choose for the same user.
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            .set("queue.buffering.max.messages", "500000");
        let producer: ThreadedProducer<FirstFailure> = client
            .create_with_context(FirstFailure::default())
            .context("Kafka producer")?;
        let timeout = Duration::from_millis(config.connect_timeout_ms);
        let reached = producer.client().fetch_metadata(Some(&config.topic), timeout);
        let metadata = reached
            .with_context(|| format!("Kafka at {}: no answer within {} s", config.brokers, timeout.as_secs()))?;
        if metadata.topics().iter().all(|topic| topic.partitions().is_empty()) {
            bail!(
                "Kafka at {}: topic {} does not exist; `uptake migrate` creates it",
                config.brokers,
                config.topic
            );
        }
        Ok(Self {
            producer,
            topic: config.topic.clone(),
            brokers: config.brokers.clone(),
        })
    }

    /// Queues a message; waits while the queue is full.
    pub fn send(&self, key: &str, payload: &[u8]) -> anyhow::Result<()> {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.check()?;
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("Kafka at {}: topic {}", self.brokers, self.topic));
                }
            }
        }
    }

    /// Waits until everything is acknowledged. An error means that at least one message may not have arrived.
    pub fn finish(&self) -> anyhow::Result<()> {
        self.producer
            .flush(Duration::from_secs(60))
            .with_context(|| format!("Kafka at {}: not all acknowledged in 60 s", self.brokers))?;
        self.check()
    }

    fn check(&self) -> anyhow::Result<()> {
        let first = self
            .producer
            .context()
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match first.as_ref() {
            None => Ok(()),
            Some(error) => {
                Err(error.clone()).with_context(|| format!("Kafka at {}: a message was not taken", self.brokers))
            }
        }
    }
}
