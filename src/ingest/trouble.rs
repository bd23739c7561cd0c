//! What keeps ingest from writing now, for readiness.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::bail;

use super::lock;
use crate::ops::Health;

/// Shared by the worker, which tells, and readiness, which asks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<Told>>>);

struct Told {
    since: Instant,
    what: String,
}

impl Trouble {
    /// An attempt to write failed and is repeated.
    pub fn tell(&self, what: String) {
        let mut told = lock(&self.0);
        let since = told.as_ref().map_or_else(Instant::now, |before| before.since);
        *told = Some(Told { since, what });
    }

    /// An attempt succeeded, or nothing is attempted any more.
    pub fn is_over(&self) {
        *lock(&self.0) = None;
    }

    /// `health` fails while nothing can be written.
    pub fn told_by(&self, health: Health) -> Health {
        let trouble = self.clone();
        health.with("ingest", move || ready(trouble.check()))
    }

    /// Fails while nothing can be written, with the last reason.
    fn check(&self) -> anyhow::Result<()> {
        match &*lock(&self.0) {
            None => Ok(()),
            Some(Told { since, what }) => bail!("nothing written for {} s: {what}", since.elapsed().as_secs()),
        }
    }
}
