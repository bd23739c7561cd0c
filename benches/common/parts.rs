//! The real broker and the real engine, in a directory that goes when the bench ends.

use std::process::{Command, Stdio};

use tempfile::TempDir;
use uptake::config::{Config, Secret};
use uptake::definition;
use uptake::embedded::Child;
use uptake::embedded::engine::Engine;
use uptake::embedded::kafka::Kafka;
use uptake::store::{Store, migrate};

use crate::process::Program;

const PROGRAM: &str = env!("CARGO_BIN_EXE_uptake");
/// The system that all events are about.
pub const SYSTEM: &str = "erp";
pub const ZONE: &str = "Asia/Shanghai";

pub struct Parts {
    config: Config,
    broker: Child,
    engine: Child,
    dir: TempDir,
}

impl Parts {
    pub async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut config = Config::load(None)?;
        config.privacy.secret = Secret::new("the pseudonyms of the benchmark need a key");
        config.embedded.kafka_port = 0;
        config.embedded.clickhouse_port = 0;
        let mut engine = Engine::prepare(PROGRAM.into(), &dir.path().join("clickhouse"), &config)?;
        let kafka = Kafka::prepare(&dir.path().join("kafka"), &config.embedded).await?;
        let (broker, running) = tokio::try_join!(kafka.start(), engine.start())?;
        config.kafka.brokers = kafka.address();
        config.clickhouse.url = engine.url();
        Ok(Self {
            config,
            broker,
            engine: running,
            dir,
        })
    }

    pub fn broker_pid(&self) -> u32 {
        self.broker.pid()
    }

    pub fn engine_pid(&self) -> u32 {
        self.engine.pid()
    }

    /// An installation of its own on the shared parts: a migrated database, and a consumer group of the same name.
    pub async fn database(&self, name: &str) -> anyhow::Result<Installation> {
        let mut config = self.config.clone();
        config.clickhouse.database = name.to_owned();
        config.kafka.group_id = name.to_owned();
        migrate::run(config.clone()).await?;
        Ok(Installation {
            store: Store::new(&config.clickhouse),
            config,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// For databases that are made afterwards.
    #[allow(dead_code, reason = "for bench-query")]
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    pub async fn stop(self) {
        self.broker.stop().await;
        self.engine.stop().await;
        drop(self.dir);
    }
}

pub struct Installation {
    pub config: Config,
    pub store: Store,
}

impl Installation {
    /// `uptake <command>` for this installation, with its ports on loopback and its log on our error output.
    pub fn start(&self, command: &str, settings: &[(&str, String)]) -> anyhow::Result<Program> {
        let config = &self.config;
        let mut program = Command::new(PROGRAM);
        let given = [
            ("KAFKA__BROKERS", config.kafka.brokers.clone()),
            ("KAFKA__TOPIC", config.kafka.topic.clone()),
            ("KAFKA__GROUP_ID", config.kafka.group_id.clone()),
            ("CLICKHOUSE__URL", config.clickhouse.url.clone()),
            ("CLICKHOUSE__DATABASE", config.clickhouse.database.clone()),
            ("PRIVACY__SECRET", config.privacy.secret.expose().to_owned()),
            ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
            ("RETENTION__RAW_DAYS", config.retention.raw_days.to_string()),
            ("RETENTION__USER_MONTHS", config.retention.user_months.to_string()),
        ];
        let given = given.iter().chain(settings);
        program
            .arg(command)
            .envs(given.map(|(key, value)| (format!("UPTAKE__{key}"), value)))
            .env("UPTAKE_LOG", "warn")
            .stdout(Stdio::null());
        Program::start(program)
    }

    /// Says in which time zone the events of [`SYSTEM`] are counted.
    pub async fn define_system(&self) -> anyhow::Result<()> {
        let text = format!(
            "{{system: {SYSTEM}, name: ERP, timezone: {ZONE}, calendar: {{weekdays: [mon, tue, wed, thu, fri]}}}}"
        );
        definition::apply_text(&self.config, &text, "the benchmark").await?;
        Ok(())
    }

    pub async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        Ok(self.store.client().query(sql).fetch_one().await?)
    }

    pub async fn drop(self) -> anyhow::Result<()> {
        let sql = format!("DROP DATABASE {} SYNC", self.config.clickhouse.database);
        Ok(self.store.client().query(&sql).execute().await?)
    }
}
