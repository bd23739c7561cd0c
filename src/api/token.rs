//! `uptake token create`: makes a bearer token, shows it once, and the configuration line that lets it in.

use clap::{Subcommand, ValueEnum};
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::auth;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it, once, with the line for the configuration file
    Create {
        /// Who will use it; shown in logs
        #[arg(long)]
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleArg,
    },
}

/// The roles of the configuration, as the command line spells them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Aggregates only
    Viewer,
    /// Pseudonymous lists too
    Analyst,
    /// The audit log, erasure, re-identification
    Privacy,
    /// Only sending events
    Producer,
    /// Everything, including definitions and rosters
    Admin,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let Command::Create { name, role } = &args.command;
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("uptake_{token}");
    let role = role
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    println!("Token, shown only now:\n\n  {token}\n");
    println!("Add to `tokens` in [api] of the configuration file:\n");
    let name = toml::Value::String(name.clone());
    println!(
        "  {{ name = {name}, role = \"{role}\", sha256 = \"{}\" }}",
        auth::hash(&token)
    );
    Ok(())
}
