//! Two workers and a collector on parts of their own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, bail};
use uptake::config::Config;
use uptake::store::{Store, migrate};

use crate::common;
use crate::common::parts::Parts;
use crate::common::workers::Slot;

/// So that fewer clients fit than there are, and some are told to come again while Kafka is away.
const COLLECTOR_BYTES: &str = "262144";
const COLLECTOR_TIMEOUT_MS: &str = "3000";
/// Of the short form: the buffers of a worker are full within a second.
const SHORT_BATCH_ROWS: &str = "1000";

pub struct Installation {
    pub config: Config,
    pub store: Store,
    pub workers: [Program; 2],
    pub collector: Program,
}

impl Installation {
    pub async fn start(parts: &Parts, logs: &Path, is_short: bool) -> anyhow::Result<Self> {
        let mut config = common::config();
        config.data_dir = logs.to_owned();
        common::isolate(&mut config, &parts.kafka_address, &parts.clickhouse_url);
        migrate::run(config.clone()).await?;
        let worker = |name| {
            let mut settings = vec![];
            if is_short {
                settings.push(("INGEST__BATCH_ROWS", SHORT_BATCH_ROWS));
            }
            Program::start(name, "ingest", &config, &settings)
        };
        let settings = [
            ("COLLECTOR__MAX_BODY_BYTES", COLLECTOR_BYTES),
            ("COLLECTOR__QUEUE_BYTES", COLLECTOR_BYTES),
            ("COLLECTOR__TIMEOUT_MS", COLLECTOR_TIMEOUT_MS),
        ];
        let installation = Self {
            store: Store::new(&config.clickhouse),
            workers: [worker("worker 1")?, worker("worker 2")?],
            collector: Program::start("collector", "api", &config, &settings)?,
            config,
        };
        Ok(installation)
    }

    pub fn programs(&self) -> [&Program; 3] {
        let [first, second] = &self.workers;
        [first, second, &self.collector]
    }

    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for program in self.workers.iter_mut().chain([&mut self.collector]) {
            program.slot.stop().await?;
        }
        Ok(())
    }

    /// `uptake reconcile`, as an operator runs it, with nothing left to wait for.
    pub fn reconcile(&self) -> anyhow::Result<()> {
        let mut program = common::program(&self.config);
        program.arg("reconcile").env("UPTAKE__RECONCILE__CLOSED_AFTER_MS", "1");
        let output = program.output()?;
        if !output.status.success() {
            bail!("uptake reconcile: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// A process of the program.
pub struct Program {
    pub name: &'static str,
    /// `http://host:port` of the API and of the operations port.
    pub api: String,
    pub ops: String,
    slot: Slot,
}

impl Program {
    fn start(
        name: &'static str,
        command: &'static str,
        config: &Config,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (api, ops) = (free_address()?, free_address()?);
        let mut given = vec![
            ("API__LISTEN", api.clone()),
            ("OPS__LISTEN", ops.clone()),
            ("KAFKA__OPTIONS__RECONNECT_BACKOFF_MAX_MS", "500".to_owned()),
        ];
        given.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let given: Vec<_> = given
            .into_iter()
            .map(|(key, value)| (format!("UPTAKE__{key}"), value))
            .collect();
        let log = config.data_dir.join(format!("{}.log", name.replace(' ', "-")));
        let config = config.clone();
        let command = move || {
            let mut program = common::program(&config);
            program.arg(command).envs(given.iter().cloned());
            program
        };
        let mut slot = Slot::new(command, log);
        slot.start()?;
        Ok(Self {
            name,
            api: format!("http://{api}"),
            ops: format!("http://{ops}"),
            slot,
        })
    }

    /// Resident memory in bytes. Fails once the process has ended, which no outage may make it do.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.slot.pid().with_context(|| format!("{} is stopped", self.name))?;
        let path = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{} has ended", self.name))? * 1024)
    }

    /// `None` when ready, else the reasons.
    pub async fn unready(&self) -> anyhow::Result<Option<String>> {
        let answer = reqwest::get(format!("{}/readyz", self.ops)).await?;
        let is_ready = answer.status().is_success();
        let text = answer.text().await?;
        Ok((!is_ready).then_some(text))
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = reqwest::get(format!("{}/metrics", self.ops)).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.with_context(|| format!("{} has no metric {name}", self.name))
    }
}

/// An address on loopback that nobody listens at.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}
