//! Sending to Kafka, and knowing up to where everything has been acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::state::Mark;
use crate::config;
use crate::error::BadInput;
use crate::store::{login, topics};

/// Records between two marks.
const STRETCH: u64 = 20_000;
const WAIT: Duration = Duration::from_millis(5);

/// An idempotent producer that keeps marks.
pub struct Sender {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
    brokers: String,
    pub cluster: String,
    /// Not acknowledged messages of the stretch that is being sent.
    open: Arc<AtomicU64>,
    in_stretch: u64,
    /// Earlier stretches: their messages not acknowledged yet, and the mark at their end.
    closed: VecDeque<(Arc<AtomicU64>, Mark)>,
}

#[derive(Default)]
struct Deliveries {
    failure: OnceLock<KafkaError>,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, token_file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(token_file)
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<AtomicU64>;

    fn delivery(&self, result: &DeliveryResult<'_>, stretch: Self::DeliveryOpaque) {
        match result {
            Ok(_) => drop(stretch.fetch_sub(1, Ordering::AcqRel)),
            // Only the first one counts. Its stretch never gets to 0, so no mark beyond it is ever taken.
            Err((error, _)) => drop(self.failure.set(error.clone())),
        }
    }
}

impl Sender {
    /// Connects; the error says which address was tried, for how long, or that the topic does not exist.
    pub fn connect(kafka: &config::Kafka) -> anyhow::Result<Self> {
        topics::check_access(kafka)?;
        let timeout = Duration::from_millis(kafka.connect_timeout_ms);
        let producer: ThreadedProducer<Deliveries> = topics::client_config(kafka)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            .set("queue.buffering.max.messages", "200000")
            .set("message.timeout.ms", "60000")
            .create_with_context(Deliveries::default())
            .map_err(|e| BadInput::new(format!("configuration: kafka: {e}")))?;
        let metadata = producer
            .client()
            .fetch_metadata(Some(&kafka.topic), timeout)
            .with_context(|| {
                format!(
                    "Kafka at {} did not answer within {} s",
                    kafka.brokers,
                    timeout.as_secs()
                )
            })?;
        let known = metadata
            .topics()
            .iter()
            .any(|t| t.name() == kafka.topic && !t.partitions().is_empty());
        if !known {
            bail!(
                "Kafka at {} has no topic {}: run `uptake migrate`",
                kafka.brokers,
                kafka.topic
            );
        }
        let cluster = producer
            .client()
            .fetch_cluster_id(timeout)
            .unwrap_or_else(|| kafka.brokers.clone());
        Ok(Self {
            producer,
            topic: kafka.topic.clone(),
            brokers: kafka.brokers.clone(),
            cluster,
            open: Arc::default(),
            in_stretch: 0,
            closed: VecDeque::new(),
        })
    }

    /// Queues one event; waits while the queue is full.
    pub fn send(&mut self, user: &str, event: &str) -> anyhow::Result<()> {
        self.open.fetch_add(1, Ordering::AcqRel);
        let mut record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(&self.open))
            .key(user)
            .payload(event);
        loop {
            self.failed()?;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(WAIT);
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("Kafka at {} does not take events", self.brokers));
                }
            }
        }
    }

    /// To be told after each record, whether it was sent or skipped.
    pub fn passed(&mut self, mark: Mark) {
        self.in_stretch += 1;
        if self.in_stretch == STRETCH {
            self.close(mark);
        }
    }

    /// Ends the stretch at `mark`.
    pub fn close(&mut self, mark: Mark) {
        self.closed.push_back((std::mem::take(&mut self.open), mark));
        self.in_stretch = 0;
    }

    /// The mark up to which everything has been acknowledged, when it has moved since it was last asked for.
    pub fn acknowledged(&mut self) -> Option<Mark> {
        let mut reached = None;
        while self
            .closed
            .front()
            .is_some_and(|(waiting, _)| waiting.load(Ordering::Acquire) == 0)
        {
            reached = self.closed.pop_front().map(|(_, mark)| mark);
        }
        reached
    }

    /// Whether every closed stretch has been acknowledged. An error as soon as a message could not be delivered.
    pub fn settled(&self) -> anyhow::Result<bool> {
        if self
            .closed
            .iter()
            .all(|(waiting, _)| waiting.load(Ordering::Acquire) == 0)
        {
            return Ok(true);
        }
        self.failed()?;
        std::thread::sleep(WAIT);
        Ok(false)
    }

    fn failed(&self) -> anyhow::Result<()> {
        match self.producer.context().failure.get() {
            None => Ok(()),
            Some(error) => Err(error.clone()).with_context(|| format!("Kafka at {} did not acknowledge", self.brokers)),
        }
    }
}
