//! The operations port: `/livez`, `/readyz`, `/metrics`. Without authentication: it is for the cluster, not for people.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::Store;

/// Where the operations port answers.
pub const LIVENESS: &str = "/livez";
pub const READINESS: &str = "/readyz";
pub const METRICS: &str = "/metrics";

/// The longest one check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// The named checks that must all pass for a process to be ready. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(&'static str, Check)>,
}

impl Health {
    pub fn with<F>(mut self, name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Fails while ClickHouse does not answer.
    pub fn with_clickhouse(self, store: &Store) -> Self {
        let store = store.clone();
        self.with("clickhouse", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    }

    /// Fails while no broker of `host:port,host:port` accepts a connection.
    pub fn with_kafka(self, brokers: &str) -> Self {
        let brokers: Arc<str> = brokers.into();
        self.with("kafka", move || {
            let brokers = brokers.clone();
            async move {
                for broker in brokers.split(',') {
                    if TcpStream::connect(broker.trim()).await.is_ok() {
                        return Ok(());
                    }
                }
                bail!("no broker of {brokers} accepts a connection")
            }
        })
    }

    /// What is wrong now, a line each; empty when ready.
    async fn failures(&self) -> Vec<String> {
        let checks = self.checks.iter().map(|(name, check)| async move {
            match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{name}: {error:#}")),
                Err(_) => Some(format!("{name}: no answer within {} s", CHECK_TIMEOUT.as_secs())),
            }
        });
        join_all(checks).await.into_iter().flatten().collect()
    }
}

#[derive(Clone)]
struct Ops {
    health: Health,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

/// Serves until `shutdown` is cancelled.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let ops = Ops {
        health,
        metrics,
        shutdown: shutdown.clone(),
    };
    let router = Router::new()
        .route(LIVENESS, get(|| async { "alive\n" }))
        .route(READINESS, get(get_readiness))
        .route(METRICS, get(get_metrics))
        .with_state(ops);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}

async fn get_readiness(State(ops): State<Ops>) -> Response {
    if ops.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    let failures = ops.health.failures().await;
    if failures.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, failures.join("\n") + "\n").into_response()
}

async fn get_metrics(State(ops): State<Ops>) -> Response {
    let ready = !ops.shutdown.is_cancelled() && ops.health.failures().await.is_empty();
    ops.metrics.ready.set(ready.into());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], ops.metrics.render()).into_response()
}

/// `uptake ready`: asks the operations port of the process that runs on this machine with the same `ops.listen`, for a health check where
/// there is neither shell nor curl. What is wrong is the error.
pub async fn ask_readiness(config: &Config) -> anyhow::Result<()> {
    let mut address = config.ops.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let client = reqwest::Client::builder()
        .timeout(2 * CHECK_TIMEOUT)
        .no_proxy()
        .build()?;
    let answer = client.get(format!("http://{address}{READINESS}")).send().await;
    let answer = answer.with_context(|| format!("nothing answers at {address}"))?;
    let is_ready = answer.status().is_success();
    let told = answer.text().await?;
    if !is_ready {
        bail!("not ready: {}", told.trim_end());
    }
    print!("{told}");
    Ok(())
}

/// Listens, or says on which address that failed.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}
