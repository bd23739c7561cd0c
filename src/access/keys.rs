//! The public keys of an OpenID Connect provider, fetched when they are needed and kept for a while.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config;

/// Older keys are fetched again, so that one which the provider withdrew does not stay in force.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// Where they cannot be fetched again, keys older than this are no longer in force.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Whoever sends tokens with invented key ids must not make us send as many requests to the provider.
const FETCH_EVERY: Duration = Duration::from_secs(10);
const FETCH_BURST: NonZeroU32 = NonZeroU32::new(3).expect("not 0");
const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Keys {
    http: reqwest::Client,
    issuer: String,
    /// Empty: the provider tells it.
    jwks_url: String,
    known: Mutex<Option<Known>>,
    fetches: DefaultDirectRateLimiter,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

/// A key that signatures can be checked with.
#[derive(Clone)]
pub struct PublicKey {
    id: Option<String>,
    /// The only algorithm it is meant for, if it is meant for one, as a JWT names it.
    pub algorithm: Option<String>,
    pub key: DecodingKey,
}

impl PublicKey {
    /// `None`: a key of a kind that is not known here, or not to sign with. Others may use it.
    fn of(jwk: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return None;
        }
        Some(Self {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            algorithm: jwk.common.key_algorithm.map(|algorithm| algorithm.to_string()),
            id: jwk.common.key_id,
        })
    }
}

#[derive(Clone)]
struct Known {
    keys: Arc<[PublicKey]>,
    fetched_at: Instant,
}

/// What `.well-known/openid-configuration` says that matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    pub fn new(config: &config::Oidc) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT);
        // A redirect could lead away from the address that was made sure of.
        let http = http.redirect(reqwest::redirect::Policy::none());
        let http = config
            .authorities()?
            .into_iter()
            .fold(http, |http, authority| http.add_root_certificate(authority));
        let quota = Quota::with_period(FETCH_EVERY).context("a period of 0")?;
        Ok(Self {
            http: http.build().context("a client for api.oidc.issuer")?,
            issuer: config.issuer.clone(),
            jwks_url: config.jwks_url.clone(),
            known: Mutex::default(),
            fetches: RateLimiter::direct(quota.allow_burst(FETCH_BURST)),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// The key with this id, or the only one where a token names none. `None`: the provider has no such key. The error: it cannot be
    /// told, because the provider does not answer.
    pub async fn find(&self, id: Option<&str>) -> anyhow::Result<Option<PublicKey>> {
        let before = self.known();
        if let Some(key) = before
            .as_ref()
            .filter(|known| known.is_younger_than(FRESH))
            .and_then(|known| known.key(id))
        {
            return Ok(Some(key));
        }
        let _one_fetches = self.fetching.lock().await;
        // Whoever waited finds what the one before has fetched.
        let unchanged = self.known().map(|known| known.fetched_at) == before.map(|known| known.fetched_at);
        if unchanged && self.fetches.check().is_ok() {
            match self.fetch().await {
                Ok(keys) => {
                    *self.lock() = Some(Known {
                        keys,
                        fetched_at: Instant::now(),
                    })
                }
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the keys of api.oidc.issuer cannot be fetched"
                ),
            }
        }
        let known = self.known().filter(|known| known.is_younger_than(KEPT));
        Ok(known.context("the keys of api.oidc.issuer cannot be fetched")?.key(id))
    }

    async fn fetch(&self) -> anyhow::Result<Arc<[PublicKey]>> {
        let url = match self.jwks_url.as_str() {
            "" => self.discover().await?,
            url => url.to_owned(),
        };
        let set: KeySet = self.get(&url).await?;
        Ok(set.keys.into_iter().filter_map(PublicKey::of).collect())
    }

    async fn discover(&self) -> anyhow::Result<String> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let told: Discovery = self.get(&url).await?;
        if told.issuer != self.issuer {
            bail!(
                "{url}: issuer is {:?}, expected api.oidc.issuer = {:?}",
                told.issuer,
                self.issuer
            );
        }
        config::secure_url(&format!("{url}: jwks_uri"), &told.jwks_uri)?;
        Ok(told.jwks_uri)
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        let response = self.http.get(url).send().await?.error_for_status()?;
        response.json().await.with_context(|| format!("the answer of {url}"))
    }

    fn known(&self) -> Option<Known> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.fetched_at.elapsed() < age
    }

    fn key(&self, id: Option<&str>) -> Option<PublicKey> {
        match (id, &*self.keys) {
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)).cloned(),
        }
    }
}
