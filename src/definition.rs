//! System definitions.

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn apply(_config: crate::config::Config, _args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
