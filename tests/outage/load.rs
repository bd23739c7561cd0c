//! The load: clients of the collector that repeat every request until it is accepted, and now and then a message that ingest
//! must refuse.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio_util::sync::CancellationToken;
use uptake::config::Kafka;
use uptake::store::topics;

use crate::truth::Events;

/// More than the collector has room for at a time, see `installation`.
const CLIENTS: usize = 8;
pub const EVENTS_PER_REQUEST: u64 = 200;
const REFUSED_EVERY: Duration = Duration::from_millis(200);

pub struct Load {
    pub events: Events,
    rate: u64,
    collector: String,
    http: reqwest::Client,
    /// The number of the next event.
    next: Cell<u64>,
    /// Events that were acknowledged.
    pub acknowledged: Cell<u64>,
    /// Messages to be refused that Kafka has.
    pub to_refuse: Cell<u64>,
    /// Answers that told a client to come again, by status.
    pub come_again: RefCell<BTreeMap<u16, u64>>,
}

impl Load {
    pub fn new(collector: &str, rate: u64) -> Self {
        Self {
            events: Events::new(),
            rate,
            collector: format!("{collector}/api/v1/events"),
            http: reqwest::Client::new(),
            next: Cell::default(),
            acknowledged: Cell::default(),
            to_refuse: Cell::default(),
            come_again: RefCell::default(),
        }
    }

    /// Until `stop`; then every request under way is repeated until it is accepted. What was held up is made up for.
    pub async fn run(&self, kafka: &Kafka, stop: &CancellationToken) -> anyhow::Result<()> {
        let started = Instant::now();
        let clients = try_join_all((0..CLIENTS).map(|_| self.send(started, stop)));
        tokio::try_join!(clients, self.send_malformed(kafka, stop))?;
        Ok(())
    }

    async fn send(&self, started: Instant, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let first = self.next.get();
            self.next.set(first + EVENTS_PER_REQUEST);
            let due = started + Duration::from_secs_f64(first as f64 / self.rate as f64);
            tokio::time::sleep_until(due.into()).await;
            let body = self.events.batch(first..first + EVENTS_PER_REQUEST);
            while !self.post(&body).await? {}
            self.acknowledged.set(self.acknowledged.get() + EVENTS_PER_REQUEST);
        }
        Ok(())
    }

    /// Whether it was accepted; if not, after the pause that the answer asks for.
    async fn post(&self, body: &str) -> anyhow::Result<bool> {
        let kind = "application/cloudevents-batch+json";
        let request = self.http.post(&self.collector).header(CONTENT_TYPE, kind);
        let answer = request.body(body.to_owned()).send().await.context("the collector")?;
        let status = answer.status().as_u16();
        match status {
            202 => return Ok(true),
            429 | 503 => {}
            _ => bail!(
                "the collector answers {status}: {}",
                answer.text().await.unwrap_or_default()
            ),
        }
        *self.come_again.borrow_mut().entry(status).or_default() += 1;
        let pause = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let pause = pause.with_context(|| format!("the collector answers {status} without Retry-After"))?;
        tokio::time::sleep(Duration::from_secs(pause)).await;
        Ok(false)
    }

    async fn send_malformed(&self, kafka: &Kafka, stop: &CancellationToken) -> anyhow::Result<()> {
        let producer: FutureProducer = topics::client_config(kafka)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .create()?;
        while stop
            .run_until_cancelled(tokio::time::sleep(REFUSED_EVERY))
            .await
            .is_some()
        {
            let payload = format!("{{\"id\":\"{}", self.to_refuse.get());
            let record = FutureRecord::<str, _>::to(&kafka.topic).payload(&payload);
            producer
                .send(record, Timeout::Never)
                .await
                .map_err(|(error, _)| error)?;
            self.to_refuse.set(self.to_refuse.get() + 1);
        }
        Ok(())
    }
}
