//! The tokens of this installation that are let in, read from ClickHouse and kept for a moment.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::secret;
use super::{Caller, Scope, Who};
use crate::config::Role;
use crate::store::Store;
use crate::store::tokens::Token;

/// A token that was revoked is let in for no longer than this, while ClickHouse answers.
const FRESH: Duration = Duration::from_secs(2);
/// A token that is not among those read may be new: they are read again, unless somebody just tries.
const REREADS_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).expect("not 0");
const REREADS_BURST: NonZeroU32 = NonZeroU32::new(20).expect("not 0");
/// How long a request waits for ClickHouse before what was read last is good enough.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same while nothing was read yet.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// Every token that is not revoked. They are few, so all are read at once.
///
/// While ClickHouse does not answer, what was read last stays in force: Kafka may still take events, and nothing can be
/// revoked then either.
pub struct Tokens {
    store: Store,
    last: Mutex<Last>,
    /// Held by whoever reads them anew.
    reading: tokio::sync::Mutex<()>,
    rereads: DefaultDirectRateLimiter,
}

struct Last {
    /// None until they have been read once.
    tokens: Option<Arc<[Token]>>,
    /// When they were read last, or that failed.
    tried_at: Option<Instant>,
    failed: bool,
}

impl Tokens {
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            last: Mutex::new(Last {
                tokens: None,
                tried_at: None,
                failed: false,
            }),
            reading: tokio::sync::Mutex::default(),
            rereads: RateLimiter::direct(Quota::per_second(REREADS_PER_SECOND).allow_burst(REREADS_BURST)),
        }
    }

    /// Whose token this is; `None`: nobody's. The error is ClickHouse's.
    pub async fn caller(&self, token: &str) -> anyhow::Result<Option<Caller>> {
        let asked_at = Instant::now();
        let tokens = match self.read_since(asked_at.checked_sub(FRESH)).await {
            Ok(tokens) => tokens,
            Err(error) => self.last().tokens.clone().ok_or(error)?,
        };
        if let Some(token) = find(&tokens, token, Timestamp::now()) {
            return Ok(Some(caller(token)));
        }
        if !secret::is_ours(token) || self.rereads.check().is_err() {
            return Ok(None);
        }
        let tokens = self.read_since(Some(asked_at)).await?;
        Ok(find(&tokens, token, Timestamp::now()).map(caller))
    }

    /// Those of the last read, which is repeated where it was tried before `since`. The error: it failed.
    async fn read_since(&self, since: Option<Instant>) -> anyhow::Result<Arc<[Token]>> {
        let is_due = || {
            let tried_at = self.last().tried_at;
            tried_at.is_none_or(|at| since.is_some_and(|since| at < since))
        };
        if is_due() {
            let _one_reads = self.reading.lock().await;
            // Whoever waited finds what the one before has read.
            if is_due() {
                self.read().await;
            }
        }
        let last = self.last();
        let tokens = last.tokens.clone().filter(|_| !last.failed);
        tokens.context("the tokens cannot be read")
    }

    async fn read(&self) {
        let tried_at = Instant::now();
        let patience = if self.last().tokens.is_some() {
            PATIENCE
        } else {
            FIRST_PATIENCE
        };
        let read = tokio::time::timeout(patience, self.store.tokens()).await;
        let read = read.unwrap_or_else(|_| Err(anyhow!("no answer within {patience:?}")));
        let mut last = self.last();
        last.failed = read.is_err();
        match read {
            Ok(tokens) => {
                // What was stored after that may be missing.
                last.tried_at = Some(tried_at);
                last.tokens = Some(tokens.into_iter().filter(|token| !token.revoked).collect());
            }
            Err(error) => {
                last.tried_at = Some(Instant::now());
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the tokens cannot be read; those read last count"
                );
            }
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every token is compared, each in constant time, so that how long it takes tells nothing.
fn find<'t>(tokens: &'t [Token], given: &str, now: Timestamp) -> Option<&'t Token> {
    let hash = secret::hash(given);
    let mut found = None;
    for token in tokens {
        if bool::from(token.sha256.ct_eq(&hash)) {
            found = Some(token);
        }
    }
    found.filter(|token| token.is_live(now))
}

fn caller(token: &Token) -> Caller {
    Caller {
        who: Who::Token(token.name.clone()),
        // A word that a newer program wrote gives no right here.
        roles: token.roles.iter().filter_map(|word| Role::parse(word)).collect(),
        systems: Scope::of(&token.systems),
        units: Scope::of(&token.units),
    }
}
