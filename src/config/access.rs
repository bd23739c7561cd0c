//! Who may ask the API: what `[api]`, `[api.oidc]` and `[api.limits]` may say together.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wire::{certificates, is_empty, read, refused};
use crate::error::BadInput;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    pub listen: SocketAddr,
    pub authentication: bool,
    pub max_body_bytes: usize,
    pub limits: Limits,
    pub oidc: Oidc,
}

/// Requests a second, and how many at once, of one caller. 0: no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub questions_per_second: u32,
    pub questions_burst: u32,
    pub sends_per_second: u32,
    pub sends_burst: u32,
    pub refusals_per_second: u32,
    pub refusals_burst: u32,
}

/// Access tokens of an OpenID Connect provider. Used once `issuer` is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: String,
    pub audience: String,
    pub jwks_url: String,
    pub ca_file: PathBuf,
    pub leeway_ms: u64,
    pub roles_claim: String,
    /// The provider's word to ours.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
}

/// What somebody may do; one may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Aggregates only
    Viewer,
    /// Pseudonymous lists too
    Analyst,
    /// The audit log, erasure, re-identification
    Privacy,
    /// Only sending events
    Producer,
    /// Everything, including definitions and rosters
    Admin,
}

impl Role {
    /// As configuration, storage and the API spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Privacy => "privacy",
            Self::Producer => "producer",
            Self::Admin => "admin",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|role| role.word() == word)
    }
}

impl Api {
    pub(super) fn validate(&self) -> Result<(), BadInput> {
        let Self { listen, oidc, .. } = self;
        if !self.authentication && !listen.ip().is_loopback() {
            return Err(refused(
                &format!("api.listen = {listen}"),
                "a loopback address while api.authentication = false, because everybody may do everything then \
                 (make tokens with `uptake token create` and set api.authentication = true)",
            ));
        }
        if !self.authentication && oidc.is_used() {
            return Err(refused("api.oidc.issuer", "api.authentication = true beside it"));
        }
        self.limits.validate()?;
        oidc.validate()
    }
}

impl Limits {
    fn validate(&self) -> Result<(), BadInput> {
        for (what, rate, burst) in [
            ("questions", self.questions_per_second, self.questions_burst),
            ("sends", self.sends_per_second, self.sends_burst),
            ("refusals", self.refusals_per_second, self.refusals_burst),
        ] {
            if rate > 0 && burst == 0 {
                let key = format!("api.limits.{what}_burst = 0");
                return Err(refused(&key, format!("at least 1 while {what}_per_second = {rate}")));
            }
        }
        Ok(())
    }
}

impl Oidc {
    pub fn is_used(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// Makes sure of the files.
    pub(super) fn resolve_files(&self) -> Result<(), BadInput> {
        self.authorities().map(drop)
    }

    /// Those of `ca_file`; none where the system's are trusted.
    pub fn authorities(&self) -> Result<Vec<reqwest::Certificate>, BadInput> {
        if is_empty(&self.ca_file) {
            return Ok(Vec::new());
        }
        let key = "api.oidc.ca_file";
        certificates(key, &self.ca_file)?;
        reqwest::Certificate::from_pem_bundle(&read(key, &self.ca_file)?)
            .map_err(|error| refused(&format!("{key} = \"{}\"", self.ca_file.display()), error))
    }

    fn validate(&self) -> Result<(), BadInput> {
        if !self.is_used() {
            let alone = [
                ("api.oidc.audience", !self.audience.is_empty()),
                ("api.oidc.jwks_url", !self.jwks_url.is_empty()),
                ("api.oidc.ca_file", !is_empty(&self.ca_file)),
                ("api.oidc.roles", !self.roles.is_empty()),
            ];
            return match alone.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(refused(key, "api.oidc.issuer beside it")),
                None => Ok(()),
            };
        }
        secure_url("api.oidc.issuer", &self.issuer)?;
        if !self.jwks_url.is_empty() {
            secure_url("api.oidc.jwks_url", &self.jwks_url)?;
        }
        for (key, is_missing) in [
            ("api.oidc.audience", self.audience.is_empty()),
            ("api.oidc.roles_claim", self.roles_claim.is_empty()),
            ("api.oidc.roles", self.roles.is_empty()),
        ] {
            if is_missing {
                return Err(refused(key, "a value beside api.oidc.issuer"));
            }
        }
        Ok(())
    }
}

/// Whoever can change what comes from there can let themselves in, so it must not cross a network unprotected.
pub fn secure_url(key: &str, value: &str) -> Result<(), BadInput> {
    let is_secure = reqwest::Url::parse(value).is_ok_and(|url| match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => {
            let address = host.trim_matches(['[', ']']).parse();
            host == "localhost" || address.is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        _ => false,
    });
    match is_secure {
        true => Ok(()),
        false => Err(refused(
            &format!("{key} = {value}"),
            "an https:// address (http:// only on loopback)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn refusal(change: impl FnOnce(&mut Api)) -> String {
        let mut config = Config::load(None).unwrap();
        change(&mut config.api);
        config.api.validate().unwrap_err().to_string()
    }

    fn with_issuer(api: &mut Api) {
        api.authentication = true;
        api.oidc.issuer = "https://login.example.org".to_owned();
        api.oidc.audience = "uptake".to_owned();
        api.oidc.roles = BTreeMap::from([("readers".to_owned(), Role::Viewer)]);
    }

    #[test]
    fn whoever_asks_is_asked_for_a_token_before_the_network_is_let_in() {
        let mut config = Config::load(None).unwrap();
        config.api.listen = "[::]:8080".parse().unwrap();
        config.api.authentication = true;
        config.api.validate().unwrap();
        assert!(refusal(|api| api.listen = "[::]:8080".parse().unwrap()).contains("api.authentication"));
    }

    #[test]
    fn a_provider_is_described_whole_and_reached_securely() {
        let mut config = Config::load(None).unwrap();
        with_issuer(&mut config.api);
        config.api.validate().unwrap();
        for url in [
            "http://login.example.org",
            "http://127.0.0.1.example.org",
            "login.example.org",
            "file:///keys",
        ] {
            let error = refusal(|api| {
                with_issuer(api);
                api.oidc.jwks_url = url.to_owned();
            });
            assert!(
                error.contains("api.oidc.jwks_url") && error.contains("https://"),
                "{error}"
            );
        }
        for url in ["http://127.0.0.1:8080/keys", "http://[::1]/", "http://localhost:1"] {
            secure_url("x", url).unwrap();
        }
        type Change = fn(&mut Api);
        let missing: [(&str, Change); 4] = [
            ("api.oidc.audience", |api| api.oidc.audience.clear()),
            ("api.oidc.roles", |api| api.oidc.roles.clear()),
            ("api.oidc.issuer", |api| api.authentication = false),
            ("api.oidc.audience", |api| api.oidc.issuer.clear()),
        ];
        for (key, change) in missing {
            let error = refusal(|api| {
                with_issuer(api);
                change(api);
            });
            assert!(error.contains(key), "{error}");
        }
    }
}
