//! Who takes part.

use std::time::Duration;

use anyhow::ensure;

use crate::connect::Connect;
use crate::inbox;
use crate::parts::Installation;
use crate::process::{self, Program};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Uptake,
    /// ClickHouse's own.
    KafkaEngine,
    /// Kafka Connect with Debezium's JDBC sink and ClickHouse's JDBC driver.
    Connect,
}

/// A contender at work.
pub struct Started {
    /// Its process beside the engine, if it has one.
    pub pid: Option<u32>,
    /// What that process had used before.
    pub used: Duration,
    worker: Option<Program>,
}

impl Contender {
    pub const ALL: [Self; 3] = [Self::Uptake, Self::KafkaEngine, Self::Connect];

    pub fn name(self) -> &'static str {
        match self {
            Self::Uptake => "uptake",
            Self::KafkaEngine => "Kafka engine",
            Self::Connect => "Kafka Connect",
        }
    }

    /// As part of the name of a database.
    pub fn id(self) -> &'static str {
        match self {
            Self::Uptake => "uptake",
            Self::KafkaEngine => "kafka_engine",
            Self::Connect => "connect",
        }
    }

    pub fn has_process(self) -> bool {
        self != Self::KafkaEngine
    }

    /// Lets it begin with the topic's first event, in the consumer group of the installation.
    pub async fn start(self, installation: &Installation, connect: &Connect) -> anyhow::Result<Started> {
        let mut started = Started {
            pid: None,
            used: Duration::ZERO,
            worker: None,
        };
        match self {
            Self::Uptake => {
                installation.define_system().await?;
                let worker = installation.start("ingest", &[])?;
                // All that it uses counts, its start included.
                started.pid = Some(worker.pid());
                started.worker = Some(worker);
            }
            Self::KafkaEngine => inbox::read_from_kafka(installation).await?,
            Self::Connect => {
                inbox::take_rows(installation).await?;
                started.pid = Some(connect.pid());
                started.used = process::cpu(connect.pid())?;
                connect.create(installation).await?;
            }
        }
        Ok(started)
    }

    /// Fails once it has given up.
    pub async fn check(self, started: &mut Started, connect: &mut Connect) -> anyhow::Result<()> {
        match &mut started.worker {
            Some(worker) => worker.check(),
            None if self == Self::Connect => connect.check().await,
            None => Ok(()),
        }
    }

    pub async fn stop(self, started: Started, installation: &Installation, connect: &Connect) -> anyhow::Result<()> {
        match (self, started.worker) {
            (_, Some(worker)) => {
                let status = worker.stop()?;
                ensure!(status.success(), "uptake ingest: {status}");
                Ok(())
            }
            (Self::Connect, None) => connect.delete().await,
            (_, None) => inbox::stop_reading(installation).await,
        }
    }
}
