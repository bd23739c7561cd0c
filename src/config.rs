//! Typed configuration: embedded defaults < file < environment (`UPTAKE__SECTION__KEY`).
//!
//! Loading is pure: it reads, merges, types and validates, and connects to nothing. Unknown keys are refused with the
//! place they stand in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::pseudonym::Pseudonymizer;

mod access;
mod load;
mod resolve;
mod rules;
mod targets;
mod wire;

pub use access::{Api, Limits, Oidc, Role, secure_url};
pub use resolve::Endpoints;
pub use targets::{Targets, Webhook, WebhookFormat};
pub use wire::{Mechanism, Sasl, Tls};

/// The commented defaults, which `uptake config` prints.
pub const DEFAULTS: &str = include_str!("default.toml");

/// What the names of environment variables that are settings begin with.
pub const PREFIX: &str = "UPTAKE__";

/// Every setting, by concern. `default.toml` documents each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    pub kafka: Kafka,
    pub clickhouse: ClickHouse,
    pub ingest: Ingest,
    pub reconcile: Reconcile,
    pub targets: Targets,
    pub api: Api,
    pub collector: Collector,
    pub ops: Ops,
    pub privacy: Privacy,
    pub retention: Retention,
    pub embedded: Embedded,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub brokers: String,
    pub topic: String,
    pub rejected_topic: String,
    pub group_id: String,
    pub partitions: i32,
    pub replication_factor: i32,
    pub session_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub tls: Tls,
    pub sasl: Sasl,
    /// Passed to librdkafka as they are, after our own settings. Some of them are secrets.
    #[serde(default)]
    pub options: BTreeMap<String, Secret>,
}

impl Kafka {
    /// How often a worker tells the group that it lives.
    pub fn heartbeat_interval_ms(&self) -> u64 {
        (self.session_timeout_ms / 15).max(1)
    }

    /// A worker that has not polled for this long may have lost its partitions. Three heartbeats shorter than the session
    /// timeout: the group counts from the last heartbeat that reached it, which is older than the last poll.
    pub fn silence_limit_ms(&self) -> u64 {
        self.session_timeout_ms.saturating_sub(3 * self.heartbeat_interval_ms())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickHouse {
    pub url: String,
    pub cluster: String,
    pub cluster_servers: u32,
    pub database: String,
    pub user: String,
    pub password: Secret,
    pub password_file: PathBuf,
    pub reader: Reader,
    pub ca_file: PathBuf,
    /// Made by [`Config::resolve`] where `url` begins with `https://`.
    #[serde(skip)]
    pub tls: Option<native_tls::TlsConnector>,
    pub connect_timeout_ms: u64,
    pub query_timeout_ms: u64,
}

/// A user who may read the numbers and nothing else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    pub user: String,
    pub password: Secret,
    pub password_file: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub batch_rows: usize,
    pub batch_bytes: usize,
    pub batch_age_ms: u64,
    pub identity_memory: usize,
    pub drain_timeout_ms: u64,
    pub max_event_bytes: usize,
    pub future_tolerance_ms: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    pub interval_ms: u64,
    pub lookback_ms: u64,
    pub closed_after_ms: u64,
    pub days_per_run: usize,
}

/// `POST /api/v1/events`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    pub max_body_bytes: usize,
    pub max_events: usize,
    pub queue_bytes: usize,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    pub secret: Secret,
    pub secret_file: PathBuf,
    pub min_group_size: u32,
    pub allow_small_groups: bool,
    pub reidentification: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub raw_days: u32,
    pub rejects_days: u32,
    pub user_months: u32,
    pub aggregate_months: u32,
    pub audit_months: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    pub kafka_port: u16,
    pub clickhouse_port: u16,
    pub kafka_libs: PathBuf,
    pub chdb_library: PathBuf,
    pub java: PathBuf,
    pub kafka_heap_mb: u32,
    pub connections: usize,
    pub statement_timeout_ms: u64,
    pub max_memory_bytes: u64,
}

impl Privacy {
    /// What turns ids into pseudonyms, of a configuration that is resolved.
    pub fn pseudonymizer(&self) -> Pseudonymizer {
        Pseudonymizer::new(self.secret.expose().as_bytes())
    }
}

/// A value that is never printed.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }
    /// The clear value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let mut config = Config::load(None).unwrap();
        config.clickhouse.password = Secret::new("hunter2");
        config.kafka.sasl.password = Secret::new("hunter2");
        config.kafka.tls.key_password = Secret::new("hunter2");
        config.privacy.secret = Secret::new("hunter2");
        let option = ("ssl.key.password".to_owned(), Secret::new("hunter2"));
        config.kafka.options.extend([option]);
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
