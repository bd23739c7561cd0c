//! The HTTP API: every route and layer.

pub mod token;

pub async fn run(_config: crate::config::Config, _shutdown: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
