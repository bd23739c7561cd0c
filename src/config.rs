//! Typed configuration: embedded defaults < file < environment (`UPTAKE__SECTION__KEY`).
//!
//! Loading is pure: it reads, merges, types and validates, and connects to nothing. Unknown keys are refused with the
//! place they stand in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::Value;
use figment::{Figment, Source};
use serde::Deserialize;

use crate::error::BadInput;
use crate::pseudonym::Pseudonymizer;

mod access;
mod targets;
mod wire;

pub use access::{Api, Limits, Oidc, Role, secure_url};
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

/// The settings in the environment: `UPTAKE__API__LISTEN` is `api.listen`, and `UPTAKE__KAFKA__OPTIONS__SECURITY_PROTOCOL` is
/// librdkafka's `security.protocol`.
struct Variables(Vec<(String, String)>);

impl Variables {
    const OPTIONS: &str = "kafka.options";

    fn of(environment: impl Iterator<Item = (String, String)>) -> Self {
        let ours = environment.filter_map(|(name, text)| {
            let path = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
            Some((path, text))
        });
        Self(ours.collect())
    }

    /// A text stays a text, whatever it looks like: a password may be all digits.
    fn merge_into(&self, mut figment: Figment) -> Figment {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        for (path, text) in &self.0 {
            if let Some(option) = path.strip_prefix("kafka.options.") {
                let options = BTreeMap::from([(option.replace('_', "."), text.clone())]);
                figment = figment.merge((Self::OPTIONS, options));
            } else if let Ok(Value::String(..)) = defaults.find_value(path) {
                figment = figment.merge((path.as_str(), text.clone()));
            } else {
                let value: Value = text.parse().unwrap_or_else(|_| text.clone().into());
                figment = figment.merge((path.as_str(), value));
            }
        }
        figment
    }
}

impl Config {
    /// Loads the defaults, then `file` (which must exist when given), then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, BadInput> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(path) = file {
            if !path.is_file() {
                return Err(BadInput::new(format!("config file {}: not found", path.display())));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        let figment = Variables::of(std::env::vars()).merge_into(figment);
        let config: Self = figment
            .extract()
            .map_err(|e| BadInput::new(format!("configuration: {}", told(&e))))?;
        config.validate()?;
        Ok(config)
    }

    /// The rules that types cannot say. Every message names key, value and what was expected.
    fn validate(&self) -> Result<(), BadInput> {
        self.kafka.validate()?;
        self.clickhouse.validate()?;
        self.api.validate()?;
        self.targets.validate()?;
        let p = &self.privacy;
        let i = &self.ingest;
        let refuse = |key: &str, value: &dyn fmt::Display, expected: &str| {
            Err(BadInput::new(format!(
                "configuration: {key} = {value}: expected {expected}"
            )))
        };
        if p.min_group_size < 5 && !p.allow_small_groups {
            return refuse(
                "privacy.min_group_size",
                &p.min_group_size,
                "at least 5 (smaller groups make persons recognisable; set privacy.allow_small_groups = true to do it all the same)",
            );
        }
        if !p.secret.is_empty() && pseudonym_key(p.secret.expose()).is_none() {
            return refuse("privacy.secret", &"(secret)", KEY_EXPECTED);
        }
        if i.drain_timeout_ms >= self.kafka.silence_limit_ms() {
            return refuse(
                "ingest.drain_timeout_ms",
                &i.drain_timeout_ms,
                "less than 4/5 of kafka.session_timeout_ms",
            );
        }
        if i.identity_memory / 2 < i.batch_rows {
            return refuse(
                "ingest.identity_memory",
                &i.identity_memory,
                "at least twice ingest.batch_rows, so that what a killed worker had inserted is recognised",
            );
        }
        for (key, value) in [
            ("ingest.batch_rows", i.batch_rows),
            ("ingest.batch_bytes", i.batch_bytes),
            ("ingest.identity_memory", i.identity_memory),
            ("ingest.max_event_bytes", i.max_event_bytes),
            ("reconcile.days_per_run", self.reconcile.days_per_run),
            ("targets.interval_ms", self.targets.interval_ms as usize),
            ("targets.webhook.timeout_ms", self.targets.webhook.timeout_ms as usize),
            ("embedded.connections", self.embedded.connections),
            ("collector.max_body_bytes", self.collector.max_body_bytes),
            ("collector.max_events", self.collector.max_events),
            ("collector.timeout_ms", self.collector.timeout_ms as usize),
            ("retention.raw_days", self.retention.raw_days as usize),
            ("retention.rejects_days", self.retention.rejects_days as usize),
            ("retention.user_months", self.retention.user_months as usize),
            ("retention.aggregate_months", self.retention.aggregate_months as usize),
            ("retention.audit_months", self.retention.audit_months as usize),
        ] {
            if value == 0 {
                return refuse(key, &value, "at least 1");
            }
        }
        let user_days = self.retention.user_months.saturating_mul(28);
        // Beyond that a day of today plus the term is more than a Date of ClickHouse holds, and would be deleted at once.
        if self.retention.aggregate_months > 1_200 {
            return refuse(
                "retention.aggregate_months",
                &self.retention.aggregate_months,
                "at most 1200",
            );
        }
        if user_days < self.retention.raw_days || self.retention.aggregate_months < self.retention.user_months {
            return refuse(
                "retention.user_months",
                &self.retention.user_months,
                "at least as long as retention.raw_days, and at most retention.aggregate_months",
            );
        }
        let queue = self.collector.max_body_bytes..=u32::MAX as usize;
        if !queue.contains(&self.collector.queue_bytes) {
            return refuse(
                "collector.queue_bytes",
                &self.collector.queue_bytes,
                "at least collector.max_body_bytes and less than 4 GiB",
            );
        }
        if self.kafka.topic == self.kafka.rejected_topic {
            return refuse(
                "kafka.rejected_topic",
                &self.kafka.rejected_topic,
                "another topic than kafka.topic",
            );
        }
        Ok(())
    }
}

/// Where a running `uptake up` can be reached; kept in `up.json` in its data directory while it runs.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
pub struct Endpoints {
    /// `host:port`
    pub kafka: String,
    /// `http://host:port`
    pub clickhouse: String,
    /// `http://host:port`
    pub api: String,
    /// `http://host:port`
    pub ops: String,
}

impl Endpoints {
    pub const FILE: &str = "up.json";

    /// The endpoints of the `uptake up` that runs in `data_dir`, if one does.
    pub fn of_running(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(Self::FILE)).ok()?).ok()
    }
}

impl Config {
    /// Fills what was left empty (addresses, secret) from the `uptake up` that runs in `data_dir`; an error names what is missing.
    pub fn resolve(mut self) -> Result<Self, BadInput> {
        let running = Endpoints::of_running(&self.data_dir);
        let data_dir = self.data_dir.display().to_string();
        let missing = |key: &str| {
            BadInput::new(format!(
                "configuration: {key} is empty and no `uptake up` is running in {data_dir}: set {key}, or data_dir, or start one",
            ))
        };
        if self.kafka.brokers.is_empty() {
            let running = running.as_ref().ok_or_else(|| missing("kafka.brokers"))?;
            self.use_embedded_kafka(running.kafka.clone());
        }
        if self.clickhouse.url.is_empty() {
            self.clickhouse.url = running
                .as_ref()
                .ok_or_else(|| missing("clickhouse.url"))?
                .clickhouse
                .clone();
            // The engine has it from `uptake up`.
            self.clickhouse.reader = Reader::default();
        }
        self.kafka.resolve_files()?;
        self.clickhouse.resolve_files()?;
        self.api.oidc.resolve_files()?;
        self.targets.webhook.resolve_files()?;
        self.privacy.secret = self.read_secret()?;
        Ok(self)
    }

    /// The broker of `uptake up` listens on loopback, without TLS and login.
    pub fn use_embedded_kafka(&mut self, address: String) {
        self.kafka.brokers = address;
        self.kafka.tls = Tls::default();
        self.kafka.sasl = Sasl::default();
    }

    /// The pseudonym key: given, or from the file given, or the one that `uptake up` made in `data_dir`.
    pub fn read_secret(&self) -> Result<Secret, BadInput> {
        if !self.privacy.secret.is_empty() {
            let key = pseudonym_key(self.privacy.secret.expose());
            return key.ok_or_else(|| BadInput::new(format!("configuration: privacy.secret: expected {KEY_EXPECTED}")));
        }
        let given = !self.privacy.secret_file.as_os_str().is_empty();
        let path = if given {
            self.privacy.secret_file.clone()
        } else {
            self.data_dir.join("secret")
        };
        let text = std::fs::read_to_string(&path).map_err(|e| {
            BadInput::new(format!(
                "configuration: privacy.secret is empty and {} cannot be read: {e}",
                path.display()
            ))
        })?;
        pseudonym_key(&text).ok_or_else(|| BadInput::new(format!("{}: expected {KEY_EXPECTED}", path.display())))
    }
}

const KEY_EXPECTED: &str =
    "at least 32 characters in each line: one, and another for each time that the secret was rotated";

/// The lines of a pseudonym key, without what stands around them; None where one is too short to be one.
fn pseudonym_key(text: &str) -> Option<Secret> {
    let lines: Vec<_> = text.trim().lines().map(str::trim).collect();
    let long_enough = |line: &&str| line.len() >= 32;
    (!lines.is_empty() && lines.iter().all(long_enough)).then(|| Secret::new(lines.join("\n")))
}

/// What is wrong, after the file and key or the variable it stands in.
fn told(error: &figment::Error) -> String {
    let source = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref());
    let place = match source {
        Some(Source::File(file)) if error.path.is_empty() => file.display().to_string(),
        Some(Source::File(file)) => format!("{}: {}", file.display(), error.path.join(".")),
        _ => format!("{PREFIX}{}", error.path.join("__").to_uppercase()),
    };
    match &error.kind {
        // What else it is contains the value.
        Kind::InvalidType(..) | Kind::InvalidValue(..) if holds_secret(&error.path) => {
            format!("{place}: expected a text in quotes")
        }
        Kind::UnknownField(_, known) => format!("{place}: unknown key; expected one of {}", known.join(", ")),
        what => format!("{place}: {}", without_quotation(&what.to_string())),
    }
}

/// A text that is no TOML, told without the line it stands in, which may hold a secret.
fn without_quotation(told: &str) -> String {
    let is_quotation = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit())
            .starts_with('|')
    };
    let rest: Vec<&str> = told.lines().filter(|line| !is_quotation(line)).collect();
    rest.join(": ")
}

fn holds_secret(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path[..],
        [.., "password" | "key_password" | "secret"] | ["kafka", "options", ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::load(None).unwrap();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_listen_on_loopback_only() {
        let config = Config::load(None).unwrap();
        assert!(config.api.listen.ip().is_loopback() && config.ops.listen.ip().is_loopback());
        assert_eq!(config.privacy.min_group_size, 10);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value_and_what_was_expected() {
        let error = with(|c| c.privacy.min_group_size = 4);
        assert!(
            error.contains("privacy.min_group_size = 4") && error.contains("at least 5"),
            "{error}"
        );
        let error = with(|c| c.privacy.secret = Secret::new("short"));
        assert!(
            error.contains("at least 32 characters") && !error.contains("short"),
            "{error}"
        );
        let rotated = format!("{}\nshort", "x".repeat(32));
        let error = with(|c| c.privacy.secret = Secret::new(rotated));
        assert!(error.contains("at least 32 characters in each line"), "{error}");
        let error = with(|c| c.api.listen = "0.0.0.0:8080".parse().unwrap());
        assert!(
            error.contains("api.listen = 0.0.0.0:8080") && error.contains("token create"),
            "{error}"
        );
        let error = with(|c| c.ingest.drain_timeout_ms = c.kafka.session_timeout_ms);
        assert!(error.contains("ingest.drain_timeout_ms"), "{error}");
        let error = with(|c| c.ingest.identity_memory = c.ingest.batch_rows);
        assert!(error.contains("ingest.identity_memory"), "{error}");
        let error = with(|c| c.retention.raw_days = 7_000);
        assert!(error.contains("retention.user_months = 13"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_file_it_stands_in() {
        let file = std::env::temp_dir().join(format!("uptake-config-{}.toml", std::process::id()));
        std::fs::write(&file, "[kafka]\nbroker = \"x:9092\"\n").unwrap();
        let error = Config::load(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("broker") && error.contains("uptake-config-"), "{error}");
    }

    fn from_environment(name: &str, text: &str) -> Result<Config, BadInput> {
        let variables = Variables::of([(name.to_owned(), text.to_owned())].into_iter());
        let figment = variables.merge_into(Figment::from(Toml::string(DEFAULTS)));
        figment.extract().map_err(|e| BadInput::new(told(&e)))
    }

    #[test]
    fn the_environment_sets_numbers_texts_and_kafka_options() {
        assert_eq!(
            from_environment("UPTAKE__INGEST__BATCH_ROWS", "7")
                .unwrap()
                .ingest
                .batch_rows,
            7
        );
        let config = from_environment("UPTAKE__CLICKHOUSE__PASSWORD", "0123").unwrap();
        assert_eq!(config.clickhouse.password.expose(), "0123");
        let config = from_environment("UPTAKE__KAFKA__OPTIONS__SECURITY_PROTOCOL", "SSL").unwrap();
        assert_eq!(config.kafka.options["security.protocol"].expose(), "SSL");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = from_environment("UPTAKE__API__LISTN", "x").unwrap_err().to_string();
        assert!(
            error.contains("UPTAKE__API__LISTN") && error.contains("expected one of listen"),
            "{error}"
        );
        let error = from_environment("UPTAKE__INGEST__BATCH_ROWS", "many")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("UPTAKE__INGEST__BATCH_ROWS") && error.contains("many"),
            "{error}"
        );
    }

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

    #[test]
    fn a_secret_that_is_no_text_is_not_repeated() {
        for text in [
            "[clickhouse]\npassword = 7391",
            "[kafka.sasl]\npassword = 7391",
            "[kafka.sasl]\npassword = 7391x",
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, text).unwrap();
            let error = Config::load(Some(file.path())).unwrap_err().to_string();
            assert!(!error.contains("7391"), "{error}");
        }
    }
}
