//! `[targets]`: when targets are evaluated, and who is told.

use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;
use super::wire::{is_empty, one_of_two, refused};
use crate::error::BadInput;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    pub grace_ms: u64,
    pub interval_ms: u64,
    pub webhook: Webhook,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: String,
    pub format: WebhookFormat,
    pub secret: Secret,
    pub secret_file: PathBuf,
    pub timeout_ms: u64,
}

/// How a notice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    CloudEvents,
    Alertmanager,
}

impl Targets {
    pub(super) fn validate(&self) -> Result<(), BadInput> {
        // A day is evaluated before the next one is over.
        if self.grace_ms >= 24 * 3_600_000 {
            return Err(refused(
                &format!("targets.grace_ms = {}", self.grace_ms),
                "less than a day",
            ));
        }
        self.webhook.validate()
    }
}

impl Webhook {
    /// How notices are written; `None` where nobody is told.
    pub fn format(&self) -> Option<WebhookFormat> {
        (!self.url.is_empty()).then_some(self.format)
    }

    fn validate(&self) -> Result<(), BadInput> {
        one_of_two("targets.webhook.secret", &self.secret, &self.secret_file)?;
        let has_secret = !self.secret.is_empty() || !is_empty(&self.secret_file);
        if self.url.is_empty() {
            return match has_secret {
                true => Err(refused("targets.webhook.secret", "targets.webhook.url beside it")),
                false => Ok(()),
            };
        }
        let parsed = reqwest::Url::parse(&self.url).ok();
        if !parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(refused(
                "targets.webhook.url",
                "an address such as https://host/path (it is not shown, because it may hold a secret)",
            ));
        }
        if !has_secret {
            return Err(refused(
                "targets.webhook.secret",
                "a secret beside targets.webhook.url: notices are signed with it",
            ));
        }
        self.check_secret()
    }

    fn check_secret(&self) -> Result<(), BadInput> {
        if self.secret.is_empty() || self.secret.expose().len() >= 32 {
            return Ok(());
        }
        Err(refused("targets.webhook.secret", "at least 32 characters"))
    }

    pub(super) fn resolve_files(&mut self) -> Result<(), BadInput> {
        self.secret
            .read_from("targets.webhook.secret_file", &self.secret_file)?;
        self.check_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn refusal(change: impl FnOnce(&mut Targets)) -> String {
        let mut config = Config::load(None).unwrap();
        change(&mut config.targets);
        config.targets.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_webhook_has_an_address_and_a_key_to_sign_with() {
        let key = || Secret::new("0123456789abcdef0123456789abcdef");
        let url = |webhook: &mut Webhook, url: &str| webhook.url = url.to_owned();
        let refused = refusal(|targets| url(&mut targets.webhook, "ftp://host/secret-path"));
        assert!(
            refused.contains("targets.webhook.url") && !refused.contains("secret-path"),
            "{refused}"
        );
        let refused = refusal(|targets| url(&mut targets.webhook, "https://host/path"));
        assert!(refused.contains("targets.webhook.secret"), "{refused}");
        let refused = refusal(|targets| {
            url(&mut targets.webhook, "https://host/path");
            targets.webhook.secret = Secret::new("short");
        });
        assert!(refused.contains("at least 32"), "{refused}");
        assert!(refusal(|targets| targets.webhook.secret = key()).contains("targets.webhook.url"));
        assert!(refusal(|targets| targets.grace_ms = 86_400_000).contains("targets.grace_ms"));
        let mut config = Config::load(None).unwrap();
        url(&mut config.targets.webhook, "http://alerts:8080/hook");
        config.targets.webhook.secret = key();
        config.targets.validate().unwrap();
    }
}
