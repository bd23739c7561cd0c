//! Rosters.

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_config: crate::config::Config, _args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
