//! A company and its behaviour, with known truth.
//!
//! ```text
//! company (who) ─► behaviour (what they do on a day) ─► deliveries (when it is sent) ─► wire (bytes) ─► send (Kafka)
//!                                                                 └────────────────────► truth (what Uptake must answer)
//! ```
//! The same arguments give the same company, events and bytes.

mod args;
mod behaviour;
mod catalogue;
mod company;
mod compare;
mod deliveries;
pub mod demo;
mod play;
mod send;
pub mod smoke;
#[cfg(test)]
mod tests;
mod truth;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::{definition, roster};
use args::CompanyArgs;
use company::Company;
use play::{Outcome, Script, play};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    company: CompanyArgs,
    /// Write what Uptake must answer to this file (JSON); needs memory for users × days × features
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Write definition.yaml, roster.csv and truth.json into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Let the simulated time pass this many times faster than real time; 0: as fast as possible
    #[arg(long, default_value_t = 0.0, value_name = "FACTOR", value_parser = factor)]
    speed_up: f64,
    /// Write the files, send nothing
    #[arg(long)]
    dry_run: bool,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number of at least 0".to_owned())?;
    if factor >= 0.0 && factor.is_finite() {
        Ok(factor)
    } else {
        Err("expected a number of at least 0".to_owned())
    }
}

/// `uptake simulate`. Takes the configuration unresolved: a dry run needs no running installation.
pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let company = Company::new(args.company.plan(config.retention.raw_days)?);
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir).with_context(|| format!("directory {}", dir.display()))?;
        write_file(&dir.join("definition.yaml"), company.definition_yaml())?;
        write_file(&dir.join("roster.csv"), company.roster_csv())?;
    }
    let truth_files: Vec<_> = args
        .truth
        .iter()
        .cloned()
        .chain(args.out.iter().map(|dir| dir.join("truth.json")))
        .collect();
    let truth_for_min_group_size = (!truth_files.is_empty()).then_some(config.privacy.min_group_size as usize);
    let destination = if args.dry_run {
        None
    } else {
        let config = config.resolve()?;
        introduce(&config, &company).await?;
        Some(config.kafka)
    };
    let script = Script {
        mishaps: args.company.mishaps(),
        speed_up: args.speed_up,
        destination,
        truth_for_min_group_size,
    };
    let Outcome { messages, truth, took } = play(company, script, shutdown).await?;
    if let Some(truth) = truth {
        let text = serde_json::to_string_pretty(&truth)?;
        for file in &truth_files {
            write_file(file, text.clone())?;
        }
    }
    println!(
        "simulated {} events, {} of them sent twice, and {} malformed messages in {:.1} s",
        messages.accepted,
        messages.repeats,
        messages.rejected(),
        took.as_secs_f64(),
    );
    Ok(())
}

/// Makes the company known: its definition and its roster.
async fn introduce(config: &Config, company: &Company) -> anyhow::Result<()> {
    definition::apply_text(config, &company.definition_yaml(), "simulated definition").await?;
    roster::import_text(config, &company.plan.system, &company.roster_csv(), "simulated roster").await?;
    Ok(())
}

fn write_file(path: &Path, content: String) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
