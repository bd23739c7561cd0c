//! What a configuration leaves to be found: the addresses and the secret of the `uptake up` that runs in `data_dir`, and secrets in files.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Config, Reader, Sasl, Secret, Tls};
use crate::error::BadInput;

/// Where a running `uptake up` can be reached; kept in `up.json` in its data directory while it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

pub(super) const KEY_EXPECTED: &str =
    "at least 32 characters in each line: one, and another for each time that the secret was rotated";

/// The lines of a pseudonym key, without what stands around them; None where one is too short to be one.
pub(super) fn pseudonym_key(text: &str) -> Option<Secret> {
    let lines: Vec<_> = text.trim().lines().map(str::trim).collect();
    let long_enough = |line: &&str| line.len() >= 32;
    (!lines.is_empty() && lines.iter().all(long_enough)).then(|| Secret::new(lines.join("\n")))
}
