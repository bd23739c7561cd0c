//! What must hold between settings, beyond their types.

use std::fmt;

use super::Config;
use super::resolve::{KEY_EXPECTED, pseudonym_key};
use crate::error::BadInput;

impl Config {
    /// The rules that types cannot say. Every message names key, value and what was expected.
    pub(super) fn validate(&self) -> Result<(), BadInput> {
        self.kafka.validate()?;
        self.clickhouse.validate()?;
        self.api.validate()?;
        self.targets.validate()?;
        self.validate_privacy()?;
        self.validate_ingest()?;
        self.validate_positive()?;
        self.validate_retention()?;
        self.validate_collector_and_topics()
    }

    fn validate_privacy(&self) -> Result<(), BadInput> {
        let p = &self.privacy;
        if p.min_group_size < 5 && !p.allow_small_groups {
            return refuse(
                "privacy.min_group_size",
                p.min_group_size,
                "at least 5 (smaller groups make persons recognisable; set privacy.allow_small_groups = true to do it all the same)",
            );
        }
        if !p.secret.is_empty() && pseudonym_key(p.secret.expose()).is_none() {
            return refuse("privacy.secret", "(secret)", KEY_EXPECTED);
        }
        Ok(())
    }

    fn validate_ingest(&self) -> Result<(), BadInput> {
        let i = &self.ingest;
        if i.drain_timeout_ms >= self.kafka.silence_limit_ms() {
            return refuse(
                "ingest.drain_timeout_ms",
                i.drain_timeout_ms,
                "less than 4/5 of kafka.session_timeout_ms",
            );
        }
        if i.identity_memory / 2 < i.batch_rows {
            return refuse(
                "ingest.identity_memory",
                i.identity_memory,
                "at least twice ingest.batch_rows, so that what a killed worker had inserted is recognised",
            );
        }
        Ok(())
    }

    fn validate_positive(&self) -> Result<(), BadInput> {
        for (key, value) in [
            ("ingest.batch_rows", self.ingest.batch_rows),
            ("ingest.batch_bytes", self.ingest.batch_bytes),
            ("ingest.identity_memory", self.ingest.identity_memory),
            ("ingest.max_event_bytes", self.ingest.max_event_bytes),
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
                return refuse(key, value, "at least 1");
            }
        }
        Ok(())
    }

    fn validate_retention(&self) -> Result<(), BadInput> {
        let user_days = self.retention.user_months.saturating_mul(28);
        // Beyond that a day of today plus the term is more than a Date of ClickHouse holds, and would be deleted at once.
        if self.retention.aggregate_months > 1_200 {
            return refuse(
                "retention.aggregate_months",
                self.retention.aggregate_months,
                "at most 1200",
            );
        }
        if user_days < self.retention.raw_days || self.retention.aggregate_months < self.retention.user_months {
            return refuse(
                "retention.user_months",
                self.retention.user_months,
                "at least as long as retention.raw_days, and at most retention.aggregate_months",
            );
        }
        Ok(())
    }

    fn validate_collector_and_topics(&self) -> Result<(), BadInput> {
        let queue = self.collector.max_body_bytes..=u32::MAX as usize;
        if !queue.contains(&self.collector.queue_bytes) {
            return refuse(
                "collector.queue_bytes",
                self.collector.queue_bytes,
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

fn refuse(key: &str, value: impl fmt::Display, expected: &str) -> Result<(), BadInput> {
    Err(BadInput::new(format!(
        "configuration: {key} = {value}: expected {expected}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

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
}
