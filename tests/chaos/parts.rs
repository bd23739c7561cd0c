//! The broker and the engine of a run. They can be killed, and come back on the same port with the same data.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use tokio::sync::Mutex;
use uptake::config::Config;
use uptake::embedded::engine::{Engine, Running};
use uptake::embedded::kafka::{Broker, Kafka};

use crate::common::{self, PROGRAM};

/// What makes a round short: dead workers are missed, logs compacted, and a killed broker let in again within a second or
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
    broker: Mutex<Broker>,
    engine: Mutex<(Engine, Running)>,
}

impl Parts {
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut config: Config = common::config();
        config.embedded.kafka_port = 0;
        config.embedded.clickhouse_port = 0;
        let mut engine = Engine::prepare(PROGRAM.into(), &dir.join("clickhouse"), &config)?;
        let kafka_dir = dir.join("kafka");
        let kafka = Kafka::prepare(&kafka_dir, &config.embedded).await?;
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
        let mut broker = self.broker.lock().await;
        kill(broker.pid());
        broker.ended().await;
        *broker = self.kafka.start().await?;
        Ok(())
    }

    /// Returns when its successor answers.
    pub async fn kill_engine(&self) -> anyhow::Result<()> {
        let mut held = self.engine.lock().await;
        let (engine, running) = &mut *held;
        kill(running.pid());
        running.ended().await;
        *running = engine.start().await?;
        Ok(())
    }
}

/// SIGKILL for a child of ours that is held, so that its number is still its own.
fn kill(pid: u32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
}
