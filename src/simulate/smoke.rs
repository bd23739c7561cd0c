//! `uptake smoke`.

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(
    _config: crate::config::Config,
    _args: Args,
    _shutdown: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
