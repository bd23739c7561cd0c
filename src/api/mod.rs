//! The HTTP API: every route and layer.

pub mod token;

pub async fn run(_config: crate::config::Config, _shutdown: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}

pub async fn serve(
    _config: crate::config::Config,
    _listener: tokio::net::TcpListener,
    shutdown: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    shutdown.cancelled().await;
    Ok(())
}
