//! Kafka Connect: one standalone worker with Debezium's JDBC sink, driven over its REST interface.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use uptake::config::Config;

use crate::inbox;
use crate::parts::Installation;
use crate::process::{self, Program};

/// `deploy/local/fetch.sh connect` puts it there.
const LIBS: &str = ".cache/connect/libs";
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The name of the connector; there is one at a time.
const SINK: &str = "sink";
/// Rows of an insert. 50,000 made it no faster, and larger.
const BATCH_ROWS: u32 = 20_000;

pub struct Connect {
    worker: Program,
    url: String,
    client: reqwest::Client,
    dir: TempDir,
}

impl Connect {
    /// Starts the worker and waits until it answers.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let libs = std::path::absolute(LIBS)?;
        ensure!(
            libs.is_dir(),
            "{}: Kafka Connect is not there; run `make bench-peers` to fetch it",
            libs.display()
        );
        let dir = tempfile::Builder::new()
            .prefix("connect-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let address = process::free_address()?;
        std::fs::write(
            dir.path().join("worker.properties"),
            worker_properties(&config.kafka.brokers, &address),
        )?;
        let log = std::fs::File::create(dir.path().join("connect.log"))?;
        let mut java = Command::new(&config.embedded.java);
        java.args([
            "-Xmx2g",
            "-XX:+UseG1GC",
            "-Djava.awt.headless=true",
            "-Dorg.apache.logging.log4j.level=ERROR",
        ])
        .arg("-cp")
        .arg(libs.join("*"))
        .args(["org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties"])
        .current_dir(dir.path())
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null());
        let mut connect = Self {
            worker: Program::start(java)?,
            url: format!("http://{address}/connectors"),
            client: reqwest::Client::new(),
            dir,
        };
        let started = Instant::now();
        while connect.client.get(&connect.url).send().await.is_err() {
            connect.alive()?;
            ensure!(
                started.elapsed() < START_TIMEOUT,
                "Kafka Connect does not answer at {}",
                connect.url
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(connect)
    }

    pub fn pid(&self) -> u32 {
        self.worker.pid()
    }

    /// Creates the connector, which begins at once.
    pub async fn create(&self, installation: &Installation) -> anyhow::Result<()> {
        let url = format!("{}/{SINK}/config", self.url);
        let answer = self.client.put(url).json(&sink(&installation.config)).send().await?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "creating the connector: {status} {}",
            answer.text().await?
        );
        Ok(())
    }

    /// Fails once the worker has ended or a task has failed.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        self.alive()?;
        let url = format!("{}/{SINK}/status", self.url);
        let status: Value = self.client.get(url).send().await?.json().await?;
        let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed = tasks.iter().find(|task| task["state"] == "FAILED");
        ensure!(
            failed.is_none(),
            "a task of Kafka Connect failed: {}",
            failed.unwrap_or(&Value::Null)
        );
        Ok(())
    }

    pub async fn delete(&self) -> anyhow::Result<()> {
        let url = format!("{}/{SINK}", self.url);
        self.client.delete(url).send().await?.error_for_status()?;
        Ok(())
    }

    pub fn stop(self) -> anyhow::Result<()> {
        self.worker.stop()?;
        Ok(self.dir.close()?)
    }

    fn alive(&mut self) -> anyhow::Result<()> {
        let log = self.dir.path().join("connect.log");
        self.worker
            .check()
            .with_context(|| format!("Kafka Connect: {}", end_of(&log)))
    }
}

/// The last that it said, before the directory goes.
fn end_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(2_000)..]).into_owned()
}

fn worker_properties(brokers: &str, address: &str) -> String {
    format!(
        "bootstrap.servers={brokers}
listeners=http://{address}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=offsets
offset.flush.interval.ms=1000
plugin.discovery=only_scan
"
    )
}

/// Messages stay text: parsing JSON into Connect's own values and out again would cost it more than ClickHouse's parser does.
fn sink(config: &Config) -> Value {
    let server = config.clickhouse.url.trim_start_matches("http://");
    let database = &config.clickhouse.database;
    json!({
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": inbox::consumers(),
        "topics": config.kafka.topic,
        "consumer.override.group.id": config.kafka.group_id,
        "consumer.override.auto.offset.reset": "earliest",
        "consumer.override.max.poll.records": BATCH_ROWS,
        // Kafka's defaults make inserts of 2,000 rows.
        "consumer.override.max.partition.fetch.bytes": 16_777_216,
        "consumer.override.fetch.max.bytes": 67_108_864,
        "consumer.override.fetch.min.bytes": 1_048_576,
        "transforms": "hoist,origin",
        "transforms.hoist.type": "org.apache.kafka.connect.transforms.HoistField$Value",
        "transforms.hoist.field": "event",
        "transforms.origin.type": "org.apache.kafka.connect.transforms.InsertField$Value",
        "transforms.origin.topic.field": "topic",
        "transforms.origin.partition.field": "partition",
        "transforms.origin.offset.field": "offset",
        // ClickHouse has no transactions, which the sink asks for. RowBinary is the driver's fastest way to insert.
        "connection.url": format!("jdbc:clickhouse://{server}/{database}?jdbc_ignore_unsupported_values=true\
            &beta.row_binary_for_simple_insert=true&clickhouse_setting_async_insert=0"),
        "connection.username": config.clickhouse.user,
        "connection.password": config.clickhouse.password.expose(),
        // Hibernate knows no ClickHouse; of its dialects only the quoting of names is used.
        "hibernate.dialect": "org.hibernate.dialect.H2Dialect",
        "insert.mode": "insert",
        "primary.key.mode": "none",
        "schema.evolution": "none",
        "collection.name.format": "inbox",
        "batch.size": BATCH_ROWS,
    })
}
