//! The HTTP API: every route and layer on this page.

mod adoption;
mod alerts;
mod audit;
mod auth;
mod champions;
mod code;
mod docs;
mod erase;
mod error;
mod events;
mod features;
mod feedback;
mod flows;
mod heatmap;
mod lifecycle;
mod list;
mod logins;
mod manners;
mod observe;
mod page;
mod params;
mod phases;
mod rejects;
mod reply;
mod retention;
mod stickiness;
mod systems;
mod table;
mod targets;
mod training;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::serve::{ListenerExt, TapIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::events::Mode;

use self::auth::Rule;
use self::error::Error;
use self::events::Collector;
use crate::access::{Gate, Right};
use crate::config::{Config, Kafka, Retention};
use crate::measure::{Reader, SystemContext};
use crate::metrics::Metrics;
use crate::ops::{self, Health};
use crate::pseudonym::Pseudonymizer;
use crate::store::erasure::Eraser;
use crate::store::numbers::Numbers;
use crate::store::{Store, migrate, secret, topics};

/// What handlers share. Cheap to clone.
#[derive(Clone)]
struct App {
    reader: Reader,
    store: Store,
    pseudonymizer: Pseudonymizer,
    eraser: Eraser,
    retention: Retention,
    max_body_bytes: usize,
    targets_grace_ms: u64,
    collector: Arc<Collector>,
}

impl App {
    fn new(config: &Config, store: &Store, metrics: &Metrics) -> anyhow::Result<Self> {
        let numbers = Numbers::of(config)?;
        let deadline = Duration::from_millis(config.clickhouse.query_timeout_ms);
        Ok(Self {
            reader: Reader::new(store, numbers, deadline),
            store: store.clone(),
            pseudonymizer: config.privacy.pseudonymizer(),
            eraser: Eraser::new(store, config),
            retention: config.retention.clone(),
            max_body_bytes: config.api.max_body_bytes,
            targets_grace_ms: config.targets.grace_ms,
            collector: Arc::new(Collector::new(config, metrics)?),
        })
    }

    /// For what is stored or erased under pseudonyms: refused where the secret was rotated since this process began.
    async fn pseudonymizer(&self) -> Result<&Pseudonymizer, Error> {
        secret::check(&self.store, &self.pseudonymizer).await?;
        Ok(&self.pseudonymizer)
    }

    /// The system of a path.
    async fn system(&self, name: String) -> Result<SystemContext, Error> {
        let name = params::system_name(name)?;
        let system = SystemContext::load(&self.reader, &name).await?;
        system.ok_or(Error::UnknownSystem(name))
    }
}

/// Every route that answers questions or takes documents or events, with its description.
fn routes(config: &Config, gate: &Arc<Gate>) -> OpenApiRouter<App> {
    let only = |right| {
        let gate = gate.clone();
        from_fn_with_state(Rule { gate, right }, auth::require)
    };
    let deadline = Duration::from_millis(config.clickhouse.query_timeout_ms);
    let within_deadline = from_fn_with_state(deadline, manners::within);
    let definitions = OpenApiRouter::with_openapi(docs::Description::openapi())
        .routes(routes!(systems::get_systems))
        .routes(routes!(systems::get_system))
        .layer(within_deadline.clone())
        .layer(only(Right::ReadDefinitions));
    let numbers = OpenApiRouter::new()
        .routes(routes!(adoption::get_adoption))
        .routes(routes!(logins::get_logins))
        .routes(routes!(stickiness::get_stickiness))
        .routes(routes!(lifecycle::get_lifecycle))
        .routes(routes!(retention::get_retention))
        .routes(routes!(champions::get_champions))
        .routes(routes!(training::get_training))
        .routes(routes!(features::get_features))
        .routes(routes!(features::get_time_to_adopt))
        .routes(routes!(flows::get_funnel))
        .routes(routes!(flows::get_paths))
        .routes(routes!(heatmap::get_hour_heatmap))
        .routes(routes!(heatmap::get_feature_heatmap))
        .routes(routes!(feedback::get_satisfaction))
        .routes(routes!(feedback::get_issues))
        .routes(routes!(phases::get_phases))
        .routes(routes!(phases::get_gate))
        .routes(routes!(trust::get_completeness))
        .routes(routes!(trust::get_revisions))
        .routes(routes!(rejects::get_rejects))
        .routes(routes!(targets::get_targets))
        .routes(routes!(alerts::get_alerts))
        .layer(within_deadline.clone())
        .layer(only(Right::ReadNumbers));
    let lists = OpenApiRouter::new()
        .routes(routes!(lifecycle::get_users))
        .routes(routes!(champions::get_champion_users))
        .layer(within_deadline.clone())
        .layer(only(Right::ReadLists));
    let audit = OpenApiRouter::new()
        .routes(routes!(audit::get_audit))
        .layer(within_deadline)
        .layer(only(Right::ReadAudit));
    let write = OpenApiRouter::new()
        .routes(routes!(systems::put_system))
        .routes(routes!(systems::put_roster))
        .routes(routes!(training::put_training))
        .routes(routes!(alerts::post_acknowledgement))
        .layer(only(Right::Change));
    let erase = OpenApiRouter::new()
        .routes(routes!(erase::delete_user))
        .layer(only(Right::Erase));
    let send = OpenApiRouter::new()
        .routes(routes!(events::post_events))
        .layer(DefaultBodyLimit::max(config.collector.max_body_bytes))
        .layer(only(Right::Send));
    definitions
        .merge(numbers)
        .merge(lists)
        .merge(audit)
        .merge(write)
        .merge(erase)
        .merge(send)
}

/// The whole API with all its layers, outermost last.
fn router(config: &Config, store: &Store, metrics: Arc<Metrics>) -> anyhow::Result<Router> {
    let app = App::new(config, store, &metrics)?;
    let gate = Arc::new(Gate::new(&config.api, store)?);
    let (routes, description) = routes(config, &gate).with_state(app).split_for_parts();
    let router = routes
        .merge(docs::pages(docs::complete(description)))
        .fallback(|uri: Uri| async move { Error::UnknownPath(uri.path().to_owned()) })
        .method_not_allowed_fallback(manners::other_method)
        .layer(DefaultBodyLimit::max(config.api.max_body_bytes))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(CompressionLayer::new())
        .layer(from_fn(manners::protect))
        .layer(from_fn_with_state(metrics, observe::count));
    Ok(router)
}

/// The OpenAPI description as checked in at `schemas/openapi.json`.
pub fn description() -> anyhow::Result<String> {
    let config = Config::load(None)?;
    let gate = Gate::new(&config.api, &Store::new(&config.clickhouse))?;
    let (_, description) = routes(&config, &Arc::new(gate)).split_for_parts();
    Ok(docs::complete(description).to_pretty_json()? + "\n")
}

/// `uptake api`: the API and its operations port, until `shutdown` is cancelled.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    secret::check(&store, &config.privacy.pseudonymizer()).await?;
    let listener = ops::bind(config.api.listen).await?;
    let ops_listener = ops::bind(config.ops.listen).await?;
    let metrics = Arc::new(Metrics::default());
    let health = Health::default()
        .with_clickhouse(&store)
        .with_kafka(&config.kafka.brokers);
    tokio::try_join!(
        check_kafka(&config.kafka, &shutdown),
        ops::serve(ops_listener, health, metrics.clone(), shutdown.clone()),
        serve(config.clone(), listener, metrics, shutdown.clone()),
    )?;
    Ok(())
}

/// Fails when Kafka refuses our login or certificate, as `uptake ingest` does: a mistake that waiting does not mend. Beside
/// serving, because a Kafka that is away for now keeps only events from being taken, not questions from being answered.
async fn check_kafka(kafka: &Kafka, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let access = shutdown.run_until_cancelled(topics::wait_for_access(kafka)).await;
    access.unwrap_or(Ok(()))
}

/// Serves the API on `listener` until `shutdown` is cancelled, then finishes the requests that are under way.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    let address = listener.local_addr()?;
    tracing::info!("the API listens on http://{address}, its description is at http://{address}/docs");
    let router = router(&config, &store, metrics)?.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(without_delay(listener), router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}

/// Small answers go out at once instead of waiting for the acknowledgement of the one before.
fn without_delay(listener: TcpListener) -> TapIo<TcpListener, fn(&mut TcpStream)> {
    listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
    })
}
