//! A broker and an engine of one's own. They can be killed, and come back on the same port with the same data.

use std::future::{Future, ready};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use futures_util::FutureExt;
use tokio::sync::Mutex;
use uptake::config::Config;
use uptake::embedded::Child;
use uptake::embedded::engine::Engine;
use uptake::embedded::kafka::Kafka;

use super::PROGRAM;

/// What makes a test short: dead workers are missed, logs compacted, and a killed broker let in again within a second or
/// two, not within a minute.
const BROKER_SETTINGS: &str = "group.min.session.timeout.ms=500
log.cleaner.backoff.ms=100
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
";

pub struct Parts {
    pub kafka_address: String,
    pub clickhouse_url: String,
    kafka: Kafka,
    broker: Mutex<Child>,
    engine: Mutex<(Engine, Child)>,
}

impl Parts {
    /// Everything in `dir`.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_in(&dir.join("kafka"), &dir.join("clickhouse")).await
    }

    pub async fn start_in(kafka_dir: &Path, clickhouse_dir: &Path) -> anyhow::Result<Self> {
        let mut config: Config = super::config();
        config.embedded.kafka_port = 0;
        config.embedded.clickhouse_port = 0;
        let mut engine = Engine::prepare(PROGRAM.into(), clickhouse_dir, &config)?;
        let kafka = Kafka::prepare(kafka_dir, &config.embedded).await?;
        let mut properties = std::fs::File::options()
            .append(true)
            .open(kafka_dir.join("server.properties"))
            .context("the broker's properties")?;
        properties.write_all(BROKER_SETTINGS.as_bytes())?;
        let (broker, running) = tokio::try_join!(kafka.start(), engine.start())?;
        Ok(Self {
            kafka_address: kafka.address(),
            clickhouse_url: engine.url(),
            kafka,
            broker: Mutex::new(broker),
            engine: Mutex::new((engine, running)),
        })
    }

    /// Returns when its successor answers.
    pub async fn kill_broker(&self) -> anyhow::Result<()> {
        self.without_broker(ready(())).await
    }

    /// Returns when its successor answers.
    pub async fn kill_engine(&self) -> anyhow::Result<()> {
        self.without_engine(ready(())).await
    }

    /// Kills the broker, lets `meanwhile` end, and returns when the broker's successor answers.
    pub async fn without_broker<T>(&self, meanwhile: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut broker = self.broker.lock().await;
        if broker.ended().now_or_never().is_none() {
            kill(broker.pid());
        }
        broker.ended().await;
        let done = meanwhile.await;
        *broker = self.kafka.start().await?;
        Ok(done)
    }

    /// Kills the engine, lets `meanwhile` end, and returns when the engine's successor answers.
    pub async fn without_engine<T>(&self, meanwhile: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut held = self.engine.lock().await;
        let (engine, running) = &mut *held;
        if running.ended().now_or_never().is_none() {
            kill(running.pid());
        }
        running.ended().await;
        let done = meanwhile.await;
        *running = engine.start().await?;
        Ok(done)
    }
}

/// SIGKILL for a child of ours that runs, so that its number is its own.
fn kill(pid: u32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
}
