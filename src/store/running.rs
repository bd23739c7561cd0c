//! The inserts of the workers that are running.

use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::Store;

/// What the `log_comment` of an insert into `raw_events` begins with, so that it can be found in `system.processes`.
pub const INGEST_COMMENT: &str = "uptake-ingest ";

const POLL: Duration = Duration::from_millis(50);

impl Store {
    /// Waits until the inserts that are running now, on whichever server, have ended. False when they take longer than `at_most`.
    pub async fn running_inserts_end(&self, at_most: Duration) -> anyhow::Result<bool> {
        let processes = self.of_all_servers("system.processes");
        let sql = format!("SELECT query_id FROM {processes} WHERE startsWith(Settings['log_comment'], ?)");
        let running = async || {
            let query = self.client().query(&sql).bind(INGEST_COMMENT);
            let ids = query.fetch_all::<String>().await;
            ids.context("system.processes cannot be read")
        };
        let mut begun = running().await?;
        let started = Instant::now();
        while !begun.is_empty() {
            if started.elapsed() > at_most {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
            let still = running().await?;
            begun.retain(|id| still.contains(id));
        }
        Ok(true)
    }
}
