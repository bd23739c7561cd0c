//! Kafka to ClickHouse: every event counted once (architecture.md, "What ingest guarantees, and how").
//!
//! ```text
//! poll ─► decode ─► remember identity ─► batch ─► insert ─► dead letters ─► commit
//! ```
//!
//! One thread polls ([`consumer`]) and builds batches ([`chain`]). What is done with them, and with partitions that come and
//! go, is decided by a pure state machine ([`protocol`]) and done by [`member`], [`writer`] and [`takeover`]. This file starts
//! and ends them.

mod batch;
mod chain;
mod consumer;
mod dead_letter;
mod dictionary;
pub mod envelope;
mod erased;
mod identity;
mod insert;
mod liveness;
mod member;
mod messages;
pub mod preflight;
mod progress;
mod protocol;
pub mod rows;
mod takeover;
mod trouble;
pub mod users;
mod writer;
pub mod zones;

pub use insert::with_settings as with_insert_settings;
pub use rows::columns as row_columns;
pub use trouble::Trouble;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::ops::{self, Health};
use crate::reconcile;
use crate::store::erasure::Tombstones;
use crate::store::ordinals::Ordinals;
use crate::store::{Store, migrate, rebuild, secret, topics};

/// The pause before a worker that failed joins the group again.
const REJOIN: Duration = Duration::from_secs(2);

/// A panic elsewhere cannot leave a half-made state that matters: it ends the membership.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all memberships of one worker share.
#[derive(Clone)]
struct Shared {
    store: Store,
    zones: watch::Receiver<Arc<zones::Zones>>,
    tombstones: watch::Receiver<Arc<Tombstones>>,
    ordinals: Arc<Ordinals>,
    trouble: Trouble,
}

/// One ingest worker until shutdown, which tells what keeps it from writing. Ends with an error only where trying again cannot
/// help.
pub async fn work(
    config: Config,
    metrics: Arc<Metrics>,
    trouble: Trouble,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    secret::check(&store, &config.privacy.pseudonymizer()).await?;
    preflight::check(&store).await?;
    topics::wait_for_access(&config.kafka).await?;

    let zones = watch::Sender::new(Arc::new(zones::Zones::load(&store).await?));
    let background = shutdown.child_token();
    let _stop_background = background.clone().drop_guard();
    tokio::spawn(zones::refresh(store.clone(), zones.clone(), background.clone()));
    let tombstones = watch::Sender::new(Arc::new(store.tombstones().await?));
    tokio::spawn(erased::refresh(store.clone(), tombstones.clone(), background.clone()));

    let shared = Shared {
        store: store.clone(),
        zones: zones.subscribe(),
        tombstones: tombstones.subscribe(),
        ordinals: Arc::new(Ordinals::new(&store)),
        trouble: trouble.clone(),
    };
    while !shutdown.is_cancelled() {
        let session = consumer::Session::open(&config, &shared, &metrics)?;
        let maintenance = background.child_token();
        let known = zones.subscribe();
        let knows = move |system: &str, zone: &str| known.borrow().of(system).name == zone;
        tokio::spawn(rebuild::watch(
            store.clone(),
            session.is_maintainer(),
            knows,
            maintenance.clone(),
        ));
        tokio::spawn(reconcile::watch(
            config.clone(),
            session.is_maintainer(),
            metrics.reconcile.clone(),
            maintenance.clone(),
        ));
        let ended = session.run(&background).await;
        maintenance.cancel();
        trouble.is_over();
        match ended {
            Ok(()) => return Ok(()),
            Err(error) if writer::is_permanent(&error) => return Err(error).context("ingest cannot go on"),
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the worker lost its place and joins the group again"
                );
                shutdown.run_until_cancelled(tokio::time::sleep(REJOIN)).await;
            }
        }
    }
    Ok(())
}

/// `uptake ingest`: one worker and its operations port.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let trouble = Trouble::default();
    let health = trouble
        .told_by(Health::default())
        .with_clickhouse(&Store::new(&config.clickhouse))
        .with_kafka(&config.kafka.brokers);
    let listener = ops::bind(config.ops.listen).await?;
    // Ends with the work, also where that ends with an error.
    let serving = shutdown.child_token();
    let _stop_serving = serving.clone().drop_guard();
    tokio::spawn(ops::serve(listener, health, metrics.clone(), serving));
    work(config, metrics, trouble, shutdown).await
}
