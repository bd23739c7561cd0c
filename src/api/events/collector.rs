//! The way to Kafka: a bounded queue, an idempotent producer, and the acknowledgement of a whole request.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use anyhow::{Context, anyhow};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::{Notify, Semaphore};

use crate::api::error::Error;
use crate::config::{self, Config};
use crate::metrics::{CollectorMetrics, Metrics, ReasonLabel};
use crate::store::{login, topics};

type EventProducer = ThreadedProducer<Deliveries>;

/// Sends events to Kafka. What waits for Kafka is bounded by the bytes of the requests it came in.
pub struct Collector {
    pub limits: config::Collector,
    /// The bounds that ingest sets.
    pub rules: config::Ingest,
    pub retention_days: u32,
    kafka: config::Kafka,
    producer: RwLock<EventProducer>,
    /// A permit for each byte.
    room: Arc<Semaphore>,
    metrics: CollectorMetrics,
}

/// A valid event on its way to Kafka: the key, and its own bytes.
pub struct Outgoing<'a> {
    pub subject: Cow<'a, str>,
    pub message: &'a [u8],
}

/// The events of one request, queued.
pub struct Delivery {
    pub events: usize,
    pending: Arc<Pending>,
    queued: Instant,
}

/// Shared with the messages: the room is given back once the last of them is delivered or given up, also when nobody waits
/// for it any more, and before anybody who does hears of it.
struct Pending {
    left: AtomicUsize,
    /// The first one.
    failure: OnceLock<KafkaError>,
    settled: Notify,
    room: Arc<Semaphore>,
    bytes: usize,
    metrics: CollectorMetrics,
}

impl Pending {
    fn settle(&self, messages: usize) {
        if self.left.fetch_sub(messages, Ordering::AcqRel) == messages {
            self.metrics.queue_bytes.dec_by(self.bytes as i64);
            self.room.add_permits(self.bytes);
            self.settled.notify_one();
        }
    }
}

struct Deliveries;

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, token_file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(token_file)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Self::DeliveryOpaque) {
        if let Err((error, _)) = result {
            // Only the first one is told.
            let _ = pending.failure.set(error.clone());
        }
        pending.settle(1);
    }
}

impl Collector {
    /// Does not connect yet.
    pub fn new(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let limits = config.collector.clone();
        Ok(Self {
            producer: RwLock::new(producer(&config.kafka, &limits)?),
            room: Arc::new(Semaphore::new(limits.queue_bytes)),
            limits,
            rules: config.ingest.clone(),
            retention_days: config.retention.raw_days,
            kafka: config.kafka.clone(),
            metrics: metrics.collector.clone(),
        })
    }

    /// Queues all of them, if there is room for the `bytes` they came in.
    pub fn queue(
        &self,
        events: &[Outgoing<'_>],
        headers: Option<OwnedHeaders>,
        bytes: usize,
    ) -> Result<Delivery, Error> {
        // The body is not larger than the queue, which is less than 4 GiB.
        let Ok(taken) = self.room.try_acquire_many(bytes as u32) else {
            self.refused("queue_full", events.len());
            return Err(Error::QueueFull);
        };
        taken.forget();
        self.metrics.queue_bytes.inc_by(bytes as i64);
        let pending = Arc::new(Pending {
            left: AtomicUsize::new(events.len()),
            failure: OnceLock::new(),
            settled: Notify::new(),
            room: self.room.clone(),
            bytes,
            metrics: self.metrics.clone(),
        });
        let delivery = Delivery {
            events: events.len(),
            pending: pending.clone(),
            queued: Instant::now(),
        };
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (sent, event) in events.iter().enumerate() {
            let mut record = BaseRecord::with_opaque_to(&self.kafka.topic, pending.clone())
                .key(event.subject.as_ref())
                .payload(event.message);
            record.headers = headers.clone();
            if let Err((error, _)) = producer.send(record) {
                let _ = pending.failure.set(error);
                pending.settle(events.len() - sent);
                break;
            }
        }
        if events.is_empty() {
            pending.settle(0);
        }
        Ok(delivery)
    }

    /// Returns once Kafka has all of them, or has taken longer than it may.
    pub async fn acknowledged(&self, delivery: Delivery) -> Result<(), Error> {
        delivery.pending.settled.notified().await;
        let seconds = delivery.queued.elapsed().as_secs_f64();
        self.metrics.produce_seconds.observe(seconds);
        let Some(error) = delivery.pending.failure.get() else {
            self.metrics.events.inc_by(delivery.events as u64);
            return Ok(());
        };
        self.refused("not_acknowledged", delivery.events);
        self.renew_after_fatal_error();
        let brokers = &self.kafka.brokers;
        let cause = anyhow!(error.clone()).context(format!("Kafka at {brokers}, topic {}", self.kafka.topic));
        Err(Error::NotAcknowledged(cause))
    }

    pub fn refused(&self, reason: &'static str, events: usize) {
        let label = ReasonLabel { reason };
        self.metrics.refused.get_or_create(&label).inc_by(events as u64);
    }

    /// An idempotent producer that has met a fatal error never sends again; another one takes its place.
    fn renew_after_fatal_error(&self) {
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        let Some((code, text)) = current.client().fatal_error() else {
            return;
        };
        tracing::error!(%code, text, "Kafka's producer cannot go on and is replaced");
        match producer(&self.kafka, &self.limits) {
            Ok(new) => {
                let old = std::mem::replace(&mut *current, new);
                // Dropping it waits for its thread.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "no producer can be made"),
        }
    }
}

fn producer(kafka: &config::Kafka, limits: &config::Collector) -> anyhow::Result<EventProducer> {
    topics::client_config(kafka)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("message.timeout.ms", limits.timeout_ms.to_string())
        // The collector bounds its queue itself, before the first event of a request is in it.
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", i32::MAX.to_string())
        .create_with_context(Deliveries)
        .context("configuration: kafka: the producer of the API cannot be made")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka does it to test programs like this one.
    fn break_for_good(producer: &EventProducer) {
        let code = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the handle lives as long as the producer, and the text is copied.
        unsafe {
            rdkafka::bindings::rd_kafka_test_fatal_error(producer.client().native_ptr(), code, c"a test".as_ptr())
        };
    }

    #[tokio::test]
    async fn a_producer_that_met_a_fatal_error_is_replaced() {
        let mut config = Config::load(None).unwrap();
        config.kafka.brokers = "127.0.0.1:1".to_owned();
        let collector = Collector::new(&config, &Metrics::default()).unwrap();
        break_for_good(&collector.producer.read().unwrap());
        let events = [Outgoing {
            subject: "u-1".into(),
            message: b"{}",
        }];
        let delivery = collector.queue(&events, None, 2).map_err(|_| "no room").unwrap();
        assert!(matches!(
            collector.acknowledged(delivery).await,
            Err(Error::NotAcknowledged(_))
        ));
        assert_eq!(collector.producer.read().unwrap().client().fatal_error(), None);
        assert_eq!(collector.room.available_permits(), config.collector.queue_bytes);
    }
}
